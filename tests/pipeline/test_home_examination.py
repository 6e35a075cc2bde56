"""Dagster's home as ``segpipe doctor`` finds it; what it advises is followed."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from segpipe.examination.check import Check, Level
from segpipe.pipeline.home_examination import home as examined_home
from segpipe.pipeline.instance import open_instance
from tests.fixtures.examined import files_below, follow, the

# The form of the records before the last one.
_EARLIER = "f495c27d5019"


@pytest.fixture
def home(new_dagster_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home that was used."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    shutil.copytree(new_dagster_home, tmp_path / "home")
    return tmp_path / "home"


def examined(root: Path | str) -> list[Check]:
    return list(examined_home(str(root)))


def levels(checks: list[Check]) -> set[Level]:
    return {one.level for one in checks}


def test_a_home_of_this_version_is_as_it_should_be_and_is_left_as_it_was(home: Path) -> None:
    before = files_below(home)
    checks = examined(home.parent)
    assert levels(checks) == {Level.OK}
    assert "DAGSTER_HOME names it" in the(checks, "home").found
    assert files_below(home) == before


def test_it_is_said_where_the_home_is_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    found = the(examined(tmp_path / "root"), "home").found
    assert found.startswith(f"{tmp_path / 'root' / 'dagster_home'} (nothing else is named")
    (tmp_path / "dagster_home").mkdir()
    (tmp_path / "dagster_home" / "dagster.yaml").write_text("")
    found = the(examined(tmp_path / "root"), "home").found
    assert found.startswith(f"{tmp_path / 'dagster_home'} (the working folder has")


def test_a_root_in_a_bucket_needs_a_home_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    check = the(examined("s3://bucket/root"), "home")
    assert check.level is Level.PROBLEM
    assert check.command.startswith("export DAGSTER_HOME=")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "named"))
    assert levels(examined("s3://bucket/root")) == {Level.OK}


@pytest.mark.parametrize(
    ("content", "level", "words"),
    [
        (b": : [", Level.PROBLEM, "not valid YAML"),
        (b"\xff\x00\x01\x80", Level.PROBLEM, "not valid YAML"),
        (b"hello", Level.PROBLEM, "holds no settings"),
        (b"telemetry:\n  enabled: false\n", Level.NOTE, "has no run_launcher, run_queue"),
    ],
)
def test_settings_that_miss_something_are_moved_away_and_written_anew(
    home: Path, content: bytes, level: Level, words: str
) -> None:
    (home / "dagster.yaml").write_bytes(content)
    check = the(examined(home.parent), "dagster.yaml")
    assert check.level is level
    assert words in check.found
    follow(check)
    with open_instance(str(home.parent)):
        pass
    assert levels(examined(home.parent)) == {Level.OK}


@pytest.mark.slow
def test_records_of_an_earlier_dagster_are_brought_up_to_date(home: Path) -> None:
    with sqlite3.connect(home / "schedules" / "schedules.db") as records:
        records.execute("UPDATE alembic_version SET version_num = ?", [_EARLIER])
    records.close()
    check = the(examined(home.parent), "records")
    assert check.level is Level.WARNING
    assert "an earlier Dagster made schedules/schedules.db" in check.found
    follow(check)
    assert levels(examined(home.parent)) == {Level.OK}


def test_damaged_records_are_moved_away_by_the_advised_command(home: Path) -> None:
    (home / "history" / "runs.db").write_bytes(b"nothing like SQLite" * 900)
    check = the(examined(home.parent), "records")
    assert check.level is Level.PROBLEM
    follow(check)
    assert levels(examined(home.parent)) == {Level.OK}
    assert "is made by the first run" in the(examined(home.parent), "home").found


def test_a_file_in_place_of_the_home_is_moved_away_by_the_advised_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "home").write_text("")
    check = the(examined(tmp_path), "home")
    assert check.level is Level.PROBLEM
    follow(check)
    assert levels(examined(tmp_path)) == {Level.OK}
