"""A check needs the image alone: no backing file, no data file, no key; and it opens nothing else, nothing for writing.

Only --deep, which reads the guest's data, opens a data file: that is where the data lies. With everything in its place
and without it the report is the same, except that a data file that is gone is reported. strace shows which files are
opened, and how.
"""
import re
import sys
from pathlib import Path

import programs
from programs import COWVET, SECRET, run

OPEN = re.compile(r'(?:openat2?|open|creat)\((?:[^,"]+, )?"((?:[^"\\]|\\.)*)"(?:, (\{[^}]*\}|[A-Z_|0-9x]+))?')
WRITES = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)|creat\(")


def keyed(*words):
    return [*SECRET, *words]


def make(folder):
    """name -> (what belongs to the image and is to vanish, the words that name it to qemu-img)."""
    def qemu(*words):
        said = run(words, folder)
        if said.code != 0:
            raise RuntimeError(str(said))

    def opened(name):
        return keyed("--image-opts", f"driver=qcow2,file.filename={name},encrypt.key-secret=key")

    qemu("qemu-img", "create", "-q", "-f", "qcow2", "base.qcow2", "2M")
    qemu("qemu-io", "-c", "write -P 1 0 1M", "base.qcow2")
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "overlay.qcow2")
    qemu("qemu-io", "-c", "write -P 2 64k 64k", "overlay.qcow2")
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=content.raw", "data_file.qcow2", "1M")
    qemu("qemu-io", "-c", "write -P 2 64k 128k", "data_file.qcow2")
    for method in "luks", "aes":
        options = f"encrypt.format={method},encrypt.key-secret=key" + (",encrypt.iter-time=10" if method == "luks" else "")
        qemu("qemu-img", "create", "-q", "-f", "qcow2", *keyed("-o", options), f"{method}.qcow2", "1M")
        qemu("qemu-io", "-c", "write -P 3 0 192k", *opened(f"{method}.qcow2"))
    return {"overlay.qcow2": ("base.qcow2", ["overlay.qcow2"]), "data_file.qcow2": ("content.raw", ["data_file.qcow2"]),
            "luks.qcow2": (None, opened("luks.qcow2")), "aes.qcow2": (None, opened("aes.qcow2"))}


def counters(said):
    report = said.json()
    return {key: report.get(key, 0) for key in ("image-end-offset", "total-clusters", "allocated-clusters", "leaks",
                                                "check-errors")}


def rules(said):
    return {finding["rule"] for finding in said.json()["findings"]}


def opened_files(folder, trace, name, *options):
    """What strace saw cowvet open while it checked: (the image how often, other files of the folder, all opened for
    writing). The files are the lines of the trace."""
    run(["strace", "-f", "-qq", "-o", trace, "-e", "trace=open,openat,openat2,creat", COWVET, "check", *options, "--io",
         "posix", "-q", name], folder)
    image, others, written = 0, [], []
    for line in Path(trace).read_text().splitlines():
        match = OPEN.search(line)
        if not match:
            continue
        path = match.group(1)
        image += path == name
        if path != name and "/" not in path.removeprefix("./") or str(folder) in path:
            others.append(line)
        if WRITES.search(line):
            written.append(line)
    return image, others, written


def main():
    programs.need("qemu-img", "qemu-io", "strace")
    complaints = []

    def expect(what, condition, *said):
        print(f"{'ok  ' if condition else 'FAIL'}  {what}")
        if not condition:
            complaints.append("\n".join([what, *map(str, said)]))

    with programs.scratch() as scratch, programs.scratch() as traces:
        folder = Path(scratch)
        for name, (needed, words) in make(folder).items():
            theirs = run(["qemu-img", "check", "--output=json", *words], folder)
            before = run([COWVET, "check", "--output=json", name], folder)
            expect(f"{name}: clean, and the counters are qemu-img's with all it asks for",
                   before.code == theirs.code == 0 and counters(before) == counters(theirs), before, theirs)
            for option, allowed in ("--jobs=2", None), ("--deep", needed if name == "data_file.qcow2" else None):
                image, others, written = opened_files(folder, Path(traces) / name, name, option)
                others = [line for line in others if allowed is None or f'"{allowed}"' not in line]
                expect(f"{name} {option}: the image is opened (so that the trace means something)", image > 0)
                expect(f"{name} {option}: no other file beside the image is opened", not others, *others)
                expect(f"{name} {option}: nothing is opened for writing", not written, *written)
            if needed:
                (folder / needed).unlink()
            refused = run(["qemu-img", "check", name], folder)
            expect(f"{name}: qemu-img refuses without", refused.code == 1, refused)
            after = run([COWVET, "check", "--output=json", name], folder)
            expect(f"{name}: the same counters without", counters(after) == counters(before), before, after)
            lost = {"datafile/missing"} if needed == "content.raw" else set()
            expect(f"{name}: the same findings without, but for what is lost: {', '.join(lost) or 'nothing'}",
                   rules(after) == rules(before) | lost and after.code == (2 if lost else 0), before, after)
    print(*complaints, sep="\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
