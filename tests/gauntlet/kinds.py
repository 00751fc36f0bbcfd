"""All kinds of damage: those of the differential tests, and here what only a repair cares about, since several structures are
hurt at once, or what a failing device, a crash, or another program left. Functions of (rng, layout) that give edits, as there.
"""
import beside  # noqa: F401
from damages import KINDS as SINGLE, kind
from damages_elsewhere import KINDS
from edits import put, put64
from layout import COPIED, OFFSET

assert SINGLE is KINDS

# Defects of the repair that are known and open: they are printed and don't fail the run. What is mended goes from this list.
OPEN = {}

# Kinds that may leave an image as good as another, so that nothing in it tells: see docs/undetectable.md.
UNTELLABLE = {
    "l2: two entries swapped": "each cluster is owned once, as before",
    "l2: zero flag set on data": "a cluster that was made to read as zeros",
    "l2: entry zeroed": "of a data file, whose clusters nothing else counts",
    "l2: table zeroed": "likewise",
    "several: all L2 tables zeroed": "likewise",
    "several: half of an L2 table zeroed": "likewise",
    "several: a sector of an L2 table zeroed": "likewise",
    "header: another crypt_method": "AES needs nothing but the key",
    "header: a bit flipped": "the size, within what the L1 table covers",
    "file: bits flipped all over": "guest data, keys, bits of bitmaps and space that nobody uses",
    "file: a few bytes cut": "QEMU's images may end within a cluster: what the guest never wrote is not there",
}


@kind("several: all L2 tables zeroed")
def every_l2_zeroed(rng, l):
    return [(table, bytes(l.cluster)) for table in l.l2_tables] if len(l.l2_tables) > 1 else None


@kind("several: L1 and refcounts zeroed")
def l1_and_refcounts(rng, l):
    if not l.l2_tables:
        return None
    return [(l.field("l1_table_offset"), bytes(8 * l.field("l1_size"))), *[(block, bytes(l.cluster)) for _, block in l.blocks]]


@kind("several: all refcounts zeroed")
def every_refcount(rng, l):
    return [(l.field("refcount_table_offset"), bytes(l.cluster * l.field("refcount_table_clusters"))),
            *[(block, bytes(l.cluster)) for _, block in l.blocks]]


@kind("several: all refcounts random")
def every_refcount_random(rng, l):
    return [(l.field("refcount_table_offset"), rng.randbytes(l.cluster)), *[(b, rng.randbytes(l.cluster)) for _, b in l.blocks]]


@kind("several: header and L1 zeroed")
def header_and_l1(rng, l):
    return [(0, bytes(l.cluster)), (l.field("l1_table_offset"), bytes(8 * l.field("l1_size")))] if l.l1 else None


@kind("several: header and refcounts zeroed")
def header_and_refcounts(rng, l):
    return [(0, bytes(l.cluster)), *every_refcount(rng, l)]


@kind("several: L1 entry zeroed and refcounts of its tree too")
def l1_entry_and_refcounts(rng, l):
    full = [entry for entry in l.l1 if entry[1] & OFFSET]
    return [put64(rng.choice(full)[0], 0), (rng.choice(l.blocks)[1], bytes(l.cluster))] if full else None


@kind("several: half of the L1 entries zeroed")
def half_l1(rng, l):
    full = [entry for entry in l.l1 if entry[1] & OFFSET]
    return [put64(place, 0) for place, _ in rng.sample(full, len(full) // 2)] if len(full) > 1 else None


@kind("several: half of an L2 table zeroed")
def half_l2(rng, l):
    return [(rng.choice(l.l2_tables), bytes(l.cluster // 2))] if l.l2_tables else None


@kind("several: a sector of an L2 table zeroed")
def sector_l2(rng, l):
    full = sorted({entry.offset // 512 * 512 for entry in l.of_kind("data", "compressed")})
    return [(rng.choice(full), bytes(512))] if full and l.cluster > 512 else None


@kind("several: a sector of an L2 table random")
def sector_l2_random(rng, l):
    full = sorted({entry.offset // 512 * 512 for entry in l.of_kind("data", "compressed")})
    return [(rng.choice(full), rng.randbytes(512))] if full and l.cluster > 512 else None


@kind("several: entries of two tables past the end")
def entries_past_the_end(rng, l):
    full = l.of_kind("data")
    end = (len(l.bytes) // l.cluster + 7) * l.cluster
    return [put64(entry.offset, entry.value & ~OFFSET | end) for entry in rng.sample(full, min(4, len(full)))] if full else None


@kind("several: three guest clusters on one cluster")
def three_on_one(rng, l):
    full = l.of_kind("data")
    if len(full) < 3 or l.extended:
        return None
    owner, *others = rng.sample(full, 3)
    return [put64(entry.offset, owner.value) for entry in others]


@kind("several: active and snapshot tables zeroed")
def l1s_zeroed(rng, l):
    if not l.snapshots:
        return None
    return [(l.field("l1_table_offset"), bytes(8 * l.field("l1_size"))),
            *[(l.get(s["l1_table_offset"]), bytes(8 * l.get(s["l1_size"]))) for s in l.snapshots]]


@kind("several: snapshots forgotten and L1 zeroed")
def snapshots_and_l1(rng, l):
    if not l.snapshots:
        return None
    return [put(l.header["nb_snapshots"], 0), put(l.header["snapshots_offset"], 0),
            (l.field("l1_table_offset"), bytes(8 * l.field("l1_size")))]


@kind("several: a range of clusters zeroed")
def range_zeroed(rng, l):
    first = rng.randrange(1, max(2, l.clusters - 6))
    return [(first * l.cluster, bytes(min(6 * l.cluster, len(l.bytes) - first * l.cluster)))]


@kind("several: COPIED cleared everywhere")
def copied_cleared(rng, l):
    full = [(entry.offset, entry.value) for entry in l.of_kind("data")] + [entry for entry in l.l1 if entry[1]]
    return [put64(place, value & ~COPIED) for place, value in full] if full and not l.has_data_file else None


@kind("several: dirty and corrupt bits set")
def dirty_and_corrupt(rng, l):
    return [put(l.header["incompatible_features"], l.incompatible | 3)] if l.version == 3 else None


@kind("several: a refcount block lost and a cluster twice")
def block_and_twice(rng, l):
    full = l.of_kind("data")
    if len(full) < 2 or l.extended:
        return None
    one, other = rng.sample(full, 2)
    return [(rng.choice(l.blocks)[1], bytes(l.cluster)), put64(one.offset, other.value)]


@kind("several: cut in the tables and refcounts zeroed")
def cut_and_refcounts(rng, l):
    return [*every_refcount(rng, l), ("length", max(l.l2_tables[-1] + l.cluster, len(l.bytes) * 3 // 4))] if l.l2_tables else None
