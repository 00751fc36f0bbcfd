"""Keeps the tree presentable: nothing half-done, nothing of this or that machine, nothing too long to read."""
import re
import subprocess
import tree

CODE = {".cpp", ".hpp", ".py", ".sh", ".cmake", ".txt"}
ROOMS = {"base", "format", "storage", "findings", "analyzer", "engine", "repair", "model", "reports", "cli", "corpus"}
MOST_LINES, MOST_BYTES, MOST_COLUMNS = 500, 1 << 20, 145
# Put together from halves, so that this file does not complain about itself.
HALF_DONE = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK|not imple" + r"mented)\b")
MACHINE = re.compile(r"(?<![\w.])/(wo" + r"rk|ho" + r"me|ro" + r"ot|Us" + r"ers)/\w|/tmp/" + r"cowvet\b")

complaints, looked_at = [], 0
for path in tree.files():
    looked_at += 1
    size = (tree.ROOT / path).stat().st_size
    if size > MOST_BYTES:
        complaints.append(f"{path}: {size} bytes; nothing over {MOST_BYTES} belongs in the tree: generate it")
        continue
    raw = (tree.ROOT / path).read_bytes()
    if b"\0" in raw or path.name == "LICENSE":
        continue
    text = raw.decode("utf-8", errors="replace")
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if match := HALF_DONE.search(line):
            complaints.append(f"{path}:{number}: unfinished business: {match.group()}")
        if match := MACHINE.search(line):
            complaints.append(f"{path}:{number}: a path of one machine: {match.group()}")
        if path.suffix in CODE and len(line) > MOST_COLUMNS:
            complaints.append(f"{path}:{number}: {len(line)} columns, more than {MOST_COLUMNS}")
    if path.suffix in CODE and len(lines) > MOST_LINES:
        complaints.append(f"{path}: {len(lines)} lines, more than {MOST_LINES}: look for the second idea in it")
    if text and not text.endswith("\n"):
        complaints.append(f"{path}: does not end with a line end")

    folder = path.parts[0]
    explained = path.suffix == ".cpp" and (tree.ROOT / path.with_suffix(".hpp")).is_file()
    if path.suffix in {".hpp", ".cpp"} and not text.startswith("//") and not explained:
        complaints.append(f"{path}: opens without saying what it promises")
    if path.suffix == ".hpp" and "#pragma once" not in lines:
        complaints.append(f"{path}: no #pragma once")
    if folder in ROOMS and path.suffix in {".hpp", ".cpp"} and path.name != "main.cpp":
        if f"namespace cowvet::{folder}" not in text:
            complaints.append(f"{path}: its namespace is not cowvet::{folder}")
    if raw.startswith(b"#!") and b"bash" in raw.split(b"\n", 1)[0] or path.suffix == ".sh":
        checked = subprocess.run(["bash", "-n", tree.ROOT / path], capture_output=True, text=True)
        if checked.returncode:
            complaints.append(f"{path}: {checked.stderr.strip()}")

for folder in sorted({p.parts[0] for p in tree.files(".cpp", ".hpp", ".py")} - {"cmake"}):
    if not (tree.ROOT / folder / "README.md").is_file():
        complaints.append(f"{folder}/: no README.md that says its promise and reading order")

tree.finish(complaints, looked_at)
