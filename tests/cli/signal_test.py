"""Ctrl-C ends a long check soon and cleanly, and a second one at once; progress is shown when asked, and only then.

strace makes the check long: it delays each read, so that the outcome does not depend on the machine.
"""
import os
import signal
import subprocess
import time
from pathlib import Path

from program import COWVET, cowvet, expect, finish, run_parts, scratch

# (The leak sanitizer does not work under strace.)
DELAY = 100_000  # microseconds a read; the image needs dozens


def started(folder, trace, *words):
    """A slowed check that has begun to read: (strace, the pid of cowvet)."""
    tracer = subprocess.Popen(["strace", "-f", "-o", trace, "-e", "trace=pread64,preadv,preadv2", "-e",
                               f"inject=pread64,preadv,preadv2:delay_enter={DELAY}", COWVET, "check", "--io", "posix", "--jobs", "1",
                               *words, "big.qcow2"], cwd=folder, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(300):
        time.sleep(0.02)
        children = Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split()
        if children and Path(trace).exists() and Path(trace).read_text().count("pread") > 4:
            return tracer, int(children[0])
    raise RuntimeError("the check never began to read")


def stops_when_asked(folder):
    for number in signal.SIGINT, signal.SIGTERM:
        tracer, pid = started(folder, folder / f"trace-{number}")
        asked = time.monotonic()
        os.kill(pid, number)
        out, err = tracer.communicate(timeout=50)
        took = time.monotonic() - asked
        expect(tracer.returncode == 1, f"exit code {tracer.returncode} after signal {number}", out + err)
        expect(err.startswith("cowvet: big.qcow2: ") and not out, "does not say why it ended", out + err)
        expect(took < 20, f"took {took:.1f} s to stop")


def stops_at_once_when_asked_twice(folder):
    tracer, pid = started(folder, folder / "trace-twice")
    os.kill(pid, signal.SIGINT)
    time.sleep(0.01)
    os.kill(pid, signal.SIGINT)
    out, err = tracer.communicate(timeout=50)
    expect(tracer.returncode in (1, 130) and not out, f"exit code {tracer.returncode}", out + err)


def shows_progress(folder):
    tracer, _ = started(folder, folder / "trace-progress", "-p")
    out, err = tracer.communicate(timeout=100)
    expect(tracer.returncode == 0 and "sound" in out, "a slow check", out + err)
    expect("big.qcow2: " in err and " % " in err and "\r" not in err, "no plain lines of progress", out + err)


def is_silent_unasked(folder):
    said = cowvet("check", "big.qcow2", folder=folder)
    expect(said.code == 0 and not said.err, "a check that nobody stopped", said)


with scratch() as name:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", "big.qcow2", "64G"],
                   cwd=name, check=True)
    run_parts(Path(name), stops_when_asked, stops_at_once_when_asked_twice, shows_progress, is_silent_unasked)
finish()
