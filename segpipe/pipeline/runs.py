"""Runs a partition's job in this process, without the Dagster UI, and reports the result."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType, DagsterExecutionInterruptedError

from segpipe.errors import SettingsError
from segpipe.manifests.partition import Partition
from segpipe.pipeline.assets import run_selection
from segpipe.pipeline.build import JOB, definitions_of
from segpipe.pipeline.destinations import destination_assets
from segpipe.pipeline.failures import first_cause, unforeseen_trace
from segpipe.pipeline.home import home_failures, record_words
from segpipe.pipeline.instance import open_instance, register
from segpipe.pipeline.partitions import days_in_words, has_partition, partition_key
from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.pipeline.publishing_assets import FAILURES
from segpipe.pipeline.steps import REMARKS, StepProgress, no_progress
from segpipe.pipeline.validation_assets import VALIDATE
from segpipe.pipeline.view_assets import masks_asset
from segpipe.predictions.view import View
from segpipe.publishing.outcomes import Outcome
from segpipe.root import Root
from segpipe.settings import Settings
from segpipe.validated_root import DateLike, PartitionLike
from segpipe.validation.summary import Summary
from segpipe.views.summary import ViewSummary

_OUTCOMES = tuple(outcome.value for outcome in Outcome)


@dataclass(frozen=True)
class RunReport:
    """The result of one partition's run.

    Attributes:
        run_id: Dagster's id of the run.
        failure: the root cause, as text; None if the run succeeded.
        trace: the traceback, where the root cause is an error segpipe did not foresee.
        summary: of the validation; None if the run did not complete it.
        published: destination -> outcome -> number of predictions; only destinations the run
            reached.
        published_as: the view that was requested.
        view: summary of the view's materialization; None for predictions as given, and if the view
            was not materialized.
        remarks: what the destinations did besides publishing, a sentence each.
        failures: what failed to be published, a sentence per destination.
    """

    run_id: str
    failure: str | None
    summary: Summary | None
    published: Mapping[str, dict[str, int]]
    published_as: View = View.GIVEN
    view: ViewSummary | None = None
    trace: str | None = None
    remarks: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def outcomes(self) -> dict[str, int] | None:
        """Outcome -> number of predictions at the first destination; None if there is none."""
        return next(iter(self.published.values()), None)


def run_partition(
    root: Root,
    partition: PartitionLike,
    date: DateLike = None,
    *,
    instance: dg.DagsterInstance | None = None,
    update: bool = False,
    dry_run: bool = False,
    verify_all: bool = False,
    publish_as: View | str | None = None,
    force: bool = False,
    destinations: Sequence[str] = (),
    progress: StepProgress = no_progress,
) -> RunReport:
    """Materialize one partition through Dagster, in this process.

    Args:
        partition: the model run's name, together with ``date``; or a :class:`segpipe.Partition`.
        date: ``YYYY-MM-DD``, or a date.
        instance: where Dagster records the run; None for the instance that ``segpipe run`` uses.
        update: replace published predictions that differ.
        dry_run: validate, report what publishing would do, and publish nothing.
        verify_all: read back and compare every published mask instead of a sample.
        publish_as: the view to publish; None for the one in the model run's policy.
        force: read every mask again, even if nothing changed since the last run.
        destinations: where to publish; empty for the destinations in the settings.
        progress: called with the step's name, and the number of rows done and of all rows.

    Raises:
        RecordsError: if Dagster cannot keep its records; what was published by then stays.
        SettingsError: if a destination is not set up, the day has no partition, the model run is
            retired, or its taxonomy does not support the view; no run is started.
        ManifestError: if the partition has no manifest or a manifest cannot be used; no run is
            started.
        KeyboardInterrupt: if the run was interrupted.
    """
    opened = open_instance(root.settings.root) if instance is None else nullcontext(instance)
    with opened as instance:
        partition = Partition.of(partition, date)
        runs = PartitionRuns(
            root,
            instance,
            update=update,
            dry_run=dry_run,
            verify_all=verify_all,
            publish_as=publish_as,
            force=force,
            destinations=destinations,
            progress=progress,
            begins=datetime.date.fromisoformat(partition.date),
        )
        return runs.run(partition)


class PartitionRuns:
    """Runs of a root's partitions, one after the other, in this process.

    Args:
        instance: where Dagster records them.
        begins: the first day of all these partitions, if it is known.

    The others are those of :func:`run_partition`.

    Raises:
        SettingsError: if a destination is not set up.
        RecordsError: if Dagster cannot keep its records.
    """

    def __init__(
        self,
        root: Root,
        instance: dg.DagsterInstance,
        *,
        update: bool = False,
        dry_run: bool = False,
        verify_all: bool = False,
        publish_as: View | str | None = None,
        force: bool = False,
        destinations: Sequence[str] = (),
        progress: StepProgress = no_progress,
        begins: datetime.date | None = None,
    ) -> None:
        if destinations:
            root = Root(replace(root.settings, destinations=tuple(destinations)))
        for name in root.settings.destinations:
            root.destination(name)
        self._root, self._instance = root, instance
        self._publish_as, self._force = publish_as, force
        self._publishing = {"update": update, "dry_run": dry_run, "verify_all": verify_all}
        self._prefixed = PrefixedRoot(root, progress=progress, pooled=False, begins=begins)
        self._home = Path(instance.root_directory)

    @cached_property
    def _job(self) -> dg.JobDefinition:
        return definitions_of(self._prefixed).resolve_job_def(JOB)

    def run(self, partition: Partition) -> RunReport:
        """Materialize one partition; see :func:`run_partition`, also for what is raised."""
        published_as = _checked_view(self._root, partition, self._publish_as)
        publishing = {**self._publishing, "publish_as": published_as.name}
        with home_failures(self._home), _interrupts():
            register(self._instance, partition)
            result = self._job.execute_in_process(
                instance=self._instance,
                partition_key=partition_key(partition),
                asset_selection=run_selection(self._prefixed, published_as),
                raise_on_error=False,
                run_config=_run_config(self._root.settings, publishing, force=self._force),
            )
            return _report(self._root, partition, published_as, result, self._home)


@contextmanager
def _interrupts() -> Iterator[None]:
    """Raise Dagster's interrupt, which it has for Ctrl-C and SIGTERM, as Python's."""
    try:
        yield
    except DagsterExecutionInterruptedError:
        raise KeyboardInterrupt from None


def _run_config(
    settings: Settings, publishing: Mapping[str, object], *, force: bool
) -> dict[str, object]:
    """Run configuration of the job, with its console log switched off."""
    return {
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        "ops": {
            VALIDATE: {"config": {"force": force}},
            **{target.asset: {"config": publishing} for target in destination_assets(settings)},
        },
    }


def _report(
    root: Root,
    partition: Partition,
    published_as: View,
    result: dg.ExecuteInProcessResult,
    home: Path,
) -> RunReport:
    """The report of a run that has ended.

    Raises:
        KeyboardInterrupt: if the run was interrupted.
    """
    events = result.all_events
    failure = trace = None
    if not result.success:
        failure = first_cause(events) or "the run failed; see its page in Dagster"
        if "DagsterExecutionInterruptedError" in failure:
            raise KeyboardInterrupt
        trace = unforeseen_trace(events)
        if trace is not None and (words := record_words(failure, home)):
            failure, trace = words, None
    made = {event.asset_key for event in events if event.is_step_materialization}
    has_view = dg.AssetKey(masks_asset(published_as)) in made
    return RunReport(
        result.run_id,
        failure,
        _summary(root, partition, events),
        _published(events, root.settings),
        published_as,
        ViewSummary.read(root.view_tables(partition, published_as)) if has_view else None,
        trace,
        tuple(_told(events, REMARKS)),
        tuple(_told(events, FAILURES)),
    )


def _checked_view(root: Root, partition: Partition, publish_as: View | str | None) -> View:
    """The view to publish, after checking everything a run needs; see :func:`run_partition`."""
    settings = root.settings
    root.manifest(partition)
    _check_runnable(settings, partition)
    view = View(publish_as or settings.policies.of(partition.model_run).publish_as)
    root.consolidation(partition.model_run, view)
    return view


def check_not_retired(settings: Settings, model_run: str) -> None:
    """Raise a SettingsError for a model run that is over."""
    if settings.policies.retired(model_run):
        raise SettingsError(
            f"model run {model_run!r} is over: segpipe.toml says retired = true of it; take that "
            "out to run it again"
        )


def _check_runnable(settings: Settings, partition: Partition) -> None:
    check_not_retired(settings, partition.model_run)
    if not has_partition(settings, partition.date):
        raise SettingsError(
            f"date {partition.date} has no partition: they go {days_in_words(settings)}"
        )


def _summary(root: Root, partition: Partition, events: Sequence[dg.DagsterEvent]) -> Summary | None:
    """The validation's summary; None if the run did not complete it."""
    for event in events:
        if event.is_step_materialization and event.asset_key == dg.AssetKey("validated_masks"):
            metadata = event.step_materialization_data.materialization.metadata
            reused = not metadata["masks_read_again"].value
            return replace(Summary.read(root.tables(partition)), reused=reused)
    return None


def _entries(
    events: Sequence[dg.DagsterEvent],
) -> Iterator[dg.AssetMaterialization | dg.AssetObservation]:
    for event in events:
        if event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            yield event.step_materialization_data.materialization
        elif event.event_type == DagsterEventType.ASSET_OBSERVATION:
            yield event.asset_observation_data.asset_observation


def _told(events: Sequence[dg.DagsterEvent], name: str) -> Iterator[str]:
    for entry in _entries(events):
        if name in entry.metadata:
            yield from str(entry.metadata[name].value).split("\n")


def _published(events: Sequence[dg.DagsterEvent], settings: Settings) -> dict[str, dict[str, int]]:
    """Outcomes by destination, as the publishing steps reported them."""
    reported: dict[dg.AssetKey, dict[str, int]] = {}
    for entry in _entries(events):
        if all(name in entry.metadata for name in _OUTCOMES):
            reported[entry.asset_key] = {
                name: int(str(entry.metadata[name].value)) for name in _OUTCOMES
            }
    return {
        target.destination: reported[dg.AssetKey(target.asset)]
        for target in destination_assets(settings)
        if dg.AssetKey(target.asset) in reported
    }
