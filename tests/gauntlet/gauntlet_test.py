"""The gauntlet: every kind of damage on every image that has what it hurts, and each through all that is promised of a repair
(case.py). Prints a table with a row for each kind, one with a row for each image, and what went wrong.

A sample that is the same each time takes part in CI (COWVET_EACH: of another size); COWVET_LONG=1 takes all. The long run writes
what it found to a file (build/gauntlet/ of the tree, named after the program's digest) and goes on there when it was stopped.
Words on the command line name parts of kinds or images ("base:4k" for images); `--remembered` stops at what an earlier long run
found; `--markdown` prints the tables for docs/repair-proof.md; `--show` prints complaints in full, and what the repair said of
the cases that fall short. COWVET_KEEP names a folder for the images of such cases.
"""
import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import beside  # noqa: F401
import bases
import case
import programs
import table
from kinds import KINDS, OPEN

WORKERS = 2
SAMPLE = int(os.environ.get("COWVET_EACH", 80))  # cases of the sample
KEEP = os.environ.get("COWVET_KEEP")  # a folder for the images of cases that go wrong or fall short
LEAST_SHARE = 0.99  # of what the file's bytes and entries still hold
# Cases in which an earlier repair, or its lossless part, changed what could be read: always in the sample.
ONCE_WORSE = (("4k, snapshot deleted", "snapshot l1: entry on metadata"),
              ("512, LUKS, snapshots, bitmap", "l2: data becomes compressed"), ("64k, raw data file", "header: l1_size huge"))
MADE = []  # the images, made before the workers are forked


def plan(made, wanted):
    """(image's number, kind) of all cases, shuffled, so that a run that was stopped has seen some of everything."""
    kinds = [word for word in wanted if not word.startswith("base:")]
    images = [word[5:] for word in wanted if word.startswith("base:")]
    cases = [(number, kind) for number, base in enumerate(made) for kind in KINDS
             if (not kinds or any(word in kind for word in kinds)) and (not images or any(word in base.name for word in images))
             and damaged(base, kind) is not None]
    return random.Random(7).sample(cases, len(cases))


def sample(cases, size):
    """What was once worse; then each kind once, on images that take turns, and each once more while there is room."""
    by_kind = {}
    chosen, lot = [], random.Random(5)
    for number, kind in sorted(cases):
        if (MADE[number].name, kind) in ONCE_WORSE:
            chosen.append((number, kind))
        else:
            by_kind.setdefault(kind, []).append(number)
    while by_kind and len(chosen) < size:
        for turn, kind in enumerate(lot.sample(sorted(by_kind), len(by_kind))):
            numbers = [number for number in by_kind[kind] if len(MADE[number].original) < 3 << 20] or by_kind[kind]
            number = numbers[(turn + len(chosen)) % len(numbers)]
            chosen.append((number, kind))
            by_kind[kind].remove(number)
            if not by_kind[kind]:
                del by_kind[kind]
    return chosen[:size]


def damaged(base, kind):
    changes = KINDS[kind](random.Random(f"{base.name} {kind}"), base.layout)
    return case.image_of(base, changes) if changes else None


def one(job):
    """In a worker: the verdict of one case as a line of JSON."""
    number, kind, place = job
    base = MADE[number]
    content = damaged(base, kind)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        verdict = case.judge(base, kind, content, Path(folder))
    if KEEP and (verdict.complaints or verdict.ours_known < verdict.known):
        kept = Path(KEEP, re.sub(r"\W+", "-", f"{base.name}--{kind}"))
        kept.mkdir(exist_ok=True)
        for name in base.beside:
            shutil.copyfile(base.folder / name, kept / name)
        (kept / "sound.qcow2").write_bytes(base.original)
        (kept / "damaged.qcow2").write_bytes(content)
    return verdict.line()


def remembered(path):
    """What an earlier run of the same program found, by (image, kind)."""
    if not path or not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return {(verdict["base"], verdict["kind"]): verdict for verdict in lines}


def memory_file():
    if not programs.LONG:
        return None
    stamp = hashlib.sha256(Path(programs.COWVET).read_bytes()).hexdigest()[:12]
    folder = programs.SOURCE / "build" / "gauntlet"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{stamp}.jsonl"


def run_all(cases, place, memory):
    found = remembered(memory)
    todo = [(number, kind, place) for number, kind in cases if (MADE[number].name, kind) not in found]
    if "--remembered" in sys.argv:
        todo = []
    verdicts = [found[MADE[number].name, kind] for number, kind in cases if (MADE[number].name, kind) in found]
    if verdicts:
        print(f"{len(verdicts)} cases are remembered in {memory}")
    began = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(WORKERS, multiprocessing.get_context("fork")) as workers:
        for done, line in enumerate(workers.map(one, todo), 1):
            verdicts.append(json.loads(line))
            if memory:
                with open(memory, "a") as file:
                    file.write(line + "\n")
            if done % 100 == 0:
                print(f"{done} of {len(todo)} cases, {time.monotonic() - began:.0f} s", flush=True)
    return verdicts


def shortfalls(verdicts):
    """What the figures as a whole must be."""
    short = []
    for name, part, whole in (("of what bytes and entries hold", "ours_known", "known"),):
        have, all_of_it = (sum(v[field] for v in verdicts) for field in (part, whole))
        if all_of_it and have < LEAST_SHARE * all_of_it:
            short.append(f"{have} of {all_of_it} clusters are given back {name}: less than {LEAST_SHARE:.0%}")
    return short


def main():
    programs.need("qemu-img", "qemu-io")
    case.VERBS = {verb for verb in case.VERBS if programs.has_verb(verb)}
    show = "--show" in sys.argv
    wanted = [word for word in sys.argv[1:] if not word.startswith("--")]
    began = time.monotonic()
    with programs.scratch(2 << 30) as scratch:
        MADE.extend(bases.make_all(Path(scratch)))
        cases = plan(MADE, wanted)
        if not programs.LONG and (not wanted or "COWVET_EACH" in os.environ):
            cases = sample(cases, SAMPLE)
        os.makedirs(Path(scratch) / "cases")
        verdicts = run_all(cases, Path(scratch) / "cases", memory_file())
    markdown = "--markdown" in sys.argv
    print(*table.lines(verdicts, "kind", markdown), sep="\n")
    print()
    print(*table.lines(verdicts, "base", markdown), sep="\n")
    known = [verdict for verdict in verdicts if verdict["complaints"] and verdict["kind"] in OPEN]
    for verdict in known:
        print(f"known and open: {verdict['base']} / {verdict['kind']}: {OPEN[verdict['kind']]}")
    wrong = [verdict for verdict in verdicts if verdict["complaints"] and verdict["kind"] not in OPEN]
    for verdict in wrong:
        for complaint in verdict["complaints"]:
            print(f"\n{verdict['base']} / {verdict['kind']}: {complaint if show else complaint.splitlines()[0]}")
    for verdict in sorted(verdicts, key=lambda v: v["ours_known"] - v["known"]) if "repair" in case.VERBS else []:
        if verdict["ours_known"] < verdict["known"]:
            print(f"\n{verdict['base']} / {verdict['kind']}: {verdict['ours_known']} of {verdict['known']} are given back "
                  f"({verdict['before']} read right before), {verdict['ours_end']}" + (f"\n{verdict['story']}" if show else ""))
    short = shortfalls(verdicts) if "repair" in case.VERBS else []
    slow = sorted(verdicts, key=lambda v: -v["seconds"])[:5]
    print("\nslowest: " + "; ".join(f"{v['base']} / {v['kind']} {v['seconds']:.1f} s" for v in slow))
    print(f"\n{len(verdicts)} cases, {len({v['kind'] for v in verdicts})} kinds of damage, {len({v['base'] for v in verdicts})} "
          f"images; {len(wrong)} with complaints; {time.monotonic() - began:.0f} s")
    print(*short, sep="\n")
    return 1 if wrong or short or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
