"""A real file system through images of each combination of options, and back.

An ext4 file system of 1 GiB is made by mke2fs of files of many kinds, and changed by debugfs; the changed one becomes an
image by `convert`, by `convert -B` on top of the first one, or by writing what changed, piece by piece, through an overlay.
Back in a raw file it has the same bytes, `e2fsck -fn` passes, `cowvet check` and `qemu-img check` find nothing in the image,
and qemu-img reads the same. Any two values of different options meet in one combination; with --long any three.
"""
import itertools
import os
import random
import sys
import time
from pathlib import Path

from programs import COWVET, LONG, SECRET, cowvet, need, run, scratch

need("qemu-img", "mke2fs", "e2fsck", "debugfs")
SIZE = 1 << 30
PIECE = 4096  # bytes of a block of the file system
ROOM = 4 << 30  # bytes on disk, at most: a preallocated image, its raw copy, and the sources

OPTIONS = {
    "way": ["convert", "backing", "overlay"],
    "compat": ["1.1", "0.10"],
    "cluster_size": ["64k", "512", "4k", "16k", "2M"],
    "refcount_bits": ["16", "1", "8", "64"],
    "extended_l2": ["off", "on"],
    "compressed": ["no", "zlib", "zstd"],
    "preallocation": ["off", "metadata", "falloc", "full"],
    "lazy_refcounts": ["off", "on"],
    "data_file": ["no", "plain", "raw"],
    "encrypt.format": ["no", "aes", "luks"],
}
complaints = []


def possible(chosen):
    """Whether such an image can exist."""
    has = {name: value != OPTIONS[name][0] for name, value in chosen.items()}
    if has["compat"] and (has["refcount_bits"] or has["extended_l2"] or has["lazy_refcounts"] or has["data_file"]
                          or chosen["compressed"] == "zstd"):
        return False
    if has["extended_l2"] and chosen["cluster_size"] in ("512", "4k"):
        return False
    if has["compressed"] and (has["data_file"] or has["encrypt.format"] or has["preallocation"]):
        return False
    if has["way"] and (chosen["data_file"] == "raw" or (has["preallocation"] and not has["extended_l2"])):
        return False
    return True


def combinations(strength):
    """So many of the possible combinations that each `strength` values that can go together do: of 200 drawn by lot the one
    with most new ones, again and again."""
    lot = random.Random(3)
    names = list(OPTIONS)
    possible_ones = [chosen for values in itertools.product(*OPTIONS.values()) if possible(chosen := dict(zip(names, values)))]

    def meets(chosen):
        return set(itertools.combinations(chosen.items(), strength))

    missing = set().union(*map(meets, possible_ones))
    while missing:
        wanted = lot.choice(sorted(missing))
        fit = [chosen for chosen in possible_ones if all(chosen[name] == value for name, value in wanted)]
        best = max(lot.sample(fit, min(200, len(fit))), key=lambda chosen: len(meets(chosen) & missing))
        missing -= meets(best)
        yield best


def tree(folder):
    """Files that compress, that don't, that are mostly holes, and many small ones: about 24 MiB."""
    lot = random.Random(1)
    folder.mkdir()
    words = [lot.randbytes(lot.randint(2, 9)).hex() for _ in range(2000)]
    (folder / "text").write_text(" ".join(lot.choices(words, k=700_000)))
    (folder / "noise").write_bytes(lot.randbytes(7_000_001))
    (folder / "same").write_bytes(b"all work and no play " * 150_000)
    with (folder / "holes").open("wb") as file:
        for at in range(0, 60 << 20, 3 << 20):
            file.seek(at + lot.randrange(1 << 20))
            file.write(lot.randbytes(lot.randint(1, 20_000)))
    for number in range(60):
        small = folder / f"small-{number}"
        small.mkdir()
        for name in range(20):
            (small / str(name)).write_bytes(lot.randbytes(lot.choice((0, 1, 59, 700, 5000))))
    return folder


def must(words, folder):
    said = run(words, folder)
    assert said.code == 0, said
    return said


def file_systems(folder):
    """first.raw, disk.raw: the same one with files added, removed and written anew, and base: the first as an image."""
    files = tree(folder / "files")
    must(["mke2fs", "-q", "-t", "ext4", "-d", files, "first.raw", f"{SIZE >> 10}k"], folder)
    must(["cp", "--sparse=always", "first.raw", "disk.raw"], folder)
    lot = random.Random(2)
    changes = ["rm same", "rm text", "write files/noise text", "mkdir more"]
    changes += [f"rm small-{number}/{lot.randrange(20)}" for number in range(0, 60, 2)]
    changes += [f"write files/small-{lot.randrange(60)}/{lot.randrange(20)} more/{number}" for number in range(100)]
    (folder / "changes").write_text("\n".join(changes) + "\n")
    must(["debugfs", "-w", "-f", "changes", "disk.raw"], folder)
    for name in ("first.raw", "disk.raw"):
        # What debugfs leaves is as sound as what mke2fs makes once free blocks are counted anew; e2fsck tells by 1.
        assert run(["e2fsck", "-fy", name], folder).code in (0, 1)
        must(["e2fsck", "-fn", name], folder)
    must(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "first.raw", "base"], folder)


def data_of(descriptor):
    """The parts of a file that are no holes, as [begin, end)."""
    at = 0
    while at < SIZE:
        try:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:
            return
        at = os.lseek(descriptor, begin, os.SEEK_HOLE)
        yield begin, at


def differing(one, other):
    """The blocks in which two files differ, as runs [begin, end): only those are looked at that are data in either."""
    blocks = sorted({block for file in (one, other) for begin, end in data_of(file.fileno())
                     for block in range(begin // PIECE, -(-end // PIECE))})
    run_begin = run_end = None
    for block in blocks:
        if os.pread(one.fileno(), PIECE, block * PIECE) == os.pread(other.fileno(), PIECE, block * PIECE):
            continue
        if block != run_end:
            if run_end is not None:
                yield run_begin * PIECE, run_end * PIECE
            run_begin = block
        run_end = block + 1
    if run_end is not None:
        yield run_begin * PIECE, run_end * PIECE


def same_bytes(folder, name):
    with (folder / "disk.raw").open("rb") as one, (folder / name).open("rb") as other:
        return os.fstat(other.fileno()).st_size == SIZE and next(differing(one, other), None) is None


def pieces(folder, cluster):
    """What must be written to the first file system so that it is the changed one, in files, as words of io: anywhere in
    pieces of a few blocks, or in whole clusters where `cluster` says how large they are."""
    with (folder / "first.raw").open("rb") as one, (folder / "disk.raw").open("rb") as other:
        runs = list(differing(one, other))
        if cluster:
            clusters = sorted({at for begin, end in runs for at in range(begin // cluster, -(-end // cluster))})
            runs = [(at * cluster, (at + 1) * cluster) for at in clusters]
        lot, cut = random.Random(4), []
        for begin, end in runs:
            while begin < end:
                length = end - begin if cluster else min(end - begin, lot.choice((1, 3, 17, 200)) * PIECE)
                cut.append((begin, length))
                begin += length
        lot.shuffle(cut)
        for at, length in cut:
            content = os.pread(other.fileno(), length, at)
            if not any(content) and not cluster:
                yield f"write -q -z {at} {length}"
                continue
            (folder / "pieces").mkdir(exist_ok=True)
            (folder / "pieces" / str(at)).write_bytes(content)
            yield f"write -q {'-c ' if cluster else ''}-s pieces/{at} {at} {length}"


def bytes_of(size):
    return int(size.rstrip("kM")) << {"k": 10, "M": 20}.get(size[-1], 0)


def make(folder, chosen):
    """The image of a combination."""
    words = [f"{name}={chosen[name]}" for name in ("compat", "cluster_size", "refcount_bits", "extended_l2", "preallocation",
                                                   "lazy_refcounts") if chosen[name] != OPTIONS[name][0]]
    if chosen["compressed"] == "zstd":
        words.append("compression_type=zstd")
    if chosen["data_file"] != "no":
        words += ["data_file=data", f"data_file_raw={'on' if chosen['data_file'] == 'raw' else 'off'}"]
    if chosen["encrypt.format"] != "no":
        words += [f"encrypt.format={chosen['encrypt.format']}", "encrypt.key-secret=key"]
    if chosen["encrypt.format"] == "luks":
        words.append("encrypt.iter-time=10")
    given = [*SECRET, *(["-o", ",".join(words)] if words else [])]
    compressed = chosen["compressed"] != "no"
    if chosen["way"] != "overlay":
        below = ["-B", "base", "-F", "qcow2"] if chosen["way"] == "backing" else []
        return cowvet(folder, "convert", *given, "-f", "raw", "-O", "qcow2", *below, *(["-c"] if compressed else []), "disk.raw",
                      "disk")
    made = cowvet(folder, "create", "-q", *given, "-f", "qcow2", "-b", "base", "-F", "qcow2", "disk")
    if made.code != 0:
        return made
    commands = pieces(folder, bytes_of(chosen["cluster_size"]) if compressed else 0)
    return cowvet(folder, "io", *opened(chosen), *(word for command in commands for word in ("-c", command)))


def opened(chosen):
    """How the image is opened."""
    if chosen["encrypt.format"] == "no":
        return ["disk"]
    return [*SECRET, "--image-opts", "driver=qcow2,file.filename=disk,encrypt.key-secret=key"]


def examine(folder, chosen):
    """Makes the image, and looks at it and at what it becomes."""
    for left in ("disk", "data", "back.raw"):
        (folder / left).unlink(missing_ok=True)
    made = make(folder, chosen)
    for said in (made, run([COWVET, "check", "disk"], folder), run(["qemu-img", "check", *opened(chosen)], folder),
                 cowvet(folder, "convert", *opened(chosen), "-O", "raw", "back.raw"), run(["e2fsck", "-fn", "back.raw"], folder)):
        if said.code != 0:
            return f"{made}{said}"
    if made.err or not same_bytes(folder, "back.raw"):
        return f"{made}other bytes"
    (folder / "back.raw").unlink()
    said = run(["qemu-img", "convert", *opened(chosen), "-O", "raw", "back.raw"], folder)
    if said.code != 0 or not same_bytes(folder, "back.raw"):
        return f"{made}{said}qemu-img reads other bytes"
    return None


with scratch(ROOM) as name:
    folder = Path(name)
    file_systems(folder)
    print("  ".join([*(f"{option:{max(map(len, [option, *OPTIONS[option]]))}}" for option in OPTIONS), "seconds"]))
    tried = 0
    for chosen in combinations(3 if LONG else 2):
        began = time.monotonic()
        complaint = examine(folder, chosen)
        tried += 1
        row = "  ".join(f"{value:{max(map(len, [option, *OPTIONS[option]]))}}" for option, value in chosen.items())
        print(f"{row}  {time.monotonic() - began:7.2f}{'  FAILED' if complaint else ''}", flush=True)
        if complaint:
            complaints.append(f"{chosen}\n{complaint}")

print(f"{tried} combinations of options")
for complaint in complaints[:20]:
    print(complaint)
if complaints or tried < 20:
    sys.exit(f"{len(complaints)} combinations fail")
