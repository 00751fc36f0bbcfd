"""The space that --dry-run and revert-check say an operation needs, against what it took: each file's growth on its file
system, over chains of all kinds of layers. Never more than was said; and what was said is not far too much, or a disk with
enough room would be called full.
"""
import json
import os
import shutil
import sys
from pathlib import Path

from chains import LAYERS, make
from programs import COWVET, cowvet, need, run, scratch

need("qemu-img", "qemu-io")
complaints, cases = [], []
BLOCK = 4096  # what a file system gives at least


def taken(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())  # until then the file system may not have chosen the blocks
    return path.stat().st_blocks * 512


def judge(story, said, took, tables, certain=True):
    """`tables`: bytes that may be said too much, beside a half. `certain`: not all that is read need be written."""
    cases.append((story, said, took))
    if took > said + BLOCK:
        complaints.append(f"{story}: took {took} bytes, and {said} were said")
    if certain and said > 1.5 * took + tables:
        complaints.append(f"{story}: took only {took} bytes of {said}")


def edits(folder):
    """Each operation on a chain base <- mid <- top."""
    kinds = [("plain", "plain", top) for top in LAYERS if top != "raw"]
    kinds += [(base, "plain", "plain") for base in LAYERS if base != "plain"]
    for base, mid, top in kinds:
        made, copy = folder / "made", folder / "copy"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        below = make(made, "base", base, "4M", None)
        below = make(made, "mid", mid, "5M", below)
        make(made, "top", top, "5M", below)
        for words in (["commit", "top"], ["commit", "--base", "base", "--top", "mid", "top"], ["pull", "top"],
                      ["pull", "--base", "base", "top"], ["rebase", "-b", "base", "-F", below[1] if base != "raw" else "raw", "top"]):
            shutil.rmtree(copy, ignore_errors=True)
            run(["cp", "-r", "made", "copy"], folder)  # with its holes
            story = f"{base} <- {mid} <- {top}: {' '.join(words)}"
            plan = cowvet(copy, words[0], "--dry-run", "--output=json", *words[1:])
            if base == "snapshots-of-version-2" and words[1] == "--base" and words[0] == "commit":
                # What can't be done is said before, and not only when space was made for it.
                if plan.code != 1 or "version 2" not in plan.err:
                    complaints.append(f"{story}: {plan}")
                continue
            if plan.code != 0:
                complaints.append(f"{story}: {plan}")
                continue
            before = {path.name: taken(path) for path in copy.iterdir()}
            said = cowvet(copy, words[0], "--force", "-q", *words[1:])
            if said.code != 0:
                complaints.append(f"{story}: {said}")
                continue
            needs = {space["filename"]: space["needed-bytes"] for space in plan.json()["space"]}
            sparse = "large-clusters" in (base, top)  # parts of their clusters are zeros, which only reading shows
            for path in sorted(copy.iterdir()):
                took = max(0, taken(path) - before[path.name])
                if path.name not in needs:
                    if took > BLOCK:
                        complaints.append(f"{story}: {path.name} took {took} bytes, and nothing was said of it")
                    continue
                cluster = run(["qemu-img", "info", "--output=json", path.name], copy).json().get("cluster-size", BLOCK)
                # Where content is compared, what is the same is not written.
                judge(f"{story}: {path.name}", needs[path.name], took, 8 * cluster + 64 * BLOCK, words[0] != "rebase" and not sparse)


def reverts(folder):
    """What can be undone by a snapshot taken first: what that takes, and going back, and then back to it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for options in ("cluster_size=64k", "cluster_size=512", "cluster_size=4k", "cluster_size=2M", "compat=0.10",
                    "extended_l2=on", "refcount_bits=64", "lazy_refcounts=on", "cluster_size=512,refcount_bits=64"):
        for size in ("4M", "900M") if "512" not in options else ("4M", "60M"):
            image = folder / "image"
            image.unlink(missing_ok=True)
            for words in (["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "image", size],
                          ["qemu-io", "-f", "qcow2", "-c", "write 0 1M", "-c", "write 3M 100k", "image"],
                          ["qemu-img", "snapshot", "-c", "then", "image"],
                          ["qemu-io", "-f", "qcow2", "-c", "write 512k 1M", "image"]):
                said = run(words, folder)
                assert said.code == 0, said
            answer = cowvet(folder, "revert-check", "--output=json", "--snapshot", "then", "image")
            needs = json.loads(answer.out)["undo"]["needs"]
            before = taken(image)
            for words in (["-c", "now"], ["-a", "then"]):
                said = cowvet(folder, "snapshot", "--force", *words, "image")
                assert said.code == 0, said
            cluster = run(["qemu-img", "info", "--output=json", "image"], folder).json()["cluster-size"]
            judge(f"revert of {options}, {size}", needs, max(0, taken(image) - before), 4 * cluster + 8 * BLOCK)


with scratch() as name:
    edits(Path(name))
    reverts(Path(name, "reverts"))
for complaint in complaints[:30]:
    print(complaint)
worst = max((case for case in cases if case[2] > 1 << 20), key=lambda case: case[1] / case[2])
print(f"{len(complaints)} complaints, {len(cases)} figures; furthest above what was taken, of those above a MiB: "
      f"{worst[0]}: {worst[1]} said, {worst[2]} taken")
sys.exit(1 if complaints or len(cases) < 100 else 0)
