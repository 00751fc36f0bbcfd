"""Seeds for the fuzz targets: made from the images and recipes of corpus/ when a test runs, and what earlier searches gained."""
import hashlib
import os
import random
import struct
import subprocess
import tarfile
import zlib
from pathlib import Path

LONGEST = 65536  # bytes of an input
BLOCK = 512      # a block of one byte all over, zeros or a guest's pattern, is left out of a description
MAGIC = b"QFI\xfb"
TARGETS = ("records", "l2", "codecs", "recipe", "check", "repair", "salvage", "survey", "operations", "libvirt")
OF_IMAGES = ("check", "repair", "salvage")


def described(path):
    """An image as the list of pieces that fuzz/sparse_input.hpp describes, or nothing when that becomes too long, even if of
    what is encrypted or compressed only the beginnings are kept."""
    return pieces(path, thin=False) or pieces(path, thin=True)


def noisy(block):
    return len(set(block)) > BLOCK // 4


def pieces(path, thin):
    length = path.stat().st_size
    if length >= 1 << 48:
        return None
    found = []  # [offset, bytes]
    with open(path, "rb") as file:
        for begin, end in data_runs(file, length):
            left_out = False
            for offset in range(begin // BLOCK * BLOCK, end, BLOCK):
                file.seek(offset)
                block = file.read(BLOCK)
                before, left_out = left_out, thin and noisy(block)
                if not block.strip(block[:1]) or (before and left_out):
                    continue
                if found and found[-1][0] + len(found[-1][1]) == offset and len(found[-1][1]) + BLOCK < 65536:
                    found[-1][1] += block
                else:
                    found.append([offset, bytearray(block)])
                if sum(8 + len(content) for _, content in found) > LONGEST - 8:
                    return None
    listed = b"".join(struct.pack(">Q", offset << 16 | len(content)) + content for offset, content in found)
    return listed + struct.pack(">Q", length << 16)


def data_runs(file, length):
    at = 0
    while at < length:
        try:
            begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
        except OSError:  # only a hole is left
            return
        at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
        yield begin, at


def l2_input(path):
    """The first L2 table of an image, as fuzz/l2_fuzzer.cpp reads it; nothing when the image's header leads to none."""
    with open(path, "rb") as file:
        header = file.read(104).ljust(104, b"\0")
        version, bits = struct.unpack_from(">I", header, 4)[0], struct.unpack_from(">I", header, 20)[0]
        l1 = struct.unpack_from(">Q", header, 40)[0]
        if not header.startswith(MAGIC) or not 9 <= bits <= 15 or l1 >= path.stat().st_size:
            return None
        file.seek(l1)
        l2 = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))[0] & 0x00FFFFFFFFFFFE00
        if l2 == 0 or l2 >= path.stat().st_size:
            return None
        file.seek(l2)
        extended = version >= 3 and header[79] & 16 != 0
        flags = (1 if extended else 0) | (2 if version == 2 else 0)
        return struct.pack(">BBQ", bits - 9, flags, path.stat().st_size) + file.read(1 << bits)


def streams(path):
    """Places of an image that open like a zstd stream, as fuzz/codecs_fuzzer.cpp reads them."""
    with open(path, "rb") as file:
        for begin, end in data_runs(file, path.stat().st_size):
            file.seek(begin)
            data = file.read(min(end - begin, 1 << 20))
            at = data.find(b"\x28\xb5\x2f\xfd")
            if at >= 0:
                yield bytes([15]) + data[at:at + 4096]


def keep(folder, content):
    (folder / hashlib.sha1(content).hexdigest()[:16]).write_bytes(content)


def keep_image(targets, content):
    for name in OF_IMAGES:
        keep(targets[name], content)
    return 1


def make(corpus_tool, source, folder):
    """Fills folder/TARGET/ for every target; returns how many images became seeds of the whole check."""
    targets = {name: folder / name for name in TARGETS}
    for place in targets.values():
        place.mkdir(parents=True, exist_ok=True)
    subprocess.run([corpus_tool, "build", folder / "images"], check=True, stdout=subprocess.DEVNULL)
    used = 0
    for image in sorted((folder / "images").rglob("*.qcow2")):
        content = image.read_bytes() if image.stat().st_size <= LONGEST else None
        if content and content.startswith(MAGIC):
            used += keep_image(targets, content)
        elif (description := described(image)) is not None:
            used += keep_image(targets, description)
        with open(image, "rb") as file:
            keep(targets["records"], file.read(1024))
        if (table := l2_input(image)) is not None:
            keep(targets["l2"], table)
        for stream in streams(image):
            keep(targets["codecs"], stream)
    for gained in sorted((source / "fuzz" / "corpus").glob("*.tar.xz")):
        with tarfile.open(gained) as archive:
            for member in archive:
                keep(targets[gained.name.removesuffix(".tar.xz")], archive.extractfile(member).read())
    for bits, content in ((12, b"\1" * 512), (15, bytes(range(256)) * 16)):
        packer = zlib.compressobj(9, zlib.DEFLATED, -bits)
        keep(targets["codecs"], bytes([len(content).bit_length() - 10 << 1]) + packer.compress(content) + packer.flush())
    for recipe in sorted((source / "corpus").rglob("*.recipe")):
        keep(targets["recipe"], recipe.read_bytes())
    for folder_of_xml in sorted({xml.parent for xml in (source / "tests" / "cli" / "libvirt").rglob("*.xml")}):
        keep(targets["libvirt"], b"\0".join(xml.read_bytes() for xml in sorted(folder_of_xml.glob("*.xml")))[:LONGEST])
    for one in sorted((source / "corpus" / "libvirt").rglob("*.chain")):
        parts = one.read_bytes().split(b"\ntext ")[1:]
        keep(targets["libvirt"], b"\0".join(part.partition(b"\n")[2].partition(b"\nfile ")[0] for part in parts))
    chance = random.Random(1)
    for length in (20, 60, 150, 400):
        for _ in range(20):
            keep(targets["operations"], chance.randbytes(length))
    return used
