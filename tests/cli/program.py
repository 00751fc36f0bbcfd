"""What the tests of the command line share: a scratch folder with images, and calls of the program."""
import os
import struct
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

COWVET = os.environ["COWVET"]
complaints, looked_at = [], 0


class Said:
    def __init__(self, words, done):
        self.words, self.code = words, done.returncode
        self.out, self.err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def __str__(self):
        return f"cowvet {' '.join(map(str, self.words))}: exit {self.code}\n{self.out[-1500:]}{self.err[-1500:]}"


def cowvet(*words, folder=None, env=None, **more):
    done = subprocess.run([COWVET, *words], cwd=folder, capture_output=True, timeout=60,
                          env=None if env is None else {**os.environ, **env}, **more)
    return Said(words, done)


def expect(condition, what, said=""):
    global looked_at
    looked_at += 1
    if not condition:
        complaints.append(f"{what}\n{said}")


def expect_code(code, *words, **more):
    """A call that ends with the code; what it said."""
    said = cowvet(*words, **more)
    expect(said.code == code, f"exit code {said.code}, not {code}", said)
    return said


def expect_error(*words, says, code=1, **more):
    """A call that fails with one line on stderr, and nothing on stdout."""
    said = expect_code(code, *words, **more)
    expect(not said.out, "prints to stdout", said)
    expect(said.err.startswith("cowvet: ") and says in said.err, f"does not say: {says}", said)
    return said


def image(path, damage=(), size=1 << 20, writes=((0, 65536),)):
    """A qcow2 image by qemu-img, with 64-bit words overwritten: (offset, value)."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(size)], check=True)
    for offset, length in writes:
        subprocess.run(["qemu-io", "-c", f"write -q -P 7 {offset} {length}", path], check=True, capture_output=True)
    with open(path, "r+b") as file:
        for offset, value in damage:
            file.seek(offset)
            file.write(struct.pack(">Q", value))
    return path


def make(path, recipe):
    """An image by the corpus tool, from a recipe (docs/recipes.md)."""
    source = path.with_suffix(".recipe")
    source.write_text(recipe)
    done = subprocess.run([os.environ["COWVET_CORPUS"], "make", source, path], capture_output=True, text=True)
    source.unlink()
    if done.returncode:
        sys.exit(f"{recipe}\n{done.stderr}")


def word(path, offset):
    with open(path, "rb") as file:
        file.seek(offset)
        return struct.unpack(">Q", file.read(8))[0]


def l1_offset(path):
    return word(path, 40)


def samples(folder):
    """good.qcow2, leaky.qcow2 (an unmapped cluster), torn.qcow2 (an L1 entry past the end of the file)."""
    folder = Path(folder)
    good = image(folder / "good.qcow2")
    table = word(good, l1_offset(good)) & 0x00fffffffffffe00
    image(folder / "leaky.qcow2", [(table + 8, 0)], writes=((0, 131072),))
    image(folder / "torn.qcow2", [(l1_offset(good), (1 << 63) | (1 << 40))])
    (folder / "disk.raw").write_bytes(b"\x01" * 4096)
    (folder / "empty").write_bytes(b"")
    return folder


def run_parts(folder, *parts):
    """Runs each part of a test; one that stumbles over an answer is a complaint, and the next one runs."""
    for part in parts:
        try:
            part(folder)
        except Exception:  # whatever an unexpected answer leads to
            complaints.append(f"{part.__name__}: {traceback.format_exc()}")


def scratch():
    return tempfile.TemporaryDirectory(prefix="cowvet-")


def finish():
    for complaint in complaints:
        print(complaint)
    print(f"{len(complaints)} complaints, {looked_at} looked at")
    sys.exit(1 if complaints or not looked_at else 0)
