"""New images and the space that they take, beside qemu-img: each combination of options made by both programs.

Same exit code; where both succeed the same line of output, the same `qemu-img info` but for sizes on disk and random
keys, nothing found by `qemu-img check` and `cowvet check`, all zeros; and `measure` gives the same figures.
"""
import itertools
import sys
from pathlib import Path

from programs import COWVET, LONG, SECRET, cowvet, need, run, scratch

need("qemu-img", "qemu-io")
COARSE_CLOCK = "Unable to get accurate CPU usage"  # qemu-img gives up on key derivation where processor time is coarse

complaints = []
compared = {"create": 0, "measure": 0, "refused": 0, "skipped": 0}


def qemu_img(folder, *words):
    for _ in range(8):
        said = run(["qemu-img", *words], folder)
        if COARSE_CLOCK not in said.err:
            break
    return said


def info(folder, file):
    said = run(["qemu-img", "info", "--output=json", file], folder)
    if said.code != 0:
        return str(said)
    data = said.json()
    data.pop("actual-size")
    encrypt = data.get("format-specific", {}).get("data", {}).get("encrypt", {})
    for name in ("uuid", "master-key-iters"):
        encrypt.pop(name, None)
    for slot in encrypt.get("slots", []):
        slot.pop("iters", None)
    return data


def image_options(options):
    """How qemu opens the image: an encrypted one needs its key."""
    if "encrypt.format" not in options:
        return ["image"]
    return [*SECRET, "--image-opts", "driver=qcow2,file.filename=image,encrypt.key-secret=key"]


def create(base, words, size="5000000", backing=()):
    """Makes the image with both programs, each in a folder of its own, so that names are the same."""
    options = ",".join(words)
    secret = SECRET if "encrypt" in options else []
    command = ["create", *secret, "-f", "qcow2", *backing, *(["-o", options] if options else []), "image", *size.split()]
    folders = [Path(base, name) for name in ("qemu", "ours")]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for left in folder.iterdir():
            left.unlink()
        if backing:
            made = run(["qemu-img", "create", "-q", "-f", "qcow2", "base", "7000000"], folder)
            assert made.code == 0, made
    theirs, ours = qemu_img(folders[0], *command), run([COWVET, *command], folders[1])
    if COARSE_CLOCK in theirs.err:
        compared["skipped"] += 1
        return
    if theirs.code != ours.code:
        complaints.append(f"exit codes differ\n{theirs}{ours}")
        return
    if theirs.code != 0:
        compared["refused"] += 1
        if not ours.err.startswith("cowvet: image: ") or Path(folders[1], "image").exists():
            complaints.append(f"the refusal has another form, or left a file\n{ours}")
        return
    compared["create"] += 1
    if theirs.out != ours.out:
        complaints.append(f"told differently\n{theirs}{ours}")
    if info(folders[0], "image") != info(folders[1], "image"):
        complaints.append(f"info differs\n{info(folders[0], 'image')}\n{info(folders[1], 'image')}\n{ours}")
    for said in (run(["qemu-img", "check", *image_options(options)], folders[1]), cowvet(folders[1], "check", "image"),
                 run(["qemu-io", "-r", *image_options(options), "-c", "read -P 0 0 4999680"], folders[1])):
        if said.words[0].startswith("qemu") and "missing" in backing:
            continue  # it opens nothing without the backing file
        if said.words[0] == "qemu-io" and size not in ("", "5000000"):
            continue
        if said.code != 0 or "verification failed" in said.out + said.err:
            complaints.append(f"{ours}{said}")


def measure(folder, words, size):
    options = ",".join(words)
    command = ["measure", *(SECRET if "encrypt" in options else []), "-O", "qcow2", "--output=json", "--size", size,
               *(["-o", options] if options else [])]
    theirs, ours = qemu_img(folder, *command), cowvet(folder, *command)
    if COARSE_CLOCK in theirs.err:
        compared["skipped"] += 1
        return
    compared["measure"] += 1
    if theirs.code == 0 and ours.code == 1:  # rightly, when there can be no such image
        made = run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "impossible", "1M"], folder)
        if made.code == 1:
            compared["refused"] += 1
            return
    same = theirs.code == ours.code and (theirs.code != 0 or theirs.out == ours.out)
    if not same and "encrypt.format=luks" in options and theirs.code == ours.code == 0:
        # qemu-img forgets the refcounts of the LUKS header's clusters: a little too small a figure, with small clusters
        same = all(0 <= ours.json()[name] - figure < 65536 for name, figure in theirs.json().items())
    if not same:
        complaints.append(f"measured differently\n{theirs}{ours}")


def measure_image(folder, words):
    options = ["-o", ",".join(words)] if words else []
    for image in ("full.qcow2", "overlay.qcow2", "plain.raw"):
        theirs, ours = (run([program, "measure", "-O", "qcow2", *options, image], folder) for program in ("qemu-img", COWVET))
        compared["measure"] += 1
        if (theirs.code, theirs.out) != (ours.code, ours.out):
            complaints.append(f"measured differently\n{theirs}{ours}")


CHOICES = {
    "cluster_size": ["512", "16k", "2M"],
    "compat": ["0.10", "1.1"],
    "refcount_bits": ["1", "8", "64"],
    "extended_l2": ["on"],
    "lazy_refcounts": ["on"],
    "compression_type": ["zstd"],
    "preallocation": ["metadata", "falloc", "full"],
    "data_file": ["data"],
    "data_file_raw": ["on"],
    "encrypt.format": ["aes"],
}


def words(name, value):
    return [f"{name}={value}"] + (["encrypt.key-secret=key"] if name == "encrypt.format" else [])


def combinations():
    """Every second pair of values of different options, and all single ones; with --long every pair and every three."""
    yield []
    singles = [(name, value) for name, values in CHOICES.items() for value in values]
    for count in (1, 2, 3) if LONG else (1, 2):
        for number, chosen in enumerate(itertools.combinations(singles, count)):
            if count == 2 and number % 2 == 1 and not LONG:
                continue
            if len({name for name, _ in chosen}) == count:
                yield [word for name, value in chosen for word in words(name, value)]


with scratch() as folder:
    for chosen in combinations():
        create(folder, chosen)
    for chosen in ([], ["extended_l2=on"], ["extended_l2=on", "preallocation=metadata"], ["preallocation=full"],
                   ["cluster_size=512"], ["data_file=data"], ["data_file=data", "data_file_raw=on"]):
        for size in ("", "5000000", "9M"):
            create(folder, chosen, size, ["-b", "base", "-F", "qcow2"])
    create(folder, [], "1M", ["-b", "base"])
    create(folder, [], "1M", ["-b", "missing", "-F", "qcow2"])
    create(folder, [], "1M", ["-u", "-b", "missing", "-F", "qcow2"])
    create(folder, [], "", ["-u", "-b", "missing", "-F", "qcow2"])
    create(folder, [], "1M", ["-b", "image", "-F", "qcow2"])
    for size in ("0", "1", "511", "1k", "10x", "1E", "9E", "1.5G", "64T"):
        create(folder, [], size)
    for bad in ("cluster_size=3k", "cluster_size=4M", "refcount_bits=3", "refcount_bits=128", "compat=0.9", "no=such",
                "lazy_refcounts=perhaps", "preallocation=some", "compression_type=lz4", "encrypt.format=aes",
                "encrypt.format=rot13,encrypt.key-secret=key", "encrypt.format=aes,encrypt.key-secret=none",
                "data_file=/no/such/folder/data"):
        create(folder, [bad])
    for luks in ([], ["encrypt.cipher-alg=aes-128", "encrypt.cipher-mode=cbc", "encrypt.ivgen-alg=essiv",
                      "encrypt.ivgen-hash-alg=sha256", "encrypt.hash-alg=sha1"], ["preallocation=metadata"]):
        create(folder, ["encrypt.format=luks", "encrypt.key-secret=key", "encrypt.iter-time=100", *luks])

    for chosen in combinations():
        for size in ("0", "1", "5000000", "100G", "3T"):
            measure(folder, chosen, size)
    for luks in ([], ["cluster_size=512"], ["encrypt.cipher-alg=aes-128"], ["preallocation=full"]):
        measure(folder, ["encrypt.format=luks", "encrypt.key-secret=key", "encrypt.iter-time=100", *luks], "1G")
    for size in ("1E", "9E", "x"):
        measure(folder, [], size)
    for command in (["qemu-img", "create", "-f", "qcow2", "full.qcow2", "10M"],
                    ["qemu-io", "-c", "write 100k 1M", "-c", "write -z 0 64k", "-c", "write 5000k 3", "full.qcow2"],
                    ["qemu-img", "create", "-f", "qcow2", "-b", "full.qcow2", "-F", "qcow2", "overlay.qcow2", "20M"],
                    ["qemu-io", "-c", "write 15M 1M", "-c", "write 1M 200k", "overlay.qcow2"],
                    ["qemu-img", "convert", "-O", "raw", "full.qcow2", "plain.raw"]):
        run(command, folder)
    for chosen in ([], ["cluster_size=4k"], ["cluster_size=2M"], ["preallocation=full"]):
        measure_image(folder, chosen)

print(", ".join(f"{count} {name}" for name, count in compared.items()))
for complaint in complaints[:20]:
    print(complaint)
if complaints or compared["create"] < 80 or compared["measure"] < 400 or compared["refused"] < 20:
    sys.exit(f"{len(complaints)} differences")
