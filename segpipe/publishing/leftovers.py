"""Temporary files of runs that were killed while they wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from posixpath import basename

from segpipe.storage.files import Folder, StoredFile

#: Age from which on no run that is still alive can be writing a temporary file.
LEFT_AFTER = timedelta(days=1)
# Of storage/atomic.py; of the Delta library's files and log entries, and of its older versions.
_TEMPORARY = re.compile(
    r"\.[0-9a-f]{32}\.tmp|.+\.(parquet|json)#\d+|_commit_[0-9a-f-]{36}\.json\.tmp"
)


def leftovers(folders: Iterable[Folder]) -> Iterator[StoredFile]:
    """Temporary files below these folders that are older than a day; each is named once.

    Local folders only: in an object store nothing has a temporary name.

    Raises:
        StorageError: if a folder cannot be listed.
    """
    before = datetime.now(UTC) - LEFT_AFTER
    seen: set[str] = set()
    for folder in folders:
        if not folder.is_local:
            continue
        for file in folder.files():
            if not _TEMPORARY.fullmatch(basename(file.path)) or file.modified >= before:
                continue
            if file.path not in seen:
                seen.add(file.path)
                yield file
