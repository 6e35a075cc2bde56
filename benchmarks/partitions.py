"""A whole partition, manifest in and tables out, by number of worker threads."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.landing import PARTITION
from segpipe.root import Root
from segpipe.settings import Settings


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


def fresh_root(root: Path, masks: Path, aside: Path, workers: int) -> Root:
    """The root with its results elsewhere."""
    settings = Settings(
        str(root),
        dataset="bench",
        validated=str(aside / "validated"),
        masks=str(aside / "masks"),
        allowed_roots=(str(masks),),
        workers=workers,
    )
    return Root(settings)
