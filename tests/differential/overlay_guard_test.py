"""Images that overlays stand on: cowvet's verbs leave their content alone unless --force says otherwise, and name the
overlays; the same calls in qemu-img's place go through, and what changes no content is always done."""
import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

from expecting import expect, verdict
from programs import COWVET, cowvet, need, run, scratch

need("qemu-img", "strace")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def prepare(folder):
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "elsewhere").mkdir()
    for words in (["create", "-q", "-f", "qcow2", "base", "4M"], ["snapshot", "-c", "s", "base"],
                  ["create", "-q", "-f", "raw", "source", "4M"],
                  ["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "over"],
                  ["create", "-q", "-f", "qcow2", "-b", str(folder / "base"), "-F", "qcow2", "elsewhere/far"]):
        said = run(["qemu-img", *words], folder)
        assert said.code == 0, said
    os.mkfifo(folder / "pipe")  # opened by nobody, or the scan would wait for ever
    (folder / "nowhere").symlink_to("missing")


CHANGES = [["resize", "base", "5M"], ["amend", "-o", "size=5M", "base"], ["snapshot", "-a", "s", "base"],
           ["io", "-c", "write 0 64k", "base"], ["convert", "-n", "-O", "qcow2", "source", "base"],
           ["convert", "-O", "qcow2", "source", "base"], ["dd", "-O", "qcow2", "if=source", "of=base"],
           ["bench", "-w", "-c", "1", "base"], ["create", "-f", "qcow2", "base", "1M"],
           ["resize", "--image-opts", "driver=qcow2,file.filename=base", "5M"]]
HARMLESS = [["snapshot", "-c", "t", "base"], ["snapshot", "-d", "s", "base"], ["bitmap", "--add", "base", "b"],
            ["amend", "-o", "lazy_refcounts=on", "base"], ["io", "-c", "read 0 64k", "base"], ["io", "-s", "-c", "write 0 64k", "base"],
            ["resize", "over", "5M"], ["io", "-c", "write 0 64k", "over"]]

with scratch() as name:
    folder = Path(name)
    links = folder.parent / (folder.name + "-links")
    links.mkdir()
    try:
        (links / "qemu-img").symlink_to(Path(COWVET).resolve())
        for words in CHANGES:
            prepare(folder)
            before = digest(folder / "base")
            said = cowvet(folder, *words)
            expect(said.code == 1 and "'over'" in said.err and "far" not in said.err, "not refused, or overlay not named", said)
            expect(digest(folder / "base") == before, "refused, and changed all the same", said)
            said = cowvet(folder, words[0], "--search", "elsewhere", *words[1:])
            expect(said.code == 1 and "'over'" in said.err and "'elsewhere/far'" in said.err, "the folder was not searched", said)
            said = cowvet(folder, words[0], "--force", *words[1:])
            expect(said.code == 0, "refused in spite of --force", said)
            if words[0] != "io":
                prepare(folder)
                said = run([links / "qemu-img", *words], folder)
                expect(said.code == 0, "refused in qemu-img's place", said)
        for words in HARMLESS:
            prepare(folder)
            said = cowvet(folder, *words)
            expect(said.code == 0, "refused without need", said)
        # Names of all kinds lead to the file: links, hard links, detours, protocols, json:.
        for base in ("./base", "link", "hard", "elsewhere/../base", "file:base", 'json:{"file.filename":"base"}',
                     'json:{"driver":"qcow2","file":{"driver":"file","filename":"base"}}'):
            prepare(folder)
            (folder / "link").symlink_to("base")
            os.link(folder / "base", folder / "hard")
            said = run(["qemu-img", "rebase", "-u", "-b", base, "-F", "qcow2", "over"], folder)
            assert said.code == 0, said
            said = cowvet(folder, "resize", "base", "5M")
            expect(said.code == 1 and "'over'" in said.err, f"an overlay on {base} was not found", said)
        # A folder that can't be looked through is told, and keeps nobody from his image; one that was asked for does.
        prepare(folder)
        closed = ["strace", "-f", "-o", "/dev/null", "-E", "ASAN_OPTIONS=detect_leaks=0", "-e", "inject=getdents64:error=EACCES", COWVET]
        said = run([*closed, "resize", "base", "5M"], folder)
        expect(said.code == 0 and "base: warning: whether overlays stand on it is not known" in said.err, "a closed folder", said)
        said = run([*closed, "resize", "--search", "elsewhere", "base", "6M"], folder)
        expect(said.code == 1 and "'elsewhere'" in said.err, "a closed folder that was asked for", said)
        said = cowvet(folder, "create", "-f", "qcow2", "nowhere-at-all/new", "1M")
        expect(said.code == 1 and "warning" not in said.err, "no folder at all", said)
        # A layer that was merged stands on the base still, and keeps it from the next merge: the refusal says why, and what to do.
        prepare(folder)
        for name, below in ("s1", "base"), ("s2", "s1"), ("active", "s2"):
            said = run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", name], folder)
            assert said.code == 0, said
            run(["qemu-io", "-c", "write 0 64k", name], folder)
        (folder / "over").unlink()
        time.sleep(0.02)  # the times of files go by the clock's ticks
        said = cowvet(folder, "commit", "--base", "base", "--top", "s1", "active")
        expect(said.code == 0 and "s1 can't be used any more" in said.out, "the first merge", said)
        again = ["commit", "--base", "base", "--top", "s2", "active"]
        said = cowvet(folder, *again)
        expect(said.code == 1 and "'s1'" in said.err and "('s1' last written before" in said.err and "can be removed" in said.err,
               "a merged layer's reason", said)
        (folder / "s1").unlink()
        said = cowvet(folder, *again)
        expect(said.code == 0, "the second merge", said)
        # A thousand files beside the image cost a few milliseconds.
        prepare(folder)
        (folder / "over").unlink()
        for i in range(1000):
            shutil.copy(folder / "elsewhere/far", folder / f"copy-{i}")
        begin = time.monotonic()
        said = cowvet(folder, "resize", "base", "5M")
        expect(said.code == 1 and "and 992 more" in said.err, "a thousand overlays", said)
        took = time.monotonic() - begin
        print(f"a folder of 1000 overlays: {1000 * took:.0f} ms")
        expect(took < 1, f"a folder of 1000 overlays took {took:.1f} s")
    finally:
        shutil.rmtree(links)

sys.exit(verdict())
