"""A whole partition, manifest in and tables out: masks a second by workers, and peak memory.

``python -m benchmarks.partitions [--rows 10 50]`` prints both.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.landing import PARTITION, fresh_root, generated_masks, write_manifest
from benchmarks.masks import SEGMENTS
from benchmarks.memory import measure_peak


@dataclass(frozen=True)
class Throughput:
    """Masks per second with one worker and with two; each the median of the rounds."""

    one_worker: float
    two_workers: float
    speed_up: float
    rounds: int


def measure_partition(root: Path, masks: Path, aside: Path, rounds: int) -> Throughput:
    """Materialize the partition of a root, in turn with one worker and with two.

    Args:
        masks: the folder of the mask files.
        aside: where tables and masks go; every run starts with none.
    """
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            speeds[workers].append(masks_per_second(root, masks, aside, workers))
    pairs = zip(speeds[1], speeds[2], strict=True)
    return Throughput(
        median(speeds[1]), median(speeds[2]), median(two / one for one, two in pairs), rounds
    )


def masks_per_second(root: Path, masks: Path, aside: Path, workers: int) -> float:
    """Materialize once into an empty place; its removal and others' writes are not timed."""
    opened = fresh_root(root, masks, aside, workers)
    if hasattr(os, "sync"):
        os.sync()  # materialize ends with one: what was written before is not its own
    started = perf_counter()
    summary = opened.materialize(PARTITION)
    seconds = perf_counter() - started
    shutil.rmtree(aside)
    if summary.accepted != summary.rows:
        raise AssertionError(f"accepted {summary.accepted} of {summary.rows} generated masks")
    return summary.rows / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.partitions", description=__doc__)
    parser.add_argument("--masks", type=int, default=2000, help="mask files (2000)")
    parser.add_argument("--rows", type=int, nargs="+", default=[10, 50], help="rows per file")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with (
        generated_masks(asked.masks, 1, SEGMENTS, keep=True) as masks,
        tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as folder,
    ):
        for rows in asked.rows:
            root = Path(folder) / f"root-{rows}"
            write_manifest(root, masks, rows)
            peak = measure_peak(root, masks.folder, Path(folder) / "peak")
            print(f"{peak.rows:,} rows: peak {peak.peak:.0f} MiB, before {peak.before:.0f}")
        found = measure_partition(root, masks.folder, Path(folder) / "aside", asked.rounds)
        print(f"1 worker {found.one_worker:.0f} masks/s, 2 workers {found.two_workers:.0f}: ")
        print(f"{found.speed_up:.2f} times as fast ({found.rounds} rounds)")


if __name__ == "__main__":
    main()
