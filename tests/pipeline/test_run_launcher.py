"""Runs in forked processes, of a running ``segpipe dev``: how they begin, end and are ended."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest

from segpipe.manifests.partition import Partition
from segpipe.publishing.confirmed_versions import _LOCK
from segpipe.settings import SETTINGS_FILE
from segpipe.storage.file_lock import file_lock
from tests.fixtures.interface import Interface, wait_for
from tests.fixtures.landing import LandingWriter
from tests.fixtures.processes import processes_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into /proc"),
]

DAYS = ["2026-01-05", "2026-01-06", "2026-01-07"]
SECONDS = 60.0

_MESSAGES = """
query ($id: ID!) { runOrError(runId: $id) { ... on Run {
  eventConnection { events { ... on MessageEvent { message } } } } } }
"""
_RUNS = "{ runsOrError { ... on Runs { results { runId parentRunId } } } }"
_TERMINATE = """
mutation ($id: String!) { terminateRun(runId: $id) {
  __typename ... on TerminateRunFailure { message } ... on PythonError { message } } }
"""


@pytest.fixture
def interface(landing: LandingWriter, tmp_path: Path) -> Iterator[Interface]:
    landing.root.mkdir()
    (landing.root / SETTINGS_FILE).write_text("first_date = 2026-01-01\n")
    for day in DAYS:
        partition = Partition("unet", day)
        rows = [landing.row(f"{day} {n}", (0, n), partition) for n in (1, 2)]
        landing.manifest(rows, partition)
    with Interface(landing.root, tmp_path / "home", tmp_path / "log") as running:
        yield running
    assert processes_of(tmp_path / "home") == set()


def parent(process: int) -> int:
    stat = Path(f"/proc/{process}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def messages(interface: Interface, run: str) -> str:
    events = interface.ask(_MESSAGES, id=run)["runOrError"]["eventConnection"]["events"]
    return "\n".join(event.get("message", "") for event in events)


def begun(interface: Interface, run: str) -> int:
    """The process of a run, once it executes it."""

    def look() -> int | None:
        shown = messages(interface, run)
        found = re.search(r"Started process for run \(pid: (\d+)\)", shown)
        # Dagster cancels no run that it has not seen begin.
        return int(found[1]) if found and "Started execution of step" in shown else None

    return wait_for(f"the process of run {run}", look, SECONDS)


def gone(*wanted: int) -> bool | None:
    return None if any(Path(f"/proc/{one}").exists() for one in wanted) else True


def runs_like(interface: Interface, run: str) -> list[str]:
    """The runs in which a run is tried again."""
    runs = interface.ask(_RUNS)["runsOrError"]["results"]
    return [one["runId"] for one in runs if one["parentRunId"] == run]


def test_runs_are_forked_and_cancelled_on_their_page_and_tried_again_when_killed(
    interface: Interface, landing: LandingWriter
) -> None:
    run = interface.launch(DAYS[0], "unet", {})
    assert interface.end_of_run(run) == "SUCCESS"
    assert list((interface.home / "storage" / run / "compute_logs").glob("*.err"))
    (lock,) = landing.root.rglob(_LOCK)  # which keeps runs from ending by themselves

    with file_lock(str(lock)):
        run = interface.launch(DAYS[1], "unet", {})
        process = begun(interface, run)
        server = parent(process)
        answer = interface.ask(_TERMINATE, id=run)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer
        assert interface.end_of_run(run) == "CANCELED"
        wait_for("the end of its process", lambda: gone(process), SECONDS)

        run = interface.launch(DAYS[2], "unet", {})
        process = begun(interface, run)
        assert parent(process) == server  # which imports once for all runs
        os.kill(process, signal.SIGKILL)
        assert interface.end_of_run(run) == "FAILURE"
    assert "was terminated by signal 9 (SIGKILL)" in messages(interface, run)
    (again,) = wait_for("a second run", lambda: runs_like(interface, run) or None, SECONDS)
    assert interface.end_of_run(again) == "SUCCESS"

    # The end of `segpipe dev` waits for a run that is under way.
    with ExitStack() as held:
        held.enter_context(file_lock(str(lock)))
        run = interface.launch(DAYS[1], "unet", {})
        begun(interface, run)
        threading.Timer(3.0, held.close).start()
        assert interface.terminate() == 143
    with dg.DagsterInstance.from_config(str(interface.home)) as instance:
        ended = instance.get_run_by_id(run)
    assert ended is not None and ended.status == dg.DagsterRunStatus.SUCCESS


def test_a_run_s_process_does_not_stay_when_all_others_are_killed(interface: Interface) -> None:
    process = begun(interface, interface.launch(DAYS[0], "unet", {}))
    os.kill(process, signal.SIGSTOP)
    forked = {process, parent(process)}
    for other in sorted(processes_of(interface.home) - forked):
        os.kill(other, signal.SIGKILL)
    os.kill(process, signal.SIGCONT)
    assert wait_for("the end of the run's processes", lambda: gone(*forked), SECONDS)
    with dg.DagsterInstance.from_config(str(interface.home)) as instance:
        (run,) = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.STARTED  # which the next daemon finds without process
