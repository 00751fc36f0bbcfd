"""On damaged images cowvet never says clean where qemu-img doesn't, never crashes, never hangs, never writes.

Good images of the generator are damaged in all ways of damages.py and damages_elsewhere.py, each way on several
images. Prints what each program said for each kind, and by which rules cowvet finds what qemu-img calls clean.
"""
import collections
import concurrent.futures
import hashlib
import os
import random
import sys
import time
from pathlib import Path

import edits
import generator
import programs
import verdicts
from damages_elsewhere import KINDS
from layout import Layout

EACH = int(os.environ.get("COWVET_EACH", 40 if programs.LONG else 4))
IMAGES = 200 if programs.LONG else 72
MOST_BYTES = 3 << 20
WORKERS = 2
KILLED = "qemu-io killed between writes"


class Sample:
    """A good image, and how to damage copies of it."""

    def __init__(self, image):
        self.image = image
        self.original = (image.folder / image.name).read_bytes()
        self.layout = Layout(self.original)


def samples(root, templates):
    """Good images that are small enough to copy often; None for those of the seeds that are not."""
    def one(seed):
        folder = root / str(seed)
        folder.mkdir()
        image = generator.make(seed, folder, templates)
        small = (folder / image.name).stat().st_size <= MOST_BYTES
        clean = programs.run(["qemu-img", "check", "-q", *image.target()], folder).code == 0
        return Sample(image) if small and clean else None

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as workers:
        return [sample for sample in workers.map(one, range(7000, 7000 + IMAGES)) if sample]


def fingerprint(path):
    status = path.stat()
    return hashlib.sha256(path.read_bytes()).hexdigest(), status.st_mtime_ns, status.st_size, status.st_blocks


class Case:
    """One damaged image, looked at by both programs."""

    def __init__(self, name, sample, content=None):
        self.name, self.image = name, sample.image
        original = self.image.name
        path = self.image.folder / "damaged.qcow2"
        if content is not None:
            edits.store(path, content)
        before = fingerprint(path)
        self.ours = programs.cowvet(self.image.folder, "check", "--output=json", path.name)
        changed = fingerprint(path) != before
        self.image.name = path.name
        self.theirs = programs.run(["qemu-img", "check", *self.image.target()], self.image.folder)
        self.image.name = original
        self.wrong, report = verdicts.complaints(self.ours, self.theirs)
        if changed:
            self.wrong.append("cowvet changed the file")
        self.gain = {(verdicts.theirs_in_words(self.theirs), rule) for rule in verdicts.gained(self.ours, self.theirs, report)}
        self.needs_key = self.ours.code == 0 and verdicts.needs_the_key(self.theirs)
        self.kept = path.read_bytes() if self.wrong else b""
        path.unlink()

    def __str__(self):
        return f"{self.name}\n{self.image.recipe()}\n{self.ours}\n{self.theirs}\n{self.theirs.err[:600]}"


def damaged(name, sample, number):
    """The sample damaged in the named way, or None where it has nothing of the kind."""
    rng = random.Random(f"{name} {number}")
    changes = KINDS[name](rng, sample.layout)
    if not changes:
        return None
    content = edits.apply(sample.original, changes)
    return None if content == sample.original else Case(f"{name} [{number}]", sample, content)


def killed(sample, number):
    """What a power cut leaves: qemu-io writes to a copy and is killed before it can tidy up."""
    rng = random.Random(number)
    path = sample.image.folder / "damaged.qcow2"
    edits.store(path, sample.original)
    commands, _ = generator.io_commands(rng, sample.image, 12)
    original, sample.image.name = sample.image.name, path.name
    programs.run(["qemu-io", "-d", "unmap", *sample.image.target()[:-1],
                  *[w for c in commands + ["flush"] * rng.randrange(2) + ["sigraise 9"] for w in ("-c", c)],
                  sample.image.target()[-1]], sample.image.folder)
    sample.image.name = original
    return Case(f"{KILLED} [{number}]", sample)


def cases_of(sample, plan):
    """All cases of one image, in its own folder, one after the other."""
    for name, number in plan:
        yield killed(sample, number) if name == KILLED else damaged(name, sample, number)


def plans(pool):
    """Deals each kind out to images that have what it hurts: (image -> its kinds), and the kinds found nowhere."""
    dealt, empty = collections.defaultdict(list), []
    wanted = sys.argv[1:]  # parts of names, to look at some kinds only
    for name in [*KINDS, KILLED]:
        if wanted and not any(word in name for word in wanted):
            continue
        rng = random.Random(name)
        order = rng.sample(range(len(pool)), len(pool))
        fits = [i for i in order if name == KILLED or KINDS[name](random.Random(f"{name} {i}"), pool[i].layout)]
        for i in fits[:EACH]:
            dealt[i].append((name, i))
        if not fits:
            empty.append(name)
    return dealt, empty


def print_tables(said, gains, examples):
    print(f"\n{'kind of damage':48}{'qemu-img: ':>12}clean leaks corrupt gave up | cowvet: clean leaks corrupt no image")
    for name, pairs in said.items():
        theirs, ours = collections.Counter(a for a, _ in pairs), collections.Counter(b for _, b in pairs)
        print(f"  {name:46}{'':12}{theirs['clean']:5}{theirs['leaks']:6}{theirs['corrupt']:8}"
              f"{theirs['gave up'] + theirs['no image']:8} |         {ours['clean']:5}{ours['leaks']:6}"
              f"{ours['corrupt']:8}{ours['no image']:9}")
    for word, meaning in ("clean", "clean"), ("leaks", "damaged by leaks only, which do no harm"):
        print(f"\nwhat cowvet finds in images that qemu-img calls {meaning}: images, rule, an example")
        for (theirs, rule), count in gains.most_common():
            if theirs == word:
                print(f"  {count:5}  {rule:40} {examples[theirs, rule]}")


def main():
    generator.check_programs()
    keep = Path(os.environ["COWVET_KEEP"]) if "COWVET_KEEP" in os.environ else None  # a folder for what goes wrong
    began = time.monotonic()
    said, gains, examples = collections.defaultdict(list), collections.Counter(), {}
    wrong = total = keyed = 0
    with programs.scratch() as scratch, concurrent.futures.ThreadPoolExecutor(WORKERS) as workers:
        root = Path(scratch)
        (root / "templates").mkdir()
        pool = samples(root, generator.Templates(root / "templates"))
        dealt, empty = plans(pool)
        for cases in workers.map(lambda i: list(cases_of(pool[i], dealt[i])), sorted(dealt)):
            for case in filter(None, cases):
                total += 1
                keyed += case.needs_key
                pair = verdicts.theirs_in_words(case.theirs), verdicts.ours_in_words(case.ours)
                said[case.name.rsplit(" [", 1)[0]].append(pair)
                gains.update(case.gain)
                for gain in case.gain:
                    examples.setdefault(gain, case.name)
                if case.wrong:
                    wrong += 1
                    print(f"\n{'; '.join(case.wrong)}: {case}", flush=True)
                    if keep:
                        (keep / f"{case.name.replace(' ', '_').replace('/', '_')}.qcow2").write_bytes(case.kept)
    print_tables(dict(sorted(said.items())), gains, examples)
    pairs = collections.Counter(pair for all_said in said.values() for pair in all_said)
    clean = sum(count for (a, b), count in pairs.items() if a == "clean" != b)
    print(f"\n{total} damaged images of {len(pool)} good ones, {len(said)} kinds of damage; {wrong} complaints about cowvet, "
          f"{time.monotonic() - began:.0f} s\nqemu-img: {clean} clean that cowvet finds damaged, "
          f"{pairs['leaks', 'corrupt']} leaking that cowvet finds corrupt; {keyed} that only the key can tell")
    if empty:
        print("kinds that no image has anything for:", "; ".join(empty))
    short = len(said) < 40 and not sys.argv[1:]
    return 1 if wrong or empty or short else 0


if __name__ == "__main__":
    sys.exit(main())
