"""Dagster's records through connections that stay open: the same records, read by Dagster's own."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from segpipe.errors import StorageError
from segpipe.pipeline.instance import open_instance
from segpipe.pipeline.records import KeptStorage, _Events
from segpipe.pipeline.runs import run_partition
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter


def recorded(home: Path) -> dict[str, Any]:
    """Tables, migrations and numbers of rows of each file; those of runs together.

    ``kvs`` holds what telemetry and daemons note, and is not of the runs.
    """
    found: dict[str, Any] = {}
    for path in sorted(home.rglob("*.db")):
        name = path.name if path.stem in ("index", "runs", "schedules") else "a run"
        with closing(sqlite3.connect(path)) as connection:
            tables = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY 1").fetchall()
            rows = {
                table: connection.execute(f"SELECT count(*) FROM '{table}'").fetchone()[0]
                for table, sql in tables
                if sql and sql.startswith("CREATE TABLE") and table != "kvs"
            }
            version = connection.execute("SELECT * FROM alembic_version").fetchall()
            mode = connection.execute("PRAGMA journal_mode").fetchone()
            events: Counter[tuple[str, ...]] = Counter()
            if "event_logs" in rows:
                events.update(
                    connection.execute(
                        "SELECT dagster_event_type, step_key, asset_key, partition FROM event_logs"
                    )
                )
        found.setdefault(name, []).append((tables, rows, version, mode, events))
    return found


@contextmanager
def opened(root: Root, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with open_instance(root.settings.root) as instance:
        yield instance


@pytest.mark.slow
def test_records_are_those_that_dagster_writes_itself_and_reads_at_any_time(
    landing: LandingWriter, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.manifest([landing.row("a"), {**landing.row("b"), "width": 9}])
    with opened(root, tmp_path / "kept", monkeypatch) as instance:
        assert instance.get_ref().storage_data.class_name == KeptStorage.__name__
        last = run_partition(root, PARTITION, instance=instance).run_id
        # Before it is closed, as Dagster's UI does.
        with dg.DagsterInstance.from_config(str(tmp_path / "kept")) as beside:
            assert type(beside.event_log_storage) is SqliteEventLogStorage
            run = beside.get_run_by_id(last)
            assert run is not None
            assert run.status is dg.DagsterRunStatus.SUCCESS
            assert len(beside.all_logs(last)) == len(instance.all_logs(last)) > 40
            made = beside.get_latest_materialization_event(dg.AssetKey("published_predictions"))
            assert made is not None
            assert made.run_id == last
    for name in ("validated", "catalog", "masks"):
        shutil.rmtree(landing.root / name)
    home = tmp_path / "plain"
    home.mkdir()
    shutil.copy(tmp_path / "kept" / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run_partition(root, PARTITION, instance=instance)
    kept = recorded(tmp_path / "kept")
    assert kept == recorded(home)


def test_files_are_opened_once_for_a_run_not_for_each_of_its_events(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance, monkeypatch: Any
) -> None:
    landing.manifest([landing.row("a")])
    run_partition(root, PARTITION, instance=instance)
    made: Counter[str] = Counter()
    connect = sqlite3.dbapi2.connect

    def counted(file: str, *rest: Any, **options: Any) -> sqlite3.Connection:
        made[Path(file).stem] += 1
        return connect(file, *rest, **options)

    monkeypatch.setattr(sqlite3.dbapi2, "connect", counted)
    again = run_partition(root, PARTITION, instance=instance)
    assert again.outcomes is not None
    assert again.outcomes["unchanged"] == 1
    assert made[again.run_id] == 1
    assert sum(made.values()) < 20, made


def test_what_is_made_is_opened_without_dagsters_migrations(
    landing: LandingWriter, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.manifest([landing.row("a")])
    with opened(root, tmp_path / "home", monkeypatch) as instance:
        run_partition(root, PARTITION, instance=instance)
    monkeypatch.setattr("alembic.script.ScriptDirectory.from_config", None)
    with opened(root, tmp_path / "home", monkeypatch) as instance:
        run_partition(root, PARTITION, instance=instance)


def test_an_event_is_one_transaction_of_what_is_asked_across_runs(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance, monkeypatch: Any
) -> None:
    landing.manifest([landing.row("a")])
    begun: list[str] = []
    transaction = _Events._transaction

    def counted(self: _Events, shard: str) -> Any:
        begun.append(shard)
        return transaction(self, shard)

    monkeypatch.setattr(_Events, "_transaction", counted)
    stored: list[int] = []
    store = _Events.store_event

    def asked(self: _Events, event: dg.EventLogEntry) -> None:
        before = begun.count("index")
        store(self, event)
        stored.append(begun.count("index") - before)

    monkeypatch.setattr(_Events, "store_event", asked)
    run_partition(root, PARTITION, instance=instance)
    assert {*stored} == {0, 1}


def test_that_a_run_ended_survives_a_cut_of_the_power(
    landing: LandingWriter, root: Root, instance: dg.DagsterInstance, monkeypatch: Any
) -> None:
    landing.manifest([landing.row("a")])
    levels: dict[str, set[int]] = {}
    store = SqliteEventLogStorage.store_event

    def asked(self: Any, event: dg.EventLogEntry) -> None:
        with self.run_connection(event.run_id) as connection:
            (level,) = connection.exec_driver_sql("PRAGMA synchronous").one()
        levels.setdefault(str(event.dagster_event_type), set()).add(level)
        store(self, event)

    monkeypatch.setattr(SqliteEventLogStorage, "store_event", asked)
    run_partition(root, PARTITION, instance=instance)
    full, normal = 2, 1
    assert levels.pop("DagsterEventType.RUN_SUCCESS") == {full}
    assert levels.pop("DagsterEventType.RUN_START") == {full}
    assert levels["DagsterEventType.STEP_SUCCESS"] == {normal}


def test_records_that_were_moved_away_are_missed_not_written_to_where_nobody_looks(
    landing: LandingWriter, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.manifest([landing.row("a")])
    with opened(root, tmp_path / "home", monkeypatch) as instance:
        (tmp_path / "home" / "history").rename(tmp_path / "aside")
        with pytest.raises(StorageError, match=r"no permission to write|damaged"):
            run_partition(root, PARTITION, instance=instance)
