"""chain --libvirt on XML that libvirt wrote (libvirt/README.md): in step with the images nothing is found but what is so; then
one thing at a time drifts apart, and is named. Nothing that the XML names is written or waited for."""
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from jsonschema import Draft202012Validator

from program import complaints, cowvet, expect, make

WRITTEN = Path(__file__).parent / "libvirt"
SCHEMA = Draft202012Validator(json.loads(cowvet("schema", "chain").out))


def overlay(path, below):
    make(path, f'image size=8M\nbacking "{below}" format=qcow2\n')


def edit(path, old, new):
    text = path.read_text()
    if old not in text:
        sys.exit(f"{path.name} has no {old}")
    path.write_text(text.replace(old, new))


class Machine:
    """A folder with the images of one set of XML, and the XML with its names."""

    def __init__(self, scratch, which):
        self.folder = Path(tempfile.mkdtemp(dir=scratch))
        self.images = self.folder / "images"
        self.images.mkdir()
        self.xml = self.folder / "xml"
        shutil.copytree(WRITTEN / which, self.xml)
        for file in self.xml.rglob("*.xml"):
            file.write_text(file.read_text().replace("/images", str(self.images)))
        self.base = self.images / "web.qcow2"

    def chain(self, *words):
        said = cowvet("chain", "--libvirt", self.xml, "--output=json", "--no-check", *words)
        if not said.out:
            return said, set()
        document = json.loads(said.out)
        for error in list(SCHEMA.iter_errors(document))[:2]:
            complaints.append(f"{error.json_path}: {error.message[:200]}\n{said}")
        found = {(finding["rule"], Path(part["filename"]).name)
                 for part in document["libvirt"] + document["nodes"] for finding in part["findings"]}
        return said, {one for one in found if not one[0].startswith("chain/")}


def session(scratch):
    machine = Machine(scratch, "session")
    make(machine.base, "image size=8M\nsnapshot name=one\nsnapshot name=two\n")
    overlay(machine.images / "web.three.qcow2", str(machine.base))
    overlay(machine.images / "web.four.qcow2", str(machine.images / "web.three.qcow2"))
    (machine.images / "web.four.mem").write_bytes(b"memory")
    return machine


def test_driver(scratch):
    machine = Machine(scratch, "test-driver")
    make(machine.base, "image size=8M\nsnapshot name=one\n")
    overlay(machine.images / "web.three.qcow2", "web.qcow2")
    (machine.images / "web.three.mem").write_bytes(b"memory")
    return machine


# How a session drifts apart, and what has to be found beside what is there anyway.
def gone(name):
    return lambda m: (m.images / name).unlink()


def lose_snapshot(m):
    make(m.base, "image size=8M\nsnapshot name=one\n")


def more_snapshots(m):
    make(m.base, "image size=8M\nsnapshot name=one\nsnapshot name=two\nsnapshot name=mine\n")


def back_to_base(m):
    for file in (m.xml / "web.xml", m.xml / "status.xml"):
        edit(file, f"<source file='{m.images}/web.four.qcow2'", f"<source file='{m.images}/web.three.qcow2'")


def as_raw(m):
    edit(m.xml / "web.xml", "type='qcow2'", "type='raw'")


def swapped(m):
    (m.images / "web.three.qcow2").unlink()
    (m.images / "web.four.qcow2").unlink()
    overlay(m.images / "web.four.qcow2", str(m.base))
    overlay(m.images / "web.three.qcow2", str(m.images / "web.four.qcow2"))


def flattened(m):
    make(m.images / "web.three.qcow2", "image size=8M\n")


def no_parent(m):
    (m.xml / "snapshot" / "two.xml").unlink()


def circle(m):
    edit(m.xml / "snapshot" / "one.xml", "<creationTime>", "<parent><name>four</name></parent><creationTime>")


def two_current(m):
    edit(m.xml / "snapshot" / "two.xml", "<active>0", "<active>1")


def none_current(m):
    edit(m.xml / "snapshot" / "four.xml", "<active>1", "<active>0")


def twice(m):
    shutil.copy(m.xml / "snapshot" / "one.xml", m.xml / "snapshot" / "other.xml")


def torn(m):
    file = m.xml / "snapshot" / "four.xml"
    file.write_bytes(file.read_bytes()[:3000])


def second_machine(m):
    text = (m.xml / "web.xml").read_text().replace("<name>web<", "<name>copy<")
    (m.xml / "copy.xml").write_text(text[:text.index("<uuid>")] + text[text.index("</uuid>") + 7:])


def other_disk(m):
    make(m.images / "other.qcow2", "image size=8M\n")
    edit(m.xml / "web.xml", "web.four.qcow2", "other.qcow2")


DRIFTS = {
    "the disk is gone": (gone("web.four.qcow2"), {("libvirt/source-missing", "web.xml"), ("libvirt/overlay-missing", "four.xml")}),
    "a snapshot was deleted": (lose_snapshot, {("libvirt/snapshot-missing", "two.xml")}),
    "a snapshot was made": (more_snapshots, {("libvirt/snapshot-unlisted", "web.qcow2")}),
    "the memory is gone": (gone("web.four.mem"), {("libvirt/memory-missing", "four.xml")}),
    "an older definition": (back_to_base, {("libvirt/source-not-top", "web.xml"), ("libvirt/source-not-top", "status.xml")}),
    "another format": (as_raw, {("libvirt/format-mismatch", "web.xml")}),
    "overlays swapped": (swapped, {("libvirt/parent-order", "four.xml"), ("libvirt/source-not-top", "web.xml"),
                                   ("libvirt/backing-store", "status.xml"), ("libvirt/overlay-base", "three.xml")}),
    "merged upwards": (flattened, {("libvirt/overlay-base", "three.xml"), ("libvirt/backing-store", "status.xml")}),
    "a parent is gone": (no_parent, {("libvirt/parent-unknown", "three.xml"), ("libvirt/snapshot-unlisted", "web.qcow2")}),
    "a circle": (circle, {("libvirt/parent-circle", None)}),
    "two are current": (two_current, {("libvirt/current-several", None)}),
    "none is current": (none_current, {("libvirt/current-unknown", None)}),
    "described twice": (twice, {("libvirt/duplicate-name", "other.xml")}),
    "a torn file": (torn, {("libvirt/unreadable", "four.xml")}),
    "one disk, two machines": (second_machine, {("libvirt/shared-disk", None)}),
    "another disk": (other_disk, {("libvirt/current-apart", "web.xml")}),
}

with tempfile.TemporaryDirectory() as scratch:
    machine = session(scratch)
    said, found = machine.chain()
    usual = {("libvirt/mixed", "three.xml")}
    expect(said.code == 0 and found == usual, f"in step: {sorted(found)}", said)
    text = cowvet("chain", "--no-check", "--libvirt", machine.xml).out
    shown = [line.strip() for line in text.partition("\nDomain web:\n")[2].splitlines()]
    expect(any(line.startswith("one: shutoff, vda internal") for line in shown), "the tree's root", text)
    expect(any("└─ four: running, vda in" in line and line.endswith("current") for line in shown), "the current one", text)
    expect("libvirt/mixed" in text, "findings in text", text)
    expect(cowvet("chain", "-q", "--libvirt", machine.xml).code == 0, "with the images checked")
    documents = cowvet("chain", "--no-check", "--output=json", "--libvirt", machine.xml / "snapshot" / "three.xml").out
    expect('"severity": "warning"' in documents and "libvirt/parent-unknown" in documents, "a single file", documents)
    for name, (drift, wanted) in DRIFTS.items():
        machine = session(scratch)
        drift(machine)
        before = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in machine.folder.rglob("*.*") if file.is_file()}
        said, found = machine.chain(machine.images)
        for rule, file in wanted:
            expect(any(rule == one[0] and file in (None, one[1]) for one in found), f"{name}: no {rule}: {sorted(found)}", said)
        expect(said.code == (2 if any("unlisted" not in r and "unknown" not in r for r, _ in wanted) or name == "a parent is gone" else 0),
               f"{name}: the exit code", said)
        after = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in before}
        expect(before == after, f"{name}: written to", said)
    machine = test_driver(scratch)
    said, found = machine.chain()
    expect(found == {("libvirt/mixed", "three.xml"), ("libvirt/source-not-top", "web.xml")}, f"the test driver: {sorted(found)}", said)

    # Nothing is followed, and nothing waits or grows.
    folder = Path(tempfile.mkdtemp(dir=scratch))
    secret = folder / "secret"
    secret.write_text("hush")
    outside = folder / "outside.xml"
    outside.write_text(f'<!DOCTYPE domain [<!ENTITY x SYSTEM "file://{secret}">]><domain><name>a&x;</name></domain>')
    said = cowvet("chain", "--output=json", "--libvirt", outside)
    expect("hush" not in said.out and '"a&x;"' in said.out, "an external entity", said)
    lol = folder / "lol.xml"
    lol.write_text("<!DOCTYPE d [<!ENTITY a 'x'>" + "".join(f"<!ENTITY a{i} '{'&a;' * 50}'>" for i in range(50)) +
                   "]><domain><name>&a49;</name></domain>")
    expect(cowvet("chain", "--output=json", "--libvirt", lol).code == 0, "entities in entities")
    deep = folder / "deep.xml"
    deep.write_text("<domain><name>d</name>" + "<a>" * 500_000 + "</a>" * 500_000 + "</domain>")
    expect(cowvet("chain", "--output=json", "--libvirt", deep).code == 0, "half a million elements inside each other")
    large = folder / "large.xml"
    large.write_text("<domain><name>d</name>" + " " * (4 << 20) + "</domain>")
    said = cowvet("chain", "--libvirt", large)
    expect(said.code == 2 and "libvirt/unreadable" in said.out, "a file that is too large", said)
    network = folder / "network.xml"
    network.write_text("<domain><name>n</name><devices><disk type='network'><source protocol='rbd' name='pool/x'/><target dev='vda'/>"
                       "</disk></devices></domain>")
    said = cowvet("chain", "--libvirt", network)
    expect(said.code == 0 and "no local file (network)" in said.out, "a network disk", said)
    os.mkfifo(folder / "pipe.xml")
    expect(cowvet("chain", "--libvirt", folder / "pipe.xml").code == 1, "a pipe")
    said = cowvet("chain", "--libvirt", folder / "nowhere")
    expect(said.code == 1 and "nowhere" in said.err, "a missing file", said)
    expect(cowvet("chain").code == 1, "nothing to look at")

print("\n".join(complaints[:20]))
sys.exit(1 if complaints else 0)
