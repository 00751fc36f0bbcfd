"""The ways to change bytes that the kinds of damage are made of. An edit is (offset, bytes), or ("length", bytes)."""
from layout import Word


def put(word, value):
    """A field's new value; what does not fit is cut."""
    return (word.offset, (value & ((1 << 8 * word.width) - 1)).to_bytes(word.width, "big"))


def put64(offset, value):
    return put(Word(offset, 8), value)


def flip(content, offset, bit):
    return (offset, bytes([content[offset] ^ 1 << bit]))


def flip_in(rng, content, offset, length):
    return flip(content, offset + rng.randrange(length), rng.randrange(8))


def put_refcount(layout, place, value):
    if place.bits >= 8:
        return put(Word(place.offset, place.bits // 8), value)
    mask = ((1 << place.bits) - 1) << place.shift
    return (place.offset, bytes([layout.bytes[place.offset] & ~mask | (value << place.shift & mask)]))


def apply(content, edits):
    """The damaged file's bytes."""
    changed = bytearray(content)
    for where, what in edits:
        if where == "length":
            changed = changed[:what] + bytes(max(0, what - len(changed)))
        else:
            changed += bytes(max(0, where + len(what) - len(changed)))
            changed[where:where + len(what)] = what
    return bytes(changed)


def store(path, content):
    """Writes a file whose zero pages are holes, like the originals."""
    page = 4096
    with open(path, "wb") as file:
        for position in range(0, len(content), page):
            piece = content[position:position + page]
            if piece.count(0) != len(piece):
                file.seek(position)
                file.write(piece)
        file.truncate(len(content))
