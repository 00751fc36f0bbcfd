"""Operations on chains, tried by qemu-img and by cowvet on copies of the same files: `base`, `mid` and `top`, and `other`
beside them."""
import shutil
from pathlib import Path

from programs import COWVET, LONG, need, run, scratch

# How the layers are made: options of creation, and commands afterwards.
LAYERS = {
    "plain": [],
    "version-2": ["compat=0.10"],
    "tiny-clusters": ["cluster_size=512"],
    "large-clusters": ["cluster_size=2M"],
    "subclusters": ["extended_l2=on"],
    "narrow-refcounts": ["refcount_bits=1"],
    "lazy": ["lazy_refcounts=on"],
    "compressed": [],
    "data-file": ["data_file=DATA"],
    "snapshots": [],
    "snapshots-of-version-2": ["compat=0.10"],
    "bitmaps": [],
    "raw": None,
}
WRITES = {"base": ["write -P 1 0 700k", "write -P 2 1M 1k", "write -P 3 1500k 400k"],
          "mid": ["write -P 4 300k 500k", "write -z 1M 64k", "discard 1600k 128k"],
          "top": ["write -P 5 64k 100k", "write -z 700k 100k", "write -P 0 200k 64k", "write -P 6 1700k 20k"],
          "other": ["write -P 1 0 400k", "write -P 9 900k 300k"]}


def make(folder, name, kind, size, below):
    """One image, with content of its own; `below` is the backing file's name and format."""
    options = LAYERS[kind]
    if options is None:
        commands = [["qemu-img", "create", "-q", "-f", "raw", name, size]]
    else:
        words = [word.replace("DATA", f"{name}.data") for word in options]
        backing = ["-b", below[0], "-F", below[1]] if below else []
        commands = [["qemu-img", "create", "-q", "-f", "qcow2", *backing, *(["-o", ",".join(words)] if words else []), name,
                     size]]
    form = "raw" if options is None else "qcow2"
    writes = [word for text in WRITES[name] for word in ("-c", text)]
    commands.append(["qemu-io", "-f", form, *writes, name])
    if kind == "compressed":
        commands.append(["qemu-io", "-f", form, "-c", "write -c -P 7 2560k 64k", "-c", "write -c -P 8 3M 64k", name])
    if kind.startswith("snapshots"):
        commands += [["qemu-img", "snapshot", "-c", "one", name], ["qemu-io", "-f", form, "-c", "write -P 7 320k 64k", name]]
    if kind == "bitmaps":
        commands.append(["qemu-img", "bitmap", "--add", "-g", "4k", name, "fine"])
    for command in commands:
        said = run(command, folder)
        assert said.code == 0, said
    return name, form


class Chains:
    def __init__(self):
        need("qemu-img", "qemu-io")
        self.scratch = scratch()
        self.folder = Path(self.scratch.name)
        self.complaints, self.made, self.calls = [], {}, 0
        self.counts = {"done by both": 0, "refused by both": 0}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.scratch.cleanup()

    def input(self, base, middle, top, sizes, other):
        key = (base, middle, top, sizes, other)
        if key not in self.made:
            folder = self.folder / f"input{len(self.made)}"
            folder.mkdir()
            below = make(folder, "base", base, sizes[0], None)
            if middle:
                below = make(folder, "mid", middle, sizes[0], below)
            make(folder, "top", top, sizes[-1], below)
            if other:
                make(folder, "other", other[0], other[1], None)
            self.made[key] = folder
        return self.made[key]

    def both(self, words, *, theirs=None, base="plain", middle=None, top="plain", sizes=("4M", "4M"), other=None, force=False,
             same_output=True, unwritten=()):
        """`qemu-img WORDS` (or `theirs`) and `cowvet WORDS` on copies of one chain; every third call, with COWVET_LONG=1 each."""
        self.calls += 1
        if not LONG and self.calls % 3 != 0:
            return
        made = self.input(base, middle, top, sizes, other)
        form = {"BASE": "raw" if base == "raw" else "qcow2"}
        said = []
        for program, line in (("qemu-img", theirs or words), (COWVET, words)):
            folder = self.folder / ("theirs" if program == "qemu-img" else "ours")
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(made, folder)
            line = [form.get(word, word) for word in line]
            if program == COWVET and top.startswith("snapshots") and "mid" not in words:
                # QEMU does not see that a snapshot shows something else afterwards; cowvet wants to be told.
                refused = run([program, *line], folder)
                if refused.code != 1 or "its snapshot 'one'" not in refused.err:
                    self.complaints.append(f"{refused}a snapshot would change, and nobody is asked")
                force = True
            said.append(run([program, *line, *(["--force"] if force and program == COWVET else [])], folder))
        story = f"--- base {base}, mid {middle}, top {top}, {sizes}, other {other}\n{said[0]}{said[1]}"
        if said[0].code != said[1].code:
            self.complaints.append(f"{story}other exit code")
            return
        self.counts["done by both" if said[0].code == 0 else "refused by both"] += 1
        if said[0].code != 0:
            if not said[1].err.startswith("cowvet: "):
                self.complaints.append(f"{story}the refusal has another form")
            unwritten = [file.name for file in made.iterdir()]
        elif same_output and said[1].out.splitlines()[:1] != said[0].out.splitlines()[:1]:
            self.complaints.append(f"{story}other output")
        self.compare(story, made, unwritten, "-b" in words and words[0] == "commit" and "base" in str(words))

    def compare(self, story, made, unwritten, deep):
        theirs, ours = self.folder / "theirs", self.folder / "ours"
        for name in unwritten:
            if (made / name).read_bytes() != (ours / name).read_bytes():
                self.complaints.append(f"{story}{name} was written")
        for name in ("base", "mid", "top", "other"):
            if not (made / name).exists() or (deep and name == "mid"):
                continue
            infos = [run(["qemu-img", "info", "--output=json", name], folder) for folder in (theirs, ours)]
            for data in (described := [info.json() for info in infos]):
                data.pop("actual-size")
                data.pop("full-backing-filename", None)
                for snapshot in data.get("snapshots", []):
                    snapshot.clear()
            if described[0] != described[1]:
                self.complaints.append(f"{story}{name}: qemu-img info differs\n{described[0]}\n{described[1]}")
                continue
            form = described[0]["format"]
            raws = []
            for folder in (theirs, ours):
                said = run(["qemu-img", "convert", "-f", form, "-O", "raw", name, "content"], folder)
                raws.append((folder / "content").read_bytes() if said.code == 0 else said.err.splitlines()[:1])
                (folder / "content").unlink(missing_ok=True)
            if raws[0] != raws[1]:
                self.complaints.append(f"{story}{name}: other content")
            if form == "raw":
                continue
            for check in (["qemu-img", "check", name], [COWVET, "check", name]):
                said = run(check, ours)
                if said.code != 0 and (check[0] == COWVET or run(check, theirs).code != said.code):
                    self.complaints.append(f"{story}{said}")

    def finish(self):
        for complaint in self.complaints[:20]:
            print(complaint)
        print(f"{len(self.complaints)} complaints; {self.counts}")
        return 1 if self.complaints or not self.counts["done by both"] else 0
