"""Every mutant of the engine is caught: by the flat model, of one image or of trees, by the crash tests of images and of
chains, or by the tests of raw disks, within a bounded number of operations of a fixed seed. Prints which oracle caught
which mutant, and after how many operations. A run without a mutant passes, and a mutant whose text left the engine's
sources fails the test.
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import weave

SOURCE = Path(os.environ.get("COWVET_SOURCE_DIR", Path(__file__).resolve().parents[2]))
PROGRAM = SOURCE / "build" / "release" / "tests" / "mutants" / "hunt"
LEAST = 40
SLOWER = 4  # times as long as without a mutant, after which one that never ends is caught
LEAST_PATIENCE = 60  # seconds
ORACLES = {"model": "*Hunt.*/all", "trees": "*Hunt.*/chains", "crash": "*Crash.*", "chains": "ChainCrashes.*", "tests": "*RawDisk.*"}


def hunt(mutant, oracle, patience=None):
    """What the oracle says of the mutant within so many seconds; nothing when it sees nothing."""
    try:
        done = subprocess.run([PROGRAM, f"--gtest_filter={ORACLES[oracle]}", "--gtest_fail_fast", "--gtest_brief=1"],
                              env={**os.environ, "COWVET_MUTANT": mutant},
                              capture_output=True, text=True, errors="replace", timeout=patience)
    except subprocess.TimeoutExpired:
        return f"{oracle}: never ends"
    if done.returncode == 0:
        return None
    said = done.stdout + done.stderr
    if found := re.search(r"^([a-z ]+ after \d+ operations)", said, re.M):
        return f"{oracle}: {found[1]}"
    if found := re.search(r"\[  FAILED  \] \S*?\.(\S+)", said):
        return f"{oracle}: {found[1].removeprefix('leaves_a_sound_image/')}"
    return f"{oracle}: ended with {done.returncode}"


def healthy(oracle):
    """What the oracle says of the engine as it is, and how many seconds it takes."""
    begun = time.monotonic()
    return hunt("", oracle), time.monotonic() - begun


def caught(mutant, seconds):
    for oracle in [mutant.oracle, *(name for name in ORACLES if name != mutant.oracle)]:
        if said := hunt(mutant.name, oracle, max(LEAST_PATIENCE, SLOWER * seconds[oracle])):
            return said
    return None


def main():
    if not PROGRAM.is_file():
        sys.exit(f"{PROGRAM} is missing: configure the preset release with -DCOWVET_MUTANTS=ON, as tools/test does")
    mutants = weave.all_mutants()
    complaints = [f"{name}: its text is not in the source, or not only once" for name in weave.stale()]
    if len(mutants) < LEAST:
        complaints.append(f"only {len(mutants)} mutants of at least {LEAST}")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        sound = dict(zip(ORACLES, pool.map(healthy, ORACLES)))  # first: how slow this machine is, they tell
        complaints += [f"without a mutant: {said}" for said, _ in sound.values() if said]
        seconds = {oracle: taken for oracle, (_, taken) in sound.items()}
        results = list(pool.map(lambda mutant: caught(mutant, seconds), mutants))
    for mutant, said in zip(mutants, results):
        print(f"{mutant.name:34} {said or 'NOT CAUGHT'}")
        if said is None:
            complaints.append(f"{mutant.name}: not caught, though {mutant.breaks}")
        elif not said.startswith(mutant.oracle):
            print(f"{'':34} (not by {mutant.oracle}, as its file says)")
    print(f"{len(mutants)} mutants, {sum(1 for said in results if said)} caught")
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


sys.exit(main())
