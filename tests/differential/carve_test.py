"""carve: what a deleted snapshot held is found again as far as nothing was written over it, for several amounts of later
writing; what is told as certain is the truth; and where qemu-img gave the space back to the file system nothing is found.

COWVET_LONG=1 prints the table of docs/design.md, over larger images.
"""
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from programs import LONG, cowvet, run

complaints, looked_at = [], 0
MIB = 1 << 20
KEPT = "driver=qcow2,discard=ignore,file.discard=ignore,file.filename="


def expect(condition, what, said=""):
    global looked_at
    looked_at += 1
    if not condition:
        complaints.append(f"{what}\n{str(said)[-900:]}")


def must(words, folder):
    said = run(words, folder)
    if said.code != 0:
        sys.exit(f"the test can't be set up:\n{said}")
    return said


def write(folder, image, commands):
    must(["qemu-io", *(word for command in commands for word in ("-c", command)), image], folder)


def fates(path):
    """(begin, end, fate) of the map's ranges."""
    fate = "certain"
    seen = 0
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            fate = "inferred" if line.startswith("# inferred") else fate
            continue
        seen += 1
        if seen == 1:
            continue
        begin, length, status = line.split()
        yield int(begin, 16), int(begin, 16) + int(length, 16), fate if status == "+" else "lost"
        fate = "certain"


def prepare(folder, unit, options=()):
    """An image with a snapshot of 64 written units, 20 of which were written again; the snapshot's content."""
    must(["qemu-img", "create", "-q", "-f", "qcow2", *options, "image.qcow2", str(256 * unit)], folder)
    write(folder, "image.qcow2", [f"write -q -P {i + 1} {2 * i * unit} {unit}" for i in range(64)])
    must(["qemu-img", "snapshot", "-c", "gone", "image.qcow2"], folder)
    write(folder, "image.qcow2", [f"write -q -P {i + 100} {4 * i * unit} {unit}" for i in range(20)])
    must(["qemu-img", "convert", "-l", "gone", "-O", "raw", "image.qcow2", "truth.raw"], folder)
    return (folder / "truth.raw").read_bytes()


def carve(folder, what, *words):
    before = hashlib.sha256((folder / "image.qcow2").read_bytes()).digest()
    said = cowvet(folder, "carve", "--output", "json", *words)
    expect(hashlib.sha256((folder / "image.qcow2").read_bytes()).digest() == before, f"{what}: the image was written to", said)
    return said


def hold(folder, what, truth, number=1):
    """Extracts a carved disk; bytes that were stored then, and how many of them are right."""
    for old in folder.glob("old*"):
        old.unlink()
    said = carve(folder, what, "--extract", str(number), "--map", "old.map", "image.qcow2", "old.qcow2")
    expect(said.code == 0, f"{what}: extracting", said)
    if said.code != 0:
        return 0, 0
    checked = run(["qemu-img", "check", "old.qcow2"], folder)
    expect(checked.code == 0, f"{what}: qemu-img check of what was carved", checked)
    must(["qemu-img", "convert", "-O", "raw", "old.qcow2", "old.raw"], folder)
    ours = (folder / "old.raw").read_bytes()
    expect(len(ours) == len(truth), f"{what}: the size is {len(ours)}", said)
    right = stored = 0
    for begin, end, fate in fates(folder / "old.map"):
        if fate == "certain":
            expect(ours[begin:end] == truth[begin:end], f"{what}: {begin:#x} is told as certain, and differs", said)
        if fate == "lost":
            expect(not ours[begin:end].strip(b"\0"), f"{what}: {begin:#x} is lost, and not zeros", said)
        for at in range(begin, end, 512):
            if truth[at:at + 512].strip(b"\0"):
                stored += 512
                right += 512 if ours[at:at + 512] == truth[at:at + 512] else 0
    return stored, right


with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch)
    unit = 64 << 10
    table = []
    for units in (0, 8, 32) if not LONG else (0, 4, 8, 12, 16, 20, 24, 28, 32, 48, 64):
        for reused in (False, True):  # what is written later: new places, or what the snapshot shared with the present
            truth = prepare(folder, unit, ["-o", "cluster_size=4k"])  # so that there are several tables
            must(["qemu-img", "snapshot", "--image-opts", "-d", "gone", KEPT + "image.qcow2"], folder)
            if units:
                write(folder, "image.qcow2", [f"write -q -P 222 {(2 * i + (0 if reused else 1)) * unit} {unit}" for i in range(units)])
            what = f"{units} clusters written {'over the old ones' if reused else 'elsewhere'}"
            said = carve(folder, what, "image.qcow2")
            disks = said.json()["disks"] if said.out else []
            if not disks:
                table.append((units, reused, 0, 0, 0))
                expect(units > 8, f"{what}: nothing is found", said)
                continue
            if units == 0:
                expect(disks[0]["kind"] == "snapshot" and disks[0]["name"] == "gone" and disks[0]["lost"] == 0, f"{what}: the snapshot", said)
            stored, right = hold(folder, what, truth)
            expect(units > 0 or right == stored, f"{what}: {right} of {stored} bytes are right", said)
            table.append((units, reused, disks[0]["confidence"], right, stored))

    # Its L1 table is gone: the L2 table is placed by what it has in common with the present one.
    truth = prepare(folder, unit)
    header = (folder / "image.qcow2").read_bytes()
    snapshots = int.from_bytes(header[64:72], "big")
    l1 = int.from_bytes(header[snapshots:snapshots + 8], "big")
    must(["qemu-img", "snapshot", "--image-opts", "-d", "gone", KEPT + "image.qcow2"], folder)
    with open(folder / "image.qcow2", "r+b") as file:
        file.seek(l1)
        file.write(bytes(unit))
    said = carve(folder, "without its L1 table", "image.qcow2")
    expect(said.code == 0 and said.json()["disks"][0]["kind"] == "l2-tables", "without its L1 table", said)
    stored, right = hold(folder, "without its L1 table", truth)
    expect(right == stored, f"without its L1 table: {right} of {stored} bytes are right")

    # As qemu-img deletes when not told otherwise, on a file system that takes space back, nothing is left; cowvet wipes tables.
    truth = prepare(folder, unit)
    must(["qemu-img", "snapshot", "-d", "gone", "image.qcow2"], folder)
    said = carve(folder, "given back", "image.qcow2")
    expect(said.code == 2 and not said.json()["disks"] or said.code == 0, "given back", said)
    prepare(folder, unit)
    said = carve(folder, "a snapshot that is there", "image.qcow2")
    expect(said.code == 2 and not said.json()["disks"], "a snapshot that is there is not an old one", said)
    for options in (["-o", "extended_l2=on"], ["-o", "compat=0.10"]):
        truth = prepare(folder, unit, options)
        must(["qemu-img", "snapshot", "--image-opts", "-d", "gone", KEPT + "image.qcow2"], folder)
        stored, right = hold(folder, str(options), truth)
        expect(right == stored, f"{options}: {right} of {stored} bytes are right")
    for words, says in ((["--extract", "9", "image.qcow2", "new"], "no number 9"), (["--extract", "1", "image.qcow2"], "OUT"),
                        (["truth.raw"], "qcow2")):
        said = cowvet(folder, "carve", *words)
        expect(said.code == 1 and says in said.err and not (folder / "new").exists(), f"{words}", said)

print("later writes  over   confidence  right")
for units, reused, confidence, right, stored in table:
    print(f"{units:7} of 64  {'old' if reused else 'new'}   {confidence:10.0%}  {right / stored if stored else 0:5.0%}")
print(f"{looked_at} looked at, {len(complaints)} complaints")
if complaints:
    sys.exit("\n".join(complaints[:20]))
