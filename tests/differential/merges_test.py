"""Merges, pulls and deleted layers on the content of a real file system, spread over root <- s1 <- s2 <- s3 <- active.

After each operation every layer that should be valid reads as before, both checks find nothing, and the chain is the one
that was asked for. Each is also killed at random moments: then the same layers read as before, and the same command
completes it. 5 kills an operation; with COWVET_LONG=1, 50 that met the running command.
"""
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from programs import COWVET, LONG, SOURCE, need, run, scratch

need("qemu-img", "qemu-io", "mke2fs", "debugfs")
NAMES = ["root", "s1", "s2", "s3", "active"]
SIZE = 32 << 20
KILLS = 50 if LONG else 5
MERGES = {"s1+s2+s3 into root": ("root", "s3"), "s1+s2 into root": ("root", "s2"), "s1 into root": ("root", "s1"),
          "s2 into s1": ("s1", "s2"), "s3 into s2": ("s2", "s3"), "s2+s3 into s1": ("s1", "s3")}
complaints, counts = [], {"operations": 0, "killed": 0, "ended before the kill": 0, "layers compared": 0}


def must(words, folder):
    said = run(words, folder)
    assert said.code == 0, said
    return said


def make(folder):
    """The chain: each layer holds what makes the file system's next state of the one before."""
    disk = folder / "disk"
    must(["mke2fs", "-q", "-t", "ext4", "-d", SOURCE / "format", disk, str(SIZE >> 10)], folder)
    must(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", disk, "root"], folder)
    before = disk.read_bytes()
    sources = sorted((SOURCE / "engine").glob("*.cpp"))
    for i, (below, name) in enumerate(zip(NAMES, NAMES[1:])):
        # The layers are of different kinds, as they come about over the years.
        options = ["cluster_size=64k", "cluster_size=4k", "extended_l2=on", "compat=0.10"][i]
        must(["qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", "-o", options, name], folder)
        commands = [f"rm {path.name}" for path in sources[i - 1::4][:3] if i] + \
                   [f"write {path} {path.name}" for path in sources[i::4]]
        script = folder / "commands"
        script.write_text("\n".join(commands) + "\n")
        must(["debugfs", "-w", "-f", script, disk], folder)
        after = disk.read_bytes()
        words = []
        for at in range(0, SIZE, 4096):
            if after[at:at + 4096] != before[at:at + 4096]:
                piece = folder / f"piece-{at}"
                piece.write_bytes(after[at:at + 4096])
                words += ["-c", f"write -s {piece} {at} 4096"]
        must(["qemu-io", "-f", "qcow2", *words, name], folder)
        for piece in folder.glob("piece-*"):
            piece.unlink()
        before = after
    script.unlink()
    shown = Path(folder, "shown")
    must(["qemu-img", "convert", "-O", "raw", "active", shown], folder)
    assert shown.read_bytes() == before
    shown.unlink()
    disk.unlink()


def content(folder, name):
    shown = folder / "shown"
    must(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", name, shown], folder)
    counts["layers compared"] += 1
    digest = hashlib.sha256(shown.read_bytes()).hexdigest()
    shown.unlink()
    return digest


def chain(folder):
    layers = must(["qemu-img", "info", "--output=json", "--backing-chain", "active"], folder).json()
    return [layer["filename"] for layer in layers]


def examine(folder, contents, valid, story):
    for name in valid:
        if content(folder, name) != contents[name]:
            complaints.append(f"{story}: {name} reads differently")


def finished(folder, contents, valid, expected, story, base):
    examine(folder, contents, valid, story)
    if base and content(folder, base[0]) != contents[base[1]]:
        complaints.append(f"{story}: {base[0]} does not read as {base[1]} did")
    if chain(folder) != expected:
        complaints.append(f"{story}: the chain is {chain(folder)}")
    for name in expected:
        for check in (["qemu-img", "check", name], [COWVET, "check", name]):
            said = run(check, folder)
            # What a killed program leaves behind is leaked clusters at worst.
            if said.code != 0 and not ("killed" in story and said.code == 3):
                complaints.append(f"{story}: {said}")


def operate(made, contents, words, valid, expected, base=None):
    """Runs `cowvet WORDS` on a copy of the chain; then on others, and kills it."""
    folder = made.parent / "copy"

    def fresh():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made, folder)

    story = " ".join(words)
    fresh()
    began = time.monotonic()
    must([COWVET, *words], folder)
    lasts = time.monotonic() - began
    counts["operations"] += 1
    finished(folder, contents, valid, expected, story, base)
    met = 0  # kills that met the running command
    for kill in range(6 * KILLS if LONG else KILLS):
        if met == KILLS:
            break
        fresh()
        process = subprocess.Popen([COWVET, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.random() * lasts)
        process.send_signal(signal.SIGKILL)
        ended = process.wait() != -signal.SIGKILL
        counts["ended before the kill" if ended else "killed"] += 1
        met += not ended
        told = f"{story}, killed ({kill})"
        examine(folder, contents, valid, told)
        said = run([COWVET, *words], folder)
        if said.code != 0:
            complaints.append(f"{told}, run again: {said}")
            continue
        finished(folder, contents, valid, expected, told, base)


random.seed(1)
with scratch() as name:
    made = Path(name, "made")
    made.mkdir()
    make(made)
    contents = {layer: content(made, layer) for layer in NAMES}
    assert len(set(contents.values())) == len(NAMES)
    for base, top in MERGES.values():
        b, t = NAMES.index(base), NAMES.index(top)
        operate(made, contents, ["commit", "--base", base, "--top", top, "active"], NAMES[:b] + NAMES[t + 1:],
                [*NAMES[:t:-1], *NAMES[b::-1]], (base, top))
    operate(made, contents, ["commit", "active"], ["root", "s1", "s2", "active"], NAMES[::-1], ("s3", "active"))
    operate(made, contents, ["commit", "--base", "s1", "active"], ["root", "active"], NAMES[::-1], ("s1", "active"))
    operate(made, contents, ["pull", "--base", "s1", "active"], NAMES, ["active", "s1", "root"])
    operate(made, contents, ["pull", "active"], NAMES, ["active"])
    operate(made, contents, ["pull", "--base", "root", "s2"], NAMES, ["active", "s3", "s2", "root"])
    operate(made, contents, ["rebase", "-b", "root", "-F", "qcow2", "s3"], NAMES, ["active", "s3", "root"])
    operate(made, contents, ["snapshot", "--delete-layer", "s2", "--into", "base", "active"], ["root", "s3", "active"],
            ["active", "s3", "s1", "root"], ("s1", "s2"))
    operate(made, contents, ["snapshot", "--delete-layer", "s2", "--into", "overlay", "active"], NAMES,
            ["active", "s3", "s1", "root"])
for complaint in complaints[:20]:
    print(complaint)
print(f"{len(complaints)} complaints; {counts}")
sys.exit(1 if complaints else 0)
