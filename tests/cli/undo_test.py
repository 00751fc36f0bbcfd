"""Undo from outside: an image repaired and taken back, both killed at each of their writes, is the same to the byte.

strace kills the program when it enters the n-th system call of a kind that writes; n goes up until nothing is killed.
"""
import hashlib
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

from jsonschema import Draft202012Validator

from program import COWVET, cowvet, expect, expect_code, expect_error, finish, image, l1_offset, run_parts, scratch, word

WRITES = "pwrite64", "ftruncate", "fallocate", "fdatasync", "fsync", "linkat"
UNDO = "hurt.qcow2.cowvet-undo"


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def hurt(path):
    """An image whose repair writes in several places and makes the file longer: no refcount block, a wrong COPIED flag."""
    image(path, writes=((0, 65536), (131072, 65536)))
    table = word(path, l1_offset(path)) & 0x00fffffffffffe00
    entry = word(path, table)
    with open(path, "r+b") as file:
        for offset, value in (word(path, 48), 0), (table, entry & ~(1 << 63)):
            file.seek(offset)
            file.write(struct.pack(">Q", value))
    return path


def fresh(folder):
    """hurt.qcow2 as it was, and no undo file; its digest."""
    for old in folder.glob("hurt.qcow2*"):
        old.unlink()
    shutil.copy(folder / "original", folder / "hurt.qcow2")
    return digest(folder / "hurt.qcow2")


def each_kill(folder, prepare, *words, writes=WRITES):
    """Kills the call, prepared anew, at each of its writes in turn. (The leak sanitizer does not work under strace.)"""
    for write in writes:
        for number in range(1, 100):
            prepare()
            done = subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", f"trace={write}", "-e",
                                   f"inject={write}:signal=KILL:when={number}", COWVET, *words], cwd=folder, capture_output=True,
                                  env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}, timeout=60)
            if done.returncode == 0:
                break
            expect(done.returncode in (-9, 137), f"{words}: exit {done.returncode}", done.stderr.decode()[-500:])
            yield f"killed at {write} {number}"


def restores(folder):
    before = fresh(folder)
    expect_code(0, "repair", "--level", "leaks", "hurt.qcow2", folder=folder)
    after = digest(folder / "hurt.qcow2")
    expect(after != before, "the repair changed nothing")
    expect((folder / UNDO).read_bytes().startswith(b"This is an undo file of cowvet."), "it does not say what it is")
    listed = json.loads(expect_code(0, "undo", "--list", "--output", "json", UNDO, folder=folder).out)
    expect(listed["state"] == "complete" and listed["image"] == "hurt.qcow2" and listed["ranges"], "what is listed", listed)
    expect(listed["ranges"][-1]["before"] == "nothing" and listed["length-after"] > listed["length-before"], "it grew", listed)
    expect("Held before" in expect_code(0, "undo", "--list", UNDO, folder=folder).out, "a list for people")
    expect(digest(folder / "hurt.qcow2") == after, "listing changes nothing")
    restored = json.loads(expect_code(0, "undo", "--output", "json", UNDO, folder=folder).out)
    expect(restored["result"] == "restored" and digest(folder / "hurt.qcow2") == before, "not restored", restored)
    again = json.loads(expect_code(0, "undo", "--output", "json", UNDO, folder=folder).out)
    expect(again["result"] == "nothing-to-do" and again["state"] == "undone", "a second time", again)
    validator = Draft202012Validator(json.loads(expect_code(0, "schema", "undo").out))
    for document in listed, restored, again:
        for error in validator.iter_errors(document):
            expect(False, f"{error.json_path}: {error.message}", document)
    said = expect_code(0, "undo", UNDO, folder=folder)
    expect("Nothing to do" in said.out, "says nothing of it", said)
    expect(not expect_code(0, "undo", "-q", UNDO, folder=folder).out, "is not quiet")
    # The next repair has a file of its own.
    expect_code(0, "repair", "--level", "leaks", "hurt.qcow2", folder=folder)
    expect((folder / (UNDO + ".2")).exists(), "no second undo file")
    expect_error("undo", "hurt.qcow2", says=f"its undo file is 'hurt.qcow2.cowvet-undo.2'", folder=folder)
    expect_code(0, "undo", UNDO + ".2", folder=folder)
    expect(digest(folder / "hurt.qcow2") == before, "not restored from the second one")


def refuses(folder):
    fresh(folder)
    expect_code(0, "repair", "--level", "leaks", "hurt.qcow2", folder=folder)
    after = digest(folder / "hurt.qcow2")
    moved = folder / "moved"
    moved.mkdir()
    # Moved without its undo file, and copied.
    shutil.copy(folder / "hurt.qcow2", moved / "copy.qcow2")
    os.utime(moved / "copy.qcow2")
    os.rename(folder / "hurt.qcow2", moved / "hurt.qcow2")
    expect_error("undo", UNDO, says="hurt.qcow2: no such file", folder=folder)
    expect_error("undo", "--image", "moved/copy.qcow2", UNDO, says="use --force if only the time differs", folder=folder)
    expect(digest(moved / "copy.qcow2") == after, "a refused image was changed")
    shutil.copy(folder / UNDO, moved / "undo-of-copy")
    expect_code(0, "undo", "--force", "--image", "moved/copy.qcow2", "moved/undo-of-copy", folder=folder)
    expect(digest(moved / "copy.qcow2") == digest(folder / "original"), "the copy is not restored")
    os.rename(moved / "hurt.qcow2", folder / "hurt.qcow2")
    # In use, written to, damaged.
    user = subprocess.Popen(["qemu-io", "hurt.qcow2"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    user.stdin.write(b"read 0 512\n")
    user.stdin.flush()
    user.stdout.readline()
    expect_error("undo", UNDO, says="hurt.qcow2: ", folder=folder)
    user.communicate()
    good = (folder / UNDO).read_bytes()
    (folder / UNDO).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    expect_error("undo", UNDO, says="damaged", folder=folder)
    expect_error("undo", "original", says="no undo file", folder=folder)
    expect_error("undo", "moved", says="moved: is a directory: name the undo file in it", folder=folder)
    (folder / UNDO).write_bytes(good)
    subprocess.run(["qemu-io", "-c", "write -q -P 9 500k 64k", "hurt.qcow2"], cwd=folder, check=True)
    written = digest(folder / "hurt.qcow2")
    expect_error("undo", "--force", UNDO, says="nothing was written", folder=folder)
    expect(digest(folder / "hurt.qcow2") == written, "a refused image was changed")


def survives_kills_of_the_repair(folder):
    before = digest(folder / "original")
    kills = 0
    for kill in each_kill(folder, lambda: fresh(folder), "repair", "--level", "leaks", "hurt.qcow2"):
        kills += 1
        if kills % 2:  # the user takes it back; else the next repair does
            if (folder / UNDO).exists():
                expect_code(0, "undo", UNDO, folder=folder)
            expect(digest(folder / "hurt.qcow2") == before, f"{kill}: not restored")
        expect_code(0, "repair", "--level", "leaks", "hurt.qcow2", folder=folder)
        expect_code(0, "check", "hurt.qcow2", folder=folder)
        newest = sorted(folder.glob(UNDO + "*"), key=lambda file: (len(file.name), file.name))[-1]
        expect_code(0, "undo", newest.name, folder=folder)
        expect(digest(folder / "hurt.qcow2") == before, f"{kill}: not restored after another repair")
    expect(kills > 12, f"only {kills} kills")


def survives_kills_with_the_undo_file_elsewhere(folder):
    """The next repair finds what was interrupted, although nobody names the undo file again."""
    before = digest(folder / "original")
    kept = folder / "kept"

    def prepare():
        fresh(folder)
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()

    taken_back = 0
    for kill in each_kill(folder, prepare, "repair", "--level", "leaks", "--undo", "kept/undo", "hurt.qcow2",
                          writes=("pwrite64", "linkat", "symlink", "unlink")):
        done = expect_code(0, "repair", "--level", "leaks", "hurt.qcow2", folder=folder)
        taken_back += "was taken back" in done.err
        expect_code(0, "check", "hurt.qcow2", folder=folder)
        if not (folder / UNDO).exists():
            continue  # the repair was done already but for its last flush
        newest = sorted(folder.glob(UNDO + "*"), key=lambda file: (len(file.name), file.name))[-1]
        expect_code(0, "undo", newest.name, folder=folder)
        expect(digest(folder / "hurt.qcow2") == before, f"{kill}: not restored after another repair")
    expect(taken_back > 3, f"only {taken_back} repairs were found interrupted")
    prepare()
    expect_code(0, "repair", "--level", "leaks", "--undo", "kept/undo", "hurt.qcow2", folder=folder)
    expect(not os.path.lexists(folder / UNDO), "a link is left of a repair that was done")


def a_change_that_was_made_again_is_told(folder):
    """The first undo file of an image that was repaired again: its change was taken back, and the image is not as then."""
    fresh(folder)
    for words in (["repair", "--level", "leaks", "hurt.qcow2"], ["undo", UNDO], ["repair", "--level", "leaks", "hurt.qcow2"]):
        expect_code(0, *words, folder=folder)
    expect_error("undo", UNDO, says=f"its newest undo file is '{UNDO}.2'", folder=folder)


def survives_kills_of_the_undo(folder):
    before = fresh(folder)
    expect_code(0, "repair", "--level", "leaks", "hurt.qcow2", folder=folder)
    kept = {name: (folder / name).read_bytes() for name in ("hurt.qcow2", UNDO)}
    times = os.stat(folder / "hurt.qcow2")

    def prepare():
        for name, content in kept.items():
            (folder / name).write_bytes(content)
        os.utime(folder / "hurt.qcow2", ns=(times.st_atime_ns, times.st_mtime_ns))

    kills = 0
    for kill in each_kill(folder, prepare, "undo", UNDO):
        kills += 1
        expect_code(0, "undo", UNDO, folder=folder)
        expect(digest(folder / "hurt.qcow2") == before, f"{kill}: not restored")
    expect(kills > 8, f"only {kills} kills")


with scratch() as name:
    hurt(Path(name) / "original")
    run_parts(Path(name), restores, refuses, a_change_that_was_made_again_is_told, survives_kills_of_the_repair,
              survives_kills_with_the_undo_file_elsewhere, survives_kills_of_the_undo)
finish()
