"""Holds cowvet's check, info and map of a good image against qemu-img's, key by key."""
from layout import Layout
from programs import cowvet, run

COUNTERS = ["image-end-offset", "total-clusters", "allocated-clusters", "fragmented-clusters", "compressed-clusters",
            "corruptions", "leaks", "check-errors"]
NEWER_KEYS = {"children", "compressed"}  # later releases of qemu-img print these; the installed one need not


def compare_json(ours, theirs, path=""):
    """All differences, as text: `path: cowvet …, qemu-img …`. Keys that only later releases print may be more."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = []
        for key in sorted(set(ours) | set(theirs)):
            if key not in theirs and key in NEWER_KEYS:
                continue
            where = f"{path}.{key}" if path else key
            if key not in ours or key not in theirs:
                found.append(f"{where}: cowvet {ours.get(key, 'has no such key')!r}, "
                             f"qemu-img {theirs.get(key, 'has no such key')!r}")
            else:
                found += compare_json(ours[key], theirs[key], where)
        return found
    if isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            return [f"{path}: cowvet lists {len(ours)}, qemu-img {len(theirs)}: {ours!r} {theirs!r}"]
        return [d for i, (a, b) in enumerate(zip(ours, theirs)) for d in compare_json(a, b, f"{path}[{i}]")]
    return [] if ours == theirs and type(ours) is type(theirs) else [f"{path}: cowvet {ours!r}, qemu-img {theirs!r}"]


def both_json(ours, theirs):
    """Differences of two calls that print JSON; an exit code that differs is one too."""
    if ours.code != theirs.code:
        return [f"exit: cowvet {ours.code}, qemu-img {theirs.code}\n{ours}\n{theirs}"]
    if theirs.code != 0 and not theirs.out:
        return [] if not ours.out else [f"cowvet prints where qemu-img prints nothing:\n{ours}"]
    try:
        return compare_json(ours.json(), theirs.json())
    except ValueError as error:
        return [f"no JSON: {error}\n{ours}\n{theirs}"]


def errors(report):
    return {f["rule"] for f in report["findings"] if f["severity"] in ("fatal", "error")}


def is_qemus_own_damage(image, ours, report):
    """Whether QEMU's writer packed a compressed stream into a cluster that it had freed and given to other guest data
    (docs/peers.md), and cowvet says just that. The clusters are looked up by this folder's own reader."""
    rules = errors(report)
    return (ours.code == 2 and "compressed/overlaps-standard" in rules and
            rules <= {"compressed/overlaps-standard", "l2/copied-set-shared"} and
            bool(Layout((image.folder / image.name).read_bytes()).streams_on_data()))


def compare_check(image):
    """(differences, cowvet's JSON or None, what the image is: "good", or how QEMU failed to make a good one).
    "leaking": an operation that QEMU refused half-way left leaks behind, and both programs must say so; cowvet may add
    that one of them holds the copy of a table, which it is right to take for a lost one.
    "destroyed": see is_qemus_own_damage; qemu-img notices it only while a COPIED flag happens to be wrong too."""
    ours = cowvet(image.folder, "check", "--output=json", image.name)
    theirs = run(["qemu-img", "check", "--output=json", *image.target()], image.folder)
    try:
        a, b = ours.json(), theirs.json()
    except ValueError as error:
        return [f"no JSON: {error}\n{ours}\n{theirs}"], None, "good"
    state, agree, untold = "good", ours.code == theirs.code, set()
    if is_qemus_own_damage(image, ours, a):
        state, agree, untold = "destroyed", theirs.code in (0, 2, 3), {"corruptions"}
    elif theirs.code == 3 and image.refused:
        state = "leaking"
        if errors(a) == {"refcount/leak-holds-table"}:
            agree, untold = ours.code == 2, {"corruptions", "leaks"}
    elif theirs.code != 0:
        return [f"qemu-img calls its own image damaged\n{theirs}\n{ours}"], a, state
    if not agree:
        return [f"exit: cowvet {ours.code}, qemu-img {theirs.code}\n{theirs}\n{ours}"], a, state
    return [f"check {key}: cowvet {a.get(key, 0)}, qemu-img {b.get(key, 0)}"
            for key in COUNTERS if key not in untold and a.get(key, 0) != b.get(key, 0)], a, state


def compare_info(image):
    found = []
    for more in [], ["--backing-chain"]:
        words = ["info", "--output=json", *more, image.name]
        found += [f"info {' '.join(more)} {d}" for d in
                  both_json(cowvet(image.folder, *words), run(["qemu-img", *words], image.folder))]
    return found


def compare_map(image):
    theirs = run(["qemu-img", "map", "--output=json", *image.target()], image.folder)
    ours = cowvet(image.folder, "map", "--output=json", image.name)
    if theirs.code is not None and theirs.code < 0 and ours.code == 0:
        image.features.add("qemu-img map crashed (docs/peers.md)")
        return []
    return [f"map {d}" for d in both_json(ours, theirs)]
