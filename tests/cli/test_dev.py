"""``segpipe dev`` where it is started: beside the checkout, in the background, on a busy port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segpipe.cli.dev import _environment
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from tests.fixtures.command_line import assert_plain_error, segpipe
from tests.fixtures.interface import Interface, wait_for
from tests.fixtures.landing import LandingWriter
from tests.fixtures.processes import all_end, processes_of
from tests.fixtures.published_days import LONG_AGO


@pytest.mark.slow
def test_a_script_beside_a_folder_called_segpipe_starts_it_and_sigterm_ends_all_of_it(
    landing: LandingWriter, tmp_path: Path
) -> None:
    """Meanwhile it publishes what lands."""
    landing.root.mkdir()
    (landing.root / SETTINGS_FILE).write_text("automatic = true\n")
    beside = tmp_path / "beside"
    (beside / "segpipe").mkdir(parents=True)
    (beside / "segpipe" / "__init__.py").write_text("raise ImportError('not this one')\n")
    home, log = tmp_path / "home", tmp_path / "log"
    # It answers with its assets, so its code was found.
    interface = Interface(landing.root, home, log, script_in=beside)
    try:
        path = landing.manifest([landing.row("a"), landing.row("b", (0, 2))])
        os.utime(path, (LONG_AGO, LONG_AGO))  # it is not being written any more
        catalog = Root.open(str(landing.root)).catalog

        def published() -> bool | None:
            there = catalog.version() is not None
            return (there and catalog.read(["reference_id"]).num_rows == 2) or None

        wait_for("publishing what landed", published, 240)
        assert len(processes_of(home)) > 3
    finally:
        begun = time.monotonic()
        status = interface.terminate()
    assert status == 143, log.read_text()
    assert time.monotonic() - begun < 45
    assert all_end(processes_of(home))
    said = log.read_text()
    assert "Dagster services shut down" in said
    assert said.splitlines()[-1].startswith("interrupted; ")


def test_a_busy_port_is_told_before_anything_is_started(tmp_path: Path) -> None:
    root, home = tmp_path / "root", tmp_path / "home"
    root.mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = segpipe("dev", "--root", root, "--port", port, DAGSTER_HOME=str(home))
    assert_plain_error(done, f"port {port} of 127.0.0.1 is taken", "choose another --port")
    assert not home.exists()
    assert list(root.iterdir()) == []


def test_dagster_s_processes_find_what_pythonpath_names_behind_the_place_that_dagster_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, beside = tmp_path / "home", tmp_path / "beside"
    beside.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", "beside")
    code = "import sys; sys.path.remove(sys.path[0]); print(sys.path)"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        env=_environment(str(tmp_path)), cwd="/", check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert str(beside) in printed
