"""revert-check: a good snapshot is safe, with each of its structures damaged it is not; what would be lost is named to the
byte; nothing is ever written. And snapshot -a asks it first."""
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from jsonschema import Draft202012Validator

from program import complaints, cowvet, expect, make

SCHEMA = Draft202012Validator(json.loads(cowvet("schema", "revert-check").out))

# The snapshot has clusters 0 to 3 and a machine state; since then cluster 0 was written, and cluster 9 is new.
IMAGE = "image size=4M cluster_size=64K\ndata 0..1\ncompressed 2\ndata 3\nsnapshot name=good vm_state=100K\ndata 0 fill=9\ndata 9\n"
DAMAGE = {
    "its L1 table's place": "set snapshot[0].l1_table_offset = 0x7000000",
    "its L1 table is not aligned": "set snapshot[0].l1_table_offset += 512",
    "its L1 table's length": "set snapshot[0].l1_size = 0x5000000",
    "an L1 entry leads behind the end": "set snapshot[0].l1[0] = 0x700000000",
    "an L1 entry has reserved bits": "flip snapshot[0].l1[0] bit 3",
    "its L2 table is noise": "noise @snapshot[0].l2[0] for 65536 seed 3",
    "an L2 entry leads behind the end": "set snapshot[0].l2[0][0] = 0x700000000",
    "an L2 entry is not aligned": "set snapshot[0].l2[0][0].offset += 512",
    "a data cluster is not counted": "set refcount[@snapshot[0].data[0]] = 0",
    "a shared cluster is counted too low": "set refcount[@snapshot[0].data[1]] = 1",
    "its L2 table is not counted": "set refcount[@snapshot[0].l2[0]] = 0",
    "its L1 table is not counted": "set refcount[@snapshot[0].l1] = 0",
    "two of its clusters are one": "set snapshot[0].l2[0][0].offset = @data[1]",
    "the machine state is cut off": "set snapshot[0].vm_state_size_large = 0x200000000000",
    "the refcount table leads nowhere": "set reftable[0] = 0x700000000",
    "the image is marked as corrupt": "flip header.incompatible_features bit 1",
}
DEEP = {"a compressed cluster can't be decoded": "fill @snapshot[0].data[2] + 4 for 8 with 0xff"}
# What is wrong elsewhere does not stand in the way of going back.
ELSEWHERE = {"an L2 entry of the present": "set l2[0][9] = 0x700000000", "a new cluster is not counted": "set refcount[@data[9]] = 0"}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ask(path, *words):
    before = digest(path)
    said = cowvet("revert-check", "--output=json", *words, path)
    expect(digest(path) == before, "the image was written to", said)
    if not said.out:
        return said, {}
    document = json.loads(said.out)
    for error in list(SCHEMA.iter_errors(document))[:2]:
        complaints.append(f"{error.json_path}: {error.message[:200]}\n{said}")
    return said, document


with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch)
    image = folder / "image.qcow2"
    make(image, IMAGE)
    for words in ([], ["--deep"]):
        said, answer = ask(image, "--snapshot", "good", *words)
        expect(said.code == 3 and answer["verdict"] == "loss", "a good snapshot", said)
        expect(answer["lost"]["listed"] == [{"offset": 0, "length": 65536}, {"offset": 9 * 65536, "length": 65536}], "what is lost", said)
        expect(answer["vm-state-size"] == 100 * 1024 and answer["undo"]["possible"], "machine state, and room to undo", said)
    make(image, "image size=4M\ndata 0\nsnapshot name=good\n")
    expect(ask(image, "--snapshot", "1")[0].code == 0, "nothing happened since the snapshot")
    make(image, "image size=1M\ndata 0\nsnapshot name=good\nresize 2M\nbitmap name=b0\n")
    said, answer = ask(image, "--snapshot", "good")
    expect(said.code == 3 and answer["size-then"] == 1 << 20 and answer["size-now"] == 2 << 20 and answer["lost"]["bitmaps"] == ["b0"],
           "another size, and a bitmap", said)
    make(image, "image size=1M refcount_bits=1\n")
    expect(ask(image, "--snapshot", "none")[0].code == 1, "no such snapshot")
    for names, codes in ((DAMAGE, (2,)), (ELSEWHERE, (3,))):
        for what, damage in names.items():
            make(image, f"{IMAGE}damage:\n{damage}\n")
            said, answer = ask(image, "--snapshot", "good")
            expect(said.code in codes, what, said)
            if names is DAMAGE:
                before = digest(image)
                refused = cowvet("snapshot", "-a", "good", image)
                expect(refused.code == 1 and digest(image) == before, f"{what}: gone back to, or written", refused)
    for what, damage in DEEP.items():
        make(image, f"{IMAGE}damage:\n{damage}\n")
        said, answer = ask(image, "--deep", "--snapshot", "good")
        expect(said.code == 2, what, said)
    make(image, IMAGE)
    expect(cowvet("snapshot", "-a", "good", image).code == 0, "a good snapshot is gone back to")

    # A snapshot in an overlay: what the overlay stands on belongs to it, but going back does not need it.
    base = folder / "base.qcow2"
    make(base, "image size=4M\ndata 0..3\n")
    recipe = 'image size=4M\nbacking "base.qcow2" format=qcow2\ndata 0\nsnapshot name=good\n'
    make(image, recipe)
    for words in ([], ["--deep"]):
        expect(ask(image, "--snapshot", "good", *words)[0].code == 0, "a snapshot in an overlay")
    make(base, "image size=4M\ndata 0..3\ndamage:\nset l2[0][2] = 0x700000000\n")
    expect(ask(image, "--snapshot", "good")[0].code == 2, "a snapshot on a damaged base")
    base.unlink()
    expect(ask(image, "--snapshot", "good")[0].code == 2, "a snapshot without its base")
    expect(cowvet("snapshot", "-a", "good", image).code == 0, "the missing base does not hinder going back")

    # An overlay that would be discarded.
    make(base, "image size=4M\ndata 0..3\n")
    make(image, 'image size=4M\nbacking "base.qcow2" format=qcow2\n')
    for words in ([], ["--deep"]):
        expect(ask(image, "--overlay", *words)[0].code == 0, "an empty overlay")
    make(image, 'image size=5M\nbacking "base.qcow2" format=qcow2\ndata 2..4\nbitmap name=b\nsnapshot name=s\n')
    said, answer = ask(image, "--overlay")
    expect(said.code == 3 and answer["lost"]["bytes"] == 3 * 65536 and answer["lost"]["snapshots"] == ["s"] and answer["size-then"] == 4 << 20,
           "an overlay with data", said)
    make(folder / "above.qcow2", 'image size=5M\nbacking "image.qcow2" format=qcow2\n')
    said, answer = ask(image, "--overlay")
    expect(said.code == 2 and "above.qcow2" in said.out, "an overlay that another one stands on", said)
    (folder / "above.qcow2").unlink()
    make(base, "image size=4M\ndata 0..3\ndamage:\nset l2[0][2] = 0x700000000\n")
    expect(ask(image, "--overlay")[0].code == 2, "a damaged base")
    base.unlink()
    expect(ask(image, "--overlay")[0].code == 2, "a missing base")
    make(image, "image size=4M\n")
    expect(ask(image, "--overlay")[0].code == 1, "no overlay at all")
    human = cowvet("revert-check", "--overlay", image)
    expect(human.code == 1 and "backing file" in human.err, "said to a person", human)

print("\n".join(complaints[:20]))
sys.exit(1 if complaints else 0)
