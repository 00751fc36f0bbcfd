"""The manual page and the program's help know the same verbs and, for each verb, the same options."""
import os
import re
import subprocess
import tree


def help_of(*words):
    return subprocess.run([os.environ["COWVET"], *words, "--help"], capture_output=True, text=True, check=True).stdout


page = tree.read("docs/cowvet.1").replace("\\-", "-")
in_page = {}
for section in re.split(r"^\.Ss ", page.split(".Sh VERBS")[1].split("\n.Sh ")[0], flags=re.M)[1:]:
    verb, body = section.split("\n", 1)
    described = re.findall(r"^\.It (.*)$", body, re.M)
    in_page[verb] = {f"-{option}" for line in described for option in re.findall(r"Fl (\S+)", line)}

in_help = {}
for verb in re.findall(r"^  ([a-z-]+) +\S", help_of(), re.M):
    if verb.startswith("-") or verb == "cowvet":
        continue
    lines = re.findall(r"^  (-\S+)", help_of(verb), re.M)
    in_help[verb] = {option for line in lines for option in line.split(",")} - {"-h", "--help"}

complaints = []
for verb in sorted(in_page.keys() | in_help.keys()):
    if verb not in in_page:
        complaints.append(f"docs/cowvet.1: no section .Ss {verb}")
    elif verb not in in_help:
        complaints.append(f"docs/cowvet.1: describes {verb}, which is no verb")
    else:
        for option in sorted(in_help[verb] - in_page[verb]):
            complaints.append(f"docs/cowvet.1: {verb} has {option}, which is not described")
        for option in sorted(in_page[verb] - in_help[verb]):
            complaints.append(f"docs/cowvet.1: {verb} has no {option}")

tree.finish(complaints, sum(map(len, in_help.values())))
