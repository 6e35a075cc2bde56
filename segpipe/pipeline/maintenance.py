"""Looking after the catalog: a job with a schedule that is off by default, and a check."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg
from pydantic import Field

from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.pipeline.steps import dagster_failures
from segpipe.publishing.destinations import CATALOG, DESTINATIONS
from segpipe.publishing.table_health import MOST_ENTRIES, MOST_SMALL_FILES, table_health
from segpipe.root import Root

#: Names of the job, of its step, and of the check.
MAINTAIN, STEP, HEALTHY = "maintain_catalog", "optimize_and_vacuum", "catalog_healthy"
_EVERY_SUNDAY = "30 3 * * 0"
_EVERY_DAY = "35 4 * * *"
_PUBLISHED = DESTINATIONS[CATALOG].asset
_ACTIVE = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class MaintainConfig(dg.Config):
    """Run configuration of the maintenance."""

    dry_run: bool = Field(default=True, description="Only say what would be rewritten and deleted.")
    retention_hours: int = Field(
        default=168,
        ge=0,
        description="Files that a version younger than so many hours needs are kept.",
    )


def maintenance_job(prefixed: PrefixedRoot) -> dg.JobDefinition:
    """The job that writes many small files as few, and deletes what no version needs any more."""

    @dg.op(name=prefixed.name(STEP))
    def maintain(context: dg.OpExecutionContext, config: MaintainConfig) -> None:
        publishing = _publishing_runs(context, prefixed)
        if publishing:
            context.log.info(f"put off: {publishing} runs are publishing")
            return
        with dagster_failures():
            metadata = _maintained(prefixed.root, config)
        for remark in prefixed.root.catalog.take_remarks():
            context.log.warning(remark)
        context.log_event(
            dg.AssetObservation(
                prefixed.key(_PUBLISHED),
                "what maintenance would do" if config.dry_run else "what maintenance did",
                metadata,
            )
        )

    @dg.job(
        name=prefixed.name(MAINTAIN),
        description="Writes the catalog's many small files as few, and deletes files and masks "
        "that no version of the last week needs. A dry run unless its configuration says "
        "otherwise; put off while a run publishes.",
        executor_def=dg.in_process_executor,
    )
    def maintain_catalog() -> None:
        maintain()

    return maintain_catalog


def _publishing_runs(context: dg.OpExecutionContext, prefixed: PrefixedRoot) -> int:
    """How many runs that materialize this root's published predictions are under way."""
    key = prefixed.key(_PUBLISHED)
    runs = context.instance.get_runs(dg.RunsFilter(statuses=_ACTIVE))
    return sum(key in (run.asset_selection or ()) or run.job_name == _job(prefixed) for run in runs)


def _job(prefixed: PrefixedRoot) -> str:
    return prefixed.name("publish_partition")


def _maintained(root: Root, config: MaintainConfig) -> dict[str, Any]:
    """Optimize and vacuum, or say what they would do; metadata with what was found and done."""
    before = table_health(root.catalog)
    if before is None:
        return {"dry_run": config.dry_run, "files": 0}
    rewritten = {} if config.dry_run else root.catalog.optimize()
    vacuumed = root.vacuum(config.retention_hours, dry_run=config.dry_run)
    after = before if config.dry_run else table_health(root.catalog) or before
    return {
        "dry_run": config.dry_run,
        "retention_hours": config.retention_hours,
        **{f"rewritten/{name}": count for name, count in rewritten.items()},
        **{f"before/{name}": value for name, value in asdict(before).items()},
        **{f"after/{name}": value for name, value in asdict(after).items()},
        **{f"deleted/{name}": n for name, n in asdict(vacuumed).items() if name != "dry_run"},
        "versions_kept": after.log_entries,
    }


def maintenance_schedule(prefixed: PrefixedRoot, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """The schedule of the job, off until somebody switches it on."""
    settings = prefixed.root.settings
    dry_run = settings.maintenance == "report"
    return dg.ScheduleDefinition(
        name=prefixed.name("maintenance"),
        job=job,
        cron_schedule=_EVERY_SUNDAY,
        execution_timezone=settings.time_zone,
        run_config={"ops": {prefixed.name(STEP): {"config": {"dry_run": dry_run}}}},
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description='Every Sunday at 3:30. Says what it would do; with `maintenance = "clean"` in '
        "segpipe.toml it does it.",
    )


def health_checks(prefixed: PrefixedRoot) -> Sequence[dg.AssetChecksDefinition]:
    """The daily check of the catalog's files and log, if predictions are published there."""
    if CATALOG not in prefixed.root.settings.destinations:
        return []
    tick: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed(_EVERY_DAY)

    @dg.asset_check(
        asset=prefixed.key(_PUBLISHED),
        name=HEALTHY,
        description=f"The catalog has at most {MOST_SMALL_FILES:,} small files and "
        f"{MOST_ENTRIES:,} versions in its log.",
        automation_condition=tick.since_last_handled() & ~dg.AutomationCondition.in_progress(),
    )
    def catalog_healthy() -> dg.AssetCheckResult:
        with dagster_failures():
            found = table_health(prefixed.root.catalog)
        if found is None:
            return dg.AssetCheckResult(passed=True, description="nothing was published yet")
        return dg.AssetCheckResult(
            passed=found.is_healthy,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=asdict(found),
            description=str(found)
            if found.is_healthy
            else f"{found}: run the job {prefixed.name(MAINTAIN)}, or `segpipe optimize`",
        )

    return [catalog_healthy]
