"""Runs of Dagster's queue in processes that are forked from one that has loaded segpipe.

Dagster's own launcher has the code server spawn a process for each run, which then imports Dagster
and segpipe for some seconds. Here the daemon forks it from a fork server
(:mod:`segpipe.workers.forking`), and the process does what ``dagster api execute_run`` does: it
loads the definitions, with the settings as they are, and executes the run. Runs of other code
locations, and of code servers that may be on another machine, are left to Dagster's own launcher.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
import time
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, DefaultRunLauncher
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import serialize_value
from dagster._utils import get_run_crash_explanation

from segpipe.pipeline.captured_logs import with_captured_logs
from segpipe.pipeline.records import with_kept_connections
from segpipe.workers.forking import forking_context

#: Of a run whose process was forked, its own id: runs that copy another's tags do not count.
FORKED_TAG = ".dagster/segpipe_forked"

_DEFINITIONS = "segpipe.pipeline.definitions"
# Not the definitions themselves, which hold the settings of when they were loaded.
_LOADED = (
    "dagster._cli.api",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.workspace.autodiscovery",
    "pandas",
    "pyarrow.dataset",
    "upath",
    "segpipe.pipeline.build",
    "segpipe.pipeline.records",
)
_LOOKED_AT_SECONDS = 0.5
# Dagster takes the interrupt for a failure of a step that may be tried again, and goes on.
_TOLD_AGAIN_SECONDS = 5.0

_log = logging.getLogger("dagster.segpipe")

# The runs whose processes are this one's children.
_processes: dict[str, ForkServerProcess] = {}
# multiprocessing asks after all processes when one starts, and only one may hear how one ended.
_multiprocessing = threading.Lock()


class ForkedRunLauncher(DefaultRunLauncher):
    """Dagster's own launcher, but for the runs of ``segpipe.pipeline.definitions``."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Begin a run; returns once it has a process."""
        run = context.dagster_run
        forking = forking_context(execute_run, *_LOADED) if _is_for_here(context) else None
        origin = run.job_code_origin
        if forking is None or origin is None:
            super().launch_run(context)
            return
        instance: DagsterInstance = self._instance
        kept = with_captured_logs(with_kept_connections(instance.get_ref()))
        arguments = serialize_value(ExecuteRunArgs(origin, run.run_id, kept))
        process = forking.Process(target=execute_run, args=(arguments,))
        instance.add_run_tags(run.run_id, {FORKED_TAG: run.run_id})
        try:
            with _multiprocessing:
                process.start()
        except (OSError, EOFError) as error:
            instance.add_run_tags(run.run_id, {FORKED_TAG: ""})
            instance.report_engine_event(
                f"No process could be forked ({error!r}): the code server starts one", run
            )
            super().launch_run(context)
            return
        _processes[run.run_id] = process
        self._run_ids.add(run.run_id)
        # Not a daemon thread: this process ends after its runs, as code servers do.
        threading.Thread(
            target=_watch, args=(process, run.run_id, instance), name=f"run {run.run_id}"
        ).start()

    def terminate(self, run_id: str) -> bool:
        """Have a run end, from any process; False if it has ended."""
        run: DagsterRun | None = self._instance.get_run_by_id(run_id) if self.has_instance else None
        if run is None or not _is_forked(run):
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        if run.is_finished:
            return False
        self._instance.report_run_canceling(run)  # which the process that watches it looks for
        if process := _processes.get(run_id):
            process.terminate()
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring may ask for the health of runs."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether a run has a process, asked by the daemon; of others' runs nothing is known."""
        if not _is_forked(run) or run.run_id in _processes:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, "its process ended with the daemon that began it"
        )


def _is_forked(run: DagsterRun) -> bool:
    return run.tags.get(FORKED_TAG) == run.run_id


def _is_for_here(context: LaunchRunContext) -> bool:
    """Whether a run is of this installation's definitions, in a code server on this machine."""
    origin, remote = context.job_code_origin, context.dagster_run.remote_job_origin
    if origin is None or remote is None or context.workspace is None:
        return False
    repository = origin.repository_origin
    pointer = repository.code_pointer
    if not isinstance(pointer, ModuleCodePointer) or pointer.module != _DEFINITIONS:
        return False
    location = context.workspace.get_code_location(remote.location_name)
    on_this_machine = getattr(getattr(location, "client", None), "socket", None) is not None
    return on_this_machine and repository.executable_path == sys.executable


def execute_run(arguments: str) -> None:
    """What the forked process does.

    Args:
        arguments: those of ``dagster api execute_run``.
    """
    from dagster._cli.api import execute_run_command

    threading.Thread(target=_end_with_daemon, args=(os.getppid(),), daemon=True).start()
    execute_run_command.main([arguments], prog_name="execute_run", standalone_mode=False)


def _end_with_daemon(server: int) -> None:
    """End this process once nobody watches it any more: the next daemon starts the run again."""
    daemon = multiprocessing.parent_process()
    assert daemon is not None
    while os.getppid() == server and not wait([daemon.sentinel], _LOOKED_AT_SECONDS):
        pass
    os._exit(1)


def _watch(process: ForkServerProcess, run_id: str, instance: DagsterInstance) -> None:
    """Wait for the end of a run's process; tell it to end, and tell how it did, where need be."""
    told = -_TOLD_AGAIN_SECONDS
    try:
        while not wait([process.sentinel], _LOOKED_AT_SECONDS):
            if time.monotonic() - told > _TOLD_AGAIN_SECONDS and _is_to_end(instance, run_id):
                process.terminate()
                told = time.monotonic()
        with _multiprocessing:
            process.join()
        _tell_end(instance, run_id, process.exitcode or 0)
    except Exception:
        # Run monitoring sees that it has no process of this daemon's.
        _log.exception("the process of run %s is no longer watched", run_id)
    finally:
        del _processes[run_id]


def _is_to_end(instance: DagsterInstance, run_id: str) -> bool:
    """Whether a run was canceled, or removed."""
    try:
        run = instance.get_run_by_id(run_id)
    except Exception:  # of whatever storage; it is asked again
        _log.exception("run %s could not be looked at", run_id)
        return False
    return run is None or run.status in (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED)


def _tell_end(instance: DagsterInstance, run_id: str, exit_code: int) -> None:
    """Record that a run has ended, if its process did not; the same words as a code server's."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    prefix = f"Run execution process for {run_id}"
    message = get_run_crash_explanation(prefix=prefix, exit_code=exit_code)
    instance.report_engine_event(message, run, cls=ForkedRunLauncher)
    if run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run)
    else:
        instance.report_run_failed(run)
