"""A file system without room, for every verb that writes.

On a small tmpfs, full but for a few KiB, each verb fails with one line that names the file and says "No space left on
device"; the image opens afterwards, what was flushed before is there, and `cowvet check` finds leaks at worst; a file that
could not be made is gone. The same with files that may be read only: refused, and not a byte changes. Where nothing may be
mounted, not even in a namespace of its own, a limit for the length of files takes the place of the tmpfs, and that is told.
"""
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from programs import COWVET, SECRET, need, run, scratch

need("qemu-img", "qemu-io")
SIZE = 12 << 20  # of the tmpfs
FILES = SIZE - (1 << 20)  # no file may be longer where there is only a limit
INSIDE = "COWVET_TEST_OWN_NAMESPACE"
complaints = []
counted = {"full": 0, "done all the same": 0, "read only": 0}
SAYS = ("No space left on device", "the file would become too large", "File too large")

# Verbs on the image that is there; their disk's content must stay, but for what write says.
CHANGES = {
    "io write": ["io", "-c", "write -P 9 10M 20M", "disk"],
    "io write over a snapshot": ["io", "-c", "write -P 9 0 3M", "disk"],
    "io compressed": ["io", "-c", "write -c -s noise 10M 6M", "disk"],
    "io flushed": ["io", "-c", "write -P 9 10M 20M", "-c", "flush", "disk"],
    "io zeros": ["io", "-c", "write -z 1000 5M", "disk"],
    "io truncate": ["io", "-c", "truncate 40G", "disk"],
    "bench": ["bench", "-w", "-c", "5000", "-s", "4096", "-S", "12288", "disk"],
    "snapshot": ["snapshot", "-c", "another", "disk"],
    "snapshot applied": ["snapshot", "-a", "kept", "disk"],
    "resize": ["resize", "disk", "+900G"],
    "resize falloc": ["resize", "--preallocation=falloc", "disk", "+64M"],
    "resize full": ["resize", "--preallocation=full", "disk", "+64M"],
    "resize metadata": ["resize", "--preallocation=metadata", "disk", "+9G"],
    "amend": ["amend", "-o", "refcount_bits=64", "disk"],
    "amend version": ["amend", "-o", "compat=0.10", "old"],
    "bitmap": ["bitmap", "--add", "-g", "512", "disk", "fine"],
    "convert -n": ["convert", "-n", "-O", "qcow2", "noise-disk", "disk"],
    "convert -n -c": ["convert", "-n", "-c", "-O", "qcow2", "noise-disk", "disk"],
    "convert --bitmaps": ["convert", "-n", "--bitmaps", "-O", "qcow2", "with-bitmap", "disk"],
    "snapshot removed": ["snapshot", "-d", "kept", "disk"],
    "shrink": ["resize", "--shrink", "disk", "1M"],
}
# What makes a new file.
NEW = {
    "convert": ["convert", "-O", "qcow2", "noise-disk", "new"],
    "convert raw": ["convert", "-O", "raw", "noise-disk", "new"],
    "convert raw full": ["convert", "-O", "raw", "-o", "preallocation=full", "noise-disk", "new"],
    "convert -c": ["convert", "-c", "-O", "qcow2", "noise-disk", "new"],
    "convert zstd": ["convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "noise-disk", "new"],
    "convert aes": ["convert", *SECRET, "-O", "qcow2", "-o", "encrypt.format=aes,encrypt.key-secret=key", "noise-disk", "new"],
    "convert data file": ["convert", "-O", "qcow2", "-o", "data_file=new-data", "noise-disk", "new"],
    "dd": ["dd", "-O", "qcow2", "if=noise-disk", "of=new", "bs=1M"],
    "dd raw": ["dd", "if=noise-disk", "of=new", "bs=1M"],
    "create metadata": ["create", "-f", "qcow2", "-o", "preallocation=metadata,cluster_size=512", "new", "2G"],
    "create falloc": ["create", "-f", "qcow2", "-o", "preallocation=falloc", "new", "64M"],
    "create full": ["create", "-f", "qcow2", "-o", "preallocation=full", "new", "64M"],
    "create raw falloc": ["create", "-f", "raw", "-o", "preallocation=falloc", "new", "64M"],
    "create raw full": ["create", "-f", "raw", "-o", "preallocation=full", "new", "64M"],
    "create luks": ["create", *SECRET, "-f", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10,"
                    "preallocation=full", "new", "32M"],
}


def must(words, folder):
    said = run(words, folder)
    assert said.code == 0, said


def sources(folder):
    """disk and old: content and a snapshot of other content, in small clusters; and what is read by copies."""
    noise = b"".join(hashlib.sha512(number.to_bytes(4, "big")).digest() for number in range(16 << 14))
    (folder / "noise").write_bytes(noise)
    for name in ("disk", "old"):
        must(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", name, "32M"], folder)
        must(["qemu-io", "-c", "write -q -P 1 0 3M", name], folder)
        must(["qemu-img", "snapshot", "-c", "kept", name], folder)
        must(["qemu-io", "-c", "write -q -P 2 1M 1M", name], folder)
    must(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "noise", "noise-disk"], folder)
    must(["qemu-img", "create", "-q", "-f", "qcow2", "with-bitmap", "32M"], folder)
    must(["qemu-img", "bitmap", "--add", "-g", "512", "with-bitmap", "fine"], folder)
    must(["qemu-io", "-c", "write -q -P 3 0 30M", "-c", "discard -q 0 30M", "with-bitmap"], folder)


class Room:
    """The folder that has little room. `fill` leaves so many bytes, and returns how programs are then started."""

    def __init__(self, folder):
        self.path = folder / "full"
        self.path.mkdir()
        self.mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", self.path],
                                      capture_output=True).returncode == 0

    def end(self):
        if self.mounted:
            subprocess.run(["umount", self.path], check=True)

    def fill(self, room):
        if self.mounted:
            space = os.statvfs(self.path)
            free = space.f_bavail * space.f_frsize
            (self.path / "filler").write_bytes(b"x" * max(0, free - room))
            return []
        longest = max(file.stat().st_size for file in self.path.iterdir()) if any(self.path.iterdir()) else 0
        return ["bash", "-c", f'trap "" XFSZ; ulimit -f {(longest + room) >> 10}; exec "$@"', "bash"]

    def empty(self):
        for file in self.path.iterdir():
            file.unlink()


def refused(name, said, file):
    """Whether the verb was stopped by the lack of room; then by one line of the right form."""
    if said.code == 0:
        counted["done all the same"] += 1
        return False
    counted["full"] += 1
    text = said.err + (said.out if said.words[-1] == file and " io " in f" {' '.join(said.words)} " else "")
    if said.code != 1 or not any(words in text for words in SAYS):
        complaints.append(f"{name}: the refusal has another form\n{said}")
    elif not any(line.startswith("cowvet: ") and f"{file}: " in line for line in said.err.splitlines()) and "io" not in said.words:
        complaints.append(f"{name}: the refusal does not name the file\n{said}")
    return True


def readable(folder, image):
    """The disk and its snapshot, as qemu-img reads them from a copy elsewhere."""
    shutil.copy(image, folder / "copy")
    kept = []
    for words in ([], ["-l", "kept"]):
        said = run(["qemu-img", "convert", *words, "-O", "raw", "copy", "content"], folder)
        kept.append((folder / "content").read_bytes() if said.code == 0 else str(said))
    return kept


def elsewhere(folder, words):
    """The words of a verb that finds what it reads in the folder where there is room, and changes disk."""
    return ["disk" if word == "old" else word.replace("noise", f"{folder}/noise").replace("with-bitmap", f"{folder}/with-bitmap")
            for word in words]


def changes(folder, room):
    at_first = {image: readable(folder, folder / image) for image in ("disk", "old")}
    for name, words in CHANGES.items():
        for space in (0, 4096, 61440):
            room.empty()
            image = words[-1] if words[-1] == "old" else "disk"
            shutil.copy(folder / image, room.path / "disk")
            before = at_first[image]
            start = room.fill(space)
            said = run([*start, COWVET, *elsewhere(folder, words)], room.path)
            stopped = refused(f"{name}, {space} bytes left", said, "disk")
            after = readable(folder, room.path / "disk")
            if name == "shrink" and "the disk has its new size" in str(said):  # only giving back space did not succeed
                if [part[:1 << 20] for part in before] != [part[:1 << 20] for part in after]:
                    complaints.append(f"{name}, {space} bytes left: not the beginning of what was there")
                continue
            where = f"{name}, {space} bytes left\n{said}"
            if after[1] != before[1] and (stopped or name not in ("snapshot removed", "shrink")):
                complaints.append(f"{where}the snapshot changed")
            if stopped and not name.startswith(("io", "convert", "bench")) and after[0] != before[0]:
                complaints.append(f"{where}the disk changed")
            if isinstance(after[0], str):
                complaints.append(f"{where}{after[0]}")
            elif name in ("io write", "io compressed", "io flushed", "convert --bitmaps") and after[0][:3 << 20] != before[0][:3 << 20]:
                complaints.append(f"{where}what was flushed before is lost")
            checked = run([COWVET, "check", "disk"], room.path)
            if checked.code not in (0, 3):
                complaints.append(f"{where}{checked}")


def new_files(folder, room):
    for name, words in NEW.items():
        for space in (0, 4096, 700_000):
            room.empty()
            start = room.fill(space)
            said = run([*start, COWVET, *elsewhere(folder, words)], room.path)
            refused(f"{name}, {space} bytes left", said, "new")
            left = [file.name for file in room.path.glob("new*")]
            if said.code == 0 or left:
                complaints.append(f"{name}, {space} bytes left: made, or {left} left behind\n{said}")


def shown(folder, image):
    must(["qemu-img", "convert", "-O", "raw", image, "content"], folder)
    return (folder / "content").read_bytes()


def on_chains(folder, room):
    """A chain whose base, or whose top, lies where there is little room: refused before the first byte, and tried with --force;
    then the chain reads as before, and with room the same command goes on."""
    for name, (words, here) in {"commit": (["commit", "top"], "base"), "pull": (["pull", "top"], "top"),
                                "rebase": (["rebase", "-b", "", "top"], "top")}.items():
        room.empty()
        for image in ("base", "top"):
            (folder / image).unlink(missing_ok=True)
            (folder / image).symlink_to(room.path / image if image == here else folder / f"{image}.real")
        must(["qemu-img", "create", "-q", "-f", "qcow2", "base", "32M"], folder)
        must(["qemu-img", "create", "-q", "-f", "qcow2", "-b", folder / "base", "-F", "qcow2", "top"], folder)
        must(["qemu-io", "-c", "write -q -P 5 0 4M", "base"], folder)
        must(["qemu-io", "-c", "write -q -P 6 2M 6M", "top"], folder)
        before, bytes_before = shown(folder, "top"), (folder / here).read_bytes()
        start = room.fill(1 << 20)
        if room.mounted:
            said = run([*start, COWVET, *words], folder)
            if said.code != 1 or "make room first" not in said.err or (folder / here).read_bytes() != bytes_before:
                complaints.append(f"{name}: not refused beforehand, or written\n{said}")
        said = run([*start, COWVET, *words, "--force"], folder)
        if not refused(f"{name} --force", said, here) or shown(folder, "top") != before:
            complaints.append(f"{name} --force: done, or the top reads differently\n{said}")
        if run([COWVET, "check", here], folder).code not in (0, 3):
            complaints.append(f"{name} --force: {here} is damaged")
        (room.path / "filler").unlink(missing_ok=True)
        said = run([COWVET, *words], folder)
        if said.code != 0 or shown(folder, "top") != before or (name == "commit" and shown(folder, "base") != before):
            complaints.append(f"{name}: not completed when there was room\n{said}")


def read_only(folder):
    """An image that may not be written to: by its mode where that counts, and else by a mount."""
    place = folder / "kept"
    place.mkdir()
    shutil.copy(folder / "disk", place / "disk")
    before = (place / "disk").read_bytes()
    bound = False
    (place / "disk").chmod(0o444)
    if os.access(place / "disk", os.W_OK):  # we are root
        bind = [["mount", "--bind", place, place], ["mount", "-o", "remount,bind,ro", place]]
        bound = subprocess.run(bind[0], capture_output=True).returncode == 0
        if not bound or subprocess.run(bind[1], capture_output=True).returncode != 0:
            print("neither modes nor mounts make a file read-only here: left out")
            if bound:
                subprocess.run(["umount", place], check=True)
            return
    try:
        for name, words in CHANGES.items():
            said = run([COWVET, *elsewhere(folder, words)], place)
            counted["read only"] += 1
            if said.code != 1 or "disk" not in said.err or not any(word in said.err for word in ("read-only", "permission denied")):
                complaints.append(f"read-only, {name}\n{said}")
            if (place / "disk").read_bytes() != before:
                complaints.append(f"read-only, {name}: it was changed\n{said}")
        if run([COWVET, "check", "disk"], place).code != 0:
            complaints.append("a read-only image can't be checked")
    finally:
        if bound:
            subprocess.run(["umount", place], check=True)


def in_own_namespace():
    """Runs the test in a user and mount namespace of its own, where mounting is allowed; ends this process if that works."""
    if os.geteuid() == 0 or INSIDE in os.environ or not shutil.which("unshare"):
        return
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0:
        os.execvpe("unshare", ["unshare", "-rm", sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})


in_own_namespace()
with scratch() as name:
    folder = Path(name)
    sources(folder)
    room = Room(folder)
    if not room.mounted:
        print("nothing may be mounted here: a limit for the length of files (RLIMIT_FSIZE) instead of a full file system")
    try:
        changes(folder, room)
        new_files(folder, room)
        on_chains(folder, room)
    finally:
        room.end()
    read_only(folder)

print(", ".join(f"{count} {name}" for name, count in counted.items()))
for complaint in complaints[:20]:
    print(complaint)
if complaints or counted["full"] < 60:
    sys.exit(f"{len(complaints)} complaints")
