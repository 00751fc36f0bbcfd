"""Real file systems in images, and the checkers that judge what is left of them: ext4, XFS, FAT and NTFS, each filled with files
as its own tools do it, in images of several shapes as `qemu-img convert` writes them.
"""
import random
from collections import namedtuple

import beside  # noqa: F401
from programs import run

# mebibytes of the file system, options of the image, words for convert
Shape = namedtuple("Shape", "size options words")
MIB = 1 << 20

SHAPES = [Shape(16, "cluster_size=65536", []),
          Shape(48, "cluster_size=4096", []),
          Shape(24, "cluster_size=65536,compat=0.10", []),
          Shape(32, "cluster_size=16384,extended_l2=on", []),
          Shape(20, "cluster_size=65536", ["-c"]),
          Shape(64, "cluster_size=32768,refcount_bits=8,compression_type=zstd", ["-c"])]
XFS_LEAST = 300  # MiB: mkfs.xfs makes none that is smaller


def must(words, folder):
    said = run(words, folder)
    if said.code != 0:
        raise RuntimeError(str(said))
    return said


def files(folder, lot):
    """A tree of a few files of all sizes, about 5 MiB, half of it noise."""
    folder.mkdir()
    for number in range(6):
        (folder / f"dir{number}").mkdir()
        for name in range(12):
            length = lot.choice((0, 100, 5000, 40_000, 300_000))
            noise = lot.randbytes(length // 2)
            (folder / f"dir{number}" / f"file{name}").write_bytes(noise + b"a line of text like any other\n" * (length // 60))
    return folder


def ext4(folder, tree, size):
    must(["mke2fs", "-q", "-t", "ext4", "-d", tree, "disk.raw", f"{size}M"], folder)


def xfs(folder, tree, size):
    lines = ["/", "0 0", "d--755 0 0"]
    for directory in sorted(tree.iterdir()):
        lines += [f"{directory.name} d--755 0 0", *(f"{file.name} ---644 0 0 {file}" for file in sorted(directory.iterdir())), "$"]
    (folder / "proto").write_text("\n".join([*lines, "$"]) + "\n")
    with open(folder / "disk.raw", "wb") as file:
        file.truncate((size + XFS_LEAST) * MIB)
    must(["mkfs.xfs", "-q", "-p", "proto", "disk.raw"], folder)


def vfat(folder, tree, size):
    with open(folder / "disk.raw", "wb") as file:
        file.truncate(size * MIB)
    must(["mkfs.vfat", "disk.raw"], folder)
    must(["mcopy", "-i", "disk.raw", "-s", *sorted(tree.iterdir()), "::/"], folder)


def ntfs(folder, tree, size):
    with open(folder / "disk.raw", "wb") as file:
        file.truncate(size * MIB)
    must(["mkfs.ntfs", "-q", "-F", "-f", "disk.raw"], folder)
    for file in sorted(tree.glob("*/*"))[::3]:
        must(["ntfscp", "-q", "disk.raw", file, f"{file.parent.name}-{file.name}"], folder)


MAKERS = {"ext4": ext4, "XFS": xfs, "FAT": vfat, "NTFS": ntfs}
CHECKERS = {"ext4": ["e2fsck", "-fn"], "XFS": ["xfs_repair", "-n"], "FAT": ["fsck.vfat", "-n"], "NTFS": ["ntfsfix", "-n"]}
NEEDED = ["mke2fs", "mkfs.xfs", "mkfs.vfat", "mkfs.ntfs", "ntfscp", "mcopy", *(words[0] for words in CHECKERS.values())]


def make(system, shape, folder):
    """disk.raw and image.qcow2 in an empty folder, both the same file system, found sound by its checker."""
    tree = files(folder / "files", random.Random(f"{system} {shape.size}"))
    MAKERS[system](folder, tree, shape.size)
    if not sound(system, folder, "disk.raw"):
        raise RuntimeError(f"{system} of {shape.size} MiB: its own checker finds fault with it")
    must(["qemu-img", "convert", *shape.words, "-f", "raw", "-O", "qcow2", "-o", shape.options, "disk.raw", "image.qcow2"], folder)


def sound(system, folder, name):
    """What the file system's own checker says of a raw file."""
    return run([*CHECKERS[system], name], folder).code == 0
