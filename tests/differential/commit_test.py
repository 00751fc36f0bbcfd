"""Commits beside qemu-img, on copies of the same chains: each combination of layers, options and backing formats.

Same exit code and output, the same guest content of every layer that is valid, the same `qemu-img info` keys but for sizes
on disk, and nothing found by `qemu-img check` and `cowvet check`.
"""
import sys

from chains import Chains, LAYERS

with Chains() as chains:
    for base in LAYERS:
        for top in LAYERS if base in ("plain", "raw") else ("plain",):
            if top == "raw":
                continue
            chains.both(["commit", "top"], base=base, top=top)
    for sizes in (("4M", "6M"), ("6M", "4M"), ("4M", "4194816"), ("2M", "9M")):
        for base in ("plain", "raw", "version-2", "subclusters", "data-file"):
            chains.both(["commit", "top"], base=base, top="plain", sizes=sizes)
    for words in (["-d"], ["-q"], ["-r", "64M"], ["-t", "none"], ["-t", "bogus"], ["-f", "qcow2"], ["-f", "raw"],
                  ["-b", "base"], ["-b", "./base"], ["-b", "mid"], ["-b", "gone"], ["-b", "top"], ["-b", "base", "-d"],
                  ["-r", "1x"], ["-d", "-q", "-t", "unsafe"]):
        for middle in (None, "plain", "compressed"):
            chains.both(["commit", *words, "top"], base="plain", middle=middle, top="subclusters")
    chains.both(["commit", "base"])
    chains.both(["commit", "gone"])
    chains.both(["commit"])
    chains.both(["commit", "top", "mid"])
    chains.both(["commit", "--image-opts", "driver=qcow2,file.filename=top"])
    chains.both(["commit", "--image-opts", "-f", "qcow2", "driver=qcow2,file.filename=top"])
    chains.both(["commit", "top"], base="snapshots", sizes=("4M", "6M"))
    # QEMU can't resize a version 2 image with snapshots, nor does cowvet.
    chains.both(["commit", "top"], base="snapshots-of-version-2", sizes=("4M", "6M"))
    sys.exit(chains.finish())
