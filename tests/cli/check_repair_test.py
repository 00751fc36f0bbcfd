"""check -r from outside: qemu-img's words, keys and exit codes, on a repair that can be undone and loses nothing unasked.

The same images go to qemu-img's own check -r: where both repair, they say the same numbers.
"""
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from jsonschema import Draft202012Validator

from program import cowvet, expect, expect_code, expect_error, finish, run_parts, samples, scratch

SCHEMA = Draft202012Validator(json.loads(cowvet("schema", "check").out))
KEYS = ("corruptions", "corruptions-fixed", "leaks", "leaks-fixed", "check-errors", "total-clusters", "allocated-clusters")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def repaired(folder, image, level, *more):
    """A copy of the image after check -r; what was said, and the document."""
    for old in folder.glob("copy*"):
        old.unlink()
    shutil.copy(folder / image, folder / "copy")
    said = cowvet("check", "-r", level, "--output=json", *more, "copy", folder=folder)
    document = json.loads(said.out)
    for error in SCHEMA.iter_errors(document):
        expect(False, f"{error.json_path}: {error.message}", said)
    return said, document


def says_what_qemu_says(folder):
    for image in "good.qcow2", "leaky.qcow2":
        for level in "leaks", "all":
            said, ours = repaired(folder, image, level)
            shutil.copy(folder / image, folder / "theirs")
            theirs = subprocess.run(["qemu-img", "check", "-r", level, "--output=json", "theirs"], cwd=folder, capture_output=True)
            expect(said.code == theirs.returncode, f"{image}: exit code {theirs.returncode} by qemu-img", said)
            theirs = json.loads(theirs.stdout)
            expect({key: ours.get(key) for key in KEYS} == {key: theirs.get(key) for key in KEYS}, f"{image}: {theirs}", said)
    said, _ = repaired(folder, "leaky.qcow2", "leaks")
    expect(said.err.startswith("Repairing cluster[6]: "), "no word of what is repaired", said)
    shutil.copy(folder / "leaky.qcow2", folder / "human")
    said = expect_code(0, "check", "-r", "leaks", "human", folder=folder)
    expect(said.out.startswith("The following inconsistencies were found and repaired:\n\n    1 leaked clusters\n    0 corruptions\n\n"
                               "Double checking the fixed image now...\n"), "other words", said)
    expect("'cowvet undo human.cowvet-undo' brings every byte back." in said.out, "no word of undo", said)
    expect_code(0, "undo", "human.cowvet-undo", folder=folder)
    expect(digest(folder / "human") == digest(folder / "leaky.qcow2"), "undo does not restore")
    quiet = folder / "quiet"
    shutil.copy(folder / "leaky.qcow2", quiet)
    said = expect_code(0, "check", "-q", "-r", "leaks", "quiet", folder=folder)
    expect(not said.out and not said.err, "is not quiet", said)


def frees_nothing_that_may_be_data(folder):
    # qemu-img frees the lost table and its data here, and says that it repaired two leaks.
    before = digest(folder / "torn.qcow2")
    said, document = repaired(folder, "torn.qcow2", "leaks")
    expect(said.code == 2 and digest(folder / "copy") == before, "changes what it does not understand", said)
    expect("leaks-fixed" not in document and {one["consent"] for one in document["withheld"]} == {"none", "choice"},
           "what is withheld", said)
    human = expect_code(2, "check", "-r", "leaks", "copy", folder=folder)
    expect("put the lost L2 table back (refcount/leak-holds-table): takes -r all" in " ".join(human.out.split()), "no word of -r all", human)
    said, document = repaired(folder, "torn.qcow2", "all")
    expect(said.code == 0 and document["corruptions-fixed"] == 2 and document["leaks-fixed"] == 2, "puts it back", said)


def asks_for_consent_to_lose(folder):
    # Without its table, the disk's first entry leads nowhere: to give it up is a loss, which qemu-img does not ask about.
    shutil.copy(folder / "torn.qcow2", folder / "lost.qcow2")
    with open(folder / "lost.qcow2", "r+b") as file:
        file.seek(0x40000)
        file.write(bytes(65536))
    said, document = repaired(folder, "lost.qcow2", "all")
    expect(said.code == 2 and any(one["consent"] == "lossy" for one in document["withheld"]), "loses unasked", said)
    human = cowvet("check", "-r", "all", "copy", folder=folder)
    expect("something would be lost: takes -r all --allow-loss" in " ".join(human.out.split()), "no word of --allow-loss", human)
    said, document = repaired(folder, "lost.qcow2", "all", "--allow-loss")
    expect(said.code in (0, 3) and "corruptions" not in document, "gives up what is lost", said)


def refuses(folder):
    expect_error("check", "-r", "some", "good.qcow2", says="-r: 'leaks' and 'all' are known", folder=folder)
    expect_error("check", "-r", "leaks", "--allow-loss", "good.qcow2", says="goes with -r all", folder=folder)
    expect_error("check", "-r", "all", "--chain", "good.qcow2", says="-r", folder=folder)
    said = cowvet("check", "-r", "all", "disk.raw", folder=folder)
    expect(said.code == 63, "no qcow2 image", said)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "leaky.qcow2", "-F", "qcow2", "top.qcow2"], cwd=folder, check=True)
    before = digest(folder / "leaky.qcow2")
    said = cowvet("check", "-r", "all", "leaky.qcow2", folder=folder)
    expect(said.code == 1 and "top.qcow2" in said.err and digest(folder / "leaky.qcow2") == before, "repairs what overlays stand on", said)
    expect_code(0, "check", "-r", "all", "--force", "leaky.qcow2", folder=folder)


with scratch() as name:
    folder = samples(name)
    run_parts(folder, says_what_qemu_says, frees_nothing_that_may_be_data, asks_for_consent_to_lose, refuses)
finish()
