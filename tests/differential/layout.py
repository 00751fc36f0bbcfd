"""Where everything lies in a sound qcow2 image: a small reader of its own, so that damage is placed without believing
the code under test. It trusts the image completely; give it only what qemu-img calls clean.
"""
from collections import namedtuple

Word = namedtuple("Word", "offset width")            # a big-endian field: byte offset, bytes
Entry = namedtuple("Entry", "offset value kind")     # an L2 entry: byte offset, first word, what it maps
Refcount = namedtuple("Refcount", "offset shift bits cluster")  # bits from shift on, in the byte or word at offset

OFFSET = 0x00fffffffffffe00
COPIED, COMPRESSED, ZERO = 1 << 63, 1 << 62, 1
DIRTY, CORRUPT, DATA_FILE, COMPRESSION, EXTENDED = (1 << bit for bit in range(5))

HEADER = {"magic": (0, 4), "version": (4, 4), "backing_file_offset": (8, 8), "backing_file_size": (16, 4),
          "cluster_bits": (20, 4), "size": (24, 8), "crypt_method": (32, 4), "l1_size": (36, 4), "l1_table_offset": (40, 8),
          "refcount_table_offset": (48, 8), "refcount_table_clusters": (56, 4), "nb_snapshots": (60, 4),
          "snapshots_offset": (64, 8)}
HEADER_3 = {"incompatible_features": (72, 8), "compatible_features": (80, 8), "autoclear_features": (88, 8),
            "refcount_order": (96, 4), "header_length": (100, 4)}
SNAPSHOT = {"l1_table_offset": (0, 8), "l1_size": (8, 4), "id_size": (12, 2), "name_size": (14, 2), "date_sec": (16, 4),
            "date_nsec": (20, 4), "vm_state_size": (32, 4), "extra_size": (36, 4)}
BITMAP = {"table_offset": (0, 8), "table_size": (8, 4), "flags": (12, 4), "type": (16, 1), "granularity": (17, 1),
          "name_size": (18, 2), "extra_size": (20, 4)}
END, BACKING_FORMAT, FEATURE_NAMES = 0, 0xE2792ACA, 0x6803F857
BITMAPS, ENCRYPTION, DATA_FILE_NAME = 0x23852875, 0x0537BE77, 0x44415441


def words(fields, base=0):
    return {name: Word(base + offset, width) for name, (offset, width) in fields.items()}


class Layout:
    """All structures of one image. `bytes` is the whole file; positions are byte offsets in it."""

    def __init__(self, content):
        self.bytes = content
        self.header = words(HEADER)
        self.version = self.get(self.header["version"])
        if self.version == 3:
            self.header.update(words(HEADER_3))
            if self.get(self.header["header_length"]) > 104:
                self.header["compression_type"] = Word(104, 1)
        self.cluster_bits = self.field("cluster_bits")
        self.cluster = 1 << self.cluster_bits
        self.incompatible = self.field("incompatible_features") if self.version == 3 else 0
        self.extended = bool(self.incompatible & EXTENDED)
        self.has_data_file = bool(self.incompatible & DATA_FILE)
        self.entry_size = 16 if self.extended else 8
        self.clusters = -(-len(content) // self.cluster)
        self.read_extensions()
        self.l1 = self.read_l1(self.field("l1_table_offset"), self.field("l1_size"))
        self.l2_tables = [value & OFFSET for _, value in self.l1 if value & OFFSET]
        self.entries = [entry for table in self.l2_tables for entry in self.read_l2(table)]
        self.read_refcounts()
        self.read_snapshots()
        self.read_bitmaps()

    def get(self, word):
        return int.from_bytes(self.bytes[word.offset:word.offset + word.width], "big")

    def field(self, name):
        return self.get(self.header[name])

    def u64(self, offset):
        return self.get(Word(offset, 8))

    def of_kind(self, *kinds):
        return [entry for entry in self.entries if entry.kind in kinds]

    def read_extensions(self):
        self.extensions = []  # (type, position of the record, position of its data, data length)
        position = self.field("header_length") if self.version == 3 else 72
        end = self.field("backing_file_offset") or self.cluster
        while position + 8 <= end:
            kind, length = self.get(Word(position, 4)), self.get(Word(position + 4, 4))
            self.extensions.append((kind, position, position + 8, length))
            if kind == END:
                break
            position += 8 + (length + 7) // 8 * 8

    def extension(self, kind):
        """Position of the data of an extension, or None."""
        return next((data for k, _, data, _ in self.extensions if k == kind), None)

    def read_l1(self, offset, size):
        return [(offset + 8 * i, self.u64(offset + 8 * i)) for i in range(size)]

    def read_l2(self, table):
        for position in range(table, min(table + self.cluster, len(self.bytes) - 7), self.entry_size):
            value = self.u64(position)
            if value & COMPRESSED:
                kind = "compressed"
            elif value & OFFSET or (self.has_data_file and value & COPIED):
                kind = "reserved zeros" if value & ZERO and not self.extended else "data"
            elif value & ZERO or (self.extended and self.u64(position + 8)):
                kind = "zeros"
            else:
                kind = "empty"
            yield Entry(position, value, kind)

    def read_refcounts(self):
        self.refcount_bits = 1 << self.field("refcount_order") if self.version == 3 else 16
        self.per_block = self.cluster * 8 // self.refcount_bits
        table = self.field("refcount_table_offset")
        self.refcount_table = [(table + 8 * i, self.u64(table + 8 * i))
                               for i in range(self.field("refcount_table_clusters") * self.cluster // 8)]
        self.blocks = [(index, value) for index, (_, value) in enumerate(self.refcount_table) if value]

    def refcount(self, cluster):
        """Where the refcount of a cluster is stored, or None when it has no block."""
        block = self.refcount_table[cluster // self.per_block][1] if cluster // self.per_block < len(
            self.refcount_table) else 0
        if not block:
            return None
        bit = cluster % self.per_block * self.refcount_bits
        return Refcount(block + bit // 8, bit % 8, self.refcount_bits, cluster)

    def refcount_value(self, place):
        if place.bits < 8:
            return self.bytes[place.offset] >> place.shift & ((1 << place.bits) - 1)
        return self.get(Word(place.offset, place.bits // 8))

    def used(self):
        """Places of all refcounts that are not 0."""
        places = (self.refcount(cluster) for cluster in range(self.clusters))
        return [place for place in places if place and self.refcount_value(place)]

    def read_snapshots(self):
        self.snapshots, self.snapshot_l1, self.snapshot_l2 = [], [], []
        position = self.field("snapshots_offset")
        for _ in range(self.field("nb_snapshots")):
            entry = words(SNAPSHOT, position)
            self.snapshots.append(entry)
            self.snapshot_l1 += self.read_l1(self.get(entry["l1_table_offset"]), self.get(entry["l1_size"]))
            size = 40 + sum(self.get(entry[name]) for name in ("extra_size", "id_size", "name_size"))
            position += (size + 7) // 8 * 8
        tables = {value & OFFSET for _, value in self.snapshot_l1} - {0} - set(self.l2_tables)
        self.snapshot_l2 = [entry for table in sorted(tables) for entry in self.read_l2(table)]

    def read_bitmaps(self):
        self.bitmaps, self.bitmap_entries = [], []
        data = self.extension(BITMAPS)
        if data is None:
            return
        position = self.u64(data + 16)
        for _ in range(self.get(Word(data, 4))):
            entry = words(BITMAP, position)
            self.bitmaps.append(entry)
            self.bitmap_entries += self.read_l1(self.get(entry["table_offset"]), self.get(entry["table_size"]))
            position += (24 + self.get(entry["extra_size"]) + self.get(entry["name_size"]) + 7) // 8 * 8

    def streams_on_data(self):
        """Host clusters that a compressed stream shares with a standard cluster: writing the latter destroys the former.
        None in a sound image, whatever the refcounts say."""
        every = self.entries + self.snapshot_l2
        whole = {entry.value & OFFSET for entry in every if entry.kind in ("data", "reserved zeros")}
        shared, bits = set(), 70 - self.cluster_bits
        for entry in every:
            if entry.kind == "compressed" and not self.has_data_file:
                begin = entry.value & ((1 << bits) - 1)
                sectors = (entry.value & (COMPRESSED - 1)) >> bits
                last = begin // 512 * 512 + sectors * 512 + 511
                shared |= whole & set(range(begin // self.cluster * self.cluster, last + 1, self.cluster))
        return sorted(shared)

    def metadata(self):
        """Offsets of clusters that hold metadata a guest entry must never name, with their names."""
        return {"header": 0, "l1": self.field("l1_table_offset"), "refcount table": self.field("refcount_table_offset"),
                "refcount block": self.blocks[0][1], **({"l2": self.l2_tables[0]} if self.l2_tables else {})}
