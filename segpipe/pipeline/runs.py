"""Running a partition through Dagster without a UI."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import dagster as dg
from dagster import DagsterEventType

from segpipe.errors import SettingsError
from segpipe.manifests.partition import Partition
from segpipe.pipeline.assets import assets_of
from segpipe.pipeline.build import JOB, definitions_of
from segpipe.pipeline.failures import first_cause
from segpipe.pipeline.instance import open_instance, register
from segpipe.pipeline.mount import Mount
from segpipe.pipeline.partitions import days_now, partition_key
from segpipe.pipeline.steps import StepProgress, silent
from segpipe.pipeline.uploads import uploads_of
from segpipe.pipeline.validating import VALIDATE
from segpipe.pipeline.views import masks_key
from segpipe.predictions.view import View
from segpipe.publishing.outcomes import Outcome
from segpipe.root import DateLike, PartitionLike, Root
from segpipe.settings import Settings
from segpipe.validation.summary import Summary
from segpipe.views.summary import ViewSummary

_OUTCOMES = tuple(outcome.value for outcome in Outcome)


@dataclass(frozen=True)
class RunReport:
    """What a run of one partition came to.

    Attributes:
        failure: the first cause, in words; None where the run succeeded.
        summary: of the validation; None where it did not get that far.
        published: destination -> outcome -> predictions; without those nothing was published to.
        published_as: the view that was to be published.
        view: what was made of it; None for predictions as given, and where it was not made.
    """

    run_id: str
    failure: str | None
    summary: Summary | None
    published: Mapping[str, dict[str, int]]
    published_as: View = View.GIVEN
    view: ViewSummary | None = None

    @property
    def outcomes(self) -> dict[str, int] | None:
        """Outcome -> predictions at the first destination; None where nothing was published."""
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
    progress: StepProgress = silent,
) -> RunReport:
    """Materialize one partition through Dagster, in this process.

    Args:
        partition: the model run's name, and ``date`` beside it; or a :class:`Partition`.
        date: ``YYYY-MM-DD``.
        instance: where Dagster records the run; the one that ``segpipe run`` uses where None.
        update: replace predictions that are there already and differ.
        dry_run: validate, say what publishing would do, and publish nothing.
        verify_all: read back and compare every mask that was published, not a sample.
        force: read every mask, also where nothing changed since the last run.
        publish_as: the view to publish; where None, as the model run's policy says.
        destinations: where to publish; where empty, as the settings say.

    Raises:
        SettingsError: if a destination is not set up, the day has no partition or the model run is
            retired; no run is begun then.
        SettingsError: if the model run's taxonomy cannot serve the view; no run is begun then.
        ManifestError: if there is no such partition or its manifest cannot be used; no run is
            begun then.
    """
    if instance is None:
        with open_instance(root.settings.root) as opened:
            return run_partition(
                root,
                partition,
                date,
                instance=opened,
                update=update,
                dry_run=dry_run,
                verify_all=verify_all,
                publish_as=publish_as,
                force=force,
                destinations=destinations,
                progress=progress,
            )
    partition = Partition.of(partition, date)
    settings = root.settings
    if destinations:
        settings = replace(settings, destinations=tuple(destinations))
        root = Root(settings)
    for name in settings.destinations:
        root.destination(name)
    root.manifest(partition)
    _check_asked_for(settings, partition)
    published_as = View(publish_as or settings.policies.of(partition.model_run).publish_as)
    root.consolidation(partition.model_run, published_as)
    register(instance, partition)
    mount = Mount(root, progress=progress, pooled=False)
    job = definitions_of(mount).resolve_job_def(JOB)
    publishing = {
        "update": update,
        "dry_run": dry_run,
        "verify_all": verify_all,
        "publish_as": published_as.name,
    }
    result = job.execute_in_process(
        instance=instance,
        partition_key=partition_key(partition),
        asset_selection=assets_of(mount, published_as),
        raise_on_error=False,
        run_config={
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "ops": {
                VALIDATE: {"config": {"force": force}},
                **{upload.asset: {"config": publishing} for upload in uploads_of(settings)},
            },
        },
    )
    events = result.all_events
    failure = None
    if not result.success:
        failure = first_cause(events) or "the run failed; see its page in Dagster"
        if "DagsterExecutionInterruptedError" in failure:
            raise KeyboardInterrupt
    made = {event.asset_key for event in events if event.is_step_materialization}
    has_view = dg.AssetKey(masks_key(published_as)) in made
    return RunReport(
        result.run_id,
        failure,
        _summary(root, partition, events),
        _published(events, settings),
        published_as,
        ViewSummary.read(root.view_tables(partition, published_as)) if has_view else None,
    )


def _check_asked_for(settings: Settings, partition: Partition) -> None:
    if settings.policies.retired(partition.model_run):
        raise SettingsError(
            f"model run {partition.model_run!r} is over: segpipe.toml says retired = true of it; "
            "take that out to run it again"
        )
    first, last = days_now(settings.first_date)
    if not first <= datetime.date.fromisoformat(partition.date) <= last:
        raise SettingsError(
            f"date {partition.date} has no partition: they go from {first} (first_date in "
            f"segpipe.toml) to {last}"
        )


def _summary(root: Root, partition: Partition, events: Sequence[dg.DagsterEvent]) -> Summary | None:
    """What the validation found; None where it did not get that far."""
    for event in events:
        if event.is_step_materialization and event.asset_key == dg.AssetKey("validated_masks"):
            metadata = event.step_materialization_data.materialization.metadata
            reused = not metadata["masks_read_again"].value
            return replace(Summary.read(root.tables(partition)), reused=reused)
    return None


def _published(events: Sequence[dg.DagsterEvent], settings: Settings) -> dict[str, dict[str, int]]:
    """What the uploads reported, in the order of the destinations."""
    reported: dict[dg.AssetKey, dict[str, int]] = {}
    for event in events:
        entry: dg.AssetMaterialization | dg.AssetObservation
        if event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            entry = event.step_materialization_data.materialization
        elif event.event_type == DagsterEventType.ASSET_OBSERVATION:
            entry = event.asset_observation_data.asset_observation
        else:
            continue
        if all(name in entry.metadata for name in _OUTCOMES):
            reported[entry.asset_key] = {
                name: int(str(entry.metadata[name].value)) for name in _OUTCOMES
            }
    return {
        upload.destination: reported[dg.AssetKey(upload.asset)]
        for upload in uploads_of(settings)
        if dg.AssetKey(upload.asset) in reported
    }
