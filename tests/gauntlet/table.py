"""The table that the gauntlet prints, and its totals."""
import collections

COLUMNS = ["cases", "harmless", "detected", "held", "known", "before", "lossless", "repaired", "salvaged", "qemu-img",
           "worse", "qemu worse", "unrepaired", "told", "undone", "settled"]


def share(part, whole):
    return f"{100 * part / whole:.1f}%" if whole else "-"


def row(verdicts):
    def total(name):
        return sum(v[name] for v in verdicts)

    held = total("held")
    must = [v for v in verdicts if not v["harmless"] and not v["silent"]]
    return [len(verdicts), sum(v["harmless"] for v in verdicts), f"{sum(bool(v['detected']) for v in must)}/{len(must)}", held,
            share(total("known"), held), share(total("before"), held), share(total("lossless"), held),
            share(total("ours"), held), share(total("salvaged"), held), share(total("theirs"), held),
            total("ours_worse"), total("theirs_worse"), sum(v["ours_end"] != "clean" for v in verdicts),
            f"{sum(v['told'] for v in verdicts)}/{len(verdicts)}",
            f"{sum(v['undone'] for v in verdicts)}/{len(verdicts)}", f"{sum(v['settled'] for v in verdicts)}/{len(verdicts)}"]


def lines(verdicts, by="kind", markdown=False):
    """A row for each kind (or base), and one for all. Verdicts are dictionaries with the fields of case.Verdict."""
    groups = collections.defaultdict(list)
    for verdict in verdicts:
        groups[verdict[by]].append(verdict)
    rows = [[name, *map(str, row(group))] for name, group in sorted(groups.items())] + [["all", *map(str, row(verdicts))]]
    head = [{"kind": "kind of damage", "base": "image"}[by], *COLUMNS]
    if markdown:
        yield "| " + " | ".join(head) + " |"
        yield "|---|" + "---:|" * len(COLUMNS)
        for cells in rows:
            yield "| " + " | ".join(cells) + " |"
        return
    wide = [max(len(cells[column]) for cells in [head, *rows]) for column in range(len(head))]
    for cells in [head, *rows]:
        yield f"{cells[0]:{wide[0]}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells[1:], wide[1:]))
