"""What keeps runs going: retries, pools and time limits, as the committed dagster.yaml sets them.

A real instance, and what Dagster's daemon does in its turns.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import WILL_RETRY_TAG
from dagster._core.test_utils import freeze_time
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring.concurrency import execute_concurrency_slots_iteration
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
from dagster._time import get_current_datetime

from segpipe.pipeline.build import JOB, build_definitions
from segpipe.pipeline.instance import register
from segpipe.pipeline.partitions import partition_key
from segpipe.pipeline.run_launcher import FORKED_TAG
from segpipe.pipeline.runs import run_partition
from segpipe.root import Root
from tests.fixtures.faults import Fault
from tests.fixtures.interface import wait_for
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.s3_buckets import FlakyBucket, upload

POOL = "segpipe_catalog"
MINUTE = 60


Turn = Callable[..., None]


@pytest.fixture
def daemon(instance: dg.DagsterInstance) -> Turn:
    """A turn of one of the daemon's loops, some seconds from now."""

    def turn(loop: Callable[..., Iterator[object]], seconds: float) -> None:
        later = get_current_datetime() + timedelta(seconds=seconds)
        with (
            WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context,
            freeze_time(later),
        ):
            list(loop(context, logging.getLogger("daemon")))

    return turn


def test_the_queue_of_runs_is_looked_at_each_second(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_coordinator, dg.QueuedRunCoordinator)
    assert instance.run_coordinator.dequeue_interval_seconds == 1


def run_of(root: Root, instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run of the partition that was created and not begun."""
    register(instance, PARTITION)
    job = build_definitions(root.settings).resolve_job_def(JOB)
    return instance.create_run_for_job(
        job, tags={"dagster/partition": str(partition_key(PARTITION))}
    )


def executed(root: Root, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    register(instance, PARTITION)
    job = build_definitions(root.settings).resolve_job_def(JOB)
    return job.execute_in_process(
        instance=instance, partition_key=partition_key(PARTITION), raise_on_error=False
    )


def types(result: dg.ExecuteInProcessResult) -> list[str]:
    return [event.event_type_value for event in result.all_events]


@pytest.fixture
def full_pool(instance: dg.DagsterInstance) -> list[str]:
    """Other runs upload, as many as may; their ids."""
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default(POOL)
    runs = ["another-run-1", "another-run-2"]
    assert all(storage.claim_concurrency_slot(POOL, run, "upload").is_claimed for run in runs)
    assert not storage.claim_concurrency_slot(POOL, "one-too-many", "upload").is_claimed
    storage.free_concurrency_slots_for_run("one-too-many")
    return runs


def test_an_upload_waits_until_its_pool_has_a_place(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance, full_pool: list[str]
) -> None:
    landing.manifest([landing.row("a")])
    results: list[dg.ExecuteInProcessResult] = []
    running = threading.Thread(target=lambda: results.append(executed(root, instance)))
    running.start()

    def waiting() -> bool | None:
        found = instance.event_log_storage.get_concurrency_info(POOL)
        return True if found.pending_step_count else None

    wait_for("a step that waits for its pool", waiting, 30)
    assert root.validated(PARTITION).summary.accepted == 1  # up to there it did not wait
    assert not results
    assert root.catalog.version() is None
    instance.event_log_storage.free_concurrency_slots_for_run(full_pool[0])
    running.join(30)
    assert results[0].success
    assert root.catalog.read(["reference_id"]).num_rows == 1


def test_segpipe_run_waits_for_no_pool(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance, full_pool: list[str]
) -> None:
    landing.manifest([landing.row("a")])
    assert run_partition(root, PARTITION, instance=instance).failure is None


def test_the_place_of_a_run_that_died_is_given_back(
    root: Root, instance: dg.DagsterInstance, daemon: Turn
) -> None:
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default(POOL)
    died = run_of(root, instance)
    storage.claim_concurrency_slot(POOL, died.run_id, "upload")
    instance.report_run_failed(died)
    daemon(execute_concurrency_slots_iteration, 30)
    assert storage.get_concurrency_info(POOL).active_slot_count == 1
    daemon(execute_concurrency_slots_iteration, 2 * MINUTE)
    assert storage.get_concurrency_info(POOL).active_slot_count == 0


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status.value


def test_a_run_that_works_for_more_than_six_hours_is_ended(
    root: Root, instance: dg.DagsterInstance, daemon: Turn
) -> None:
    run = run_of(root, instance)
    instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name), run.run_id
    )
    daemon(execute_run_monitoring_iteration, 5 * 60 * MINUTE)
    assert status(instance, run) == "STARTED"
    daemon(execute_run_monitoring_iteration, 7 * 60 * MINUTE)
    assert status(instance, run) == "FAILURE"


def test_a_run_that_does_not_begin_within_three_minutes_counts_as_failed(
    root: Root, instance: dg.DagsterInstance, daemon: Turn
) -> None:
    run = run_of(root, instance)
    instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_STARTING.value, run.job_name), run.run_id
    )
    daemon(execute_run_monitoring_iteration, 2 * MINUTE)
    assert status(instance, run) == "STARTING"
    daemon(execute_run_monitoring_iteration, 4 * MINUTE)
    assert status(instance, run) == "FAILURE"


def test_a_run_whose_process_ended_with_the_daemon_counts_as_failed_and_is_started_again(
    root: Root, instance: dg.DagsterInstance, daemon: Turn
) -> None:
    # One whose tags were copied is another's, such as that of `segpipe run`.
    runs = [run_of(root, instance), run_of(root, instance)]
    for run in runs:
        instance.add_run_tags(run.run_id, {FORKED_TAG: runs[0].run_id})
        instance.report_dagster_event(
            dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name), run.run_id
        )
    daemon(execute_run_monitoring_iteration, 0)
    assert [status(instance, run) for run in runs] == ["FAILURE", "STARTED"]
    failed = instance.get_run_by_id(runs[0].run_id)
    assert failed is not None and failed.tags[WILL_RETRY_TAG] == "true"


def test_a_run_whose_process_died_is_started_again_and_one_with_a_reason_is_not(
    root: Root, instance: dg.DagsterInstance
) -> None:
    died = run_of(root, instance)
    instance.report_run_failed(died)
    strict = Root(replace(root.settings, missing_manifest="fail"))
    mistaken = executed(strict, instance).dagster_run
    told = [instance.get_run_by_id(run.run_id).tags[WILL_RETRY_TAG] for run in (died, mistaken)]
    assert told == ["true", "false"]


@pytest.mark.slow
def test_storage_that_fails_for_a_moment_is_tried_again(
    landing: LandingWriter,
    flaky_s3: FlakyBucket,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("segpipe.storage.object_store.RETRYING", {"max_retries": 0})
    landing.manifest([landing.row("a")])
    upload(flaky_s3, landing.root)
    root = Root.open(f"{flaky_s3.url}/root")
    failing = flaky_s3.proxy.fail(Fault.BROKEN, method="PUT", path="segments.parquet", times=1)
    result = executed(root, instance)
    assert failing.happened == 1
    assert result.success
    assert types(result).count("STEP_UP_FOR_RETRY") == 1
    assert root.catalog.read(["reference_id"]).num_rows == 1


def no_manifest(landing: LandingWriter) -> None:
    landing.root.mkdir(exist_ok=True)
    (landing.root / "segpipe.toml").write_text('missing_manifest = "fail"\n')


def no_list_of_items(landing: LandingWriter) -> None:
    landing.manifest([landing.row("a")])
    (landing.root / "segpipe.toml").write_text("[policy]\nitems = 'nowhere.txt'\n")


def too_many_rejections(landing: LandingWriter) -> None:
    landing.manifest([{**landing.row("bad"), "height": 7}])


def a_file_in_the_way(landing: LandingWriter) -> None:
    landing.manifest([landing.row("a")])
    (landing.root / "validated").write_text("")


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (a_file_in_the_way, "a file is where a folder is needed"),
        (no_manifest, "there is no model run 'unet'"),
        (no_list_of_items, "nowhere.txt"),
        (too_many_rejections, "1 of 1 rows rejected (limit: 0.5); see rejected_predictions, mend"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_mistake_is_told_at_once_and_not_tried_again(
    landing: LandingWriter,
    root: Root,
    instance: dg.DagsterInstance,
    mistake: Callable[[LandingWriter], Any],
    words: str,
) -> None:
    mistake(landing)
    result = executed(Root.open(root.settings.root), instance)
    assert not result.success
    assert "STEP_UP_FOR_RETRY" not in types(result)
    (failed,) = (event for event in result.all_events if event.is_step_failure)
    told = failed.step_failure_data.user_failure_data
    assert told is not None
    assert words in (told.description or "")
