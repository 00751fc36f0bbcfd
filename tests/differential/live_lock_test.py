"""While a QEMU program has an image open for writing, check says so on stderr and still reports; afterwards it doesn't.

A reader beside the check is no reason for a word, and -U asks for silence.
"""
import subprocess
import sys
import time
from pathlib import Path

import programs
from programs import cowvet, run

WORDS = "in use", "writing"


class Server:
    """A qemu-nbd of this test, on a socket in the test's folder, for as long as the block lasts."""

    def __init__(self, folder, *options):
        self.socket = folder / "socket"
        self.process = subprocess.Popen(["qemu-nbd", "-t", "-f", "qcow2", "-k", str(self.socket), *options, "image.qcow2"],
                                        cwd=folder, stderr=subprocess.PIPE)

    def __enter__(self):
        until = time.monotonic() + 60
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"qemu-nbd doesn't start: {self.process.stderr.read().decode()}")
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self.process.kill()  # one that is just starting loses a SIGTERM
        self.process.communicate(timeout=60)
        self.socket.unlink(missing_ok=True)


def check(folder, *options):
    said = cowvet(folder, "check", *options, "image.qcow2")
    return said, any(word in said.err for word in WORDS)


def main():
    programs.need("qemu-img", "qemu-io", "qemu-nbd")
    complaints = []

    def expect(what, condition, said):
        print(f"{'ok  ' if condition else 'FAIL'}  {what}")
        if not condition:
            complaints.append(f"{what}\n{said}")

    with programs.scratch() as scratch:
        folder = Path(scratch)
        run(["qemu-img", "create", "-q", "-f", "qcow2", "image.qcow2", "1M"], folder)
        run(["qemu-io", "-c", "write 0 256k", "image.qcow2"], folder)

        said, warned = check(folder)
        expect("nobody has the image open: no warning", said.code == 0 and not warned and not said.err, said)
        with Server(folder):
            said, warned = check(folder)
            expect("a writer has it open: a warning on stderr", warned, said)
            expect("a writer has it open: checked all the same", said.code == 0 and "4/16" in said.out, said)
            said, warned = check(folder, "--output=json")
            parses = said.json()["allocated-clusters"] == 4 and "findings" in said.json()
            expect("a writer has it open: JSON is complete, the warning beside it", warned and parses, said)
            said, warned = check(folder, "-q")
            expect("a writer has it open: -q keeps the exit code", said.code == 0 and not said.out, said)
            said, warned = check(folder, "-U")
            expect("a writer has it open, -U: no warning", said.code == 0 and not warned and not said.err, said)
            theirs = run(["qemu-img", "check", "image.qcow2"], folder)
            expect("a writer has it open: qemu-img refuses", theirs.code == 1, theirs)
            other = run(["qemu-img", "create", "-q", "-f", "qcow2", "other.qcow2", "1M"], folder)
            expect("another image beside it: no warning",
                   other.code == 0 and not cowvet(folder, "check", "other.qcow2").err, other)
        said, warned = check(folder)
        expect("the writer has ended: no warning", said.code == 0 and not warned and not said.err, said)
        with Server(folder, "-r"):
            said, warned = check(folder)
            expect("a reader has it open: no warning", said.code == 0 and not warned and not said.err, said)
    print(*complaints, sep="\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
