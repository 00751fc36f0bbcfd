"""The README tells the truth: its first two commands are the two that a newcomer needs, the report that it shows is
what the program says, and every file that the documents link to exists."""
import os
import re
import subprocess
import tempfile
import tree

text = tree.read("README.md")
commands = [line.strip().removeprefix("$ ")
            for block in re.findall(r"^```(?:sh|bash|console|shell)\n(.*?)^```", text, re.M | re.S)
            for line in block.splitlines() if line.strip() and not line.lstrip().startswith("#")]
complaints = []
for wanted, command in zip(["tools/run check", "tools/test"], commands + ["", ""]):
    if not re.match(re.escape(wanted) + r"(\s|$)", command):
        complaints.append(f"README.md: the first two commands are tools/run check and tools/test; found: {command}")
for tool in ["tools/run", "tools/test"]:
    if not os.access(tree.ROOT / tool, os.X_OK):
        complaints.append(f"{tool}: not executable")

looked_at = len(commands)
shown = re.search(r"^```console\n\$ cowvet check (\S+)\.qcow2\n(.*?)^```", text, re.M | re.S)
if not shown:
    complaints.append("README.md: shows no report (a console block that begins with $ cowvet check RECIPE.qcow2)")
elif "COWVET" in os.environ:
    case, report = shown.groups()
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([os.environ["COWVET_CORPUS"], "build", scratch, case], check=True, stdout=subprocess.DEVNULL)
        ran = subprocess.run([os.environ["COWVET"], "check", f"{case}.qcow2"], cwd=scratch, capture_output=True,
                             text=True)
    if ran.stdout != report:
        complaints.append(f"README.md: the program reports {case} differently:\n{ran.stdout}{ran.stderr}")
for document in tree.files(".md"):
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", tree.read(document)):
        looked_at += 1
        if not re.match(r"[a-z]+:", link) and not (tree.ROOT / document.parent / link).exists():
            complaints.append(f"{document}: links to {link}, which does not exist")

tree.finish(complaints, looked_at)
