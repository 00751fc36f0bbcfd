#!/usr/bin/env python3
"""Turns the figures that bench/chains gathered into the table, holds them against the goals, and says which are missed.

Usage: report_chains.py TIMES_DIR [RESULT_FILE]. Exit: 0 all goals met, 1 one is missed.
"""

import sys
from pathlib import Path

from report import goal_lines, machine, publish, seconds
from report_engine import MOST_MEMORY, Figures

ROWS = {
    "commit": "commit, the active layer into the one below",
    "commit-all": "commit -b, all layers into the lowest",
    "rebase": "rebase, onto the lowest layer",
    "flatten": 'rebase -b "", onto nothing',
}
LEAST = 1.5  # times as fast as qemu-img


def goals(rows):
    """Yields (sentence, met) for each goal whose row was measured."""
    for name, (mine, peer) in rows.items():
        yield f"{name}: at least {LEAST} times as fast as qemu-img", peer.median / mine.median >= LEAST
        yield f"{name}: less than {MOST_MEMORY} MiB", mine.memory < MOST_MEMORY


def table(rows):
    yield "| what | cowvet | qemu-img | ratio | cowvet peak | qemu-img peak |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name, (mine, peer) in rows.items():
        spans = [f"{seconds(f.median)} ({seconds(f.least)} to {seconds(f.most)})" for f in (mine, peer)]
        yield (f"| {ROWS[name]} | {spans[0]} | {spans[1]} | {peer.median / mine.median:.1f} | {mine.memory:.1f} MiB "
               f"| {peer.memory:.1f} MiB |")


def main():
    folder = Path(sys.argv[1])
    rows = {name: (Figures(folder / f"{name}.cowvet"), Figures(folder / f"{name}.qemu-img"))
            for name in ROWS if (folder / f"{name}.qemu-img.kib").exists()}
    held = list(goals(rows))
    runs = max((mine.runs for mine, _ in rows.values()), default=0)
    lines = ["# cowvet's operations on chains beside qemu-img's", "", machine(),
             f"A real ext4 file system of 1 GiB over four layers, warm cache; medians of {runs} runs of `bench/chains`, with the "
             "fastest and the slowest.", "", *table(rows), "", *goal_lines(held)]
    return publish(lines, held)


if __name__ == "__main__":
    sys.exit(main())
