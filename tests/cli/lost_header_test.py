"""A header that was overwritten, with what lies behind it in the first cluster left: extensions, and the backing file's name.

The repair keeps them and leads the new header to them, so that an overlay shows its base again and LUKS images keep their key
material; salvage reads the image so too, and never calls certain what it had to infer.
"""
import subprocess
from pathlib import Path

from program import cowvet, expect, expect_code, finish, run_parts, scratch

MIB = 1 << 20


def qemu(*words, folder):
    return subprocess.run(words, cwd=folder, capture_output=True, text=True)


def zeroed(path, length):
    with open(path, "r+b") as file:
        file.write(bytes(length))


def reads(folder, name, *patterns):
    said = qemu("qemu-io", "-r", *[word for pattern, offset in patterns for word in ("-c", f"read -P {pattern} {offset} 64k")], name,
                folder=folder)
    return said.returncode == 0 and "failed" not in said.stdout


def overlays_keep_their_base(folder):
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "base.qcow2", "8M", folder=folder)
    qemu("qemu-io", "-c", "write -q -P 17 0 1M", "base.qcow2", folder=folder)
    for compat, lengths in (("1.1", (8, 104, 112)), ("0.10", (8, 72))):
        for length in lengths:
            name = f"top-{compat}-{length}.qcow2"
            qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"compat={compat}", "-b", "base.qcow2", "-F", "qcow2", name, "8M",
                 folder=folder)
            qemu("qemu-io", "-c", "write -q -P 119 1M 64k", name, folder=folder)
            zeroed(folder / name, length)
            expect_code(3, "salvage", name, f"{name}.salvaged", folder=folder)
            expect(reads(folder, f"{name}.salvaged", (17, 0), (119, MIB)), f"{name}: salvage has lost the base")
            said = expect_code(0, "repair", "--level", "all", name, folder=folder)
            expect(reads(folder, name, (17, 0), (119, MIB)), f"{name}: the base is not shown", said)
            info = qemu("qemu-img", "info", name, folder=folder).stdout
            expect("backing file: base.qcow2" in info and "backing file format: qcow2" in info, f"{name}: {info}")


def other_extensions_stay(folder):
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on", "outside.qcow2", "4M", folder=folder)
    qemu("qemu-io", "-c", "write -q -P 9 1M 64k", "outside.qcow2", folder=folder)
    zeroed(folder / "outside.qcow2", 104)
    said = expect_code(0, "repair", "--level", "all", "outside.qcow2", folder=folder)
    expect(reads(folder, "outside.qcow2", (9, MIB)), "the data file is not found again", said)
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "marked.qcow2", "4M", folder=folder)
    qemu("qemu-io", "-c", "write -q -P 9 1M 64k", "marked.qcow2", folder=folder)
    qemu("qemu-img", "bitmap", "--add", "marked.qcow2", "kept", folder=folder)
    zeroed(folder / "marked.qcow2", 104)
    cowvet("repair", "--level", "all", "marked.qcow2", folder=folder)
    expect(reads(folder, "marked.qcow2", (9, MIB)), "the data is not there")
    said = qemu("qemu-img", "info", "marked.qcow2", folder=folder).stdout
    expect("name: kept" in said, "the bitmap is gone", said)


def a_base_that_is_not_found_is_no_success(folder):
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "away.qcow2", "8M", folder=folder)
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-b", "away.qcow2", "-F", "qcow2", "on.qcow2", "8M", folder=folder)
    (folder / "moved").mkdir()
    (folder / "away.qcow2").rename(folder / "moved" / "away.qcow2")
    expect_code(2, "check", "-q", "--chain", "on.qcow2", folder=folder)
    expect_code(2, "repair", "-q", "--chain", "on.qcow2", folder=folder)
    expect_code(2, "repair", "-q", "--chain", "--search", "moved", "on.qcow2", folder=folder)  # nothing proves it
    expect_code(0, "repair", "-q", "--chain", "--search", "moved", "--level", "all", "on.qcow2", folder=folder)
    expect_code(0, "check", "-q", "--chain", "on.qcow2", folder=folder)


with scratch() as name:
    run_parts(Path(name), overlays_keep_their_base, other_extensions_stay, a_base_that_is_not_found_is_no_success)
finish()
