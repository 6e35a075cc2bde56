"""Declarative automation: the condition under which masks validated by hand are published.

``automation`` requests runs of whole partitions, because only its sensor sees manifests land. What
depends on other assets alone is declared on the assets as automation conditions.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.pipeline.upstream import follow, follow_within_run

SENSOR = "following_assets"
#: Tag of the job's runs, which publish what they validate.
WHOLE_PARTITION_TAG = "segpipe/whole_partition"


def upstream_updated(assets: dg.AssetSelection) -> dg.AutomationCondition[Any]:
    """Request an asset when a run without it materialized one of its upstream assets.

    Runs of the whole job publish by themselves and trigger nothing, even if a check blocked them.

    Args:
        assets: the upstream assets to watch, in any partition.
    """
    condition = dg.AutomationCondition
    alone = ~condition.executed_with_root_target() & ~condition.executed_with_tags(
        tag_values={WHOLE_PARTITION_TAG: "true"}
    )
    updated = condition.any_deps_match(condition.newly_updated() & alone).allow(assets)
    waiting = condition.any_deps_in_progress() | condition.in_progress()
    return (updated.since_last_handled() & ~waiting).with_label(
        "what it is made of was materialized without it"
    )


def when_truth_changed(truth: dg.AssetKey) -> dg.AutomationCondition[Any]:
    """Request an asset after the ground truth of its items was reported to have changed."""
    return _followed(truth, "its ground truth has changed")


def when_days_evaluated(evaluation: dg.AssetKey) -> dg.AutomationCondition[Any]:
    """Request an asset of all days once none of them is being evaluated any more."""
    return _followed(evaluation, "a day was evaluated")


def _followed(upstream: dg.AssetKey, label: str) -> dg.AutomationCondition[Any]:
    """Request an asset after an upstream one was updated, by whatever run."""
    condition = dg.AutomationCondition
    watched = dg.AssetSelection.assets(upstream)
    updated = condition.any_deps_match(condition.newly_updated()).allow(watched)
    waiting = condition.any_deps_in_progress() | condition.in_progress()
    return (updated.since_last_handled() & ~waiting).with_label(label)


def when_validated(prefixed: PrefixedRoot) -> dg.AutomationCondition[Any]:
    """Request an asset after its masks were validated by hand, or with them where what delivers the
    manifests is followed."""
    validated = prefixed.key("validated_masks")
    by_hand = upstream_updated(dg.AssetSelection.assets(validated))
    if follow(prefixed.manifest_deps) is None:
        return by_hand
    return by_hand | follow_within_run([validated])


def automation_sensor(
    prefixed: PrefixedRoot, assets: list[dg.AssetsDefinition]
) -> dg.SensorDefinition:
    """Dagster's sensor that evaluates the automation conditions of assets and of their checks."""
    selection = dg.AssetSelection.assets(*assets)
    return dg.AutomationConditionSensorDefinition(
        prefixed.name(SENSOR),
        target=selection | dg.AssetSelection.checks_for_assets(*assets),
        default_status=(
            dg.DefaultSensorStatus.RUNNING
            if prefixed.root.settings.automatic
            else dg.DefaultSensorStatus.STOPPED
        ),
        description="Publishes partitions whose masks were validated by hand, evaluates those "
        "whose ground truth changed, and looks every hour whether a model run is late.",
    )
