"""Each fuzz target replays its seeds and every input that once hurt, then searches on: COWVET_FUZZ_SECONDS long (60; an hour
under --long), two targets at a time. A crash, a leak, a sanitizer's report, an input that takes more than 30 s, or a
single allocation of more than 256 MiB, or a process of more than 1 GiB (the searcher keeps some 300 MiB itself) fails.
Prints the executions; what hurts stays in the build folder, named in the output."""
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import seeds

SOURCE = Path(os.environ.get("COWVET_SOURCE_DIR", Path(__file__).resolve().parents[2]))
BUILD = Path(os.environ.get("COWVET_BUILD_DIR", SOURCE / "build" / "asan"))
FUZZERS = Path(os.environ.get("COWVET_FUZZERS", BUILD / "fuzz"))
FAST_TOOL = SOURCE / "build" / "release" / "corpus" / "cowvet-corpus"
CORPUS_TOOL = str(FAST_TOOL) if FAST_TOOL.is_file() else os.environ["COWVET_CORPUS"]
SECONDS = int(os.environ.get("COWVET_FUZZ_SECONDS", 3600 if os.environ.get("COWVET_LONG") == "1" else 60))
# The minute of CI is the same everywhere, so that what it finds is found again; hours go other ways each time.
SEED = ["-seed=1"] if SECONDS <= 60 else []
LEAST_SEEDS = 100  # images of corpus/ that are small enough for the whole check
PATIENCE = 1200  # seconds, for reading the seeds
SECONDS_TO_END = 60
INTERRUPTED = 72  # libFuzzer's exit code when a signal ends it
# Freed memory that the address sanitizer keeps back would count against the limit.
SANITIZED = {**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=16"}


def ready_in_time(ready, process, seconds):
    """Waits for `ready` while the process runs, so long at most; whether it came."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if ready():
            return True
        time.sleep(0.1)
    return False


def fuzz(target, folder, hurt):
    """Runs one target; its complaint (or nothing), and a line of figures."""
    name = target.removeprefix("fuzz_")
    committed = SOURCE / "fuzz" / "corpus" / name
    # The search keeps what it gains in the first folder.
    places = [folder / name] + ([committed] if committed.is_dir() else [])
    words = [FUZZERS / target, "-rss_limit_mb=1024", "-malloc_limit_mb=256", "-timeout=30", "-max_len=65536", "-print_final_stats=1",
             f"-artifact_prefix={hurt}/{name}-", "-verbosity=1"]
    words += SEED
    dictionary = [f"-dict={SOURCE / 'fuzz' / 'qcow2.dict'}"] if name in (*seeds.OF_IMAGES, "records", "l2") else []

    begun = time.monotonic()
    log = hurt / f"{name}.log"
    with open(log, "wb") as sink, subprocess.Popen([*words, *dictionary, *places], stdin=subprocess.DEVNULL, stdout=sink,
                                                   stderr=subprocess.STDOUT, env=SANITIZED) as process:
        # The search begins by reading all that is to be replayed: that doesn't count.
        replayed = ready_in_time(lambda: b"INITED " in log.read_bytes(), process, PATIENCE)
        ready_in_time(lambda: not replayed, process, SECONDS)
        process.send_signal(signal.SIGTERM)  # it ends at once, and tells its figures
        ready_in_time(lambda: False, process, SECONDS_TO_END)
        process.kill()
    said = log.read_text(errors="replace")
    if process.returncode != INTERRUPTED or not replayed:
        how = f"ended with {process.returncode} {'while it searched' if replayed else 'before it had replayed its seeds'}"
        return f"{target}: {how}\n{said[-6000:]}", f"{target}: failed"
    executions = int(re.search(r"stat::number_of_executed_units:\s+(\d+)", said).group(1))
    rate = executions / max(1, time.monotonic() - begun)
    if executions == 0:
        return f"{target}: executed nothing", target
    return None, f"{target}: {executions} executions, {rate:.0f}/s, {len(list((folder / name).iterdir()))} inputs at the end"


def main():
    targets = sorted(path.stem for path in FUZZERS.glob("fuzz_*") if path.is_file() and os.access(path, os.X_OK))
    sources = sorted("fuzz_" + path.stem.removesuffix("_fuzzer") for path in (SOURCE / "fuzz").glob("*_fuzzer.cpp"))
    if targets != sources:
        print(f"{FUZZERS} has {targets}, fuzz/ has {sources}: build the preset asan")
        return 1
    hurt = BUILD / "fuzz-hurt"
    shutil.rmtree(hurt, ignore_errors=True)
    hurt.mkdir(parents=True)
    complaints = []
    with tempfile.TemporaryDirectory(prefix="cowvet-fuzz-") as folder:
        used = seeds.make(CORPUS_TOOL, SOURCE, Path(folder))
        print(f"{used} images of the corpus are seeds of fuzz_check", flush=True)
        if used < LEAST_SEEDS:
            complaints.append(f"only {used} seeds of at least {LEAST_SEEDS}")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for complaint, line in pool.map(lambda t: fuzz(t, Path(folder), hurt), targets):
                print(line, flush=True)
                if complaint:
                    complaints.append(complaint)
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


sys.exit(main())
