"""repair --chain: from the base up; backing files that were moved or renamed are found again, proved by the file system that overlay
and base share; what is not it is not taken. repair --template: what the header of a sister image tells of a lost one. QEMU reads
what is read."""
import hashlib
import random
import sys
from pathlib import Path

from expecting import expect, must, verdict
from programs import cowvet, need, run, scratch

CLUSTER, SIZE = 65536, 24 << 20


def content(folder, image):
    must(folder, "qemu-img", "convert", "-O", "raw", image, "read.raw")
    return hashlib.sha256((folder / "read.raw").read_bytes()).hexdigest()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def file_system(folder, name, lot):
    """A raw ext4 with a few files; two of them differ in everything but their form."""
    tree = folder / f"{name}.tree"
    tree.mkdir()
    for number in range(40):
        (tree / f"file{number}").write_bytes(lot.randbytes(lot.choice((100, 5000, 60000))))
    must(folder, "mke2fs", "-q", "-t", "ext4", "-d", tree.name, f"{name}.raw", f"{SIZE >> 20}M")
    return folder / f"{name}.raw"


def prepare(folder):
    """below/base.qcow2 with an overlay in which a folder was added; other.qcow2: another disk of the same form."""
    lot = random.Random(3)
    (folder / "below").mkdir()
    raw = file_system(folder, "one", lot)
    before = raw.read_bytes()
    must(folder, "qemu-img", "convert", "-O", "qcow2", "one.raw", "below/base.qcow2")
    must(folder, "debugfs", "-w", "-R", "mkdir new", "one.raw")
    after = raw.read_bytes()
    must(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "below/base.qcow2", "-F", "qcow2", "top.qcow2")
    for at in range(0, SIZE, CLUSTER):
        if before[at:at + CLUSTER] != after[at:at + CLUSTER]:
            (folder / "piece").write_bytes(after[at:at + CLUSTER])
            must(folder, "qemu-io", "-c", f"write -q -s piece {at} {CLUSTER}", "top.qcow2")
    file_system(folder, "two", lot)
    must(folder, "qemu-img", "convert", "-O", "qcow2", "two.raw", "other.qcow2")
    right = hashlib.sha256(after).hexdigest()
    assert content(folder, "top.qcow2") == right
    return right


def moved(folder, right):
    """The base has another name and another folder, and beside the overlay lies a disk of the same form and its old name."""
    (folder / "elsewhere").mkdir()
    (folder / "below" / "base.qcow2").rename(folder / "elsewhere" / "renamed.qcow2")
    (folder / "other.qcow2").rename(folder / "base.qcow2")
    before = digest(folder / "top.qcow2")
    said = cowvet(folder, "repair", "--chain", "--level", "all", "top.qcow2")
    expect(said.code == 2 and "missing" in said.err and digest(folder / "top.qcow2") == before, "another disk is not taken", said)
    said = cowvet(folder, "repair", "--chain", "--plan", "--search", "elsewhere", "top.qcow2")
    expect("renamed.qcow2" in said.out and "prove themselves" in said.out, "the plan names it with the proof", said)
    expect(digest(folder / "top.qcow2") == before, "a plan writes nothing")
    said = cowvet(folder, "repair", "--chain", "--plan", "--output", "json", "--search", "elsewhere", "top.qcow2")
    told = said.json()["images"] if said.out else []
    expect([Path(link["filename"]).name for link in told] == ["renamed.qcow2", "top.qcow2"] and
           [action["rule"] for action in told[1]["repair"]["actions"]] == ["chain/missing"] and not told[0]["repair"]["actions"],
           "one document for the chain, from the base up", said)
    said = cowvet(folder, "repair", "--chain", "--output", "json", "top.qcow2")
    told = said.json()["images"] if said.out else []
    expect(said.code == 2 and len(told) == 1 and "missing" in told[0].get("problem", ""), "the document names what is missing", said)
    said = cowvet(folder, "repair", "--chain", "--search", "elsewhere", "top.qcow2")
    expect(said.code == 0 and content(folder, "top.qcow2") == right, "found again without any consent, since it is proved", said)
    said = cowvet(folder, "undo", "top.qcow2.cowvet-undo")
    expect(said.code == 0 and digest(folder / "top.qcow2") == before, "taken back", said)
    said = cowvet(folder, "repair", "--chain", "--search", "elsewhere", "top.qcow2")
    expect(said.code == 0, "and done again", said)
    said = cowvet(folder, "repair", "--chain", "top.qcow2")
    expect(said.code == 0 and "nothing" in said.out, "then nothing is left to do", said)


def damaged(folder, right):
    """The base is damaged: a repair of it alone is refused, since the overlay stands on it; in the chain it is done first."""
    base = folder / "elsewhere" / "renamed.qcow2"
    with open(base, "r+b") as file:
        file.seek(40)
        l1 = int.from_bytes(file.read(8), "big")
        file.seek(l1)
        file.write(bytes(8))
    said = cowvet(folder, "repair", "--level", "all", "--search", ".", "elsewhere/renamed.qcow2")
    expect(said.code == 1 and "overlay" in said.err, "alone it is refused", said)
    said = cowvet(folder, "repair", "--chain", "--level", "all", "top.qcow2")
    expect(said.code == 0 and content(folder, "top.qcow2") == right, "the base is mended, and the overlay shows what it showed", said)
    expect(said.out.find("renamed.qcow2:") < said.out.find("top.qcow2:"), "the base comes first", said)


def nameless(folder):
    """Nothing in the files proves anything: the name and the size do, but only when asked for a choice."""
    must(folder, "qemu-img", "create", "-q", "-f", "qcow2", "plain.qcow2", "4M")
    must(folder, "qemu-io", "-c", "write -q -P 9 0 1M", "plain.qcow2")
    must(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "plain.qcow2", "-F", "qcow2", "plain-top.qcow2")
    (folder / "plain.qcow2").rename(folder / "elsewhere" / "plain.qcow2")
    said = cowvet(folder, "repair", "--chain", "--search", "elsewhere", "plain-top.qcow2")
    expect(run(["qemu-img", "check", "-q", "plain-top.qcow2"], folder).code != 0 or "elsewhere" not in
           must(folder, "qemu-img", "info", "-U", "plain-top.qcow2").out, "not without being asked", said)
    said = cowvet(folder, "repair", "--chain", "--level", "all", "--search", "elsewhere", "plain-top.qcow2")
    expect("elsewhere/plain.qcow2" in must(folder, "qemu-img", "info", "plain-top.qcow2").out, "by choice", said)


def template(folder):
    """Header and L1 table are lost, with them the size and the backing file's name."""
    sister, image = "sister.qcow2", "lost.qcow2"
    for name in (sister, image):
        must(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "compression_type=zstd", "-b", "elsewhere/plain.qcow2", "-F", "qcow2",
             name, "4M")
    must(folder, "qemu-io", "-c", "write -q -P 5 64k 128k", image)
    right = content(folder, image)
    original = (folder / image).read_bytes()
    l1 = int.from_bytes(original[40:48], "big")
    hurt = bytearray(original)
    hurt[:CLUSTER] = bytes(CLUSTER)
    hurt[l1:l1 + 8] = bytes(8)
    (folder / image).write_bytes(hurt)
    said = cowvet(folder, "repair", "--level", "all", "--template", sister, image)
    expect(said.code in (0, 3) and content(folder, image) == right, "header, size and backing file as the sister has them", said)
    must(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "strange.qcow2", "4M")
    (folder / image).write_bytes(hurt)
    said = cowvet(folder, "repair", "--plan", "--level", "all", "--template", "strange.qcow2", image)
    expect(said.code == 1 and "template has other clusters" in said.err, "a template that contradicts the content is of no use", said)
    said = cowvet(folder, "repair", "--template", "nowhere.qcow2", image)
    expect(said.code == 1 and "nowhere.qcow2" in said.err, "a template that is missing", said)


def main():
    need("qemu-img", "qemu-io", "mke2fs", "debugfs")
    with scratch() as place:
        folder = Path(place)
        right = prepare(folder)
        moved(folder, right)
        damaged(folder, right)
        nameless(folder)
        template(folder)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
