"""The entries of the table's log as they lie in a local folder, whole or torn, and their files.

The Delta library syncs nothing that it writes. A cut of the power may leave a log entry that is
empty, full of zeros or cut off anywhere, and data files that are missing, cut off or zeroed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.storage.durability import sync_files

#: The log's folder in the table's.
LOG = "_delta_log"
#: Key of a commit's metadata: how many application transactions it has. They are the entry's last
#: lines, so that one which was cut off between two lines is known as well.
TRANSACTIONS_KEY = "segpipe-transactions"
_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(?:\.\d+\.\d+)?\.parquet")
# Decoded at a time, to see whether a file can be read.
_ROWS_AT_ONCE = 4_096


class TornError(Exception):
    """Something is not what was written: its text says how, to follow the file's name."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file as a log entry names it.

    Attributes:
        path: below the table's folder.
        size: in bytes.
        partition: ``dataset`` and ``model_run`` of all its rows.
        days: the first and the last manifest day of its rows, ``YYYY-MM-DD``; None where the log
            does not say.
    """

    path: str
    size: int
    partition: Mapping[str, str]
    days: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One version's entry of the log.

    Attributes:
        info: who committed what, as the commit says; empty where it does not.
        added: the data files it adds.
        removed: paths of those it removes.
    """

    version: int
    info: Mapping[str, Any]
    added: tuple[DataFile, ...]
    removed: frozenset[str]


def entry_name(version: int) -> str:
    """Name of a version's file in the log's folder."""
    return f"{version:020d}.json"


def versions_in(log: str) -> list[int]:
    """The versions that have an entry in the log's folder, sorted."""
    return _numbers(log, _ENTRY)


def checkpoints_in(log: str) -> list[str]:
    """Names of the checkpoints in the log's folder, oldest first."""
    return sorted(name for name in names_in(log) if _CHECKPOINT.fullmatch(name))


def checkpoint_version(name: str) -> int:
    """The version that a checkpoint holds."""
    return int(name[:20])


def _numbers(log: str, pattern: re.Pattern[str]) -> list[int]:
    return sorted(int(found[1]) for found in map(pattern.fullmatch, names_in(log)) if found)


def names_in(log: str) -> list[str]:
    """Names of the files in the log's folder; none if it is not there."""
    try:
        return os.listdir(log)
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_entry(log: str, version: int) -> LogEntry:
    """A version's entry.

    Raises:
        TornError: if it is not whole, or not there.
    """
    try:
        data = Path(f"{log}/{entry_name(version)}").read_bytes()
    except FileNotFoundError:
        raise TornError("is missing") from None
    return _entry(version, data)


def sync_version(table: str, version: int) -> None:
    """Make what a version added survive a cut of the power: data files, log entry, folders.

    Args:
        table: path of the table's folder.

    Raises:
        OSError: if something cannot be written.
        TornError: if the entry is not whole.
    """
    log = f"{table}/{LOG}"
    added = [f"{table}/{file.path}" for file in read_entry(log, version).added]
    sync_files([*added, f"{log}/{entry_name(version)}"])


def is_entry(name: str) -> bool:
    """Whether a file of the log's folder is named as a version's entry."""
    return _ENTRY.fullmatch(name) is not None


def read_commit(data: bytes) -> Mapping[str, Any]:
    """What a whole entry says of who committed it.

    Raises:
        TornError: if it is not whole.
    """
    return _entry(0, data).info


def known_of(data: bytes) -> Mapping[str, Any]:
    """What a torn entry still says of who committed it; empty where it says nothing."""
    try:
        info = json.loads(data.partition(b"\n")[0])["commitInfo"]
    except (ValueError, KeyError, TypeError):
        return {}
    return info if isinstance(info, dict) else {}


def _entry(version: int, data: bytes) -> LogEntry:
    if not data.strip(b"\0\n\r \t"):
        raise TornError("holds nothing but zeros" if data else "is empty")
    actions: list[tuple[str, dict[str, Any]]] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            if line.strip():
                actions += json.loads(line).items()
        except (ValueError, AttributeError):
            raise TornError(f"breaks off in line {number}") from None
    names = [name for name, _ in actions]
    info: dict[str, Any] = next((action for name, action in actions if name == "commitInfo"), {})
    if info.get("operation") == "CREATE TABLE" and not {"protocol", "metaData"} <= set(names):
        raise TornError("breaks off before the table's schema")
    if any(names.count(name) < count for name, count in _said(info).items()):
        raise TornError("breaks off between two lines")
    return LogEntry(
        version,
        info,
        tuple(_data_file(action) for name, action in actions if name == "add"),
        frozenset(unquote(action["path"]) for name, action in actions if name == "remove"),
    )


def _said(info: Mapping[str, Any]) -> dict[str, int]:
    """Kind of line -> how many of them a whole entry has at least, where its commit says it."""
    if info.get("operation") == "OPTIMIZE":  # the one commit that takes no transactions
        figures = info.get("operationMetrics", {})
        return {
            "add": int(figures.get("numFilesAdded", 0)),
            "remove": int(figures.get("numFilesRemoved", 0)),
        }
    changed = info.get("operation") in ("ADD COLUMN", "SET TBLPROPERTIES")
    return {"txn": int(info.get(TRANSACTIONS_KEY, 0)), "metaData": int(changed)}


def _data_file(added: Mapping[str, Any]) -> DataFile:
    days = None
    try:
        stats = json.loads(added.get("stats") or "{}")
        days = stats["minValues"]["partition"], stats["maxValues"]["partition"]
    except (ValueError, KeyError, TypeError):
        pass  # a file that another tool wrote
    return DataFile(
        unquote(added["path"]), int(added["size"]), added.get("partitionValues") or {}, days
    )


def check_file(table: str, file: DataFile) -> None:
    """Look whether a data file is there, has its size and can be read through.

    Raises:
        TornError: otherwise.
        OSError: if the system does not give it out.
    """
    try:
        with Path(f"{table}/{file.path}").open("rb") as handle:
            found = os.fstat(handle.fileno()).st_size
            if found != file.size:
                raise TornError(f"has {found} bytes of {file.size}")
            check_parquet(handle)
    except FileNotFoundError:
        raise TornError("is missing") from None


def check_parquet(handle: IO[bytes]) -> None:
    """Decode a Parquet file, some rows at a time.

    Raises:
        TornError: if that is not possible.
        OSError, MemoryError: if it is for another reason than what the file holds.
    """
    for _ in decoded_batches(handle):
        pass


def decoded_batches(
    handle: IO[bytes], columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """What a Parquet file holds, some rows at a time.

    Args:
        columns: names to decode; all if None.

    Raises:
        TornError: if that is not possible.
        OSError, MemoryError: if it is for another reason than what the file holds.
    """
    rows = 0
    try:
        with pq.ParquetFile(handle) as parquet:
            expected = parquet.metadata.num_rows
            for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=columns, use_threads=False):
                rows += batch.num_rows
                yield batch
    except MemoryError:
        raise
    except (OSError, pa.ArrowException, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or the system failed: that says nothing of the file
        raise TornError("cannot be decoded") from None
    if rows != expected:
        raise TornError(f"has {rows} rows of {expected}")
