"""Everything that cowvet prints as JSON is what its published schemas say: checked with jsonschema on the whole corpus.

The schemas are the ones that the program itself prints, and each of them must be one that can fail. The program as
shipped does the many calls, where it was built: under the sanitizers they would take minutes.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from jsonschema import Draft202012Validator

SHIPPED = Path(os.environ["COWVET_SOURCE_DIR"]) / "build" / "release"
COWVET, CORPUS = (str(SHIPPED / program) if SHIPPED.joinpath(program).is_file() else os.environ[variable]
                  for program, variable in (("cli/cowvet", "COWVET"), ("corpus/cowvet-corpus", "COWVET_CORPUS")))
complaints, validated = [], {}


def run(*words, folder=None):
    return subprocess.run([COWVET, *words], capture_output=True, cwd=folder)


def validator(name):
    schema = json.loads(run("schema", name).stdout)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


names = run("schema").stdout.decode().split()
VALIDATORS = {name: validator(name) for name in names}


def validate(name, said, about):
    """Holds what a call printed against a schema; a call that failed without a word is no business of this test."""
    if not said.stdout:
        return
    try:
        document = json.loads(said.stdout)
    except ValueError as error:
        complaints.append(f"{about}: {name}: no JSON: {error}")
        return
    validated[name] = validated.get(name, 0) + 1
    for error in list(VALIDATORS[name].iter_errors(document))[:3]:
        complaints.append(f"{about}: {name}: {error.json_path}: {error.message[:300]}")
    # Without any of its keys, a document must not validate: a schema that takes everything says nothing.
    if isinstance(document, dict) and VALIDATORS[name].is_valid({}):
        complaints.append(f"{name}: the schema accepts an empty object")


with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch)
    built = subprocess.run([CORPUS, "build", folder], capture_output=True, text=True)
    images = sorted(path.relative_to(folder) for path in folder.rglob("*.qcow2"))
    if built.returncode != 0 or len(images) < 50:
        sys.exit(f"the corpus can't be built, or is too small ({len(images)}): {built.stderr}")
    for image in images:
        validate("check", run("check", "--output=json", image, folder=folder), image)
        validate("info", run("info", "--output=json", image, folder=folder), image)
        mapped = run("map", "--output=json", image, folder=folder)
        if mapped.returncode == 0:
            validate("map", mapped, image)
        validate("dump", run("dump", "--output=json", image, "header", "ext", "l1", "refcount_block[0]", "snapshots",
                             folder=folder), image)
        validate("chain", run("chain", "--output=json", "--max-findings=3", image, folder=folder), image)
        if image.parts[0] == "snapshot":
            validate("revert-check", run("revert-check", "--output=json", "--snapshot=1", image, folder=folder), image)
        if image.parts[0] in ("snapshot", "l1", "l2", "refcount", "header"):
            validate("repair", run("repair", "--plan", "--level=all", "--output=json", image, folder=folder), image)
        if image.parts[0] in ("snapshot", "l2", "good"):
            validate("salvage", run("salvage", "--output=json", image, "salvaged", folder=folder), image)
            for made in folder.glob("salvaged*"):
                made.unlink()
            validate("carve", run("carve", "--output=json", image, folder=folder), image)
        if "layout" in names:
            validate("layout", run("layout", "--output=json", image, folder=folder), image)
    validate("check", run("check", "--output=json", *images[:20], "gone.qcow2", folder=folder), "several images")
    validate("info", run("info", "--output=json", "--backing-chain", images[0], folder=folder), "a chain")
    mended = next(path for path in images if path.parts[0] == "refcount" and run("repair", path, folder=folder).returncode == 0
                  and (folder / f"{path}.cowvet-undo").exists())
    for words in (["--list"], []):
        validate("undo", run("undo", *words, "--output=json", f"{mended}.cowvet-undo", folder=folder), f"undo {words}")
    # The first that an overlay can stand on without a password.
    next(path for path in images if path.parts[0] == "good" and run("check", path, folder=folder).returncode == 0
         and run("snapshot", "--external", "over.qcow2", "-f", "qcow2", path, folder=folder).returncode == 0)
    for words in (["commit"], ["pull"], ["rebase", "-b", ""], ["rebase", "-u", "-b", ""]):
        said = run(*words, "--dry-run", "--output=json", "over.qcow2", folder=folder)
        if said.returncode != 0:
            complaints.append(f"{words}: {said.stderr.decode()}")
        validate("chain-edit", said, words)
    chain = run("repair", "--chain", "--plan", "--output=json", "over.qcow2", folder=folder)
    validate("repair-chain", chain, "a chain's repair")
    for link in json.loads(chain.stdout)["images"]:
        for error in list(VALIDATORS["repair"].iter_errors(link["repair"]))[:3]:
            complaints.append(f"a chain's repair: {link['filename']}: {error.json_path}: {error.message[:300]}")
validate("rules", run("rules", "--output=json"), "all rules")
validate("model", run("model", "--ops", "20", "--output=json"), "20 operations")

for name in names:
    if not validated.get(name):
        complaints.append(f"{name}: nothing was validated")
for complaint in complaints[:40]:
    print(complaint)
print(f"{len(complaints)} complaints; validated: {validated}")
sys.exit(1 if complaints else 0)
