"""``segpipe run``: materialize partitions, from a terminal or a scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from segpipe.cli.console import put, say, step_progress
from segpipe.cli.exit_status import ALL_ACCEPTED, SOME_REJECTED, UNUSABLE
from segpipe.cli.run_range import run_range
from segpipe.cli.unexpected import UnexpectedError
from segpipe.manifests.layout import listed
from segpipe.manifests.partition import Partition
from segpipe.pipeline import RunReport, run_partition
from segpipe.pipeline.ranges import Days
from segpipe.predictions.view import View
from segpipe.publishing.destinations import CATALOG, DESTINATIONS
from segpipe.root import Root
from segpipe.settings import Settings


@dataclass(frozen=True)
class RunOptions:
    """The options of ``segpipe run``, as its help says."""

    model_runs: tuple[str, ...]
    date: str | None
    everything: bool
    update: bool
    dry_run: bool
    verify: str
    publish_as: str | None
    force: bool
    destinations: tuple[str, ...]
    workers: int | None
    scheduler: str | None

    def of_runs(self) -> dict[str, Any]:
        """Those that each partition's run has."""
        return {
            "update": self.update,
            "dry_run": self.dry_run,
            "verify_all": self.verify == "all",
            "publish_as": None if self.publish_as is None else View(self.publish_as),
            "force": self.force,
            "destinations": self.destinations,
        }


def run(root: str, options: RunOptions) -> int:
    """Materialize one partition or a range of them, and print the results.

    Returns:
        The exit status.
    """
    if (options.date is None) is not options.everything:
        raise click.UsageError("give --date, or --all for every day that has landed")
    opened = Root(Settings.load(root).with_workers(options.workers, options.scheduler))
    if len(options.model_runs) == 1 and options.date is not None and ".." not in options.date:
        return _run_one(opened, Partition(options.model_runs[0], options.date), options)
    days = None if options.date is None else Days.of(options.date)
    return run_range(opened, options.model_runs, days, options.of_runs())


def _run_one(opened: Root, partition: Partition, options: RunOptions) -> int:
    opened.manifest(partition)  # fails on a wrong name before Dagster stores the partition
    if unread := opened.landing.unread_of(partition):
        say(f"{len(unread)} not read in {opened.landing.folder.shown}: {listed(unread)}")
    with step_progress(str(partition)) as progress:
        report = run_partition(opened, partition, progress=progress, **options.of_runs())
    for remark in report.remarks:
        say(remark)
    if report.summary is not None:
        for line in opened.report(partition).lines():
            put(line)
        put()
    for line in view_lines(report):
        put(line)
    for line in outcome_lines(report, dry_run=options.dry_run):
        put(line)
    return exit_status(report)


def outcome_lines(report: RunReport, *, dry_run: bool) -> list[str]:
    """Results of publishing, a line per destination."""
    if not report.published:
        return ["nothing was published"]
    verb = "would be published" if dry_run else "published"
    view = "" if report.published_as is View.GIVEN else f" as {report.published_as}"
    lines = []
    for destination, outcomes in report.published.items():
        counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count)
        entry = DESTINATIONS[destination]
        to = f" to {entry.short_title or entry.title}"
        where = "" if [*report.published] == [CATALOG] else to
        lines.append(f"{verb}{where}{view}: {counts or 'nothing to publish'}")
    return lines


def view_lines(report: RunReport) -> list[str]:
    """Results of making the view; empty for predictions as given."""
    view = report.view
    if view is None:
        return []
    lines = [
        f"{view.view} view: {view.given_segments} segments became {view.segments}, "
        f"{view.changed} of {view.predictions} masks changed"
    ]
    if view.undecided:
        labels = ", ".join(view.undecided_labels)
        lines.append(
            f"{view.undecided} segments are neither thing nor stuff and were kept as things "
            f"({labels}): list their labels in [policy.taxonomy], or give them isthing metadata"
        )
    return lines


def exit_status(report: RunReport) -> int:
    """The exit status: 0 all accepted, 1 some rows rejected, 2 the run failed.

    Prints the reason where the run or a prediction failed.

    Raises:
        UnexpectedError: if the run failed for a reason segpipe did not foresee.
    """
    if report.failure is not None and report.trace is not None:
        raise UnexpectedError(report.failure, report.trace)
    if report.failure is not None:
        say(f"error: {report.failure}")
        return UNUSABLE
    for words in report.failures:
        say(words)
    if report.failures or (report.summary is not None and report.summary.rejected):
        return SOME_REJECTED
    return ALL_ACCEPTED
