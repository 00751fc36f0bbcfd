"""What a test expects and what did not hold, and calls that must succeed."""
from programs import run

complaints, tried = [], 0


def expect(fine, what, said=""):
    global tried
    tried += 1
    if not fine:
        complaints.append(f"{what}\n{said}")


def must(folder, *words):
    said = run(words, folder)
    assert said.code == 0, said
    return said


def verdict(least=1):
    """Prints what did not hold; the exit code of the test, which fails too when less than `least` was looked at."""
    print(*complaints, sep="\n")
    print(f"{tried} looked at, {len(complaints)} complaints")
    return 1 if complaints or tried < least else 0
