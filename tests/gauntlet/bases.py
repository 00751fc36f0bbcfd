"""The sound images that the gauntlet damages: small ones over all features of the format, made by the installed QEMU.

Each guest cluster that is written holds bytes of its own, different in every place and every layer, so that a cluster that
turns up in a wrong place is seen. make(folder) creates one; all of a Base that is compared with later is read from the sound
image: `layers` by QEMU, `places` by layout.py.
"""
import os
import random
import shutil
from pathlib import Path

import beside  # noqa: F401
import programs
import truth
from layout import Layout
from programs import SECRET, run

IMAGE = "image.qcow2"
CORPUS = os.environ.get("COWVET_CORPUS", str(programs.SOURCE / "build" / "release" / "corpus" / "cowvet-corpus"))
PIECES = "pieces"


class Base:
    """One sound image in a folder of its own, with what it stands on or keeps its data in beside it."""

    def __init__(self, name, cluster=0, clusters=0, options="", steps=(), secret=False, below=None, recipe=None):
        self.name, self.cluster, self.clusters, self.options = name, cluster, clusters, options
        self.steps, self.secret, self.below, self.recipe = steps, secret, below, recipe
        self.commands, self.written = [], set()

    def target(self, name=IMAGE):
        """The words that name the image, or a copy of it, to a QEMU tool."""
        if self.secret:
            return [*SECRET, "--image-opts", f"driver=qcow2,file.filename={name},encrypt.key-secret=key"]
        return ["--image-opts", f"driver=qcow2,file.filename={name}"]

    def do(self, *words):
        said = run(words, self.folder)
        self.commands.append(said.words)
        if said.code != 0 or "failed" in said.out + said.err:
            raise RuntimeError(f"{self.name}: {said}")

    def make(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir()
        size = self.clusters * self.cluster
        if self.recipe:
            (self.folder / "recipe").write_text(self.recipe)
            self.do(CORPUS, "make", "recipe", IMAGE)
        else:
            self.create(size)
        (self.folder / PIECES).mkdir()
        for number, step in enumerate(self.steps):
            self.take(number, *step)
        shutil.rmtree(self.folder / PIECES)
        return self.look(IMAGE, [path.name for path in self.folder.iterdir() if path.name not in (IMAGE, "recipe")])

    def look(self, name, beside):
        """Reads what the sound image holds; `beside`: the files that it needs."""
        self.do("qemu-img", "check", "-q", *self.target(name))
        self.original = (self.folder / name).read_bytes()
        self.layout = Layout(self.original)
        self.cluster, self.beside = self.layout.cluster, beside
        self.layers = {**truth.layers(self.folder, self.target(name), self.cluster), **truth.vm_states(self.original)}
        # What was allocated but never written is zeros: there is nothing in it to lose.
        self.places = {layer: {guest: place for guest, place in where.items() if guest in self.layers[layer].clusters}
                       for layer, where in truth.places(self.layout).items()}
        return self

    def create(self, size):
        words = []
        if self.below == "raw":
            (self.folder / "below.raw").write_bytes(self.content("below", 0, size // 2))
            words = ["-b", "below.raw", "-F", "raw"]
        elif self.below:
            self.do("qemu-img", "create", "-q", "-f", "qcow2", "-o", self.below, "below.qcow2", str(size))
            (self.folder / "piece").write_bytes(self.content("below", 0, size // 2))
            self.do("qemu-io", "-c", f"write -q -s piece 0 {size // 2}", "below.qcow2")
            (self.folder / "piece").unlink()
            words = ["-b", "below.qcow2", "-F", "qcow2"]
        options = [f"cluster_size={self.cluster}", *filter(None, [self.options])]
        key = [*SECRET, "-o", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10"] if self.secret else []
        self.do("qemu-img", "create", "-q", "-f", "qcow2", *key, "-o", ",".join(options), *words, IMAGE, str(size))

    def content(self, tag, begin, length, dense=False):
        """Bytes that no other place or layer has; a quarter of each cluster is noise where they are to be compressed."""
        made = bytearray()
        for at in range(begin, begin + length, self.cluster):
            noise = random.Random(f"{self.name} {tag} {at}").randbytes(self.cluster // 4 if dense else self.cluster)
            made += noise.ljust(self.cluster, noise[:1] or b"x")
        return bytes(made[:length])

    def take(self, number, how, *rest):
        """One step: writes of guest clusters (`runs`: pairs of first and number), or anything that qemu-img does."""
        if how not in ("write", "compressed", "zero", "discard", "part"):
            words = {"snapshot": ["snapshot", "-q", "-c", rest[0]], "delete": ["snapshot", "-q", "-d", rest[0]],
                     "bitmap": ["bitmap", "--add", "-g", str(max(self.cluster, 512))]}[how]
            after = [rest[0]] if how == "bitmap" else []
            self.do("qemu-img", *words, *self.target(), *after)
            return
        commands = []
        for first, count in rest:
            runs = [(first, count)]
            if how == "compressed":  # QEMU compresses no cluster that is there already
                runs = [(cluster, 1) for cluster in range(first, first + count) if cluster not in self.written]
            elif how == "write":
                self.written |= set(range(first, first + count))
            for at, length in ((first * self.cluster, count * self.cluster) for first, count in runs):
                piece = f"{PIECES}/{number}-{at}"
                if how in ("zero", "discard"):
                    commands.append(f"write -q -z {at} {length}" if how == "zero" else f"discard -q {at} {length}")
                    continue
                length = length if how != "part" else max(512, length // 4)
                (self.folder / piece).write_bytes(self.content(number, at, length, how == "compressed"))
                commands.append(f"write -q {'-c ' if how == 'compressed' else ''}-s {piece} {at} {length}")
        self.do("qemu-io", *(word for command in commands for word in ("-c", command)), *self.target())


def spread(clusters, step, length):
    """Runs of `length` clusters every `step` ones."""
    return [(first, length) for first in range(0, clusters - length + 1, step)]


def every():
    """All images, not made yet. The disks are small, but those of small clusters have several L2 tables."""
    tiny, small = (320, spread(320, 17, 5)), (1300, spread(1300, 60, 3))  # 512 B: 5 tables; 4 KiB: 3 tables
    few = (60, spread(60, 9, 4))

    def plain(name, cluster, shape, options="", steps=(), **more):
        return Base(name, cluster, shape[0], options, [("write", *shape[1]), *steps], **more)

    def snapshots(shape):
        clusters, runs = shape
        return [("snapshot", "first"), ("write", *[(first + 1, 2) for first, _ in runs[::2]]), ("snapshot", "second"),
                ("write", *[(first, 1) for first, _ in runs[1::3]]), ("zero", (runs[2][0], 1))]

    bitmaps = [("bitmap", "every-day"), ("write", (7, 3)), ("bitmap", "every-week"), ("write", (1, 2))]
    luks = {"secret": True}
    return [
        plain("64k", 65536, few),
        plain("64k, version 2", 65536, few, "compat=0.10"),
        plain("512, 16 bits", 512, tiny),
        plain("512, 1 bit", 512, tiny, "refcount_bits=1", [("zero", (40, 9))]),
        plain("1k, 2 bits, snapshot", 1024, (640, spread(640, 31, 4)), "refcount_bits=2",
              [("snapshot", "only"), ("write", (31, 3), (200, 8))]),
        plain("4k, 4 bits", 4096, small, "refcount_bits=4", [("zero", (90, 9)), ("discard", (120, 2))]),
        plain("4k, 8 bits, snapshots", 4096, small, "refcount_bits=8", snapshots(small)),
        plain("4k, 32 bits, lazy", 4096, small, "refcount_bits=32,lazy_refcounts=on"),
        plain("4k, 64 bits, snapshots, bitmaps", 4096, small, "refcount_bits=64", [*snapshots(small), *bitmaps]),
        plain("4k, version 2, snapshots", 4096, small, "compat=0.10", snapshots(small)[:4]),
        plain("512, snapshots", 512, tiny, "", snapshots(tiny)),
        plain("4k, zlib", 4096, small, "", [("compressed", (10, 20), (700, 12)), ("write", (15, 2))]),
        plain("16k, zstd", 16384, (200, spread(200, 21, 4)), "compression_type=zstd", [("compressed", (5, 9), (100, 20))]),
        plain("64k, zlib, snapshot", 65536, few, "", [("compressed", (30, 16)), ("snapshot", "only"), ("compressed", (22, 4)),
                                                     ("write", (33, 2))]),
        plain("16k, subclusters", 16384, (2100, spread(2100, 150, 2)), "extended_l2=on", [("part", (1, 1), (17, 1), (1500, 1))]),
        plain("64k, subclusters, zlib, snapshot", 65536, few, "extended_l2=on",
              [("compressed", (36, 6)), ("part", (50, 1)), ("snapshot", "only"), ("part", (0, 1)), ("write", (9, 1))]),
        plain("4k, data file", 4096, small, "data_file=payload"),
        plain("64k, raw data file", 65536, few, "data_file=payload,data_file_raw=on", [("zero", (30, 2))]),
        plain("4k, overlay", 4096, small, "", [("zero", (70, 9)), ("compressed", (80, 5))], below="cluster_size=4096"),
        plain("64k, version 2, overlay of raw", 65536, few, "compat=0.10", below="raw"),
        plain("4k, LUKS", 4096, small, "", **luks),
        plain("512, LUKS, snapshots, bitmap", 512, tiny, "", [*snapshots(tiny), *bitmaps[:2]], **luks),
        plain("2M", 2 << 20, (5, [(0, 1), (3, 2)])),
        plain("4k, bitmaps", 4096, small, "", bitmaps),
        plain("64k, preallocated", 65536, (24, [(0, 5), (11, 6)]), "preallocation=metadata"),
        plain("4k, snapshot deleted", 4096, small, "", [*snapshots(small), ("delete", "first")]),
        Base("4k, VM states", 4096, 256, recipe="image size=1M cluster_size=4K\ndata 0..20 content=noise\n"
             "snapshot name=one vm_state=20K\ndata 9,30 content=noise\nsnapshot name=two vm_state=9000\n", steps=[("write", (3, 5), (100, 9))]),
    ]


def make_all(folder, names=None):
    """Makes the images (those of the given names), each in a folder of its own; each must be unlike any other in its bytes."""
    made = []
    for number, base in enumerate(every()):
        if names is None or base.name in names:
            made.append(base.make(folder / str(number)))
            for layer, content in base.layers.items():
                if len(set(content.clusters.values())) != len(content.clusters):
                    raise RuntimeError(f"{base.name}: two clusters of {layer or 'the disk'} hold the same")
    return made
