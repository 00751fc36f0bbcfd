"""salvage: what comes out of a damaged image is what qemu-img read of it before the damage, but for what is told as lost.

For each damage the copy must be sound for qemu-img check, every byte of each layer that the map does not call lost must be
the truth, what it calls lost is zeros, and the damaged image is left as it was.
"""
import hashlib
import json
import random
import struct
import sys
import tempfile
from pathlib import Path

from programs import LONG, SECRET, cowvet, run

complaints, looked_at = [], 0
CLUSTER = 1 << 16


def expect(condition, what, said=""):
    global looked_at
    looked_at += 1
    if not condition:
        complaints.append(f"{what}\n{str(said)[-700:]}")


def must(words, folder):
    said = run(words, folder)
    if said.code != 0:
        sys.exit(f"the test can't be set up:\n{said}")
    return said


def io(folder, image, *commands, options=()):
    must(["qemu-io", *options, *(word for command in commands for word in ("-c", command)), image], folder)


def truth(folder, image, snapshot=None, options=()):
    must(["qemu-img", "convert", *options, "-O", "raw", *(["-l", f"snapshot.id={snapshot}"] if snapshot else []), image, "truth.raw"], folder)
    return (folder / "truth.raw").read_bytes()


def parse_map(path):
    """(begin, end) of what was lost, and how far the map reaches."""
    lost, end = [], 0
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    for line in lines[1:]:
        begin, length, status = line.split()
        if int(begin, 16) != end:
            complaints.append(f"{path.name}: a gap at {begin}")
        end = int(begin, 16) + int(length, 16)
        if status != "+":
            lost.append((int(begin, 16), end))
    return lost, end


def hold(folder, name, image, layers, words=(), base="", lossless=False, code=None):
    """Salvages the image and holds the copy against the truth of each layer, by the snapshot's id (None: the disk)."""
    before = hashlib.sha256((folder / image).read_bytes()).digest()
    for old in folder.glob("out*"):
        old.unlink()
    said = cowvet(folder, "salvage", "--output", "json", "--map", "out.map", *words, image, "out.qcow2")
    expect(said.code in ((0, 3) if lossless else (0, 2, 3)) and (code is None or said.code == code), f"{name}: the exit code", said)
    expect(hashlib.sha256((folder / image).read_bytes()).digest() == before, f"{name}: the image was written to", said)
    if said.code not in (0, 2, 3):
        return None
    report = said.json()
    verdict = {0: "complete", 2: "loss", 3: "inferred"}[said.code]
    expect(report["verdict"] == verdict, f"{name}: the verdict", said)
    checked = run(["qemu-img", "check", "out.qcow2"], folder)
    expect(checked.code == 0, f"{name}: qemu-img check of the copy", checked)
    found = {layer.get("snapshot"): layer for layer in report["layers"]}
    recovered = total = 0
    for snapshot, content in layers.items():
        total += len(content)
        if snapshot not in found:
            expect(not lossless, f"{name}: snapshot {snapshot} is gone", said)
            continue
        ours = truth(folder, "out.qcow2", found[snapshot].get("id-in-output"))
        lost, end = parse_map(folder / ("out.map" if snapshot is None else f"out.map.{snapshot}"))
        expect(end == len(ours), f"{name}: the map of {snapshot} ends at {end}", said)
        expect(len(ours) == len(content), f"{name}: the size of {snapshot}: {len(ours)}", said)
        expect(not (lossless and lost), f"{name}: lost of {snapshot}: {lost[:5]}", said)
        at = 0
        for begin, stop in [*lost, (len(ours), len(ours))]:
            if ours[at:begin] != content[at:begin]:
                bad = next(i for i in range(at, begin, 512) if ours[i:i + 512] != content[i:i + 512])
                expect(False, f"{name}: layer {snapshot} differs at {bad:#x}, which is not told as lost", said)
            recovered += begin - at
            expect(not ours[begin:stop].strip(b"\0"), f"{name}: layer {snapshot}: what is lost at {begin:#x} is not zeros", said)
            at = stop
    report["share"] = recovered / total
    return report


def words(path, offset, count):
    with open(path, "rb") as file:
        file.seek(offset)
        return struct.unpack(f">{count}Q", file.read(8 * count))


class Image:
    """Where an image's tables lie."""

    def __init__(self, path):
        self.path = path
        header = path.read_bytes()[:104]
        self.size, = struct.unpack_from(">Q", header, 24)
        self.l1_size, self.l1 = struct.unpack_from(">IQ", header, 36)
        self.reftable, = struct.unpack_from(">Q", header, 48)
        self.snapshots, = struct.unpack_from(">Q", header, 64)
        self.l2 = [word & 0x00fffffffffffe00 for word in words(path, self.l1, self.l1_size)]

    def put(self, offset, data):
        with open(self.path, "r+b") as file:
            file.seek(offset)
            file.write(data)


def noise(seed, length):
    return random.Random(seed).randbytes(length)


def cut(image):
    size = image.path.stat().st_size
    with open(image.path, "r+b") as file:
        file.truncate(size * 3 // 4)


L2 = 12  # an entry of the first L2 table that leads to data
DAMAGES = {  # what is damaged: how, and whether nothing may be lost
    "nothing": (lambda i: None, True),
    "the header is gone": (lambda i: i.put(0, bytes(512)), True),
    "the header is noise": (lambda i: i.put(0, noise(1, 104)), True),
    "an L1 entry is gone": (lambda i: i.put(i.l1, bytes(8)), True),
    "an L1 entry has a wrong bit": (lambda i: i.put(i.l1, struct.pack(">Q", words(i.path, i.l1, 1)[0] ^ 1 << 17)), True),
    "the L1 table is zeros": (lambda i: i.put(i.l1, bytes(8 * i.l1_size)), False),
    "the refcount table is zeros": (lambda i: i.put(i.reftable, bytes(CLUSTER)), True),
    "the refcount table is noise": (lambda i: i.put(i.reftable, noise(2, CLUSTER)), True),
    "the snapshots are not counted": (lambda i: i.put(60, bytes(4)), True),
    "an L2 entry is not aligned": (lambda i: i.put(i.l2[0] + 8 * L2 + 6, b"\x10"), False),
    "an L2 entry leads far away": (lambda i: i.put(i.l2[0] + 8 * L2, struct.pack(">Q", 1 << 63 | 1 << 45)), False),
    "an L2 table is noise": (lambda i: i.put(i.l2[0], noise(3, CLUSTER)), False),
    "a snapshot's entry is noise": (lambda i: i.put(i.snapshots, noise(4, 40)), False),
    "the file is cut": (cut, False),
}


def damaged_images(folder):
    must(["qemu-img", "create", "-q", "-f", "qcow2", "good.qcow2", "8M"], folder)
    must(["qemu-img", "resize", "-q", "good.qcow2", "9M"], folder)
    io(folder, "good.qcow2", *(f"write -q -P {i + 1} {i * 128}k 64k" for i in range(40)), "write -q -z 6M 256k")
    must(["qemu-img", "snapshot", "-c", "one", "good.qcow2"], folder)
    io(folder, "good.qcow2", *(f"write -q -P {i + 91} {i * 256}k 32k" for i in range(20)))
    must(["qemu-img", "snapshot", "-c", "two", "good.qcow2"], folder)
    io(folder, "good.qcow2", *(f"write -q -P {i + 131} {i * 512}k 128k" for i in range(10)))
    layers = {snapshot: truth(folder, "good.qcow2", snapshot) for snapshot in (None, "1", "2")}
    shares = {}
    for name, (damage, lossless) in DAMAGES.items():
        (folder / "bad.qcow2").write_bytes((folder / "good.qcow2").read_bytes())
        damage(Image(folder / "bad.qcow2"))
        report = hold(folder, name, "bad.qcow2", layers, lossless=lossless)
        if report:
            shares[name] = report["share"]
    return shares


def backed_images(folder):
    must(["qemu-img", "create", "-q", "-f", "qcow2", "base.qcow2", "4M"], folder)
    io(folder, "base.qcow2", "write -q -P 5 0 4M")
    must(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2", "6M"], folder)
    io(folder, "top.qcow2", "write -q -P 6 1M 1M", "write -q -z 2M 64k")
    must(["qemu-img", "snapshot", "-c", "one", "top.qcow2"], folder)
    io(folder, "top.qcow2", "write -q -P 7 1536k 1M")
    layers = {snapshot: truth(folder, "top.qcow2", snapshot) for snapshot in (None, "1")}
    report = hold(folder, "an overlay", "top.qcow2", layers, lossless=True, code=0)
    expect(report and report["layers"][0]["below"] > 0, "an overlay: what lies below is told")
    info = json.loads(must(["qemu-img", "info", "--output=json", "out.qcow2"], folder).out)
    expect(info.get("backing-filename") == "base.qcow2" and info.get("backing-filename-format") == "qcow2", f"an overlay's backing file: {info}")
    hold(folder, "a flattened overlay", "top.qcow2", layers, ["--flatten"], lossless=True, code=0)
    info = json.loads(must(["qemu-img", "info", "--output=json", "out.qcow2"], folder).out)
    expect("backing-filename" not in info, f"a flattened overlay has a backing file: {info}")
    # Going back to a snapshot leaves open again what was written since.
    must(["qemu-img", "snapshot", "-c", "two", "top.qcow2"], folder)
    must(["qemu-img", "snapshot", "-a", "one", "top.qcow2"], folder)
    layers = {snapshot: truth(folder, "top.qcow2", snapshot) for snapshot in (None, "1", "2")}
    hold(folder, "an overlay that went back", "top.qcow2", layers, lossless=True, code=0)
    hold(folder, "a flattened overlay that went back", "top.qcow2", layers, ["--flatten"], lossless=True, code=0)
    # Without the base: the layer alone.
    (folder / "base.qcow2").rename(folder / "elsewhere.qcow2")
    (folder / "out.qcow2").unlink()
    said = cowvet(folder, "salvage", "--flatten", "top.qcow2", "out.qcow2")
    expect(said.code == 1 and "base.qcow2" in said.err and not (folder / "out.qcow2").exists(), "flattening without the base", said)
    said = cowvet(folder, "salvage", "top.qcow2", "out.qcow2")
    expect(said.code == 0 and "can't be opened" in said.out, "an overlay without its base", said)
    said = cowvet(folder, "salvage", "-O", "raw", "--snapshots", "none", "--layer-only", "top.qcow2", "out.raw")
    own = bytes(1 << 20) + b"\6" * (1 << 20) + bytes(4 << 20)
    expect(said.code == 0 and (folder / "out.raw").read_bytes() == own, "the layer alone as a raw image", said)
    (folder / "elsewhere.qcow2").rename(folder / "base.qcow2")
    (folder / "out.qcow2").unlink()
    expect(cowvet(folder, "salvage", "top.qcow2", "out.qcow2").code == 0, "with the base again")
    expect(truth(folder, "out.qcow2") == layers[None], "an overlay salvaged without its base fits to it")


def kinds(folder):
    """Images of all options, sound but for the refcount of one cluster."""
    for name, options in {"extended": ["-o", "extended_l2=on,cluster_size=128k"], "small": ["-o", "cluster_size=512,refcount_bits=1"],
                          "zstd": ["-o", "compression_type=zstd"], "old": ["-o", "compat=0.10"], "luks": [
                              *SECRET, "-o", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10"],
                          "data file": ["-o", "data_file=out-of-it.raw"]}.items():
        must(["qemu-img", "create", "-q", "-f", "qcow2", *options, "kind.qcow2", "2M"], folder)
        opened = ["--image-opts", "driver=qcow2,encrypt.key-secret=key,file.filename=kind.qcow2"] if name == "luks" else ["kind.qcow2"]
        secret = SECRET if name == "luks" else []
        write = lambda *commands: must(["qemu-io", *secret, *opened[:-1], *(w for c in commands for w in ("-c", c)), opened[-1]], folder)
        write("write -q -P 1 0 600k", "write -q -P 2 1M 3k", *(["write -q -c -P 3 1536k 128k"] if name == "zstd" else []), "discard -q 64k 128k")
        snapshots = [] if name in ("data file", "small") else ["1"]
        if snapshots:
            must(["qemu-img", "snapshot", *secret, "-c", "one", *opened], folder)
            write("write -q -P 4 100k 100k")
        def content(image, snapshot=None):
            if name != "luks":
                return truth(folder, image, snapshot)
            must(["qemu-img", "convert", *SECRET, "-O", "raw", *(["-l", f"snapshot.id={snapshot}"] if snapshot else []), "--image-opts",
                  f"driver=qcow2,encrypt.key-secret=key,file.filename={image}", "truth.raw"], folder)
            return (folder / "truth.raw").read_bytes()
        layers = {None: content("kind.qcow2"), **{s: content("kind.qcow2", s) for s in snapshots}}
        for words in ([], ["-c"]) if name != "luks" else (SECRET, [*SECRET, "--decrypt"]):
            for old in folder.glob("kind.out*"):
                old.unlink()
            said = cowvet(folder, "salvage", *words, "kind.qcow2", "kind.out")
            expect(said.code == 0, f"{name}: salvage", said)
            encrypted = name == "luks" and "--decrypt" not in words
            target = [*SECRET, "--image-opts", "driver=qcow2,encrypt.key-secret=key,file.filename=kind.out"] if encrypted else ["kind.out"]
            checked = run(["qemu-img", "check", *target], folder)
            expect(checked.code == 0, f"{name}: qemu-img check of the copy", checked)
            for snapshot, wanted in layers.items():
                ours = truth(folder, "kind.out", snapshot) if not encrypted else content("kind.out", snapshot)
                expect(ours == wanted, f"{name} {words}: the content of {snapshot}", said)
        if name == "luks":
            said = cowvet(folder, "salvage", "kind.qcow2", "none.qcow2")
            expect(said.code == 1 and "password" in said.err, "an encrypted image without its password", said)
        for file in ("kind.qcow2", "out-of-it.raw"):
            (folder / file).unlink(missing_ok=True)


def going_on(folder):
    """A copy of a file that was cut gains the rest when the file is whole again."""
    must(["qemu-img", "create", "-q", "-f", "qcow2", "whole.qcow2", "4M"], folder)
    io(folder, "whole.qcow2", *(f"write -q -P {i + 1} {i * 128}k 64k" for i in range(30)))
    must(["qemu-img", "snapshot", "-c", "one", "whole.qcow2"], folder)
    io(folder, "whole.qcow2", "write -q -P 77 1M 512k")
    layers = {snapshot: truth(folder, "whole.qcow2", snapshot) for snapshot in (None, "1")}
    whole = (folder / "whole.qcow2").read_bytes()
    cluster = whole.index(bytes([77]) * CLUSTER) + 2 * CLUSTER  # behind the snapshot table
    cases = {"qcow2": (["--snapshots", "files"], {None: "on", "1": "on.1"}), "raw": (["-O", "raw"], {None: "on", "1": "on.1"}),
             "the disk": (["--snapshots", "none"], {None: "on"})}
    for name, (words, files) in cases.items():
        for old in folder.glob("on*"):
            old.unlink()
        (folder / "hurt.qcow2").write_bytes(whole[:cluster])
        said = cowvet(folder, "salvage", *words, "--map", "on.map", "hurt.qcow2", "on")
        expect(said.code == 2, f"going on, {name}: the first run", said)
        expect(parse_map(folder / "on.map")[0], f"going on, {name}: nothing was lost", said)
        # What was read stays as it is: it is not read again.
        mark = next(at for at in range(0, 1 << 22, CLUSTER) if layers[None][at] == 1)
        if name == "raw":
            with open(folder / "on", "r+b") as file:
                file.seek(mark)
                file.write(b"mark")
        said = cowvet(folder, "salvage", "--continue", *words, "--map", "on.map", "hurt.qcow2", "on")
        expect(said.code == 2, f"going on, {name}: nothing new", said)
        (folder / "hurt.qcow2").write_bytes(whole)
        said = cowvet(folder, "salvage", "--continue", *words, "--map", "on.map", "hurt.qcow2", "on")
        expect(said.code == 0, f"going on, {name}: the second run", said)
        for layer, file in files.items():
            lost = parse_map(folder / ("on.map" if layer is None else f"on.map.{layer}"))[0]
            expect(not lost, f"going on, {name}: {layer} still lacks {lost}", said)
            ours = (folder / file).read_bytes() if name == "raw" else truth(folder, file)
            wanted = layers[layer]
            if name == "raw" and layer is None:
                wanted = wanted[:mark] + b"mark" + wanted[mark + 4:]
            expect(ours == wanted, f"going on, {name}: the content of {layer}", said)
            if name != "raw":
                expect(run(["qemu-img", "check", file], folder).code == 0, f"going on, {name}: {file} is not sound")
    (folder / "small.map").write_text("0x0 + 1\n0x0 0x1000 +\n")
    for arguments, says in ((["on"], "--map"), (["--map", "on.map", "-c", "on"], "-c"), (["--map", "none.map", "on"], "none.map"),
                            (["--map", "small.map", "on"], "4096 bytes"), (["--map", "on.map", "missing"], "missing"),
                            (["--map", "on.map", "hurt.qcow2"], "is the image")):
        wanted = [*(["--snapshots", "none"] if arguments[-1] != "hurt.qcow2" else []), *arguments[:-1], "hurt.qcow2", arguments[-1]]
        said = cowvet(folder, "salvage", "--continue", *wanted)
        expect(said.code == 1 and says in said.err, f"going on with {arguments}", said)
    said = cowvet(folder, "salvage", "--continue", "--map", "on.map", "hurt.qcow2", "on")
    expect(said.code == 1 and "--snapshots files" in said.err, "going on with snapshots inside the copy", said)


def refusals(folder):
    must(["qemu-img", "create", "-q", "-f", "qcow2", "plain.qcow2", "1M"], folder)
    (folder / "there").write_bytes(b"keep me")
    for arguments, says in ((["plain.qcow2", "there"], "already"), (["plain.qcow2", "plain.qcow2"], "is the image"), (["there", "new"], "qcow2"),
                            (["missing", "new"], "missing"), (["-O", "raw", "-c", "plain.qcow2", "new"], "compressed")):
        said = cowvet(folder, "salvage", *arguments)
        expect(said.code == 1 and says in said.err and not (folder / "new").exists(), f"{arguments}", said)
    expect((folder / "there").read_bytes() == b"keep me", "a file that was there was written to")


with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch)
    shares = damaged_images(folder)
    backed_images(folder)
    kinds(folder)
    going_on(folder)
    refusals(folder)
for name, share in shares.items():
    print(f"{share:7.2%}  {name}")
print(f"{looked_at} looked at, {len(complaints)} complaints")
if complaints:
    sys.exit("\n".join(complaints[:20]))
