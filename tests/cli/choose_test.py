"""What a person decides in a repair: --choose. Plans name the candidates, a choice is followed as it was given or refused with
the reason and nothing written, and what was chosen can be undone."""
import hashlib
import json
import shutil
import struct
import subprocess
from pathlib import Path

from program import cowvet, expect, expect_code, expect_error, finish, l1_offset, make, run_parts, scratch, word

OFFSET = 0x00fffffffffffe00
MIB = 1 << 20


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def put(path, *words):
    with open(path, "r+b") as file:
        for offset, value in words:
            file.seek(offset)
            file.write(struct.pack(">Q", value))


def reads(path, pattern, offset, length=65536):
    said = subprocess.run(["qemu-io", "-r", "-c", f"read -P {pattern} {offset} {length}", path], capture_output=True, text=True)
    return said.returncode == 0 and "verification failed" not in said.stdout


def lost_tables(path):
    """Data in the spans 0, 2, 3 and 5 of eight; the entries of 2 and 3 are empty: nothing tells which of 1 to 4 they were.
    The offsets of the two tables."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", path, "16M"], check=True)
    writes = [f"write -q -P {span + 1} {2 * span}M 64k" for span in (0, 2, 3, 5)]
    subprocess.run(["qemu-io", *[word for write in writes for word in ("-c", write)], path], check=True)
    l1 = l1_offset(path)
    tables = [word(path, l1 + 8 * span) & OFFSET for span in (2, 3)]
    put(path, (l1 + 16, 0), (l1 + 24, 0))
    return tables


def names_candidates(folder):
    path = folder / "lost.qcow2"
    tables = lost_tables(path)
    before = digest(path)
    for level in (), ("--level", "all"):
        plan = json.loads(cowvet("repair", "--plan", "--output", "json", *level, path).out)
        places = [place for step in plan["actions"] + plan["withheld"] for place in step["places"] if "candidates" in place]
        expect([{one["to"] for one in place["candidates"]} for place in places] == [{tables[0]}, {tables[1]}],
               "the plan does not name what each lost table may belong to", json.dumps(places, indent=1))
        for place in places:
            named = [one["where"] for one in place["candidates"]]
            expect({"l1[2]", "l1[3]"} < set(named[:4]) and all(one["evidence"] for one in place["candidates"]),
                   "the right entries are not among the best supported", str(named))
    text = cowvet("repair", "--plan", path).out
    expect(f"--choose 'l1[2]={tables[0]:#x}'" in " ".join(text.split()), "the text does not tell what to say", text)
    expect(digest(path) == before, "a plan wrote")


def follows(folder):
    path = folder / "followed.qcow2"
    first, second = lost_tables(path)
    before = digest(path)
    said = expect_code(0, "repair", "--choose", f"l1[2]={first:#x}", "--choose", f"l1[3]={second}", path)
    expect(all(reads(path, span + 1, 2 * span * MIB) for span in (0, 2, 3, 5)), "the data is not where it was chosen to be", said)
    expect_code(0, "check", path)
    after = digest(path)
    expect_code(0, "repair", "--level", "all", path)
    expect(digest(path) == after, "a second repair, which knows of no choice, changes something")
    expect_code(0, "undo", f"{path}.cowvet-undo")
    expect(digest(path) == before, "undo does not bring the old bytes back")


def keeps(folder):
    """An entry that a repair would fill stays empty; what belongs there is not lost."""
    path = folder / "kept.qcow2"
    make(path, "image size=4M cluster_size=4K\ndata 0..9\ndamage:\nset l2[0][4] = 0x8000000000000000\n")
    table = word(path, l1_offset(path)) & OFFSET
    entry = word(path, table + 32)
    cowvet("repair", "--level", "all", "--choose", "l1[0].l2[4]=keep", path)
    expect(word(path, table + 32) == entry, "an entry that was to be kept was changed")
    expect_code(0, "repair", "--level", "all", "--undo", folder / "kept.undo", path)
    for damage, level in (("set l2[0][4].reserved_high = 2", "all"), ("set l1[3] = 0x8000000000000000", "lossless")):
        make(path, f"image size=8M cluster_size=4K\ndata 0..9\ndamage:\n{damage}\n")
        at = (word(path, l1_offset(path)) & OFFSET) + 32 if "l2" in damage else l1_offset(path) + 24
        entry = word(path, at)
        cowvet("repair", "--level", level, "--choose", "l1[0].l2[4]=keep" if "l2" in damage else "l1[3]=keep", path)
        expect(word(path, at) == entry, f"an entry that was to be kept was changed: {damage}")
    expect(not reads(path, 0, 4 * 4096, 4096), "what belongs there was not kept for a later choice")


def leads_a_data_entry(folder):
    """Two single clusters whose entries are gone: no neighbour tells whose they were."""
    path = folder / "data.qcow2"
    make(path, "image size=4M cluster_size=4K\ndata 20\ndata 40\n")
    table = word(path, l1_offset(path)) & OFFSET
    hosts = {guest: word(path, table + 8 * guest) & OFFSET for guest in (20, 40)}
    sound = {guest: subprocess.run(["qemu-io", "-r", "-c", f"read -v {guest * 4096} 4096", path], capture_output=True).stdout[:4096]
             for guest in hosts}
    put(path, (table + 160, 0), (table + 320, 0))
    for guest, host in hosts.items():
        expect_code(0 if guest == 40 else 3, "repair", "--choose", f"l1[0].l2[{guest}]={host:#x}", "--undo", folder / f"{guest}.undo", path)
    for guest, right in sound.items():
        now = subprocess.run(["qemu-io", "-r", "-c", f"read -v {guest * 4096} 4096", path], capture_output=True).stdout[:4096]
        expect(now == right, f"cluster {guest} is not what it was")


def decides_whose_a_shared_cluster_is(folder):
    """Of a LUKS image no copy would read the same: the owner keeps the cluster, the other entry is given up."""
    path = folder / "shared.qcow2"
    make(path, "image size=4M cluster_size=4K encryption=luks\ndata 0\ndata 20\ndata 40\ndamage:\n"
               "set l2[0][40].offset = l2[0][20].offset\n")
    table = word(path, l1_offset(path)) & OFFSET
    host = word(path, table + 160) & OFFSET
    all_levels = "--level", "all", "--allow-loss"
    plan = json.loads(cowvet("repair", "--plan", "--output", "json", *all_levels, path).out)
    named = [one["where"] for step in plan["withheld"] for place in step["places"] for one in place.get("candidates", ())]
    expect(sorted(named) == ["l1[0].l2[20]", "l1[0].l2[40]"], "the owners that are possible are not named", json.dumps(plan, indent=1))
    for owner, other in (20, 40), (40, 20):
        copy = folder / f"owner-{owner}.qcow2"
        shutil.copy(path, copy)
        said = expect_code(0, "repair", *all_levels, "--choose", f"l1[0].l2[{owner}]={host:#x}", copy)
        expect(word(copy, table + 8 * owner) & OFFSET == host, "the owner has lost its cluster", said)
        expect(word(copy, table + 8 * other) & OFFSET == 0, "the other entry has it still", said)


def shared_tables(folder):
    """Two entries lead to one L2 table: a snapshot, or where the lost table lies in the file, tells whose it is, or the user."""
    path = folder / "table.qcow2"
    for snapshot, lost in (True, True), (False, True), (False, False):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", path, "8M"], check=True)
        subprocess.run(["qemu-io", "-c", "write -q -P 17 0 64k", "-c", "write -q -P 34 2M 64k", path], check=True)
        if snapshot:
            subprocess.run(["qemu-img", "snapshot", "-c", "s", path], check=True)
        l1 = l1_offset(path)
        tables = word(path, l1), word(path, l1 + 8)
        put(path, (l1, tables[1]), *(((tables[0] & OFFSET) + 8 * entry, 0) for entry in range(0 if lost else 16)))
        expect_code(3, "salvage", "--snapshots", "none", "-O", "raw", path, folder / f"table-{snapshot}-{lost}.raw")
        if lost:
            said = expect_code(0, "repair", "--level", "all", "--allow-loss", path)
            expect(reads(path, 34, 2 * MIB) and (reads(path, 17, 0) or not snapshot), "the evidence was not used", said)
            (folder / "table.qcow2.cowvet-undo").unlink()
            continue
        choice = f"l1[1]={tables[1] & OFFSET:#x}"
        said = expect_code(2, "repair", "--plan", "--level", "all", "--allow-loss", path)
        expect(f"--choose '{choice}'" in " ".join(said.out.split()), "no choice is offered for the shared table", said)
        said = expect_code(0, "repair", "--level", "all", "--allow-loss", "--choose", choice, path)
        expect(reads(path, 34, 2 * MIB), "the owner has lost its table", said)


def refuses(folder):
    path = folder / "refused.qcow2"
    first, second = lost_tables(path)
    before = digest(path)
    l1 = l1_offset(path)
    used = word(path, l1) & OFFSET
    for choice, says in ((f"l1[9]={first:#x}", "no layer has such an entry"), (f"disk={first:#x}", "no layer has such an entry"),
                         (f"snapshot[0].l1[2]={first:#x}", "no layer has such an entry"),
                         (f"l1[2]={first + 512:#x}", "multiples of 4096"), ("l1[2]=0", "multiples of 4096"),
                         (f"l1[2]={l1:#x}", "in use as"), (f"l1[2]={used:#x}", "in use as"), ("l1[2]=9G", "the file ends before"),
                         (f"l1[2]={first + 4096:#x}", "does not look like an L2 table"),
                         (f"l1[2].L2[7]={first:#x}", "is l1[2] meant?"), (f"l1[02]={first:#x}", "is l1[2] meant?"),
                         (f"l1[0]={first:#x}", "leads to something that can be read"),
                         (f"l1[0].l2[0]={first + 4096:#x}", "leads to something that can be read")):
        expect_error("repair", "--choose", choice, path, says=says)
    for choice in "l1[2]", "l1[2]=", "=4096", "l1[2]=many":
        expect_error("repair", "--choose", choice, path, says="is no choice such as")
    expect_error("repair", "--choose", f"l1[2]={first:#x}", "--choose", f"l1[3]={first:#x}", path, says="in use as L2 table")
    expect_error("repair", "--choose", f"l1[2]={first:#x}", "--choose", "l1[2]=keep", path, says="two choices were made")
    for place in 0, 8, 0xfffffffffffffff0:  # an L1 table that is none: its entries would lie in the header, or anywhere
        copy = folder / "astray.qcow2"
        shutil.copy(path, copy)
        put(copy, (40, place))
        astray = digest(copy)
        for index in 0, 1, 3:
            expect_code(1, "repair", "--choose", f"l1[{index}]={first:#x}", copy)
        expect(digest(copy) == astray, f"a choice wrote to what an L1 table at {place:#x} would be")
    expect_error("repair", "--chain", "--choose", f"l1[2]={first:#x}", path, says="without --chain")
    expect(digest(path) == before and not list(folder.glob("refused*undo*")), "a refused choice wrote")
    # What the entry led to before is not thrown away.
    said = expect_code(0, "repair", "--level", "all", "--allow-loss", "--choose", f"l1[0]={second:#x}", path)
    expect("snapshot 'lost+found-1' holds them" in " ".join(said.out.split()), "the table that was replaced is not kept", said)


with scratch() as name:
    run_parts(Path(name), names_candidates, follows, keeps, leads_a_data_entry, decides_whose_a_shared_cluster_is, shared_tables, refuses)
finish()
