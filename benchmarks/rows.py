"""Manifests of millions of rows: whether time per row and memory stay what they were.

``python -m benchmarks.rows [--rows 1000000]`` writes a manifest of that many rows, each an item of
its own, which name small masks (what a mask's pixels cost is measured elsewhere), and validates it.
After every tenth it prints the time per row and the memory of all processes, by Linux's account.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.landing import PARTITION
from benchmarks.machine import machine_facts
from benchmarks.memory import mib_of, peak_mib, process_facts
from segpipe.masks.encoding import canonical_png
from segpipe.root import Root
from segpipe.settings import Settings

_SIZE = 16
_ROWS_AT_ONCE = 100_000
_SEGMENTS = '[{"label": "road", "index": 0}, {"label": "car", "index": 1}]'


def write_masks(folder: Path, count: int) -> None:
    """Small masks of two values, no two alike."""
    folder.mkdir(parents=True)
    for number in range(count):
        random = np.random.default_rng(number)
        pixels = np.sort(random.integers(0, 2, (_SIZE, _SIZE), np.uint8), axis=1)
        pixels[0, 0], pixels[-1, -1] = 0, 1
        (folder / f"{number}.png").write_bytes(canonical_png(pixels))


def write_manifest(root: Path, masks: Path, count: int, rows: int) -> None:
    """A manifest of this many items, a row group at a time."""
    path = root.joinpath("manifests", *PARTITION.folders, "x.parquet")
    path.parent.mkdir(parents=True)
    names = ("reference_id", "mask_url", "segments", "height", "width")
    schema = pa.schema([(name, pa.string()) for name in names[:3]] + [("height", pa.int32())])
    schema = schema.append(pa.field("width", pa.int32()))
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, _ROWS_AT_ONCE):
            numbers = range(first, min(first + _ROWS_AT_ONCE, rows))
            columns = [
                [f"item-{number:010d}" for number in numbers],
                [f"{masks}/{number % count}.png" for number in numbers],
                [_SEGMENTS] * len(numbers),
                [_SIZE] * len(numbers),
                [_SIZE] * len(numbers),
            ]
            writer.write_table(pa.table(columns, schema=schema))


def memory_of_workers() -> list[float]:
    """MiB resident in each process this one has started, and theirs, the largest first."""
    mine = {os.getpid()}
    found = []
    for status in sorted(Path("/proc").glob("[0-9]*/status"), key=lambda path: int(path.parts[2])):
        try:
            facts = process_facts(status)
        except OSError:  # it ended meanwhile
            continue
        if int(facts["PPid"]) in mine:
            mine.add(int(facts["Pid"]))
            found.append(mib_of(facts, "VmRSS"))
    return sorted(found, reverse=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rows", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--masks", type=int, default=1000, help="that rows name in turn (1000)")
    parser.add_argument("--workers", type=int, default=0, help="0: one per processor")
    asked = parser.parse_args()
    print(", ".join(f"{name} {fact}" for name, fact in machine_facts().items()))
    with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as place:
        folder = Path(place)
        write_masks(folder / "small", asked.masks)
        write_manifest(folder / "root", folder / "small", asked.masks, asked.rows)
        settings = Settings.load(str(folder / "root")).with_allowed_roots(str(folder / "small"))
        root = Root(replace(settings, workers=asked.workers))
        tenth, begun, before = max(1, asked.rows // 10), perf_counter(), 0
        due = tenth

        def told(done: int, of: int) -> None:
            nonlocal due, begun, before
            if done < due and done < of:
                return
            seconds = perf_counter() - begun
            workers = ", ".join(f"{one:.0f}" for one in memory_of_workers())
            per_row = f"{seconds / max(1, done - before) * 1e6:>7.1f} us a row"
            print(
                f"{done:>12,} {per_row}   peak {peak_mib():.0f} MiB   others {workers}", flush=True
            )
            due, begun, before = done + tenth, perf_counter(), done

        summary = root.materialize(PARTITION, progress=told)
        print(f"{summary.accepted:,} accepted of {summary.rows:,}; peak {peak_mib():.0f} MiB")


if __name__ == "__main__":
    main()
