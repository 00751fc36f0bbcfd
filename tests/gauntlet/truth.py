"""What an image's layers hold, as QEMU reads them, and which of it a damaged file still holds.

A layer is the active disk (ACTIVE), an internal snapshot (its name), or a snapshot's VM state. `read` gives what a guest
would see of a layer, a digest for each guest cluster that is not zeros; `places` gives where a sound image keeps a layer's
guest clusters; `held` says which of those bytes a damaged copy of the file still has where they were.
"""
import hashlib
import os
import re
from collections import namedtuple

import beside  # noqa: F401
import programs
from layout import COMPRESSED, OFFSET, Layout

ACTIVE = ""
VM_STATE = "VM state of "
PATIENCE = 20  # seconds for one reading: only what damage makes absurdly large takes longer
UNREADABLE = re.compile(r"error while reading offset (\d+)")

# clusters: guest cluster -> digest, zeros left out; unreadable: guest clusters that give an I/O error
Content = namedtuple("Content", "clusters unreadable")
# begin, end: bytes of the file (of the data file where `outside`); entry: byte offset of the L2 entry that says so, its size
Place = namedtuple("Place", "begin end outside entry entry_size")


def digest(piece):
    return hashlib.blake2b(piece, digest_size=8).digest()


def clusters_of(path, cluster):
    """Digests of a raw file's clusters that are not zeros; holes are skipped."""
    found = {}
    with open(path, "rb") as file:
        length, at = os.fstat(file.fileno()).st_size, 0
        while at < length:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA) // cluster * cluster
                end = os.lseek(file.fileno(), at, os.SEEK_HOLE) if at else os.lseek(file.fileno(), 0, os.SEEK_HOLE)
            except OSError:
                break
            end = max(end, at + 1)
            while at < end:
                file.seek(at)
                piece = file.read(cluster)
                if piece.count(0) != len(piece):
                    found[at // cluster] = digest(piece.ljust(cluster, b"\0"))
                at += cluster
    return found


def read(folder, target, cluster, snapshot=None):
    """A layer's content as qemu-img reads it (`snapshot`: words of -l), or None where it reads nothing at all."""
    out = folder / "read.raw"
    said = programs.run(["qemu-img", "convert", "--salvage", "-O", "raw", *(["-l", snapshot] if snapshot else []), *target,
                         out.name], folder, PATIENCE)
    try:
        if said.code != 0:
            return None
        unreadable = {int(offset) // cluster for offset in UNREADABLE.findall(said.err)}
        return Content(clusters_of(out, cluster), unreadable)
    finally:
        out.unlink(missing_ok=True)


def snapshots(folder, target):
    """(id, name) of each internal snapshot that QEMU lists, or None where it doesn't open the image."""
    said = programs.run(["qemu-img", "info", "--output=json", *target], folder, PATIENCE)
    if said.code != 0:
        return None
    return [(entry["id"], entry["name"]) for entry in said.json().get("snapshots", [])]


def layers(folder, target, cluster):
    """All layers that QEMU reads: ACTIVE and the snapshots by name; two of one name are told apart by their id."""
    found = {}
    active = read(folder, target, cluster)
    if active is not None:
        found[ACTIVE] = active
    listed = snapshots(folder, target) or []
    unique = len({identity for identity, _ in listed}) == len(listed)
    for identity, name in listed:
        content = read(folder, target, cluster, f"snapshot.id={identity}" if unique else f"snapshot.name={name}")
        if content is not None:
            found[name if name not in found else f"{name}#{identity}"] = content
    return found


def mapped(layout, l1):
    """(guest cluster, L2 entry) of what an L1 table maps to bytes of its own."""
    per_table = layout.cluster // layout.entry_size
    for index, (_, value) in enumerate(l1):
        if value & OFFSET:
            for number, entry in enumerate(layout.read_l2(value & OFFSET)):
                if entry.kind in ("data", "compressed"):
                    yield index * per_table + number, entry


def stream(layout, value):
    """The bytes of the file that a compressed entry names."""
    bits = 70 - layout.cluster_bits
    begin = value & ((1 << bits) - 1)
    return begin, begin // 512 * 512 + ((value & (COMPRESSED - 1)) >> bits) * 512 + 512


def places_of(layout, l1):
    found = {}
    for guest, entry in mapped(layout, l1):
        if entry.kind == "compressed":
            begin, end = stream(layout, entry.value)
        else:
            begin = entry.value & OFFSET
            end = begin + layout.cluster
        outside = layout.has_data_file
        if not outside:
            end = min(end, len(layout.bytes))
        found[guest] = Place(begin, end, outside, entry.offset, layout.entry_size)
    return found


def snapshot_tables(layout):
    """(name, L1 entries, first guest cluster of the VM state, its clusters) of each snapshot of a sound image."""
    for entry in layout.snapshots:
        extra, id_size = layout.get(entry["extra_size"]), layout.get(entry["id_size"])
        begin = entry["l1_table_offset"].offset + 40 + extra + id_size
        name = layout.bytes[begin:begin + layout.get(entry["name_size"])].decode()
        fields = entry["l1_table_offset"].offset + 40
        large = layout.u64(fields) if extra >= 8 else 0
        disk = layout.u64(fields + 8) if extra >= 16 else layout.field("size")
        state = large or layout.get(entry["vm_state_size"])
        per_table = layout.cluster // layout.entry_size
        tables = -(-disk // (layout.cluster * per_table))
        yield (name, layout.read_l1(layout.get(entry["l1_table_offset"]), layout.get(entry["l1_size"])),
               tables * per_table, -(-state // layout.cluster))


def places(layout):
    """layer -> guest cluster -> Place, for the active disk and the disks of the snapshots; VM states under their own names."""
    found = {ACTIVE: places_of(layout, layout.l1)}
    for name, l1, first, count in snapshot_tables(layout):
        every = places_of(layout, l1)
        found[name] = {guest: place for guest, place in every.items() if guest < first}
        state = {guest: place for guest, place in every.items() if first <= guest < first + count}
        if state:
            found[VM_STATE + name] = state
    return found


def vm_states(content):
    """The VM states of a sound image, which no tool of QEMU's gives out: layer -> Content; {} where the file is not sound."""
    try:
        layout = Layout(content)
        found = {}
        for layer, where in places(layout).items():
            if layer.startswith(VM_STATE):
                pieces = {guest: content[place.begin:place.end] for guest, place in where.items()}
                found[layer] = Content({guest: digest(piece) for guest, piece in pieces.items() if any(piece)}, set())
        return found
    except (IndexError, UnicodeDecodeError, StopIteration, ValueError, MemoryError, OverflowError):
        return {}


def held(where, original, damaged):
    """Of a layer's guest clusters those whose bytes the damaged file still has where they were, and of these the ones whose
    L2 entry is still as it was."""
    bytes_kept, entry_kept = set(), set()
    for guest, place in where.items():
        if place.outside or original[place.begin:place.end] == damaged[place.begin:place.end]:
            bytes_kept.add(guest)
            entry = slice(place.entry, place.entry + place.entry_size)
            if original[entry] == damaged[entry]:
                entry_kept.add(guest)
    return bytes_kept, entry_kept
