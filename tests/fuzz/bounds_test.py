"""What a check may cost, whatever a file promises: at most 1 s of CPU per MiB that the file really holds (1 s at least),
and at most 64 MiB of memory + 1 byte per cluster that it really holds + 8 MiB for the program itself. Measured on the
program as it is shipped, with and without --deep, and with as many threads as it ever starts, as the kernel counts; prints
the figures. A second is one of a machine that deflates 24 MiB in it, with two such tasks at once: a slower or busier one
gets as many more."""
import functools
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import hostile_images

SOURCE = Path(os.environ.get("COWVET_SOURCE_DIR", Path(__file__).resolve().parents[2]))
SHIPPED = SOURCE / "build" / "release" / "cli" / "cowvet"
COWVET = SHIPPED if SHIPPED.is_file() else Path(os.environ["COWVET"])
MIB = 1 << 20
ATTEMPTS = 3  # what else runs on the machine only adds: one attempt within the limit shows that it holds
PATIENCE = 60  # seconds of CPU after which the kernel ends the program
CLEAN_ENDS = {0, 2, 3}  # sound, damaged, leaks only: a verdict was given


def measured(words, output):
    """Runs a program with its output in a file; its exit code, seconds of CPU, and bytes of peak memory."""
    with open(output, "wb") as sink:
        process = subprocess.Popen(["prlimit", f"--cpu={PATIENCE}", *words], stdin=subprocess.DEVNULL, stdout=sink,
                                   stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def in_child(task):
    """Starts a process that does no more than this; its number."""
    child = os.fork()
    if child == 0:
        try:
            task()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def slowness():
    """How many seconds of CPU this machine takes now for one of the limit, at least 1."""

    def deflate():
        words = b"".join(b"%08x" % (i * 2654435761 % 2**32) for i in range(MIB >> 3))
        packer = zlib.compressobj(6)
        for _ in range(24):
            packer.compress(words)

    usages = [os.wait4(child, 0)[2] for child in [in_child(deflate), in_child(deflate)]]
    return max(1.0, sum(usage.ru_utime + usage.ru_stime for usage in usages) / 2)


def apart(make, image):
    """Makes an image in a process of its own: what this one once took, the kernel would count for each program that it starts."""
    if os.waitpid(in_child(functools.partial(make, image)), 0)[1] != 0:
        sys.exit(f"{image} can't be made")


def main():
    complaints = []
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # there a file's blocks are counted at once
    with tempfile.TemporaryDirectory(prefix="cowvet-bounds-", dir=memory) as folder:
        print(f"{'file':24} {'':16} {'holds':>10} {'CPU':>8} {'limit':>8} {'memory':>10} {'limit':>10}  exit")
        for make in hostile_images.ALL:
            image = Path(folder, make.__name__ + ".qcow2")
            apart(make, image)
            held = image.stat().st_blocks * 512
            clusters = held >> hostile_images.CLUSTER_BITS.get(make, 16)
            seconds = max(1.0, held / MIB)
            room = 72 * MIB + clusters
            for options in ([], ["--deep"], ["--deep", "--jobs=64"]):
                for attempt in range(ATTEMPTS):
                    limit = seconds * (slowness() if attempt > 0 else 1)
                    code, cpu, peak = measured([COWVET, "check", *options, image], Path(folder, "said"))
                    if cpu <= limit:
                        break
                print(f"{make.__name__:24} {' '.join(options):16} {held / MIB:7.2f}MiB {cpu:7.2f}s {limit:7.2f}s "
                      f"{peak / MIB:7.1f}MiB {room / MIB:7.1f}MiB  {code}", flush=True)
                name = f"{make.__name__} {' '.join(options)}"
                if code not in CLEAN_ENDS:
                    said = Path(folder, "said").read_bytes()[-1000:].decode(errors="replace")
                    complaints.append(f"{name}: exit code {code}: {said}")
                if cpu > limit:
                    complaints.append(f"{name}: {cpu:.2f} s of CPU, more than {limit:.2f} s")
                if peak > room:
                    complaints.append(f"{name}: {peak} bytes of memory, more than {room}")
            image.unlink()
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


sys.exit(main())
