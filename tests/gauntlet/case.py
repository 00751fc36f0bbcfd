"""One damaged image through everything that is promised of a repair, beside what `qemu-img check -r all` makes of a copy.

judge(base, kind, content, folder) returns a Verdict: figures to add up, and `complaints` about cowvet, each with the words
of the calls that led to it. Promised: `check` sees it; `--plan` touches nothing; a lossless repair changes no byte that could
be read, unless to what is right; the whole repair ends clean or says plainly that it can't, gives back what the bytes still
hold, makes nothing worse, finds nothing more to do when run again, and can be undone to the last bit.
"""
import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field

import beside  # noqa: F401
import edits
import truth
from kinds import UNTELLABLE
from programs import COWVET, run

CLEAN, FAILED, CORRUPT, LEAKS, NO_IMAGE = 0, 1, 2, 3, 63
ENDS = {CLEAN, FAILED, CORRUPT, LEAKS, NO_IMAGE}
SECONDS, THEIR_SECONDS = 60, 15  # for one call
MOST_BYTES = 256 << 20  # of a file that a repair made
ALL = ["--level", "all", "--allow-loss"]
# What QEMU says of images whose key it wants, or does not get at: no check without the key can tell.
ABOUT_KEY = ("Parameter 'encrypt.key-secret' is required", "Invalid password, cannot unlock any keyslot")
VERBS = {"repair", "undo", "salvage"}


@dataclass
class Verdict:
    base: str
    kind: str
    harmless: bool = False      # all layers read right, and qemu-img check is content
    silent: bool = False        # only guest data was changed, or the image is as good as another: nothing in it can tell
    detected: str = ""          # "check", "deep", or nothing
    held: int = 0               # guest clusters of all layers whose bytes are in the file
    known: int = 0              # of these: with the L2 entry that says whose they are
    before: int = 0             # of the held ones: read right in the damaged image
    ours: int = 0               # after cowvet's whole repair
    lossless: int = 0           # after the repair that costs nothing
    salvaged: int = 0           # after salvage, where the repair said it can't; as `ours` elsewhere
    theirs: int = 0             # after qemu-img check -r all
    ours_known: int = 0         # as `ours`, of the known ones
    ours_worse: int = 0         # clusters that read right before and don't after, of all, held or not
    theirs_worse: int = 0
    ours_end: str = ""          # what check says of the repaired image: clean, leaks, corrupt, refused
    theirs_end: str = ""
    told: bool = False          # the plan admits what it changes, and calls lossless only what is
    undone: bool = False
    settled: bool = False       # a second repair finds nothing and writes nothing
    seconds: float = 0
    story: str = ""             # what the repair said, where it did not give back all or does not end clean
    complaints: list = field(default_factory=list)

    def line(self):
        return json.dumps(asdict(self))


def fingerprint(path):
    status = path.stat()
    return hashlib.sha256(path.read_bytes()).hexdigest(), status.st_mtime_ns, status.st_size


def said_in_words(code):
    return {CLEAN: "clean", CORRUPT: "corrupt", LEAKS: "leaks"}.get(code, "refused")


def about_key(said):
    return any(text in said.err for text in ABOUT_KEY)


class Trial:
    """A folder with copies of one damaged image and what lies beside it."""

    def __init__(self, base, content, folder):
        self.base, self.content, self.folder = base, content, folder
        self.read = {}  # digest of a file -> its layers
        for name in base.beside:
            shutil.copyfile(base.folder / name, folder / name)
        self.told = []
        self.has_states = any(layer.startswith(truth.VM_STATE) for layer in base.layers)

    def copy(self, name):
        edits.store(self.folder / name, self.content)
        return self.folder / name

    def cowvet(self, *words):
        said = run([COWVET, *words], self.folder, SECONDS)
        self.told.append(said)
        return said

    def layers(self, name):
        """What QEMU reads of the layers of a file; the VM states where the file is sound."""
        content = (self.folder / name).read_bytes()
        key = hashlib.sha256(content).digest()
        if key not in self.read:
            self.read[key] = truth.layers(self.folder, self.base.target(name), self.base.cluster)
            if self.has_states and self.check_theirs(name, "-q").code in (CLEAN, LEAKS):
                self.read[key].update(truth.vm_states(content))
        return self.matched(self.read[key])

    def matched(self, found):
        """The layers by the names that they had. A snapshot that lost its name is known by what it holds."""
        rest = {name: content for name, content in found.items() if name not in self.base.layers}
        matched = {name: content for name, content in found.items() if name in self.base.layers}
        for name, right in self.base.layers.items():
            if name not in matched and rest:
                best = max(rest, key=lambda other: agreement(rest[other], right))
                matched[name] = rest.pop(best)
        return matched

    def check_theirs(self, name, *words):
        return run(["qemu-img", "check", *words, *self.base.target(name)], self.folder, THEIR_SECONDS)


def agreement(content, right):
    return sum(content.clusters.get(guest) == digest for guest, digest in right.clusters.items())


def right_clusters(base, layers):
    """(layer, guest cluster) of all that reads as in the sound image, zeros left out."""
    return {(name, guest) for name, content in layers.items() for guest, digest in base.layers[name].clusters.items()
            if content.clusters.get(guest) == digest}


def right_zeros(base, layers):
    """(layer, guest cluster) of what reads as other than zeros though the sound image has zeros there."""
    return {(name, guest) for name, content in layers.items() for guest in content.clusters
            if guest not in base.layers[name].clusters}


def worse(base, before, after):
    """What read right before and does not after: data that is other data or gone, zeros that are data, lost layers."""
    lost = right_clusters(base, before) - right_clusters(base, after)
    soiled = {(name, guest) for name, guest in right_zeros(base, after) - right_zeros(base, before) if name in before
              and guest not in before[name].unreadable}
    return lost | soiled


def metadata_in(base, content):
    """Digests of the clusters of a file that are no guest data in the sound image: an entry that leads to one of them shows the
    guest a table, which changes with each mended entry."""
    data = {at // base.cluster for where in base.places.values() for place in where.values() if not place.outside
            for at in range(place.begin, place.end, base.cluster)}
    return {truth.digest(content[at:at + base.cluster].ljust(base.cluster, b"\0")) for at in range(0, len(content), base.cluster)
            if at // base.cluster not in data}


def past_the_end(base, name, guest, length):
    """Whether the cluster's bytes were cut off: then QEMU shows zeros, or what decrypting zeros gives."""
    place = base.places[name].get(guest)
    return place is not None and not place.outside and place.end > length


def changed(base, before, after, content):
    """What could be read and reads differently after, though it is no better: the law of lossless plans."""
    found, tables, length = set(), metadata_in(base, content), len(content)
    encrypted = luks_region(base) is not None
    for name, old in before.items():
        if name.startswith(truth.VM_STATE):  # read by a reader that trusts what it reads: it proves only what is right
            continue
        new, right = after.get(name), base.layers[name].clusters
        for guest in (old.clusters.keys() | (new.clusters.keys() if new else set())) - old.unreadable:
            value = new.clusters.get(guest) if new else None
            if old.clusters.get(guest) in tables or past_the_end(base, name, guest, length):
                continue
            if encrypted and old.clusters.get(guest) not in (None, right.get(guest)):
                continue  # noise: a table, or what was encrypted at another place, which its digest does not tell
            if value != old.clusters.get(guest) and (not new or value != right.get(guest) or guest in new.unreadable):
                found.add((name, guest))
    return found


def only_guest_data(base, content):
    """Whether all changed bytes lie in clusters of guest data, so that nothing but the guest can tell."""
    if len(content) != len(base.original):
        return False
    data = {at // base.cluster for where in base.places.values() for place in where.values() if not place.outside
            for at in range(place.begin, place.end, base.cluster)}
    original = base.original
    return all(number in data for number in range(-(-len(original) // base.cluster))
               if original[number * base.cluster:(number + 1) * base.cluster]
               != content[number * base.cluster:(number + 1) * base.cluster])


def luks_region(base):
    """Where the LUKS header is, or None."""
    return next((base.layout.u64(data) for kind, _, data, _ in base.layout.extensions if kind == 0x0537BE77), None)


def luks_lost(base, content):
    """Whether what the key is derived from has changed: without it the bytes hold nothing."""
    region = luks_region(base)
    if region is None:
        return False
    slot = base.original[region + 208:region + 256]
    material, stripes = int.from_bytes(slot[40:44], "big") * 512 + region, int.from_bytes(slot[44:48], "big")
    key = int.from_bytes(base.original[region + 108:region + 112], "big")
    parts = [(region + 112, 52), (region + 208 + 4, 36), (material, key * stripes)]
    return any(base.original[at:at + length] != content[at:at + length] for at, length in parts)


def judge(base, kind, content, folder):
    began = time.monotonic()
    verdict = Verdict(base.name, kind)
    trial = Trial(base, content, folder)
    wrong = verdict.complaints

    def complain(text, *said):
        wrong.append(text + "".join(f"\n{one}" for one in said))

    held, known = set(), set()
    if not luks_lost(base, content):
        for name, where in base.places.items():
            with_bytes, with_entry = truth.held(where, base.original, content)
            held |= {(name, guest) for guest in with_bytes}
            known |= {(name, guest) for guest in with_entry}
    damaged = trial.copy("damaged.qcow2")
    untouched = fingerprint(damaged)
    before = trial.layers(damaged.name)
    right_before = right_clusters(base, before)
    verdict.held, verdict.known, verdict.before = len(held), len(known), len(held & right_before)
    everything_right = {(name, guest) for name, right in base.layers.items() for guest in right.clusters} == right_before
    theirs_before = trial.check_theirs(damaged.name)
    verdict.harmless = everything_right and not right_zeros(base, before) and theirs_before.code == CLEAN

    seen = trial.cowvet("check", damaged.name)
    if seen.code != CLEAN:
        verdict.detected = "check"
    elif trial.cowvet("check", "--deep", damaged.name).code != CLEAN:
        verdict.detected = "deep"
    verdict.silent = only_guest_data(base, content) or (kind in UNTELLABLE and (
        theirs_before.code == CLEAN or about_key(theirs_before)))
    if verdict.silent:  # nobody can know better than what is there
        held, known = held & right_before, known & right_before
        verdict.held, verdict.known = len(held), len(known)
    if not verdict.detected and not verdict.harmless and not verdict.silent:
        complain("not detected", seen, theirs_before)
    if "repair" in VERBS:
        repaired(trial, base, verdict, before, held, known, damaged, untouched, complain)
    theirs(trial, base, verdict, before, held)
    if wrong:
        wrong[0] += f"\nthe base: {base.name}; held {verdict.held}, right before {verdict.before}"
    verdict.seconds = round(time.monotonic() - began, 2)
    return verdict


def repaired(trial, base, verdict, before, held, known, damaged, untouched, complain):
    plan = trial.cowvet("repair", "--plan", *ALL, "--output", "json", damaged.name)
    if fingerprint(damaged) != untouched:
        complain("--plan wrote", plan)
    if plan.code not in ENDS:
        complain(f"--plan ends with {plan.code}", plan)

    gentle = trial.copy("gentle.qcow2")
    said = trial.cowvet("repair", gentle.name)
    if said.code not in ENDS:
        complain(f"the lossless repair ends with {said.code}", said)
    after = trial.layers(gentle.name)
    verdict.lossless = len(held & right_clusters(base, after))
    if harmed := changed(base, before, after, trial.content):
        complain(f"a lossless repair changed what could be read: {len(harmed)} clusters: {sorted(harmed)[:5]}", said)
    undone(trial, gentle, untouched, said, complain)

    whole = trial.copy("whole.qcow2")
    said = trial.cowvet("repair", *ALL, whole.name)
    if said.code not in ENDS:
        complain(f"the repair ends with {said.code}", said)
    after = trial.layers(whole.name)
    right_after = right_clusters(base, after)
    verdict.ours = verdict.salvaged = len(held & right_after)
    verdict.ours_known = len(known & right_after)
    verdict.told = told_rightly(plan, changed(base, before, after, trial.content))
    if not verdict.told:
        complain("the plan does not say what it changes", plan)
    lost = worse(base, before, after)
    verdict.ours_worse = len(lost)
    if lost:
        complain(f"made worse: {len(lost)} clusters: {sorted(lost)[:5]}", said)
    ours, theirs_say = trial.cowvet("check", whole.name), trial.check_theirs(whole.name)
    verdict.ours_end = said_in_words(ours.code)
    if ours.code != said.code and said.code not in (FAILED, NO_IMAGE):
        complain(f"repair ends with {said.code}, check with {ours.code}", said, ours)
    if ours.code == CLEAN and theirs_say.code != CLEAN and not about_key(theirs_say):
        complain("clean for cowvet, not for qemu-img", said, theirs_say)
    if ours.code != CLEAN and not (said.out + said.err).strip():
        complain("not clean afterwards, and not a word about it", said, ours)

    if verdict.ours_known < verdict.known or ours.code != CLEAN:
        verdict.story = said.out + said.err

    before_second = fingerprint(whole)
    again = trial.cowvet("repair", *ALL, "--undo", "second.undo", whole.name)
    verdict.settled = fingerprint(whole) == before_second
    if not verdict.settled:
        complain("a second repair writes", said, again)
    elif said.code == CLEAN and again.code != CLEAN:
        complain("a second repair complains", again)
    if not verdict.settled and "undo" in VERBS:
        trial.cowvet("undo", "second.undo")
    verdict.undone = undone(trial, whole, untouched, said, complain)

    if ours.code != CLEAN and "salvage" in VERBS:
        salvage(trial, base, verdict, held, damaged, untouched, complain)


def told_rightly(plan, harmed):
    """Whether the plan, as JSON, admits a change of what could be read where there is one, and calls no step of it lossless."""
    if plan.code in (FAILED, NO_IMAGE) or not harmed:
        return True
    try:
        said = plan.json()
    except ValueError:
        return False
    proof = said.get("proof", {})
    admitted = any(proof.get(what, {}).get("bytes") for what in ("changed", "lost")) or proof.get("snapshots-gone")
    return bool(admitted) and any(action["consent"] not in ("lossless", "frees") for action in said["actions"])


def undone(trial, image, untouched, said, complain):
    """Takes a repair back; true when the file has its old bytes."""
    journal = trial.folder / f"{image.name}.cowvet-undo"
    if "undo" not in VERBS:
        return False
    back = trial.cowvet("undo", journal.name) if journal.exists() else None
    same = hashlib.sha256(image.read_bytes()).hexdigest() == untouched[0]
    if not same:
        complain("undo does not give the old bytes back", said, *([back] if back else []))
    if back and back.code != CLEAN:
        complain("undo fails", back)
    return same


def salvage(trial, base, verdict, held, damaged, untouched, complain):
    """The last resort for what could not be repaired in place."""
    said = trial.cowvet("salvage", damaged.name, "salvaged.qcow2")
    if fingerprint(damaged) != untouched:
        complain("salvage wrote to the image", said)
    if said.code not in ENDS:
        complain(f"salvage ends with {said.code}", said)
    if (trial.folder / "salvaged.qcow2").exists():
        after = trial.layers("salvaged.qcow2")
        verdict.salvaged = max(verdict.ours, len(held & right_clusters(base, after)))


def theirs(trial, base, verdict, before, held):
    copy = trial.copy("theirs.qcow2")
    said = trial.check_theirs(copy.name, "-q", "-r", "all")
    if said.code is None or os.stat(copy).st_size > MOST_BYTES:
        verdict.theirs_end = "grown"  # by gigabytes, up to a terabyte: nothing to compare with
        return
    after = trial.layers(copy.name)
    verdict.theirs = len(held & right_clusters(base, after))
    verdict.theirs_worse = len(worse(base, before, after))
    verdict.theirs_end = said_in_words(trial.check_theirs(copy.name).code)


def image_of(base, changes):
    """The damaged bytes, or None where nothing was changed."""
    content = edits.apply(base.original, changes)
    return None if content == base.original else content

