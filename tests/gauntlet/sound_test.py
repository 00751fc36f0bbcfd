"""Repair leaves sound images alone: every level, byte for byte, without an undo file. qemu-img's `check -r` was measured to delete a
snapshot here (an image with a persistent bitmap, or with an autoclear bit that it does not know), and calls it sound.
"""
import sys
import time
from pathlib import Path

import beside  # noqa: F401
import bases
import edits
import programs
from case import fingerprint
from programs import cowvet, run

LEVELS = [["--plan"], [], ["--level", "leaks"], ["--level", "all"], ["--level", "all", "--allow-loss"]]
CHECKS = [["check", "-r", "leaks"], ["check", "-r", "all"]]
SLOW = {"4k, LUKS", "2M"}  # to make
UNKNOWN_BIT = "4k, 8 bits, snapshots"  # and once more with an autoclear bit that nobody knows


def main():
    programs.need("qemu-img", "qemu-io")
    if not programs.has_verb("repair"):
        print("no repair")
        return 77
    wrong, tried, began = [], 0, time.monotonic()
    with programs.scratch() as place:
        names = None if programs.LONG else {base.name for base in bases.every()} - SLOW - {
            base.name for base in bases.every() if base.secret}
        for base in bases.make_all(Path(place), names):
            contents = [base.original]
            if base.name == UNKNOWN_BIT:
                word = base.layout.header["autoclear_features"]
                contents.append(edits.apply(base.original, [edits.put(word, 1 << 40)]))
            for content in contents:
                path = base.folder / bases.IMAGE
                edits.store(path, content)
                before = fingerprint(path)
                for words in [["repair", *level] for level in LEVELS] + CHECKS:
                    tried += 1
                    said = cowvet(base.folder, *words, bases.IMAGE)
                    left = [file.name for file in base.folder.iterdir() if "undo" in file.name]
                    if said.code != 0 or fingerprint(path) != before or left:
                        wrong.append(f"{base.name}: {'changed' if fingerprint(path) != before else left}\n{said}")
                        edits.store(path, content)
                        before = fingerprint(path)
                run(["qemu-img", "check", "-q", "-r", "leaks", *base.target()], base.folder)
                print(f"{base.name:34} {'as it was' if fingerprint(path)[0] == before[0] else 'changed by qemu-img'}")
    print(*wrong, sep="\n")
    print(f"{tried} repairs of sound images, {len(wrong)} wrong; {time.monotonic() - began:.0f} s")
    return 1 if wrong or not tried else 0


sys.exit(main())
