"""Runs that start by themselves: sensor and schedule, on a real instance."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from segpipe.partition import Partition
from segpipe.pipeline.automation import SCHEDULE, SENSOR, TRIGGER_TAG
from segpipe.pipeline.build import JOB, build_definitions
from segpipe.pipeline.instance import open_instance
from segpipe.pipeline.partitions import MODEL_RUNS, partition_key
from segpipe.root import Root
from segpipe.settings import Settings
from tests.conftest import LandingWriter

DAY = "2026-01-05"
LONG_AGO = 1_700_000_000


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """A real instance with SQLite storage, as a user has it."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster_home"))
    with open_instance(str(tmp_path)) as opened:
        yield opened


class Automation:
    """Sensor and schedule of a root, evaluated as the daemon does."""

    def __init__(self, root: Root, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = root, instance
        self.cursor: str | None = None

    @property
    def definitions(self) -> dg.Definitions:
        return build_definitions(self.root.settings)

    def tick(self) -> dg.SensorResult:
        """Evaluate the sensor and do what it asks of the instance."""
        repository = self.definitions.get_repository_def()
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=repository,
        )
        found = repository.get_sensor_def(SENSOR)(context)
        if isinstance(found, dg.SkipReason):
            return dg.SensorResult(skip_reason=found)
        assert isinstance(found, dg.SensorResult)
        self.cursor = found.cursor
        for request in found.dynamic_partitions_requests or ():
            name = request.partitions_def_name
            if isinstance(request, dg.DeleteDynamicPartitionsRequest):
                for key in request.partition_keys:
                    self.instance.delete_dynamic_partition(name, key)
            else:
                self.instance.add_dynamic_partitions(name, list(request.partition_keys))
        return found

    def schedule(self, at: datetime) -> list[dg.RunRequest]:
        """Evaluate the schedule as of a time."""
        repository = self.definitions.get_repository_def()
        context = dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=at,
            repository_def=repository,
        )
        found = repository.get_schedule_def(SCHEDULE)(context)
        return [one for one in found if isinstance(one, dg.RunRequest)]

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Run what was requested."""
        assert request.partition_key is not None
        job = self.definitions.resolve_job_def(JOB)
        return job.execute_in_process(
            instance=self.instance, partition_key=request.partition_key, tags=dict(request.tags)
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
    (request,) = automation.tick().run_requests or ()
    assert request.partition_key == partition_key(Partition("unet", DAY))
    assert request.tags[TRIGGER_TAG] == SENSOR
    assert instance.get_dynamic_partitions(MODEL_RUNS) == ["unet"]
    assert automation.run(request).success
    assert automation.root.catalog.read(["reference_id"]).num_rows == 2
    again = automation.tick()
    assert not again.run_requests
    assert "nothing new in 1 partitions" in str(again.skip_reason)


def test_a_changed_manifest_is_run_again_under_another_key(
    landing: LandingWriter, automation: Automation
) -> None:
    land(landing)
    (first,) = automation.tick().run_requests or ()
    land(landing, value=7)
    (second,) = automation.tick().run_requests or ()
    assert second.run_key != first.run_key
    assert second.partition_key == first.partition_key


def test_a_retired_model_run_is_removed_and_starts_no_run(
    landing: LandingWriter, automation: Automation, instance: dg.DagsterInstance
) -> None:
    land(landing, "old")
    land(landing, "new")
    assert len(automation.tick().run_requests or ()) == 2
    (landing.root / "segpipe.toml").write_text("[model_runs.old]\nretired = true\n")
    automation.root = Root.open(str(landing.root))
    land(landing, "old", value=9)
    assert not automation.tick().run_requests
    assert instance.get_dynamic_partitions(MODEL_RUNS) == ["new"]
    land(landing, "old", "2026-01-06")
    assert not automation.tick().run_requests
    assert automation.schedule(datetime(2026, 1, 7, 6, tzinfo=UTC)) == []


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
    assert len(automation.tick().run_requests or ()) == 1


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
    automation.root = Root(settings)
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


@pytest.mark.slow
def test_a_manifest_that_lands_beside_a_running_segpipe_dev_is_published(
    landing: LandingWriter, tmp_path: Path
) -> None:
    landing.root.mkdir()
    (landing.root / "segpipe.toml").write_text("automatic = true\n")
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "segpipe", "dev", "--root", str(landing.root), "--port"]
    with subprocess.Popen(
        [*command, "3987"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            land(landing)
            catalog = Root(Settings.load(str(landing.root))).catalog
            until = datetime.now(UTC) + timedelta(minutes=4)
            while catalog.version() is None or catalog.read(["reference_id"]).num_rows != 2:
                assert datetime.now(UTC) < until, "nothing was published"
                assert process.poll() is None
                time.sleep(1)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
