"""A look of the sensor at a landing folder with many partitions.

``python -m benchmarks.automation [--partitions 10000]`` lands that many manifests of a few bytes,
and prints the seconds of a first look, of one at which nothing changed, and of one that finds a
changed manifest; beside them, as the baseline, a walk that lists and reads every manifest.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import perf_counter

from segpipe.manifests.arrivals import Seen, look
from segpipe.manifests.landing import Landing
from segpipe.storage.files import Folder

_MODEL_RUNS = 20
_WRITTEN = 1_700_000_000


def land(folder: Path, partitions: int) -> list[Path]:
    """Write manifests of a few bytes; their paths."""
    paths = []
    for number in range(partitions):
        day = date(2026, 3, 20) - timedelta(days=number // _MODEL_RUNS)
        path = folder / f"model_run=run-{number % _MODEL_RUNS}" / f"date={day}" / "a.parquet"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"%d" % number)
        os.utime(path, (_WRITTEN, _WRITTEN))
        paths.append(path)
    return paths


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.automation", description=__doc__)
    parser.add_argument("--partitions", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as place:
        paths = land(Path(place), asked.partitions)
        landing, now = Landing(Folder(place)), datetime(2026, 3, 20, 12, tzinfo=UTC)
        started = perf_counter()
        for path in Path(place).rglob("*.parquet"):
            hashlib.sha256(path.read_bytes()).hexdigest()
        baseline = perf_counter() - started
        print(f"{'list and read everything':<32}{baseline:>8.2f} s")
        seen = Seen()
        for name, most in (("first look, everything arrives", 10**9), ("nothing changed", 50)):
            started = perf_counter()
            found = look(landing, Seen.from_text(seen.to_text()), now=now, most_arrivals=most)
            seconds, seen = perf_counter() - started, found.seen
            told = f"{len(found.arrivals)} arrivals, {found.listed} partitions listed"
            print(f"{name:<32}{seconds:>8.2f} s  {seconds / baseline:>6.2f} x  {told}")
        paths[0].write_bytes(b"changed")
        os.utime(paths[0], (_WRITTEN, _WRITTEN))
        started = perf_counter()
        found = look(landing, Seen.from_text(seen.to_text()), now=now)
        seconds = perf_counter() - started
        told = f"{len(found.arrivals)} arrivals, cursor {len(seen.to_text()) / 1000:.0f} kB"
        print(f"{'one changed':<32}{seconds:>8.2f} s  {seconds / baseline:>6.2f} x  {told}")


if __name__ == "__main__":
    main()
