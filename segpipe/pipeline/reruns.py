"""Which partitions are run again although their manifest did not change.

A manifest may land before its masks, or its run may fail. A partition is run again when masks that
were missing are there, and when its manifest is delivered again after a run that rejected rows for
missing masks or did not succeed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import dagster as dg
from dagster._core.storage.tags import PARTITION_NAME_TAG

from segpipe.errors import SegpipeError, StorageError
from segpipe.manifests.arrivals import Arrival, Look, Seen
from segpipe.manifests.partition import Partition
from segpipe.pipeline.partitions import partition_key
from segpipe.root import Root
from segpipe.validation.late_masks import LateMasks, late_masks, misses_masks

# Partitions whose summary is read per look, and those whose missing masks are looked for.
_SUMMARIES, _SEARCHED = 500, 20
_ACTIVE = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class Reruns:
    """Partitions to run again.

    Attributes:
        arrivals: of manifests that were delivered again, and of masks that arrived late.
        seen: state for the next look.
        unreadable: messages of partitions that could not be looked at.
    """

    arrivals: tuple[Arrival, ...]
    seen: Seen
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class JobRuns:
    """The runs of a job, as its instance records them."""

    instance: dg.DagsterInstance
    job: str

    def are_active(self, partition: Partition) -> bool:
        """Whether a run of a partition has not ended."""
        return bool(self._last(partition, _ACTIVE))

    def succeeded(self, partition: Partition) -> bool:
        """Whether a partition's last run succeeded, or none is recorded."""
        last = self._last(partition, None)
        return all(run.status is dg.DagsterRunStatus.SUCCESS for run in last)

    def _last(
        self, partition: Partition, statuses: Sequence[dg.DagsterRunStatus] | None
    ) -> Sequence[dg.DagsterRun]:
        tags = {PARTITION_NAME_TAG: str(partition_key(partition))}
        wanted = dg.RunsFilter(job_name=self.job, tags=tags, statuses=statuses)
        return self.instance.get_runs(wanted, limit=1)


def reruns(root: Root, runs: JobRuns, found: Look, now: datetime) -> Reruns:
    """Find the partitions to run again. One that cannot be read does not affect others.

    Args:
        found: the look at the landing folder; its arrivals are run anyway.
        now: with a time zone.
    """
    unreadable: list[str] = []
    arrivals = list(_redelivered(root, runs, found, unreadable))
    running = {arrival.partition for arrival in (*found.arrivals, *arrivals)}
    states: dict[str, dict[str, str]] = {}
    checked, turn = _checked(root, found, now, unreadable)
    known = {name: dict(days) for name, days in found.seen.masks_requested.items()}
    for partition in found.within:
        state = known.get(partition.model_run, {}).get(partition.date)
        if state is not None and (partition not in checked or checked[partition] is not None):
            states.setdefault(partition.model_run, {})[partition.date] = state
    for partition, late in checked.items():
        if not isinstance(late, LateMasks) or partition in running or runs.are_active(partition):
            continue
        requested = states.setdefault(partition.model_run, {})
        if requested.get(partition.date) != late.state:
            requested[partition.date] = late.state
            arrivals.append(Arrival(partition, f"{partition} masks {late.state}"))
    states = {name: days for name, days in states.items() if days}
    seen = replace(found.seen, masks_turn=turn, masks_requested=states)
    return Reruns(tuple(arrivals), seen, tuple(unreadable))


def _redelivered(
    root: Root, runs: JobRuns, found: Look, unreadable: list[str]
) -> Iterator[Arrival]:
    for arrival in found.redelivered:
        partition = arrival.partition
        try:
            misses = misses_masks(root.tables(partition))
        except StorageError as error:
            unreadable.append(f"{partition}: {error}")
            continue
        if misses is not False or not runs.succeeded(partition):
            yield arrival


_Checked = dict[Partition, LateMasks | bool | None]


def _checked(
    root: Root, found: Look, now: datetime, unreadable: list[str]
) -> tuple[_Checked, tuple[str, str]]:
    """The next partitions in turn, and the new turn.

    A partition's value is what arrived late; False if nothing did, None if it misses no mask.
    """

    validated = root.settings.folder("validated")  # opened once for all of them

    def misses(partition: Partition) -> bool | StorageError | None:
        try:
            return misses_masks(validated.folder(*partition.folders))
        except StorageError as error:
            return error

    turn = found.seen.masks_turn
    after = [one for one in found.within if (one.model_run, one.date) > turn]
    before = found.within[: len(found.within) - len(after)]
    in_turn = [*after, *before][:_SUMMARIES]
    checked: _Checked = {}
    searched = 0
    verdicts = validated.each(misses, in_turn)
    for partition, verdict in zip(in_turn, verdicts, strict=True):
        if verdict is True and searched == _SEARCHED:
            break
        turn = (partition.model_run, partition.date)
        if isinstance(verdict, StorageError):
            unreadable.append(f"{partition}: {verdict}")
        elif not verdict:
            checked[partition] = None
        else:
            searched += 1
            try:
                manifest, sources = root.manifest(partition), root.settings.sources()
                late = late_masks(root.tables(partition), manifest, sources, now)
            except SegpipeError as error:
                unreadable.append(f"{partition}: {error}")
                continue
            checked[partition] = late or False
    return checked, turn
