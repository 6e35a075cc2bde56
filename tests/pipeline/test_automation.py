"""Runs that start by themselves: sensor and schedule, on a real instance."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import (
    ScheduleExecutionErrorSnap,
    SensorExecutionErrorSnap,
)
from dagster._grpc.impl import (
    get_external_schedule_execution,
    get_external_sensor_execution,
)

from segpipe.errors import SettingsError
from segpipe.manifests.layout import Unread
from segpipe.manifests.partition import Partition
from segpipe.pipeline.automation import SCHEDULE, SENSOR, TRIGGER_TAG
from segpipe.pipeline.build import JOB, build_definitions
from segpipe.pipeline.instance import register_landed
from segpipe.pipeline.partitions import MODEL_RUNS, partition_key
from segpipe.pipeline.runs import run_partition
from segpipe.root import Root
from segpipe.validation.rules.policy import Policies
from tests.fixtures.buckets import AnyBucket
from tests.fixtures.faults import Fault
from tests.fixtures.landing import LandingWriter
from tests.fixtures.s3_buckets import FlakyBucket, upload
from tests.fixtures.s3_server import Bucket
from tests.fixtures.stores import on_every_store_in_time

DAY = "2026-01-05"
LONG_AGO = 1_700_000_000


@dataclass(frozen=True)
class Tick:
    """What a tick of the sensor came to."""

    run_requests: list[dg.RunRequest]
    skipped: str


class TickFailedError(Exception):
    """A tick that Dagster shows as failed."""


class Automation:
    """Sensor and schedule of a root, evaluated as the daemon does."""

    def __init__(self, root: Root, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = root, instance
        self.definitions = build_definitions(root.settings)
        self.cursor: str | None = None

    def tick(self) -> Tick:
        """Evaluate the sensor as the daemon does, and do what it asks of the instance.

        Dagster looks whether there are the partitions that runs are requested of.
        """
        repository = self.definitions.get_repository_def()
        instance = self.instance.get_ref()
        found = get_external_sensor_execution(
            repository, None, instance, SENSOR, None, None, self.cursor, None, None
        )
        if isinstance(found, SensorExecutionErrorSnap):
            raise TickFailedError(found.error.to_string())
        self.cursor = found.cursor
        for request in found.dynamic_partitions_requests or ():
            name = request.partitions_def_name
            if isinstance(request, dg.DeleteDynamicPartitionsRequest):
                for key in request.partition_keys:
                    self.instance.delete_dynamic_partition(name, key)
            else:
                self.instance.add_dynamic_partitions(name, list(request.partition_keys))
        return Tick(list(found.run_requests or ()), found.skip_message or "")

    def schedule(self, at: datetime) -> list[dg.RunRequest]:
        """Evaluate the schedule as the daemon does, as of a time."""
        repository = self.definitions.get_repository_def()
        instance, when = self.instance.get_ref(), at.timestamp()
        found = get_external_schedule_execution(repository, instance, SCHEDULE, when, "UTC", None)
        if isinstance(found, ScheduleExecutionErrorSnap):
            raise TickFailedError(found.error.to_string())
        return list(found.run_requests or ())

    def run(
        self, request: dg.RunRequest, *, raise_on_error: bool = True
    ) -> dg.ExecuteInProcessResult:
        """Run what was requested."""
        assert request.partition_key is not None
        job = self.definitions.resolve_job_def(JOB)
        return job.execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            tags=dict(request.tags),
            raise_on_error=raise_on_error,
        )


@pytest.fixture
def automation(root: Root, instance: dg.DagsterInstance) -> Automation:
    return Automation(root, instance)


def land(landing: LandingWriter, model_run: str = "unet", day: str = DAY, value: int = 1) -> None:
    """Land a manifest that is not being written any more."""
    partition = Partition(model_run, day)
    path = landing.manifest(
        [landing.row("a", (0, value), partition), landing.row("b", (0, 2), partition)], partition
    )
    os.utime(path, (LONG_AGO, LONG_AGO))


def test_a_landed_manifest_registers_its_model_run_and_is_run_once(
    landing: LandingWriter, automation: Automation, instance: dg.DagsterInstance
) -> None:
    assert not automation.tick().run_requests
    land(landing)
    (request,) = automation.tick().run_requests
    assert request.partition_key == partition_key(Partition("unet", DAY))
    assert request.tags[TRIGGER_TAG] == SENSOR
    assert instance.get_dynamic_partitions(MODEL_RUNS) == ["unet"]
    assert automation.run(request).success
    assert automation.root.catalog.read(["reference_id"]).num_rows == 2
    again = automation.tick()
    assert not again.run_requests
    assert "nothing new in 1 partitions" in again.skipped


def test_a_changed_manifest_is_run_again_under_another_key(
    landing: LandingWriter, automation: Automation
) -> None:
    land(landing)
    (first,) = automation.tick().run_requests
    land(landing, value=7)
    (second,) = automation.tick().run_requests
    assert second.run_key != first.run_key
    assert second.partition_key == first.partition_key


def masks_of(landing: LandingWriter) -> list[Path]:
    return sorted((landing.folder(Partition("unet", DAY)) / "masks").glob("*.png"))


def test_masks_that_land_after_their_manifest_are_run_once_and_published(
    landing: LandingWriter, automation: Automation
) -> None:
    land(landing)
    masks = {path: path.read_bytes() for path in masks_of(landing)}
    for path in masks:
        path.unlink()
    (first,) = automation.tick().run_requests
    assert not automation.run(first, raise_on_error=False).success  # all rows were rejected
    assert not automation.tick().run_requests
    for path, content in masks.items():
        path.write_bytes(content)
    (again,) = automation.tick().run_requests
    assert again.partition_key == first.partition_key
    assert again.run_key != first.run_key
    assert not automation.tick().run_requests  # before the run, and after it
    assert automation.run(again).success
    assert not automation.tick().run_requests
    assert automation.root.catalog.read(["reference_id"]).num_rows == 2


@pytest.mark.slow
def test_masks_that_arrive_one_by_one_are_all_published(
    landing: LandingWriter, automation: Automation
) -> None:
    (landing.root / "segpipe.toml").parent.mkdir(exist_ok=True)
    (landing.root / "segpipe.toml").write_text("[policy]\nmax_rejection_rate = 1.0\n")
    automation = Automation(Root.open(str(landing.root)), automation.instance)
    land(landing)
    masks = {path: path.read_bytes() for path in masks_of(landing)}
    for path in masks:
        path.unlink()
    (request,) = automation.tick().run_requests
    automation.run(request)
    for path, content in masks.items():
        path.write_bytes(content)
        os.utime(path, (LONG_AGO, LONG_AGO))
        (request,) = automation.tick().run_requests
        assert automation.run(request).success
    assert not automation.tick().run_requests
    assert automation.root.catalog.read(["reference_id"]).num_rows == 2


def test_late_masks_wait_for_a_run_that_is_under_way(
    landing: LandingWriter, automation: Automation, instance: dg.DagsterInstance
) -> None:
    land(landing)
    masks = {path: path.read_bytes() for path in masks_of(landing)}
    for path in masks:
        path.unlink()
    (request,) = automation.tick().run_requests
    automation.run(request, raise_on_error=False)
    job = automation.definitions.resolve_job_def(JOB)
    tags = {"dagster/partition": str(request.partition_key)}
    queued = instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    for path, content in masks.items():
        path.write_bytes(content)
    assert not automation.tick().run_requests
    instance.report_run_canceled(queued)
    assert len(automation.tick().run_requests) == 1


def test_a_manifest_delivered_again_is_run_again_where_masks_were_missing(
    landing: LandingWriter, automation: Automation
) -> None:
    land(landing)
    masks_of(landing)[0].unlink()
    (first,) = automation.tick().run_requests
    automation.run(first, raise_on_error=False)
    redeliver(landing)
    (again,) = automation.tick().run_requests
    assert again.partition_key == first.partition_key
    assert again.run_key != first.run_key
    assert not automation.tick().run_requests


@pytest.mark.slow
def test_a_manifest_delivered_again_is_run_again_where_its_run_failed(
    landing: LandingWriter, automation: Automation
) -> None:
    path = landing.folder(Partition("unet", DAY)) / "predictions.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    os.utime(path, (LONG_AGO, LONG_AGO))
    (first,) = automation.tick().run_requests
    assert not automation.run(first, raise_on_error=False).success
    assert not automation.tick().run_requests
    redeliver(landing)
    (again,) = automation.tick().run_requests
    assert again.run_key != first.run_key
    land(landing)
    (good,) = automation.tick().run_requests
    assert automation.run(good).success


def test_a_manifest_delivered_again_after_a_run_without_faults_is_left_alone(
    landing: LandingWriter, automation: Automation
) -> None:
    land(landing)
    (request,) = automation.tick().run_requests
    assert automation.run(request).success
    redeliver(landing)
    assert not automation.tick().run_requests


@on_every_store_in_time
def test_in_a_bucket_too_a_manifest_delivered_again_is_run_again(
    landing: LandingWriter, bucket: AnyBucket, instance: dg.DagsterInstance
) -> None:
    """Equal content has an equal ETag: the time tells that it was delivered again."""
    land(landing)
    upload(bucket, landing.root)
    automation = Automation(Root.open(f"{bucket.url}/root"), instance)
    (first,) = automation.tick().run_requests
    assert not automation.tick().run_requests
    time.sleep(1.1)  # the store's times are whole seconds
    upload(bucket, landing.root)
    (again,) = automation.tick().run_requests  # there are no tables: no run came to its end
    assert again.run_key != first.run_key


def redeliver(landing: LandingWriter) -> None:
    """Write the manifest again with the bytes it has."""
    path = landing.folder(Partition("unet", DAY)) / "predictions.parquet"
    path.write_bytes(path.read_bytes())
    os.utime(path, (LONG_AGO + 60, LONG_AGO + 60))


def test_what_is_not_read_is_named_in_the_tick(
    landing: LandingWriter, automation: Automation
) -> None:
    for number in range(7):
        (landing.root / f"manifests/model-run=unet-{number}/date={DAY}").mkdir(parents=True)
    words = automation.tick().skipped
    assert "; 7 not read for their names: model-run=unet-0 (expected model_run=unet-0), " in words
    assert words.endswith(" and 2 more")


def test_segpipe_dev_learns_at_its_start_what_is_not_read(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance
) -> None:
    land(landing)
    (landing.root / f"manifests/model_run=unet/day={DAY}").mkdir()
    unread: list[Unread] = []
    assert register_landed(instance, root, unread.append) == ["unet"]
    assert list(map(str, unread)) == [f"model_run=unet/day={DAY} (expected date={DAY})"]


def test_a_retired_model_run_is_removed_and_starts_no_run(
    landing: LandingWriter, automation: Automation, instance: dg.DagsterInstance
) -> None:
    land(landing, "old")
    land(landing, "new")
    assert len(automation.tick().run_requests) == 2
    # Settings are written while the daemon runs.
    (landing.root / "segpipe.toml").write_text("[model_runs.old]\nretired = true\n")
    land(landing, "old", value=9)
    assert not automation.tick().run_requests
    assert instance.get_dynamic_partitions(MODEL_RUNS) == ["new"]
    land(landing, "old", "2026-01-06")
    assert not automation.tick().run_requests
    assert automation.schedule(datetime(2026, 1, 7, 6, tzinfo=UTC)) == []


def test_all_model_runs_can_be_retired_but_some(
    landing: LandingWriter, automation: Automation, instance: dg.DagsterInstance
) -> None:
    land(landing, "old")
    automation.tick()
    settings = "[policy]\nretired = true\n[model_runs.new]\nretired = false\n"
    (landing.root / "segpipe.toml").write_text(settings)
    land(landing, "old", "2026-01-06")
    land(landing, "new", "2026-01-06")
    (request,) = automation.tick().run_requests
    assert request.partition_key == partition_key(Partition("new", "2026-01-06"))
    assert instance.get_dynamic_partitions(MODEL_RUNS) == ["new"]
    root = Root.open(str(landing.root))
    assert register_landed(instance, root) == ["new"]  # as `segpipe dev` does at its start
    with pytest.raises(SettingsError, match=r"'old' is over: .* retired = true .* take that out"):
        run_partition(root, Partition("old", "2026-01-06"), instance=instance)
    assert instance.get_dynamic_partitions(MODEL_RUNS) == ["new"]


def test_policies_are_read_at_every_tick_and_those_given_in_python_stay(
    landing: LandingWriter, automation: Automation, instance: dg.DagsterInstance
) -> None:
    given = replace(automation.root.settings, policies=Policies())
    in_python = Automation(Root(given), instance)
    land(landing)
    (landing.root / "segpipe.toml").write_text("[policy]\npublish_as = 'semantic'\n")
    made = dg.AssetKey("semantic_masks")
    assert made in (automation.tick().run_requests[0].asset_selection or ())
    assert made not in (in_python.tick().run_requests[0].asset_selection or ())


def test_settings_that_cannot_be_used_fail_the_tick_in_words(
    landing: LandingWriter, automation: Automation
) -> None:
    land(landing)
    (landing.root / "segpipe.toml").write_text("[policy]\nretird = true\n")
    with pytest.raises(TickFailedError, match=r"segpipe.toml: unknown key 'retird'.* 'retired'"):
        automation.tick()
    with pytest.raises(TickFailedError, match="unknown key 'retird'"):
        automation.schedule(datetime(2026, 1, 6, 6, tzinfo=UTC))


@pytest.mark.parametrize("day", ["2024-12-31", "2099-01-01"])
def test_a_day_without_a_partition_stops_none_of_the_others(
    landing: LandingWriter, automation: Automation, day: str
) -> None:
    land(landing, "archive", day)
    land(landing)
    (request,) = automation.tick().run_requests
    assert request.partition_key == partition_key(Partition("unet", DAY))
    words = automation.tick().skipped
    assert "nothing new in 1 partitions" in words
    assert "1 left out, of days before 2025-01-01 (first_date in segpipe.toml) or after" in words
    assert words.endswith(f"model_run=archive date={day}")
    morning = datetime.fromisoformat(f"{day}T06:00Z") + timedelta(days=1)
    assert automation.schedule(morning) == []
    # It was not taken for seen: once there is such a partition, it is run.
    earlier = replace(automation.root.settings, first_date=date(2024, 1, 1))
    later = Automation(Root(earlier), automation.instance)
    later.cursor = automation.cursor
    assert len(later.tick().run_requests) == (day == "2024-12-31")


def test_a_manifest_that_cannot_be_read_stops_none_of_the_others(
    landing: LandingWriter, s3: Bucket, instance: dg.DagsterInstance
) -> None:
    land(landing)
    land(landing, day="2026-01-06")
    upload(s3, landing.root)
    key = f"root/manifests/model_run=unet/date={DAY}/predictions.parquet"
    # Bytes in the archive are listed and cannot be read until somebody restores them.
    archived = {"Bucket": s3.name, "Key": key, "StorageClass": "GLACIER"}
    content = s3.client().get_object(Bucket=s3.name, Key=key)["Body"].read()
    s3.client().put_object(**archived, Body=content)
    automation = Automation(Root.open(f"{s3.url}/root"), instance)
    (request,) = automation.tick().run_requests
    assert request.partition_key == partition_key(Partition("unet", "2026-01-06"))
    words = automation.tick().skipped
    assert f"1 cannot be read: model_run=unet date={DAY}: reading" in words
    s3.client().put_object(Bucket=s3.name, Key=key, Body=content)
    (request,) = automation.tick().run_requests
    assert request.partition_key == partition_key(Partition("unet", DAY))


@pytest.mark.slow  # an answer 500 is tried again for seconds
def test_a_model_run_that_cannot_be_listed_is_left_as_it_was(
    landing: LandingWriter, flaky_s3: FlakyBucket, instance: dg.DagsterInstance
) -> None:
    land(landing, "hidden")
    upload(flaky_s3, landing.root)
    automation = Automation(Root.open(f"{flaky_s3.url}/root"), instance)
    automation.tick()
    later = LandingWriter(landing.root.parent / "later")  # what is there is not delivered again
    land(later)
    upload(flaky_s3, later.root)
    flaky_s3.proxy.fail(Fault.BROKEN, path="list-type.*prefix=.*hidden")
    (request,) = automation.tick().run_requests
    assert request.partition_key == partition_key(Partition("unet", DAY))
    flaky_s3.proxy.heal()
    assert not automation.tick().run_requests  # what was seen of it was not forgotten


@pytest.mark.slow
def test_a_landing_folder_that_cannot_be_listed_fails_the_tick(
    flaky_s3: FlakyBucket, instance: dg.DagsterInstance
) -> None:
    automation = Automation(Root.open(f"{flaky_s3.url}/root"), instance)
    flaky_s3.proxy.fail(Fault.BROKEN, path="list-type.*manifests")
    with pytest.raises(TickFailedError, match=r"listing s3://.*manifests failed"):
        automation.tick()


def test_a_file_where_the_landing_folder_should_be_starts_nothing(
    landing: LandingWriter, automation: Automation
) -> None:
    landing.root.mkdir(exist_ok=True)
    (landing.root / "manifests").write_text("a file where a folder is needed")
    tick = automation.tick()
    assert not tick.run_requests
    land_again = landing.root / "manifests"
    land_again.unlink()
    land(landing)
    assert len(automation.tick().run_requests) == 1


def test_every_morning_the_day_before_is_requested_of_who_delivered_it(
    landing: LandingWriter, automation: Automation
) -> None:
    land(landing, "unet")
    land(landing, "other", "2026-01-04")
    automation.tick()
    (request,) = automation.schedule(datetime(2026, 1, 6, 6, tzinfo=UTC))
    assert request.partition_key == partition_key(Partition("unet", DAY))
    assert request.tags[TRIGGER_TAG] == SCHEDULE
    assert automation.run(request).success


def test_the_day_before_is_that_of_the_configured_time_zone(
    landing: LandingWriter, automation: Automation
) -> None:
    land(landing)
    automation.tick()
    settings = replace(automation.root.settings, time_zone="Pacific/Auckland", daily_at="06:00")
    automation = Automation(Root(settings), automation.instance)
    # 06:00 of January 6 in Auckland is 17:00 of January 5 in UTC.
    (request,) = automation.schedule(datetime(2026, 1, 5, 17, tzinfo=UTC))
    assert request.partition_key == partition_key(Partition("unet", DAY))


@pytest.mark.parametrize("automatic", [False, True])
def test_both_are_off_until_switched_on_or_set_to_run(root: Root, automatic: bool) -> None:
    settings = replace(root.settings, automatic=automatic)
    repository = build_definitions(settings).get_repository_def()
    sensor, schedule = repository.get_sensor_def(SENSOR), repository.get_schedule_def(SCHEDULE)
    assert sensor.default_status.value == ("RUNNING" if automatic else "STOPPED")
    assert schedule.default_status.value == ("RUNNING" if automatic else "STOPPED")
    assert schedule.cron_schedule == "0 6 * * *"
