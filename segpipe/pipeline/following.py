"""What follows without a sensor or schedule of ours: declarative automation and freshness.

The sensor starts whole partitions, because only it sees manifests land. What depends on assets
alone is declared on them: an upload follows masks somebody validated anew, and the age of what is
published is looked at every hour.
"""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from segpipe.pipeline.mount import Mount
from segpipe.pipeline.partitions import MODEL_RUNS, partition_named
from segpipe.validation.freshness import ages

SENSOR, FRESH = "following_assets", "fresh"
#: On runs of the job, which publish what they validate.
WHOLE_TAG = "segpipe/whole_partition"
_EVERY_HOUR = "5 * * * *"


def follows(assets: dg.AssetSelection) -> dg.AutomationCondition[Any]:
    """Run when one of these was materialized by a run that left the asset out, in any partition.

    A run of the whole job publishes by itself, and starts nothing, also where a check blocked it.
    """
    condition = dg.AutomationCondition
    alone = ~condition.executed_with_root_target() & ~condition.executed_with_tags(
        tag_values={WHOLE_TAG: "true"}
    )
    updated = condition.any_deps_match(condition.newly_updated() & alone).allow(assets)
    waiting = condition.any_deps_in_progress() | condition.in_progress()
    return (updated.since_last_handled() & ~waiting).with_label(
        "what it is made of was materialized without it"
    )


def following_assets(mount: Mount, assets: list[dg.AssetsDefinition]) -> dg.SensorDefinition:
    """Dagster's sensor that looks at the conditions of these assets and of their checks."""
    selection = dg.AssetSelection.assets(*assets)
    return dg.AutomationConditionSensorDefinition(
        mount.name(SENSOR),
        target=selection | dg.AssetSelection.checks_for_assets(*assets),
        default_status=(
            dg.DefaultSensorStatus.RUNNING
            if mount.root.settings.automatic
            else dg.DefaultSensorStatus.STOPPED
        ),
        description="Publishes partitions whose masks were validated by hand, and looks every hour "
        "whether a model run is late.",
    )


def freshness_check(mount: Mount, published: dg.AssetKey) -> dg.AssetChecksDefinition:
    """The check that names the model runs whose newest published day is too old.

    Dagster's own freshness policies measure when anything was materialized last; a rerun of an old
    day would make the asset fresh.
    """
    tick: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed(_EVERY_HOUR)

    @dg.asset_check(
        asset=published,
        name=FRESH,
        description="The newest published day of no model run is older than its max_age_hours.",
        automation_condition=tick.since_last_handled() & ~dg.AutomationCondition.in_progress(),
    )
    def fresh(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        settings = mount.root.settings
        known = context.instance.get_dynamic_partitions(mount.name(MODEL_RUNS))
        # A model run somebody set a limit for is expected, also before its first manifest lands.
        newest: dict[str, date | None] = dict.fromkeys([*known, *settings.policies.by_model_run])
        for key in context.instance.get_materialized_partitions(published):
            partition = partition_named(key)
            day, before = date.fromisoformat(partition.date), newest.get(partition.model_run)
            if partition.model_run in newest and (before is None or before < day):
                newest[partition.model_run] = day
        found = ages(newest, settings.policies, settings.time_zone, datetime.now(UTC))
        late = [age for age in found if age.late]
        return dg.AssetCheckResult(
            passed=not late,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"late": len(late), "looked_at": len(found)},
            description="; ".join(map(str, late[:10]))
            + ": see whether the model ran and its manifest landed"
            if late
            else f"none of {len(found)} model runs with max_age_hours is late",
        )

    return fresh
