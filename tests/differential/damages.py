"""The kinds of damage, by name. Each is a function of (rng, layout) that gives edits, or None where the image has
nothing of the kind. Names say what is hurt and how; KINDS holds all of them in the order of this file.
"""
import layout as q
from edits import flip, flip_in, put, put64, put_refcount
from layout import COMPRESSED, COPIED, OFFSET, Word, ZERO

KINDS = {}


def kind(name):
    def add(function):
        assert name not in KINDS
        KINDS[name] = function
        return function
    return add


def header_kinds():
    """One kind for each header field and each way to hurt it; the function gives the new value, or None."""
    def wild(l):
        return (len(l.bytes) // l.cluster + 1000) * l.cluster

    for name, field, value in [
            ("header: magic gone", "magic", lambda r, l, v: 0),
            ("header: another version", "version", lambda r, l, v: r.choice([0, 1, 4, 5 - v, 1 << 31])),
            ("header: cluster_bits one off", "cluster_bits", lambda r, l, v: v + r.choice([-1, 1])),
            ("header: cluster_bits absurd", "cluster_bits", lambda r, l, v: r.choice([0, 8, 22, 64, 1 << 30])),
            ("header: disk larger than its L1", "size", lambda r, l, v: 1 << r.randrange(52, 64)),
            ("header: another crypt_method", "crypt_method", lambda r, l, v: r.choice([x for x in range(4) if x != v])),
            ("header: l1_size too small", "l1_size", lambda r, l, v: v - 1 if v else None),
            ("header: l1_size huge", "l1_size", lambda r, l, v: r.choice([1 << 22, 0xffffffff])),
            ("header: L1 misaligned", "l1_table_offset", lambda r, l, v: v + r.choice([8, 256])),
            ("header: L1 elsewhere", "l1_table_offset", lambda r, l, v: v + r.choice([-1, 1]) * l.cluster),
            ("header: L1 at 0", "l1_table_offset", lambda r, l, v: 0 if l.field("l1_size") else None),
            ("header: L1 past the end", "l1_table_offset", lambda r, l, v: wild(l) if l.field("l1_size") else None),
            ("header: refcount table at 0", "refcount_table_offset", lambda r, l, v: 0),
            ("header: refcount table elsewhere", "refcount_table_offset", lambda r, l, v: v + l.cluster),
            ("header: refcount table misaligned", "refcount_table_offset", lambda r, l, v: v + 8),
            ("header: refcount table past the end", "refcount_table_offset", lambda r, l, v: wild(l)),
            ("header: no refcount table clusters", "refcount_table_clusters", lambda r, l, v: 0),
            ("header: refcount table huge", "refcount_table_clusters", lambda r, l, v: 1 << r.randrange(20, 32)),
            ("header: snapshots forgotten", "nb_snapshots", lambda r, l, v: 0 if v else None),
            ("header: one snapshot too many", "nb_snapshots", lambda r, l, v: v + 1 if v else None),
            ("header: snapshots out of nothing", "nb_snapshots", lambda r, l, v: None if v else r.choice([1, 70000])),
            ("header: snapshot table misaligned", "snapshots_offset", lambda r, l, v: v + 8 if v else None),
            ("header: snapshot table elsewhere", "snapshots_offset", lambda r, l, v: v - l.cluster if v else None),
            ("header: unknown incompatible feature", "incompatible_features", lambda r, l, v: v | 1 << r.randrange(5, 64)),
            ("header: wrong incompatible feature", "incompatible_features", lambda r, l, v: v ^ 1 << r.randrange(2, 5)),
            ("header: bitmaps bit lost", "autoclear_features", lambda r, l, v: v & ~1 if v & 1 else None),
            ("header: raw bit wrong", "autoclear_features", lambda r, l, v: v ^ 2),
            ("header: another refcount width", "refcount_order", lambda r, l, v: r.choice([x for x in range(8) if x != v])),
            ("header: header_length wrong", "header_length", lambda r, l, v: r.choice([72, 100, 108, v + 8, 1 << 20])),
            ("header: another compression type", "compression_type", lambda r, l, v: r.choice([1 - v, 2, 255])),
            ("header: backing name elsewhere", "backing_file_offset", lambda r, l, v: r.choice([8, 80, l.cluster, 1 << 40])
             if v else None),
            ("header: backing name too long", "backing_file_size", lambda r, l, v: r.choice([1024, 5000, 0xffffffff])
             if l.field("backing_file_offset") else None)]:
        def damage(rng, layout, field=field, value=value):
            if field not in layout.header:
                return None
            new = value(rng, layout, layout.field(field))
            return None if new is None else [put(layout.header[field], new)]
        kind(name)(damage)


header_kinds()


@kind("header: a bit flipped")
def header_bit(rng, l):
    return [flip_in(rng, l.bytes, 0, 112 if l.version == 3 else 72)]


@kind("header: some bytes random")
def header_noise(rng, l):
    return [(rng.randrange(0, 64), rng.randbytes(16))]


@kind("header: first cluster zeroed")
def header_zeroed(rng, l):
    return [(0, bytes(l.cluster))]


@kind("extension: length wild")
def extension_length(rng, l):
    known = [e for e in l.extensions if e[0] != q.END]
    return [put(Word(rng.choice(known)[1] + 4, 4), rng.choice([1 << 12, 1 << 31, 0xffffffff]))] if known else None


@kind("extension: another type")
def extension_type(rng, l):
    needed = [e for e in l.extensions if e[0] in (q.BITMAPS, q.ENCRYPTION, q.DATA_FILE_NAME)]
    return [put(Word(rng.choice(needed)[1], 4), 0x12345678)] if needed else None


@kind("extension: a bit flipped")
def extension_bit(rng, l):
    needed = [e for e in l.extensions if e[0] in (q.BITMAPS, q.ENCRYPTION)]
    return [flip_in(rng, l.bytes, rng.choice(needed)[1], 24)] if needed else None


@kind("extension: the end record missing")
def extension_end(rng, l):
    end = next((e for e in l.extensions if e[0] == q.END), None)
    return [(end[1], b"\x12\x34\x56\x78\x00\x01\x00\x00")] if end else None


def pick(rng, things):
    return rng.choice(things) if things else None


def far(rng, l):
    return (len(l.bytes) // l.cluster + rng.choice([2, 1000, 1 << 20])) * l.cluster


def table_kinds(what, choose):
    """The kinds that L1 entries and standard L2 entries, of the disk and of snapshots, have in common."""
    def change(name, new):
        def damage(rng, l):
            place = choose(rng, l)
            if place is None:
                return None
            value = new(rng, l, place[1])
            return None if value is None or value == place[1] else [put64(place[0], value)]
        kind(f"{what}: {name}")(damage)

    change("entry zeroed", lambda r, l, v: 0)
    change("entry past the end", lambda r, l, v: v & ~OFFSET | far(r, l))
    change("entry misaligned", lambda r, l, v: v + 512 if l.cluster > 512 else None)
    change("entry with reserved bits", lambda r, l, v: v | 1 << r.choice([3, 8, 56, 61]))
    change("entry's COPIED flipped", lambda r, l, v: v ^ COPIED)
    change("entry's offset in another cluster", lambda r, l, v: v ^ l.cluster << r.randrange(0, 4))
    change("entry on metadata", lambda r, l, v: v & ~OFFSET | r.choice(sorted(l.metadata().values())))
    change("entry on data", lambda r, l, v: (lambda d: v & ~OFFSET | d.value & OFFSET if d else None)(
        pick(r, l.of_kind("data"))))
    change("a bit of an entry flipped", lambda r, l, v: v ^ 1 << r.randrange(64))
    change("entry random", lambda r, l, v: r.getrandbits(64))


table_kinds("l1", lambda r, l: pick(r, [e for e in l.l1 if e[1] & OFFSET]))
table_kinds("l2", lambda r, l: (lambda e: e and (e.offset, e.value))(pick(r, l.of_kind("data"))))
table_kinds("snapshot l1", lambda r, l: pick(r, [e for e in l.snapshot_l1 if e[1] & OFFSET]))
table_kinds("snapshot l2", lambda r, l: (lambda e: e and (e.offset, e.value))(
    pick(r, [e for e in l.snapshot_l2 if e.kind == "data"])))


@kind("l1: two entries for one table")
def l1_twice(rng, l):
    full, empty = [e for e in l.l1 if e[1]], [e for e in l.l1 if not e[1]]
    return [put64(rng.choice(empty)[0], rng.choice(full)[1])] if full and empty else None


@kind("l1: table zeroed")
def l1_zeroed(rng, l):
    return [(l.field("l1_table_offset"), bytes(8 * l.field("l1_size")))] if l.l2_tables else None


@kind("l1: table random")
def l1_noise(rng, l):
    return [(l.field("l1_table_offset"), rng.randbytes(8 * l.field("l1_size")))] if l.l1 else None


@kind("l2: a cluster for two guest clusters")
def l2_twice(rng, l):
    full, empty = l.of_kind("data"), l.of_kind("empty")
    return [put64(rng.choice(empty).offset, rng.choice(full).value)] if full and empty else None


@kind("l2: an entry copied over another")
def l2_copied(rng, l):
    full = l.of_kind("data", "compressed", "reserved zeros")
    if len(full) < 2:
        return None
    a, b = rng.sample(full, 2)
    return [put64(a.offset, b.value)]


@kind("l2: two entries swapped")
def l2_swapped(rng, l):
    full = l.of_kind("data")
    if len(full) < 2 or l.extended:
        return None
    a, b = rng.sample(full, 2)
    return [put64(a.offset, b.value), put64(b.offset, a.value)]


@kind("l2: data becomes compressed")
def l2_becomes_compressed(rng, l):
    entry = pick(rng, l.of_kind("data", "zeros"))
    return [put64(entry.offset, entry.value | COMPRESSED)] if entry else None


@kind("l2: compressed becomes data")
def l2_becomes_data(rng, l):
    entry = pick(rng, l.of_kind("compressed"))
    return [put64(entry.offset, entry.value & ~COMPRESSED)] if entry else None


@kind("l2: compressed with COPIED")
def compressed_copied(rng, l):
    entry = pick(rng, l.of_kind("compressed"))
    return [put64(entry.offset, entry.value | COPIED)] if entry else None


@kind("l2: compressed stream past the end")
def compressed_far(rng, l):
    entry = pick(rng, l.of_kind("compressed"))
    return [put64(entry.offset, entry.value + far(rng, l))] if entry else None


@kind("l2: compressed stream with more sectors")
def compressed_sectors(rng, l):
    entry = pick(rng, l.of_kind("compressed"))
    return [put64(entry.offset, entry.value | ((1 << l.cluster_bits - 8) - 1) << 70 - l.cluster_bits)] if entry else None


@kind("l2: compressed stream elsewhere")
def compressed_elsewhere(rng, l):
    entry = pick(rng, l.of_kind("compressed"))
    return [put64(entry.offset, entry.value ^ l.cluster << rng.randrange(0, 3))] if entry else None


@kind("l2: a bit of a compressed entry flipped")
def compressed_bit(rng, l):
    entry = pick(rng, l.of_kind("compressed"))
    return [put64(entry.offset, entry.value ^ 1 << rng.randrange(64))] if entry else None


@kind("l2: zero flag set on data")
def l2_zero_flag(rng, l):
    entry = pick(rng, l.of_kind("data"))
    return [put64(entry.offset, entry.value | ZERO)] if entry else None


@kind("l2: reserved zero cluster misaligned")
def zero_misaligned(rng, l):
    entry = pick(rng, l.of_kind("reserved zeros"))
    return [put64(entry.offset, entry.value + 512)] if entry and l.cluster > 512 else None


@kind("l2: table zeroed")
def l2_zeroed(rng, l):
    return [(rng.choice(l.l2_tables), bytes(l.cluster))] if l.l2_tables else None


@kind("l2: table random")
def l2_noise(rng, l):
    return [(rng.choice(l.l2_tables), rng.randbytes(l.cluster))] if l.l2_tables else None


@kind("l2: table all ones")
def l2_ones(rng, l):
    return [(rng.choice(l.l2_tables), b"\xff" * l.cluster)] if l.l2_tables else None


@kind("subclusters: allocated and zero")
def subcluster_both(rng, l):
    entry = pick(rng, l.of_kind("data")) if l.extended else None
    return [put64(entry.offset + 8, 1 << 32 + rng.randrange(32) | 0xffffffff)] if entry else None


@kind("subclusters: allocated without a cluster")
def subcluster_alone(rng, l):
    entry = pick(rng, l.of_kind("zeros", "empty")) if l.extended else None
    return [put64(entry.offset + 8, 1 << rng.randrange(32))] if entry else None


@kind("subclusters: of a compressed cluster")
def subcluster_compressed(rng, l):
    entry = pick(rng, l.of_kind("compressed")) if l.extended else None
    return [put64(entry.offset + 8, 1 << rng.randrange(64))] if entry else None


def refcount_kinds():
    def change(name, new):
        def damage(rng, l):
            place = pick(rng, l.used())
            value = l.refcount_value(place)
            changed = new(rng, l, value) & ((1 << place.bits) - 1)
            return [put_refcount(l, place, changed)] if changed != value else None
        kind(f"refcount: {name}")(damage)

    change("one too high", lambda r, l, v: v + 1)
    change("one too low", lambda r, l, v: v - 1)
    change("zero", lambda r, l, v: 0)
    change("the highest", lambda r, l, v: -1)
    change("a bit flipped", lambda r, l, v: v ^ 1 << r.randrange(l.refcount_bits))


refcount_kinds()


@kind("refcount: of a free cluster")
def refcount_of_free(rng, l):
    places = [p for p in map(l.refcount, range(l.clusters + 4)) if p and not l.refcount_value(p)]
    return [put_refcount(l, rng.choice(places), 1)] if places else None


def reftable_kinds():
    def change(name, new):
        def damage(rng, l):
            index, value = rng.choice(l.blocks)
            changed = new(rng, l, value)
            return None if changed is None or changed == value else [put64(l.refcount_table[index][0], changed)]
        kind(f"refcount table: {name}")(damage)

    change("entry zeroed", lambda r, l, v: 0)
    change("entry misaligned", lambda r, l, v: v + 512 if l.cluster > 512 else None)
    change("entry with reserved bits", lambda r, l, v: v | 1 << r.randrange(9))
    change("entry past the end", lambda r, l, v: far(r, l))
    change("entry absurd", lambda r, l, v: v | 1 << r.randrange(50, 64))
    change("entry on metadata", lambda r, l, v: r.choice(sorted(l.metadata().values())))
    change("entry on data", lambda r, l, v: (lambda d: d.value & OFFSET if d and not l.has_data_file else None)(
        pick(r, l.of_kind("data"))))
    change("a bit of an entry flipped", lambda r, l, v: v ^ 1 << r.randrange(64))


reftable_kinds()


@kind("refcount table: an entry out of nothing")
def reftable_extra(rng, l):
    empty = [offset for offset, value in l.refcount_table if not value]
    target = rng.choice([rng.choice(l.blocks)[1], far(rng, l), l.field("l1_table_offset")])
    return [put64(rng.choice(empty), target)] if empty else None


@kind("refcount table: random")
def reftable_noise(rng, l):
    return [(l.field("refcount_table_offset"), rng.randbytes(l.cluster))]


@kind("refcount table: zeroed")
def reftable_zeroed(rng, l):
    return [(l.field("refcount_table_offset"), bytes(l.cluster * l.field("refcount_table_clusters")))]


@kind("refcount block: zeroed")
def block_zeroed(rng, l):
    return [(rng.choice(l.blocks)[1], bytes(l.cluster))]


@kind("refcount block: random")
def block_noise(rng, l):
    return [(rng.choice(l.blocks)[1], rng.randbytes(l.cluster))]
