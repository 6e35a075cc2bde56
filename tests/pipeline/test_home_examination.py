"""Dagster's home as ``segpipe doctor`` finds it; what it advises is followed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from segpipe.errors import SettingsError
from segpipe.examination.check import Check, Level
from segpipe.pipeline import home_examination
from segpipe.pipeline.home import dagster_home
from segpipe.pipeline.home_examination import home as examined_home
from segpipe.pipeline.instance import open_instance, register_landed
from segpipe.pipeline.partitions import MODEL_RUNS
from segpipe.root import Root
from tests.fixtures.examined import files_below, follow, the
from tests.fixtures.landing import LandingWriter

# The form of the records before the last one, and one that no Dagster has yet.
_EARLIER, _LATER = "f495c27d5019", "0123456789ab"
_NOBODY = 65_534


@pytest.fixture
def home(new_dagster_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home that was used."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    shutil.copytree(new_dagster_home, tmp_path / "home")
    return tmp_path / "home"


def examined(root: Path | str) -> list[Check]:
    return list(examined_home(str(root)))


@contextmanager
def as_nobody() -> Iterator[None]:
    """As a user who may not read everything; who runs the tests may be one already."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def form_of_schedules(home: Path, form: str) -> None:
    """Let the records of schedules be of a form of Dagster's."""
    with closing(sqlite3.connect(home / "schedules" / "schedules.db")) as records, records:
        records.execute("UPDATE alembic_version SET version_num = ?", [form])


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
        (
            b"telemetry:\n  enabled: false\n",
            Level.NOTE,
            "has no run_launcher, scheduler, run_queue",
        ),
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


@pytest.mark.parametrize(
    "line",
    [
        "password: @hunter2",
        "password: abc: hunter2",
        "password: *hunter2",
        "password: !hunter2",
        "password: !!int hunter2",
        "password: 'hunter2",
    ],
)
def test_what_is_said_of_settings_says_where_and_quotes_no_password(home: Path, line: str) -> None:
    (home / "dagster.yaml").write_text(f"storage:\n  {line}\n")
    found = the(examined(home.parent), "dagster.yaml").found
    with pytest.raises(SettingsError) as error:
        dagster_home(str(home.parent))
    for said in (found, str(error.value)):
        assert "not valid YAML" in said
        assert "hunter2" not in said
        assert "line 2, column" in said or "!!int" in line or line.endswith("'hunter2")


def test_a_value_that_dagster_does_not_take_is_not_quoted(home: Path) -> None:
    of_database = "{hostname: h, username: u, db_name: d, password: 7654321}"
    (home / "dagster.yaml").write_text(f"storage: {{postgres: {{postgres_db: {of_database}}}}}")
    with pytest.raises(SettingsError, match="postgres_db:password") as error:
        open_instance(str(home.parent))
    assert "7654321" not in str(error.value)


def test_settings_of_ones_own_are_kept_and_what_they_lack_is_added_by_the_advised_command(
    home: Path,
) -> None:
    own = "telemetry: {enabled: false}\nretention: {schedule: {purge_after_days: 90}}"
    (home / "dagster.yaml").write_text(own)
    check = the(examined(home.parent), "dagster.yaml")
    assert check.level is Level.NOTE
    follow(check)
    assert (home / "dagster.yaml").read_text().startswith(own)
    assert levels(examined(home.parent)) == {Level.OK}
    with open_instance(str(home.parent)) as instance:
        assert type(instance.scheduler).__name__ == "PromptScheduler"


def test_nothing_is_advised_that_dagster_refuses_beside_what_is_there(home: Path) -> None:
    (home / "dagster.yaml").write_text(
        "run_coordinator: {module: dagster.core.run_coordinator, class: QueuedRunCoordinator}\n"
    )
    follow(the(examined(home.parent), "dagster.yaml"))
    with open_instance(str(home.parent)):
        pass
    assert levels(examined(home.parent)) == {Level.OK}


def test_records_of_a_later_dagster_are_told_from_those_of_an_earlier_one(home: Path) -> None:
    form_of_schedules(home, _LATER)
    check = the(examined(home.parent), "records")
    assert check.level is Level.WARNING
    assert "a newer Dagster made schedules/schedules.db" in check.found
    follow(check)
    assert levels(examined(home.parent)) == {Level.OK}


def test_records_are_whole_where_dagster_does_not_say_which_form_is_the_newest(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("dagster._core.storage.sql.ALEMBIC_SCRIPTS_LOCATION")
    check = the(examined(home.parent), "records")
    assert (check.level, check.found) == (Level.OK, "whole")


def test_records_that_a_first_run_is_making_are_not_damaged(home: Path) -> None:
    (home / "history" / "runs.db").write_bytes(b"")
    found = [one for one in examined(home.parent) if one.name == "records"]
    assert [one.level for one in found] == [Level.NOTE, Level.OK]
    assert "has no tables yet" in found[0].found
    with open_instance(str(home.parent)):
        pass
    assert levels(examined(home.parent)) == {Level.OK}


def test_records_in_use_are_not_damaged(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_examination, "_LOCK_SECONDS", 0.1)
    with closing(sqlite3.connect(home / "history" / "runs.db")) as user:
        user.execute("PRAGMA locking_mode = EXCLUSIVE")
        user.execute("UPDATE alembic_version SET version_num = version_num")
        check = the(examined(home.parent), "records")
        user.rollback()
    assert check.level is Level.WARNING
    assert "database is locked" in check.found
    assert check.command.startswith("segpipe doctor")
    assert levels(examined(home.parent)) == {Level.OK}


def test_records_that_may_not_be_read_are_not_damaged(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        theirs = Path(folder) / "home"
        Path(folder).chmod(0o755)
        shutil.copytree(home, theirs)
        (theirs / "history" / "runs.db-wal").write_bytes(b"")
        for path in (theirs, *theirs.rglob("*")):
            if os.geteuid() == 0:
                os.chown(path, _NOBODY, _NOBODY)
            path.chmod(0o555 if path.is_dir() else 0o444)
        monkeypatch.setenv("DAGSTER_HOME", str(theirs))
        with as_nobody():
            check = the(examined(folder), "records")
        assert check.level is Level.PROBLEM
        assert "no permission to read and write" in check.found
        assert f" {theirs}" in check.command
        follow(check)
        with as_nobody():
            assert levels(examined(folder)) == {Level.OK}


def test_a_home_below_a_folder_of_somebody_elses_is_a_problem_and_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "theirs" / "home"))
    if os.geteuid() != 0:
        (tmp_path / "theirs").chmod(0)
    with as_nobody():
        (check,) = [one for one in examined("/") if one.name == "home"]
    (tmp_path / "theirs").chmod(0o700)
    assert check.level is Level.PROBLEM
    assert "no permission" in check.found
    assert check.command.startswith("export DAGSTER_HOME=")


@pytest.mark.slow
def test_records_of_an_earlier_dagster_are_brought_up_to_date(home: Path) -> None:
    form_of_schedules(home, _EARLIER)
    check = the(examined(home.parent), "records")
    assert check.level is Level.WARNING
    assert "an earlier Dagster made schedules/schedules.db" in check.found
    follow(check)
    assert levels(examined(home.parent)) == {Level.OK}


def test_damaged_records_are_moved_away_by_the_advised_command(home: Path) -> None:
    landing = LandingWriter(home.parent)
    landing.manifest([landing.row("a")])
    root = Root.open(home.parent)
    with open_instance(str(home.parent)) as instance:
        register_landed(instance, root)
    (home / "history" / "runs.db").write_bytes(b"nothing like SQLite" * 900)
    check = the(examined(home.parent), "records")
    assert check.level is Level.PROBLEM
    assert "the model runs that Dagster knows (`segpipe register` names" in check.next_step
    follow(check)
    assert levels(examined(home.parent)) == {Level.OK}
    assert not (home / "history").exists()
    assert (home / "dagster.yaml").is_file()
    with open_instance(str(home.parent)) as instance:
        assert instance.get_dynamic_partitions(MODEL_RUNS) == []
        register_landed(instance, root)  # as `segpipe register` does
        assert instance.get_dynamic_partitions(MODEL_RUNS) == ["unet"]
    assert "whole" in the(examined(home.parent), "records").found


def test_a_file_in_place_of_the_home_is_moved_away_by_the_advised_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "home").write_text("")
    check = the(examined(tmp_path), "home")
    assert check.level is Level.PROBLEM
    follow(check)
    assert levels(examined(tmp_path)) == {Level.OK}
