#!/usr/bin/env python3
"""Turns the figures that bench/check gathered into the table, holds them against the goals, and says which are missed.

Usage: report.py TIMES_DIR [RESULT_FILE]. Exit: 0 all goals met, 1 one is missed, or
the programs came to different counts, which makes their times worth nothing.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

ORDER = ["small", "filesystem-compressed", "prealloc-1T", "prealloc-4T", "prealloc-16T", "snapshots-10",
         "snapshots-100", "scattered-1T", "hostile-sparse"]
COUNTERS = ["image-end-offset", "total-clusters", "allocated-clusters", "fragmented-clusters",
            "compressed-clusters", "corruptions", "leaks", "check-errors"]
TIB = {"prealloc-1T": 1, "prealloc-4T": 4, "prealloc-16T": 16}


class Figures:
    """One program on one image: mean and deviation in seconds, number of runs, peak memory in MiB."""

    def __init__(self, stem):
        result = json.loads(Path(f"{stem}.json").read_text())["results"][0]
        self.mean = result["mean"]
        self.deviation = result["stddev"] or 0.0
        self.runs = len(result["times"])
        self.memory = int(Path(f"{stem}.kib").read_text().split()[-1]) / 1024
        text = Path(f"{stem}.verdict").read_text()
        verdict = json.loads(text) if text.strip() else {}
        self.counters = {key: verdict.get(key, 0) for key in COUNTERS}


def goals(rows):
    """Yields (sentence, met) for each goal whose images were measured."""
    def ratio(name, least):
        if name in rows:
            mine, peer, _ = rows[name]
            yield f"{name}: at least {least} times as fast as qemu-img", peer.mean / mine.mean >= least

    yield from ratio("small", 1)
    yield from ratio("prealloc-1T", 20)
    yield from ratio("snapshots-10", 60)
    yield from ratio("scattered-1T", 10)
    if "prealloc-1T" in rows:
        mine, peer, _ = rows["prealloc-1T"]
        yield "prealloc-1T: no more peak memory than qemu-img", mine.memory <= peer.memory
    if "snapshots-10" in rows and "snapshots-100" in rows:
        yield ("snapshots-100: less than twice the time of snapshots-10",
               rows["snapshots-100"][0].mean < 2 * rows["snapshots-10"][0].mean)
    if "hostile-sparse" in rows:
        mine = rows["hostile-sparse"][0]
        yield "hostile-sparse: less than 1 s and 64 MiB", mine.mean < 1 and mine.memory <= 64
    if "prealloc-1T" in rows and "prealloc-16T" in rows:
        small, large = rows["prealloc-1T"], rows["prealloc-16T"]
        growth = large[2] / small[2]
        yield (f"prealloc-16T: time and memory within {growth:.1f} times those of prealloc-1T, as the metadata",
               large[0].mean <= growth * small[0].mean and large[0].memory <= growth * small[0].memory)


def seconds(value):
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def table(rows):
    yield "| image | cowvet mean | qemu-img mean | ratio | cowvet peak | qemu-img peak | runs |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for name, (mine, peer, _) in rows.items():
        yield (f"| {name} | {seconds(mine.mean)} ± {seconds(mine.deviation)} "
               f"| {seconds(peer.mean)} ± {seconds(peer.deviation)} | {peer.mean / mine.mean:.1f} "
               f"| {mine.memory:.1f} MiB | {peer.memory:.1f} MiB | {mine.runs}, {peer.runs} |")


def growth_table(rows):
    yield "| virtual size | on disk | cowvet mean | a MiB on disk | cowvet peak | a cluster |"
    yield "|--:|--:|--:|--:|--:|--:|"
    for name, tib in TIB.items():
        if name in rows:
            mine, _, disk = rows[name]
            clusters = tib << 24
            yield (f"| {tib} TiB | {disk:.0f} MiB | {seconds(mine.mean)} | {mine.mean / disk * 1e6:.0f} µs "
                   f"| {mine.memory:.1f} MiB | {mine.memory * 2**20 / clusters:.2f} bytes |")


def machine():
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    qemu = subprocess.run(["qemu-img", "--version"], capture_output=True, text=True, check=True).stdout
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, {qemu.splitlines()[0]}."


def goal_lines(held):
    return ["## Goals", "", *(f"- {'met' if met else '**missed**'}: {goal}" for goal, met in held), ""]


def publish(lines, held):
    """Prints the page, writes it where the second argument says; the program's exit code."""
    text = "\n".join(lines)
    print(text)
    if len(sys.argv) > 2:
        result = Path(sys.argv[2])
        result.parent.mkdir(exist_ok=True)
        result.write_text(text)
    return 0 if all(met for _, met in held) else 1


def main():
    folder = Path(sys.argv[1])
    rows = {}
    for name in ORDER:
        disk = folder / f"{name}.disk"
        if disk.exists():
            rows[name] = (Figures(folder / f"{name}.cowvet"), Figures(folder / f"{name}.qemu-img"),
                          int(disk.read_text()) / 1024)
            mine, peer, _ = rows[name]
            if mine.counters != peer.counters:
                sys.exit(f"{name}: the programs don't agree: cowvet {mine.counters}, qemu-img {peer.counters}")

    held = list(goals(rows))
    lines = ["# `cowvet check` beside `qemu-img check`", "", machine(),
             "Warm cache, both programs in one run of `bench/check`; the images are described in `../README.md`.",
             "", *table(rows), ""]
    if any(name in rows for name in TIB):
        lines += ["## Growth", "", *growth_table(rows), ""]
    if held:
        lines += goal_lines(held)
    return publish(lines, held)


if __name__ == "__main__":
    sys.exit(main())
