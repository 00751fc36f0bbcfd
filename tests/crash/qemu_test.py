"""What a crash leaves of what qemu-img and qemu-io do: the counterpart of explorer_test.cpp with QEMU as the engine.

Their system calls are recorded with strace, with all data; the files are rebuilt as a crash may leave them, and judged by
the same rules: cowvet check finds nothing above a leak, every sector is old or new, snapshots read as before, also after
QEMU wrote once more. It judges QEMU, so what it finds fails nothing: `COWVET_LONG=1 python3 tests/crash/qemu_test.py` prints
the table that docs/peers.md quotes; otherwise only that recording and judging work is tried, with one operation.
"""
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(os.environ.get("COWVET_SOURCE_DIR", Path(__file__).resolve().parents[2]))
COWVET = os.environ.get("COWVET", str(SOURCE / "build/debug/cli/cowvet"))
CORPUS = os.environ.get("COWVET_CORPUS", str(SOURCE / "build/debug/corpus/cowvet-corpus"))
LONG = os.environ.get("COWVET_LONG") == "1"
SECTOR = 512
ALL_SUBSETS, TEARS = 5, 3
CALLS = "pwrite64,pwritev,pwritev2,write,writev,fsync,fdatasync,ftruncate,fallocate"

START = "image size=128K cluster_size=4K\ndata 0..7\nzero 9\ncompressed 12..15\n"
SHARED = START + "snapshot name=a\ndata 2..5\n"
BELOW = 'image size=128K cluster_size=4K\ndata 0..9\n'
ABOVE = 'image size=128K cluster_size=4K\nbacking "base.qcow2" format=qcow2\ndata 2..5,20\n'


def io(*commands):
    return ["qemu-io", "-d", "unmap", "-f", "qcow2", *itertools.chain(*(("-c", c) for c in commands)), "top.qcow2"]


def img(*words):
    return ["qemu-img", *words]


OPERATIONS = [
    ("write new", START, None, io("write -P 17 60000 20000")),
    ("write over", START, None, io("write -P 17 1000 9000")),
    ("write over shared", SHARED, None, io("write -P 17 1000 9000")),
    ("zero", START, None, io("write -z -u 1000 50000")),
    ("discard, write", START, None, io("discard 0 16k", "write -P 17 64k 16k")),
    ("discard, flush, write", START, None, io("discard 0 16k", "flush", "write -P 17 64k 16k")),
    ("compressed new, write", START, None, io("write -c -P 17 64k 4k", "write -P 18 80k 8k")),
    ("over compressed, write", START, None, io("write -P 17 48k 16k", "write -P 18 64k 16k")),
    ("snapshot", SHARED, None, img("snapshot", "-c", "new", "top.qcow2")),
    ("apply", SHARED, None, img("snapshot", "-a", "a", "top.qcow2")),
    ("delete snapshot", SHARED, None, img("snapshot", "-d", "a", "top.qcow2")),
    ("grow", START, None, img("resize", "-q", "top.qcow2", "400K")),
    ("shrink", START, None, img("resize", "-q", "--shrink", "top.qcow2", "10K")),
    ("add bitmap", START, None, img("bitmap", "--add", "top.qcow2", "bits")),
    ("commit", ABOVE, BELOW, img("commit", "-q", "top.qcow2")),
    ("rebase to nothing", ABOVE, BELOW, img("rebase", "-f", "qcow2", "-b", "", "top.qcow2")),
]


def run(words, folder):
    return subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)


def unhex(text):
    return bytes.fromhex(text.replace("\\x", ""))


def record(words, folder):
    """The changes that a command makes to the folder's images, in order: (file, kind, offset, bytes or length)."""
    log = folder / "trace"
    done = run(["strace", "-f", "-y", "-xx", "-s", "16777216", "-e", "trace=" + CALLS, "-o", log, *words], folder)
    events, halves = [], {}
    for line in log.read_text(errors="replace").splitlines():
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            halves[pid] = rest[: -len("<unfinished ...>")]
            continue
        if rest.startswith("<..."):
            rest = halves.pop(pid, "") + re.sub(r"^<\.\.\. \w+ resumed>", "", rest)
        match = re.match(r"(\w+)\((\d+)<(.*?)>,? ?(.*)\)\s+= (-?\d+)", rest)
        if not match or int(match[5]) < 0:
            continue
        name, path, words_, result = match[1], match[3], match[4], int(match[5])
        path = unhex(path).decode() if path.startswith("\\x") else path
        file = Path(path).name
        if not file.endswith(".qcow2"):
            continue
        if name in ("fsync", "fdatasync"):
            events.append((file, "flush", 0, b""))
        elif name == "ftruncate":
            events.append((file, "resize", int(words_), b""))
        elif name == "fallocate":
            mode, offset, length = words_.split(", ")
            punch = "PUNCH" in mode or "ZERO" in mode
            events.append((file, "punch" if punch else "reach", int(offset), int(length)))
        elif name.startswith("pwrite"):
            data = b"".join(unhex(part) for part in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', words_))[:result]
            tail = re.sub(r".*[\]\"], ", "", words_).split(", ")
            events.append((file, "write", int(tail[1] if name.startswith("pwritev") or len(tail) > 1 else tail[0]), data))
        else:
            raise SystemExit(f"a call that is not known here: {line[:100]}")
    return done, events


def put(files, event, begin=0, end=None):
    file, kind, offset, data = event
    content = files.setdefault(file, bytearray())
    if kind == "resize":
        del content[offset:]
        content.extend(bytes(offset - len(content)))
    elif kind == "reach":
        content.extend(bytes(max(0, offset + data - len(content))))
    elif kind == "punch":
        length = max(0, min(data, len(content) - offset))
        content[offset:offset + length] = bytes(length)
    elif kind == "write":
        part = data[begin:end]
        content.extend(bytes(max(0, offset + begin + len(part) - len(content))))
        content[offset + begin:offset + begin + len(part)] = part


def copy(files):
    return {name: bytearray(content) for name, content in files.items()}


def in_sectors(before, events):
    """Writes as a device gets them: whole sectors, with what was in them when the write was made."""
    files, whole = copy(before), []
    for event in events:
        put(files, event)
        file, kind, offset, data = event
        if kind == "write":
            begin, end = offset // SECTOR * SECTOR, -(-(offset + len(data)) // SECTOR) * SECTOR
            event = (file, kind, begin, bytes(files[file][begin:end]))
        whole.append(event)
    return whole


def states(before, events):
    """What a crash may leave: the durable part, and of what was not flushed any set, or a selection of sets."""
    durable, pending = copy(before), []
    for event in [*events, None]:
        if event is not None and event[1] != "flush":
            pending.append(event)
            continue
        count = len(pending)
        if count <= ALL_SUBSETS:
            sets = [{i for i in range(count) if n >> i & 1} for n in range(1 << count)]
        else:
            sets = [set(range(n)) for n in range(count + 1)]
            sets += [set(range(count)) - {n} for n in range(count)] + [{n} for n in range(count)]
        for kept in sets:
            files = copy(durable)
            for i in sorted(kept):
                put(files, pending[i])
            yield files
        for n, torn in enumerate(pending):
            if torn[1] != "write" or len(torn[3]) <= SECTOR:
                continue
            for cut in range(SECTOR, len(torn[3]), max(SECTOR, len(torn[3]) // TEARS // SECTOR * SECTOR)):
                files = copy(durable)
                for earlier in pending[:n]:
                    put(files, earlier)
                put(files, torn, 0, cut)
                yield files
        if event is None:
            return
        for done in (e for e in pending if e[0] == event[0]):
            put(durable, done)
        pending = [e for e in pending if e[0] != event[0]]


def guest(folder, *snapshot):
    done = run([COWVET, "convert", "-O", "raw", *snapshot, "top.qcow2", "raw"], folder)
    return (folder / "raw").read_bytes() if done.returncode == 0 else None


def save(files, folder):
    for name, content in files.items():
        (folder / name).write_bytes(content)


def judge(files, folder, contents, snapshot):
    """The kinds of violation of a state."""
    save(files, folder)
    found = set()
    check = run([COWVET, "check", "--output=json", "top.qcow2"], folder)
    if check.returncode not in (0, 3):
        said = json.loads(check.stdout)
        found |= {f["rule"] for f in said.get("findings", []) if f["severity"] in ("error", "fatal")} or {"damaged"}
    now = guest(folder)
    if now is None:
        found.add("unreadable")
    elif not any(len(now) == len(c) for c in contents) or any(
            now[at:at + SECTOR] not in [c[at:at + SECTOR] for c in contents] for at in range(0, len(now), SECTOR)):
        found.add("neither old nor new")
    if snapshot is not None:
        kept = guest(folder, "-l", "snapshot.name=a")
        if kept is not None and kept != snapshot:
            found.add("snapshot changed")
        if run(io("write -P 99 0 20000"), folder).returncode == 0:
            after = guest(folder, "-l", "snapshot.name=a")
            if after is not None and after != snapshot:
                found.add("snapshot changed by the next write")
    return found


def explore(name, top, below, words, folder):
    for file, recipe in (("top", top), ("base", below)):
        if recipe is not None:
            (folder / "recipe").write_text(recipe)
            made = run([CORPUS, "make", "recipe", file + ".qcow2"], folder)
            assert made.returncode == 0, made.stderr.decode()
    before = {p.name: bytearray(p.read_bytes()) for p in folder.glob("*.qcow2")}
    contents = [guest(folder)]
    snapshot = guest(folder, "-l", "snapshot.name=a") if "snapshot name=a" in top else None
    done, events = record(words, folder)
    assert done.returncode == 0 and events, f"{name}: {done.stderr.decode()}"
    rebuilt = copy(before)
    for event in events:
        put(rebuilt, event)
    for file in before:
        assert rebuilt[file] == (folder / file).read_bytes(), f"{name}: the recording of {file} is not complete"
    # The disk after each of the command's steps, so that a state may have any part of them.
    steps = [words] if "-d" not in words[:2] or words[0] == "qemu-img" else [
        [*words[:5], "-c", words[n + 1], words[-1]] for n, word in enumerate(words) if word == "-c"]
    save(before, folder)
    for step in steps:
        run(step, folder)
        contents.append(guest(folder))
    seen, kinds, tried = set(), {}, 0
    for files in states(before, in_sectors(before, events)):
        key = tuple(bytes(files[n]) for n in sorted(files))
        if key in seen:
            continue
        seen.add(key)
        tried += 1
        for kind in judge(files, folder, contents, None if name == "delete snapshot" else snapshot):
            kinds[kind] = kinds.get(kind, 0) + 1
    return tried, kinds


def main():
    if not shutil.which("strace") or not shutil.which("qemu-io"):
        print("strace and qemu-io are needed: skipped")
        return 0
    total, bad = 0, {}
    print("| operation | states | violations |\n|---|--:|---|")
    for operation in OPERATIONS if LONG else OPERATIONS[:1]:
        with tempfile.TemporaryDirectory() as folder:
            tried, kinds = explore(*operation, Path(folder))
        total += tried
        for kind, count in kinds.items():
            bad[kind] = bad.get(kind, 0) + count
        print(f"| {operation[0]} | {tried} | {', '.join(f'{k}: {n}' for k, n in sorted(kinds.items())) or '–'} |", flush=True)
    print(f"| all | {total} | {', '.join(f'{k}: {n}' for k, n in sorted(bad.items())) or '–'} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
