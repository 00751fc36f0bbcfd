"""More kinds of damage: snapshots, bitmaps, the encryption header, and the file as a whole. See damages.py."""
import layout as q
from damages import KINDS, far, kind, pick
from edits import flip, put, put64

__all__ = ["KINDS"]


def record_kinds(what, records, fields):
    """One kind for each (field, what is wrong, new value) of the entries of a table."""
    for name, field, value in fields:
        def damage(rng, l, field=field, value=value):
            entry = pick(rng, records(l))
            if entry is None:
                return None
            old = l.get(entry[field])
            new = value(rng, l, old)
            return None if new is None or new == old else [put(entry[field], new)]
        kind(f"{what}: {name}")(damage)


record_kinds("snapshot", lambda l: l.snapshots, [
    ("L1 misaligned", "l1_table_offset", lambda r, l, v: v + 8),
    ("L1 past the end", "l1_table_offset", lambda r, l, v: far(r, l)),
    ("L1 at 0", "l1_table_offset", lambda r, l, v: 0),
    ("L1 elsewhere", "l1_table_offset", lambda r, l, v: v ^ l.cluster << r.randrange(3)),
    ("L1 of no entries", "l1_size", lambda r, l, v: 0),
    ("L1 of many entries", "l1_size", lambda r, l, v: r.choice([v + 4000, 1 << 22, 0xffffffff])),
    ("id too long", "id_size", lambda r, l, v: r.choice([v + 8, 0xffff])),
    ("name too long", "name_size", lambda r, l, v: r.choice([v + 8, 0xffff])),
    ("extra data too long", "extra_size", lambda r, l, v: r.choice([v + 8, 2000, 0xffffffff])),
    ("extra data too short", "extra_size", lambda r, l, v: 8 if l.version == 3 else None)])

record_kinds("bitmap", lambda l: l.bitmaps, [
    ("table misaligned", "table_offset", lambda r, l, v: v + 8),
    ("table past the end", "table_offset", lambda r, l, v: far(r, l)),
    ("table at 0", "table_offset", lambda r, l, v: 0),
    ("table elsewhere", "table_offset", lambda r, l, v: v ^ l.cluster << r.randrange(3)),
    ("table of another size", "table_size", lambda r, l, v: r.choice([0, v + 1, 1 << 30])),
    ("unknown flags", "flags", lambda r, l, v: v | 1 << r.randrange(3, 32)),
    ("unknown type", "type", lambda r, l, v: r.choice([0, 2, 255])),
    ("another granularity", "granularity", lambda r, l, v: r.choice([0, 8, 32, 64, 255])),
    ("name of another length", "name_size", lambda r, l, v: r.choice([v + 8, 0xffff])),
    ("extra data", "extra_size", lambda r, l, v: r.choice([8, 0xffffffff]))])


def bitmap_extension(name, offset, width, value):
    def damage(rng, l):
        data = l.extension(q.BITMAPS)
        if data is None:
            return None
        word = q.Word(data + offset, width)
        return [put(word, value(rng, l, l.get(word)))]
    kind(f"bitmaps: {name}")(damage)


bitmap_extension("count wrong", 0, 4, lambda r, l, v: r.choice([0, v + 1, 70000]))
bitmap_extension("reserved word", 4, 4, lambda r, l, v: 1)
bitmap_extension("directory of another size", 8, 8, lambda r, l, v: r.choice([0, v + 8, 1 << 40]))
bitmap_extension("directory misaligned", 16, 8, lambda r, l, v: v + 8)
bitmap_extension("directory past the end", 16, 8, lambda r, l, v: far(r, l))


def bitmap_entry(name, new):
    def damage(rng, l):
        place = pick(rng, [e for e in l.bitmap_entries if e[1] & q.OFFSET])
        return [put64(place[0], new(rng, l, place[1]))] if place else None
    kind(f"bitmap table: {name}")(damage)


bitmap_entry("entry zeroed", lambda r, l, v: 0)
bitmap_entry("entry past the end", lambda r, l, v: far(r, l))
bitmap_entry("entry misaligned or reserved", lambda r, l, v: v + r.choice([8, 256]))
bitmap_entry("entry elsewhere", lambda r, l, v: v ^ l.cluster)
bitmap_entry("a bit of an entry flipped", lambda r, l, v: v ^ 1 << r.randrange(64))


@kind("snapshot: table zeroed")
def snapshots_zeroed(rng, l):
    return [(l.field("snapshots_offset"), bytes(min(l.cluster, 64)))] if l.snapshots else None


@kind("snapshot: table random")
def snapshots_noise(rng, l):
    return [(l.field("snapshots_offset"), rng.randbytes(48))] if l.snapshots else None


def luks(l):
    data = l.extension(q.ENCRYPTION)
    return None if data is None else l.u64(data)


@kind("luks: header zeroed")
def luks_zeroed(rng, l):
    return [(luks(l), bytes(592))] if luks(l) else None


@kind("luks: magic or version")
def luks_magic(rng, l):
    return [flip(l.bytes, luks(l) + rng.randrange(8), rng.randrange(8))] if luks(l) else None


@kind("luks: names of the cipher")
def luks_names(rng, l):
    return [(luks(l) + rng.choice([8, 40, 72]), rng.randbytes(32))] if luks(l) else None


@kind("luks: a slot's state or stripes")
def luks_slot(rng, l):
    return [put(q.Word(luks(l) + 208 + 48 * rng.randrange(8) + rng.choice([0, 44]), 4), 7)] if luks(l) else None


@kind("luks: region elsewhere")
def luks_elsewhere(rng, l):
    if not luks(l):
        return None
    return [put64(l.extension(q.ENCRYPTION), rng.choice([luks(l) + 8, luks(l) + l.cluster, far(rng, l), 0]))]


@kind("luks: region longer than the file")
def luks_length(rng, l):
    return [put64(l.extension(q.ENCRYPTION) + 8, len(l.bytes) * 2)] if luks(l) else None


@kind("file: cut in the middle")
def cut_middle(rng, l):
    return [("length", rng.randrange(len(l.bytes)))]


@kind("file: last cluster gone")
def cut_cluster(rng, l):
    return [("length", (len(l.bytes) - 1) // l.cluster * l.cluster)]


@kind("file: only the header left")
def cut_to_header(rng, l):
    return [("length", rng.choice([50, 100, 112, 512, l.cluster]))]


@kind("file: a few bytes cut")
def cut_bytes(rng, l):
    return [("length", len(l.bytes) - rng.choice([1, 7, 512, 4096]) % len(l.bytes))]


@kind("file: junk appended")
def junk(rng, l):
    return [(len(l.bytes), rng.randbytes(rng.choice([1, 512, 3 * l.cluster])))]


@kind("file: a hole appended")
def hole(rng, l):
    return [("length", len(l.bytes) + 20 * l.cluster)]


@kind("file: two clusters swapped")
def swapped(rng, l):
    if l.clusters < 3:
        return None
    a, b = rng.sample(range(1, l.clusters), 2)
    one, two = (l.bytes[x * l.cluster:(x + 1) * l.cluster] for x in (a, b))
    return [(a * l.cluster, two), (b * l.cluster, one)]


@kind("file: a cluster copied over another")
def copied(rng, l):
    if l.clusters < 3:
        return None
    a, b = rng.sample(range(l.clusters), 2)
    return [(b * l.cluster, l.bytes[a * l.cluster:(a + 1) * l.cluster])]


@kind("file: a cluster zeroed")
def zeroed(rng, l):
    return [(rng.randrange(l.clusters) * l.cluster, bytes(l.cluster))]


@kind("file: a sector random")
def sector(rng, l):
    return [(rng.randrange(len(l.bytes) // 512) * 512, rng.randbytes(512))]


@kind("file: bits flipped all over")
def bits(rng, l):
    return [flip(l.bytes, rng.randrange(len(l.bytes)), rng.randrange(8)) for _ in range(16)]


@kind("file: bits flipped in metadata")
def metadata_bits(rng, l):
    tables = [*l.metadata().values(), *l.l2_tables]
    return [flip(l.bytes, min(rng.choice(tables) + rng.randrange(min(l.cluster, 512)), len(l.bytes) - 1),
                 rng.randrange(8)) for _ in range(4)]


@kind("file: shifted by a sector")
def shifted(rng, l):
    return [(0, bytes(512) + l.bytes)]
