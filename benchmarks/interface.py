"""How long a person waits for Dagster's pages, with thousands of materialized partitions.

``python -m benchmarks.interface [--partitions 5000] [--rounds 5]`` writes that many partitions'
materializations into an instance (as runs would record them, without running any), starts
``segpipe dev``, and prints the seconds until it answers and until a real Chromium shows each page:
of the first load, and the median of loads in new windows. The same pages with ten partitions are
the baseline. Needs the ``browser`` extra and Chromium, as ``make test-browser`` does.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

import dagster as dg
from playwright.sync_api import Browser, Locator, Page
from sqlalchemy import Engine, event

from segpipe.manifests.partition import Partition
from segpipe.pipeline.build import build_definitions
from segpipe.pipeline.instance import open_instance
from segpipe.pipeline.partitions import MODEL_RUNS, partition_key
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from tests.fixtures.browser import Window, chromium, running_browser
from tests.fixtures.interface import LOCATION, REPOSITORY, Interface

_MODEL_RUNS = 20
_BASELINE = 10
_GROUP = "segmentation_predictions"
_ASSET = "validated_masks"


@dataclass(frozen=True)
class Seconds:
    """Of one page: the first load, and the median of loads in new windows."""

    first: float
    median: float


def partitions(first: date) -> Iterator[Partition]:
    """Day after day, all model runs of each."""
    for day in range(10_000):
        for number in range(_MODEL_RUNS):
            yield Partition(f"run-{number:02}", f"{first + timedelta(days=day)}")


@contextmanager
def unsafe_but_fast_databases() -> Iterator[None]:
    """SQLite does not wait for the disk; what is written is the same."""

    def connected(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", connected)
    try:
        yield
    finally:
        event.remove(Engine, "connect", connected)


def record(instance: dg.DagsterInstance, root: Root, taken: list[Partition]) -> float:
    """Write materializations of all assets of these partitions; the seconds it took."""
    begun = perf_counter()
    names = sorted({partition.model_run for partition in taken})
    instance.add_dynamic_partitions(MODEL_RUNS, names)
    graph = build_definitions(root.settings).resolve_asset_graph()
    for partition in taken:
        for key in graph.get_all_asset_keys():
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    key,
                    partition=partition_key(partition),
                    metadata={"dagster/row_count": 40, "rejected": 1, "rejection_rate": 0.025},
                )
            )
    return perf_counter() - begun


def pages(shown: Partition) -> dict[str, tuple[str, Callable[[Page], Locator]]]:
    """Name -> path, and what is there once the page can be used."""
    key = f"{shown.date}|{shown.model_run}"
    return {
        "asset graph": (
            f"/locations/{REPOSITORY}@{LOCATION}/asset-groups/{_GROUP}/lineage",
            lambda page: page.get_by_text(re.compile(r"[1-9]\d*% filled")),
        ),
        "asset": (f"/assets/{_ASSET}", lambda page: page.get_by_text("Latest materialization")),
        "asset's partitions": (
            f"/assets/{_ASSET}?view=partitions",
            lambda page: page.get_by_text(re.compile(r"Materialized \([1-9]")),  # all are counted
        ),
        "one partition": (
            f"/assets/{_ASSET}?view=partitions&partition={quote(key)}",
            lambda page: page.get_by_text("dagster/row_count", exact=True),
        ),
    }


def load(browser: Browser, url: str, shown: Partition, rounds: int) -> dict[str, Seconds]:
    """Load each page in new windows; each must show what it is for, without an error."""
    found = {}
    for name, (path, shows) in pages(shown).items():
        times = []
        for _ in range(rounds + 1):
            window = Window(browser, url)
            times.append(window.open(path, shows))
            if troubles := window.all_troubles():
                sys.exit(f"{name}: {troubles}")
            window.page.close()
        found[name] = Seconds(times[0], statistics.median(times[1:]))
    return found


def measure(folder: Path, count: int, rounds: int, browser: Browser) -> dict[str, Seconds]:
    """Everything, for one number of partitions."""
    place = folder / str(count)
    (place / "manifests").mkdir(parents=True)
    days = -(-count // _MODEL_RUNS)
    first = date.today() - timedelta(days=days + 1)
    (place / SETTINGS_FILE).write_text(f"first_date = {first}\n")
    os.environ["DAGSTER_HOME"] = str(place / "dagster_home")
    taken = list(islice(partitions(first), count))
    with unsafe_but_fast_databases(), open_instance(str(place)) as instance:
        seconds = record(instance, Root.open(str(place)), taken)
    size = sum(path.stat().st_size for path in (place / "dagster_home").rglob("*.db"))
    print(
        f"{count:,} partitions written in {seconds:.0f} s; databases {size / 1e6:.0f} MB",
        file=sys.stderr,
        flush=True,
    )
    with Interface(place, place / "dagster_home", place / "log") as interface:
        started = Seconds(interface.seconds_to_answer, interface.seconds_to_answer)
        return {
            "from start to answer": started,
            **load(browser, interface.url, taken[-1], rounds),
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interface", description=__doc__)
    parser.add_argument("--partitions", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    executable = chromium()
    if executable is None:
        sys.exit("there is no Chromium: install it, or name it in SEGPIPE_CHROMIUM")
    with (
        tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as folder,
        running_browser(executable) as browser,
    ):
        few = measure(Path(folder), _BASELINE, asked.rounds, browser)
        many = measure(Path(folder), asked.partitions, asked.rounds, browser)
    heads = [f"{number:,} partitions" for number in (_BASELINE, asked.partitions)]
    print(f"{'seconds':<24}" + "".join(f"{head:>20}" for head in heads) + f"{'ratio':>8}")
    for name, seconds in many.items():
        cells = [f"{one.median:.2f} (first {one.first:.2f})" for one in (few[name], seconds)]
        ratio = seconds.median / few[name].median
        print(f"{name:<24}" + "".join(f"{cell:>20}" for cell in cells) + f"{ratio:>8.2f}")


if __name__ == "__main__":
    main()
