"""Sparse files that promise far more than they hold: what the bounds are measured on.

Each maker writes one qcow2 file of a few MiB to a path. Everything comes from fixed seeds.
"""
import os
import random
import struct
import zlib

MIB = 1 << 20
COPIED = 1 << 63
COMPRESSED = 1 << 62


def header(cluster_bits, size, l1=(0, 0), refcounts=(0, 0), snapshots=(0, 0), order=4):
    """A version 3 header; tables are (offset, length in the field's unit)."""
    return struct.pack(
        ">4sIQIIQIIQQIIQQQQII8x", b"QFI\xfb", 3, 0, 0, cluster_bits, size, 0, l1[1], l1[0], refcounts[0],
        refcounts[1], snapshots[1], snapshots[0], 0, 0, 0, order, 112) + bytes(8)


def words(numbers):
    return struct.pack(f">{len(numbers)}Q", *numbers)


class Sparse:
    """A file in the making: put() writes, the rest stays a hole."""

    def __init__(self, path, length):
        self.file = open(path, "wb")
        self.file.truncate(length)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.flush()
        os.fsync(self.file.fileno())  # so that the file system says what the file really holds
        self.file.close()

    def put(self, offset, content):
        self.file.seek(offset)
        self.file.write(content)


def refcounts_at(cluster_bits, table, block):
    """Two writes: a refcount table of one entry, and its block that counts the first clusters once (16 bits each)."""
    return (table, words([block])), (block, b"\0\1" * min(64, (1 << cluster_bits) // 2))


def long_hole(path):
    """1 TiB long, clusters of 512 bytes, 4 KiB on disk."""
    with Sparse(path, 1 << 40) as image:
        image.put(0, header(9, MIB, l1=(1536, 32), refcounts=(512, 1)))
        image.put(512, words([1024]))
        image.put(1024, b"\0\1" * 4)


def one_l2_for_all(path):
    """An L1 of 512 Ki entries that all lead to one L2 table, clusters of 2 MiB."""
    cluster, entries = 2 * MIB, 1 << 19
    with Sparse(path, 8 * cluster) as image:
        image.put(0, header(21, 1 << 58, l1=(3 * cluster, entries), refcounts=(cluster, 1)))
        for offset, content in refcounts_at(21, cluster, 2 * cluster):
            image.put(offset, content)
        image.put(3 * cluster, words([6 * cluster | COPIED] * entries))
        image.put(6 * cluster, words([7 * cluster | COPIED] * 64))


def snapshots_with_one_l1(path):
    """4096 snapshots, and all of them name one L1 table of 4096 entries."""
    cluster, count, entries = 65536, 4096, 4096
    table = b"".join(
        struct.pack(">QIHHIIQII", 8 * cluster, entries, 4, 4, 0, 0, 0, 0, 16) + struct.pack(">QQ", 0, entries << 29)
        + b"%04x" % i + b"%04x" % i for i in range(count))
    with Sparse(path, 64 * cluster) as image:
        image.put(0, header(16, entries << 29, l1=(8 * cluster, entries), refcounts=(cluster, 1),
                            snapshots=(16 * cluster, count)))
        for offset, content in refcounts_at(16, cluster, 2 * cluster):
            image.put(offset, content)
        image.put(8 * cluster, words([(9 + i % 7) * cluster for i in range(entries)]))
        for i in range(7):
            image.put((9 + i) * cluster, words([(32 + j % 32) * cluster for j in range(8192)]))
        image.put(16 * cluster, table)


def snapshots_that_all_differ(path):
    """As many snapshots as a table may have, with long ids and names, and an L1 table each; all counted rightly."""
    cluster, count, entry_size = 512, 65536, 40 + 16 + 256 + 256
    table = b"".join(
        struct.pack(">QIHHIIQII", (count + i) * cluster, 1, 256, 256, i, 0, 0, 0, 16) + struct.pack(">QQ", 0, 64 * cluster)
        + b"%0256d" % i + b"%0256x" % i for i in range(count))
    tables = count + count + len(table) // cluster  # what the first clusters, the L1 tables and the snapshot table end at
    blocks = 1 << 10
    refcounts = tables + blocks
    clusters = refcounts + blocks // 64
    with Sparse(path, clusters * cluster) as image:
        image.put(0, header(9, 64 * cluster, l1=(cluster, 1), refcounts=(refcounts * cluster, blocks // 64),
                            snapshots=(2 * count * cluster, count)))
        image.put(count * cluster, bytes(count * cluster))
        image.put(2 * count * cluster, table)
        image.put(tables * cluster, struct.pack(f">{clusters}H", *([1, 1] + [0] * (count - 2) + [1] * (clusters - count))))
        image.put(refcounts * cluster, words([(tables + i) * cluster for i in range(blocks)]))


def garbage_refcount_table(path):
    """A refcount table of 8 MiB of garbage."""
    cluster = 65536
    with Sparse(path, 1 << 36) as image:
        image.put(0, header(16, MIB << 10, l1=(cluster, 2), refcounts=(2 * cluster, 128)))
        image.put(2 * cluster, random.Random(1).randbytes(8 * MIB))


def tables_into_a_hole(path):
    """8 MiB of L2 tables with random aligned offsets into the hole of a file of 2^43 bytes."""
    cluster, tables = 65536, 128
    chance = random.Random(2)
    with Sparse(path, 1 << 43) as image:
        image.put(0, header(16, tables << 29, l1=(3 * cluster, tables), refcounts=(cluster, 1)))
        for offset, content in refcounts_at(16, cluster, 2 * cluster):
            image.put(offset, content)
        image.put(3 * cluster, words([(4 + i) * cluster | COPIED for i in range(tables)]))
        for i in range(tables):
            image.put((4 + i) * cluster, words([chance.getrandbits(27) * cluster | COPIED for _ in range(8192)]))


def large_tables_into_a_hole(path):
    """4 MiB of L2 tables of 2 MiB clusters, of compressed and plain entries that name random places in a hole of 2 TiB."""
    cluster, tables, hole = 2 * MIB, 2, 1 << 41
    chance = random.Random(6)
    with Sparse(path, hole) as image:
        image.put(0, header(21, tables << 39, l1=(3 * cluster, tables), refcounts=(cluster, 1)))
        for offset, content in refcounts_at(21, cluster, 2 * cluster):
            image.put(offset, content)
        image.put(3 * cluster, words([(4 + i) * cluster | COPIED for i in range(tables)]))
        image.put(4 * cluster, words(
            [COMPRESSED | int(chance.random() * 4) << 49 | int(chance.random() * hole) for _ in range(cluster // 8)]))
        image.put(5 * cluster, words([int(chance.random() * (hole >> 21)) << 21 | COPIED for _ in range(cluster // 8)]))


def overlapping_streams(path):
    """4 MiB of compressed entries whose streams overlap each other at random."""
    cluster, tables = 65536, 64
    chance = random.Random(3)
    with Sparse(path, 80 * cluster) as image:
        image.put(0, header(16, tables << 29, l1=(3 * cluster, tables), refcounts=(cluster, 1)))
        for offset, content in refcounts_at(16, cluster, 2 * cluster):
            image.put(offset, content)
        image.put(3 * cluster, words([(4 + i) * cluster | COPIED for i in range(tables)]))
        for i in range(tables):
            image.put((4 + i) * cluster, words(
                [COMPRESSED | chance.randrange(128) << 54 | chance.randrange(4 * cluster, 80 * cluster)
                 for _ in range(8192)]))
        image.put(72 * cluster, random.Random(4).randbytes(8 * cluster))


def one_stream_for_all(path):
    """2 MiB of compressed entries of a 2 MiB-cluster image that all name the same stream of zeros."""
    cluster = 2 * MIB
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    stream = packer.compress(bytes(cluster)) + packer.flush()
    with Sparse(path, 6 * cluster) as image:
        image.put(0, header(21, 1 << 39, l1=(3 * cluster, 1), refcounts=(cluster, 1)))
        for offset, content in refcounts_at(21, cluster, 2 * cluster):
            image.put(offset, content)
        image.put(3 * cluster, words([4 * cluster | COPIED]))
        image.put(4 * cluster, words([COMPRESSED | len(stream) // 512 << 49 | 5 * cluster] * (1 << 18)))
        image.put(5 * cluster, stream)


ALL = [long_hole, one_l2_for_all, snapshots_with_one_l1, snapshots_that_all_differ, garbage_refcount_table, tables_into_a_hole,
       large_tables_into_a_hole, overlapping_streams, one_stream_for_all]
CLUSTER_BITS = {long_hole: 9, one_l2_for_all: 21, large_tables_into_a_hole: 21, one_stream_for_all: 21}  # 16 elsewhere
