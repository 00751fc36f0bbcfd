"""`convert` into encrypted images, made by the command or there before, beside qemu-img.

The same exit code for the same words; qemu-img, with the key alone, reads the guest's bytes from what cowvet wrote, and
cowvet from what qemu-img wrote; neither program's check finds anything; and no block of the plain content is in the file.
"""
import shutil
import sys
from pathlib import Path

from programs import COWVET, SECRET, cowvet, need, run, scratch

need("qemu-img", "qemu-io")
MARK = b"this must not be seen in an encrypted file "
LUKS = "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10"
AES = "encrypt.format=aes,encrypt.key-secret=key"
OPEN = "driver=qcow2,file.filename={},encrypt.key-secret=key"
OTHER = ["--object", "secret,id=other,data=battery"]
complaints = []
tried = 0


def must(words, folder):
    said = run(words, folder)
    assert said.code == 0, said


def sources(folder):
    (folder / "plain").write_bytes((MARK * 30000).ljust(3 << 20, b"\0") + MARK * 20000)
    must(["truncate", "-s", "5M", "plain"], folder)
    must(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "plain", "disk"], folder)
    must(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "plain", "packed"], folder)
    must(["qemu-img", "convert", *SECRET, "-f", "raw", "-O", "qcow2", "-o", LUKS, "plain", "locked"], folder)
    must(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "disk", "-F", "qcow2", "top"], folder)


def read_alike(folder, name, said, prefixes):
    """What both programs read in what each wrote, and what they think of it."""
    plain = (folder / "plain").read_bytes()
    for prefix, program in prefixes:
        shown = run([program, "convert", *SECRET, "--image-opts", "-O", "raw", OPEN.format(f"{prefix}out"), "shown"], folder)
        if shown.code != 0 or (folder / "shown").read_bytes() != plain:
            complaints.append(f"{name}: other bytes in {prefix}out\n{said}{shown}")
    for check in (run(["qemu-img", "check", *SECRET, "--image-opts", OPEN.format("ours-out")], folder), cowvet(folder, "check", "ours-out")):
        if check.code != 0:
            complaints.append(f"{name}: {said}{check}")
    for file in ("ours-out", "ours-data"):
        if (folder / file).exists() and MARK[:16] in (folder / file).read_bytes():
            complaints.append(f"{name}: plain bytes in {file}\n{said}")


def call(folder, program, prefix, words, before):
    for file in (f"{prefix}out", f"{prefix}data"):
        (folder / file).unlink(missing_ok=True)
    if before:
        shutil.copy(folder / before, folder / f"{prefix}out")
    return run([program, *(word.replace("TARGET", f"{prefix}out").replace("DATA", f"{prefix}data") for word in words)], folder)


def both(folder, name, *words, before=None):
    """`TARGET` in the words is the file of each program, which is a copy of `before` at first."""
    global tried
    tried += 1
    theirs, ours = call(folder, "qemu-img", "theirs-", words, before), call(folder, COWVET, "ours-", words, before)
    if ours.code != theirs.code:
        complaints.append(f"{name}: exit codes differ\n{theirs}{ours}")
    elif ours.code == 0:
        read_alike(folder, name, ours, [("ours-", "qemu-img"), ("ours-", COWVET), ("theirs-", COWVET)])
    elif before and (folder / "ours-out").read_bytes() != (folder / before).read_bytes():
        complaints.append(f"{name}: a refusal changed the target\n{ours}")
    elif not before and (folder / "ours-out").exists():
        complaints.append(f"{name}: a refusal left a file\n{ours}")


def ours_alone(folder, name, *words):
    """qemu-img takes many seconds to derive a new key, whatever iter-time says, and so only reads."""
    global tried
    tried += 1
    said = call(folder, COWVET, "ours-", words, None)
    if said.code != 0:
        complaints.append(f"{name}: {said}")
    else:
        read_alike(folder, name, said, [("ours-", "qemu-img"), ("ours-", COWVET)])


def new_targets(folder):
    for options in (LUKS, f"{LUKS},cluster_size=512", f"{LUKS},cluster_size=2M", f"{LUKS},extended_l2=on", f"{LUKS},preallocation=metadata",
                    f"{LUKS},preallocation=full", f"{LUKS},refcount_bits=1,lazy_refcounts=on", f"{LUKS},data_file=DATA",
                    f"{LUKS},encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256"):
        ours_alone(folder, options, "convert", *SECRET, "-O", "qcow2", "-o", options, "disk", "TARGET")
    for options in (AES, f"{AES},compat=0.10", f"{AES},extended_l2=on", f"{AES},preallocation=metadata"):
        both(folder, options, "convert", *SECRET, "-O", "qcow2", "-o", options, "disk", "TARGET")
    for source in ("plain", "packed", "top"):
        ours_alone(folder, source, "convert", *SECRET, "-O", "qcow2", "-o", LUKS, source, "TARGET")
    ours_alone(folder, "from one key to another", "convert", *SECRET, "--image-opts", "-O", "qcow2", "-o", LUKS, OPEN.format("locked"),
               "TARGET")
    ours_alone(folder, "-B", "convert", *SECRET, "-O", "qcow2", "-B", "disk", "-F", "qcow2", "-o", LUKS, "top", "TARGET")
    both(folder, "no room for streams", "convert", *SECRET, "-c", "-O", "qcow2", "-o", AES, "disk", "TARGET")
    both(folder, "no key", "convert", "-O", "qcow2", "-o", "encrypt.format=luks", "disk", "TARGET")
    both(folder, "unknown key", "convert", *SECRET, "-O", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=none", "disk", "TARGET")
    both(folder, "raw", "convert", *SECRET, "-O", "raw", "-o", LUKS, "disk", "TARGET")


def targets_that_are_there(folder):
    into = ["convert", *SECRET, "-n", "--target-image-opts"]
    for number, options in enumerate((AES, LUKS, f"{LUKS},cluster_size=4k", f"{LUKS},extended_l2=on", f"{LUKS},preallocation=metadata")):
        before = f"before-{number}"
        must([COWVET, "create", "-q", *SECRET, "-f", "qcow2", "-o", options, before, "5M"], folder)
        for source in ("plain", "packed", "top"):
            both(folder, f"into one of {options}", *into, source, OPEN.format("TARGET"), before=before)
    must([COWVET, "create", "-q", *SECRET, "-f", "qcow2", "-o", LUKS, "small", "4M"], folder)
    both(folder, "--target-is-zero", *into, "--target-is-zero", "disk", OPEN.format("TARGET"), before="before-1")
    both(folder, "source options as well", *into, "--image-opts", OPEN.format("locked"), OPEN.format("TARGET"), before="before-1")
    both(folder, "over other content", *into, "disk", OPEN.format("TARGET"), before="locked")
    wrong = OPEN.format("TARGET").replace("=key", "=other")
    both(folder, "wrong key", "convert", *SECRET, *OTHER, "-n", "--target-image-opts", "disk", wrong, before="before-1")
    both(folder, "key not given", "convert", *OTHER, "-n", "--target-image-opts", "disk", OPEN.format("TARGET"), before="before-1")
    both(folder, "no key in the options", "convert", "-n", "--target-image-opts", "disk", "driver=qcow2,file.filename=TARGET",
         before="before-1")
    both(folder, "too small", *into, "disk", OPEN.format("TARGET"), before="small")


with scratch() as name:
    folder = Path(name)
    sources(folder)
    new_targets(folder)
    targets_that_are_there(folder)

print(f"{tried} copies")
for complaint in complaints[:20]:
    print(complaint)
if complaints or tried < 30:
    sys.exit(f"{len(complaints)} complaints, {tried} copies")
