"""The other verbs from outside: what they print, and what they say when they can't."""
import json
import os
import subprocess

from program import COWVET, cowvet, expect, expect_code, expect_error, finish, image, l1_offset, run_parts, samples, scratch, word


def program(folder):
    expect(expect_code(0, "--version").out.startswith("cowvet 0."), "no version")
    overview = expect_code(0, "--help").out
    for verb in ("check", "undo", "info", "map", "create", "measure", "convert", "dd", "commit", "rebase", "pull", "snapshot", "resize",
                 "amend", "bitmap", "compare", "io", "bench", "model", "dump", "rules", "schema"):
        expect(f"\n  {verb} " in overview, f"--help does not list {verb}")
        said = expect_code(0, verb, "--help")
        expect("Examples:" in said.out and f"cowvet {verb}" in said.out, f"{verb} --help has no example", said)
        expect_error(verb, "--frob", "x", says=f"see 'cowvet {verb} --help'")
    expect_error("chekc", says="did you mean 'check'?")
    expect_error("--vesrion", says="there is no option '--vesrion'")
    expect_error(says="no verb given")
    expect_error("dd", says="if=FILE")


def info(folder):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "good.qcow2", "-F", "qcow2", "top.qcow2"],
                   cwd=folder, check=True)
    said = expect_code(0, "info", "top.qcow2", folder=folder)
    expect("backing file: good.qcow2\nbacking file format: qcow2\n" in said.out, "no backing file", said)
    chain = json.loads(expect_code(0, "info", "--backing-chain", "--output=json", "top.qcow2", folder=folder).out)
    expect([one["filename"] for one in chain] == ["top.qcow2", "good.qcow2"], "not the whole chain", chain)
    expect(json.loads(expect_code(0, "info", "--output=json", "disk.raw", folder=folder).out)["format"] == "raw",
           "a raw file has the format raw")
    expect_error("info", "gone.qcow2", says="no such file", folder=folder)
    expect_error("info", "-f", "qcow2", "disk.raw", says="no qcow2 image", folder=folder)
    # What follows "file:" is a file's name, whatever it looks like: every walk down a chain goes there.
    image(folder / "nbd:x.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "file:nbd:x.qcow2", "-F", "qcow2", "odd.qcow2"],
                   cwd=folder, check=True)
    for words in ["info", "--backing-chain"], ["check", "--chain"]:
        chain = json.loads(expect_code(0, *words, "--output=json", "odd.qcow2", folder=folder).out)
        expect({one["filename"] for one in chain} == {"odd.qcow2", "./nbd:x.qcow2"}, "file: and a colon", chain)
    # A chain that bites its tail, and one with a hole, are errors, and only when the chain is asked for.
    image(folder / "b.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "b.qcow2", "-F", "qcow2", "a.qcow2"], cwd=folder,
                   check=True)
    subprocess.run(["qemu-img", "rebase", "-q", "-u", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2"], cwd=folder, check=True)
    expect_code(0, "info", "a.qcow2", folder=folder)
    expect_error("info", "--backing-chain", "a.qcow2", says="the chain never ends", folder=folder)
    expect_error("map", "a.qcow2", says="the chain never ends", folder=folder)
    os.rename(folder / "b.qcow2", folder / "moved.qcow2")
    expect_code(0, "info", "a.qcow2", folder=folder)
    expect_error("info", "--backing-chain", "a.qcow2", says="backing file 'b.qcow2': no such file", folder=folder)


def map_(folder):
    said = expect_code(0, "map", "--output", "json", "top.qcow2", folder=folder)
    first = json.loads(said.out)[0]
    expect(first["depth"] == 1 and first["data"] and first["length"] == 65536, "the backing file's data", said)
    said = expect_code(0, "map", "-s", "32k", "-l", "8k", "top.qcow2", folder=folder)
    expect(said.out.splitlines()[1].split()[:2] == ["0x8000", "0x2000"], "the part asked for", said)
    expect_error("map", "-s", "here", "top.qcow2", says="'here' is no size", folder=folder)
    # A disk of 2^64 - 1 bytes is mostly nothing: it ends at once all the same.
    endless = image(folder / "endless.qcow2", [(24, (1 << 64) - 1)])
    said = expect_code(0, "map", "--output", "json", endless.name, folder=folder)
    last = json.loads(said.out)[-1]
    expect(last["start"] + last["length"] == (1 << 64) - 512, "the end of the disk", said)
    # An L1 table that can't be reached is no empty disk.
    image(folder / "lost.qcow2", [(40, 1 << 40)])
    said = expect_code(1, "map", "lost.qcow2", folder=folder)
    expect("the L1 table reaches past the end of the file" in said.err, "a lost L1 table", said)
    # Damage ends with an error that says where; nothing is invented.
    good = folder / "good.qcow2"
    table = word(good, l1_offset(good)) & 0x00fffffffffffe00
    image(folder / "odd.qcow2", [(table, word(good, table) | 512)])
    said = cowvet("map", "--output", "json", "odd.qcow2", folder=folder)
    expect(said.code == 1 and "not aligned" in said.err, "a misaligned cluster", said)


def image_options(folder):
    plain = expect_code(0, "check", "good.qcow2", folder=folder)
    said = expect_code(0, "check", "--image-opts", "driver=qcow2,file.filename=good.qcow2", "-T", "none", folder=folder)
    expect(said.out == plain.out, "another report for an image named by options", said)
    os.link(folder / "good.qcow2", folder / "a,b.qcow2")
    expect_code(0, "info", "--image-opts", "file.driver=file,file.filename=a,,b.qcow2,driver=qcow2", folder=folder)
    expect_error("map", "--image-opts", "driver=nbd,host=elsewhere", says="'driver=nbd' is not known here", folder=folder)
    expect_error("layout", "--image-opts", "driver=qcow2", says="no file is named", folder=folder)


def dump(folder):
    said = expect_code(0, "dump", "good.qcow2", folder=folder)
    expect("header at 0x0" in said.out and "cluster_bits" in said.out and "ext[0]" in said.out, "no header", said)
    good = folder / "good.qcow2"
    said = expect_code(0, "dump", "--output", "json", "good.qcow2", "l1[0].l2[0]", "cluster[0]", f"l1_entry@{l1_offset(good)}",
                       "header.size", folder=folder)
    entry, refcount, l1, *header = json.loads(said.out)["structures"]
    expect(entry["parts"][0]["bits"] == {"offset": 0x50000, "copied": 1}, "the first L2 entry", said)
    expect(refcount["parts"][0]["value"] == 1, "the header's refcount", said)
    expect(l1["parts"][0]["value"] == word(good, l1_offset(good)), "a word by its offset", said)
    expect(header[0]["path"] == "header" and len(header) == 3, "a field of the header shows the header", said)
    for path in "l2", "l1[9]", "l1[0].l3", "snapshot[0]", "bitmap[0]", "luks", "header@9999999999", "nothing@0", "l1[0]x":
        said = cowvet("dump", "good.qcow2", path, folder=folder)
        expect(said.code == 1 and said.err.startswith("cowvet: good.qcow2: "), f"dump {path}", said)
    expect_code(0, "dump", "torn.qcow2", "l1", folder=folder)
    expect_code(0, "dump", "disk.raw", "header", folder=folder)
    said = cowvet("dump", "empty", folder=folder)
    expect(said.code == 1 and "too short" in said.err, "an empty file", said)


def rules(folder):
    listed = expect_code(0, "rules").out
    expect(listed.count("\n") > 150 and "refcount/leak" in listed, "the list of rules", listed)
    said = expect_code(0, "rules", "refcount/leak")
    by_number = json.loads(expect_code(0, "rules", "refcount/leak", "--output=json").out)["rules"][0]["number"]
    expect(expect_code(0, "rules", str(by_number)).out == said.out, "by number and by name", said)
    expect_error("rules", "refcount/leek", says="did you mean 'refcount/leak'?")


def schema(folder):
    for name in expect_code(0, "schema").out.split():
        said = expect_code(0, "schema", name)
        expect(json.loads(said.out)["$id"] == f"cowvet.{name}/1", "its id", said)
    expect_error("schema", "nothing", says="no schema 'nothing'")


with scratch() as name:
    folder = samples(name)
    run_parts(folder, program, info, map_, image_options, dump, rules, schema)
finish()
