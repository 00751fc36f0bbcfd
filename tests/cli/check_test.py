"""cowvet check from outside: exit codes, forms, reports in files, and what it says when it can't."""
import json
import os
import xml.dom.minidom

from program import cowvet, expect, expect_code, expect_error, finish, image, make, run_parts, samples, scratch


def exit_codes(folder):
    expect_code(0, "check", "good.qcow2", folder=folder)
    expect_code(2, "check", "torn.qcow2", folder=folder)
    expect_code(3, "check", "leaky.qcow2", folder=folder)
    expect_code(63, "check", "disk.raw", folder=folder)
    expect_code(63, "check", "empty", folder=folder)
    expect_code(63, "check", "-f", "raw", "good.qcow2", folder=folder)
    expect_code(2, "check", "-f", "qcow2", "disk.raw", folder=folder)
    # The worst image counts, in whatever order.
    expect_code(2, "check", "-q", "leaky.qcow2", "torn.qcow2", "good.qcow2", folder=folder)
    expect_code(2, "check", "-q", "torn.qcow2", "gone.qcow2", folder=folder)
    expect_code(1, "check", "-q", "leaky.qcow2", "gone.qcow2", "good.qcow2", folder=folder)
    # The line that --fail-on moves.
    expect_code(0, "check", "--fail-on", "error", "leaky.qcow2", folder=folder)
    expect_code(2, "check", "--fail-on", "error", "torn.qcow2", folder=folder)
    expect_code(0, "check", "--allow", "refcount/leak", "leaky.qcow2", folder=folder)


def failures(folder):
    expect_error("check", "gone.qcow2", says="gone.qcow2: no such file", folder=folder)
    expect_error("check", ".", says="is a directory", folder=folder)
    expect_error("check", says="IMAGE is missing", folder=folder)
    expect_error("check", "--frob", "good.qcow2", says="there is no option '--frob'", folder=folder)
    expect_error("check", "--output", "yaml", "good.qcow2", says="'yaml'", folder=folder)
    expect_error("check", "--fail-on", "often", "good.qcow2", says="no severity 'often'", folder=folder)
    expect_error("check", "--allow", "no/such", "good.qcow2", says="no rule 'no/such'", folder=folder)
    expect_error("check", "--report", "out.pdf", "good.qcow2", says="out.pdf", folder=folder)
    expect_error("check", "--memory-limit", "much", "good.qcow2", says="no size", folder=folder)
    expect_error("check", "--memory-limit", "400k", "good.qcow2", says="the least that works", folder=folder)
    expect_error("check", "-r", "some", "leaky.qcow2", says="leaks", folder=folder)
    os.mkfifo(folder / "fifo")
    expect_error("check", "fifo", says="fifo", folder=folder)
    if os.geteuid() != 0:
        (folder / "secret.qcow2").write_bytes(b"")
        (folder / "secret.qcow2").chmod(0)
        expect_error("check", "secret.qcow2", says="secret.qcow2", folder=folder)
    # An output that can't be written is a failure, not silence.
    with open("/dev/full", "w") as full:
        import subprocess
        done = subprocess.run([os.environ["COWVET"], "check", "good.qcow2"], cwd=folder, stdout=full, stderr=subprocess.PIPE)
        expect(done.returncode == 1 and b"can't be written" in done.stderr, "a full disk is not noticed", done)
    said = cowvet("check", "--report", "no-such-folder/out.json", "good.qcow2", folder=folder)
    expect(said.code == 1 and "no-such-folder/out.json" in said.err, "a report that can't be written", said)


def output(folder):
    said = expect_code(3, "check", "-q", "leaky.qcow2", folder=folder)
    expect(not said.out and not said.err, "-q is not quiet", said)
    said = expect_code(3, "check", "leaky.qcow2", folder=folder)
    expect(said.out.startswith("leaky.qcow2: leaks: ") and "refcount/leak" in said.out, "no verdict first", said)
    expect("\033" not in said.out, "colours in a file", said)
    said = expect_code(3, "check", "--color", "always", "leaky.qcow2", folder=folder)
    expect("\033[" in said.out, "no colours though asked", said)
    said = expect_code(2, "check", "--output", "json", "good.qcow2", "torn.qcow2", folder=folder)
    names = [one["filename"] for one in json.loads(said.out)]
    expect(names == ["good.qcow2", "torn.qcow2"], "not an array in order", said)
    said = expect_code(3, "check", "--allow", "l1/oversized", "--max-findings", "0", "--output=json", "leaky.qcow2",
                       folder=folder)
    report = json.loads(said.out)
    expect(report["findings"] == [] and report["leaks"] == 1, "counts suffer from --max-findings 0", said)
    said = expect_code(0, "check", "--allow", "refcount/leak", "--output=json", "leaky.qcow2", folder=folder)
    report = json.loads(said.out)
    expect("leaks" not in report and report["summary"]["allowed"]["refcount/leak"]["findings"] == 1,
           "what is allowed is not counted apart", said)


def chains(folder):
    inner = folder / "chains"
    inner.mkdir()
    make(inner / "base.qcow2", "image size=1M\ndata 0..3\n")
    for name, below, form in (("mid", "base.qcow2", "qcow2"), ("top", "mid.qcow2", "qcow2"), ("other", "./base.qcow2", "qcow2"),
                              ("orphan", "gone.qcow2", "qcow2"), ("on-raw", "disk.raw", "raw"), ("far", "nbd://127.0.0.1:1/x", "raw"),
                              ("on-vmdk", "disk.vmdk", "vmdk"), ("on-lost", "disk.raw", "qcow2"), ("ring", "ring2.qcow2", "qcow2"),
                              ("ring2", "ring.qcow2", "qcow2"), ("on-guest", "guest.raw", "raw")):
        make(inner / f"{name}.qcow2", f'image size=1M\nbacking "{below}" format={form}\n')
    (inner / "disk.raw").write_bytes(b"\x01" * (1 << 20))
    (inner / "disk.vmdk").write_bytes(b"KDMV" + bytes(1 << 20))

    def looked_at(code, *words):
        said = expect_code(code, "check", "--chain", "--output=json", *words, folder=inner)
        document = json.loads(said.out) if said.out else []
        document = document if isinstance(document, list) else [document]
        return [one["filename"] for one in document], {one["filename"]: one for one in document}

    names, by_name = looked_at(0, "top.qcow2")
    expect(names == ["base.qcow2", "mid.qcow2", "top.qcow2"], f"base first: {names}")
    expect([one["verdict"] for one in by_name.values()] == ["sound"] * 3, f"each one judged: {by_name}")
    names, _ = looked_at(0, "top.qcow2", "other.qcow2", "mid.qcow2")
    expect(names == ["base.qcow2", "mid.qcow2", "top.qcow2", "other.qcow2"], f"no file twice: {names}")
    names, _ = looked_at(0, "base.qcow2")
    expect(names == ["base.qcow2"], f"nothing below: {names}")
    said = expect_code(0, "check", "--chain", "top.qcow2", folder=inner)
    expect("was not looked at" not in said.out, "it was looked at", said)
    expect("was not looked at" in expect_code(0, "check", "top.qcow2", folder=inner).out, "what --chain is for")
    # What is wrong between them stands with the image that names the other; what can't be followed is said to be so.
    names, by_name = looked_at(2, "orphan.qcow2")
    expect(names == ["orphan.qcow2"] and "chain/missing" in by_name["orphan.qcow2"]["summary"]["rules"], f"a missing base: {by_name}")
    expect_code(0, "check", "--chain", "-q", "--allow", "chain/missing", "orphan.qcow2", folder=inner)
    expect_code(0, "check", "-q", "orphan.qcow2", folder=inner)
    names, by_name = looked_at(0, "far.qcow2")
    expect("chain/remote-name" in by_name["far.qcow2"]["summary"]["rules"], f"a remote base: {by_name}")
    said = expect_code(0, "check", "--chain", "far.qcow2", folder=inner)
    expect("was not looked at" in said.out, "a base that can't be followed", said)
    names, by_name = looked_at(2, "ring.qcow2")
    expect(len(names) == 2 and all("chain/loop" in one["summary"]["rules"] for one in by_name.values()), f"a circle: {by_name}")
    # A raw base has nothing that could be damaged; another format is not judged; a lost header is.
    names, by_name = looked_at(0, "on-raw.qcow2")
    expect(names == ["disk.raw", "on-raw.qcow2"] and by_name["disk.raw"]["verdict"] == "not-qcow2", f"a raw base: {by_name}")
    looked_at(63, "on-vmdk.qcow2")
    names, by_name = looked_at(2, "on-lost.qcow2")
    expect(by_name["disk.raw"]["verdict"] == "unreadable", f"a base without its header: {by_name}")
    # What a guest wrote leads nowhere: the base is declared raw, and names another file.
    make(inner / "guest.raw", 'image size=1M\nbacking "gone.qcow2" format=qcow2\n')
    names, by_name = looked_at(2, "on-guest.qcow2")
    expect("chain/format-mismatch" in by_name["on-guest.qcow2"]["summary"]["rules"] and len(names) == 2, f"nested: {by_name}")
    expect("chain/missing" not in by_name["guest.raw"]["summary"]["rules"], f"a guest's name was followed: {by_name}")
    names, _ = looked_at(63, "-f", "raw", "top.qcow2")
    expect(names == ["top.qcow2"], f"raw, by -f: {names}")
    # The worst one counts, wherever it lies, and so does one that can't be opened.
    make(inner / "base.qcow2", "image size=1M\ndata 0..3\nreserve x clusters=1\n")
    looked_at(3, "top.qcow2")
    make(inner / "base.qcow2", "image size=1M\ndata 0\ndamage:\nset l2[0][0] = 0x700000000\n")
    looked_at(2, "top.qcow2")
    expect_code(0, "check", "-q", "top.qcow2", folder=inner)
    names, by_name = looked_at(1, "gone.qcow2", "on-raw.qcow2")
    expect(names == ["gone.qcow2", "disk.raw", "on-raw.qcow2"], f"one that can't be opened: {names}")


def reports_in_files(folder):
    words = [word for suffix in ("json", "html", "sarif", "xml", "txt") for word in ("--report", f"out.{suffix}")]
    said = expect_code(2, "check", "-q", *words, "leaky.qcow2", "torn.qcow2", "gone.qcow2", folder=folder)
    expect(len(json.loads((folder / "out.json").read_text())) == 3, "out.json does not hold three images", said)
    sarif = json.loads((folder / "out.sarif").read_text())
    expect(sarif["runs"][0]["invocations"][0]["executionSuccessful"] is False, "SARIF hides the failure", said)
    suites = xml.dom.minidom.parse(str(folder / "out.xml")).getElementsByTagName("testsuite")
    expect([suite.getAttribute("errors") for suite in suites] == ["0", "0", "1"], "JUnit hides the failure", said)
    expect("l1/entry-past-eof" in (folder / "out.html").read_text(), "out.html lacks the finding", said)
    expect("\033" not in (folder / "out.txt").read_text(), "out.txt has colours", said)


def same_bytes(folder):
    for name in "good.qcow2", "torn.qcow2", "leaky.qcow2":
        for form in "json", "human", "sarif", "junit", "html":
            first = cowvet("check", "--output", form, "--jobs", "1", name, folder=folder)
            for jobs in "1", "2", "7":
                again = cowvet("check", "--output", form, "--jobs", jobs, name, folder=folder)
                expect(again.out == first.out and again.out, f"other bytes with --jobs {jobs}", again)


def names(folder):
    for name in "-dash.qcow2", "new\nline.qcow2", "esc\033[2J.qcow2", "json:{}.qcow2", "nbd:x.qcow2", "ümlaut.qcow2":
        os.link(folder / "leaky.qcow2", folder / name)
        said = expect_code(3, "check", "--", name, folder=folder)
        expect("\033" not in said.out and said.out.split(": leaks")[0].count("\n") == 0, "a raw name", said)
        said = expect_code(3, "check", "--output", "json", "--", name, folder=folder)
        expect(json.loads(said.out)["filename"] == name, "another name in JSON", said)
    bad = os.fsencode(folder) + b"/\xff\xfe.qcow2"
    os.link(folder / "leaky.qcow2", bad)
    said = expect_code(3, "check", "--output", "json", bad)
    expect("\ufffd\ufffd.qcow2" in json.loads(said.out)["filename"], "bytes that are no UTF-8", said)


def nothing_is_written(folder):
    dirty = image(folder / "dirty.qcow2", [(72, 1)])
    before = dirty.read_bytes()
    cowvet("check", "--deep", "dirty.qcow2", folder=folder)
    expect(dirty.read_bytes() == before, "a check changed the image")


with scratch() as name:
    folder = samples(name)
    run_parts(folder, exit_codes, failures, output, chains, reports_in_files, same_bytes, names, nothing_is_written)
finish()
