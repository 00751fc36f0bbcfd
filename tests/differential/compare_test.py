"""`compare` of cowvet beside qemu-img's: every pair of images, with and without -s, and images that can't be read.

Same exit code and the same words. Strict mode is held against QEMU's with care: QEMU also takes it for a difference when
runs of the same allocation end in different places while one of them reaches the end of its disk (docs/peers.md). Where
only QEMU finds a difference of allocation, `qemu-img map` must show none there.
"""
import itertools
import json
import sys
from pathlib import Path

from layout import OFFSET, Layout
from programs import COWVET, SECRET, need, run, scratch

need("qemu-img", "qemu-io")
complaints = []
counts = {"compared": 0, "of them different": 0, "failing": 0, "different for QEMU alone": 0}


def create(file, size, *options):
    return ["qemu-img", "create", "-q", "-f", "qcow2", *(["-o", ",".join(options)] if options else []), file, size]


def io(file, *commands):
    return ["qemu-io", *(word for command in commands for word in ("-c", command)), file]


WRITES = ["write -P 1 0 200k", "write -P 2 700k 300k", "write -P 3 2M 1k"]
IMAGES = {
    "empty": [create("empty", "4M")],
    "empty-tiny": [create("empty-tiny", "4M", "cluster_size=512")],
    "plain": [create("plain", "4M"), io("plain", *WRITES)],
    "scattered": [create("scattered", "4M"), io("scattered", *reversed(WRITES))],
    "tiny": [create("tiny", "4M", "cluster_size=4k"), io("tiny", *WRITES)],
    "large": [create("large", "4M", "cluster_size=2M"), io("large", *WRITES)],
    "pieces": [create("pieces", "4M", "extended_l2=on"), io("pieces", *WRITES)],
    "longer": [create("longer", "5M"), io("longer", *WRITES)],
    "longer-zeros": [create("longer-zeros", "5M"), io("longer-zeros", *WRITES, "write -P 0 4M 200k", "write -z 4500k 100k")],
    "longer-data": [create("longer-data", "5M"), io("longer-data", *WRITES, "write -P 9 4400k 5")],
    "other-late": [create("other-late", "4M"), io("other-late", *WRITES, "write -P 9 2097300 3")],
    "other-early": [create("other-early", "4M"), io("other-early", *WRITES, "write -P 9 1000 1")],
    "zeros": [create("zeros", "4M"), io("zeros", *WRITES, "write -z 1M 512k")],
    "reserved-zeros": [create("reserved-zeros", "4M"), io("reserved-zeros", *WRITES, "write -P 5 1M 512k", "write -z 1M 512k")],
    "written-zeros": [create("written-zeros", "4M"), io("written-zeros", *WRITES, "write -P 0 1M 512k")],
    "preallocated": [create("preallocated", "4M", "preallocation=metadata"), io("preallocated", *WRITES)],
    "overlay": [create("overlay", "4M", "backing_file=plain", "backing_fmt=qcow2"), io("overlay", "write -P 2 800k 64k")],
    "overlay-other": [create("overlay-other", "4M", "backing_file=plain", "backing_fmt=qcow2"), io("overlay-other", "write -P 7 900k 512")],
    "compressed": [["qemu-img", "convert", "-c", "-O", "qcow2", "plain", "compressed"]],
    "zstd": [["qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd,cluster_size=2M", "plain", "zstd"]],
    "data-file": [create("data-file", "4M", "data_file=data"), io("data-file", *WRITES)],
    "flat.raw": [["qemu-img", "convert", "-O", "raw", "plain", "flat.raw"]],
    "full.raw": [["qemu-img", "convert", "-S", "0", "-O", "raw", "plain", "full.raw"]],
}


def map_at(folder, image, offset):
    """What `qemu-img map` says of one place, whether a run ends there or not. Whether the file has a hole where a cluster
    is allocated is left out: QEMU looks only when it believes that the image was preallocated."""
    for run_ in json.loads(run(["qemu-img", "map", "--output=json", image], folder).out):
        if run_["start"] <= offset < run_["start"] + run_["length"]:
            return {"present": run_["present"], "data": run_["data"], "zero": run_["zero"] and not run_["data"]}
    return None


def compare(folder, *words):
    theirs, ours = run(["qemu-img", "compare", *words], folder), run([COWVET, "compare", *words], folder)
    counts["compared"] += 1
    counts["of them different"] += ours.code == 1
    counts["failing"] += ours.code > 1
    if (theirs.code, theirs.out) == (ours.code, ours.out):
        return ours
    if "block status mismatch" in theirs.out and ours.code in (0, 1):
        offset = int(theirs.out.split("Offset ")[1].split()[0])
        if map_at(folder, words[-2], offset) == map_at(folder, words[-1], offset):
            counts["different for QEMU alone"] += 1
            return ours
    complaints.append(f"{theirs}{ours}")
    return ours


def damage(folder, name, change):
    """A copy of `plain` with one L2 entry changed."""
    content = bytearray(Path(folder, "plain").read_bytes())
    entry = next(e for e in Layout(bytes(content)).entries if e.kind == "data")
    content[entry.offset:entry.offset + 8] = change(entry.value).to_bytes(8, "big")
    Path(folder, name).write_bytes(content)


with scratch() as folder:
    for commands in IMAGES.values():
        for command in commands:
            said = run(command, folder)
            assert said.code == 0, said
    for first, second in itertools.product(IMAGES, IMAGES):
        strictly = [["-s"]] if first <= second else []
        for words in ([], *strictly):
            compare(folder, *words, first, second)
    for words in (["-q", "plain", "tiny"], ["-q", "plain", "other-early"], ["-f", "qcow2", "-F", "raw", "plain", "flat.raw"],
                  ["-f", "raw", "plain", "plain"], ["-F", "qcow2", "plain", "flat.raw"], ["-f", "lz4", "plain", "plain"], ["plain"],
                  ["plain", "plain", "plain"], [], ["plain", "none"], ["none", "plain"], ["--no-such", "plain", "plain"],
                  ["-T", "none", "plain", "plain"], ["-T", "some", "plain", "plain"], ["-U", "plain", "tiny"],
                  ["--image-opts", "driver=qcow2,file.filename=plain", "driver=qcow2,file.filename=tiny"],
                  ["--image-opts", "-f", "qcow2", "driver=qcow2,file.filename=plain", "driver=qcow2,file.filename=tiny"],
                  ["--object", "nonsense", "plain", "plain"]):
        compare(folder, *words)
    # An encrypted image beside a plain one, and without its key.
    for command in (["qemu-img", "create", "-q", *SECRET, "-f", "qcow2", "-o",
                     "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10", "luks", "4M"],
                    ["qemu-io", *SECRET, "--image-opts", *(w for c in WRITES for w in ("-c", c)),
                     "driver=qcow2,file.filename=luks,encrypt.key-secret=key"]):
        said = run(command, folder)
        assert said.code == 0, said
    for image in ("plain", "other-late"):
        compare(folder, *SECRET, "--image-opts", "driver=qcow2,file.filename=luks,encrypt.key-secret=key",
                f"driver=qcow2,file.filename={image}")
    compare(folder, "none", "luks")
    # What can't be told, and what can't be read: the second image is to blame in turn.
    damage(folder, "unaligned", lambda entry: entry + 512)
    damage(folder, "unreadable", lambda entry: entry & ~OFFSET | 1 << 62)
    for bad, code in (("unaligned", 3), ("unreadable", 4)):
        for words in ([bad, "plain"], ["plain", bad], [bad, "empty"]):
            ours = run([COWVET, "compare", *words], folder)
            counts["compared"] += 1
            counts["failing"] += 1
            if ours.code != code or not ours.err.startswith(f"cowvet: {bad}: "):
                complaints.append(f"{ours}should fail with {code}")
    theirs = run(["qemu-img", "compare", "unaligned", "plain"], folder)
    if theirs.code not in (3, 4):
        complaints.append(f"{theirs}the damage is none")
    # Reading stops being possible in one of many chunks: the first difference before it still counts.
    for first in ("other-early", "other-late"):
        ours = run([COWVET, "compare", "--jobs", "4", first, "unaligned"], folder)
        if ours.code != 3:
            complaints.append(f"{ours}the damage comes first")

print(f"{counts['compared']} combinations tried: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
for complaint in complaints[:20]:
    print(complaint)
if complaints or counts["compared"] < 800:
    sys.exit(f"{len(complaints)} differences")
