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
from pathlib import Path

import weave

PROGRAM = Path(os.environ["COWVET_BUILD_DIR"], "tests", "mutants", "hunt")
LEAST = 40
PATIENCE = 120  # seconds for one oracle, after which a mutant that never ends is caught
ORACLES = {"model": "*Hunt.*/all", "trees": "*Hunt.*/chains", "crash": "*Crash.*", "chains": "ChainCrashes.*", "tests": "*RawDisk.*"}


def hunt(mutant, oracle):
    """What the oracle says of the mutant; nothing when it sees nothing."""
    try:
        done = subprocess.run([PROGRAM, f"--gtest_filter={ORACLES[oracle]}", "--gtest_fail_fast", "--gtest_brief=1"],
                              env={**os.environ, "COWVET_MUTANT": mutant},
                              capture_output=True, text=True, errors="replace", timeout=PATIENCE)
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


def caught(mutant):
    for oracle in [mutant.oracle, *(name for name in ORACLES if name != mutant.oracle)]:
        if said := hunt(mutant.name, oracle):
            return said
    return None


def main():
    mutants = weave.all_mutants()
    complaints = [f"{name}: its text is not in the source, or not only once" for name in weave.stale()]
    if len(mutants) < LEAST:
        complaints.append(f"only {len(mutants)} mutants of at least {LEAST}")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        healthy = [pool.submit(hunt, "", oracle) for oracle in ORACLES]
        results = list(pool.map(caught, mutants))
        complaints += [f"without a mutant: {said}" for said in (task.result() for task in healthy) if said]
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
