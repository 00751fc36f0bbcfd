"""chain: the graph as a tree, as JSON that its schema describes, and as dot; exit codes; names that are described and not
followed; a thousand overlays within a second."""
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

from jsonschema import Draft202012Validator

from program import complaints, cowvet, expect, make

SCHEMA = Draft202012Validator(json.loads(cowvet("schema", "chain").out))
CHECK = Draft202012Validator(json.loads(cowvet("schema", "check").out))


def graph(*words, folder):
    said = cowvet("chain", "--output=json", *words, folder=folder)
    document = json.loads(said.out) if said.out else {"nodes": []}
    if said.out:
        for error in list(SCHEMA.iter_errors(document))[:2]:
            complaints.append(f"{error.json_path}: {error.message[:200]}\n{said}")
        for node in document["nodes"]:
            if "check" in node:
                for error in list(CHECK.iter_errors(node["check"]))[:2]:
                    complaints.append(f"{error.json_path}: {error.message[:200]}\n{said}")
    return said, {node["filename"]: node for node in document["nodes"]}


with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch)
    make(folder / "base.qcow2", "image size=1M\ndata 0..3\nsnapshot name=s\nbitmap name=b\n")
    for name, below in (("a", "base"), ("b", "./base"), ("top", "a")):
        make(folder / f"{name}.qcow2", f'image size=1M\nbacking "{below}.qcow2" format=qcow2\n')
    (folder / "notes.txt").write_text("no image")
    (folder / "nothing").mkdir()
    said = cowvet("chain", "nothing", folder=folder)
    expect(said.code == 1 and "no image is in it" in said.err, "a folder without images is not called sound", said)
    said = cowvet("pull", "base.qcow2", folder=folder)
    expect(said.code == 0 and "Nothing lies below" in said.out, "nothing to pull", said)
    said, nodes = graph(".", folder=folder)
    expect(said.code == 0 and set(nodes) == {"base.qcow2", "a.qcow2", "b.qcow2", "top.qcow2"}, "a tree", said)
    expect(nodes["top.qcow2"]["depth"] == 2 and len(nodes["base.qcow2"]["overlays"]) == 2, "its form", said)
    expect(nodes["base.qcow2"]["check"]["verdict"] == "sound" and nodes["base.qcow2"]["bitmaps"] == ["b"], "its content", said)
    said, nodes = graph("top.qcow2", folder=folder)
    expect(set(nodes) == {"base.qcow2", "a.qcow2", "top.qcow2"}, "from one image downwards", said)
    tree = cowvet("chain", "--no-check", ".", folder=folder).out.splitlines()
    expect([line.split(":")[0] for line in tree[:4]] == ["base.qcow2", "├─ a.qcow2", "│  └─ top.qcow2", "└─ b.qcow2"], f"the tree: {tree[:4]}")
    dot = cowvet("chain", "--output=dot", ".", folder=folder).out
    expect(dot.startswith("digraph") and dot.count("->") == 3 and dot.rstrip().endswith("}"), f"dot: {dot}")
    (folder / "inner").mkdir()
    make(folder / "inner" / "c.qcow2", 'image size=1M\nbacking "../base.qcow2" format=qcow2\n')
    expect("inner/c.qcow2" not in graph(".", folder=folder)[1], "folders in folders are not asked for")
    expect("inner/c.qcow2" in graph("--recursive", ".", folder=folder)[1], "folders in folders")

    # Exit codes: a damaged base below a sound top, a leak, a missing file, a warning that counts only when asked.
    make(folder / "bad.qcow2", "image size=1M\ndata 0\ndamage:\nset l2[0][0] = 0x700000000\n")
    make(folder / "on-bad.qcow2", 'image size=1M\nbacking "bad.qcow2" format=qcow2\n')
    expect(graph("on-bad.qcow2", folder=folder)[0].code == 2, "a damaged base")
    expect(graph("--no-check", "on-bad.qcow2", folder=folder)[0].code == 0, "a damaged base that is not checked")
    make(folder / "leak.qcow2", "image size=1M\nreserve x clusters=1\n")
    expect(graph("leak.qcow2", folder=folder)[0].code == 3, "a leak")
    expect(graph("nowhere.qcow2", folder=folder)[0].code == 1, "a missing image")
    make(folder / "orphan.qcow2", 'image size=1M\nbacking "gone.qcow2" format=qcow2\n')
    said, nodes = graph("--no-check", "orphan.qcow2", folder=folder)
    expect(said.code == 2 and nodes["gone.qcow2"]["kind"] == "missing", "a missing backing file", said)
    make(folder / "far.qcow2", 'image size=1M\nbacking "nbd://127.0.0.1:1/x" format=raw\n')
    said, nodes = graph("--no-check", "--allow-remote", "far.qcow2", folder=folder)
    expect(said.code == 0 and nodes["nbd://127.0.0.1:1/x"]["kind"] == "not-followed", "a remote name", said)
    expect(cowvet("chain", "--no-check", "--fail-on=warning", "far.qcow2", folder=folder).code == 3, "warnings that count")
    make(folder / "json.qcow2", 'image size=1M\nbacking "json:{\\"file.filename\\":\\"base.qcow2\\"}" format=qcow2\n')
    expect("base.qcow2" not in graph("json.qcow2", folder=folder)[1], "json: is not followed unasked")
    expect("base.qcow2" in graph("--allow-remote", "json.qcow2", folder=folder)[1], "json: is followed when asked")

    # Three levels of a thousand overlays.
    many = folder / "many"
    many.mkdir()
    (many / "base.qcow2").write_bytes((folder / "base.qcow2").read_bytes())
    for level, count, below in ((1, 10, "base"), (2, 90, "l1-{}"), (3, 900, "l2-{}")):
        for i in range(count):
            make(many / f"l{level}-{i}.qcow2", f'image size=1M\nbacking "{below.format(i % (10 if level == 2 else 90))}.qcow2" format=qcow2\n') \
                if i < 90 else (many / f"l{level}-{i}.qcow2").write_bytes((many / f"l{level}-{i % 90}.qcow2").read_bytes())
    before = hashlib.sha256(b"".join(path.read_bytes()[:512] for path in sorted(many.iterdir()))).hexdigest()
    for words in (["--no-check"], []):
        begin = time.monotonic()
        said = cowvet("chain", "-q", *words, many)
        took = time.monotonic() - begin
        print(f"1001 images {' '.join(words) or 'with checks'}: {1000 * took:.0f} ms")
        expect(said.code == 0 and took < 20, "a thousand overlays", said)  # a bound for the slowest build
    expect(before == hashlib.sha256(b"".join(path.read_bytes()[:512] for path in sorted(many.iterdir()))).hexdigest(), "written to")

print("\n".join(complaints[:20]))
sys.exit(1 if complaints else 0)
