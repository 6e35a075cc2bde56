"""Ground truth as Dagster sees it: an asset from outside, and the sensor that notices its changes.

Ground truth may be published on any day, by any means. What counts for a partition is the truth of
its items, so the asset has the grid's partitions, and a sensor says of which ones it changed after
they were evaluated. Dagster then marks their evaluations, and ``following_assets`` requests them.
"""

# No postponed annotations here: Dagster reads the annotations of the functions below.
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from segpipe.errors import SegpipeError, listed
from segpipe.evaluation.truth_ahead import TruthAhead
from segpipe.manifests.landing import Landing
from segpipe.manifests.partition import Partition
from segpipe.pipeline.partitions import partition_key
from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.pipeline.steps import dagster_failures
from segpipe.publishing.ground_truth import PublishedTruth
from segpipe.root import Root

#: Name of the asset; name of the sensor.
GROUND_TRUTH, SENSOR = "ground_truth", "changed_ground_truth"
_EVERY_SECONDS = 60
# Partitions that are looked at per tick.
_LOOKED_AT = 200
_DATA_VERSION = "dagster/data_version"


def ground_truth_spec(prefixed: PrefixedRoot) -> dg.AssetSpec:
    """The asset ``ground_truth``, which nothing here makes."""
    named = listed(list(prefixed.root.settings.ground_truth))
    spec = dg.AssetSpec(
        GROUND_TRUTH,
        description=f"The published ground truth of a partition's items ({named}), on whatever day "
        f"it was published. The sensor {prefixed.name(SENSOR)} reports the partitions whose ground "
        "truth changed after they were evaluated; Dagster marks their evaluations until they are "
        "made again.",
    )
    (spec,) = prefixed.specs([spec])
    return spec.replace_attributes(code_version=None)


@dataclass(frozen=True)
class _Cursor:
    """How far the ground truth has been looked at.

    Attributes:
        state: of the ground truth when this pass over the partitions began.
        after: the last partition that was looked at; None if all were.
        again: partitions that could not be read.
    """

    state: str = ""
    after: Partition | None = None
    again: tuple[Partition, ...] = ()

    @classmethod
    def of(cls, text: str | None) -> "_Cursor":
        """From its text; of a damaged one, all is looked at again."""
        try:
            given = json.loads(text or "")
            after = given["after"]
            again = tuple(Partition(*one) for one in given.get("again", ()))
            return cls(str(given["state"]), None if after is None else Partition(*after), again)
        except (SegpipeError, ValueError, KeyError, TypeError):
            return cls()

    @property
    def text(self) -> str:
        """As Dagster keeps it."""
        after = self.after
        place = None if after is None else [after.model_run, after.date]
        again = [[one.model_run, one.date] for one in self.again]
        return json.dumps({"state": self.state, "after": place, "again": again})


def changed_ground_truth(prefixed: PrefixedRoot) -> dg.SensorDefinition:
    """The sensor that reports partitions whose ground truth changed after they were evaluated."""

    @dg.sensor(
        name=prefixed.name(SENSOR),
        minimum_interval_seconds=_EVERY_SECONDS,
        default_status=(
            dg.DefaultSensorStatus.RUNNING
            if prefixed.root.settings.automatic
            else dg.DefaultSensorStatus.STOPPED
        ),
        description="Looks whether ground truth was published, replaced or unpublished, and "
        "reports the partitions that were not evaluated with it.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        with dagster_failures():
            root = prefixed.root_with_current_policies()
            truth, before = root.published_truth(), _Cursor.of(context.cursor)
            if before == _Cursor(truth.state):
                return dg.SensorResult(skip_reason="the ground truth is as before")
            after = before.after
            done = after is None and before.state == truth.state  # but for what could not be read
            waiting = [
                one for one in _partitions(prefixed, root)
                if not done and (after is None or one > after)
            ]  # fmt: skip
            looked = [*dict.fromkeys([*waiting[:_LOOKED_AT], *before.again])]
            changed, unreadable = _changed(root, truth, looked)
        if unreadable:
            words = [f"{partition}: {error}" for partition, error in unreadable.items()]
            context.log.warning(f"{len(words)} cannot be read: {listed(words)}")
        more = len(waiting) > _LOOKED_AT
        # Where it changes during a pass, another pass follows.
        cursor = _Cursor(
            truth.state if after is None else before.state,
            waiting[_LOOKED_AT - 1] if more else None,
            tuple(unreadable)[:_LOOKED_AT],
        )
        return dg.SensorResult(
            asset_events=[
                event
                for partition, version in changed.items()
                for event in _events(prefixed, partition, version)
            ],
            skip_reason=f"looked at {len(looked)} partitions: of {len(changed)} the "
            f"ground truth has changed{'; more at the next tick' if more else ''}",
            cursor=cursor.text,
        )

    return sensor


def _events(
    prefixed: PrefixedRoot, partition: Partition, version: str
) -> Iterator[dg.AssetObservation | dg.AssetMaterialization]:
    """By the observation Dagster tells what is out of date; conditions follow materializations."""
    observed = observation(partition, version)
    yield observed._replace(asset_key=prefixed.key(GROUND_TRUTH))
    yield dg.AssetMaterialization(
        prefixed.key(GROUND_TRUTH), partition=partition_key(partition), tags=observed.tags
    )


def observation(partition: Partition, version: str) -> dg.AssetObservation:
    """That the ground truth of a partition's items is what the version says."""
    key = partition_key(partition)
    return dg.AssetObservation(GROUND_TRUTH, partition=key, tags={_DATA_VERSION: version})


def _partitions(prefixed: PrefixedRoot, root: Root) -> list[Partition]:
    """The validated partitions of the grid that are not ground truth, sorted."""
    settings = root.settings
    first, last = map(str, prefixed.days)
    return sorted(
        one
        for one in Landing(settings.folder("validated")).partitions()
        if first <= one.date <= last
        and one.model_run not in settings.ground_truth
        and not settings.policies.retired(one.model_run)
    )


def _changed(
    root: Root, truth: PublishedTruth, partitions: Sequence[Partition]
) -> tuple[dict[Partition, str], dict[Partition, SegpipeError]]:
    """Partitions with the digest of their items' truth, which changed; and those that are not
    readable, with the reason."""
    changed: dict[Partition, str] = {}
    unreadable: dict[Partition, SegpipeError] = {}
    ahead = TruthAhead(truth, partitions, root.tables)
    for partition in partitions:
        try:
            version = root.changed_truth(partition, ahead.of(partition))
        except SegpipeError as error:
            unreadable[partition] = error
            continue
        if version is not None:
            changed[partition] = version
    return changed, unreadable
