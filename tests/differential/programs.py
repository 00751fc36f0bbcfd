"""Runs cowvet and the installed QEMU programs, and holds what each said.

Every test of this folder starts processes through run(), so that none can hang and each call can be shown again.
"""
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(os.environ.get("COWVET_SOURCE_DIR", Path(__file__).resolve().parents[2]))
COWVET = os.environ.get("COWVET", str(SOURCE / "build" / "release" / "cli" / "cowvet"))
LONG = os.environ.get("COWVET_LONG") == "1"
# Under the sanitizers a start takes 30 times as long. So the program as it is shipped, which tools/test names, runs nine calls
# of ten; with COWVET_LONG=1 the sanitizers see all of them. Leaks are not looked for: that is half of a start, and the
# tests in C++ and the fuzzers do.
SHIPPED = None if LONG else os.environ.get("COWVET_SHIPPED")
calls = itertools.count()
SURROUNDINGS = {**os.environ, "ASAN_OPTIONS": ":".join([os.environ.get("ASAN_OPTIONS", ""), "detect_leaks=0"]).strip(":")}
PATIENCE = 120  # seconds; only a hang takes this long
# QEMU times its key derivation by the processor's clock and gives up when that did not advance meanwhile: a matter of
# chance on virtual machines, so it is asked again.
UNLUCKY, TRIES = "Unable to get accurate CPU usage", 100
SECRET = ["--object", "secret,id=key,data=correct-horse"]


class Said:
    """One call: its exit code (negative: killed by that signal, None: out of time), its output, and its words."""

    def __init__(self, words, code, out, err):
        self.words, self.code, self.out, self.err = words, code, out, err

    def json(self):
        """The standard output as JSON; raises ValueError when it isn't."""
        return json.loads(self.out)

    def __str__(self):
        return f"$ {' '.join(self.words)}\nexit {self.code}\n{self.out[-2000:]}{self.err[-2000:]}"


def cowvet_of_turn():
    """The program that the next call of cowvet is to start."""
    return SHIPPED if SHIPPED and next(calls) % 10 else COWVET


def run(words, folder, seconds=PATIENCE):
    """Runs a program in a folder and waits; never raises for what the program does."""
    for _ in range(TRIES):
        said = run_once([str(word) for word in words], folder, seconds)
        if said.code != 1 or UNLUCKY not in said.err:
            break
    return said


def run_once(words, folder, seconds):
    if words[0] == COWVET:
        words = [cowvet_of_turn(), *words[1:]]
    try:
        done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=SURROUNDINGS)
    except subprocess.TimeoutExpired:
        return Said(words, None, "", f"still running after {seconds} s\n")
    return Said(words, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def cowvet(folder, *words):
    return run([COWVET, *words], folder)


def has_verb(verb):
    return any(line.split()[:1] == [verb] for line in cowvet(SOURCE, "--help").out.splitlines())


def scratch(room=1 << 30):
    """A folder that vanishes with the test: in memory where there are so many bytes, since thousands of images pass through
    it. File systems that place blocks later would also let `actual-size` change between two looks at one file."""
    memory = Path("/dev/shm")
    fits = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > room
    return tempfile.TemporaryDirectory(prefix="cowvet-", dir=memory if fits else None)


def need(*programs):
    """Ends the test as failed when the programs that it compares with are missing: silence would look like success."""
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        sys.exit(f"missing: {' '.join(missing)} (see tools/packages)")
