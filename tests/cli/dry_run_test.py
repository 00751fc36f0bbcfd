"""--dry-run of the operations on chains: not a byte changes, no file appears or goes, and all that becomes invalid is named."""
import json
import subprocess
from pathlib import Path

from jsonschema import Draft202012Validator

from program import cowvet, expect, expect_code, expect_error, finish, run_parts, scratch

SCHEMA = Draft202012Validator(json.loads(cowvet("schema", "chain-edit").out))


def qemu(folder, *words):
    subprocess.run(words, cwd=folder, check=True, capture_output=True)


def chain(folder):
    """root <- s1 <- s2 <- active; root <- beside <- further; a snapshot in active."""
    for path in folder.iterdir():
        path.unlink()
    below = None
    for number, name in enumerate(("root", "s1", "s2", "active")):
        qemu(folder, "qemu-img", "create", "-q", "-f", "qcow2", *(("-b", below, "-F", "qcow2") if below else ()), name, "1M")
        qemu(folder, "qemu-io", "-c", f"write -q -P {number + 1} {number * 128}k 256k", name)
        below = name
    qemu(folder, "qemu-img", "snapshot", "-c", "s", "active")
    for name, under in ("beside", "root"), ("further", "beside"):
        qemu(folder, "qemu-img", "create", "-q", "-f", "qcow2", "-b", under, "-F", "qcow2", name)


def state(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def told(folder, *words):
    """What the call would do, as JSON, and that it did nothing."""
    before = state(folder)
    said = expect_code(0, *words, "--dry-run", "--output", "json", folder=folder)
    expect(state(folder) == before, f"{words}: --dry-run changed something", said)
    report = json.loads(said.out) if said.code == 0 else {}
    wrong = [error.message for error in SCHEMA.iter_errors(report)]
    expect(not wrong, f"{words}: not what the schema says", wrong)
    return report


def nothing_is_written(folder):
    chain(folder)
    for words in (["commit", "active"], ["commit", "-b", "root", "active"], ["commit", "--base", "root", "--top", "s1", "active"],
                  ["rebase", "-b", "root", "-F", "qcow2", "active"], ["rebase", "-b", "", "active"],
                  ["rebase", "-u", "-b", "root", "-F", "qcow2", "active"], ["pull", "active"], ["pull", "--base", "root", "active"],
                  ["snapshot", "--external", "new", "active"], ["snapshot", "--delete-layer", "s2", "--into", "base", "active"],
                  ["snapshot", "--delete-layer", "s2", "--into", "overlay", "--remove", "active"]):
        report = told(folder, *words)
        expect(report.get("before") and report.get("after"), f"{words}: no chain before and after", report)


def a_snapshot_inside_is_not_touched(folder):
    chain(folder)
    before = state(folder)
    for words in ["-c", "t"], ["-a", "s"], ["-d", "s"]:
        expect_error("snapshot", "--dry-run", *words, "active", folder=folder, says="--dry-run tells what --external")
        expect(state(folder) == before, f"snapshot {words}: --dry-run changed something")
    expect_code(0, "snapshot", "--dry-run", "-l", "active", folder=folder)


def a_layer_that_was_taken_out_keeps_its_file(folder):
    chain(folder)
    expect_code(0, "snapshot", "--delete-layer", "s2", "--into", "overlay", "active", "--force", folder=folder)
    before = state(folder)
    said = expect_code(0, "snapshot", "--delete-layer", "s2", "--into", "overlay", "--remove", "--dry-run", "active", folder=folder)
    expect(state(folder) == before and "would be removed" in said.out, "--dry-run removed a file, or does not tell that", said)


def a_new_overlay_is_told(folder):
    chain(folder)
    report = told(folder, "snapshot", "--external", "new", "active")
    expect([layer["filename"] for layer in report["after"]] == ["new", "active", "s2", "s1", "root"], "another chain", report)
    need = report["space"][0]
    expect(need["filename"] == "new" and 0 < need["needed-bytes"] < 1 << 20 and need["available-bytes"] > 0, "another space", report)
    expect_error("snapshot", "--external", "s1", "--dry-run", "active", folder=folder, says="there is such a file already")
    expect_code(0, "snapshot", "--external", "new", "active", folder=folder)
    expect((folder / "new").stat().st_size <= need["needed-bytes"], "takes more than was said")


def overlays_apart_become_invalid(folder):
    chain(folder)
    report = told(folder, "commit", "--base", "root", "--top", "s1", "active")
    expect(sorted(report["invalid"]) == ["beside", "further", "s1"], "others become invalid", report)
    (folder / "beside").unlink()
    report = told(folder, "commit", "--base", "root", "--top", "s1", "active")
    expect(report["invalid"] == ["s1"], "others become invalid", report)
    report = told(folder, "pull", "active")
    expect(report["invalid"] == [], "a pull makes something invalid", report)


with scratch() as name:
    run_parts(Path(name), nothing_is_written, a_snapshot_inside_is_not_touched, a_layer_that_was_taken_out_keeps_its_file,
              a_new_overlay_is_told, overlays_apart_become_invalid)
finish()
