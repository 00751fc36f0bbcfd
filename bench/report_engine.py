#!/usr/bin/env python3
"""Turns the figures that bench/engine gathered into the table, holds them against the goals, and says which are missed.

Usage: report_engine.py TIMES_DIR [RESULT_FILE]. Exit: 0 all goals met, 1 one is missed.
"""

import json
import statistics
import sys
from pathlib import Path

from report import goal_lines, machine, publish, seconds

# What each row is, and how many times as fast as qemu-img it is to be; None: told, but no goal.
ROWS = {
    "zlib-to-raw": ("convert, zlib clusters to raw", 3),
    "zstd-to-raw": ("convert, zstd clusters to raw", 1.5),
    "plain-to-raw": ("convert, plain clusters to raw", 1),
    "raw-to-zlib": ("convert -c, raw to zlib clusters", 4),
    "raw-to-zstd": ("convert -c, raw to zstd clusters", None),
    "raw-to-plain": ("convert, raw to plain clusters", None),
    "compare-plain": ("compare, raw and plain clusters", 3),
    "compare-zlib": ("compare, raw and zlib clusters", 3),
    "random-read": ("bench, scattered reads of 4 KiB, depth 64", 1),
    "random-write": ("bench, scattered writes of 4 KiB, depth 64", 1),
}
MOST_MEMORY = 128  # MiB


class Figures:
    """One program in one row: median, spread and number of runs in seconds, peak memory in MiB, bytes made and kept."""

    def __init__(self, stem):
        times = json.loads(Path(f"{stem}.json").read_text())["results"][0]["times"]
        self.median = statistics.median(times)
        self.least, self.most, self.runs = min(times), max(times), len(times)
        self.memory = int(Path(f"{stem}.kib").read_text().split()[-1]) / 1024
        size = Path(f"{stem}.size")
        self.length, self.blocks = map(int, size.read_text().split()) if size.exists() else (None, None)


def goals(rows):
    """Yields (sentence, met) for each goal whose row was measured."""
    for name, (mine, peer) in rows.items():
        _, least = ROWS[name]
        if least is not None:
            # Two medians of equal work differ by some percent from run to run.
            faster = "not slower than qemu-img" if least == 1 else f"at least {least} times as fast as qemu-img"
            yield f"{name}: {faster}", peer.median / mine.median >= (0.95 if least == 1 else least)
        if name == "raw-to-zlib":
            yield f"{name}: at most 3 % longer", mine.length <= 1.03 * peer.length
        if name == "plain-to-raw":
            yield f"{name}: holes are kept", mine.blocks <= 1.01 * peer.blocks
        yield f"{name}: less than {MOST_MEMORY} MiB", mine.memory < MOST_MEMORY


def table(rows):
    yield "| what | cowvet | qemu-img | ratio | cowvet made | qemu-img made | cowvet peak | qemu-img peak |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for name, (mine, peer) in rows.items():
        made = [f"{f.length / 2**20:.1f} MiB" if f.length else "" for f in (mine, peer)]
        spans = [f"{seconds(f.median)} ({seconds(f.least)} to {seconds(f.most)})" for f in (mine, peer)]
        yield (f"| {ROWS[name][0]} | {spans[0]} | {spans[1]} | {peer.median / mine.median:.1f} | {made[0]} | {made[1]} "
               f"| {mine.memory:.1f} MiB | {peer.memory:.1f} MiB |")


def main():
    folder = Path(sys.argv[1])
    rows = {name: (Figures(folder / f"{name}.cowvet"), Figures(folder / f"{name}.qemu-img"))
            for name in ROWS if (folder / f"{name}.qemu-img.kib").exists()}
    held = list(goals(rows))
    runs = max((mine.runs for mine, _ in rows.values()), default=0)
    lines = ["# cowvet's work on disks beside qemu-img's", "", machine(),
             f"A real ext4 file system, warm cache, the same options; medians of {runs} runs of `bench/engine`, with the fastest "
             "and the slowest.", "", *table(rows), "", *goal_lines(held)]
    return publish(lines, held)


if __name__ == "__main__":
    sys.exit(main())
