"""Rebases beside qemu-img, on copies of the same chains: safe and unsafe, onto layers of the chain, other images, shorter and
longer ones, and nothing.

Same exit code and output, the same guest content of every layer, the same `qemu-img info` keys but for sizes on disk,
and nothing found by `qemu-img check` and `cowvet check`.
"""
import sys

from chains import Chains, LAYERS

ONTO = (["-b", ""], ["-b", "base", "-F", "BASE"], ["-b", "other", "-F", "qcow2"])

with Chains() as chains:
    for top in LAYERS:
        if top == "raw":
            continue
        for onto in ONTO:
            chains.both(["rebase", *onto, "top"], base="plain", middle="plain", top=top, other=("plain", "5M"))
    for base in LAYERS:
        for onto in ONTO:
            chains.both(["rebase", *onto, "top"], base=base, middle="compressed", top="plain", other=("version-2", "3M"))
    for sizes in (("2M", "6M"), ("6M", "3M"), ("4M", "4194816")):
        for size in ("1200k", "2098176", "8M"):
            for top in ("plain", "version-2", "subclusters", "large-clusters"):
                chains.both(["rebase", "-b", "other", "-F", "qcow2", "top"], base="plain", top=top, sizes=sizes,
                            other=("plain", size))
    # Unsafe: cowvet alone asks when content would change, so it is told to go on.
    for words in (["-u", "-b", "base", "-F", "qcow2"], ["-u", "-b", "gone", "-F", "qcow2"], ["-u"], ["-u", "-b", ""],
                  ["-u", "-b", "other", "-F", "raw"], ["-u", "-b", "gone", "-F", "vmdk"]):
        chains.both(["rebase", *words, "top"], base="plain", middle="plain", top="plain", force=True)
    for words in ([], ["-b", "base"], ["-b", "gone", "-F", "qcow2"], ["-b", "base", "-F", "bogus"], ["-u", "-b", "base"],
                  ["-u", "-b", "base", "-F", "bogus"], ["-b", "top", "-F", "qcow2"], ["-t", "bogus", "-u", "-b", ""],
                  ["-T", "bogus", "-u", "-b", ""], ["-q", "-b", ""], ["-f", "qcow2", "-b", ""], ["-f", "raw", "-b", ""],
                  ["-b", "", "-F", "qcow2"], ["-U", "-b", ""], ["-b", "x" * 1100, "-F", "qcow2", "-u"]):
        chains.both(["rebase", *words, "top"], base="plain", middle="plain", top="plain")
    chains.both(["rebase", "-b", "base", "-F", "qcow2", "gone"])
    chains.both(["rebase", "-b", "", "top", "mid"])
    chains.both(["rebase", "-b", "", "base"], base="raw")
    sys.exit(chains.finish())
