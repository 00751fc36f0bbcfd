"""clang-tidy finds nothing (.clang-tidy says what it looks for). Alone: python3 tests/house/lint_test.py

Most of its time goes into the standard headers that every source includes. So sources of one folder are looked at together,
as one translation unit that includes them, as long as no two define the same name; a unit that is complained about
is taken apart, and what its files are told alone counts. What passed is remembered in build/lint, by a hash of the file,
the project headers that it includes, and .clang-tidy, so that only what changed is looked at again.
"""
import concurrent.futures
import hashlib
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
import tree

INCLUDE = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.M)
# What a source defines for itself: two sources that do so can't be in one unit.
OWN = re.compile(rb"^(?:using|struct|class|enum class|enum) (?!namespace)(\w+)\b(?!::)|"
                 rb"^(?=[a-z])(?!namespace|using)(?:[\w:<>,*&\[\] ]+ )[*&]*(\w+)(?:\(|\{| =|;|\[)|^(TEST\w*\(\w+, \w+)", re.M)
FLAGS = ["-std=c++23", "-Wall", f"-I{tree.ROOT}", f"-I{tree.BUILD}/generated", "-DCOWVET_HAVE_URING=1",
         '-DCOWVET_SOURCE_DIR="."', '-DCOWVET_CORPUS_DIR="corpus"']
PASSED = tree.ROOT / "build" / "lint"
ROOMS = "base|format|storage|findings|analyzer|engine|repair|model|reports|cli|corpus|fuzz|tests|bench"
MOST = 12  # files of a unit


def closure(path, known):
    """The file and all project files that it includes, directly or not."""
    if path not in known:
        known[path] = (tree.ROOT / path).read_bytes()
        for name in INCLUDE.findall(known[path]):
            if (tree.ROOT / name.decode()).is_file():
                closure(name.decode(), known)
    return known


def stamp(path):
    digest = hashlib.sha256((tree.ROOT / ".clang-tidy").read_bytes() + "\0".join(FLAGS).encode())
    for name, content in sorted(closure(str(path), {}).items()):
        digest.update(name.encode() + b"\0" + content)
    return PASSED / digest.hexdigest()


def units(paths):
    """The paths in groups of one folder whose files can be included into one unit."""
    groups = []  # (folder, paths, names)
    for path in paths:
        names = {next(filter(None, found)) for found in OWN.findall((tree.ROOT / path).read_bytes())}
        for folder, members, taken in groups:
            if folder == path.parent and len(members) < MOST and not names & taken:
                members.append(path)
                taken |= names
                break
        else:
            groups.append((path.parent, [path], names))
    return sorted((members for _, members, _ in groups), key=len, reverse=True)


def tidy(source):
    ran = subprocess.run(["clang-tidy-19", "--quiet", f"--config-file={tree.ROOT}/.clang-tidy",
                          f"--header-filter=^{re.escape(str(tree.ROOT))}/({ROOMS})/", str(source), "--", *FLAGS],
                         cwd=tree.ROOT, capture_output=True, text=True)
    if ran.returncode == 0:
        return []
    return [line for line in ran.stdout.splitlines() if "error:" in line] or [f"{source}: {ran.stderr.strip()}"]


def lint(members):
    """The complaints about some files, and how often the tool ran."""
    runs = 1
    if len(members) == 1:
        complaints = tidy(members[0])
    else:
        with tempfile.NamedTemporaryFile("w", suffix=".cpp") as unit:
            unit.writelines(f'#include "{path}"  // NOLINT: no header, on purpose\n' for path in members)
            unit.flush()
            complaints = tidy(unit.name)
        if complaints:
            halves = [lint(members[:len(members) // 2]), lint(members[len(members) // 2:])]
            return halves[0][0] + halves[1][0], 1 + halves[0][1] + halves[1][1]
    if not complaints:
        for path in members:
            stamp(path).touch()
    return complaints, runs


if os.environ.get("COWVET_LONG") != "1":
    print("clang-tidy over all files takes minutes: tools/test --long runs it")
    raise SystemExit(77)
started = time.monotonic()
PASSED.mkdir(parents=True, exist_ok=True)
sources = [path for path in tree.files(".cpp") if re.match(ROOMS, str(path)) and "must_not_compile" not in path.parts]
fresh = [path for path in sources if not stamp(path).exists()]
work = units(fresh)
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    results = list(pool.map(lint, work))
print(f"{len(fresh)} of {len(sources)} files looked at, as {len(work)} units in {sum(runs for _, runs in results)} runs, "
      f"the others are unchanged; {time.monotonic() - started:.0f} s")
tree.finish(sorted({line for complaints, _ in results for line in complaints}), len(sources))
