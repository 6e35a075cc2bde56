"""``segpipe dev`` where it is started: beside the checkout, in the background, on a busy port."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segpipe.cli.dev import _environment
from tests.fixtures.command_line import assert_plain_error, segpipe
from tests.fixtures.interface import Interface


@pytest.mark.slow
def test_a_script_beside_a_folder_called_segpipe_starts_it_and_sigterm_ends_all_of_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "root").mkdir()
    beside = tmp_path / "beside"
    (beside / "segpipe").mkdir(parents=True)
    (beside / "segpipe" / "__init__.py").write_text("raise ImportError('not this one')\n")
    log = tmp_path / "log"
    # It answers with its assets, so its code was found.
    interface = Interface(tmp_path / "root", tmp_path / "home", log, script_in=beside)
    begun = time.monotonic()
    assert interface.terminate() == 0, log.read_text()
    assert time.monotonic() - begun < 45
    assert "Dagster services shut down" in log.read_text()


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
