"""Alerts: a sensor that posts failed runs to a web hook."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from collections.abc import Iterable

import dagster as dg
import requests

from segpipe.pipeline.failures import CAUSE_EVENT_TYPES, first_cause
from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.pipeline.resources import ALERTS, HOOK_VARIABLE, resources_of

SENSOR = "failed_runs"
_SECONDS = 10


def failed_runs(
    prefixed: PrefixedRoot, job: str, assets: Iterable[dg.AssetsDefinition]
) -> dg.SensorDefinition:
    """The sensor that posts each failed run and its cause as JSON to ``SEGPIPE_ALERT_URL``.

    It covers runs of the job, and runs of some of the assets that a person or a backfill started.

    The body is ``{"text": ..., "run_id": ..., "partition": ...}``; Slack, Mattermost and Teams
    show ``text``.

    Args:
        job: name of the job, with the key prefix.
        assets: all assets of the root.
    """

    ours = {key for one in assets for key in one.keys}

    @dg.run_failure_sensor(
        name=prefixed.name(SENSOR),
        description="Posts every failed run, with its first cause, to the web hook in "
        f"{HOOK_VARIABLE}. Switch it on where that is set.",
        default_status=dg.DefaultSensorStatus.STOPPED,
    )
    def sensor(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        url = resources_of(prefixed.root.settings)[ALERTS].process_config_and_initialize().url
        if not url:
            return dg.SkipReason(f"{HOOK_VARIABLE} is not set: nobody to tell")
        run = context.dagster_run
        if run.job_name != job and ours.isdisjoint(run.asset_selection or ()):
            return dg.SkipReason(f"{run.job_name} is not a job of segpipe")
        partition = run.tags.get("dagster/partition", "")
        cause = _cause(context)
        content = {
            "text": f"segpipe: {partition or run.job_name} failed: {cause}",
            "run_id": run.run_id,
            "partition": partition,
        }
        try:
            requests.post(url, json=content, timeout=_SECONDS).raise_for_status()
        except requests.RequestException as error:
            # The exception text may contain the URL.
            raise dg.Failure(f"the web hook was not reached ({type(error).__name__})") from None
        return None

    return sensor


def _cause(context: dg.RunFailureSensorContext) -> str:
    entries = context.instance.all_logs(context.dagster_run.run_id, of_type=set(CAUSE_EVENT_TYPES))
    cause = first_cause(entry.get_dagster_event() for entry in entries)
    return cause or context.failure_event.message or "see the run's page"
