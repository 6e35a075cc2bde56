"""What Dagster adds to the work: of one run, and of a backfill.

``python -m benchmarks.runs [--masks 2000] [--partitions 50]`` materializes a partition through
Dagster in one process and, of the same masks, by two calls of the Python interface, in turns: the
difference is the overhead of a run, beside the seconds a process needs to import and open
everything. Then it starts ``segpipe dev`` and backfills that many small partitions as the dialog of
the UI does; beside it, as the baseline, the same partitions one after another in one process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import perf_counter

import dagster as dg

from benchmarks.landing import PARTITION, Masks, generated_masks, write_manifest
from segpipe.manifests.partition import Partition
from segpipe.pipeline.instance import open_instance
from segpipe.pipeline.runs import run_partition
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from tests.fixtures.interface import Interface

_FIRST = date(2026, 1, 5)
_SEGMENTS = (5, 20)
_MASKS_PER_PARTITION = 20
_RESULTS = ("validated", "masks", "catalog")
_IMPORTS = "from segpipe.pipeline.runs import run_partition"


def root_with(folder: Path, masks: Masks, partitions: list[Partition]) -> Root:
    """A root whose partitions' manifests all name the same masks, and none of the results."""
    folder.mkdir()
    lines = [f"first_date = {_FIRST}", f'allowed_roots = ["{masks.folder}"]']
    (folder / SETTINGS_FILE).write_text("\n".join(lines) + "\n")
    write_manifest(folder, masks)
    made = folder.joinpath("manifests", *PARTITION.folders)
    for partition in partitions:
        if partition != PARTITION:
            shutil.copytree(made, folder.joinpath("manifests", *partition.folders))
    return Root.open(str(folder))


def without_results(root: Root) -> None:
    """Remove what earlier rounds made, and let what is waiting reach the disk."""
    for name in _RESULTS:
        shutil.rmtree(root.settings.folder(name).path, ignore_errors=True)
    os.sync()


def by_calls(root: Root, partition: Partition) -> float:
    """Validate and publish without Dagster; the seconds."""
    begun = perf_counter()
    root.materialize(partition)
    now = datetime.now(UTC)
    who = Provenance(
        root.settings.dataset, partition.model_run, partition.date, f"calls {now}", now
    )
    root.publish(partition, provenance=who)
    return perf_counter() - begun


def by_run(root: Root, partition: Partition, instance: dg.DagsterInstance) -> float:
    """The same as a run of Dagster's in this process; the seconds."""
    begun = perf_counter()
    report = run_partition(root, partition, instance=instance)
    seconds = perf_counter() - begun
    if report.failure is not None:
        sys.exit(report.failure)
    return seconds


def start_up() -> float:
    """Seconds a process needs before it can begin a run."""
    begun = perf_counter()
    subprocess.run([sys.executable, "-c", _IMPORTS], check=True)
    return perf_counter() - begun


def measure_overhead(folder: Path, masks: Masks, rounds: int) -> None:
    """One partition, by calls and by a run in turns, with nothing there before."""
    root = root_with(folder / "overhead", masks, [PARTITION])
    os.environ["DAGSTER_HOME"] = str(folder / "overhead_home")
    with open_instance(root.settings.root) as instance:
        by_run(root, PARTITION, instance)  # Dagster's databases are made, modules are loaded
        pairs = []
        for number in range(rounds):
            times = {}
            for way in ("calls", "run") if number % 2 == 0 else ("run", "calls"):
                without_results(root)
                times[way] = (
                    by_calls(root, PARTITION)
                    if way == "calls"
                    else by_run(root, PARTITION, instance)
                )
            pairs.append((times["calls"], times["run"]))
        again = by_run(root, PARTITION, instance)
    calls, run = (statistics.median(column) for column in zip(*pairs, strict=True))
    added = statistics.median(run - calls for calls, run in pairs)
    print(f"one partition of {len(masks.files):,} masks, median of {rounds}")
    print(f"  {'two calls of the Python interface':<40}{calls:>8.2f} s")
    print(f"  {'a run of Dagster in this process':<40}{run:>8.2f} s  {run / calls:>6.2f} x")
    print(f"  {'added by the run':<40}{added:>8.2f} s")
    print(f"  {'a run where nothing changed':<40}{again:>8.2f} s  {again / calls:>6.2f} x")
    print(f"  {'before it, for a new process to begin':<40}{start_up():>8.2f} s")


def measure_backfill(folder: Path, masks: Masks, count: int) -> None:
    """Many small partitions: a backfill in the UI against one process that does them all."""
    days = [Partition(PARTITION.model_run, f"{_FIRST + timedelta(days=n)}") for n in range(count)]
    root = root_with(folder / "one_process", masks, days)
    os.environ["DAGSTER_HOME"] = str(folder / "one_process_home")
    with open_instance(root.settings.root) as instance:
        by_run(root, days[0], instance)
        without_results(root)
        begun = perf_counter()
        for partition in days:
            by_run(root, partition, instance)
        alone = perf_counter() - begun
    root = root_with(folder / "backfill", masks, days)
    home = folder / "backfill_home"
    with Interface(Path(root.settings.root), home, folder / "log") as interface:
        begun = perf_counter()
        asked = interface.backfill([f"{day.date}|{day.model_run}" for day in days])
        status = interface.end_of_backfill(asked, seconds=30.0 * count + 120)
        seconds = perf_counter() - begun
    if status != "COMPLETED_SUCCESS":
        sys.exit(f"the backfill ended with {status}")
    print(f"{count} partitions of {len(masks.files)} masks")
    print(f"  {'one after another in one process':<40}{alone:>8.1f} s")
    ratio = f"{seconds / alone:>6.2f} x, {seconds / count:.1f} s a partition"
    print(f"  {'a backfill, a process per partition':<40}{seconds:>8.1f} s  {ratio}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runs", description=__doc__)
    parser.add_argument("--masks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--partitions", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as place:
        with generated_masks(asked.masks, 1, _SEGMENTS, keep=False) as masks:
            measure_overhead(Path(place), masks, asked.rounds)
        with generated_masks(_MASKS_PER_PARTITION, 1, _SEGMENTS, keep=False) as masks:
            measure_backfill(Path(place), masks, asked.partitions)


if __name__ == "__main__":
    main()
