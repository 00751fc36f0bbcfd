"""Cowvet in the place of qemu-img and of qemu-io: called through links of these names, it ends with the same code and says
what scripts match in the same words.
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

from programs import COWVET, need, run, scratch

need("qemu-img", "qemu-io")

complaints = []
compared = 0

# Calls whose messages are the same to the letter.
SAME = [
    *[["qemu-img", *words] for words in (
        ["info", "nofile"], ["check", "nofile"], ["map", "nofile"], ["measure", "nofile"], ["bench", "nofile"],
        ["info", "no/such/folder"], ["bench", "-w", "nofile"], ["info", "-f", "qcow2", "bytes"], ["map", "-f", "qcow2", "bytes"],
        ["bench", "-f", "qcow2", "bytes"], ["map", "orphan"], ["bench", "-c", "1", "orphan"], ["map", "strange"],
        ["bench", "-c", "10", "-o", "4G", "disk"], ["bench", "--flush-interval=10", "disk"], ["bench", "-t", "foo", "disk"],
        ["bench", "-w", "--flush-interval=10", "disk"], ["bench", "-c", "10", "-s", "3G", "disk"], ["bench", "-i", "foo", "disk"],
        ["bench", "-c", "10", "--pattern", "300", "disk"], ["bogus"], [],
        ["create", "-f", "qcow2", "made"], ["create", "-f", "qcow2", "-b", "disk", "made"],
        ["create", "-f", "qcow2", "-o", "foo=1", "made", "1M"],
    )],
    *[["qemu-io", *words] for words in (
        ["nofile"], ["-r", "nofile"], ["-c", "open nofile"], ["-f", "qcow2", "bytes"], ["orphan"], ["strange"], ["-c", "length"],
        ["-c", "length", "disk"])],
]
# The same while another program has the image open for writing.
IN_USE = [["qemu-img", "info", "disk"], ["qemu-img", "check", "disk"], ["qemu-img", "map", "disk"], ["qemu-img", "bench", "-w", "disk"],
          ["qemu-img", "bench", "-c", "1", "disk"], ["qemu-io", "-c", "length", "disk"], ["qemu-io", "-r", "-c", "length", "disk"],
          ["qemu-img", "info", "-U", "disk"], ["qemu-img", "bench", "-c", "0", "disk"]]
MASKED_LINES = ("Run completed in", "disk size:")


def told(said):
    # qemu-img adds which format it found, without ending the line.
    lines = (said.out + said.err).replace("Detected format of qcow2.", "").splitlines()
    return [said.code, *("masked" if line.startswith(MASKED_LINES) else line for line in lines)]


def compare(words, folder, links):
    global compared
    compared += 1
    theirs, ours = run(words, folder), run([links / words[0], *words[1:]], folder)
    if told(theirs) != told(ours):
        complaints.append(f"differs\n{theirs}{ours}")


def expect(fine, what, said):
    global compared
    compared += 1
    if not fine:
        complaints.append(f"{what}\n{said}")


def own_words(folder, links):
    """Help and version are each program's own, and name it; cowvet keeps its words."""
    for name in ("qemu-img", "qemu-io"):
        said = run([links / name, "--version"], folder)
        expect(said.code == 0 and said.out.startswith(f"{name} version 7.2"), "no version that scripts can read", said)
        said = run([links / name, "--help"], folder)
        expect(said.code == 0 and name in said.out and "cowvet check" not in said.out, "help that names another program", said)
    said = run([links / "qemu-img", "--help"], folder)
    expect("\n  check " in said.out and "\n  dump " not in said.out and "Supported formats:" in said.out, "other verbs", said)
    said = run([links / "qemu-img", "dump", "disk"], folder)
    expect(said.code == 1 and said.err.startswith("qemu-img: Command not found: dump\n"), "a verb that qemu-img has not", said)
    said = run([links / "qemu-img", "check", "--help"], folder)
    expect("qemu-img check" in said.out and "cowvet check" not in said.out, "a verb's help", said)
    said = run([links / "qemu-img", "check", "--frob"], folder)
    expect(said.code == 1 and said.err.startswith("qemu-img: ") and "did you mean" not in said.err, "a wrong option", said)
    said = run([COWVET, "info", "nofile"], folder)
    expect(said.err == "cowvet: nofile: no such file: check the name\n", "cowvet's own words", said)
    said = run([COWVET, "help", "check"], folder)
    expect(said.code == 0 and said.out == run([COWVET, "check", "--help"], folder).out, "help VERB", said)
    said = run([COWVET, "help", "chekc"], folder)
    expect(said.code == 1 and "did you mean 'check'" in said.err, "help for a verb that isn't there", said)


with scratch() as name:
    folder, links = Path(name, "work"), Path(name, "links")
    folder.mkdir()
    links.mkdir()
    for program in ("qemu-img", "qemu-io"):
        os.symlink(COWVET, links / program)
    (folder / "bytes").write_bytes(bytes(range(256)) * 8)
    for words in (["create", "-q", "-f", "qcow2", "disk", "1M"],
                  ["create", "-q", "-u", "-f", "qcow2", "-b", "gone", "-F", "qcow2", "orphan", "1M"],
                  ["create", "-q", "-u", "-f", "qcow2", "-b", "bytes", "-F", "qcow2", "strange", "1M"]):
        run(["qemu-img", *words], folder)
    for words in SAME:
        compare(words, folder, links)
    own_words(folder, links)
    # Each program in turn holds the image while both look at it.
    for holder in (shutil.which("qemu-io"), str(links / "qemu-io")):
        holding = subprocess.Popen([holder, "disk"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holding.stdout.read(len("qemu-io> "))  # it has opened the image by then
        for words in IN_USE:
            compare(words, folder, links)
        holding.communicate(timeout=60)

print(f"{compared} calls compared")
for complaint in complaints[:20]:
    print(complaint)
if complaints or compared < 50:
    sys.exit(f"{len(complaints)} differences")
