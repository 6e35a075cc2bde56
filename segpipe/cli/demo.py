"""``segpipe demo``: synthetic data, taken through the whole pipeline."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from segpipe.cli.console import StepProgress, put, put_lines, say, step_progress
from segpipe.cli.exit_status import ALL_ACCEPTED
from segpipe.demo.landing import DemoLanding, demo_dates, write_demo_landing
from segpipe.errors import SettingsError, StorageError
from segpipe.extras import install_command, missing_of
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from segpipe.storage.failures import os_words
from segpipe.validation.materialization import Progress
from segpipe.validation.report import ValidationReport
from segpipe.validation.summary import REJECTED_FILE, Summary

_SETTINGS = """\
# The demo's settings; see the README for all keys.
dataset = "demo-streets"
# The grid of partitions ends where the demo does; without last_date it goes on to today.
first_date = {}
last_date = {}
"""
_LAST_DATE = re.compile(r"^last_date = (\d{4}-\d\d-\d\d)$", re.MULTILINE)
_COLUMNS = ("rows", "accepted", "rejected", "repeated", "inserted", "unchanged")


@dataclass(frozen=True)
class _Done:
    """What came of a partition.

    Attributes:
        status: None, or the exit status with which the demo ends here.
    """

    summary: Summary | None
    outcomes: Mapping[str, int]
    status: int | None = None


_RunPartition = Callable[[Partition, StepProgress], _Done]


def run_demo(root: str, until: date | None = None) -> int:
    """Write the data, publish every partition and print the results; returns the exit status.

    Partitions go through Dagster where it is installed, else through the library alone: the same is
    published.

    Args:
        until: the last day of the data; None for the days the root has already, else yesterday.
    """
    started = time.monotonic()
    folder = Path(root).absolute()
    landing = _write_data(folder, until)
    opened = Root.open(str(folder))
    with_dagster = not missing_of("dagster", ["dagster"])
    way = _through_dagster if with_dagster else _through_the_library
    with way(opened) as run_partition:
        for number, partition in enumerate(opened.landing.partitions()):
            with step_progress(str(partition)) as progress:
                done = run_partition(partition, progress)
            if done.status is not None:
                return done.status
            if number == 0:
                put(_table_line("partition", _COLUMNS))
            put(_table_line(str(partition), _figures(done)))
    _print_rejections(opened)
    put()
    put(f"{landing.rows} rows in {time.monotonic() - started:.0f} s. Everything is in {root}/")
    _print_next_steps(root, landing.dates[0], with_dagster=with_dagster)
    return ALL_ACCEPTED


@contextmanager
def _through_dagster(root: Root) -> Iterator[_RunPartition]:
    from segpipe.cli.run import exit_status
    from segpipe.pipeline.instance import open_instance
    from segpipe.pipeline.runs import run_partition

    with open_instance(root.settings.root) as instance:

        def run(partition: Partition, progress: StepProgress) -> _Done:
            report = run_partition(root, partition, instance=instance, progress=progress)
            ended = None if report.failure is None else exit_status(report)
            return _Done(report.summary, report.outcomes or {}, ended)

        yield run


@contextmanager
def _through_the_library(root: Root) -> Iterator[_RunPartition]:
    def run(partition: Partition, progress: StepProgress) -> _Done:
        summary = root.materialize(partition, progress=_step("validating", progress))
        published = root.publish(partition, progress=_step("publishing", progress))
        return _Done(summary, published.outcomes)

    yield run


def _step(name: str, progress: StepProgress) -> Progress:
    return lambda done, total: progress(name, done, total)


def _write_data(folder: Path, until: date | None) -> DemoLanding:
    settings = folder / SETTINGS_FILE
    there = settings.read_text() if settings.exists() else None
    if until is None and there is not None and (found := _LAST_DATE.search(there)):
        until = date.fromisoformat(found[1])
    dates = demo_dates(until)
    wanted = _SETTINGS.format(dates[0], dates[-1])
    if there not in (None, wanted):
        raise SettingsError(
            f"{folder} is a root with settings or days of its own: choose another --root"
        )
    say(f"drawing street scenes and two model runs' masks into {folder}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        settings.write_text(wanted)
        return write_demo_landing(folder, until=date.fromisoformat(dates[-1]))
    except OSError as error:
        raise StorageError(
            f"the demo data cannot be written into {folder}: {os_words(error)}"
        ) from None


def _figures(done: _Done) -> tuple[str, ...]:
    summary, outcomes = done.summary, done.outcomes
    if summary is None:
        return ("",) * len(_COLUMNS)
    counted = (summary.rows, summary.accepted, summary.rejected, summary.repeated)
    return tuple(map(str, (*counted, outcomes.get("inserted", 0), outcomes.get("unchanged", 0))))


def _table_line(first: str, cells: tuple[str, ...]) -> str:
    return f"{first:<44}" + "".join(f"{cell:>11}" for cell in cells)


def _print_rejections(root: Root) -> None:
    put()
    put("what was rejected, and why:")
    lines: dict[tuple[str, str], None] = {}  # contradicting rows have the same message
    for partition in root.landing.partitions():
        for rule in ValidationReport.read(root.tables(partition)).rules:
            for example in rule.examples if rule.severity == "reject" else []:
                first = f"  {example['reference_id']}  {rule.rule}"
                lines[first, f"      {example['message']}"] = None
    for pair in lines:
        for line in pair:
            put(line)


def _print_next_steps(root: str, day: str, *, with_dagster: bool) -> None:
    first = ""
    if sys.argv[0].startswith(".venv"):  # by make
        first = "\n  . .venv/bin/activate\n      once in each shell, which finds `segpipe` then"
    example = f"model_run=street-unet-v1/date={day}"
    rejected = f"{root}/validated/{example}/{REJECTED_FILE}"
    put_lines(f"""
next:{first}
  segpipe browse --root {root}
      the predictions and what was rejected, in a browser
  segpipe validate {root}/manifests/{example}/predictions.parquet
      the same checks on any manifest; nothing is published
  {root}/catalog/predictions
      the published table (Delta Lake); rejected rows: {rejected}""")
    if with_dagster:
        put_lines(f"""\
  segpipe dev --root {root}
      Dagster: the asset graph, the partitions and their pictures, in a browser
  segpipe run --root {root} --model-run street-unet-v1 --date {day}
      publish a partition again: nothing changes""")
    else:
        put_lines(f"""\
  {install_command("dagster")}
      Dagster around it: `segpipe dev` is its UI on this root, `segpipe run` publishes partitions,
      schedules and sensors do it by themselves""")
