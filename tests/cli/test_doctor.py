"""``segpipe doctor`` as a user runs it: what it prints, how it ends, and that its advice helps."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segpipe.cli import doctor
from segpipe.examination.check import Level
from segpipe.examination.examination import Examination
from segpipe.root import Root
from tests.fixtures.command_line import segpipe
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.places import PROJECT


@pytest.fixture
def published(landing: LandingWriter) -> Path:
    """A root with one published partition."""
    landing.manifest([landing.row("a"), landing.row("b")])
    root = Root.open(landing.root)
    root.materialize(PARTITION)
    root.publish(PARTITION)
    return landing.root


def told(done: subprocess.CompletedProcess[str]) -> dict[str, list[dict[str, Any]]]:
    """Section -> its checks, of what ``--format json`` printed."""
    printed = json.loads(done.stdout)
    assert printed["usable"] is (done.returncode == 0)
    return {section["title"]: section["checks"] for section in printed["sections"]}


def check_of(done: subprocess.CompletedProcess[str], name: str) -> dict[str, Any]:
    (found,) = [one for checks in told(done).values() for one in checks if one["name"] == name]
    return found


def as_json(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return segpipe("doctor", *arguments, "--format", "json", **environment)


def test_a_root_that_is_usable_ends_with_0_and_says_so(published: Path) -> None:
    done = segpipe("doctor", "--root", published)
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    titles = re.findall(r"^(\w+)$", done.stdout, re.MULTILINE)
    assert titles == [
        "Machine", "Packages", "Settings", "Storage", "Root", "Destinations", "Dagster"
    ]  # fmt: skip
    assert done.stdout.splitlines()[-1].startswith("Usable: ")


def test_a_problem_ends_with_1_and_names_the_next_step(tmp_path: Path) -> None:
    done = segpipe("doctor", "--root", tmp_path / "nowhere")
    assert done.returncode == 1
    assert f"mkdir -p {tmp_path}/nowhere" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Something would fail: 1 problem")


def test_without_a_root_the_installation_alone_is_looked_at(published: Path) -> None:
    done = as_json()
    assert done.returncode == 0
    assert [*told(done)] == ["Machine", "Packages"]
    named = as_json(SEGPIPE_ROOT=str(published))
    assert check_of(named, "SEGPIPE_ROOT")["found"] == f"names the root: {published}"


def test_lines_fit_a_narrow_terminal_and_have_no_colours_where_nobody_sees_them(
    published: Path,
) -> None:
    done = segpipe("doctor", "--root", published, COLUMNS="80")
    assert "\x1b" not in done.stdout
    commands = re.compile(r"^ +(-> .*: )?(segpipe|pip|mv|export|mkdir) ")
    # A path or a command is never broken: it is to be copied.
    long = [line for line in done.stdout.splitlines() if len(line) > 80]
    assert all(commands.match(line) or "/" in line for line in long), long


def test_a_terminal_gets_colours(published: Path) -> None:
    nowhere = ["doctor", "--root", published / "nowhere"]
    assert "\x1b[31m\x1b[1m  problem" in segpipe(*nowhere, FORCE_COLOR="1").stdout


def test_a_reader_that_has_gone_ends_it_quietly() -> None:
    program = f"{shlex.quote(sys.executable)} -m segpipe doctor"
    done = subprocess.run(
        ["bash", "-c", f"{program} | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_few_open_files_are_raised_by_the_advised_command() -> None:
    asked = "from segpipe.examination.machine import open_files; c = open_files()"
    python = f"{shlex.quote(sys.executable)} -c '{asked}; print(c.level, c.command)'"

    def said(before: str) -> str:
        script = f"ulimit -S -n 256; {before} {python}"
        return subprocess.check_output(["bash", "-c", script], text=True)

    level, _, command = said("").strip().partition(" ")
    assert (level, command) == ("warning", "ulimit -n 4096")
    assert said(f"{command};") == "ok \n"


def test_a_package_that_cannot_be_loaded_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    in_front = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    (tmp_path / "PIL.py").write_text("raise ImportError('no libjpeg.so.8', name='PIL')")
    done = as_json(**in_front)
    assert done.returncode == 1
    check = check_of(done, "library")
    assert "no libjpeg.so.8" in check["found"]
    assert check["command"].startswith("pip install --force-reinstall --no-deps 'pillow<")
    (tmp_path / "PIL.py").write_text("None.libjpeg")  # `name` of that error is no package's
    command = check_of(as_json(**in_front), "library")["command"]
    assert command == "pip install --force-reinstall segpipe"


def test_dagsters_home_is_looked_at_where_its_ui_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, "dagster_webserver", None)
    checks = doctor._dagster(Examination(str(tmp_path)), str(tmp_path))
    assert [one.name for one in checks] == ["Dagster's UI", "Dagster", "home"]
    assert checks[0].level is Level.NOTE
    assert checks[0].command == "pip install 'segpipe[dagster]'"


_AS_NOBODY = """
import json, os, sys
from dataclasses import asdict
from segpipe.examination.patience import Patience
from segpipe.examination.known_secrets import KnownSecrets
from segpipe.examination.root_examination import RootExamination

RootExamination("/nowhere", Patience(), KnownSecrets())
if os.geteuid() == 0:
    os.setgid(65_534)
    os.setuid(65_534)
sections = {one.title: one for one in RootExamination(
    sys.argv[1], Patience(), KnownSecrets()).sections()}
print(json.dumps([asdict(one) for one in sections["Storage"].checks]))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that nobody can look into, and write to."""
    if not hasattr(os, "geteuid"):
        pytest.skip("no users on this system")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def as_nobody(root: Path) -> list[dict[str, str]]:
    """What is said of the storage of a root to nobody; where that cannot be, to this user."""
    said = subprocess.check_output(
        [sys.executable, "-c", _AS_NOBODY, str(root)], cwd=PROJECT, text=True
    )
    checks: list[dict[str, str]] = json.loads(said)
    return checks


def made_by_nobody(folder: Path, mode: int = 0o755) -> Path:
    folder.mkdir()
    folder.chmod(mode)
    if os.geteuid() == 0:
        os.chown(folder, 65_534, 65_534)
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a folder of another user")
def test_a_root_of_another_user_can_be_read_and_is_told(open_folder: Path) -> None:
    root = open_folder / "root"
    root.mkdir()
    root.chmod(0o755)
    (check,) = as_nobody(root)
    assert check["level"] == "note"
    assert "can be read, and not written: it belongs to user" in check["found"]
    assert check["command"] == f'sudo chown -R "$(id -un)" {root}'


@pytest.mark.slow
def test_a_root_that_its_own_user_may_not_write_to_is_opened_by_the_advised_command(
    open_folder: Path,
) -> None:
    root = made_by_nobody(open_folder / "root", 0o555)
    (check,) = as_nobody(root)
    assert check["level"] == "note"
    assert check["command"] == f"chmod -R u+w {root}"
    subprocess.run(["bash", "-c", check["command"]], check=True)
    assert "written" in as_nobody(root)[0]["found"]
    assert as_nobody(root)[0]["level"] == "ok"


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_mended_where_it_was_found(open_folder: Path) -> None:
    root, catalog = made_by_nobody(open_folder / "root"), made_by_nobody(open_folder / "catalog")
    (root / "segpipe.toml").write_text(f'catalog = "{catalog}"\n')
    inside = made_by_nobody(catalog / "predictions", 0o555)
    (check,) = [one for one in as_nobody(root) if one["level"] == "problem"]
    assert check["name"] == "catalog, owners"
    assert check["command"] == f"chmod -R u+w {catalog}"
    subprocess.run(["bash", "-c", check["command"]], check=True)
    assert {one["level"] for one in as_nobody(root)} == {"ok"}
    if os.geteuid() == 0:
        os.chown(inside, 0, 0)
        (check,) = [one for one in as_nobody(root) if one["level"] == "problem"]
        assert check["command"] == f'sudo chown -R "$(id -un)" {catalog}'
