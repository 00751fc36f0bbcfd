"""The verb model: the installed QEMU agrees with the model but for the known differences; a program that writes something
else is found out, with a short script that fails with it and succeeds with the right one; Ctrl-C leaves nothing behind.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from jsonschema import Draft202012Validator
from programs import COWVET, LONG, SOURCE, cowvet, need, run, scratch

complaints, looked_at = [], 0
# Writes of one pattern become writes of another one.
BROKEN = """#!/bin/bash
exec {io} "${{@//-P 0x[4-7]/-P 0x8}}"
"""


def expect(condition, what, said=""):
    global looked_at
    looked_at += 1
    if not condition:
        complaints.append(f"{what}\n{said}")


def valid(said):
    """The JSON that the verb printed, which its schema describes."""
    document = said.json()
    schema = json.loads(cowvet(SOURCE, "schema", "model").out)
    for error in Draft202012Validator(schema).iter_errors(document):
        expect(False, f"{error.json_path}: {error.message}", said)
    expect(not Draft202012Validator(schema).is_valid({}), "the schema takes everything")
    return document


def model(folder, *words):
    return run([COWVET, "model", "--output", "json", *words], folder, 3600 if LONG else 600)


def agrees(folder):
    for engine, operations, profile in (
            (f"qemu-img:{shutil.which('qemu-img')}", 20000 if LONG else 1000, "all"),
            ("qemu-img:qemu-img", 4000 if LONG else 200, "snapshots"),
            ("qemu-img:qemu-img", 4000 if LONG else 200, "chains"),
            ("cowvet", 2000 if LONG else 300, "chains")):
        said = model(folder, "--engine", engine, "--ops", str(operations), "--seed", "5", "--profile", profile)
        expect(said.code == 0, f"{engine} disagrees", said)
        report = valid(said)
        expect(report["operations"] >= operations and not report["disagreement"] and not report["stopped"],
               "another report", said)
        expect(profile != "chains" or report["kinds"]["commit"] and report["kinds"]["rebase"], "nothing done to trees", said)
        met = {known["name"]: known["met"] for known in report["known-differences"]}
        expect(engine == "cowvet" or sum(1 for count in met.values() if count) >= 3, "known differences not counted", met)
        print(f"{engine}, {profile}: {report['operations']} operations, {report['combinations']} combinations, {met}")


def finds_what_is_broken(folder):
    broken = folder / "broken"
    broken.mkdir()
    img, io = shutil.which("qemu-img"), shutil.which("qemu-io")
    os.symlink(img, broken / "qemu-img")
    (broken / "qemu-io").write_text(BROKEN.format(io=io))
    (broken / "qemu-io").chmod(0o755)
    script = folder / "failing.sh"
    said = model(folder, "--engine", f"qemu-img:{broken / 'qemu-img'}", "--ops", "500", "--script", str(script))
    expect(said.code == 2, "a wrong write is not found", said)
    report = valid(said)
    found = report["disagreement"]
    expect(found and found["oracle"] == "content" and found["script"] == script.read_text(), "another report", said)
    does = [line for line in script.read_text().splitlines() if "write" in line or line.startswith("$img create")]
    expect(len(does) <= 3, "the script is not simple", "\n".join(does))
    human = run([COWVET, "model", "--engine", f"qemu-img:{broken / 'qemu-img'}", "--ops", "500"], folder, 600)
    expect(human.code == 2 and "DISAGREEMENT (content)" in human.out and script.read_text() in human.out, "no script", human)
    for program, code in ((broken / "qemu-io", 1), (io, 0)):
        place = folder / f"run{code}"
        place.mkdir()
        done = subprocess.run(["sh", script], cwd=place, env={**os.environ, "img": img, "io": str(program)},
                              capture_output=True, text=True, timeout=100)
        expect(done.returncode == code, f"the script ends with {done.returncode} with {program}", done.stdout + done.stderr)


def says_what_it_needs(folder):
    for words, says in ((["--engine", "qemu-img:/nowhere/qemu-img"], "/nowhere/qemu-io can't be run: give the path"),
                        (["--engine", "qemu-img:a b"], "'a b' can't be used as a program's name"),
                        (["--engine", "qemu"], "'qemu' is no engine: give cowvet or qemu-img:PATH")):
        said = cowvet(folder, "model", *words)
        expect(said.code == 1 and says in said.err and not said.out, f"does not say: {says}", said)


def stops(folder):
    place = folder / "temporary"
    place.mkdir()
    words = [COWVET, "model", "--engine", "qemu-img:qemu-img", "--ops", "1000000", "--seed", "5", "--output", "json", "-p"]
    process = subprocess.Popen(words, cwd=folder, env={**os.environ, "TMPDIR": str(place)}, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    time.sleep(3)
    expect(any(place.iterdir()), "no scratch folder")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    expect(process.returncode == 1 and json.loads(out)["stopped"], f"exit code {process.returncode}", out + err)
    expect(" of 1000000 operations" in err, "no progress", err)
    expect(not any(place.iterdir()), "leaves its folder behind", list(place.rglob("*")))
    said = run([COWVET, "model", "--time", "1", "-p"], folder)
    expect(said.code == 0 and "of 1 seconds" in said.err, "a limited time", said)


need("qemu-img", "qemu-io")
with scratch() as name:
    for part in (agrees, finds_what_is_broken, says_what_it_needs, stops):
        part(Path(name))
for complaint in complaints:
    print(complaint)
print(f"{len(complaints)} complaints, {looked_at} looked at")
sys.exit(1 if complaints or not looked_at else 0)
