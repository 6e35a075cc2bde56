"""Masks that arrive after their partition was validated.

A manifest may land before its masks, or while they are being copied. Rows without a mask, or with
one that is cut, are rejected; this module says when their files are there.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from segpipe.errors import StorageError, TableError
from segpipe.manifests.manifest import Manifest
from segpipe.masks.refusal import MaskRefused
from segpipe.storage.files import Folder
from segpipe.storage.sources import AllowedRoots, Source, is_remote
from segpipe.validation.summary import REJECTED_FILE, SUMMARY_FILE
from segpipe.workers.chunks import FETCHED_AT_ONCE, map_threads

#: Rules that reject a row whose mask is not there, or not whole.
_ABSENT = "FILE-MISSING"
_INCOMPLETE = ("PNG-UNREADABLE", "FILE-NOT-PNG")
_RULES = (_ABSENT, *_INCOMPLETE)
_ROWS_AT_ONCE = 65_536
# While masks arrive, a run waits until none did for a while, and no longer than a while.
_SETTLED, _PATIENCE = timedelta(seconds=60), timedelta(minutes=10)
# Files looked for are others after this time, where not all are looked for at once.
_TURN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class LateMasks:
    """Masks of a partition that were missing when it was validated, and are there now.

    Attributes:
        masks: number of those found.
        state: identifies the tables without them, and what was found.
    """

    masks: int
    state: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A rejected row's mask, and the rule that rejected it."""

    url: str | None
    folder: str
    rule: str


def misses_masks(tables: Folder) -> bool | None:
    """Whether a partition has rows rejected for a missing or incomplete mask, by its summary;
    None if it was not validated.

    Raises:
        StorageError: if storage fails.
    """
    summary = _summary(tables)
    return None if summary is None else any(f'"{rule}"'.encode() in summary for rule in _RULES)


def late_masks(
    tables: Folder, manifest: Manifest, sources: AllowedRoots, now: datetime, most: int = 500
) -> LateMasks | None:
    """The masks that arrived after a partition was validated; None if none did, or while they are
    still arriving. No mask is opened. Masks on the web are not looked for.

    Args:
        tables: of the partition, for which :func:`misses_masks` is true.
        now: with a time zone.
        most: limit on the files looked for; where there are more, they take turns.

    Raises:
        TableError: if the rejected table is missing or damaged.
        ManifestError: if the manifest turns out to be damaged.
        StorageError: if storage fails.
    """
    summary, stored = _summary(tables), tables.stored(SUMMARY_FILE)
    if summary is None or stored is None:
        return None
    rejected = _rejected(tables)
    every = rejected.num_rows <= most
    if not every:
        rejected = _in_turn(rejected, now, most)
    wanted = list(_wanted(rejected, manifest))
    remote = any(one.url and is_remote(one.url, one.folder) for one in wanted)

    def written(one: _Wanted) -> datetime | None:
        time = _written(one, sources)
        late = time is not None and (one.rule == _ABSENT or time > stored.modified)
        return time if late else None

    found = list(map_threads(written, wanted, FETCHED_AT_ONCE if remote else 1))
    times = [time for time in found if time is not None]
    complete = every and len(times) == len(wanted)
    if not times or (not complete and _are_arriving(times, now)):
        return None
    state = hashlib.sha256(summary + stored.modified.isoformat().encode())
    if every:  # else other masks are found at every look
        state.update(repr(found).encode())
    return LateMasks(len(times), state.hexdigest()[:16])


def _summary(tables: Folder) -> bytes | None:
    try:
        return tables.read(SUMMARY_FILE)
    except StorageError as error:
        if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
            return None
        raise


def _rejected(tables: Folder) -> pa.Table:
    """Manifest, row and rule of the rejected rows whose mask was missing or incomplete."""
    columns = ["manifest", "manifest_row", "rule"]
    try:
        with tables.open_input(REJECTED_FILE) as handle:
            table = pq.ParquetFile(handle).read(columns)
    except (pa.ArrowException, OSError) as error:
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TableError(
            f"{tables.shown}/{REJECTED_FILE} is damaged ({words}): materialize again"
        ) from None
    return table.filter(pc.is_in(table["rule"], pa.array(_RULES, pa.string())))


def _in_turn(rejected: pa.Table, now: datetime, most: int) -> pa.Table:
    first = (int(now.timestamp() / _TURN.total_seconds()) * most) % rejected.num_rows
    rows = [(first + place) % rejected.num_rows for place in range(most)]
    return rejected.take(rows)


def _wanted(rejected: pa.Table, manifest: Manifest) -> Iterator[_Wanted]:
    """The masks of rejected rows, as the manifest names them."""
    rules: dict[str, dict[int, str]] = defaultdict(dict)
    for row in rejected.to_pylist():
        rules[row["manifest"]].setdefault(row["manifest_row"], row["rule"])
    for batch in manifest.batches(_ROWS_AT_ONCE, ("mask_url",)):
        ours, end = rules[batch.manifest], batch.first + batch.rows.num_rows
        numbers = sorted(number for number in ours if batch.first <= number < end)
        if not numbers:
            continue
        places = pa.array([number - batch.first for number in numbers])
        chunk = replace(batch, rows=batch.rows.take(places), too_large={}).chunk()
        for number, row in zip(numbers, chunk.rows, strict=True):
            yield _Wanted(row.mask_url, chunk.folder, ours[number])


def _written(one: _Wanted, sources: AllowedRoots) -> datetime | None:
    """When a mask was written; None if it is not there, or cannot be read."""
    if one.url is None or not one.url.strip():
        return None
    try:
        return _modified(sources.resolve(one.url, one.folder))
    except (MaskRefused, OSError):
        return None


def _modified(source: Source) -> datetime | None:
    if source.filesystem is None:
        return None
    if isinstance(source.filesystem, LocalFileSystem):
        status = os.stat(source.path)
        if not stat.S_ISREG(status.st_mode) or not os.access(source.path, os.R_OK):
            return None
        return datetime.fromtimestamp(status.st_mtime, UTC)
    if source.objects is not None:
        return source.objects.stored(source.path)[1]
    modified: datetime = source.filesystem.modified(source.path)
    return modified if modified.tzinfo else modified.replace(tzinfo=UTC)


def _are_arriving(times: list[datetime], now: datetime) -> bool:
    ages = [now - time for time in times]
    return any(timedelta() <= age < _SETTLED for age in ages) and max(ages) < _PATIENCE
