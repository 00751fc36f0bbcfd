"""Enforces the floors: a folder includes only lower folders, and each third-party library has one room.

Also: only storage/ and cli/ talk to the operating system, only cli/ prints or ends the program. Tools, fuzzers, tests
and benchmarks may use every room; no room may use them.
"""
import re
import tree

FLOORS = {"base": 0, "format": 1, "storage": 1, "findings": 2, "analyzer": 3, "engine": 3, "repair": 4, "model": 4,
          "reports": 5, "cli": 6}
# Not rooms: what they may include beside every room at most as high as the number, and their own files.
OUTSIDE = {"corpus": 2, "fuzz": 6, "bench": 6, "tests": 6, "cmake": 0}
ALSO = {"fuzz": {"corpus"}, "bench": {"corpus"}, "tests": {"corpus", "fuzz"}}

LIBRARIES = [  # what an angled include starts with, and who may write it
    (r"(zlib|libdeflate|zstd|zstd_errors|zdict)\.h", {"format", "tests"}),
    (r"liburing", {"storage"}),
    (r"libnbd", {"storage"}),
    (r"pugixml", {"analyzer"}),
    (r"openssl/", {"engine"}),
    (r"nlohmann/", {"reports", "tests"}),
    (r"CLI/", {"cli"}),
    (r"(gtest|gmock)/", {"tests"}),
    (r"rapidcheck", {"tests", "model"}),
    (r"fmt/", set(FLOORS) | set(OUTSIDE)),
    (r"sys/mman\.h", {"base", "analyzer", "storage", "bench", "tests"}),  # costs nothing until touched
]
SYSTEM = re.compile(r"(sys|linux|arpa|netinet)/|[a-z_0-9]+\.h$")
SYSTEM_ROOMS = {"storage", "cli"} | set(OUTSIDE)
GENERATED = {"base/version.hpp"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
PRINTS = re.compile(r"std::(cout|cerr|clog|exit|quick_exit|_Exit)\b|\b(printf|fprintf|puts|putchar)\(|fmt::print\(")


def may_include(folder, target):
    if target == folder or target in ALSO.get(folder, ()):
        return True
    if target not in FLOORS:
        return False
    return FLOORS[target] < FLOORS[folder] if folder in FLOORS else FLOORS[target] <= OUTSIDE[folder]


complaints, looked_at = [], 0
for path in tree.files(".hpp", ".cpp"):
    folder = path.parts[0]
    text = tree.read(path)
    if folder not in FLOORS and folder not in OUTSIDE:
        complaints.append(f"{path}: {folder}/ has no floor in tests/house/includes_test.py")
        continue
    for match in INCLUDE.finditer(text):
        kind, name = match.groups()
        line = text.count("\n", 0, match.start(2)) + 1
        looked_at += 1
        if kind == '"':
            target = name.split("/")[0]
            if name not in GENERATED and not (tree.ROOT / name).is_file():
                complaints.append(f"{path}:{line}: \"{name}\" is no file below the project's root")
            elif not may_include(folder, target):
                complaints.append(f"{path}:{line}: {folder}/ must not include {target}/: it is not on a lower floor")
            continue
        owners = next((rooms for pattern, rooms in LIBRARIES if re.match(pattern, name)), None)
        if owners is None and SYSTEM.match(name):
            owners = SYSTEM_ROOMS
        if owners is not None and folder not in owners:
            complaints.append(f"{path}:{line}: <{name}> belongs to {', '.join(sorted(owners))} alone")
        elif owners is None and not re.fullmatch(r"[a-z_0-9]+", name):
            complaints.append(f"{path}:{line}: <{name}> is a library that no room has been given")
    if folder in FLOORS and folder != "cli":
        for match in PRINTS.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            complaints.append(f"{path}:{line}: only cli/ prints or ends the program: {match.group()}")

tree.finish(complaints, looked_at)
