"""What a run prints: in Dagster's files and where it would have been printed, without processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType

from segpipe.pipeline.captured_logs import CapturedLogs, with_captured_logs
from segpipe.pipeline.instance import open_instance
from segpipe.pipeline.runs import run_partition
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter

KEY = ["a run", "compute_logs", "a step"]


def test_what_is_printed_is_kept_and_shown_also_that_of_other_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = CapturedLogs(str(tmp_path / "logs"))
    many = "".join(f"line {number}\n" for number in range(20_000))
    terminal = tmp_path / "terminal"
    with terminal.open("a") as stdout, (tmp_path / "errors").open("a") as stderr:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)
        for _ in range(2):  # a step that is tried again
            with logs.capture_logs(KEY):
                print("of Python", flush=True)
                print(many, end="", file=sys.stderr)
                subprocess.run(["echo", "of a program"], check=True, stdout=stdout)
        print("afterwards", flush=True)
    printed = "of Python\nof a program\n" * 2
    assert terminal.read_text() == f"{printed}afterwards\n"
    assert (tmp_path / "errors").read_text() == many * 2
    assert logs.is_capture_complete(KEY)
    kept, _ = logs.get_log_data_for_type(KEY, ComputeIOType.STDOUT, 0, None)
    assert kept == printed.encode()


def test_what_is_printed_is_shown_while_the_step_runs_and_a_closed_terminal_is_no_failure(
    tmp_path: Path,
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as terminal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        with CapturedLogs(str(tmp_path)).capture_logs(KEY):
            print("at once", flush=True)
            assert not CapturedLogs(str(tmp_path)).is_capture_complete(KEY)
            assert os.read(reading, 100) == b"at once\n"
            os.close(reading)
            print("to nobody", flush=True)
    assert (tmp_path.joinpath(*KEY).with_suffix(".out")).read_text() == "at once\nto nobody\n"


def test_a_run_starts_no_process_for_it(
    landing: LandingWriter, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.manifest([landing.row("a")])
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    with open_instance(root.settings.root) as instance:
        monkeypatch.setattr(subprocess, "Popen", None)
        run = run_partition(root, PARTITION, instance=instance).run_id
        logs = instance.compute_log_manager
        assert isinstance(logs, CapturedLogs)
        captured = {
            event.dagster_event.logs_captured_data.file_key
            for event in instance.all_logs(run)
            if event.dagster_event_type is dg.DagsterEventType.LOGS_CAPTURED and event.dagster_event
        }
        assert captured
        assert all(logs.is_capture_complete([run, "compute_logs", key]) for key in captured)


def test_another_class_that_the_settings_name_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(
        "compute_logs:\n"
        "  module: dagster._core.storage.noop_compute_log_manager\n"
        "  class: NoOpComputeLogManager\n"
    )
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        given = instance.get_ref()
        assert with_captured_logs(given) == given
