"""clang-tidy finds nothing (.clang-tidy says what it looks for). Alone: python3 tests/house/lint_test.py

A file is looked at again only when it, a project header that it includes, or .clang-tidy has changed: what passed is
remembered in build/lint, by a hash of all of these.
"""
import concurrent.futures
import hashlib
import os
import re
import subprocess
import time
import tree

INCLUDE = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.M)
FLAGS = ["-std=c++23", "-Wall", f"-I{tree.ROOT}", f"-I{tree.BUILD}/generated", "-DCOWVET_HAVE_URING=1",
         '-DCOWVET_SOURCE_DIR="."', '-DCOWVET_CORPUS_DIR="corpus"']
PASSED = tree.ROOT / "build" / "lint"
ROOMS = "base|format|storage|findings|analyzer|engine|repair|model|reports|cli|corpus|fuzz|tests|bench"


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


def lint(path):
    mark = stamp(path)
    if mark.exists():
        return None
    ran = subprocess.run(["clang-tidy-19", "--quiet", f"--header-filter=^{re.escape(str(tree.ROOT))}/({ROOMS})/",
                          str(path), "--", *FLAGS], cwd=tree.ROOT, capture_output=True, text=True)
    if ran.returncode == 0:
        mark.touch()
        return []
    return [line for line in ran.stdout.splitlines() if "error:" in line] or [f"{path}: {ran.stderr.strip()}"]


if os.environ.get("COWVET_LONG") != "1":
    print("clang-tidy over all files takes minutes: tools/test --long runs it")
    raise SystemExit(77)
started = time.monotonic()
PASSED.mkdir(parents=True, exist_ok=True)
sources = [path for path in tree.files(".cpp") if re.match(ROOMS, str(path)) and "must_not_compile" not in path.parts]
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    results = list(pool.map(lint, sources))
fresh = sum(result is not None for result in results)
print(f"{fresh} of {len(sources)} files looked at, the others are unchanged; {time.monotonic() - started:.0f} s")
tree.finish(sorted({line for result in results if result for line in result}), len(sources))
