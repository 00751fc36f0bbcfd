"""Weaves all mutants into one copy of the engine's sources, so that one build holds them all.

A mutant is a file NAME.mutant: what it breaks, the source it breaks, the text there with the part to be replaced between
guillemets (all of it without them), and what takes its place. In the copy each such place becomes a choice between both,
made by the environment variable COWVET_MUTANT when the program runs. weave.py OUTPUT writes the copies and mutant.hpp.
"""
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1]


class Mutant:
    def __init__(self, path):
        self.name = path.stem
        head, old, self.new = path.read_text(encoding="utf-8").split("--- old\n")[0], *(
            path.read_text(encoding="utf-8").split("--- old\n")[1].split("--- new\n"))
        fields = dict(line.split(": ", 1) for line in head.splitlines())
        self.breaks, self.file, self.oracle = fields["breaks"], fields["file"], fields["caught by"]
        self.new = self.new.strip()
        context = old.rstrip("\n")
        if "«" not in context:
            context = f"«{context}»"
        before, rest = context.split("«")
        self.old, after = rest.split("»")
        self.context = before + self.old + after
        self.skip = len(before)

    def place(self, text):
        """Where the part to be replaced begins; nothing unless the context is there exactly once."""
        return text.index(self.context) + self.skip if text.count(self.context) == 1 else None


def all_mutants():
    return [Mutant(path) for path in sorted(HERE.glob("*.mutant"))]


def stale():
    """The names of mutants whose text is not in their source once."""
    return [m.name for m in all_mutants() if m.place((SOURCE / m.file).read_text()) is None]


def woven(text, mutants, numbers):
    """The source with a choice at each mutant's place; several may share one."""
    places = {}
    for mutant in mutants:
        begin = mutant.place(text)
        if begin is not None:
            places.setdefault((begin, begin + len(mutant.old)), []).append(mutant)
    for (begin, end), here in sorted(places.items(), reverse=True):
        choice = text[begin:end]
        for mutant in here:
            chosen = f"mutants::chosen == {numbers[mutant.name]}"
            if mutant.old.endswith(";"):
                choice = f"if ({chosen}) {{ {mutant.new} }} else {{ {choice} }}"
            else:
                choice = f"({chosen} ? ({mutant.new}) : ({choice}))"
        text = text[:begin] + choice + text[end:]
    return '#include "mutant.hpp"\n' + text


def main(output):
    output.mkdir(parents=True, exist_ok=True)
    mutants = all_mutants()
    numbers = {mutant.name: number for number, mutant in enumerate(mutants, 1)}
    names = "".join(f'  if (name == "{name}") return {number};\n' for name, number in numbers.items())
    files = {output / "mutant.hpp": f"""#pragma once
#include <cstdlib>
#include <string_view>
namespace cowvet::mutants {{
inline int number_of(std::string_view name) {{
  if (name.empty()) return 0;
{names}  std::abort();
}}
inline const int chosen = number_of(std::getenv("COWVET_MUTANT") != nullptr ? std::getenv("COWVET_MUTANT") : "");
}}
"""}
    for file in sorted({mutant.file for mutant in mutants}):
        here = [mutant for mutant in mutants if mutant.file == file]
        files[output / Path(file).name] = woven((SOURCE / file).read_text(), here, numbers)
    for path, text in files.items():
        if not path.is_file() or path.read_text() != text:  # what did not change is not built again
            path.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
