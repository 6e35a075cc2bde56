"""Ctrl-C, SIGTERM and errors nobody foresaw, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.forked_python import run_module
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.places import PROJECT
from tests.fixtures.processes import alive

HERE = {**os.environ, "PYTHONPATH": str(PROJECT)}

# Two worker processes in the middle of files of theirs.
WORK = """
import os, time
from pathlib import Path
from segpipe.storage.atomic import replacing_file

def work(target):
    with replacing_file(Path(target)) as output:
        output.write(b"half")
        output.flush()
        Path(target).with_name(f"{os.getpid()}.pid").write_text("")
        time.sleep(60)
"""
POOL = """
import sys
from work_on_files import work
from segpipe.cli import ending
from segpipe.workers.processes import map_processes

class Pool:
    def main(self, **_):
        list(map_processes(work, [f"{sys.argv[1]}/{n}.png" for n in range(50)], 2))

if __name__ == "__main__":
    sys.exit(ending.status_of(Pool(), []))
"""


@contextmanager
def pool(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A command whose two workers are at work, and the workers' ids."""
    script = folder.parent / "pool.py"
    script.write_text(POOL)
    (folder.parent / "work_on_files.py").write_text(WORK)
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env=HERE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            until = time.monotonic() + 60
            while len(list(folder.glob("*.pid"))) < 2 and time.monotonic() < until:
                time.sleep(0.05)
            yield process, [int(path.stem) for path in folder.glob("*.pid")]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("whole_group", [False, True])
def test_a_signal_ends_the_workers_with_the_command_and_leaves_no_half_file(
    tmp_path: Path, number: signal.Signals, status: int, whole_group: bool
) -> None:
    with pool(tmp_path / "masks") as (process, workers):
        (os.killpg if whole_group else os.kill)(process.pid, number)
        _, said = process.communicate(timeout=40)
        assert process.returncode == status
        assert said.splitlines() == [
            "interrupted; what was finished before is complete, run again for the rest"
        ]
        assert len(workers) == 2
        assert not any(map(alive, workers))
    left = [path.name for path in (tmp_path / "masks").iterdir() if path.suffix != ".pid"]
    assert left == []


def test_semaphores_that_a_pool_left_are_no_news(tmp_path: Path) -> None:
    script = tmp_path / "left.py"
    script.write_text(
        "from loky.backend import resource_tracker\n"
        "from segpipe.workers.processes import map_processes\n"
        "if __name__ == '__main__':\n"
        "    print(*map_processes(abs, [-1, -2], 2))\n"
        "    resource_tracker.register('/loky-that-is-gone', 'semlock')\n"
    )
    ended = subprocess.run(
        [sys.executable, str(script)], env=HERE, capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout, ended.stderr) == ("1 2\n", "")


def test_a_second_signal_ends_the_command_at_once(tmp_path: Path) -> None:
    script = tmp_path / "stubborn.py"
    script.write_text(
        "import sys, time\n"
        "from segpipe.cli import ending\n"
        "class Stubborn:\n"
        "    def main(self, **_):\n"
        "        try:\n"
        "            print('begun', flush=True)\n"
        "            time.sleep(60)\n"
        "        finally:\n"
        "            time.sleep(60)\n"
        "sys.exit(ending.status_of(Stubborn(), []))\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=HERE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)  # together with the first: the same one
        time.sleep(1.0)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 143
    assert said == ("ended at once; what was finished before is complete, run again for the rest\n")


@pytest.mark.parametrize(
    ("number", "status"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)],
)
def test_an_import_that_is_told_to_end_leaves_no_manifest_and_runs_again(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for n in range(800):
        Image.fromarray(np.full((200, 200), n % 3, np.uint8)).save(masks / f"{n}.png")
    root = tmp_path / "root"
    command = [
        sys.executable, "-m", "segpipe", "import", "mask-folder", str(masks), "--objects", "thing",
        "--root", str(root), "--model-run", "unet", "--date", "2026-01-05",
    ]  # fmt: skip
    with subprocess.Popen(command, env=HERE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not list(root.glob("**/*.png")) and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == status
    assert said.splitlines()[-1].startswith("interrupted; ")
    assert "Traceback" not in said
    assert [path for path in root.rglob("*") if path.suffix in (".parquet", ".tmp")] == []
    again = subprocess.run(command, env=HERE, capture_output=True, text=True, check=False)
    assert again.stdout.startswith("800 imported, 0 refused")


# --- unexpected errors ---------------------------------------------------------------------------

FAILING = """
import sys
import segpipe.cli.rules
from segpipe.root import Root
from segpipe.cli import main

def fail(*_, **__):
    raise ZeroDivisionError("at https://me:hunter2@host/x?sig=abc with s3cr3t-key-value")

segpipe.cli.rules.list_rules = fail
Root.show = fail
Root.materialize = fail
main(sys.argv[1:])
"""


def failing(
    *arguments: object, cwd: Path, program: str = FAILING, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command in which something fails that cannot fail."""
    script = cwd / "failing.py"
    script.write_text(program)
    there = {"AWS_SECRET_ACCESS_KEY": "s3cr3t-key-value", "TMPDIR": str(cwd), **environment}
    given = list(map(str, arguments))
    return run_module(str(script), given, {**os.environ, **there}, timeout=120)


def details_in(done: subprocess.CompletedProcess[str], folder: Path) -> str:
    """The details of an unexpected error that was told in one line."""
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    said, _, path = line.partition("; details are in ")
    assert said.startswith("unexpected error: ")
    assert "ZeroDivisionError" in said
    assert Path(path).parent == folder
    assert Path(path).stat().st_mode & 0o077 == 0
    return Path(path).read_text()


def test_an_unexpected_error_is_3_and_one_line_with_the_details_in_a_file(tmp_path: Path) -> None:
    details = details_in(failing("rules", cwd=tmp_path), tmp_path)
    assert "Traceback" in details
    assert "ZeroDivisionError" in details
    for secret in ("hunter2", "sig=abc", "s3cr3t-key-value"):
        assert secret not in details


def test_the_details_are_in_the_root_where_the_command_has_one(
    landing: LandingWriter, tmp_path: Path
) -> None:
    landing.manifest([landing.row("a")])
    done = failing("show", "--root", landing.root, "a", cwd=tmp_path)
    assert "arguments: ['show', '--root'" in details_in(done, landing.root / "errors")


def test_without_any_place_for_details_the_line_says_how_to_see_them(tmp_path: Path) -> None:
    blocked = tmp_path / "root"
    blocked.mkdir()
    (blocked / "errors").write_text("a file in the way")
    program = FAILING.replace(
        "import sys\n", "import sys, tempfile\ntempfile.tempdir = '/nil/nil'\n", 1
    )
    done = failing("show", "--root", blocked, "a", cwd=tmp_path, program=program)
    assert done.returncode == 3
    assert "run it again with --debug" in done.stderr


@pytest.mark.parametrize("arguments", [["--debug", "rules"], ["rules", "--debug"]])
def test_debug_shows_the_trace_before_the_line(tmp_path: Path, arguments: list[str]) -> None:
    done = failing(*arguments, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].startswith("unexpected error: ZeroDivisionError")
    assert "hunter2" not in done.stderr


@pytest.mark.slow
def test_an_unexpected_error_in_a_run_is_3_as_well(landing: LandingWriter, tmp_path: Path) -> None:
    landing.manifest([landing.row("a")])
    run = ["run", "--root", landing.root, "--model-run", PARTITION.model_run]
    home = str(tmp_path / "home")
    done = failing(*run, "--date", PARTITION.date, cwd=tmp_path, DAGSTER_HOME=home)
    assert "in fail" in details_in(done, landing.root / "errors")
