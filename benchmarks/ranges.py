"""Ranges of small partitions in one process, and where worker processes begin to pay.

``python -m benchmarks.ranges [--partitions 50]`` runs a range of partitions of 40 masks with
``segpipe run --all``, twice; the baseline is the same work by calls of the Python interface.
``python -m benchmarks.ranges --workers [--rows 1000 8000 24000]`` materializes partitions with one
worker and with two, in turns: the wall clock, and the processor's time of all processes, which
tells on a busy machine what two idle cores would give at best.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter

from benchmarks.landing import PARTITION, Masks, fresh_root, generated_masks, write_manifest
from benchmarks.runs import by_calls, root_with, without_results
from segpipe.manifests.partition import Partition

_SEGMENTS = (5, 20)
_MASKS_PER_PARTITION = 40
_FILES = 200  # that rows name again and again


def measure_range(folder: Path, masks: Masks, count: int) -> None:
    """A range, new and again, against calls."""
    first = date.fromisoformat(PARTITION.date)
    days = [Partition(PARTITION.model_run, f"{first + timedelta(n)}") for n in range(count)]
    root = root_with(folder / "root", masks, days)
    by_calls(root, days[0])
    without_results(root)
    calls = sum(by_calls(root, day) for day in days)
    without_results(root)
    command = [sys.executable, "-m", "segpipe", "run", "--root", root.settings.root, "--all"]
    seconds = []
    for _ in range(2):
        begun = perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(perf_counter() - begun)
    print(f"{count} partitions of {len(masks.files)} masks, seconds a partition")
    for name, whole in zip(("calls", "segpipe run --all", "again"), (calls, *seconds), strict=True):
        print(f"  {name:<24}{whole / count:>8.2f}{whole / calls:>8.2f} x")


def measure_workers(folder: Path, masks: Masks, rows: Sequence[int], rounds: int) -> None:
    """Partitions with one worker and with two, each in a process of its own; the best of rounds."""
    print(f"{'rows':>8}  one worker, s  two, s  times as fast  processor, x  at best, times")
    for number in rows:
        root = folder / f"{number}"
        write_manifest(root, masks, max(1, number // len(masks.files)))
        walls: dict[int, list[float]] = {1: [], 2: []}
        used: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(rounds):
            for workers in (1, 2) if turn % 2 == 0 else (2, 1):
                seconds, processor = _once(root, masks, folder / f"aside-{number}", workers)
                walls[workers].append(seconds)
                used[workers].append(processor)
        wall, processor = [min(walls[n]) for n in (1, 2)], [min(used[n]) for n in (1, 2)]
        print(
            f"{number:>8}{wall[0]:>15.2f}{wall[1]:>8.2f}{wall[0] / wall[1]:>15.2f}"
            f"{processor[1] / processor[0]:>14.2f}{2 * processor[0] / processor[1]:>16.2f}"
        )


def _once(root: Path, masks: Masks, aside: Path, workers: int) -> tuple[float, float]:
    """Seconds of the wall clock and of the processor, of a new process that has imported."""
    asked = [str(root), str(masks.folder), str(aside), str(workers)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ranges", "--once", *asked],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds, processor = map(float, done.stdout.split())
    return seconds, processor


def _materialized(root: Path, masks: Path, aside: Path, workers: int) -> None:
    """Materialize, and print seconds: those of the processor also of all that it started."""
    opened = fresh_root(root, masks, aside, workers)
    begun, used = perf_counter(), sum(os.times()[:2])
    opened.materialize(PARTITION)
    seconds, used = perf_counter() - begun, sum(os.times()[:2]) - used
    print(seconds, used + sum(map(_processor, _children())))
    shutil.rmtree(aside)


def _children() -> list[int]:
    listings = Path("/proc/self/task").glob("*/children")
    return [int(child) for listing in listings for child in listing.read_text().split()]


def _processor(process: int) -> float:
    """Seconds of the processor's of a process and of its children that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranges", description=__doc__)
    parser.add_argument("--partitions", type=int, default=50)
    parser.add_argument("--workers", action="store_true")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 8000, 24000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        root, masks, aside, workers = asked.once
        _materialized(Path(root), Path(masks), Path(aside), int(workers))
        return
    count = _FILES if asked.workers else _MASKS_PER_PARTITION
    with (
        tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as place,
        generated_masks(count, 1, _SEGMENTS, keep=True) as masks,
    ):
        if asked.workers:
            measure_workers(Path(place), masks, asked.rows, asked.rounds)
        else:
            measure_range(Path(place), masks, asked.partitions)


if __name__ == "__main__":
    main()
