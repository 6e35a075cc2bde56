"""Data files of the table that are missing or damaged, and what brings back what they held.

A cut of the power cannot do that to a confirmed version; a disk, a person or another tool can. Who
reads is told the file, whose predictions it held, and the commands that publish them again. Such a
run takes the files out of the table, in a commit of its own, and publishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable

from segpipe.errors import CatalogError
from segpipe.publishing.log_entries import TornError, check_parquet
from segpipe.storage.failures import storage_errors
from segpipe.storage.files import Folder

#: A run with this option decodes the files that hold its partition before it publishes.
CLOSELY = ("--verify", "all")


@dataclass(frozen=True)
class DamagedFile:
    """A data file that cannot be read.

    Attributes:
        path: below the table's folder.
        words: how it is damaged, to follow its name.
        size: in bytes, as logged.
        dataset, model_run: of all its predictions.
        days: the first and the last partition of its predictions; None where the log does not say.
        rows: how many predictions it holds; None likewise.
    """

    path: str
    words: str
    size: int
    dataset: str
    model_run: str
    days: tuple[str, str] | None
    rows: int | None

    @property
    def is_missing(self) -> bool:
        """Whether it is not there at all, as where another run has replaced it meanwhile."""
        return self.words == "is missing"

    def may_hold(self, date: str) -> bool:
        """Whether it may hold predictions of a day's partition."""
        return self.days is None or self.days[0] <= date <= self.days[1]

    def __str__(self) -> str:
        return f"{self.path} {self.words} ({self.content})"

    @property
    def content(self) -> str:
        """``2 predictions of model run 'unet', partition 2026-01-05``."""
        rows = "predictions" if self.rows is None else f"{self.rows} predictions"
        days = ""
        if self.days is not None:
            first, last = self.days
            days = f", partition {first}" if first == last else f", partitions {first} to {last}"
        return f"{rows} of model run {self.model_run!r}{days}"


_Look = Callable[[Folder, DamagedFile], DamagedFile | None]


class DamagedFilesError(CatalogError):
    """Data files of the table are missing or damaged.

    Attributes:
        files: them.
    """

    def __init__(self, words: str, files: Sequence[DamagedFile]) -> None:
        super().__init__(words)
        self.files = tuple(files)


def find_damaged(
    folder: Folder, table: DeltaTable, model_run: tuple[str, str] | None = None
) -> list[DamagedFile]:
    """The damaged files among those that a version refers to.

    Files are missing or have another size; only where there are none of those, all are decoded.

    Args:
        folder: the table's.
        model_run: dataset and model run, to look at their files alone.

    Raises:
        StorageError: if the storage does not answer.
    """
    files = [
        file
        for file in _referred(table)
        if model_run is None or (file.dataset, file.model_run) == model_run
    ]
    return _found(_look_at_size, folder, files) or _found(_look_closely, folder, files)


def find_among(folder: Folder, table: DeltaTable, paths: Sequence[str]) -> list[DamagedFile]:
    """The damaged ones of some of the files that a version refers to, by their paths."""
    wanted = set(paths)
    files = [file for file in _referred(table) if file.path in wanted]
    return _found(lambda *file: _look_at_size(*file) or _look_closely(*file), folder, files)


def find_lost(folder: Folder, table: DeltaTable) -> list[DamagedFile]:
    """The files that a version refers to and that are missing, or have another size."""
    return _found(_look_at_size, folder, list(_referred(table)))


def owners(
    files: Sequence[DamagedFile], commits: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Model run and day of the partitions that the files may hold predictions of.

    The one that was published last comes first: what another partition's run publishes again must
    not stand where it has replaced it.

    Args:
        commits: of the log, newest first.
    """
    noted = [
        (commit.get("segpipe.dataset"), commit["segpipe.model_run"], commit["segpipe.partition"])
        for commit in commits
        if commit.get("segpipe.partition") and not commit.get("segpipe.operation")
    ]
    found: dict[tuple[str, str], None] = {}
    for dataset, model_run, date in noted:
        for file in files:
            if (file.dataset, file.model_run) == (dataset, model_run) and file.may_hold(date):
                found[model_run, date] = None
    for file in files:  # the log may have forgotten who published them
        for date in file.days or ():
            found.setdefault((file.model_run, date))
    return list(found)


def _referred(table: DeltaTable) -> Iterator[DamagedFile]:
    """The files of a version, none of them said to be damaged yet."""
    for added in pa.table(table.get_add_actions()).to_pylist():
        first, last = ((added.get(end) or {}).get("partition") for end in ("min", "max"))
        yield DamagedFile(
            unquote(added["path"]),
            "",
            int(added["size_bytes"]),
            str(added["partition"]["dataset"]),
            str(added["partition"]["model_run"]),
            None if first is None or last is None else (first, last),
            added.get("num_records"),
        )


def _found(look: _Look, folder: Folder, files: Sequence[DamagedFile]) -> list[DamagedFile]:
    with storage_errors(f"reading {folder.shown}"):
        found = folder.each(lambda file: look(folder, file), files)
    return [file for file in found if file is not None]


def _look_at_size(folder: Folder, file: DamagedFile) -> DamagedFile | None:
    stored = folder.stored(file.path)
    if stored is None:
        return _damaged(file, "is missing")
    if stored.size != file.size:
        return _damaged(file, f"has {stored.size} bytes of {file.size}")
    return None


def _look_closely(folder: Folder, file: DamagedFile) -> DamagedFile | None:
    # Over a network, a failed request must not be taken for what the file holds: first it is read.
    opened = folder.open_input(file.path) if folder.is_local else BytesIO(folder.read(file.path))
    try:
        with opened as handle:
            check_parquet(handle)
    except TornError as error:
        return _damaged(file, str(error))
    return None


def _damaged(file: DamagedFile, words: str) -> DamagedFile:
    return replace(file, words=words)
