"""Cells of the grid in which a run materializes nothing on purpose, and backfills with such cells.

A run without anything to do succeeds. Dagster's asset backfills take for failed whatever none of
their runs materialized (dagster-io/dagster#34219, since 1.13.22), so the last runs of a backfill
take what was left out out of what it is to materialize.
"""

from __future__ import annotations

import itertools
import time

import dagster as dg
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import BulkActionStatus

from segpipe.errors import NothingLandedError
from segpipe.manifests.partition import Partition
from segpipe.predictions.view import View
from segpipe.settings import Settings

#: Tag of runs that materialize less than was selected.
SKIPPED_TAG = "segpipe/skipped"
#: Value of the tag where the partition has no manifest; else it names the views left out, and
#: "evaluation" where that was.
NOTHING_LANDED = "nothing_landed"
_PARTS = ("evaluation", View.INSTANCE, View.SEMANTIC)
_REASONS = [NOTHING_LANDED] + [
    ",".join(parts) for count in (1, 2, 3) for parts in itertools.combinations(_PARTS, count)
]
#: Dagster materializes nothing for an output with this metadata.
NOT_MATERIALIZED = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
_BACKFILL, _PARTITION = "dagster/backfill", "dagster/partition"
_WAITING = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED]
# The daemon looks at a backfill every 30 seconds, and writes back what it read a moment before.
_LOOKS, _SECONDS_BETWEEN = 30, 1.0


def nothing_landed(
    context: dg.AssetExecutionContext,
    settings: Settings,
    partition: Partition,
    error: NothingLandedError,
) -> str:
    """Leave out a partition without a manifest; what to say of it.

    Raises:
        NothingLandedError: if the settings say that such a run fails.
    """
    if settings.missing_manifest == "fail":
        raise error
    found = str(error).removeprefix(f"there is no manifest for {partition}: ")
    words = f"nothing landed for {partition}: {found}"
    context.log.info(words)
    leave_out(context, NOTHING_LANDED)
    return words


def leave_out(context: dg.AssetExecutionContext, reason: str) -> None:
    """Record that the run leaves assets of its selection alone.

    Args:
        reason: NOTHING_LANDED for all of them; else the views of those, joined by commas, or
            "evaluation". Other steps of the run may leave out more.
    """
    run = context.instance.get_run_by_id(context.run.run_id)
    before = "" if run is None else run.tags.get(SKIPPED_TAG, "")
    if NOTHING_LANDED not in (reason, before):
        both = {*reason.split(","), *before.split(",")}
        reason = ",".join(part for part in _PARTS if part in both)
    else:
        reason = NOTHING_LANDED
    context.instance.add_run_tags(context.run.run_id, {SKIPPED_TAG: reason})
    settle_backfill(context)


def settle_backfill(context: dg.AssetExecutionContext) -> None:
    """Take the cells that runs left out out of the backfill this run belongs to, if it is one of
    its last: earlier ones leave that to them.
    """
    name = context.run.tags.get(_BACKFILL)
    waiting = dg.RunsFilter(tags={_BACKFILL: name or ""}, statuses=_WAITING)
    if name is None or context.instance.get_runs_count(waiting):
        return
    for _ in range(_LOOKS):
        if _take_out(context.instance, name):
            return
        time.sleep(_SECONDS_BETWEEN)  # then see whether the daemon wrote over it


def _take_out(instance: dg.DagsterInstance, name: str) -> bool:
    """Take what was left out out of a backfill; whether there was nothing to take."""
    backfill = instance.get_backfill(name)
    if backfill is None or backfill.status is not BulkActionStatus.REQUESTED:
        return True
    data = backfill.asset_backfill_data
    if data is None:  # a backfill of a job, whose runs tell how it ended
        return True
    if backfill.submitting_run_requests or not data.requested_runs_for_target_roots:
        return False  # the daemon is about to write
    reduced = _without(data, _left_out_cells(instance, name))
    if reduced is None:
        return True
    instance.update_backfill(backfill._replace(asset_backfill_data=reduced))
    return False


def _left_out_cells(instance: dg.DagsterInstance, name: str) -> dict[dg.AssetKey, set[str]]:
    """The partitions of each asset that runs of a backfill left out."""
    found: dict[dg.AssetKey, set[str]] = {}
    for run in instance.get_runs(dg.RunsFilter(tags={_BACKFILL: name, SKIPPED_TAG: _REASONS})):
        for key in run.asset_selection or ():
            view = key.path[-1].partition("_")[0]
            if run.tags[SKIPPED_TAG] == NOTHING_LANDED or view in run.tags[SKIPPED_TAG].split(","):
                found.setdefault(key, set()).add(run.tags[_PARTITION])
    return found


def _without(
    data: AssetBackfillData, cells: dict[dg.AssetKey, set[str]]
) -> AssetBackfillData | None:
    """A backfill that does not wait for some cells; None where it waits for none of them."""
    changed = False
    fields = {}
    for name in ("target_subset", "requested_subset"):
        subset = getattr(data, name)
        by_key = dict(subset.partitions_subsets_by_asset_key)
        for key, partitions in cells.items():
            if key not in by_key:
                continue
            before = {*by_key[key].get_partition_keys()}
            changed = changed or not before.isdisjoint(partitions)
            by_key[key] = DefaultPartitionsSubset(before - partitions)
        fields[name] = subset._replace(partitions_subsets_by_asset_key=by_key)
    return data._replace(**fields) if changed else None
