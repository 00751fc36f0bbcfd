"""`convert`, `dd` and `measure` of images beside qemu-img: the same command with both programs, each in a folder of its own.

Same exit code; where both succeed each other's output is read: same guest bytes as qemu-img's, nothing found by either check,
no more space taken but for a margin, and no file left where the command failed.
"""
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from programs import COWVET, LONG, SECRET, cowvet, need, run, scratch

need("qemu-img", "qemu-io")
complaints = []
counted = {"convert": 0, "refused": 0, "dd": 0, "measure": 0}
MARGIN = 96 << 10  # bytes on disk: refcount structures and tables lie elsewhere in other programs' files


def make(folder, *words):
    said = run(words, folder)
    assert said.code == 0, said


def sources(folder):
    """Images of many kinds, made by QEMU's programs."""
    make(folder, "qemu-img", "create", "-q", "-f", "raw", "plain.raw", "5000192")
    make(folder, "qemu-io", "-f", "raw", "-c", "write -q -P 5 0 100k", "-c", "write -q -P 6 1M 65k", "-c", "write -q -P 7 4870k 5k",
         "-c", "write -q -P 9 3M 300", "plain.raw")
    noise = bytes((i * 2654435761 >> 13) & 0xff for i in range(150000)) + b"all work and no play " * 20000
    with open(Path(folder, "plain.raw"), "r+b") as file:
        file.seek(2 << 20)
        file.write(noise)
    with open(Path(folder, "odd.raw"), "wb") as file:
        file.write(noise[:70700])
    for name, options in {"q.qcow2": [], "small.qcow2": ["cluster_size=512"], "ext.qcow2": ["extended_l2=on,cluster_size=64k"],
                          "old.qcow2": ["compat=0.10"]}.items():
        make(folder, "qemu-img", "convert", "-O", "qcow2", *(["-o", *options] if options else []), "plain.raw", name)
    for codec in ("zlib", "zstd"):
        make(folder, "qemu-img", "convert", "-c", "-O", "qcow2", "-o", f"compression_type={codec}", "plain.raw", f"{codec}.qcow2")
    make(folder, "qemu-img", "convert", *SECRET, "-O", "qcow2", "-o", "encrypt.format=aes,encrypt.key-secret=key", "plain.raw",
         "aes.qcow2")
    make(folder, "qemu-img", "convert", "-O", "qcow2", "-o", "data_file=external.data", "plain.raw", "external.qcow2")
    make(folder, "qemu-img", "create", "-q", "-f", "qcow2", "base.qcow2", "4M")
    make(folder, "qemu-io", "-c", "write -q -P 7 0 200k", "-c", "write -q -P 8 2M 64k", "base.qcow2")
    make(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "middle.qcow2", "3M")
    make(folder, "qemu-io", "-c", "write -q -P 9 64k 64k", "-c", "write -q -z 2M 32k", "middle.qcow2")
    make(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", "top.qcow2", "5M")
    make(folder, "qemu-io", "-c", "write -q -P 10 140k 10k", "-c", "write -q -P 11 4M 5k", "-c", "write -q -z 10k 20k", "top.qcow2")
    make(folder, "qemu-img", "create", "-q", "-f", "qcow2", "snap.qcow2", "2M")
    for command in (["qemu-io", "-c", "write -q -P 1 0 500k"], ["qemu-img", "snapshot", "-c", "first"],
                    ["qemu-io", "-c", "write -q -P 2 100k 500k"], ["qemu-img", "snapshot", "-c", "second"],
                    ["qemu-io", "-c", "write -q -P 3 0 50k"],
                    ["qemu-img", "bitmap", "--add", "-g", "64k", "snap.qcow2", "b0"],
                    ["qemu-img", "bitmap", "--add", "--disable", "snap.qcow2", "off"],
                    ["qemu-io", "-c", "write -q -P 4 1M 70k"]):
        make(folder, *command, *([] if "bitmap" in command else ["snap.qcow2"]))
    shutil.copy(Path(folder, "snap.qcow2"), Path(folder, "broken.qcow2"))
    run(["qemu-io", "-c", "write -q 0 64k", "-c", "abort", "broken.qcow2"], folder)
    make(folder, "qemu-img", "create", "-q", "-f", "qcow2", "full.qcow2", "8M")
    make(folder, "qemu-io", "-c", "write -q -P 77 0 8M", "full.qcow2")
    make(folder, "qemu-img", "create", "-q", "-f", "raw", "full.raw", "8M")
    make(folder, "qemu-io", "-f", "raw", "-c", "write -q -P 77 0 8M", "full.raw")
    make(folder, "qemu-img", "create", "-q", "-f", "raw", "tiny.raw", "1M")
    make(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "over.qcow2", "5M")


def blocks(path):
    return os.stat(path).st_blocks * 512 if path.exists() else 0


def opened(file, words):
    """How QEMU's programs are told of an image that was made with these words."""
    if "encrypt.format" in " ".join(words):
        return [*SECRET, "--image-opts", f"driver=qcow2,file.filename={file},encrypt.key-secret=key"]
    return ["-f", "qcow2" if "qcow2" in words[words.index("-O") + 1:words.index("-O") + 2] else "raw", file]


def flat(folder, file, words, to):
    """The guest's bytes as QEMU reads them."""
    said = run(["qemu-img", "convert", *opened(file, words), "-O", "raw", to], folder)
    return (said, Path(folder, to).read_bytes() if said.code == 0 else None)


def both(base, *words):
    """Runs a command with both programs; the folders are as they were made, but for `out`."""
    folders = [Path(base, name) for name in ("qemu", "ours")]
    for folder in folders:
        for left in folder.glob("out*"):
            left.unlink()
    return folders, run(["qemu-img", *words], folders[0]), run([COWVET, *words], folders[1])


def convert(base, *words, into="out", space=True, cares="", verb="convert"):
    """`cares`: the exit code that is right where qemu-img's is not."""
    command = [verb, *words, *([] if verb == "dd" else [into])]
    folders, theirs, ours = both(base, *command)
    expected = cares if cares != "" else theirs.code
    if ours.code != expected:
        complaints.append(f"exit codes differ\n{theirs}{ours}")
        return
    if ours.code != 0:
        counted["refused"] += 1
        if into == "out" and Path(folders[1], into).exists():
            complaints.append(f"a failure left its output\n{ours}")
        if not ours.err.startswith("cowvet: "):
            complaints.append(f"no reason is told\n{ours}")
        return
    counted[verb] += 1
    if theirs.code != 0:
        return
    told = list(words) if "-O" in words else ["-O", "raw", *words]
    into = into.split("filename=")[-1]
    (one, one_bytes), (two, two_bytes) = (flat(folder, into, told, "out.flat") for folder in folders)
    if one_bytes is None or one_bytes != two_bytes:
        complaints.append(f"other guest bytes\n{ours}{one}{two}")
    if told[told.index("-O") + 1] == "qcow2":
        shutil.copy(Path(folders[0], into), Path(folders[1], "out.theirs"))
        for said in (run(["qemu-img", "check", *opened(into, told)], folders[1]), cowvet(folders[1], "check", "--deep", into)):
            if said.code != 0:
                complaints.append(f"{ours}{said}")
        if "encrypt.format" not in " ".join(told) and "data_file" not in " ".join(told):
            said = cowvet(folders[1], "convert", "-f", "qcow2", "-O", "raw", "out.theirs", "out.back")
            if said.code != 0 or Path(folders[1], "out.back").read_bytes() != one_bytes:
                complaints.append(f"qemu-img's output is read differently\n{theirs}{said}")
    if space:
        sizes = [blocks(Path(folder, into)) + blocks(Path(folder, "out.data")) for folder in folders]
        if sizes[1] > sizes[0] + MARGIN:
            complaints.append(f"takes {sizes[1]} bytes, not {sizes[0]}\n{ours}")


def measure(base, *words):
    _, theirs, ours = both(base, "measure", *words)
    counted["measure"] += 1
    same = (theirs.code, theirs.out) == (ours.code, ours.out)
    if not same and theirs.code == ours.code == 0 and "snap.qcow2" in words:
        # Where it takes an image for a preallocated one, qemu-img leaves out what lies in holes of the file.
        same = int(ours.out.split()[2]) >= int(theirs.out.split()[2]) and ours.out.splitlines()[1:] == theirs.out.splitlines()[1:]
    if not same:
        complaints.append(f"measured differently\n{theirs}{ours}")


PLAIN = ["plain.raw", "odd.raw", "q.qcow2", "small.qcow2", "ext.qcow2", "old.qcow2", "zlib.qcow2", "zstd.qcow2",
         "external.qcow2", "top.qcow2", "snap.qcow2"]
TARGETS = [[], ["-c"], ["-o", "cluster_size=512"], ["-o", "cluster_size=2M"], ["-o", "extended_l2=on"],
           ["-o", "compat=0.10"], ["-o", "preallocation=metadata"], ["-o", "preallocation=full"], ["-o", "refcount_bits=1"],
           ["-o", "lazy_refcounts=on"], ["-o", "data_file=out.data"], ["-o", "data_file=out.data,data_file_raw=on"],
           ["-c", "-o", "compression_type=zstd"], ["-c", "-o", "cluster_size=4k"], ["-c", "-o", "extended_l2=on"],
           ["-c", "-o", "cluster_size=2M"], ["-S", "0"], ["-S", "64k"], ["-S", "512"], ["-S", "3k"], ["-c", "-S", "0"],
           ["-m", "1"], ["-W"], ["-C"], ["-t", "writeback"], ["-T", "none"], ["--salvage"], ["-r", "1G"], ["-p", "-q"],
           [*SECRET, "-o", "encrypt.format=aes,encrypt.key-secret=key"]]
BACKED = [["-B", "base.qcow2", "-F", "qcow2"], ["-B", "middle.qcow2", "-F", "qcow2"],
          ["-o", "backing_file=base.qcow2,backing_fmt=qcow2"], ["-c", "-B", "middle.qcow2", "-F", "qcow2"],
          ["-o", "extended_l2=on", "-B", "middle.qcow2", "-F", "qcow2"], ["-B", "middle.qcow2", "-F", "qcow2", "-S", "0"]]
REFUSED = [
    ["plain.raw", "-c"], ["plain.raw", "-c", "-O", "qcow2", "-C"], ["-C", "-S", "4k", "plain.raw"], ["-C", "--salvage", "plain.raw"],
    ["-O", "qcow2", "-B", "base.qcow2", "top.qcow2"], ["-O", "qcow2", "-F", "qcow2", "top.qcow2"],
    ["-O", "qcow2", "-B", "base.qcow2", "-F", "qcow2", "top.qcow2", "top.qcow2"],
    ["-O", "raw", "-B", "base.qcow2", "-F", "qcow2", "top.qcow2"], ["-O", "qcow2", "-B", "missing", "-F", "qcow2", "top.qcow2"],
    ["-n", "-o", "cluster_size=4k", "-O", "qcow2", "plain.raw"], ["-n", "-O", "qcow2", "plain.raw"],
    ["-S", "513", "plain.raw"], ["-S", "x", "plain.raw"], ["-S", "17M", "plain.raw"], ["-m", "0", "plain.raw"], ["-m", "17", "plain.raw"],
    ["-m", "x", "plain.raw"], ["-r", "x", "plain.raw"], ["-l", "none", "snap.qcow2"], ["-l", "snapshot.id=9", "snap.qcow2"],
    ["-l", "snapshot.other=1", "snap.qcow2"], ["-l", "first", "snap.qcow2", "snap.qcow2"], ["-l", "first", "plain.raw"],
    ["--target-is-zero", "plain.raw"], ["--target-image-opts", "plain.raw"], ["--bitmaps", "snap.qcow2"],
    ["--bitmaps", "-O", "qcow2", "plain.raw"], ["--bitmaps", "-O", "qcow2", "snap.qcow2", "snap.qcow2"],
    ["--skip-broken-bitmaps", "-O", "qcow2", "snap.qcow2"], ["--bitmaps", "-O", "qcow2", "broken.qcow2"],
    ["-f", "qcow2", "plain.raw"], ["-f", "nonsense", "plain.raw"], ["-O", "nonsense", "plain.raw"], ["-t", "nonsense", "plain.raw"],
    ["-T", "nonsense", "plain.raw"], ["-o", "nonsense=1", "plain.raw"], ["-O", "qcow2", "-o", "cluster_size=3k", "plain.raw"],
    ["missing"], [], ["-O", "qcow2", "-c", "-o", "preallocation=metadata", "plain.raw"],
    ["--image-opts", "-f", "raw", "driver=raw,file.filename=plain.raw"], ["-s", "first", "snap.qcow2"], ["aes.qcow2"],
    ["-c", "-O", "qcow2", *SECRET, "-o", "encrypt.format=aes,encrypt.key-secret=key", "plain.raw"],
]

with scratch() as folder:
    first = Path(folder, "qemu")
    first.mkdir()
    sources(first)
    make(folder, "cp", "-a", "--sparse=auto", "qemu", "ours")

    for source, target in itertools.product(PLAIN, TARGETS):
        # Every source with the first few targets, and every target with the first few sources; with --long all.
        if LONG or PLAIN.index(source) < 1 or TARGETS.index(target) < 2 or (PLAIN.index(source) + TARGETS.index(target)) % 11 == 0:
            convert(folder, "-O", "qcow2", *target, source)
    for source in PLAIN:
        convert(folder, "-O", "raw", source)
    for target in (["-S", "0"], ["-S", "64k"], ["-o", "preallocation=falloc"], ["-o", "preallocation=full"], ["-o", "size=1M"]):
        convert(folder, "-O", "raw", *target, "plain.raw")
    for target in BACKED:
        # qemu-img takes all but the top for what -B shows, and gives other bytes where it is not: see docs/peers.md.
        if "middle.qcow2" in target:
            convert(folder, "-O", "qcow2", *target, "top.qcow2", space="-c" not in target)
        convert(folder, "-O", "qcow2", *target, "base.qcow2")
        convert(folder, "-O", "qcow2", *target, "plain.raw", space="-S" not in target)
    for target in BACKED:  # whatever the backing file, the guest's bytes stay
        ours = cowvet(Path(folder, "ours"), "convert", "-O", "qcow2", *target, "top.qcow2", "out")
        said = run(["qemu-img", "compare", "top.qcow2", "out"], Path(folder, "ours"))
        counted["convert"] += 1
        if ours.code != 0 or said.code != 0:
            complaints.append(f"on another backing file the bytes differ\n{ours}{said}")
    convert(folder, "-O", "qcow2", "plain.raw", "q.qcow2", "odd.raw", "top.qcow2")
    convert(folder, "-c", "-O", "qcow2", "odd.raw", "odd.raw", "plain.raw")
    for snapshot in ("first", "second", "1", "2", "snapshot.id=1", "snapshot.name=second", "snapshot.id=2,snapshot.name=second"):
        convert(folder, "-O", "qcow2", "-l", snapshot, "snap.qcow2")
    key = "driver=qcow2,file.filename=aes.qcow2,encrypt.key-secret=key"
    convert(folder, *SECRET, "--image-opts", "-O", "raw", key)
    convert(folder, *SECRET, "--image-opts", "-O", "qcow2", "-c", key)
    convert(folder, "--image-opts", "-O", "qcow2", "driver=qcow2,file.filename=zstd.qcow2")
    for words in REFUSED:
        convert(folder, *words)
    for words in (["plain.raw", "missing-folder/out"],):
        _, theirs, ours = both(folder, "convert", *words)
        if theirs.code != ours.code:
            complaints.append(f"exit codes differ\n{theirs}{ours}")
    # Where qemu-img succeeds, or fails, and should not.
    convert(folder, "-O", "qcow2", "--bitmaps", "-o", "compat=0.10", "snap.qcow2", cares=1)

    # Into what is there: made anew for each.
    for words, into in ((["-n", "-O", "qcow2", "plain.raw"], "full.qcow2"), (["-n", "-O", "raw", "plain.raw"], "full.raw"),
                        (["-n", "-O", "raw", "top.qcow2"], "full.raw"), (["-n", "-O", "qcow2", "zlib.qcow2"], "full.qcow2"),
                        (["-n", "-O", "qcow2", "top.qcow2"], "over.qcow2"), (["-n", "-O", "raw", "plain.raw"], "tiny.raw"),
                        (["-n", "-O", "qcow2", "-B", "base.qcow2", "-F", "qcow2", "middle.qcow2"], "over.qcow2"),
                        (["-n", "-O", "qcow2", "--target-is-zero", "plain.raw"], "empty.qcow2"),
                        (["-n", "-c", "-O", "qcow2", "q.qcow2"], "empty.qcow2")):
        saved = {}
        for name in ("qemu", "ours"):
            make(Path(folder, name), "qemu-img", "create", "-q", "-f", "qcow2", "empty.qcow2", "6M")
            saved[name] = Path(folder, name, into).read_bytes()
        # qemu-img can't write a compressed cluster that the source ends in, nor over one with data.
        convert(folder, *words, into=into, space=False, cares=0 if "-c" in words else "")
        for name, content in saved.items():
            if into != "tiny.raw":
                Path(folder, name, into).write_bytes(content)
            elif Path(folder, name, into).read_bytes() != content:
                complaints.append(f"a refusal changed {into}")
    convert(folder, "--target-image-opts", "-n", "plain.raw", into="driver=raw,file.filename=full.raw", space=False)

    # Bitmaps: as qemu-img tells them of its own copy and of ours.
    for words in (["--bitmaps", "-O", "qcow2", "snap.qcow2"], ["--bitmaps", "--skip-broken-bitmaps", "-O", "qcow2", "broken.qcow2"],
                  ["--bitmaps", "-l", "first", "-O", "qcow2", "snap.qcow2"]):
        convert(folder, *words)
        told = [run(["qemu-img", "info", "--output=json", "out"], Path(folder, name)).json()["format-specific"]["data"].get("bitmaps", [])
                for name in ("qemu", "ours")]
        if sorted(map(str, told[0])) != sorted(map(str, told[1])):
            complaints.append(f"other bitmaps: {told}")

    # What is read must not be written.
    ours = Path(folder, "ours")
    os.link(ours / "q.qcow2", ours / "link.qcow2")
    make(ours, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=own.data", "own.qcow2", "1M")
    before = {name: (ours / name).read_bytes() for name in ("q.qcow2", "base.qcow2", "external.data")}
    for words in (["convert", "q.qcow2", "q.qcow2"], ["convert", "q.qcow2", "link.qcow2"], ["convert", "top.qcow2", "base.qcow2"],
                  ["convert", "-O", "qcow2", "external.qcow2", "external.data"], ["convert", "-n", "-O", "qcow2", "q.qcow2", "link.qcow2"],
                  ["convert", "-O", "qcow2", "-o", "data_file=q.qcow2", "q.qcow2", "out"], ["dd", "if=q.qcow2", "of=link.qcow2"],
                  ["convert", "-O", "qcow2", "-B", "base.qcow2", "-F", "qcow2", "plain.raw", "base.qcow2"],
                  ["convert", "-O", "qcow2", "-o", "data_file=out", "q.qcow2", "out"],
                  ["convert", "-f", "raw", "-n", "-O", "qcow2", "own.data", "own.qcow2"]):
        said = cowvet(ours, *words)
        counted["refused"] += 1
        if said.code != 1 or any((ours / name).read_bytes() != content for name, content in before.items()):
            complaints.append(f"a file was read and written\n{said}")

    # Damage: an error without output, or zeros that are told.
    with open(ours / "zlib.qcow2", "r+b") as file:
        file.seek(5 * 65536 + 20)
        file.write(b"\xff" * 30)
    for left in ours.glob("out*"):
        left.unlink()
    said = cowvet(ours, "convert", "-O", "raw", "zlib.qcow2", "out")
    if said.code != 1 or (ours / "out").exists() or "can't be read" not in said.err:
        complaints.append(f"damage was overlooked\n{said}")
    said = cowvet(ours, "convert", "--salvage", "-O", "raw", "zlib.qcow2", "out")
    plain = (ours / "plain.raw").read_bytes()
    if said.code != 0 or said.err.count("error while reading offset") != 1 or (ours / "out").read_bytes() != bytes(65536) + plain[65536:]:
        complaints.append(f"salvaged differently\n{said}")

    # A file system without room: here, a limit for the length of files.
    for words in (["-O", "raw", "plain.raw"], ["-O", "qcow2", "plain.raw"], ["-c", "-O", "qcow2", "plain.raw"]):
        for left in ours.glob("out*"):
            left.unlink()
        done = subprocess.run(["bash", "-c", 'trap "" XFSZ; ulimit -f 200; exec "$@"', "bash", COWVET, "convert", *words, "out"], cwd=ours,
                              capture_output=True, text=True, timeout=60)
        counted["refused"] += 1
        if done.returncode != 1 or (ours / "out").exists() or "cowvet: out: " not in done.stderr:
            complaints.append(f"a full disk: exit {done.returncode}\n{done.stderr}")

    # Stopped: soon, with a reason, and without output.
    for left in ours.glob("out*"):
        left.unlink()
    slow = subprocess.Popen([COWVET, "convert", "-r", "100k", "-O", "qcow2", "plain.raw", "out"], cwd=ours, stderr=subprocess.PIPE, text=True)
    for _ in range(500):
        time.sleep(0.02)
        if (ours / "out").exists() and (ours / "out").stat().st_size > 300000:
            break
    slow.send_signal(signal.SIGINT)
    told = slow.communicate(timeout=30)[1]
    counted["refused"] += 1
    if slow.returncode != 1 or "stopped" not in told or (ours / "out").exists():
        complaints.append(f"not stopped well: exit {slow.returncode}\n{told}")

    for words in ([], ["bs=1000", "count=3"], ["bs=1M", "skip=1"], ["bs=1000", "skip=1", "count=7"], ["bs=64k", "skip=1000"], ["count=0"],
                  ["bs=2147483647"], ["bs=1M", "skip=2", "count=2"]):
        for source in ("plain.raw", "odd.raw", "top.qcow2"):
            for target in ("raw", "qcow2"):
                convert(folder, "-O", target, f"if={source}", "of=out", *words, verb="dd")
    for words in (["if=plain.raw"], ["of=out"], ["bs=0"], ["bs=x"], ["bs=2G"], ["count=x"], ["skip=x"], ["seek=1"], ["other"]):
        convert(folder, *(["if=plain.raw", "of=out"] if words[0][:2] not in ("if", "of") else []), *words, verb="dd")
    convert(folder, "-f", "qcow2", "if=plain.raw", "of=out", verb="dd")
    convert(folder, "-O", "nonsense", "if=plain.raw", "of=out", verb="dd")

    for source, words in itertools.product([*PLAIN, "broken.qcow2", "full.qcow2"],
                                           ([], ["-o", "cluster_size=512"], ["-o", "compat=0.10"], ["--output=json"])):
        for target in ("raw", "qcow2"):
            if target == "qcow2" or not words:
                measure(folder, "-O", target, *words, source)
    measure(folder, "-O", "qcow2", "-l", "first", "snap.qcow2")
    measure(folder, "-O", "qcow2", *SECRET, "--image-opts", key)
    measure(folder, "-O", "qcow2", "--image-opts", "driver=qcow2,file.filename=top.qcow2")

print(", ".join(f"{count} {name}" for name, count in counted.items()))
for complaint in complaints[:20]:
    print(complaint)
if complaints or counted["convert"] < 80 or counted["refused"] < 50 or counted["dd"] < 40 or counted["measure"] < 40:
    sys.exit(f"{len(complaints)} differences")
