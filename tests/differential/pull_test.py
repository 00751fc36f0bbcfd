"""Pulls, beside the rebase of qemu-img that leads to the same chain: the content of every layer, what `qemu-img info` says of the
image, and nothing found by either check. Layers below are not written: their files have the same bytes afterwards.
"""
import sys

from chains import Chains, LAYERS

with Chains() as chains:
    for top in LAYERS:
        if top == "raw":
            continue
        for middle in ("plain", "compressed", "version-2"):
            chains.both(["pull", "top"], theirs=["rebase", "-b", "", "top"], base="plain", middle=middle, top=top,
                        unwritten=["base", "mid"], same_output=False)
            chains.both(["pull", "--base", "base", "top"], theirs=["rebase", "-b", "base", "-F", "BASE", "top"], base="raw",
                        middle=middle, top=top, unwritten=["base", "mid"], same_output=False)
    for sizes in (("2M", "6M"), ("6M", "3M"), ("4M", "4194816")):
        chains.both(["pull", "top"], theirs=["rebase", "-b", "", "top"], base="plain", middle="plain", sizes=sizes,
                    unwritten=["base", "mid"], same_output=False)
    # Into a layer of the middle.
    chains.both(["pull", "mid"], theirs=["rebase", "-b", "", "mid"], base="plain", middle="subclusters",
                unwritten=["base", "top"], same_output=False)
    sys.exit(chains.finish())
