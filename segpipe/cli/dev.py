"""``segpipe dev``: Dagster's UI and daemon on a root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from segpipe.cli.console import say
from segpipe.cli.exit_status import ALL_ACCEPTED, UNUSABLE
from segpipe.cli.ports import check_free
from segpipe.errors import SettingsError
from segpipe.manifests.layout import Unread, listed
from segpipe.pipeline.instance import open_instance, register_landed
from segpipe.root import Root
from segpipe.settings import ROOT_VARIABLE

# Dagster waits this long for its own processes, and for runs.
_END_SECONDS = 60


def run_dev(root: str, host: str, port: int) -> int:
    """Register the root's model runs, then run ``dagster dev`` until it is stopped.

    Returns:
        The exit status.

    Raises:
        SettingsError: if the root is no folder, or the port is taken.
        KeyboardInterrupt: when it was stopped; Dagster's processes have ended then.
    """
    opened = Root.open(root)
    url = opened.settings.root
    if "://" not in url and not Path(url).is_dir():
        raise SettingsError(f"there is no folder {root}; `segpipe demo --root {root}` makes one")
    check_free(host, port)
    unread: list[Unread] = []
    with open_instance(url) as instance:
        known = register_landed(instance, opened, unread.append)
    say(f"root            {url}")
    say(f"model runs      {', '.join(known) or 'none yet'}")
    if unread:
        say(f"not read        {len(unread)}: {listed(unread)}")
    say(f"Dagster home    {os.environ['DAGSTER_HOME']}")
    say(f"UI              http://{host}:{port}")
    workspace = str(files("segpipe.pipeline").joinpath("workspace.yaml"))
    # Dagster recommends its `dg dev` there, which supports only projects made with `dg`.
    quiet = ["-W", "ignore:Function `dev_command` is superseded"]
    command = [sys.executable, *quiet, "-m", "dagster", "dev", "-w", workspace]
    command += ["-h", host, "-p", str(port)]
    # A session of its own: of a signal to all, as a terminal sends it, Dagster's processes would
    # each make their own end.
    with subprocess.Popen(
        command, env={**os.environ, ROOT_VARIABLE: url}, start_new_session=True
    ) as dagster:
        try:
            status = dagster.wait()
        finally:
            _end(dagster)
    return ALL_ACCEPTED if status == 0 else UNUSABLE


def _end(dagster: subprocess.Popen[bytes]) -> None:
    """Let Dagster end its processes, and end those that are left."""
    if dagster.poll() is None:
        dagster.terminate()
        with suppress(subprocess.TimeoutExpired):
            dagster.wait(_END_SECONDS)
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(dagster.pid, signal.SIGKILL)
