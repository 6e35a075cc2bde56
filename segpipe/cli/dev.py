"""``segpipe dev``: Dagster's UI and daemon on a root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from segpipe.cli.console import put, say
from segpipe.cli.exit_status import ALL_ACCEPTED, UNUSABLE
from segpipe.cli.ports import check_free
from segpipe.errors import SettingsError
from segpipe.manifests.layout import Unread, listed
from segpipe.manifests.partition import check_model_run
from segpipe.pipeline.instance import open_instance, register_landed
from segpipe.pipeline.partitions import MODEL_RUNS, MOST_PARTITIONS
from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.pipeline.runs import check_not_retired
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
    days = PrefixedRoot(opened).days
    cells = max(0, (days[1] - days[0]).days + 1) * len(known)
    say(f"partitions      {cells:,}: {len(known)} model runs x {days[0]} to {days[1]}")
    if cells > MOST_PARTITIONS:
        say(
            f"warning: Dagster recommends at most {MOST_PARTITIONS:,} partitions of an asset; set "
            "first_date, or retire model runs that are over, in segpipe.toml"
        )
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
        command,
        env=_environment(url),
        # Dagster imports from the folder it runs in, and the current one may hold another
        # `segpipe`, such as the checkout.
        cwd=os.environ["DAGSTER_HOME"],
        start_new_session=True,
        preexec_fn=_heed_interrupts if os.name == "posix" else None,
    ) as dagster:
        try:
            status = dagster.wait()
        finally:
            _end(dagster)
    return ALL_ACCEPTED if status == 0 else UNUSABLE


def _environment(root: str) -> dict[str, str]:
    """The environment of Dagster's processes, which run in another folder."""
    environment = {**os.environ, ROOT_VARIABLE: root, "PYTHONSAFEPATH": "1"}
    if given := os.environ.get("PYTHONPATH"):
        folders = [os.path.abspath(folder) for folder in given.split(os.pathsep)]
        # Where it loads definitions, Dagster leaves out the first place that Python looks in, which
        # it takes for the working folder.
        environment["PYTHONPATH"] = os.pathsep.join([os.environ["DAGSTER_HOME"], *folders])
    return environment


def _heed_interrupts() -> None:
    """Undo what a shell does to commands in the background, as with ``nohup ... &``: Dagster ends
    its processes by the signal that such commands ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def register_model_runs(
    root: str, model_runs: Sequence[str] = (), key_prefix: Sequence[str] = ()
) -> None:
    """Register the root's model runs with Dagster, and print their names.

    Args:
        model_runs: those that have not landed yet.
        key_prefix: of the root's assets in its code location.

    Raises:
        SettingsError, StorageError: if the root or Dagster's home cannot be used, or a model run
            cannot be named so or is retired; none of ``model_runs`` is registered then.
    """
    opened = Root.open(root)
    for name in model_runs:
        check_model_run(name)
        check_not_retired(opened.settings, name)
    unread: list[Unread] = []
    partitions = PrefixedRoot(opened, tuple(key_prefix)).name(MODEL_RUNS)
    with open_instance(opened.settings.root) as instance:
        landed = register_landed(instance, opened, unread.append, partitions)
        instance.add_dynamic_partitions(partitions, [*dict.fromkeys(model_runs)])
        known = sorted({*landed, *model_runs})
    if unread:
        say(f"not read: {len(unread)}: {listed(unread)}")
    for name in known or ["no model run has landed yet"]:
        put(name)


def _end(dagster: subprocess.Popen[bytes]) -> None:
    """Let Dagster end its processes, and end those that are left."""
    if dagster.poll() is None:
        dagster.terminate()
        with suppress(subprocess.TimeoutExpired):
            dagster.wait(_END_SECONDS)
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(dagster.pid, signal.SIGKILL)
