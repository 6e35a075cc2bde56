"""The SQLite file of what the endpoint knows besides masks.

Every change is a transaction; whatever is killed, the next process finds the state of the last one
that was answered.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segpipe.errors import StorageError
from segpipe.nucleus_server.requests import deleted_meanwhile
from segpipe.storage.failures import os_words

_SCHEMA = """
CREATE TABLE IF NOT EXISTS datasets (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, name TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS items (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, dataset TEXT, reference_id TEXT, body TEXT,
    UNIQUE (dataset, reference_id));
CREATE TABLE IF NOT EXISTS models (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, reference_id TEXT UNIQUE, body TEXT);
CREATE TABLE IF NOT EXISTS annotations (
    place INTEGER PRIMARY KEY AUTOINCREMENT, dataset TEXT, owner TEXT, reference_id TEXT,
    kind TEXT, identity TEXT, body TEXT, findings TEXT, fingerprint TEXT,
    UNIQUE (dataset, owner, reference_id, kind, identity));
CREATE TABLE IF NOT EXISTS catalog_names (kind TEXT, id TEXT, name TEXT,
    PRIMARY KEY (kind, id), UNIQUE (kind, name));
CREATE TABLE IF NOT EXISTS jobs (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, dataset TEXT, kind TEXT, status TEXT,
    message TEXT, errors TEXT, created TEXT, asked TEXT);
CREATE TABLE IF NOT EXISTS lists (of TEXT, name TEXT, body TEXT, PRIMARY KEY (of, name));
CREATE TABLE IF NOT EXISTS journal (
    place INTEGER PRIMARY KEY AUTOINCREMENT, dataset TEXT, owner TEXT, changes INTEGER, run TEXT,
    fit BLOB, unfit TEXT);
CREATE TABLE IF NOT EXISTS uploads (request_id TEXT, dataset TEXT, token TEXT UNIQUE, body BLOB,
    PRIMARY KEY (dataset, request_id));
"""


def new_id(prefix: str) -> str:
    """An id as the service's: ``ds_`` and twenty characters."""
    return f"{prefix}_{uuid.uuid4().hex[:20]}"


_DISK_ERRORS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class Database:
    """The file, opened.

    Raises:
        StorageError: if it cannot be opened or made; later, where its disk is full or fails.
    """

    def __init__(self, path: Path) -> None:
        self._lock, self._path = threading.RLock(), path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.executescript(_SCHEMA)
            self._add_what_older_files_lack()
        except (OSError, sqlite3.Error) as error:
            words = os_words(error) if isinstance(error, OSError) else error
            raise StorageError(f"{path} cannot be used: {words}") from None

    def _add_what_older_files_lack(self) -> None:
        columns = [row["name"] for row in self.rows("PRAGMA table_info(annotations)")]
        if "fingerprint" not in columns:
            self.rows("ALTER TABLE annotations ADD COLUMN fingerprint TEXT")

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes within, or none."""
        with self._lock:
            self.rows("BEGIN IMMEDIATE")
            try:
                yield
                self.rows("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has undone it already
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def transaction_of(self, dataset: str) -> Iterator[None]:
        """A transaction on what belongs to a dataset.

        Raises:
            RequestRefused: 404 if there is no such dataset any more.
        """
        with self.transaction():
            if not self.rows("SELECT 1 FROM datasets WHERE id = ?", dataset):
                raise deleted_meanwhile()
            yield

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _DISK_ERRORS:
                    raise
                raise StorageError(f"{self._path} cannot be written or read: {error}") from None
