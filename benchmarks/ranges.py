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
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter

from PIL import Image

from benchmarks.goals import Goal
from benchmarks.landing import PARTITION, Masks, fresh_root, generated_masks, write_manifest
from benchmarks.runs import by_calls, root_with, without_results
from segpipe.manifests.partition import Partition

_SEGMENTS = (5, 20)
_MASKS_PER_PARTITION = 40
_FILES = 200  # that rows name again and again
_PARTITIONS = 50
_ROWS = (1000, 8000, 24000)


@dataclass(frozen=True)
class RangeFigures:
    """Seconds a small partition takes, each way, and its masks' decoding.

    Attributes:
        partitions, masks: how many, and of each of them.
        decoding: of a partition's masks, by Pillow.
        calls: by calls of the Python interface, without Dagster.
        new, again: in a range, with the start of its process; nothing has changed the second time.
    """

    partitions: int
    masks: int
    decoding: float
    calls: float
    new: float
    again: float


@dataclass(frozen=True)
class WorkersFigures:
    """Seconds of the wall clock and of the processor, with one worker and with two."""

    rows: int
    wall: tuple[float, float]
    processor: tuple[float, float]

    @property
    def times(self) -> float:
        """How many times as fast two are."""
        return self.wall[0] / self.wall[1]

    @property
    def at_best(self) -> float:
        """The same, if there were always two processors for them."""
        return 2 * self.processor[0] / self.processor[1]


def measure_ranges(divisor: int) -> tuple[RangeFigures, list[WorkersFigures]]:
    """All of it; for ``python -m benchmarks``."""
    with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as place:
        with generated_masks(_MASKS_PER_PARTITION, 1, _SEGMENTS, keep=True) as masks:
            one = measure_range(Path(place) / "range", masks, max(2, _PARTITIONS // divisor))
        with generated_masks(_FILES, 1, _SEGMENTS, keep=True) as masks:
            rows = [number // divisor for number in _ROWS]
            return one, measure_workers(Path(place), masks, rows, 2)


def range_goals(one: RangeFigures, many: Sequence[WorkersFigures]) -> list[Goal]:
    """Seconds a partition, and what two workers gain where they have enough to do."""
    pays = dict(zip(_ROWS, (None, 1.5, 1.8), strict=True))
    return [
        Goal("seconds a small partition in a range", 1.0, one.new),
        Goal("seconds a small partition in a range, again", 0.4, one.again),
        *(
            Goal(f"times as fast with two workers, {found.rows:,} masks", limit, found.times, True)
            for found in many
            if (limit := pays.get(found.rows)) is not None
        ),
    ]


def range_table(one: RangeFigures) -> str:
    """As Markdown."""
    ways = {
        "calls of the Python interface": one.calls,
        "`segpipe run --all`": one.new,
        "the same again, nothing changed": one.again,
    }
    lines = [f"| {one.partitions} partitions of {one.masks} masks | s a partition | x decode |"]
    lines.append("|---|---|---|")
    lines += [f"| {way} | {took:.2f} | {took / one.decoding:.0f} |" for way, took in ways.items()]
    return "\n".join(lines)


def workers_table(many: Sequence[WorkersFigures]) -> str:
    """As Markdown."""
    lines = ["| masks | one worker, s | two, s | times as fast | with two idle cores |"]
    lines.append("|---|---|---|---|---|")
    lines += [
        f"| {one.rows:,} | {one.wall[0]:.2f} | {one.wall[1]:.2f} | {one.times:.2f} "
        f"| {one.at_best:.2f} |"
        for one in many
    ]
    return "\n".join(lines)


def measure_range(folder: Path, masks: Masks, count: int) -> RangeFigures:
    """A range, new and again, against calls."""
    first = date.fromisoformat(PARTITION.date)
    days = [Partition(PARTITION.model_run, f"{first + timedelta(n)}") for n in range(count)]
    root = root_with(folder, masks, days)
    by_calls(root, days[0])
    without_results(root)
    calls = sum(by_calls(root, day) for day in days)
    without_results(root)
    begun = perf_counter()
    for path in masks.paths:
        with Image.open(path) as image:
            image.load()
    decoding = perf_counter() - begun
    command = [sys.executable, "-m", "segpipe", "run", "--root", root.settings.root, "--all"]
    seconds = []
    for _ in range(2):
        begun = perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(perf_counter() - begun)
    new, again = seconds
    return RangeFigures(
        count, len(masks.files), decoding, calls / count, new / count, again / count
    )


def measure_workers(
    folder: Path, masks: Masks, rows: Sequence[int], rounds: int
) -> list[WorkersFigures]:
    """Partitions with one worker and with two, each in a process of its own; the best of rounds."""
    found = []
    for number in rows:
        root = folder / f"{number}"
        write_manifest(root, masks, max(1, number // len(masks.files)))
        taken: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        for turn in range(rounds):
            for workers in (1, 2) if turn % 2 == 0 else (2, 1):
                taken[workers].append(_once(root, masks, folder / f"aside-{number}", workers))
        wall, processor = (
            (min(one[which] for one in taken[1]), min(one[which] for one in taken[2]))
            for which in (0, 1)
        )
        found.append(WorkersFigures(number, wall, processor))
    return found


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
    parser.add_argument("--partitions", type=int, default=_PARTITIONS)
    parser.add_argument("--workers", action="store_true")
    parser.add_argument("--rows", type=int, nargs="+", default=_ROWS)
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
            print(workers_table(measure_workers(Path(place), masks, asked.rows, asked.rounds)))
        else:
            print(range_table(measure_range(Path(place) / "range", masks, asked.partitions)))


if __name__ == "__main__":
    main()
