"""Operations on chains that are stopped, killed or refused half way: what is there reads as before, nothing is left in the way,
and the same command, run again, completes it. Also with encrypted layers."""
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from expecting import expect, verdict
from programs import COWVET, SECRET, cowvet, need, run, scratch

need("qemu-img", "qemu-io", "strace")


def must(words, folder):
    said = run(words, folder)
    assert said.code == 0, said
    return said


def chain(folder, options=()):
    """base <- mid <- top of 8 MiB, in an emptied folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    below = []
    for number, name in enumerate(("base", "mid", "top")):
        must(["qemu-img", "create", "-q", "-f", "qcow2", *options, *below, name, "8M"], folder)
        must(["qemu-io", "-f", "qcow2", "-c", f"write -q -P {number + 1} {number}M 4M", name], folder)
        below = ["-b", name, "-F", "qcow2"]


def shown(folder, name):
    must(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", name, "shown"], folder)
    content = (folder / "shown").read_bytes()
    (folder / "shown").unlink()
    return content


def new_overlay_killed(folder):
    """At each of its system calls in turn that change something."""
    killed = 0
    for call in ("pwrite64:signal=KILL:when=1", "pwrite64:signal=KILL:when=2", "fdatasync:signal=KILL:when=1",
                 "linkat:signal=KILL:when=1", "fsync:signal=KILL:when=1"):
        chain(folder)
        before, content = set(folder.iterdir()), shown(folder, "top")
        words = ["snapshot", "--external", "new", "top"]
        said = run(["strace", "-f", "-o", "/dev/null", "-E", "ASAN_OPTIONS=detect_leaks=0", "-e", f"inject={call}", COWVET, *words],
                   folder)
        killed += said.code != 0
        left = {path.name for path in set(folder.iterdir()) - before}
        expect(left <= {"new"}, f"killed at {call}: {left} is left behind", said)
        if "new" in left:
            expect(call.startswith("fsync"), f"killed at {call}: has its name too early", said)
        elif cowvet(folder, *words).code != 0 or not (folder / "new").exists():
            expect(False, f"killed at {call}: can't be made afterwards", said)
            continue
        expect(shown(folder, "new") == content, f"killed at {call}: reads differently", said)
        expect(cowvet(folder, "check", "new").code == 0, f"killed at {call}: not sound", said)
    expect(killed >= 4, f"only {killed} were killed")


def stopped(folder):
    """Slowed by -r, then asked to end."""
    for words, changed in ((["commit", "-d"], "mid"), (["commit"], "mid"), (["pull"], "top"), (["pull", "--base", "base"], "top")):
        for number in (signal.SIGINT, signal.SIGTERM):
            chain(folder)
            content = shown(folder, "top")
            size = (folder / changed).stat().st_size
            process = subprocess.Popen([COWVET, *words, "-r", "400k", "top"], cwd=folder, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            time.sleep(0.7)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
            story = f"{words} stopped by {number}: exit {process.returncode}\n{out}{err}"
            expect(process.returncode == 1 and "stopped: the chain reads as before" in err, story)
            expect(shown(folder, "top") == content, f"{story}reads differently")
            for name in ("base", "mid", "top"):
                expect(cowvet(folder, "check", name).code == 0, f"{story}{name} is not sound")
            expect((folder / changed).stat().st_size >= size, f"{story}{changed} has shrunk")
            said = cowvet(folder, *words, "top")
            expect(said.code == 0 and shown(folder, "top") == content, f"{story}not completed", said)
            if words[0] == "commit":
                expect(shown(folder, "mid") == content, f"{story}mid is not what top was", said)
            else:
                info = must(["qemu-img", "info", "--output=json", "top"], folder).json()
                expect(info.get("backing-filename") == ("base" if "--base" in words else None), f"{story}other chain", said)


def encrypted(folder):
    """LUKS over LUKS: commit and pull beside qemu-img, by the content that the top shows."""
    luks = ["-o", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10"]

    def options(name, below):
        text = f"driver=qcow2,encrypt.key-secret=key,file.filename={name}"
        return text + f",backing.driver=qcow2,backing.encrypt.key-secret=key,backing.file.filename={below}" if below else text

    def content(name, below):
        must(["qemu-img", "convert", *SECRET, "--image-opts", options(name, below), "-O", "raw", "shown"], folder)
        return (folder / "shown").read_bytes()

    for words in (["commit"], ["commit", "-d"], ["pull"]):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        must(["qemu-img", "create", "-q", *SECRET, "-f", "qcow2", *luks, "base", "4M"], folder)
        must(["qemu-img", "create", "-q", *SECRET, "-f", "qcow2", *luks, "-b", "base", "-F", "qcow2", "-u", "top", "4M"], folder)
        must(["qemu-io", *SECRET, "--image-opts", "-c", "write -q -P 1 0 2M", options("base", None)], folder)
        must(["qemu-io", *SECRET, "--image-opts", "-c", "write -q -P 2 1M 2000k", "-c", "write -q -z 512k 64k",
              options("top", "base")], folder)
        before = content("top", "base")
        said = cowvet(folder, words[0], *SECRET, *words[1:], "--image-opts", "driver=qcow2,encrypt.key-secret=key,file.filename=top")
        expect(said.code == 0, "encrypted layers", said)
        expect(content("top", None if words[0] == "pull" else "base") == before, "encrypted layers: the top reads differently", said)
        if words[0] == "commit":
            expect(content("base", None) == before, "encrypted layers: the base is not what the top was", said)
        for name in ("base", "top"):
            expect(cowvet(folder, "check", name).code == 0, f"encrypted layers: {name} is not sound", said)


def name_without_room(folder):
    """A name that the header has no room for: refused before anything is copied."""
    chain(folder, ("-o", "cluster_size=512"))
    place = "x" * 200 + "/" + "x" * 240
    (folder / place).parent.mkdir()
    for name in ("base", "mid"):
        shutil.copy(folder / name, folder / (place + name))
    shutil.copy(folder / "base", folder / "other")
    for words, changed in ((["rebase", "-b", place + "base", "-F", "qcow2", "top"], "top"),
                           (["rebase", "-u", "-b", place + "base", "-F", "qcow2", "mid"], "mid"),
                           (["pull", "--base", "base", "--backing-name", "./" * 200 + "base", "top"], "top"),
                           (["commit", "--top", "mid", "--backing-name", "./" * 200 + "base", "top"], "base")):
        before = (folder / changed).read_bytes()
        said = cowvet(folder, *words)
        expect(said.code == 1 and "has no room" in said.err, "a name that does not fit", said)
        expect((folder / changed).read_bytes() == before, f"{changed} was written", said)


def layer_deleted_again(folder):
    for into in ("base", "overlay"):
        chain(folder)
        content = shown(folder, "top")
        words = ["snapshot", "--delete-layer", "mid", "--into", into, "--remove", "top"]
        said = must([COWVET, *words], folder)
        expect("mid was removed" in said.out and not (folder / "mid").exists(), "a deleted layer", said)
        said = cowvet(folder, *words)
        expect(said.code == 0 and "mid is deleted already" in said.out, "deleted again", said)
        expect(shown(folder, "top") == content, "reads differently", said)
        said = cowvet(folder, *[word for word in words if word != "--remove"])
        expect(said.code == 1 and "no layer" in said.err, "a layer that is not there, and not to be removed", said)
        # From elsewhere, by the name that the overlay stores: its file is removed, and no other.
        chain(folder / "inner" if folder.exists() else folder)
        (folder / "mid").write_text("no image")
        said = cowvet(folder, *words[:-1], "inner/top")
        expect(said.code == 0 and not (folder / "inner" / "mid").exists() and (folder / "mid").exists(), "another file is removed", said)


with scratch() as name:
    for part in (new_overlay_killed, stopped, encrypted, name_without_room, layer_deleted_again):
        part(Path(name, "chain"))
sys.exit(verdict(least=50))
