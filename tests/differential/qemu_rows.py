"""The kinds of damage on which qemu-img check was measured to lose data, to stop, or to say nothing, on images that qemu-img
itself makes. CASES has a line for each: what a check must find of it, and, in tests/gauntlet, what a repair must make of it.
"""
import programs
from edits import put, put64, put_refcount
from layout import COMPRESSED, COPIED, OFFSET, ZERO, BITMAPS, Layout, Word

FILL = ["-c", "write -P 1 0 1M", "-c", "write -P 2 20M 256k", "-c", "write -z 40M 64k"]
IMAGES = {
    "plain": [["qemu-img", "create", "-q", "-f", "qcow2", "plain", "64M"], ["qemu-io", *FILL, "plain"]],
    "small": [["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "small", "8M"],
              ["qemu-io", "-c", "write -P 1 0 4M", "-c", "write -P 2 5M 1M", "small"]],
    "snapshots": [["qemu-img", "create", "-q", "-f", "qcow2", "snapshots", "64M"],
                  ["qemu-io", *FILL, "snapshots"], ["qemu-img", "snapshot", "-c", "first", "snapshots"],
                  ["qemu-io", "-c", "write -P 5 0 512k", "snapshots"], ["qemu-img", "snapshot", "-c", "second", "snapshots"],
                  ["qemu-io", "-c", "write -P 6 20M 64k", "snapshots"]],
    "compressed": [["qemu-img", "create", "-q", "-f", "qcow2", "compressed", "64M"],
                   ["qemu-io", "-c", "write -c -P 1 0 64k", "-c", "write -c -P 2 64k 64k", "-c", "write -c -P 3 128k 64k",
                    "compressed"]],
    "subclusters": [["qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "subclusters", "64M"],
                    ["qemu-io", "-c", "write -c -P 1 0 64k", "-c", "write -P 2 64k 6k", "subclusters"]],
    "bitmaps": [["qemu-img", "create", "-q", "-f", "qcow2", "bitmaps", "64M"],
                ["qemu-img", "bitmap", "--add", "bitmaps", "b0"], ["qemu-io", *FILL, "bitmaps"]],
    "data-file": [["qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=payload", "data-file", "64M"],
                  ["qemu-io", *FILL, "data-file"]],
    "raw-data-file": [["qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=raw,data_file_raw=on", "raw-data-file", "64M"],
                      ["qemu-io", *FILL, "raw-data-file"]],
    "overlay": [["qemu-img", "create", "-q", "-f", "qcow2", "base", "64M"],
                ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "overlay"]],
    "narrow": [["qemu-img", "create", "-q", "-f", "qcow2", "-o", "refcount_bits=1", "narrow", "64M"], ["qemu-io", *FILL, "narrow"]],
}
TIB = 1 << 40
HARMLESS = {"refcount behind the end", "COPIED in a snapshot's table", "backing file missing"}


def data(l, index=0):
    return l.of_kind("data")[index]


def block(l):
    return l.refcount_table[0]


def all_of(places, value):
    return [put(word, value) for word in places]


# row of the table of measurements, image, what is done, edits, rules (first: whose findings name guest ranges), at stake
CASES = [
    ("1", "plain", "L1 entry zeroed", lambda l: [put64(l.l1[0][0], 0)], ["refcount/leak-holds-table"], True),
    ("1", "plain", "L1 table zeroed", lambda l: [(l.l1[0][0], bytes(8 * len(l.l1)))], ["refcount/leak-holds-table"], True),
    ("2", "small", "L1 entry past the end", lambda l: [put64(l.l1[1][0], COPIED | TIB)], ["l1/entry-past-eof"], True),
    ("3", "small", "L1 entry misaligned", lambda l: [put64(l.l1[1][0], l.l1[1][1] + 512)], ["l1/entry-unaligned"], True),
    ("3", "plain", "L1 entry at a data cluster", lambda l: [put64(l.l1[0][0], data(l).value)], ["l2/table-implausible"], True),
    ("4", "plain", "two entries, one cluster", lambda l: [put64(data(l, 1).offset, data(l).value)], ["l2/host-alias"], True),
    ("4", "narrow", "two entries, one cluster, 1 bit", lambda l: [put64(data(l, 1).offset, data(l).value)],
     ["l2/host-alias"], True),
    ("5", "plain", "data at the L1 table", lambda l: [put64(data(l).offset, COPIED | l.field("l1_table_offset"))],
     ["l2/points-at-metadata"], True),
    ("5", "plain", "data at a refcount block", lambda l: [put64(data(l).offset, COPIED | block(l)[1])],
     ["l2/points-at-metadata"], True),
    ("6", "plain", "data misaligned", lambda l: [put64(data(l).offset, data(l).value + 512)], ["l2/data-unaligned"], True),
    ("6", "plain", "data past the end", lambda l: [put64(data(l).offset, COPIED | TIB)], ["l2/past-eof"], True),
    ("6", "plain", "reserved bits in L1", lambda l: [put64(l.l1[0][0], l.l1[0][1] | 1)], ["l1/entry-reserved"], False),
    ("6", "plain", "reserved bits in L2", lambda l: [put64(data(l).offset, data(l).value | 2)], ["l2/reserved"], False),
    ("6", "compressed", "COPIED on compressed",
     lambda l: [put64(l.of_kind("compressed")[0].offset, l.of_kind("compressed")[0].value | COPIED)], ["compressed/copied-set"], False),
    ("6", "subclusters", "bad subcluster bitmap",
     lambda l: [put64(data(l).offset + 8, l.u64(data(l).offset + 8) | 1 << 32)], ["extl2/alloc-and-zero"], True),
    ("7", "plain", "zero cluster misaligned", lambda l: [put64(data(l).offset, data(l).value + 512 | ZERO)], ["l2/zero-unaligned"], True),
    ("8", "plain", "refcount table entry, bit 3", lambda l: [put64(block(l)[0], block(l)[1] | 8)], ["refcount/table-entry-reserved"], False),
    ("8", "plain", "refcount table entry, bit 12", lambda l: [put64(block(l)[0], block(l)[1] | 1 << 12)], ["refcount/block-unaligned"], False),
    ("9", "plain", "refcount block at 1 TiB", lambda l: [put64(block(l)[0], TIB)], ["refcount/block-past-eof"], False),
    ("10", "plain", "refcount 0 of a used cluster",
     lambda l: [put_refcount(l, l.refcount((data(l).value & OFFSET) // l.cluster), 0)], ["refcount/zero-in-use"], True),
    ("11", "subclusters", "compressed with a subcluster bitmap",
     lambda l: [put64(l.of_kind("compressed")[0].offset + 8, 1)], ["extl2/compressed-bitmap"], False),
    ("11", "data-file", "compressed with a data file", lambda l: [put64(data(l).offset, data(l).value & ~COPIED | COMPRESSED)],
     ["compressed/in-data-file-image"], True),
    ("12", "compressed", "payload garbage",
     lambda l: [((l.of_kind("compressed")[1].value & (1 << 54) - 1), b"\xff" * 16)], ["compressed/undecodable"], True),
    ("12", "compressed", "duplicate descriptors",
     lambda l: [put64(l.of_kind("compressed")[1].offset, l.of_kind("compressed")[0].value)], ["compressed/streams-overlap"], True),
    ("13", "snapshots", "snapshot L1 misaligned", lambda l: all_of([l.snapshots[0]["l1_table_offset"]], 0x50008),
     ["snapshot/l1-offset-unaligned"], False),
    ("13", "snapshots", "snapshot L1 too large", lambda l: all_of([l.snapshots[0]["l1_size"]], 1 << 30), ["snapshot/l1-size-limit"], False),
    ("13", "snapshots", "snapshot L1 past the end", lambda l: all_of([l.snapshots[0]["l1_table_offset"]], TIB),
     ["snapshot/l1-past-eof"], False),
    ("14", "snapshots", "nb_snapshots zeroed", lambda l: all_of([l.header["nb_snapshots"]], 0), ["snapshot/lost"], False),
    ("15", "snapshots", "extra data of 2000 bytes", lambda l: all_of([l.snapshots[0]["extra_size"]], 2000),
     ["snapshot/extra-misstated"], False),
    ("16", "snapshots", "extra data of 8 bytes", lambda l: all_of([l.snapshots[0]["extra_size"]], 8), ["snapshot/extra-misstated"], False),
    ("17", "snapshots", "nb_snapshots over 65536", lambda l: all_of([l.header["nb_snapshots"]], 70000), ["snapshot/count-limit"], False),
    ("18", "snapshots", "snapshot table misaligned", lambda l: all_of([l.header["snapshots_offset"]], l.field("snapshots_offset") + 8),
     ["snapshot/table-offset-unaligned"], False),
    ("18", "bitmaps", "bitmap directory misaligned",
     lambda l: [put64(l.extension(BITMAPS) + 16, l.u64(l.extension(BITMAPS) + 16) + 8)], ["bitmap/directory-offset"], False),
    ("18", "bitmaps", "bitmap table past the end", lambda l: all_of([l.bitmaps[0]["table_offset"]], TIB), ["bitmap/table-past-eof"], False),
    ("19", "bitmaps", "autoclear bit cleared", lambda l: all_of([l.header["autoclear_features"]], 0), ["feature/bitmaps-bit-clear"], False),
    ("20", "plain", "magic", lambda l: all_of([l.header["magic"]], 0), ["header/magic"], False),
    ("20", "plain", "version", lambda l: all_of([l.header["version"]], 9), ["header/version"], False),
    ("20", "plain", "cluster_bits", lambda l: all_of([l.header["cluster_bits"]], 40), ["header/cluster-bits-range"], False),
    ("20", "plain", "L1 offset", lambda l: all_of([l.header["l1_table_offset"]], l.field("l1_table_offset") + 8),
     ["header/l1-offset-unaligned"], False),
    ("20", "plain", "refcount table offset", lambda l: all_of([l.header["refcount_table_offset"]], 0), ["refcount/table-offset-zero"], False),
    ("20", "overlay", "backing offset", lambda l: all_of([l.header["backing_file_offset"]], TIB), ["backing/offset-range"], False),
    ("20", "plain", "refcount order", lambda l: all_of([l.header["refcount_order"]], 9), ["header/refcount-order-range"], False),
    ("20", "plain", "header length", lambda l: all_of([l.header["header_length"]], 1 << 20), ["header/length-too-large"], False),
    ("20", "plain", "unknown feature", lambda l: all_of([l.header["incompatible_features"]], 1 << 40), ["feature/incompatible-unknown"], False),
    ("21", "plain", "refcount behind the end", lambda l: [put_refcount(l, l.refcount(l.clusters + 100), 1)], ["refcount/beyond-eof"], False),
    ("21", "snapshots", "duplicate snapshot ids",
     lambda l: [(l.snapshots[1]["l1_table_offset"].offset + 40 + l.get(l.snapshots[1]["extra_size"]), b"1")], ["snapshot/id-duplicate"], False),
    ("21", "snapshots", "COPIED in a snapshot's table", lambda l: [put64(l.snapshot_l2[0].offset, l.snapshot_l2[0].value | COPIED)],
     [], False),
    ("21", "data-file", "two entries, one cluster of a data file", lambda l: [put64(data(l, 1).offset, data(l).value)],
     ["datafile/host-offset"], True),
    ("21", "raw-data-file", "raw data file, mapping not the identity", lambda l: [put64(data(l).offset, data(l).value + (50 << 20))],
     ["datafile/host-offset"], True),
    ("-", "plain", "first cluster zeroed", lambda l: [(0, bytes(l.cluster))], ["header/inferred"], False),
    ("-", "plain", "tail cut off", lambda l: [("length", data(l, -1).value & OFFSET)], ["l2/past-eof"], True),
    ("-", "plain", "refcount table garbage", lambda l: [(block(l)[0], b"\xa5" * l.cluster)],
     ["refcount/table-entry-reserved", "refcount/coverage"], False),
    ("22", "overlay", "backing file missing", lambda l: [], [], False),
]


def make(folder):
    """All images, each sound, in a folder; their layouts by name."""
    for words in (words for steps in IMAGES.values() for words in steps):
        said = programs.run(words, folder)
        if said.code != 0:
            raise RuntimeError(str(said))
    return {name: Layout((folder / name).read_bytes()) for name in IMAGES}
