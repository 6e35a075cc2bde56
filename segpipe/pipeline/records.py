"""Dagster's records of runs in SQLite, written through connections that stay open.

Dagster opens its files anew for each of the two hundred writes of a run, and SQLite tidies a file
up whenever the last connection to it closes: half of the seconds of a small run. The files and what
is in them are the same, so that Dagster's UI and daemon read them at any time.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dagster import __version__
from dagster._core.events import EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import QueuePool

_DEFAULT = ("dagster._core.storage.sqlite_storage", "DagsterSqliteStorage")
_SCHEME = "sqlite:///"
_SYNCHRONOUS = "segpipe.synchronous"  # key of what a connection was told last


def with_kept_connections(instance: InstanceRef) -> InstanceRef:
    """The instance, writing its records through :class:`KeptStorage` if they are in SQLite.

    One whose settings name another storage, such as PostgreSQL, is as it was.
    """
    storage = instance.storage_data
    if storage is None or (storage.module_name, storage.class_name) != _DEFAULT:
        return instance
    kept = ConfigurableClassData(__name__, KeptStorage.__name__, storage.config_yaml)
    return instance._replace(storage_data=kept)


class KeptStorage(DagsterSqliteStorage):
    """Dagster's storage in SQLite, in the files where Dagster's own has them."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self.base_dir = base_dir
        history = Path(base_dir) / "history"
        self._run_storage = _Runs.from_local(f"{history}{os.sep}")
        self._event_log_storage = _Events(f"{history / 'runs'}{os.sep}")
        self._schedule_storage = _Schedules.from_local(str(Path(base_dir) / "schedules"))
        self._inst_data = inst_data
        # What Dagster's own does is the same with other classes, which it names.
        super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> KeptStorage:
        """As Dagster makes it of its settings."""
        return cls.from_local(inst_data=inst_data, **config_value)


@dataclass(frozen=True)
class _File:
    """A SQLite file and the engine that keeps a connection to it."""

    engine: Engine
    inode: int

    @classmethod
    def open(cls, path: str, address: str) -> _File:
        arguments = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
        # One stays open; who asks while it is in use gets another, which is closed after.
        engine = create_engine(
            address, poolclass=QueuePool, pool_size=1, max_overflow=-1, connect_args=arguments
        )
        return cls(engine, _inode(path))

    def is_at(self, path: str) -> bool:
        """Whether it is still the file of its name: one that was removed takes writes silently."""
        return _inode(path) == self.inode

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def transaction(self, *, synced: bool) -> Iterator[Connection]:
        """A transaction, which survives a cut of the power if ``synced``, with all before it.

        Otherwise it survives the end of the process, and the file is sound in any case.
        """
        with self.engine.connect() as connection:
            mode = "FULL" if synced else "NORMAL"
            driver, known = connection.connection.driver_connection, connection.info
            if driver is not None and known.get(_SYNCHRONOUS) != mode:
                # Not by SQLAlchemy, which would begin a transaction with it.
                driver.execute(f"PRAGMA synchronous={mode}")
                known[_SYNCHRONOUS] = mode
            with connection.begin():
                yield connection


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return -1


def _is_made(path: str, table: str = "alembic_version") -> bool:
    """Whether a file has its tables, of whatever version of Dagster: it need not be looked at with
    Dagster's ninety migrations, which takes a tenth of a second.

    What cannot be read is Dagster's to say.

    Args:
        table: one that Dagster adds where it is missing.
    """
    if not os.path.exists(path):
        return False
    try:
        with closing(sqlite3.connect(path, SQLITE_BUSY_TIMEOUT_SECONDS)) as connection:
            made = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            named = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [table])
            return bool(made and named.fetchall())
    except sqlite3.Error:
        return False


class _Schedules(SqliteScheduleStorage):
    """Ticks of schedules and sensors."""

    @classmethod
    def from_local(
        cls, base_dir: str, inst_data: ConfigurableClassData | None = None
    ) -> SqliteScheduleStorage:
        address = create_db_conn_string(base_dir, "schedules")
        if _is_made(address.removeprefix(_SCHEME)):
            return cls(address, inst_data)
        return super().from_local(base_dir, inst_data)


class _Runs(SqliteRunStorage):
    """The table of runs."""

    _file: _File | None = None

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        address = create_db_conn_string(base_dir, "runs")
        if _is_made(address.removeprefix(_SCHEME), "instance_info"):
            return cls(address, inst_data)
        return super().from_local(base_dir, inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        path = self._conn_string.removeprefix(_SCHEME)
        if self._file is None or not self._file.is_at(path):
            with super().connect():  # makes the file, where there is none
                self.dispose()
                self._file = _File.open(path, self._conn_string)
        with self._file.transaction(synced=True) as connection:
            yield connection

    def dispose(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Events(SqliteEventLogStorage):
    """Events: a file for each run, and one for what is asked across runs."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._files: dict[str, _File] = {}
        self._tables: set[str] = set()
        self._storing = threading.local()
        super().__init__(base_dir, inst_data)

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event; that a run began or ended survives a cut of the power.

        What is asked across runs is one transaction for an event, where Dagster has up to three.
        """
        self._storing.status = event.dagster_event_type in EVENT_TYPE_TO_PIPELINE_RUN_STATUS
        try:
            with ExitStack() as index:
                self._storing.index = index
                super().store_event(event)
        finally:
            self._storing.status, self._storing.index, self._storing.connection = False, None, None

    def has_table(self, table_name: str) -> bool:
        """Whether there is a table, which is asked for every event; none is ever removed."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if shard not in self._initialized_dbs and not self._is_ready(shard):
            with super()._connect(shard):  # makes it, where there is none
                pass
        index = getattr(self._storing, "index", None) if shard == INDEX_SHARD_NAME else None
        if index is None:
            with self._transaction(shard) as connection:
                yield connection
            return
        if getattr(self._storing, "connection", None) is None:
            self._storing.connection = index.enter_context(self._transaction(shard))
        yield self._storing.connection

    @contextmanager
    def _transaction(self, shard: str) -> Iterator[Connection]:
        synced = getattr(self._storing, "status", False)
        with self._db_lock, self._opened(shard).transaction(synced=synced) as connection:
            yield connection

    def _opened(self, shard: str) -> _File:
        """A shard's file, which takes the place of those of earlier runs."""
        path = self.path_for_shard(shard)
        file = self._files.get(shard)
        if file is None or not file.is_at(path):
            for other in [one for one in self._files if one != INDEX_SHARD_NAME or one == shard]:
                self._files.pop(other).close()
            file = self._files[shard] = _File.open(path, self.conn_string_for_shard(shard))
        return file

    def _is_ready(self, shard: str) -> bool:
        if not _is_made(self.path_for_shard(shard)):
            return self._copied_blank(shard)
        self._initialized_dbs.add(shard)
        return True

    def _copied_blank(self, shard: str) -> bool:
        """Make a run's file as a copy of an empty one, which is kept beside the runs'.

        Dagster's own way reads its ninety migrations each time. It is taken where this one is not,
        and says what is wrong where it cannot either.
        """
        path, kept = self.path_for_shard(shard), Path(self._base_dir, f".empty-{__version__}")
        if shard == INDEX_SHARD_NAME or os.path.exists(path):
            return False
        try:
            if not kept.exists():
                made = f".segpipe-{os.getpid()}"
                with super()._connect(made):
                    pass
                os.replace(self.path_for_shard(made), kept)
            with tempfile.NamedTemporaryFile(dir=self._base_dir, prefix=".segpipe-") as copy:
                copy.write(kept.read_bytes())
                copy.flush()
                os.link(copy.name, path)
        except OSError:
            return False
        self._initialized_dbs.add(shard)
        return True

    def dispose(self) -> None:
        with self._db_lock:
            while self._files:
                self._files.popitem()[1].close()
        super().dispose()
