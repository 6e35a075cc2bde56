"""The sensor for landed manifests and the daily schedule: what requests runs automatically."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from segpipe.errors import StorageError
from segpipe.manifests.arrivals import Arrival, Look, Seen, look
from segpipe.manifests.layout import listed
from segpipe.manifests.partition import Partition
from segpipe.pipeline.assets import run_selection
from segpipe.pipeline.partitions import MODEL_RUNS, partition_key
from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.pipeline.reruns import JobRuns, reruns
from segpipe.pipeline.steps import dagster_failures
from segpipe.validation.rules.policy import Policies

SENSOR, SCHEDULE = "landed_manifests", "previous_day"
#: Run tag that names the sensor or schedule that requested the run.
TRIGGER_TAG = "segpipe/trigger"
_EVERY_SECONDS = 30


def landed_manifests(prefixed: PrefixedRoot, job: str) -> dg.SensorDefinition:
    """The sensor that requests a run for every partition whose manifest is new or changed, and
    again for those whose missing masks arrived, or whose manifest is delivered again after a run
    that did not succeed.

    The cursor stores which manifests were seen, so a restart neither repeats nor misses any. The
    model runs' policies are read at every tick, so changes in ``segpipe.toml`` take effect at once.
    """

    @dg.sensor(
        name=prefixed.name(SENSOR),
        job_name=job,
        minimum_interval_seconds=_EVERY_SECONDS,
        default_status=(
            dg.DefaultSensorStatus.RUNNING
            if prefixed.root.settings.automatic
            else dg.DefaultSensorStatus.STOPPED
        ),
        description="Watches the landing folder: registers model runs that are new and requests a "
        "run for every partition whose manifest is new or changed, whose missing masks arrived, or "
        "whose manifest is delivered again after a failed run. A model run with "
        "`retired = true` in segpipe.toml is left alone, and its partitions are removed.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        with dagster_failures():
            root = prefixed.root_with_current_policies()
            policies = root.settings.policies
            days = prefixed.days
            now = datetime.now(UTC)
            found = look(
                root.landing,
                Seen.from_text(context.cursor),
                now=now,
                retired=policies.retired,
                days=days,
            )
            again = reruns(root, JobRuns(context.instance, job), found, now)
        arrivals = (*found.arrivals, *again.arrivals)
        dated = root.settings.first_date is not None
        troubles = _troubles(found, days, again.unreadable, dated=dated)
        if troubles:
            context.log.warning(troubles)
        known = context.instance.get_dynamic_partitions(prefixed.name(MODEL_RUNS))
        return dg.SensorResult(
            run_requests=[
                _request(prefixed, policies, arrival.partition, arrival.key, SENSOR)
                for arrival in arrivals
            ],
            skip_reason=None if arrivals else _nothing_new(found) + troubles,
            cursor=again.seen.to_text(),
            dynamic_partitions_requests=list(_registrations(prefixed, policies, arrivals, known)),
        )

    return sensor


def _request(
    prefixed: PrefixedRoot, policies: Policies, partition: Partition, run_key: str, trigger: str
) -> dg.RunRequest:
    """Request a partition: its manifest, masks and uploads, and the view that is uploaded."""
    return dg.RunRequest(
        run_key=run_key,
        partition_key=partition_key(partition),
        asset_selection=run_selection(prefixed, policies.of(partition.model_run).publish_as),
        tags={TRIGGER_TAG: trigger},
    )


def _nothing_new(found: Look) -> str:
    words = f"nothing new in {found.partitions} partitions ({found.listed} looked at)"
    return f"{words}; {found.waiting} still being written" if found.waiting else words


def _troubles(
    found: Look, days: tuple[date, date], unreadable: Sequence[str], *, dated: bool
) -> str:
    """What the sensor skipped, and why.

    Args:
        unreadable: messages of partitions that could not be looked at, besides the look's own.
        dated: whether first_date is set.
    """
    words = ""
    if found.outside:
        if not dated and any(one.date < str(days[0]) for one in found.outside):
            words += (
                "; earlier days landed after the definitions were loaded: reload them, or set "
                "first_date"
            )
        words += (
            f"; {len(found.outside)} left out, of days before {days[0]} (first_date in "
            f"segpipe.toml) or after {days[1]}: {listed(found.outside)}"
        )
    if unreadable := (*found.unreadable, *unreadable):
        words += f"; {len(unreadable)} cannot be read: {listed(unreadable)}"
    if found.unfinished:
        words += (
            f"; {len(found.unfinished)} not finished by their writer, which left _temporary in "
            f"them: {listed(found.unfinished)}"
        )
    if found.unread:
        words += f"; {len(found.unread)} not read for their names: {listed(found.unread)}"
    return words


def _registrations(
    prefixed: PrefixedRoot, policies: Policies, arrivals: Sequence[Arrival], known: Sequence[str]
) -> Iterator[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]:
    """Requests that add new model runs to the dynamic partitions and remove retired ones."""
    arrived = {arrival.partition.model_run for arrival in arrivals}
    if new := sorted(arrived - set(known)):
        yield prefixed.model_runs.build_add_request(new)
    if gone := sorted(filter(policies.retired, known)):
        yield prefixed.model_runs.build_delete_request(gone)


def previous_day(prefixed: PrefixedRoot, job: str) -> dg.ScheduleDefinition:
    """The schedule that requests, every morning, the previous day of every model run that has a
    manifest for it."""
    settings = prefixed.root.settings
    hour, minute = map(int, settings.daily_at.split(":"))

    @dg.schedule(
        name=prefixed.name(SCHEDULE),
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
        def unreadable(model_run: str, error: StorageError) -> None:
            context.log.warning(str(error))

        at = context.scheduled_execution_time.astimezone(ZoneInfo(settings.time_zone))
        day = at.date() - timedelta(days=1)
        first, last = prefixed.days
        if not first <= day <= last:
            yield dg.SkipReason(f"{day} has no partition: they go from {first} to {last}")
            return
        known = context.instance.get_dynamic_partitions(prefixed.name(MODEL_RUNS))
        with dagster_failures():
            root = prefixed.root_with_current_policies()
            policies = root.settings.policies
            current = [name for name in known if not policies.retired(name)]
            landed = {one for one, _ in root.landing.landed(unreadable) if one.date == str(day)}
        missing = [name for name in current if Partition(name, str(day)) not in landed]
        if missing:
            context.log.warning(f"no manifest of {day} from: {', '.join(missing)}")
        if len(missing) == len(current):
            yield dg.SkipReason(f"no model run has a manifest of {day} ({len(current)} are known)")
        for name in current:
            if name not in missing:
                partition = Partition(name, str(day))
                yield _request(prefixed, policies, partition, f"{day} {name}", SCHEDULE)

    return schedule
