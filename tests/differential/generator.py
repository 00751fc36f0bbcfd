"""Makes good images with the installed QEMU tools: the options follow from the seed, so do the writes.

make(seed, folder) creates one image and everything it needs (backing files, data file) in an empty folder and returns
it with the features that it really has and the commands that made it. The three options with most values go round
with the seed, so that a few hundred images meet each pair of them.
"""
import random
import shutil
import threading

import programs
from programs import SECRET, run

CLUSTER_SIZES = [512 << i for i in range(13)]
REFCOUNT_BITS = [1, 2, 4, 8, 16, 32, 64]
KINDS = ["plain", "overlay", "snapshots", "compressed copy", "data file", "bitmaps", "aes", "raw data file", "chain",
         "subclusters", "luks", "version 2", "preallocated", "resized", "snapshots and bitmaps", "compressed", "amended"]
PREALLOCATION = ["metadata", "falloc", "full"]
MiB = 1 << 20

# What must have been met by at least one image of a run; anything else that a run meets is counted too.
WANTED = {f"cluster_size={size}" for size in CLUSTER_SIZES} | {f"refcount_bits={bits}" for bits in REFCOUNT_BITS} | {
    f"preallocation={how}" for how in PREALLOCATION} | {
    "compat=0.10", "compat=1.1", "lazy_refcounts=on", "extended_l2=on", "compression_type=zlib",
    "compression_type=zstd", "data_file", "data_file_raw=on", "encrypt.format=luks", "encrypt.format=aes",
    "backing qcow2", "backing raw", "chain of 3", "backing smaller", "write", "write unaligned", "write -z", "write -z -u",
    "write -c", "discard", "snapshot -c", "snapshot -d", "snapshot -a", "bitmap --add", "bitmap --remove",
    "bitmap --clear", "bitmap --disable", "convert", "convert -c", "resize +", "resize --shrink", "amend", "commit",
    "rebase"}


class Image:
    def __init__(self, folder, name, options=None, size=0):
        self.folder, self.name, self.options, self.size = folder, name, dict(options or {}), size
        self.commands, self.features, self.refused, self.last_refusal = [], set(), 0, None
        self.backing = None  # the Image or the raw file's name below it

    @property
    def cluster(self):
        return int(self.options.get("cluster_size", 65536))

    @property
    def encrypted(self):
        return "encrypt.format" in self.options

    @property
    def snapshots_possible(self):
        return "data_file" not in self.options and int(self.options.get("refcount_bits", 16)) > 1

    def target(self, with_format=True):
        """The words that name the image to a QEMU tool, with the key where it needs one."""
        if self.encrypted:
            return [*SECRET, "--image-opts", f"driver=qcow2,file.filename={self.name},encrypt.key-secret=key"]
        return ["-f", "qcow2", self.name] if with_format else [self.name]

    def do(self, feature, *words):
        """Runs a QEMU tool; the feature counts when it succeeds. Refusals are normal: QEMU can't combine everything."""
        said = run(words, self.folder)
        self.commands.append(said.words)
        if said.code == 0:
            self.features.add(feature)
        else:
            self.refused += 1
            self.last_refusal = said
        return said.code == 0

    def recipe(self):
        return "\n".join("  " + " ".join(f"'{w}'" if " " in w or not w else w for w in c) for c in self.commands)


class Templates:
    """LUKS images take QEMU seconds to create (it measures its key derivation), so a few are made and copied."""
    SHAPES = [{"cluster_size": 512, "refcount_bits": 16}, {"cluster_size": 4096, "refcount_bits": 8},
              {"cluster_size": 16384, "extended_l2": "on", "refcount_bits": 64},
              {"cluster_size": 65536, "compat": "0.10"}]

    def __init__(self, folder):
        self.folder, self.made, self.lock = folder, {}, threading.Lock()

    def template(self, number):
        with self.lock:
            if number not in self.made:
                options = {"encrypt.format": "luks", **self.SHAPES[number]}
                image = Image(self.folder, f"luks{number}.qcow2", options, 12 * options["cluster_size"] + 1024)
                if not create(image, ["encrypt.key-secret=key", "encrypt.iter-time=10"]):
                    raise RuntimeError(f"qemu-img can't create LUKS images:\n{image.last_refusal}")
                self.made[number] = image
            return self.made[number]

    def copy(self, rng, folder):
        chosen = self.template(rng.randrange(len(self.SHAPES)))
        shutil.copyfile(self.folder / chosen.name, folder / "image.qcow2")
        image = Image(folder, "image.qcow2", chosen.options, chosen.size)
        image.commands, image.features = [*chosen.commands, ["cp", chosen.name, "image.qcow2"]], set(chosen.features)
        return image


def create(image, secret_options=(), words=()):
    options = [f"{key}={value}" for key, value in image.options.items()] + list(secret_options)
    key = SECRET if image.encrypted else []
    done = image.do("create", "qemu-img", "create", "-q", "-f", "qcow2", *key, "-o", ",".join(options), *words,
                    image.name, str(image.size))
    if done:
        for key, value in image.options.items():
            image.features.add("data_file" if key == "data_file" else f"{key}={value}")
        image.features.add(f"compat={image.options.get('compat', '1.1')}")
        image.features.add(f"compression_type={image.options.get('compression_type', 'zlib')}")
        if "refcount_bits" not in image.options:
            image.features.add("refcount_bits=16")
    return done


def some_size(rng, cluster):
    """A virtual size: a few clusters, often not a whole number of them, sometimes several L2 tables, rarely nothing."""
    entries = cluster // 8
    clusters = rng.choice([0, 1, rng.randrange(2, 12), rng.randrange(12, 40), rng.randrange(12, 40),
                           entries + rng.randrange(-2, 9), 2 * entries + 1])
    return min(clusters * cluster, 1 << 32) + rng.choice([0, 0, 512, cluster // 2])


def some_options(rng, seed, kind):
    """Creation options, all valid together."""
    cluster = CLUSTER_SIZES[seed % len(CLUSTER_SIZES)]
    options = {"cluster_size": cluster}
    if kind == "version 2" or (kind in ("overlay", "aes", "snapshots", "compressed") and rng.random() < 0.25):
        options["compat"] = "0.10"
        return options
    options["refcount_bits"] = REFCOUNT_BITS[seed // len(CLUSTER_SIZES) % len(REFCOUNT_BITS)]
    if "snapshots" in kind and options["refcount_bits"] == 1:
        options["refcount_bits"] = rng.choice(REFCOUNT_BITS[1:])
    if rng.random() < 0.25:
        options["lazy_refcounts"] = "on"
    if kind == "subclusters" or (rng.random() < 0.15 and cluster >= 16384):
        options["cluster_size"] = max(cluster, 16384)
        options["extended_l2"] = "on"
    if rng.random() < 0.4:
        options["compression_type"] = rng.choice(["zlib", "zstd"])
    if kind == "data file":
        options["data_file"] = "image.data"
    if kind == "raw data file":
        options.update({"data_file": "image.data", "data_file_raw": "on"})
    return options


def patterns(rng, folder):
    """Files that qemu-io writes from: one that doesn't compress, one that does by half."""
    (folder / "noise").write_bytes(rng.randbytes(8192))
    (folder / "half").write_bytes(b"".join(rng.randbytes(256) + bytes([rng.randrange(256)]) * 256 for _ in range(16)))


def io_commands(rng, image, amount):
    """Commands for one qemu-io process, around a few places of the disk, with the features that they stand for."""
    cluster, size = image.cluster, image.size
    commands, features = [], set()
    if size < 512:
        return commands, features
    places = [0, max(0, size - 3 * cluster), rng.randrange(0, size, 512) // cluster * cluster]
    for _ in range(amount):
        offset = min(rng.choice(places) + rng.randrange(0, 8) * cluster, (size - 512) // 512 * 512)
        room = size - offset
        length = min(rng.choice([cluster, cluster, 2 * cluster, 3 * cluster, max(512, cluster // 32), cluster // 2 or 512]),
                     room, MiB if cluster < MiB else 2 * cluster) // 512 * 512
        if rng.random() < 0.2 and room > cluster:
            offset += rng.randrange(0, cluster, 512)
            length = min(length, (size - offset) // 512 * 512)
        how = rng.choice(["write", "write", "unaligned", "source", "-z", "-z -u", "-c", "-c", "discard"])
        if how == "-c" and (image.encrypted or "data_file" in image.options):
            how = "write"
        if how == "unaligned" and room > 3:
            offset += rng.randrange(0, min(room - 2, 511))
            length = rng.randrange(1, min(size - offset, 2 * cluster) + 1)
            commands.append(f"write -P {rng.randrange(1, 256)} {offset} {length}")
            features.add("write unaligned")
        elif how == "source":
            commands.append(f"write -s noise {offset} {length}")
            features.add("write")
        elif how in ("-z", "-z -u"):
            commands.append(f"write {how} {offset} {length}")
            features.add(f"write {how}")
        elif how == "-c":
            offset = offset // cluster * cluster
            source = rng.choice(["-s half", "-s half", f"-P {rng.randrange(256)}", "-s noise"])
            commands.append(f"write -c {source} {offset} {min(cluster, size - offset)}")
            features.add("write -c")
        elif how == "discard":
            commands.append(f"discard {offset} {length}")
            features.add("discard")
        else:
            commands.append(f"write -P {rng.randrange(256)} {offset} {length}")
            features.add("write")
    return commands, features


def write(rng, image, amount):
    """One qemu-io process with all its commands. It exits with 1 when one of them was refused, after doing the rest."""
    commands, features = io_commands(rng, image, amount)
    if not commands:
        return
    words = [word for command in commands for word in ("-c", command)]
    said = run(["qemu-io", "-d", "unmap", *image.target()[:-1], *words, image.target()[-1]], image.folder)
    image.commands.append(said.words)
    image.features |= features
    image.refused += said.out.count("failed") + said.err.count("failed")


def below(rng, seed, folder, image, depth):
    """Creates what the image is an overlay of: raw, or qcow2 of any other shape, down to the asked depth."""
    size = max(512, rng.choice([image.size, image.size, image.size // 2, image.size + 3 * image.cluster]) // 512 * 512)
    if size < image.size:
        image.features.add("backing smaller")
    if depth == 1 and rng.random() < 0.3:
        with open(folder / "base.raw", "wb") as raw:
            raw.write(rng.randbytes(1500))
            if size > 8192:
                raw.seek(size // 2)
                raw.write(rng.randbytes(700))
            raw.truncate(size)
        image.features.add("backing raw")
        return "base.raw", "raw"
    options = some_options(rng, rng.randrange(1000), rng.choice(KINDS[:2]))
    while size > 1024 * options["cluster_size"] ** 2 // 8:  # spare QEMU L1 tables of megabytes
        options["cluster_size"] *= 2
    base = Image(folder, f"base{depth}.qcow2", options, size)
    words = []
    if depth > 1:
        name, form = below(rng, seed, folder, base, depth - 1)
        words = ["-b", name, "-F", form]
        if depth >= 2:
            image.features.add("chain of 3")
    create(base, words=words)
    write(rng, base, 6)
    image.commands += base.commands
    image.features.add("backing qcow2")
    image.features |= {f for f in base.features if f.startswith("backing") or f.startswith("chain")}
    image.backing = base
    return base.name, "qcow2"


def make_snapshots(rng, image):
    names = []
    most = 3 if int(image.options.get("refcount_bits", 16)) > 2 else 2  # a snapshot that overflows refcounts leaks
    for number in range(rng.randrange(1, most + 1)):
        if image.do("snapshot -c", "qemu-img", "snapshot", "-q", "-c", f"snap{number}", *image.target(False)):
            names.append(f"snap{number}")
        write(rng, image, rng.randrange(0, 5))
    if names and rng.random() < 0.4:
        image.do("snapshot -a", "qemu-img", "snapshot", "-q", "-a", rng.choice(names), *image.target(False))
        write(rng, image, rng.randrange(0, 3))
    if names and rng.random() < 0.4:
        image.do("snapshot -d", "qemu-img", "snapshot", "-q", "-d", rng.choice(names), *image.target(False))


def make_bitmaps(rng, image):
    def bitmap(action, *words):
        image.do(f"bitmap {action}", "qemu-img", "bitmap", action, *words, *image.target(), "bits")

    def other(action, *words):
        image.do(f"bitmap {action}", "qemu-img", "bitmap", action, *words, *image.target(), "more")

    bitmap("--add", *rng.choice([[], ["-g", "512"], ["-g", "4096"], ["-g", "2M"]]))
    write(rng, image, 4)
    other("--add", "-g", str(512 << rng.randrange(0, 10)))
    for action in rng.sample(["--disable", "--clear", "--remove", "nothing", "nothing"], 2):
        if action != "nothing":
            other(action)
    write(rng, image, 2)


def resize(rng, image):
    grown = (image.size + rng.randrange(1, 5) * image.cluster + rng.choice([0, 512])) // 512 * 512
    shrunk = image.size // 2 // 512 * 512
    if rng.random() < 0.5:
        if image.do("resize --shrink", "qemu-img", "resize", "-q", "--shrink", *image.target(), str(shrunk)):
            image.size = shrunk
            write(rng, image, 2)
    if image.do("resize +", "qemu-img", "resize", "-q", *image.target(), str(grown)):
        image.size = grown


def amend(rng, image):
    choices = ["lazy_refcounts=on", "compat=1.1", "compat=0.10"]
    if image.cluster <= 16384:  # QEMU visits every refcount that the new blocks could hold: many seconds for large ones
        choices += ["refcount_bits=" + str(bits) for bits in rng.sample(REFCOUNT_BITS, 2)]
    if "compat" in image.options:
        choices = ["compat=1.1"]
    for option in rng.sample(choices, min(2, len(choices))):
        image.do("amend", "qemu-img", "amend", "-q", "-o", option, *image.target())


def converted(rng, seed, image):
    """A copy by qemu-img convert, compressed more often than not; the copy takes the image's place."""
    copy = Image(image.folder, "copy.qcow2", some_options(rng, seed + 5, "plain"), image.size)
    options = ",".join(f"{key}={value}" for key, value in copy.options.items())
    compressed = rng.random() < 0.8
    copy.commands, copy.features = list(image.commands), set(image.features)
    done = copy.do("convert -c" if compressed else "convert", "qemu-img", "convert", *(["-c"] if compressed else []),
                   "-m", "1", "-O", "qcow2", "-o", options, *image.target(), copy.name)
    if not done:
        image.refused += 1
        return image
    copy.features |= {f"{key}={value}" for key, value in copy.options.items()}
    write(rng, copy, rng.randrange(0, 3))
    return copy


def make(seed, folder, templates):
    """The image of a seed, in an empty folder; the same QEMU makes the same image each time, but for dates and UUIDs."""
    rng = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    patterns(rng, folder)
    if kind == "luks":
        image = templates.copy(rng, folder)
    else:
        options = some_options(rng, seed, kind)
        image = Image(folder, "image.qcow2", options, some_size(rng, int(options["cluster_size"])))
        words = []
        if kind in ("overlay", "chain") or (kind in ("subclusters", "aes", "data file") and rng.random() < 0.4):
            name, form = below(rng, seed, folder, image, rng.randrange(2, 4) if kind == "chain" else 1)
            words = ["-b", name, "-F", form]
            if rng.random() < 0.3:
                words[1] = str(folder / name)
        elif kind == "preallocated" or rng.random() < 0.1:
            options["preallocation"] = rng.choice(PREALLOCATION)
            image.size = min(image.size, 8 * MiB)
            image.options = options
        if kind == "aes":
            image.options["encrypt.format"] = "aes"
        secret = ["encrypt.key-secret=key"] if image.encrypted else []
        if not create(image, secret, words):
            raise RuntimeError(f"seed {seed}: qemu-img doesn't create:\n{image.last_refusal}")
    image.features.add(f"kind: {kind}")
    write(rng, image, rng.randrange(0, 14))
    if "snapshots" in kind or (image.snapshots_possible and rng.random() < 0.2):
        make_snapshots(rng, image)
    if "bitmaps" in kind or ("compat" not in image.options and rng.random() < 0.1):
        make_bitmaps(rng, image)
    if kind == "resized" or rng.random() < 0.1:
        resize(rng, image)
        write(rng, image, 3)
    if kind == "compressed":
        write(rng, image, 24)
    if kind == "amended":
        amend(rng, image)
        write(rng, image, 3)
    if kind == "chain" and image.backing is not None:
        if rng.random() < 0.3:
            image.do("commit", "qemu-img", "commit", "-q", *image.target())
            write(rng, image, 3)
        elif rng.random() < 0.4:
            image.do("rebase", "qemu-img", "rebase", "-b", "", *image.target())
            if not image.refused:
                image.backing = None
    if kind == "compressed copy" or rng.random() < 0.05:
        image = converted(rng, seed, image)
    return image


def check_programs():
    programs.need("qemu-img", "qemu-io")
