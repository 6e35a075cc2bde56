"""A failed run is told to a web hook: a real server, a real instance."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._grpc.impl import core_execute_run

from segpipe.errors import SettingsError
from segpipe.pipeline.alerts import HOOK_VARIABLE, SENSOR
from segpipe.pipeline.build import JOB, build_definitions
from segpipe.pipeline.instance import register
from segpipe.pipeline.partitions import partition_key
from segpipe.root import Root
from segpipe.settings import ROOT_VARIABLE
from tests.fixtures.landing import PARTITION, LandingWriter


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What a web hook was told; it answers 500 to a second message."""
    told: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200 if len(told) == 1 else 500)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(HOOK_VARIABLE, f"http://127.0.0.1:{server.server_port}/secret-token")
    yield told
    server.shutdown()
    server.server_close()


def failure_of(
    definitions: dg.Definitions, job: str, instance: dg.DagsterInstance, **known: Any
) -> tuple[Any, Any]:
    """The sensor, and a context of a run of a job that failed; ``known`` is in the run's record."""
    register(instance, PARTITION)
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=partition_key(PARTITION), raise_on_error=False
    )
    context = dg.build_run_status_sensor_context(
        sensor_name=SENSOR,
        dagster_event=result.get_run_failure_event(),
        dagster_instance=instance,
        dagster_run=result.dagster_run._replace(**known),
    ).for_run_failure()
    return definitions.get_repository_def().get_sensor_def(SENSOR), context


@pytest.fixture
def failed(root: Root, instance: dg.DagsterInstance) -> tuple[Any, Any]:
    """The sensor, and a context of a run that failed."""
    strict = replace(root.settings, missing_manifest="fail")
    return failure_of(build_definitions(strict), JOB, instance)


def test_the_hook_is_told_the_partition_and_the_first_cause(
    failed: tuple[Any, Any], hook: list[dict[str, Any]]
) -> None:
    sensor, context = failed
    sensor(context)
    (told,) = hook
    assert told["partition"] == f"{PARTITION.date}|{PARTITION.model_run}"
    assert "there is no model run 'unet'" in told["text"]
    assert told["run_id"] == context.dagster_run.run_id


def failed_run(root: Root, instance: dg.DagsterInstance, job: str, *assets: str) -> tuple[Any, Any]:
    """The sensor, and a context of a run of some assets that failed."""
    own = dg.define_asset_job(
        job, dg.AssetSelection.assets(*assets) if assets else dg.AssetSelection.all()
    )
    project = dg.Definitions.merge(build_definitions(root.settings), dg.Definitions(jobs=[own]))
    # As a run that was launched has it.
    selection = frozenset(map(dg.AssetKey, assets))
    return failure_of(project, job, instance, asset_selection=selection)


def test_a_check_that_blocked_the_upload_is_the_first_cause(
    landing: LandingWriter,
    root: Root,
    instance: dg.DagsterInstance,
    hook: list[dict[str, Any]],
) -> None:
    bad = [{**landing.row(f"bad {n}"), "height": 7} for n in range(3)]
    landing.manifest([landing.row("good"), *bad])
    sensor, context = failed_run(root, instance, JOB + "_again")
    # The run is not of segpipe's own job, and names no asset.
    assert "is not a job of segpipe" in str(sensor(context).skip_message)
    names = ("prediction_manifest", "validated_masks", "segments", "rejected_predictions")
    sensor, context = failed_run(root, instance, "by_hand", *names, "published_predictions")
    sensor(context)
    (told,) = hook
    assert "check rejection_rate failed: 3 of 4 rows rejected (limit: 0.5)" in told["text"]


def test_a_run_that_cannot_load_its_settings_says_what_is_wrong_with_them(
    root: Root,
    instance: dg.DagsterInstance,
    hook: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    definitions = build_definitions(root.settings)
    register(instance, PARTITION)
    run = instance.create_run_for_job(
        definitions.resolve_job_def(JOB), tags={"dagster/partition": partition_key(PARTITION)}
    )
    settings = Path(root.settings.root) / "segpipe.toml"
    settings.write_text("first_date = yesterday\n")
    monkeypatch.setenv(ROOT_VARIABLE, root.settings.root)
    monkeypatch.delitem(sys.modules, "segpipe.pipeline.definitions", raising=False)
    location = ReconstructableRepository.for_module("segpipe.pipeline.definitions", "defs")
    events = []
    with pytest.raises(SettingsError):  # as in the process Dagster starts for a run
        for event in core_execute_run(location.get_reconstructable_job(JOB), run, instance, False):
            events.append(event)
    context = dg.build_run_status_sensor_context(
        sensor_name=SENSOR,
        dagster_event=events[-1],
        dagster_instance=instance,
        dagster_run=run,
    ).for_run_failure()
    definitions.get_repository_def().get_sensor_def(SENSOR)(context)
    (told,) = hook
    assert (
        f"Could not load job definition. segpipe.errors.SettingsError: {settings}" in told["text"]
    )
    assert "is not valid TOML" in told["text"]


def test_a_hook_that_fails_is_said_without_its_url(
    failed: tuple[Any, Any], hook: list[dict[str, Any]]
) -> None:
    sensor, context = failed
    sensor(context)
    with pytest.raises(dg.Failure, match="not reached") as error:
        sensor(context)
    assert "secret-token" not in repr(error.value) + str(error.value.description)


def test_without_a_hook_nobody_is_told(
    failed: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(HOOK_VARIABLE, raising=False)
    sensor, context = failed
    assert "nobody to tell" in str(sensor(context).skip_message)
