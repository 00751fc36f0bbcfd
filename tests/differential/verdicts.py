"""What each program said about a damaged image, and whether cowvet's word is good enough beside qemu-img's."""
import re

ALLOWED_EXITS = {0, 1, 2, 3, 63}
COPIED_RULES = {"l1/copied-clear-exclusive", "l2/copied-clear-exclusive"}
COPIED = re.compile(r"ERROR OFLAG_COPIED \S+ cluster: (?:l1_index=\w+ )?l[12]_entry=([0-9a-f]+) refcount=(\d+)\s*$")
WRONG_KEY = "Invalid password, cannot unlock any keyslot"


def copied_complaints(theirs):
    """(flag, refcount) of each COPIED flag that qemu-img complains about; nothing when it complains of anything else."""
    complaints = [line for line in theirs.err.splitlines() if line.startswith("ERROR")]
    matches = [match for match in map(COPIED.match, complaints) if match]
    if theirs.code != 2 or len(matches) != len(complaints):
        return []
    return [(int(match.group(1), 16) >> 63, int(match.group(2))) for match in matches]


def only_clear_copied(theirs):
    """Whether all that qemu-img complains about are COPIED flags that could be set: lost speed, no damage (D29)."""
    flags = copied_complaints(theirs)
    return bool(flags) and all(flag == (0, 1) for flag in flags)


def only_leaky_copied(theirs):
    """Whether qemu-img complains of COPIED flags of clusters with too high a refcount only, besides leaks: it believes
    the refcount, and counts a corruption where space leaks and an exclusive cluster is rightly written in place."""
    flags = copied_complaints(theirs)
    return bool(flags) and all(flag == 1 and refcount > 1 or (flag, refcount) == (0, 1) for flag, refcount in flags)


def needs_the_key(theirs):
    """Whether only someone who tries the key sees the damage: key material or its digest were hit. A check has no key."""
    return theirs.code == 1 and WRONG_KEY in theirs.err


def theirs_in_words(theirs):
    return {0: "clean", 2: "corrupt", 3: "leaks", 1: "gave up", 63: "no image", None: "hung"}.get(theirs.code, "crashed")


def ours_in_words(ours):
    return {0: "clean", 2: "corrupt", 3: "leaks", 1: "failed", 63: "no image", None: "hung"}.get(ours.code, "crashed")


def warnings(report):
    return {f["rule"] for f in report["findings"] if f["severity"] == "warning"}


def gained(ours, theirs, report):
    """The rules by which cowvet calls an image worse than qemu-img does, which opened it and calls it clean or leaking."""
    if (theirs.code, ours.code) not in ((0, 2), (0, 3), (3, 2)):
        return set()
    worse = {(0, 3): {"leak"}}.get((theirs.code, ours.code), {"fatal", "error"})
    return {finding["rule"] for finding in report["findings"] if finding["severity"] in worse}


def complaints(ours, theirs):
    """What cowvet did wrong, as text; nothing when all is well. (complaints, cowvet's JSON or {})."""
    wrong, report = [], {}
    if ours.code not in ALLOWED_EXITS:
        wrong.append("cowvet crashed" if ours.code is not None else "cowvet hung")
    else:
        try:
            report = ours.json()
        except ValueError as error:
            wrong.append(f"cowvet's JSON does not parse: {error}")
    if ours.code == 1:
        wrong.append("cowvet gave up, though all damage can be reported")
    if ours.code == 0 and theirs.code != 0:
        if not only_clear_copied(theirs) and not needs_the_key(theirs):
            wrong.append(f"cowvet calls clean what qemu-img calls: {theirs_in_words(theirs)}")
        if only_clear_copied(theirs) and report and not warnings(report) & COPIED_RULES:
            wrong.append("cowvet does not mention a clear COPIED flag")
    if ours.code == 3 and theirs.code in (1, 2) and not only_leaky_copied(theirs) and not needs_the_key(theirs):
        wrong.append(f"cowvet sees only leaks where qemu-img says: {theirs_in_words(theirs)}")
    return wrong, report
