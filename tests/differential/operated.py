"""Operations on images, tried by qemu-img and by cowvet on copies of the same inputs.

Same exit code, the same output where both succeed, and afterwards: the same `qemu-img info` (sizes on disk, dates and
random keys left out), the same content of the disk, of every snapshot and every bitmap, and nothing found by `qemu-img
check` and `cowvet check` in what cowvet left, whatever it was asked for.
"""
import hashlib
import shutil
import sys
from pathlib import Path

from layout import OFFSET, Layout
from programs import COWVET, SECRET, cowvet, run

LUKS = [*SECRET, "--object", "secret,id=other,data=battery", "--object", "secret,id=third,data=staple"]

# Each is built by commands of QEMU's, in a folder of its own; the image that is operated on comes first in its name.
IO = ["-c", "write -P 1 0 200k", "-c", "write -P 2 700k 300k", "-c", "write -z 300k 100k", "-c", "write -P 3 3M 1k"]


def create(file, size, *options):
    return ["qemu-img", "create", "-q", "-f", "qcow2", *(["-o", ",".join(options)] if options else []), file, size]


def filled(file, size, *options):
    return [create(file, size, *options), ["qemu-io", *IO, file]]


def snapshot(*words):
    return ["qemu-img", "snapshot", *words]


TWO_SNAPSHOTS = [snapshot("-c", "one", "disk"), ["qemu-io", "-c", "write -P 4 100k 900k", "disk"], snapshot("-c", "1", "disk"),
                 ["qemu-io", "-c", "write -P 5 0 64k", "-c", "discard 700k 300k", "disk"]]
BASE = [["qemu-img", "create", "-q", "-f", "raw", "base", "6M"], ["qemu-io", "-f", "raw", "-c", "write -P 9 1M 5M", "base"]]

INPUTS = {
    "empty": [create("disk", "4M")],
    "plain": filled("disk", "4M"),
    "version-2": filled("disk", "4M", "compat=0.10"),
    "tiny-clusters": filled("disk", "4M", "cluster_size=512"),
    "large-clusters": filled("disk", "4M", "cluster_size=2M"),
    "subclusters": filled("disk", "4M", "extended_l2=on"),
    "narrow-refcounts": filled("disk", "4M", "refcount_bits=1"),
    "wide-refcounts": filled("disk", "4M", "refcount_bits=64"),
    "lazy": filled("disk", "4M", "lazy_refcounts=on"),
    "preallocated": filled("disk", "4M", "preallocation=metadata"),
    "compressed": [*filled("whole", "4M"), ["qemu-img", "convert", "-c", "-O", "qcow2", "whole", "disk"]],
    "zstd": [*filled("whole", "4M"),
             ["qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "whole", "disk"]],
    "zstd-unused": filled("disk", "4M", "compression_type=zstd"),
    "overlay": [*BASE, create("disk", "4M", "backing_file=base", "backing_fmt=raw"),
                ["qemu-io", "-c", "write -P 6 0 100k", "-c", "write -z 1M 128k", "disk"]],
    "data-file": filled("disk", "4M", "data_file=data"),
    "raw-data-file": filled("disk", "4M", "data_file=data", "data_file_raw=on"),
    "snapshots": [*filled("disk", "4M"), *TWO_SNAPSHOTS],
    "snapshots-of-version-2": [*filled("disk", "4M", "compat=0.10"), *TWO_SNAPSHOTS],
    "snapshots-of-sizes": [*filled("disk", "4M"), *TWO_SNAPSHOTS, ["qemu-img", "resize", "disk", "7M"],
                           snapshot("-c", "large", "disk"), ["qemu-img", "resize", "--shrink", "disk", "2M"],
                           snapshot("-c", "small", "disk")],
    "bitmaps": [*filled("disk", "4M"), ["qemu-img", "bitmap", "--add", "-g", "4k", "disk", "fine"],
                ["qemu-img", "bitmap", "--add", "disk", "usual"], ["qemu-io", "-c", "write -P 7 1M 100k", "disk"],
                ["qemu-img", "bitmap", "--disable", "disk", "usual"], ["qemu-io", "-c", "write -P 8 2M 100k", "disk"],
                ["qemu-img", "bitmap", "--add", "-g", "1M", "disk", "coarse"]],
    "aes": [["qemu-img", "create", "-q", *SECRET, "-f", "qcow2", "-o", "encrypt.format=aes,encrypt.key-secret=key", "disk",
             "4M"]],
    "luks": [["qemu-img", "create", "-q", *SECRET, "-f", "qcow2", "-o",
              "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10", "disk", "4M"]],
    "raw": [["qemu-img", "create", "-q", "-f", "raw", "disk", "4M"], ["qemu-io", "-f", "raw", *IO, "disk"]],
}
KEY = ["qemu-img", "amend", *LUKS, "-o", "encrypt.state=active,encrypt.new-secret=other,encrypt.iter-time=10", "--image-opts",
       "driver=qcow2,file.filename=disk,encrypt.key-secret=key"]
INPUTS["luks-two"] = [*INPUTS["luks"], KEY]
INPUTS["luks-full"] = [*INPUTS["luks"], *[KEY] * 7]
ENCRYPTED = ("aes", "luks", "luks-two", "luks-full")
PLAIN = [name for name in INPUTS if name not in (*ENCRYPTED, "raw")]


def digest(file):
    """Of a file's bytes, or "" where there is none; None when it is too long to be read."""
    if not file.is_file():
        return ""
    if file.stat().st_size > 64 << 20:
        return None
    return hashlib.sha256(file.read_bytes()).hexdigest()


class Trials:
    """Counts what was tried, and gathers complaints."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folders = [self.folder / "theirs", self.folder / "ours"]
        self.complaints = []
        self.counts = {"done by both": 0, "refused by both": 0, "done by cowvet alone": 0, "refused by cowvet alone": 0}

    def input(self, name):
        made = self.folder / "inputs" / name
        if not made.exists():
            made.mkdir(parents=True)
            for command in INPUTS[name]:
                said = run(command, made)
                assert said.code == 0, said
        return made

    def both(self, name, words, *, before=(), alone=None, same_output=True, put=None, sound=True):
        """Runs `qemu-img WORDS` and `cowvet WORDS` on copies of an input. `before`: commands of QEMU's that change both
        copies first. `alone`: why one of the programs may do what the other refuses. `put`: further inputs, by the name
        of the file that their disk becomes. `sound`: whether what is left can be used. Returns what both said."""
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.input(name), folder)
            for file, other in (put or {}).items():
                shutil.copy(self.input(other) / "disk", folder / file)
        for command in before:
            for folder in self.folders:
                run(command, folder)
        disk = self.folders[1] / "disk"
        was = digest(disk)
        theirs, ours = run(["qemu-img", *words], self.folders[0]), run([COWVET, *words], self.folders[1])
        story = f"--- {name}\n{theirs}{ours}"
        if (theirs.code == 0) != (ours.code == 0):
            if alone is None:
                self.complaints.append(f"{story}only one of them does it")
            self.counts["done by cowvet alone" if ours.code == 0 else "refused by cowvet alone"] += 1
        elif theirs.code != ours.code:
            self.complaints.append(f"{story}other exit code")
        else:
            self.counts["done by both" if theirs.code == 0 else "refused by both"] += 1
            if theirs.code == 0 and same_output and theirs.out != ours.out:
                self.complaints.append(f"{story}other output")
        if ours.code != 0 and not ours.err.startswith("cowvet: "):
            self.complaints.append(f"{story}the refusal has another form")
        if theirs.code != 0 and ours.code != 0 and was is not None and digest(disk) == was:
            return theirs, ours  # not a byte has changed
        if name == "raw":
            self.same_raw(story)
        elif theirs.code == ours.code:
            self.same_image(name, story)
        if sound:
            self.sound(name, story)
        return theirs, ours

    def same_raw(self, story):
        files = [folder / "disk" for folder in self.folders]
        heads = []
        for file in files:
            with file.open("rb") as opened:
                heads.append(opened.read(16 << 20))  # one may have become larger than memory
        if heads[0] != heads[1] or files[0].stat().st_size != files[1].stat().st_size:
            self.complaints.append(f"{story}other bytes")

    def same_image(self, name, story):
        a, b = (info(folder) for folder in self.folders)
        if a != b:
            self.complaints.append(f"{story}info differs:\n{a}\n{b}")
            return
        for number in [None, *(s["id"] for s in a.get("snapshots", []))]:
            a_content, b_content = (content(folder, name, number) for folder in self.folders)
            if a_content != b_content:
                self.complaints.append(f"{story}other content, snapshot {number}")
        if bitmaps(self.folders[0]) != bitmaps(self.folders[1]):
            self.complaints.append(f"{story}other bitmaps")

    def sound(self, name, story):
        if name == "raw":
            return
        calls = [run(["qemu-img", "check", *options(name)], self.folders[1]), cowvet(self.folders[1], "check", "disk")]
        if "Invalid password" in calls[0].err:  # that one was erased
            calls[0] = run(["qemu-img", "check", *options(name, "other")], self.folders[1])
        for said in calls:
            if said.code != 0:
                self.complaints.append(f"{story}{said}")

    def end(self, least):
        tried = sum(self.counts.values())
        print(f"{tried} combinations tried: " + ", ".join(f"{count} {name}" for name, count in self.counts.items()))
        for complaint in self.complaints[:20]:
            print(complaint)
        if self.complaints or tried < least:
            sys.exit(f"{len(self.complaints)} differences, {tried} of at least {least} combinations")


def options(name, secret="key"):
    """How QEMU's programs open the image: an encrypted one needs its key."""
    if name not in ENCRYPTED:
        return ["disk"]
    return [*LUKS, "--image-opts", f"driver=qcow2,file.filename=disk,encrypt.key-secret={secret}"]


def info(folder):
    said = run(["qemu-img", "info", "--output=json", "disk"], folder)
    if said.code != 0:
        return str(said)
    data = said.json()
    for name in ("actual-size", "dirty-flag"):
        data.pop(name)
    for taken in data.get("snapshots", []):
        for name in ("date-sec", "date-nsec"):
            taken.pop(name)
    encrypt = data.get("format-specific", {}).get("data", {}).get("encrypt", {})
    for slot in encrypt.get("slots", []):
        slot.pop("iters", None)
    return data


def content(folder, name, snapshot_id):
    """What the disk shows, or a snapshot, as qemu-img reads it."""
    shows = ["-l", f"snapshot.id={snapshot_id}"] if snapshot_id else []
    out = folder / "content"
    if name in ENCRYPTED:
        said = run(["qemu-img", "convert", *shows, *options(name), "-O", "raw", "content"], folder)
    else:
        said = run(["qemu-img", "convert", *shows, "-O", "raw", "disk", "content"], folder)
    if said.code != 0:
        return said.err
    read = out.read_bytes()
    out.unlink()
    return read


def bitmaps(folder):
    """The bits of each bitmap, by name."""
    layout = Layout((folder / "disk").read_bytes())
    found = {}
    for entry in layout.bitmaps:
        table, entries, names, extra = (layout.get(entry[word]) for word in ("table_offset", "table_size", "name_size",
                                                                             "extra_size"))
        begin = entry["table_offset"].offset + 24 + extra
        bits = b""
        for _, value in layout.read_l1(table, entries):
            place = value & OFFSET
            bits += (layout.bytes[place:place + layout.cluster].ljust(layout.cluster, b"\0") if place
                     else bytes([255 if value & 1 else 0]) * layout.cluster)
        found[layout.bytes[begin:begin + names]] = bits
    return found
