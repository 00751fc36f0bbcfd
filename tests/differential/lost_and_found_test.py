"""Lost tables that nothing in the image has a place for: those of all layers come back by their order and counts; what stays without a
place is kept in a snapshot of its own, reads there, and is never freed; a disk whose size was lost loses nothing."""
import hashlib
import random
import sys
from pathlib import Path

from expecting import expect, must, verdict
from programs import cowvet, need, run, scratch

CLUSTER, TABLE = 4096, 4096 * 512  # bytes, and under one L2 table


def write(folder, image, tag, *clusters):
    for cluster in clusters:
        (folder / "piece").write_bytes(random.Random(f"{tag} {cluster}").randbytes(CLUSTER))
        must(folder, "qemu-io", "-c", f"write -q -s piece {cluster * CLUSTER} {CLUSTER}", image)


def pieces(folder, image, *words):
    """Digests of the clusters that are not zeros, in order."""
    must(folder, "qemu-img", "convert", "-O", "raw", *words, image, "read.raw")
    content = (folder / "read.raw").read_bytes()
    found = [(at // CLUSTER, content[at:at + CLUSTER]) for at in range(0, len(content), CLUSTER) if any(content[at:at + CLUSTER])]
    return [(at, hashlib.sha256(piece).hexdigest()) for at, piece in found]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def zero_l1(path, *tables):
    content = bytearray(path.read_bytes())
    for offset, entries in tables:
        content[offset:offset + 8 * entries] = bytes(8 * entries)
    path.write_bytes(content)


def active_l1(path):
    header = path.read_bytes()[:104]
    return int.from_bytes(header[40:48], "big"), int.from_bytes(header[36:40], "big")


def snapshot_l1(path):
    content = path.read_bytes()
    at = int.from_bytes(content[64:72], "big")
    return int.from_bytes(content[at:at + 8], "big"), int.from_bytes(content[at + 8:at + 12], "big")


def without_place(folder):
    """Three tables for six entries."""
    image = folder / "placeless.qcow2"
    must(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={CLUSTER}", image.name, str(6 * TABLE))
    write(folder, image.name, "a", 3, 4, 9, 2 * 512 + 5, 2 * 512 + 6, 4 * 512 + 100, 4 * 512 + 200)
    right = [piece for _, piece in pieces(folder, image.name)]
    zero_l1(image, active_l1(image))
    before = digest(image)
    said = cowvet(folder, "repair", "--level", "leaks", image.name)
    expect(digest(image) == before and "internal snapshot" in said.out, "not kept, and not freed, without a choice", said)
    said = cowvet(folder, "repair", "--level", "all", "--allow-loss", image.name)
    expect(said.code == 0 and run(["qemu-img", "check", "-q", image.name], folder).code == 0, "sound for both programs", said)
    kept = [piece for _, piece in pieces(folder, image.name, "-l", "snapshot.name=lost+found-1")]
    expect(kept == right, f"all of it reads in the snapshot: {len(kept)} of {len(right)} pieces", said)
    after = digest(image)
    said = cowvet(folder, "repair", "--level", "all", "--allow-loss", image.name)
    expect(said.code == 0 and digest(image) == after, "a second repair frees nothing", said)
    said = cowvet(folder, "undo", f"{image.name}.cowvet-undo")
    expect(said.code == 0 and digest(image) == before, "taken back", said)
    said = cowvet(folder, "salvage", image.name, "saved.qcow2")
    expect([piece for _, piece in pieces(folder, "saved.qcow2", "-l", "snapshot.name=lost+found-1")] == right, "salvage takes it along", said)


def all_layers(folder):
    """The L1 tables of the disk and of its snapshot are gone; the tables below tell whose they were."""
    image = folder / "layers.qcow2"
    must(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={CLUSTER}", image.name, str(3 * TABLE))
    write(folder, image.name, "a", 1, 2, 3, 512 + 1, 512 + 2, 1024 + 8)
    must(folder, "qemu-img", "snapshot", "-c", "before", image.name)
    write(folder, image.name, "b", 2, 512 + 2, 512 + 3)
    active, earlier = pieces(folder, image.name), pieces(folder, image.name, "-l", "before")
    zero_l1(image, active_l1(image), snapshot_l1(image))
    said = cowvet(folder, "repair", "--level", "all", image.name)
    expect(said.code == 0 and pieces(folder, image.name) == active, "the disk", said)
    expect(pieces(folder, image.name, "-l", "before") == earlier, "its snapshot", said)
    expect(run(["qemu-img", "check", "-q", image.name], folder).code == 0, "sound for qemu-img", said)


def without_size(folder):
    """Header and L1 table are gone; with extended L2 entries, not even the tables are told."""
    image = folder / "sizeless.qcow2"
    must(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=16k,extended_l2=on", image.name, "8M")
    write(folder, image.name, "a", 1, 2, 3, 700)
    l1 = active_l1(image)
    zero_l1(image, (0, 16384 // 8), l1)
    counts = image.read_bytes()[32768:49152]
    said = cowvet(folder, "repair", "--level", "all", "--allow-loss", image.name)
    expect(all(new >= old for old, new in zip(counts, image.read_bytes()[32768:49152])), "nothing is freed", said)


def main():
    need("qemu-img", "qemu-io")
    with scratch() as place:
        folder = Path(place)
        without_place(folder)
        all_layers(folder)
        without_size(folder)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
