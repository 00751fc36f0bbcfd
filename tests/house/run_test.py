"""tools/run does what the README says: it checks the sample images, any image, and passes on the exit code."""
import re
import subprocess
import tree

run = tree.ROOT / "tools" / "run"
complaints = []


def expect(code, *arguments):
    ran = subprocess.run([run, *arguments], capture_output=True, text=True, cwd=tree.ROOT)
    if ran.returncode != code:
        complaints.append(f"tools/run {' '.join(arguments)}: exit code {ran.returncode}, not {code}: {ran.stderr}")
    return ran


samples = re.search(r"^samples=\((.*?)\)", tree.read("tools/run"), re.M | re.S).group(1).split()
for sample in samples:
    if not (tree.ROOT / "corpus" / f"{sample}.recipe").is_file():
        complaints.append(f"tools/run: the sample {sample} has no recipe in corpus/")

checked = expect(2, "check")
for sample in samples:
    if f"{sample}.qcow2: " not in checked.stdout:
        complaints.append(f"tools/run check: says nothing about {sample}")
for sample in samples:
    if sample.startswith("good/"):
        expect(0, "check", "-q", f"build/samples/{sample}.qcow2")
expect(3, "check", "-q", "build/samples/refcount/leak/one_cluster.qcow2")
expect(1, "check", "build/samples/there-is-no-such.qcow2")
expect(0, "--version")

tree.finish(complaints, len(samples))
