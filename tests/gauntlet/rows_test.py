"""The kinds of damage on which `qemu-img check -r` was measured to lose data, to give up or to say nothing: what both programs make
of each. A line a case: the row of the table of measurements, what is damaged, how many of the guest clusters whose bytes are
still there read right before, after `qemu-img check -r all`, and after `cowvet repair --level all --allow-loss`, and how each ends.
Everything that case.py promises holds for each; nothing that the bytes and entries hold is lost, and nothing is made worse.
"""
import sys
import tempfile
import time
from pathlib import Path

import beside  # noqa: F401
import case
import programs
import qemu_rows
from bases import Base

BESIDE = {"data-file": ["payload"], "raw-data-file": ["raw"], "overlay": ["base"]}
NOTHING_DAMAGED = "backing file missing"  # only the file that the image stands on is gone


def main():
    programs.need("qemu-img", "qemu-io")
    case.VERBS = {verb for verb in case.VERBS if programs.has_verb(verb)}
    wrong, short, began = [], [], time.monotonic()
    with programs.scratch() as place:
        root = Path(place, "images")
        root.mkdir()
        layouts = qemu_rows.make(root)
        bases = {}
        for name in layouts:
            bases[name] = Base(name)
            bases[name].folder = root
            bases[name].look(name, BESIDE.get(name, []))
        print(f"row  {'damage':44}{'held':>6}{'before':>8}{'qemu-img':>10}  {'':8}{'cowvet':>8}  {'':8}{'salvage':>8}")
        for row, name, what, damage, _, _ in qemu_rows.CASES:
            base = bases[name]
            content = case.image_of(base, damage(base.layout))
            if content is None:
                continue
            with tempfile.TemporaryDirectory(dir=place) as folder:
                verdict = case.judge(base, what, content, Path(folder))
            print(f"{row:>3}  {what:44}{verdict.held:6}{verdict.before:8}{verdict.theirs:10}  {verdict.theirs_end:8}"
                  f"{verdict.ours:8}  {verdict.ours_end:8}{verdict.salvaged:8}", flush=True)
            wrong += [f"row {row}, {what}: {complaint}" for complaint in verdict.complaints]
            if verdict.ours_known < verdict.known and "repair" in case.VERBS:
                short.append(f"row {row}, {what}: {verdict.ours_known} of {verdict.known} clusters are given back")
        if "repair" in case.VERBS:
            wrong += alone(root)
    print(*wrong, *short, sep="\n")
    print(f"{len(wrong)} complaints, {len(short)} cases fall short; {time.monotonic() - began:.0f} s")
    return 1 if wrong or short else 0


def alone(root):
    """Row 22: an image whose backing file is missing is repaired for all that is its own."""
    (root / "base").unlink()
    before = case.fingerprint(root / "overlay")
    said = programs.cowvet(root, "repair", *case.ALL, "overlay")
    print(f" 22  {NOTHING_DAMAGED:44} cowvet {said.code}")
    return [] if said.code == 0 and case.fingerprint(root / "overlay") == before else [f"row 22, {NOTHING_DAMAGED}: {said}"]


sys.exit(main())
