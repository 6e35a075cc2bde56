"""What starts runs without a person: manifests that arrive, and the day that is over."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from segpipe.arrivals import Look, Seen, look
from segpipe.errors import SegpipeError
from segpipe.partition import Partition
from segpipe.pipeline.assets import assets_of
from segpipe.pipeline.mount import Mount
from segpipe.pipeline.partitions import MODEL_RUNS, partition_key

SENSOR, SCHEDULE = "landed_manifests", "previous_day"
#: Which of the two began a run.
TRIGGER_TAG = "segpipe/trigger"
_EVERY_SECONDS = 30


def landed_manifests(mount: Mount, job: str) -> dg.SensorDefinition:
    """The sensor: a run for every partition whose manifest is new or changed.

    Its cursor holds what was seen, so a restart repeats and forgets nothing.
    """
    root = mount.root

    @dg.sensor(
        name=mount.name(SENSOR),
        job_name=job,
        minimum_interval_seconds=_EVERY_SECONDS,
        default_status=(
            dg.DefaultSensorStatus.RUNNING
            if root.settings.automatic
            else dg.DefaultSensorStatus.STOPPED
        ),
        description="Watches the landing folder: registers model runs that are new and requests a "
        "run for every partition whose manifest is new or changed. A model run with "
        "`retired = true` in segpipe.toml is left alone, and its partitions are removed.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        retired = root.settings.policies.retired
        try:
            found = look(
                root.landing, Seen.from_text(context.cursor), now=datetime.now(UTC), retired=retired
            )
        except SegpipeError as error:
            return dg.SkipReason(str(error))
        known = context.instance.get_dynamic_partitions(mount.name(MODEL_RUNS))
        return dg.SensorResult(
            run_requests=[
                _request(mount, arrival.partition, arrival.key, SENSOR)
                for arrival in found.arrivals
            ],
            skip_reason=None if found.arrivals else _nothing_new(found),
            cursor=found.seen.to_text(),
            dynamic_partitions_requests=list(_registrations(mount, found, known, retired)),
        )

    return sensor


def _request(mount: Mount, partition: Partition, run_key: str, trigger: str) -> dg.RunRequest:
    """Ask for a partition: its manifest, masks and upload, and the view it is uploaded in."""
    view = mount.root.settings.policies.of(partition.model_run).publish_as
    return dg.RunRequest(
        run_key=run_key,
        partition_key=partition_key(partition),
        asset_selection=assets_of(mount, view),
        tags={TRIGGER_TAG: trigger},
    )


def _nothing_new(found: Look) -> str:
    words = f"nothing new in {found.partitions} partitions ({found.listed} looked at)"
    return f"{words}; {found.waiting} still being written" if found.waiting else words


def _registrations(
    mount: Mount, found: Look, known: Sequence[str], retired: Sequence[str]
) -> Iterator[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]:
    arrived = {arrival.partition.model_run for arrival in found.arrivals}
    if new := sorted(arrived - set(known)):
        yield mount.model_runs.build_add_request(new)
    if gone := sorted(set(retired) & set(known)):
        yield mount.model_runs.build_delete_request(gone)


def previous_day(mount: Mount, job: str) -> dg.ScheduleDefinition:
    """The schedule: every morning the day before, for every model run that delivered it."""
    root, settings = mount.root, mount.root.settings
    hour, minute = map(int, settings.daily_at.split(":"))

    @dg.schedule(
        name=mount.name(SCHEDULE),
        job_name=job,
        cron_schedule=f"{minute} {hour} * * *",
        execution_timezone=settings.time_zone,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if settings.automatic
            else dg.DefaultScheduleStatus.STOPPED
        ),
        description="Requests a run of the day before for every model run that has a manifest of "
        "it. What the sensor ran already is left as it is: an unchanged rerun reads no mask.",
    )
    def schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        at = context.scheduled_execution_time.astimezone(ZoneInfo(settings.time_zone))
        day = (at.date() - timedelta(days=1)).isoformat()
        known = context.instance.get_dynamic_partitions(mount.name(MODEL_RUNS))
        current = [name for name in known if name not in settings.policies.retired]
        try:
            landed = {one for one in root.landing.partitions() if one.date == day}
        except SegpipeError as error:
            yield dg.SkipReason(str(error))
            return
        missing = [name for name in current if Partition(name, day) not in landed]
        if missing:
            context.log.warning(f"no manifest of {day} from: {', '.join(missing)}")
        if len(missing) == len(current):
            yield dg.SkipReason(f"no model run has a manifest of {day} ({len(current)} are known)")
        for name in current:
            if name not in missing:
                yield _request(mount, Partition(name, day), f"{day} {name}", SCHEDULE)

    return schedule
