"""Every C++ file is laid out by .clang-format; tools/format mends what this test finds."""
import subprocess
import tree

sources = [str(p) for p in tree.files(".hpp", ".cpp")]
complaints = []
for start in range(0, len(sources), 40):
    ran = subprocess.run(["clang-format-19", "--dry-run", "--Werror", *sources[start:start + 40]], cwd=tree.ROOT,
                         capture_output=True, text=True)
    found = [line for line in ran.stderr.splitlines() if "error:" in line]
    complaints += found or ([ran.stderr] if ran.returncode else [])
tree.finish(complaints, len(sources))
