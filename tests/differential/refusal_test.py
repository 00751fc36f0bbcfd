"""What stands in the way of the verbs that change images: no such file, no permission, an image in use, a damaged image (a
full disk: see full_disk_test.py). Each is a clear error with the file's name, an exit code of qemu-img's, and leaves the
image as it was or with at most leaks.
"""
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from programs import COWVET, cowvet, need, run, scratch

need("qemu-img", "qemu-io")
VERBS = {"snapshot": ["snapshot", "-c", "new", "disk"], "apply": ["snapshot", "-a", "kept", "disk"],
         "remove": ["snapshot", "-d", "kept", "disk"], "resize": ["resize", "disk", "+64M"],
         "shrink": ["resize", "--shrink", "disk", "1M"], "amend": ["amend", "-o", "refcount_bits=64", "disk"],
         "bitmap": ["bitmap", "--add", "-g", "512", "disk", "new"]}
complaints = []
tried = 0


def expect(said, code, *words):
    global tried
    tried += 1
    if said.code != code or not said.err.startswith("cowvet: disk: ") or not any(word in said.err for word in words):
        complaints.append(f"{said}expected exit {code} and one of {words}")


def make(folder):
    for command in (["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "disk", "64M"],
                    ["qemu-io", "-c", "write -P 1 0 3M", "disk"], ["qemu-img", "snapshot", "-c", "kept", "disk"],
                    ["qemu-io", "-c", "write -P 2 1M 1M", "disk"]):
        said = run(command, folder)
        assert said.code == 0, said


def content(folder, *words):
    said = run(["qemu-img", "convert", *words, "-O", "raw", "disk", "content"], folder)
    read = (folder / "content").read_bytes() if said.code == 0 else said.err
    (folder / "content").unlink(missing_ok=True)
    return read


def stopped(folder):
    """Ctrl-C while space is written: the disk keeps its size, and nothing is left over."""
    for kind in ("qcow2", "raw"):
        small = ["-o", "cluster_size=4k"] if kind == "qcow2" else []  # so that it is stopped between two tables
        run(["qemu-img", "create", "-q", "-f", kind, *small, "disk", "1M"], folder)
        before = (folder / "disk").stat().st_size
        working = subprocess.Popen([COWVET, "resize", "-f", kind, "--preallocation=full", "disk", "+6G"], cwd=folder,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while working.poll() is None and (folder / "disk").stat().st_blocks < 100_000:
            time.sleep(0.01)
        working.send_signal(signal.SIGINT)
        out, err = working.communicate(timeout=120)
        if working.returncode != 1 or err != "cowvet: disk: stopped\n" or out:
            complaints.append(f"{kind}: not stopped: {working.returncode} {out}{err}")
        size = run(["qemu-img", "info", "-f", kind, "--output=json", "disk"], folder).json()["virtual-size"]
        checked = cowvet(folder, "check", "disk") if kind == "qcow2" else None
        if size != 1 << 20 or (checked and checked.code != 0):
            complaints.append(f"{kind}: stopped with a disk of {size} bytes\n{checked}")
        if kind == "raw" and (folder / "disk").stat().st_size != before:
            complaints.append("raw: stopped with another length")
        if (folder / "disk").stat().st_blocks * 512 > before + (8 << 20):
            complaints.append(f"{kind}: the space was not given back")
        (folder / "disk").unlink()


with scratch() as name:
    folder = Path(name)
    for words in VERBS.values():
        expect(cowvet(folder, *words), 1, "no such file")
    (folder / "disk").mkdir()
    for words in VERBS.values():
        expect(cowvet(folder, *words), 1, "directory", "folder")
    (folder / "disk").rmdir()
    make(folder)
    before = [content(folder), content(folder, "-l", "kept")]

    # Another program writes to it.
    held = subprocess.Popen(["qemu-io", "disk"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    held.stdin.write(b"read 0 512\n")
    held.stdin.flush()
    held.stdout.readline()
    for words in VERBS.values():
        expect(cowvet(folder, *words), 1, "another program", "in use")
    listed = cowvet(folder, "snapshot", "-l", "disk")
    expect(listed, 1, "another program", "in use")
    if cowvet(folder, "snapshot", "-U", "-l", "disk").code != 0:
        complaints.append("-U does not read it")
    held.stdin.close()
    held.wait()

    # No permission: root has them all, so that another user tries.
    if os.getuid() == 0:
        shutil.copy(COWVET, folder / "program")
        os.chmod(folder, 0o755)
        os.chmod(folder / "disk", 0o444)
        for words in VERBS.values():
            expect(run(["setpriv", "--reuid=65534", "--clear-groups", "./program", *words], folder), 1, "permi", "Permission")
        os.chmod(folder / "disk", 0o644)
    if [content(folder), content(folder, "-l", "kept")] != before:
        complaints.append("a refusal changed the image")

    kept = (folder / "disk").read_bytes()
    stopped(folder)
    (folder / "disk").write_bytes(kept)

    # Damage: nothing is written to what can't be understood.
    whole = (folder / "disk").read_bytes()
    for place, value in ((0, b"QFI\0"), (48, b"\xff" * 8), (64, b"\xff" * 8), (40, b"\xff" * 8), (79, b"\x02")):
        damaged = bytearray(whole)
        damaged[place:place + len(value)] = value
        for words in VERBS.values():
            (folder / "disk").write_bytes(damaged)
            said = cowvet(folder, *words)
            if words[0] == "resize" and place == 0:
                continue  # whatever does not begin as a qcow2 image is a raw one
            expect(said, 1, "")
            if (folder / "disk").read_bytes() != damaged:
                complaints.append(f"{said}a damaged image was written")

print(f"{tried} combinations tried")
for complaint in complaints[:20]:
    print(complaint)
if complaints or tried < 60:
    sys.exit(f"{len(complaints)} differences, {tried} tried")
