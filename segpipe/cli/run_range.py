"""``segpipe run`` for several partitions: one after the other, and a table of what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segpipe.cli.console import put, range_progress, say
from segpipe.cli.exit_status import ALL_ACCEPTED, SOME_REJECTED, UNUSABLE
from segpipe.cli.unexpected import UnexpectedError
from segpipe.errors import SegpipeError
from segpipe.manifests.layout import listed
from segpipe.manifests.partition import Partition
from segpipe.pipeline.home import RecordsError
from segpipe.pipeline.instance import open_instance
from segpipe.pipeline.ranges import Chosen, Days, choose, outside_words
from segpipe.pipeline.runs import PartitionRuns, RunReport
from segpipe.root import Root

_HEADINGS = ("rows", "accepted", "rejected")


@dataclass
class _Results:
    """What came of the partitions so far, in order: a run's report, or why there was no run."""

    asked: int
    reports: dict[Partition, RunReport | SegpipeError] = field(default_factory=dict)

    @property
    def failed(self) -> list[Partition]:
        return [
            partition
            for partition, report in self.reports.items()
            if isinstance(report, SegpipeError) or report.failure is not None
        ]

    @property
    def unchanged(self) -> int:
        return sum(
            isinstance(report, RunReport)
            and report.failure is None
            and report.summary is not None
            and report.summary.reused
            and all(sum(one.values()) == one["unchanged"] for one in report.published.values())
            for report in self.reports.values()
        )

    @property
    def with_rejections(self) -> int:
        """Partitions that did not fail, and of which some rows were rejected or not published."""
        return sum(
            isinstance(report, RunReport) and report.failure is None and _is_partial(report)
            for report in self.reports.values()
        )

    def status(self) -> int:
        """The exit status: that of the worst.

        Raises:
            UnexpectedError: if a run failed for a reason segpipe did not foresee; of the first.
        """
        for report in self.reports.values():
            if isinstance(report, RunReport) and report.failure and report.trace:
                raise UnexpectedError(report.failure, report.trace)
        if self.failed:
            return UNUSABLE
        return SOME_REJECTED if self.with_rejections else ALL_ACCEPTED


def run_range(
    root: Root, model_runs: Sequence[str], days: Days | None, options: Mapping[str, Any]
) -> int:
    """Materialize what has landed, each partition in a run of its own.

    Args:
        model_runs: their names; empty for all.
        days: None for all.
        options: of each run; see :class:`PartitionRuns`.

    Returns:
        The exit status; the worst of the partitions'.
    """
    chosen = choose(root, model_runs, days)
    _tell_left_out(root, chosen, days)
    results = _Results(len(chosen.partitions))
    with (
        open_instance(root.settings.root) as instance,
        range_progress(len(chosen.partitions)) as progress,
    ):
        runs = PartitionRuns(root, instance, progress=progress.step, **options)
        try:
            for partition in chosen.partitions:
                progress.begin(str(partition))
                results.reports[partition] = _ended(runs, partition)
        finally:  # also where Ctrl-C or Dagster's records ended it: what is done is done
            progress.end()
            for line in _lines(results, dry_run=options["dry_run"]):
                put(line)
    return results.status()


def _ended(runs: PartitionRuns, partition: Partition) -> RunReport | SegpipeError:
    """A partition's run; what went wrong, and what is to be known of it, is said at once."""
    try:
        report = runs.run(partition)
    except RecordsError:  # the next run would have none either
        raise
    except SegpipeError as error:
        say(f"{partition}: error: {error}")
        return error
    for remark in report.remarks:
        say(f"{partition}: {remark}")
    if report.failure is not None:
        say(f"{partition}: error: {report.failure}")
    if failed := _unpublished(report):
        say(f"{partition}: {failed} predictions failed to be published; the receipts say why")
    return report


def _unpublished(report: RunReport) -> int:
    return sum(outcomes["failed"] for outcomes in report.published.values())


def _is_partial(report: RunReport) -> bool:
    rejected = report.summary is not None and report.summary.rejected
    return bool(rejected or _unpublished(report))


def _tell_left_out(root: Root, chosen: Chosen, days: Days | None) -> None:
    if chosen.unread:
        shown = root.landing.folder.shown
        say(f"{len(chosen.unread)} not read in {shown}: {listed(chosen.unread)}")
    if chosen.retired:
        say(f"left out, since they are retired: {listed(chosen.retired)}")
    if chosen.without_partition:
        say(f"left out: {outside_words(root.settings, chosen.without_partition)}")
    if chosen.nothing_landed:
        of = "days without a manifest" if days is None else f"of {len(days)} days"
        counts = [f"{name} on {number} {of}" for name, number in chosen.nothing_landed.items()]
        say(f"nothing landed: {listed(counts)}")


def _lines(results: _Results, *, dry_run: bool) -> list[str]:
    """The table, a row per partition, and what it comes to."""
    widest = max((len(one.model_run) for one in results.reports), default=0)
    name = max(widest, len("model run"))
    verb = "would be published" if dry_run else "published"
    lines = [f"{'date':<12}{'model run':<{name}}" + _cells(_HEADINGS) + f"  {verb}"]
    for partition, report in results.reports.items():
        figures = ["-"] * len(_HEADINGS)
        if isinstance(report, RunReport) and (summary := report.summary) is not None:
            counted = (summary.rows, summary.accepted, summary.rejected)
            figures = [f"{number:,}" for number in counted]
        start = f"{partition.date:<12}{partition.model_run:<{name}}"
        lines.append(f"{start}{_cells(figures)}  {_came_of(report)}")
    return [*lines, "", _total(results)]


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"{text:>11}" for text in texts)


def _came_of(report: RunReport | SegpipeError) -> str:
    if isinstance(report, SegpipeError) or report.failure is not None:
        return "failed"
    several = len(report.published) > 1
    parts = []
    for destination, outcomes in report.published.items():
        counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count)
        parts.append(f"{destination}: {counts or 'nothing'}" if several else counts or "nothing")
    return "; ".join(parts) or "nothing"


def _total(results: _Results) -> str:
    done = len(results.reports) - len(results.failed)
    told = [
        f"{done} of {results.asked} partitions done",
        f"{results.unchanged} unchanged",
        f"{results.with_rejections} with rejected or failed predictions",
        f"{len(results.failed)} failed",
        f"{results.asked - len(results.reports)} not begun or not ended",
    ]
    rest = ": the same command runs them again" if done < results.asked else ""
    return ", ".join([told[0], *(one for one in told[1:] if not one.startswith("0 "))]) + rest
