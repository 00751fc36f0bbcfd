"""Block devices as what is read and written: loop devices that hold other bytes before.

After `convert`, `convert -n`, `dd`, `io`, `create` and `resize` the device holds what qemu-img, given the same, makes it hold,
and what it shows behind that stays; a device that is too small is refused before anything is written; `check`, `compare`,
`info` and `map` read it. Ends with 77, which means left out, where no loop device can be set up.
"""
import subprocess
import sys
from pathlib import Path

from programs import COWVET, cowvet, need, run, scratch

need("qemu-img", "qemu-io")
SIZE = 48 << 20
complaints = []
tried = 0


def must(words, folder):
    said = run(words, folder)
    assert said.code == 0, said


class Device:
    """A loop device over a file that is full of other bytes."""

    def __init__(self, folder, size=SIZE):
        self.file, self.size = folder / "behind", size
        self.dirty()
        made = subprocess.run(["losetup", "-f", "--show", self.file], capture_output=True, text=True)
        if made.returncode != 0:
            print(f"no loop device can be set up here, so block devices are left out: {made.stderr.strip()}")
            sys.exit(77)
        self.path = made.stdout.strip()

    def dirty(self):
        self.file.write_bytes(b"\xa5" * self.size)

    def refill(self):
        with open(self.path, "r+b") as device:
            device.write(b"\xa5" * self.size)

    def content(self):
        return Path(self.path).read_bytes()

    def end(self):
        subprocess.run(["losetup", "-d", self.path], check=True)


def sources(folder):
    must(["qemu-img", "create", "-q", "-f", "qcow2", "disk", "32M"], folder)
    must(["qemu-io", "-c", "write -q -P 5 1M 3M", "-c", "write -q -P 6 20M 100", "-c", "write -q -z 6M 1M", "disk"], folder)
    must(["qemu-img", "convert", "-O", "raw", "disk", "plain"], folder)
    must(["qemu-img", "convert", "-c", "-O", "qcow2", "disk", "packed"], folder)
    must(["qemu-img", "create", "-q", "-f", "qcow2", "large", "49M"], folder)


WRITES = {
    "convert": ["convert", "-O", "raw", "disk", "DEVICE"],
    "convert from raw": ["convert", "-f", "raw", "-O", "raw", "plain", "DEVICE"],
    "convert packed": ["convert", "-O", "raw", "packed", "DEVICE"],
    "convert -n": ["convert", "-n", "-O", "raw", "disk", "DEVICE"],
    "convert -n -S 0": ["convert", "-n", "-S", "0", "-O", "raw", "disk", "DEVICE"],
    "dd": ["dd", "if=disk", "of=DEVICE", "bs=1M"],
    "dd a part": ["dd", "if=disk", "of=DEVICE", "bs=1M", "skip=1", "count=3"],
    "convert qcow2": ["convert", "-O", "qcow2", "disk", "DEVICE"],
    "convert -c": ["convert", "-c", "-O", "qcow2", "disk", "DEVICE"],
    "dd qcow2": ["dd", "-O", "qcow2", "if=disk", "of=DEVICE", "bs=1M"],
    "create": ["create", "-q", "-f", "qcow2", "DEVICE", "900M"],
    "create raw": ["create", "-q", "-f", "raw", "DEVICE", "32M"],
    "too small": ["convert", "-O", "raw", "large", "DEVICE"],
    "too small -n": ["convert", "-n", "-O", "raw", "large", "DEVICE"],
    "create too small": ["create", "-q", "-f", "raw", "DEVICE", "49M"],
    "resize": ["resize", "-f", "raw", "DEVICE", "49M"],
}


def writes(folder, device):
    global tried
    for name, words in WRITES.items():
        held = []
        for program in ("qemu-img", COWVET):
            device.refill()
            said = run([program, *(word.replace("DEVICE", device.path) for word in words)], folder)
            is_qcow2 = "qcow2" in words
            shown = run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", device.path, "shown"], folder) if is_qcow2 else None
            held.append((said, (folder / "shown").read_bytes() if shown and shown.code == 0 else device.content()))
            if program == COWVET and is_qcow2 and said.code == 0:
                for check in (run(["qemu-img", "check", "-f", "qcow2", device.path], folder), cowvet(folder, "check", device.path)):
                    if check.code != 0:
                        complaints.append(f"{name}: {said}{check}")
        tried += 1
        (theirs, their_bytes), (ours, our_bytes) = held
        if theirs.code != ours.code or (theirs.code == 0 and their_bytes != our_bytes):
            complaints.append(f"{name}: not the same\n{theirs}{ours}")
        if ours.code != 0 and (not ours.err.startswith(f"cowvet: {device.path}: ") or our_bytes != b"\xa5" * SIZE):
            complaints.append(f"{name}: the refusal has another form, or something was written\n{ours}")
        if not Path(device.path).is_block_device():
            sys.exit(f"{name}: the device is gone")


def reads(folder, device):
    """What is on the device is a source like a file."""
    global tried
    for kind in ("raw", "qcow2"):
        device.refill()
        must(["qemu-img", "convert", "-f", "raw", "-n" if kind == "raw" else "-c", "-O", kind, "plain", device.path], folder)
        for words in (["convert", "-f", kind, "-O", "raw", device.path, "OUT"], ["dd", "-f", kind, f"if={device.path}", "of=OUT", "bs=1M",
                                                                                 "count=32"]):
            said = cowvet(folder, *(word.replace("OUT", "out") for word in words))
            tried += 1
            if said.code != 0 or (folder / "out").read_bytes()[:32 << 20] != (folder / "plain").read_bytes():
                complaints.append(f"other bytes read\n{said}")
        for words in (["compare", "-f", kind, "-F", "qcow2", device.path, "packed"], ["map", "-f", kind, device.path],
                      ["measure", "--output=json", "-O", "qcow2", "-f", kind, device.path]):
            theirs, ours = (run([program, *words], folder) for program in ("qemu-img", COWVET))
            tried += 1
            if (theirs.code, theirs.out) != (ours.code, ours.out):
                complaints.append(f"told differently\n{theirs}{ours}")
        said = cowvet(folder, "io", "-f", kind, "-c", "read -P 5 1M 3M", "-c", "write -P 8 2M 100k", "-c", "read -P 8 2M 100k", device.path)
        again = run(["qemu-io", "-f", kind, "-c", "read -P 8 2M 100k", "-c", "read -P 5 1M 1M", "-c", "read -P 0 6M 1M", device.path], folder)
        tried += 1
        if said.code != 0 or again.code != 0 or "failed" in said.out + again.out:
            complaints.append(f"other bytes after io\n{said}{again}")
        if kind == "qcow2":
            for words in (["snapshot", "-c", "kept"], ["resize", "33M"], ["bitmap", "--add"], ["amend", "-o", "lazy_refcounts=on"]):
                words = {"resize": ["resize", device.path, "33M"], "bitmap": ["bitmap", "--add", device.path, "b"]}.get(
                    words[0], [*words, device.path])
                said, check = cowvet(folder, *words), cowvet(folder, "check", device.path)
                again = run(["qemu-img", "check", "-f", "qcow2", device.path], folder)
                tried += 1
                if said.code != 0 or check.code != 0 or again.code != 0:
                    complaints.append(f"{said}{check}{again}")


def repairs(folder, device):
    """Repaired in place and taken back: what needs room takes unused zeros behind the image, and nothing is cut off."""
    global tried
    for behind, code in ((b"\0", 0), (b"\xa5", 2)):
        Path(device.path).write_bytes(behind * SIZE)
        must(["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "image", device.path], folder)
        before = device.content()
        said = cowvet(folder, "repair", "--level", "all", "--allow-loss", "--undo", "device.undo", device.path)
        after = cowvet(folder, "check", device.path)
        tried += 1
        if (said.code, after.code) != (code, code) or (code and "copy the image to a file" not in " ".join(said.out.split())):
            complaints.append(f"repair of a block device\n{said}{after}")
        if (folder / "device.undo").exists():
            undone = cowvet(folder, "undo", "device.undo")
            (folder / "device.undo").unlink()
            if undone.code != 0 or device.content() != before:
                complaints.append(f"undo on a block device\n{undone}")
        elif code == 0:
            complaints.append(f"there is no undo file\n{said}")


def lost_block(folder):
    """An image without its refcount block: it needs a new one."""
    must(["qemu-img", "create", "-q", "-f", "qcow2", "image", "4M"], folder)
    must(["qemu-io", "-c", "write -q -P 5 0 256k", "image"], folder)
    with open(folder / "image", "r+b") as file:
        file.seek(48)
        table = int.from_bytes(file.read(8), "big")
        file.seek(table)
        file.write(bytes(8))


with scratch() as name:
    folder = Path(name)
    device = Device(folder)
    try:
        sources(folder)
        writes(folder, device)
        reads(folder, device)
        lost_block(folder)
        repairs(folder, device)
    finally:
        device.end()

print(f"{tried} uses of a block device")
for complaint in complaints[:20]:
    print(complaint)
if complaints or tried < 30:
    sys.exit(f"{len(complaints)} complaints, {tried} tried")
