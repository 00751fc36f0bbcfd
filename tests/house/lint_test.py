"""clang-tidy finds nothing (.clang-tidy says what it looks for). Alone: COWVET_LONG=1 python3 tests/house/lint_test.py

Most of its time goes into the standard headers that every source includes. So sources are looked at together, as one
translation unit that includes them, as long as no two define the same name in the same namespace; a unit that is complained
about is taken apart, and what its files are told alone counts. What passed is remembered in build/lint, by a hash of the
file, the project headers that it includes, and .clang-tidy, so that only what changed is looked at again.

Without COWVET_LONG it looks at the lower floors, whose headers all others include: the whole takes ten minutes of a core.
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
                 rb"^(?=[a-z])(?!namespace|using)(?:[\w:<>,*&\[\]\" ]+ )[*&]*(\w+)(?:\(|\{| =|;|\[)|^(TEST\w*\(\w+, \w+)", re.M)
NAMESPACE = re.compile(rb"^namespace ([\w:]+) \{", re.M)
GLOBAL = re.compile(rb"main|LLVMFuzzer\w+")
FLAGS = ["-std=c++23", "-Wall", f"-I{tree.ROOT}", f"-I{tree.BUILD}/generated", "-DCOWVET_HAVE_URING=1",
         '-DCOWVET_SOURCE_DIR="."', '-DCOWVET_CORPUS_DIR="corpus"']
PASSED = tree.ROOT / "build" / "lint"
ROOMS = "base|format|storage|findings|analyzer|engine|repair|model|reports|cli|corpus|fuzz|tests|bench"
MOST = 16  # files of a unit
SHORT = ("base", "format", "findings", "storage")  # the lower floors, which all others include: the short form


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


def own_names(path):
    """The names that a source defines for itself, each with the namespace that it is in."""
    content = (tree.ROOT / path).read_bytes()
    space = (NAMESPACE.findall(content) or [b""])[0]
    names = {next(filter(None, found)) for found in OWN.findall(content)}
    return {(b"" if GLOBAL.fullmatch(name) else space, name) for name in names}


def units(paths):
    """The paths in groups whose files can be included into one unit."""
    groups = []  # (paths, names)
    for path in paths:
        names = own_names(path)
        for members, taken in groups:
            if len(members) < MOST and not names & taken:
                members.append(path)
                taken |= names
                break
        else:
            groups.append(([path], names))
    return sorted((members for members, _ in groups), key=len, reverse=True)


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


LONG = os.environ.get("COWVET_LONG") == "1"
started = time.monotonic()
PASSED.mkdir(parents=True, exist_ok=True)
sources = [path for path in tree.files(".cpp") if re.match(ROOMS, str(path)) and "must_not_compile" not in path.parts and
           (LONG or path.parts[0] in SHORT)]
fresh = [path for path in sources if not stamp(path).exists()]
work = units(fresh)
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    results = list(pool.map(lint, work))
print(f"{len(sources)} files, {len(fresh)} of them looked at as {len(work)} units in {sum(runs for _, runs in results)} runs, "
      f"the others are unchanged; {time.monotonic() - started:.0f} s")
tree.finish(sorted({line for complaints, _ in results for line in complaints}), len(sources))
