"""check.py SNIPPET.cpp: the snippet compiles with -DGOOD and fails without, with every compiler that is installed.

The first line of a snippet is `// rejects: WHAT`, a regular expression that each compiler's complaint must match, so
that a snippet which fails for another reason (a renamed function) is noticed.
"""
import os
import re
import shutil
import subprocess
import sys

snippet = sys.argv[1]
root, build = os.environ["COWVET_SOURCE_DIR"], os.environ["COWVET_BUILD_DIR"]
reason = re.match(r"// rejects: (.+)", open(snippet, encoding="utf-8").readline())
if not reason:
    sys.exit(f"{snippet}: the first line is not `// rejects: WHAT`")

compilers = [c for c in ("g++", "clang++-19") if shutil.which(c)]
for compiler in compilers:
    command = [compiler, "-std=c++23", "-fsyntax-only", f"-I{root}", f"-I{build}/generated", snippet]
    good = subprocess.run([*command, "-DGOOD"], capture_output=True, text=True)
    if good.returncode:
        sys.exit(f"{compiler}: does not compile with -DGOOD:\n{good.stderr}")
    bad = subprocess.run(command, capture_output=True, text=True)
    if not bad.returncode:
        sys.exit(f"{compiler}: compiles, and must not")
    if not re.search(reason.group(1), bad.stderr):
        sys.exit(f"{compiler}: fails, but not because of `{reason.group(1)}`:\n{bad.stderr}")
    print(f"{compiler}: rejected as it should be")
sys.exit(0 if compilers else "no compiler found")
