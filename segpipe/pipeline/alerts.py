"""Telling somebody that a run failed: a web hook anyone can fill."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
import os

import dagster as dg
import requests

SENSOR = "failed_runs"
#: The environment variable with the hook's URL, which may be a secret.
HOOK_VARIABLE = "SEGPIPE_ALERT_URL"
_SECONDS = 10


def failed_runs(job: str) -> dg.SensorDefinition:
    """The sensor: posts what failed, and why, as JSON to the URL in ``SEGPIPE_ALERT_URL``.

    ``{"text": ..., "run_id": ..., "partition": ...}``; Slack, Mattermost and Teams show ``text``.
    """

    @dg.run_failure_sensor(
        name=SENSOR,
        description="Posts every failed run, with its first cause, to the web hook in "
        f"{HOOK_VARIABLE}. Switch it on where that is set.",
        default_status=dg.DefaultSensorStatus.STOPPED,
    )
    def sensor(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        url = os.environ.get(HOOK_VARIABLE)
        if not url:
            return dg.SkipReason(f"{HOOK_VARIABLE} is not set: nobody to tell")
        run = context.dagster_run
        if run.job_name != job:
            return dg.SkipReason(f"{run.job_name} is not a job of segpipe")
        partition = run.tags.get("dagster/partition", "")
        cause = first_cause(context)
        content = {
            "text": f"segpipe: {partition or run.job_name} failed: {cause}",
            "run_id": run.run_id,
            "partition": partition,
        }
        try:
            requests.post(url, json=content, timeout=_SECONDS).raise_for_status()
        except requests.RequestException as error:
            # Its words may hold the URL.
            raise dg.Failure(f"the web hook was not reached ({type(error).__name__})") from None
        return None

    return sensor


def first_cause(context: dg.RunFailureSensorContext) -> str:
    """What the first step that failed says."""
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data is not None and data.user_failure_data.description:
            return str(data.user_failure_data.description)
        if data.error is not None:
            return str((data.error.cause or data.error).message).strip()
    return context.failure_event.message or "see the run's page"
