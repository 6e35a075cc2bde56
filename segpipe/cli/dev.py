"""``segpipe dev``: Dagster's UI and daemon on a root."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from segpipe.cli.console import say
from segpipe.errors import SettingsError
from segpipe.manifests.layout import Unread, listed
from segpipe.pipeline.instance import open_instance, register_landed
from segpipe.root import Root
from segpipe.settings import ROOT_VARIABLE


def run_dev(root: str, host: str, port: int) -> int:
    """Register the root's model runs, then run ``dagster dev`` until it is stopped.

    On POSIX this process is replaced, and the function does not return.

    Raises:
        SettingsError: if the root is no folder.
    """
    opened = Root.open(root)
    url = opened.settings.root
    if "://" not in url and not Path(url).is_dir():
        raise SettingsError(f"there is no folder {root}; `segpipe demo --root {root}` makes one")
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
    environment = {**os.environ, ROOT_VARIABLE: url}
    if os.name == "posix":  # replaces this process, so that a signal to it reaches Dagster
        sys.stdout.flush()
        os.execve(sys.executable, command, environment)
    try:
        return subprocess.call(command, env=environment)
    except KeyboardInterrupt:
        return 0
