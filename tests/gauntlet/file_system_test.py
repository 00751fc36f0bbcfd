"""Rescues of real file systems: six kinds of damage on 24 images (4 file systems, 6 shapes), 144 cases.

What is damaged is repaired in place by `repair --level all --allow-loss`, and where the guest's bytes are not all right after
that, `salvage` makes a new image of what is left. A rescue is one that gives back every byte of the disk; beside it stands how
many disks at least pass the checker of their own file system, and what `qemu-img check -r all` rescues. CI takes two
images (COWVET_LONG=1: all); `--show` prints what the programs said about the cases that were lost.
"""
import collections
import concurrent.futures
import random
import shutil
import sys
import time
from pathlib import Path

import beside  # noqa: F401
import edits
import file_systems
import programs
import truth
from case import ALL
from layout import Layout
from programs import cowvet, run

LEAST = 136  # rescues of the 144; the goal is 120
IN_CI = [("ext4", 1), ("FAT", 0)]
LEAST_IN_CI = 12


def l1(layout):
    return layout.field("l1_table_offset"), 8 * layout.field("l1_size")


def refcounts(layout):
    return [(layout.field("refcount_table_offset"), layout.cluster * layout.field("refcount_table_clusters")),
            *((block, layout.cluster) for _, block in layout.blocks)]


def fullest_table(layout):
    return max(layout.l2_tables, key=lambda table: sum(entry.kind in ("data", "compressed") for entry in layout.read_l2(table)))


def zeroed(ranges):
    return [(at, bytes(length)) for at, length in ranges]


def garbled(ranges, lot):
    return [(at, lot.randbytes(length)) for at, length in ranges]


# name -> edits of (layout, lot, the image's number)
DAMAGES = {
    "L1 table zeroed": lambda l, lot, n: zeroed([l1(l)]),
    "L1 table garbled": lambda l, lot, n: garbled([l1(l)], lot),
    "all refcounts zeroed": lambda l, lot, n: zeroed(refcounts(l)),
    "all refcounts garbled": lambda l, lot, n: garbled(refcounts(l), lot),
    "an L2 table zeroed or garbled": lambda l, lot, n: (garbled([(fullest_table(l), l.cluster)], lot) if n % 2
                                                        else zeroed([(fullest_table(l), l.cluster)])),
    "header gone": lambda l, lot, n: zeroed([(0, l.cluster)]),
}


def right_share(folder, name, right, cluster):
    """Of the guest's clusters that are not zeros, the share that reads right; 1 only where all else is zeros as well."""
    content = truth.read(folder, ["--image-opts", f"driver=qcow2,file.filename={name}"], cluster)
    if content is None:
        return 0.0
    good = sum(content.clusters.get(guest) == digest for guest, digest in right.items())
    if good == len(right):
        return 1.0 if content.clusters.keys() == right.keys() else 0.999
    return good / len(right)


def passes(system, folder, name):
    """Whether the file system in an image passes its checker."""
    said = run(["qemu-img", "convert", "--salvage", "-f", "qcow2", "-O", "raw", name, "judged.raw"], folder, truth.PATIENCE)
    passed = said.code == 0 and file_systems.sound(system, folder, "judged.raw")
    (folder / "judged.raw").unlink(missing_ok=True)
    return passed


def rescue(system, number, folder):
    """All kinds of damage on one image: (kind, by repair, by salvage, by qemu-img, passes its checker, what was said)."""
    folder.mkdir()
    file_systems.make(system, file_systems.SHAPES[number], folder)
    original = (folder / "image.qcow2").read_bytes()
    layout = Layout(original)
    right = truth.clusters_of(folder / "disk.raw", layout.cluster)
    for kind, damage in DAMAGES.items():
        content = edits.apply(original, damage(layout, random.Random(f"{system} {number} {kind}"), number))
        shares, said = {}, []
        for name in ("repaired", "damaged", "theirs"):
            edits.store(folder / name, content)
        if programs.has_verb("repair"):
            said.append(cowvet(folder, "repair", *ALL, "repaired"))
        shares["repaired"] = right_share(folder, "repaired", right, layout.cluster)
        if shares["repaired"] < 1 and programs.has_verb("salvage"):
            said.append(cowvet(folder, "salvage", "damaged", "salvaged"))
            shares["salvaged"] = right_share(folder, "salvaged", right, layout.cluster)
        run(["qemu-img", "check", "-q", "-r", "all", "-f", "qcow2", "theirs"], folder, truth.PATIENCE)
        shares["theirs"] = right_share(folder, "theirs", right, layout.cluster)
        best = max((name for name in shares if name != "theirs"), key=shares.get)
        yield kind, shares, shares[best] == 1 or passes(system, folder, best), said
        for name in ("repaired", "damaged", "theirs", "salvaged", "repaired.cowvet-undo"):
            (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder)


def print_table(results):
    rows = collections.defaultdict(list)
    for system, _, kind, shares, passed, _ in results:
        rows[kind].append((system, shares, passed))
    rows["all"] = [cell for cells in list(rows.values()) for cell in cells]
    print(f"{'kind of damage':32}{'cases':>6}{'rescued':>9}  " + "".join(f"{name:>6}" for name in file_systems.MAKERS)
          + f"{'by repair':>11}{'passes':>8}{'bytes':>8}{'qemu-img':>10}")
    for kind, cells in rows.items():
        best = [(system, max(share for name, share in shares.items() if name != "theirs")) for system, shares, _ in cells]
        of_each = collections.Counter(system for system, share in best if share == 1)
        print(f"{kind:32}{len(cells):6}{sum(share == 1 for _, share in best):9}  "
              + "".join(f"{of_each[name]:6}" for name in file_systems.MAKERS)
              + f"{sum(shares['repaired'] == 1 for _, shares, _ in cells):11}{sum(passed for *_, passed in cells):8}"
              + f"{100 * sum(share for _, share in best) / len(best):7.1f}%"
              + f"{sum(shares['theirs'] == 1 for _, shares, _ in cells):10}")
    return sum(max(share for name, share in shares.items() if name != "theirs") == 1 for _, shares, _ in rows["all"])


def main():
    programs.need("qemu-img", *file_systems.NEEDED)
    began = time.monotonic()
    images = [(system, number) for system in file_systems.MAKERS for number in range(len(file_systems.SHAPES))]
    images = images if programs.LONG else IN_CI
    results = []
    with programs.scratch(2 << 30) as scratch, concurrent.futures.ThreadPoolExecutor(2) as workers:
        def one(image):
            return [(*image, *found) for found in rescue(*image, Path(scratch) / f"{image[0]}{image[1]}")]

        for found in workers.map(one, images):
            results += found
            for system, number, kind, shares, passed, said in found:
                shown = "  ".join(f"{name} {share:7.2%}" for name, share in shares.items())
                print(f"{system:5} {number}  {kind:32} {shown}{'  passes its checker' if passed else ''}", flush=True)
                if "--show" in sys.argv and max(shares["repaired"], shares.get("salvaged", 0)) < 1:
                    print(*said, sep="\n")
    print()
    rescued = print_table(results)
    print(f"\n{rescued} of {len(results)} disks are rescued to the last byte; {time.monotonic() - began:.0f} s")
    least = LEAST if programs.LONG else LEAST_IN_CI
    return 1 if programs.has_verb("repair") and rescued < least else 0


if __name__ == "__main__":
    sys.exit(main())
