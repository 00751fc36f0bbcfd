"""What the house tests share: the project's files, and a way to report that fits ctest."""
import os
import sys
from pathlib import Path

ROOT = Path(os.environ.get("COWVET_SOURCE_DIR", Path(__file__).resolve().parents[2]))
BUILD = Path(os.environ.get("COWVET_BUILD_DIR", ROOT / "build" / "asan"))
NOT_OURS = {".git", ".cache", "build", "__pycache__"}


def files(*suffixes):
    """All files of the project with one of the suffixes (all of them without), as sorted paths below ROOT."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f not in NOT_OURS)
        for name in sorted(names):
            path = Path(folder, name).relative_to(ROOT)
            if not suffixes or path.suffix in suffixes:
                found.append(path)
    return found


def read(path):
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def finish(complaints, looked_at):
    """Prints the complaints and ends the test. A test that looked at nothing has failed."""
    for complaint in complaints:
        print(complaint)
    print(f"{len(complaints)} complaints, {looked_at} looked at")
    sys.exit(1 if complaints or not looked_at else 0)
