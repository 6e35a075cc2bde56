"""What segpipe relies on in Dagster beyond its stable interface: of the pinned version, and, with
the marker ``newest``, of the newest 1.x that installs.

Each warning that segpipe silences is given here: where it went away, so can the silence.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._annotations import is_superseded
from dagster._cli.api import execute_run_command
from dagster._cli.dev import dev_command
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.backfill import execute_backfill_iteration_loop
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import serialize_value

from segpipe.pipeline import build_definitions
from segpipe.pipeline.prompt_scheduler import PromptScheduler
from segpipe.pipeline.run_launcher import _DEFINITIONS, _LOADED, ForkedRunLauncher
from segpipe.root import Root
from segpipe.settings import ROOT_VARIABLE
from tests.fixtures.places import PROJECT

DAYS = dg.DailyPartitionsDefinition("2026-01-01")


@dg.asset
def anything() -> None:
    """An asset."""


@pytest.mark.parametrize(
    ("kind", "use"),
    [
        (dg.PreviewWarning, lambda: dg.AssetCheckSpec("c", asset="a", partitions_def=DAYS)),
        (dg.BetaWarning, lambda: dg.MultiToSingleDimensionPartitionMapping("date")),
        (dg.BetaWarning, lambda: dg.with_source_code_references([anything])),
    ],
    ids=["partitioned checks", "days of a grid", "code references"],
)
def test_dagster_still_warns_of_what_segpipe_silences(
    kind: type[Warning], use: Callable[[], Any]
) -> None:
    with pytest.warns(kind):
        use()


def test_dagster_dev_is_still_superseded() -> None:
    assert is_superseded(dev_command.callback)


def test_the_definitions_load_without_a_warning_of_dagster_s(root: Root) -> None:
    with warnings.catch_warnings():
        for kind in (dg.PreviewWarning, dg.BetaWarning, dg.SupersessionWarning, DeprecationWarning):
            warnings.simplefilter("error", kind)
        build_definitions(root.settings)


def test_an_output_with_the_metadata_of_an_observation_is_no_materialization(
    instance: dg.DagsterInstance,
) -> None:
    from segpipe.pipeline.gaps import NOT_MATERIALIZED

    @dg.multi_asset(specs=[dg.AssetSpec("above")], can_subset=True)
    def above() -> Any:
        yield dg.Output(None, "above", metadata=NOT_MATERIALIZED)

    @dg.asset(deps=["above"])
    def below() -> None:
        """Runs all the same."""

    result = dg.materialize([above, below], instance=instance)
    made = {event.asset_key for event in result.get_asset_materialization_events()}
    assert made == {dg.AssetKey("below")}


def test_the_daemon_s_loop_waits_as_long_as_the_scheduler_of_the_instance_says(
    instance: dg.DagsterInstance,
) -> None:
    class Waits(threading.Event):
        asked: float | None = None

        def wait(self, timeout: float | None = None) -> bool:
            self.asked = timeout
            return True

    waits = Waits()
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context:
        turns = execute_backfill_iteration_loop(context, logging.getLogger("daemon"), waits)
        while waits.asked is None:
            next(turns)
    # Dagster's own constant is 30.
    assert isinstance(instance.scheduler, PromptScheduler)
    assert 0 <= waits.asked <= instance.scheduler.backfill_interval_seconds == 5


def test_a_daemon_that_would_do_nothing_but_look_at_backfills_is_refused() -> None:
    with pytest.raises(dg.DagsterError, match="at least 1"):
        PromptScheduler(backfill_interval_seconds=0)


def test_a_backfill_has_the_fields_that_cells_are_taken_out_of() -> None:
    assert {"target_subset", "requested_subset", "requested_runs_for_target_roots"} <= {
        *AssetBackfillData._fields
    }
    assert {"asset_backfill_data", "submitting_run_requests"} <= {*PartitionBackfill._fields}


def test_a_run_is_executed_by_the_command_that_forked_processes_call(
    root: Root, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, root.settings.root)
    pointer = ModuleCodePointer(_DEFINITIONS, "defs", None)
    job = ReconstructableRepository(pointer).get_reconstructable_job("maintain_catalog")
    run = instance.create_run_for_job(job.get_definition(), job_code_origin=job.get_python_origin())
    arguments = ExecuteRunArgs(job.get_python_origin(), run.run_id, instance.get_ref())
    execute_run_command.main([serialize_value(arguments)], standalone_mode=False)
    done = instance.get_run_by_id(run.run_id)
    assert done is not None and done.status == dg.DagsterRunStatus.SUCCESS
    assert isinstance(instance.run_launcher, ForkedRunLauncher)
    missing = [name for name in _LOADED if importlib.util.find_spec(name) is None]
    assert missing == []


@pytest.mark.newest
@pytest.mark.timeout(900)
def test_the_newest_dagster_keeps_what_segpipe_relies_on(tmp_path: Path) -> None:
    place = tmp_path / "newest"
    packages = [
        "dagster",
        "dagster-shared",
        "dagster-pipes",
        "dagster-graphql",
        "dagster-webserver",
    ]
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--no-deps", "--target", str(place), "--only-binary", ":all:", *packages]
    got = subprocess.run(install, capture_output=True, text=True, check=False, timeout=300)
    if got.returncode:
        pytest.skip(f"the newest Dagster cannot be had here: {got.stderr.strip()[-200:]}")
    (found,) = (path.name for path in place.glob("dagster-*.dist-info"))
    newest = re.fullmatch(r"dagster-(.+)\.dist-info", found)
    assert newest is not None
    if newest[1] == dg.__version__:
        pytest.skip(f"the newest Dagster is the pinned one, {newest[1]}")
    if not newest[1].startswith("1."):
        pytest.skip(f"the newest Dagster is {newest[1]}, of another major version")
    tests = ["tests/pipeline/test_dagster_contract.py", "tests/pipeline/test_gaps.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow and not newest", *tests],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(PROJECT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"Dagster {newest[1]}: {done.stdout[-3000:]}"
