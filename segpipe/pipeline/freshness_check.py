"""The hourly asset check that names model runs whose newest published day is too old."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from segpipe.pipeline.partitions import MODEL_RUNS, partition_from_key
from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.validation.freshness import ages

#: Name of the check.
FRESH = "fresh"
_EVERY_HOUR = "5 * * * *"


def freshness_check(prefixed: PrefixedRoot, published: dg.AssetKey) -> dg.AssetChecksDefinition:
    """The check that warns of model runs whose newest published day exceeds max_age_hours.

    Dagster's freshness policies measure the time since the last materialization, so a rerun of an
    old day would count as fresh.

    Args:
        published: prefixed key of the asset to check.
    """
    tick: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed(_EVERY_HOUR)

    @dg.asset_check(
        asset=published,
        name=FRESH,
        description="The newest published day of no model run is older than its max_age_hours.",
        automation_condition=tick.since_last_handled() & ~dg.AutomationCondition.in_progress(),
    )
    def fresh(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        settings = prefixed.root.settings
        known = context.instance.get_dynamic_partitions(prefixed.name(MODEL_RUNS))
        # A model run with a limit in the settings is expected before its first manifest lands.
        newest: dict[str, date | None] = dict.fromkeys([*known, *settings.policies.by_model_run])
        for key in context.instance.get_materialized_partitions(published):
            partition = partition_from_key(key)
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
