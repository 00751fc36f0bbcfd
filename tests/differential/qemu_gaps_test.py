"""The kinds of damage on which qemu-img check was measured to lose data, to stop, or to say nothing: each gets a precise
finding from cowvet, made on images that qemu-img itself wrote. A case names the rules that must be found; where guest data
is at stake, a finding of the first of them must name guest ranges. Prints what both programs said.
"""
import sys
from pathlib import Path

import edits
import programs
import qemu_rows
from qemu_rows import CASES, HARMLESS


def findings(said):
    return said.json()["findings"]


def main():
    programs.need("qemu-img", "qemu-io")
    wrong = []
    with programs.scratch() as place:
        folder = Path(place)
        layouts = qemu_rows.make(folder)
        (folder / "base").unlink()
        for row, image, what, damage, rules, at_stake in CASES:
            layout = layouts[image]
            edits.store(folder / "damaged", edits.apply(layout.bytes, damage(layout)))
            theirs = programs.run(["qemu-img", "check", "-f", "qcow2", "damaged"], folder)
            ours = programs.cowvet(folder, "check", "--deep", "--output", "json", "damaged")
            found = {}
            for finding in findings(ours):
                found.setdefault(finding["rule"], []).append(finding)
            print(f"{row:>3} {what:44} qemu-img {theirs.code}  cowvet {ours.code}  {' '.join(sorted(found))}")
            missing = [rule for rule in rules if rule not in found]
            if missing:
                wrong.append(f"row {row}, {what}: not found: {' '.join(missing)}")
            elif at_stake and not any(finding.get("guest") for finding in found[rules[0]]):
                wrong.append(f"row {row}, {what}: {rules[0]} names no guest range")
            harmless = all(f["severity"] in ("warning", "note") for several in found.values() for f in several)
            if ours.code not in ((0,) if harmless else (2, 3)) or harmless != (what in HARMLESS):
                wrong.append(f"row {row}, {what}: exit code {ours.code}")
    print(f"{len(CASES)} cases, {len(wrong)} wrong")
    for line in wrong:
        print(line)
    return 1 if wrong else 0


sys.exit(main())
