"""Which versions of the table are certain: a small file in the table's log says it.

A version is *confirmed* once its data files and its log entry are synced
(:mod:`segpipe.storage.durability`), and receipts are written only then. The file is kept inside the
log's folder, so that it is copied, moved and removed with it; the Delta library leaves files of
other names there alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segpipe.publishing.log_entries import TornError, entry_name, read_entry
from segpipe.storage.atomic import replacing_file
from segpipe.storage.failures import storage_errors
from segpipe.storage.file_lock import file_lock

MARKER = "_segpipe_confirmed.json"
_LOCK = "_segpipe.lock"
# Whose the newest versions were, in case an entry of theirs is damaged later.
_REMEMBERED = 50
_KEPT = ("operation", "segpipe.operation", "segpipe.model_run", "segpipe.partition")


class ConfirmedVersions:
    """The confirmed versions of a table in a local folder.

    Args:
        log: path of the log's folder.
    """

    def __init__(self, log: str) -> None:
        self._log = log
        self._path = f"{log}/{MARKER}"

    def newest(self) -> int | None:
        """The newest confirmed version; None if the table was never confirmed."""
        version = self._read().get("version")
        return version if isinstance(version, int) else None

    def newest_is_there(self) -> bool:
        """Whether the newest confirmed version's entry has the size that it had then."""
        noted = self._read()
        try:
            size = os.stat(f"{self._log}/{entry_name(noted['version'])}").st_size
        except (OSError, KeyError):
            return False
        return bool(size == noted.get("bytes"))

    def whose(self, version: int) -> Mapping[str, Any]:
        """What the commit of a confirmed version said of itself; empty where it is forgotten."""
        found = self._read().get("commits", {}).get(str(version))
        return found if isinstance(found, dict) else {}

    def confirm(self, version: int) -> None:
        """Note that a version and all before it are certain; an older one changes nothing.

        Raises:
            StorageError: if it cannot be noted.
        """
        newest = self.newest()
        if newest is not None and newest >= version:
            return
        with self.lock():
            self.note(version)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time notes versions, or sets some aside.

        Raises:
            StorageError: if the lock cannot be taken.
        """
        with storage_errors(f"locking {self._log}"), file_lock(f"{self._log}/{_LOCK}"):
            yield

    def note(self, version: int) -> None:
        """:meth:`confirm` for who holds the lock.

        Raises:
            StorageError: if it cannot be noted.
        """
        before = self._read()
        newest = before.get("version", -1)
        if newest >= version:
            return
        commits = dict(before.get("commits", {}))
        for one in range(max(newest + 1, version - _REMEMBERED + 1), version + 1):
            try:
                info = read_entry(self._log, one).info
            except TornError:
                continue  # its entry was tidied away behind a checkpoint
            commits[str(one)] = {key: info[key] for key in _KEPT if key in info}
        self._write(version, commits)

    def take_back(self, version: int) -> None:
        """Note an older version as the newest, for who holds the lock and set the others aside.

        Raises:
            StorageError: if it cannot be noted.
        """
        if version < 0:
            Path(self._path).unlink(missing_ok=True)
            return
        commits = self._read().get("commits", {})
        self._write(version, {key: of for key, of in commits.items() if int(key) <= version})

    def _read(self) -> dict[str, Any]:
        try:
            with Path(self._path).open("rb") as handle:
                found = json.load(handle)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, version: int, commits: Mapping[str, Any]) -> None:
        kept = sorted(commits.items(), key=lambda item: int(item[0]))[-_REMEMBERED:]
        with (
            storage_errors(f"writing {self._path}"),
            replacing_file(Path(self._path)) as output,
        ):
            try:
                size = os.stat(f"{self._log}/{entry_name(version)}").st_size
            except FileNotFoundError:  # tidied away behind a checkpoint
                size = None
            noted = {"version": version, "bytes": size, "commits": dict(kept)}
            output.write(json.dumps(noted).encode())
