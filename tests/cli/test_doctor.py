"""``segpipe doctor`` as a user runs it: what it prints, how it ends, and that its advice helps."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

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
    assert check_of(named, "root")["found"] == f"{published}, which SEGPIPE_ROOT names"


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
    assert "\x1b[" in segpipe("doctor", FORCE_COLOR="1").stdout
    assert "\x1b[" not in segpipe("doctor", FORCE_COLOR="1", NO_COLOR="1", TERM="dumb").stdout


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
    python = shlex.quote(sys.executable)
    doctor = f"{python} -m segpipe doctor --format json"
    script = f"ulimit -S -n 256; {doctor}"
    before = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    check = check_of(before, "open files")
    assert check["level"] == "warning"
    script = f"ulimit -S -n 256; {check['command']}; {doctor}"
    after = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert check_of(after, "open files")["level"] == "ok"


# --- packages ------------------------------------------------------------------------------------


def in_front(folder: Path) -> dict[str, str]:
    """The environment in which a folder's packages are found before all others."""
    return {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def metadata_of(folder: Path, name: str, version: str) -> None:
    """Make a package look as if it were installed in another version."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (place / "METADATA").write_text(text)


def test_a_version_out_of_bounds_is_told_with_what_installs_the_right_one(tmp_path: Path) -> None:
    metadata_of(tmp_path, "duckdb", "0.1")
    metadata_of(tmp_path, "pyarrow", "3.0")
    done = as_json(**in_front(tmp_path))
    query, base = check_of(done, "query"), check_of(done, "base")
    assert (query["level"], base["level"]) == ("warning", "warning")
    assert "duckdb is 0.1, expected <3,>=2" in query["found"]
    assert "pyarrow is 3.0" in base["found"]
    assert query["command"] == "pip install 'segpipe[query]'"


def test_packages_that_do_not_fit_each_other_are_told(tmp_path: Path) -> None:
    place = tmp_path / "s3fs-2026.1.0.dist-info"
    place.mkdir()
    text = "Metadata-Version: 2.1\nName: s3fs\nVersion: 2026.1.0\nRequires-Dist: fsspec==1.0\n"
    (place / "METADATA").write_text(text)
    check = check_of(as_json(**in_front(tmp_path)), "versions")
    assert check["level"] == "warning"
    assert "s3fs 2026.1.0: fsspec is" in check["found"]


def test_a_package_that_cannot_be_loaded_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "deltalake.py").write_text("raise ImportError('no libssl.so.3', name='deltalake')")
    done = as_json(**in_front(tmp_path))
    assert done.returncode == 1
    check = check_of(done, "library")
    assert "no libssl.so.3" in check["found"]
    assert check["command"] == "pip install --force-reinstall deltalake"
    (tmp_path / "deltalake.py").unlink()
    assert as_json(**in_front(tmp_path)).returncode == 0


def test_a_fast_path_that_cannot_be_loaded_is_told_with_its_reason(tmp_path: Path) -> None:
    assert "same results" in check_of(as_json(), "fast path")["found"]
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.3 or less')")
    check = check_of(as_json(**in_front(tmp_path)), "fast path")
    assert check["level"] == "warning"
    assert "Numba needs NumPy 2.3 or less" in check["found"]


def test_every_extra_for_users_is_explained() -> None:
    import tomllib

    from segpipe.examination.packages import EXTRAS

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    of_developers = {"all", "browser", "dev", "docs"}
    assert set(project["optional-dependencies"]) - of_developers <= set(EXTRAS)


# --- other users ---------------------------------------------------------------------------------


def test_a_root_of_another_user_can_be_read_and_is_told() -> None:
    if not hasattr(os, "geteuid"):
        pytest.skip("no users on this system")
    nobody = 65_534 if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        Path(folder).chmod(0o755)
        root.chmod(0o755 if nobody else 0o555)
        done = subprocess.run(
            [sys.executable, "-m", "segpipe", "doctor", "--root", str(root), "--format", "json"],
            capture_output=True,
            text=True,
            check=False,
            user=nobody,
            cwd=folder,
            env={**os.environ, "HOME": folder, "DAGSTER_HOME": tempfile.gettempdir()},
        )
    assert done.stderr == ""
    (check,) = [one for one in told(done)["Storage"] if one["name"] == "root"]
    assert check["level"] == "note"
    assert "it belongs to user" in check["found"]
