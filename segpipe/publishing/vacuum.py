"""Deleting what no version within the retention needs: table files, masks, temporary files.

Any number of publishers, restores and vacuums may run meanwhile, on several machines. For table
files the order is kept in the table's log (:mod:`segpipe.publishing.given_up`), for masks by their
age and lists in the store (:mod:`segpipe.storage.removal`).

What the table needs is determined before the vacuum's commit, and still right after it: that commit
is refused if a restore came between; a later restore keeps away from what was given up, and what
remains of its files was read here; of what is published later, the masks are young.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from numpy.typing import NDArray

from segpipe.errors import SegpipeError, StorageError
from segpipe.publishing.given_up import give_up
from segpipe.publishing.history import NOTE
from segpipe.publishing.leftovers import leftovers
from segpipe.publishing.log_entries import TornError, decoded_batches
from segpipe.publishing.maintenance import committed
from segpipe.publishing.stored_predictions import StoredPredictions
from segpipe.publishing.table import is_missing_file
from segpipe.publishing.table_format import TABLE
from segpipe.storage.failures import is_full, library_words, storage_errors
from segpipe.storage.files import Folder, StoredFile
from segpipe.storage.mask_store import RENEWED_AFTER
from segpipe.validation.summary import VALIDATED_FILE

_LOOKS = 5
_MASK_NAME = re.compile(r"/[0-9a-f]{2}/([0-9a-f]{64})\.png$")


@dataclass(frozen=True)
class Vacuumed:
    """What a vacuum deleted, or for a dry run would delete.

    Attributes:
        table_files, table_bytes: number of files of the Delta table, and their size together.
        mask_files, mask_bytes: the same of masks.
        temporary_files, temporary_bytes: the same of what killed runs had begun to write.
    """

    table_files: int
    table_bytes: int
    mask_files: int
    mask_bytes: int
    temporary_files: int
    temporary_bytes: int
    dry_run: bool

    @property
    def bytes(self) -> int:
        """The size of all together."""
        return self.table_bytes + self.mask_bytes + self.temporary_bytes


def vacuum(
    catalog: StoredPredictions,
    validated: Folder,
    *,
    views: Folder | None = None,
    masks_too: bool = True,
    others: Sequence[Folder] = (),
    retention_hours: int = 168,
    dry_run: bool = True,
) -> Vacuumed:
    """Delete what no version within the retention needs: table files, then mask files.

    A mask is kept if a remaining table file or a materialized partition refers to it, or if it is
    recent: it may belong to a run that has not finished. Storing a mask again renews its age.
    Temporary files are deleted when they are older than a day.

    Args:
        validated: folder of the materialized partitions, whose masks are kept.
        views: folder of their views, whose masks are kept as well.
        masks_too: False if other roots may use the same mask store, since it is not known which
            masks they need.
        others: folders that may hold temporary files, besides those named.
        retention_hours: age up to which old versions and recent masks are kept.
        dry_run: only determine what would be deleted.

    Raises:
        CatalogError, StorageError: if something cannot be read; nothing more is deleted then.
    """
    # Twice the age at which storing a mask again renews it, so that a run cannot lose it.
    before = datetime.now(UTC) - max(timedelta(hours=retention_hours), 2 * RENEWED_AFTER)
    files: list[StoredFile] = []
    needed = _keys([])

    def determine(table: DeltaTable | None) -> None:
        nonlocal files, needed
        for left in reversed(range(_LOOKS)):
            try:
                files = _expired(catalog, table, retention_hours)
                if masks_too:  # before anything is deleted, so that a failure does no harm
                    deleted = {file.path for file in files}
                    needed = _referenced(catalog, table, validated, views, deleted)
                return
            except SegpipeError as error:
                # Another vacuum, or a run that writes a partition anew, took away what was listed.
                if not left or not is_missing_file(error):
                    raise

    def commit(table: DeltaTable) -> None:
        determine(table)
        if files:
            catalog.table.check_writable()
            notes = {f"{NOTE}operation": "vacuum", f"{NOTE}removed_files": str(len(files))}
            names = (file.path for file in files)
            give_up(table, names, notes, catalog.table.hooks)

    if dry_run or catalog.version() is None:
        determine(catalog.table.open(any_columns=True))
    else:
        committed(catalog, commit, writes=False)  # a full disk is where it is needed most
    temporary_in = [catalog.folder, validated, *([views] if views is not None else []), *others]
    if masks_too:
        temporary_in.append(catalog.masks.folder)
    temporary = list(leftovers(temporary_in))
    masks = _unneeded(catalog, before, needed) if masks_too else {}
    if not dry_run:
        folder = catalog.folder.folder(TABLE)
        folder.each(lambda file: folder.remove(file.path.removeprefix(f"{folder.path}/")), files)
        _remove_temporary(temporary)
        went = catalog.masks.remove_older(list(masks), before)
        masks = {sha256: masks[sha256] for sha256 in went}
        try:
            catalog.table.tidy()
        except StorageError as error:
            if not is_full(catalog.folder.path):
                raise
            # What was to be deleted is, which is what a full disk needs.
            catalog.table.remarks.append(str(error))
    return Vacuumed(
        *_sums(files), *_sums(masks.values()), *_sums(temporary), dry_run
    )  # fmt: skip


def _sums(files: Iterable[StoredFile]) -> tuple[int, int]:
    sizes = [file.size for file in files]
    return len(sizes), sum(sizes)


def _expired(
    catalog: StoredPredictions, table: DeltaTable | None, retention_hours: int
) -> list[StoredFile]:
    """Files of the table that no version within the retention refers to, and that are there."""
    if table is None:
        return []
    try:
        found: list[str] = table.vacuum(
            retention_hours,
            dry_run=True,
            enforce_retention_duration=False,
            # Also delete files that a crashed commit left behind, once they are too old to belong
            # to a commit in progress.
            full=timedelta(hours=retention_hours) >= 2 * RENEWED_AFTER,
        )
    except (DeltaError, OSError) as error:
        raise StorageError(f"{catalog!r} cannot be vacuumed: {library_words(error)}") from None
    # The log still lists files that an earlier vacuum deleted.
    folder = catalog.folder.folder(TABLE)
    return [file for file in folder.each(folder.stored, list(dict.fromkeys(found))) if file]


def _unneeded(
    catalog: StoredPredictions, before: datetime, needed: NDArray[np.uint64]
) -> dict[str, StoredFile]:
    """SHA-256 -> file of the masks that are old and that nothing refers to."""
    found = {}
    for mask in catalog.masks.folder.files():
        name = _MASK_NAME.search(mask.path)
        if name is not None and mask.modified < before and not _is_in(name[1], needed):
            found[name[1]] = mask
    return found


def _remove_temporary(files: Iterable[StoredFile]) -> None:
    for file in files:
        folder, _, name = file.path.rpartition("/")
        Folder(folder).remove(name)


def _referenced(
    catalog: StoredPredictions,
    table: DeltaTable | None,
    validated: Folder,
    views: Folder | None,
    deleted: set[str],
) -> NDArray[np.uint64]:
    """The masks that a table file or a materialized partition refers to.

    Args:
        table: the version that is looked at.
        deleted: paths of the table's files that the vacuum deletes.

    Raises:
        DamagedFilesError, StorageError: if a file that is needed cannot be read.

    Returns:
        uint64 of shape (N,), sorted: the first eight bytes of each mask's SHA-256. Two masks that
        share them are both kept.
    """
    needed = _keys([])
    places = [(catalog.folder.folder(TABLE), ".parquet"), (validated, f"/{VALIDATED_FILE}")]
    if views is not None:
        places.append((views, f"/{VALIDATED_FILE}"))
    for place, wanted in places:
        for path in (file.path for file in place.files()):
            if not path.endswith(wanted) or path in deleted or "/_delta_log/" in path:
                continue
            try:
                needed = np.union1d(needed, _masks_of(place, path))
            except TornError as error:
                if place.path != catalog.folder.folder(TABLE).path:
                    words = "run its partition again, which writes it anew"
                    raise StorageError(f"{path} {error}: {words}") from None
                if table is not None and (damaged := catalog.table.damaged(table)):
                    raise catalog.table.damaged_error(table, damaged) from None
                # What a version that was torn has left: no version that can be read needs it.
    return needed


def _masks_of(place: Folder, path: str) -> NDArray[np.uint64]:
    found = _keys([])
    with storage_errors(f"reading {path}"), place.filesystem.open(path, "rb") as handle:
        for batch in decoded_batches(handle, ["mask_sha256"]):
            found = np.union1d(found, _keys(pc.unique(batch.column(0)).to_pylist()))
    return found


def _is_in(sha256: str, needed: NDArray[np.uint64]) -> bool:
    key = _keys([sha256])
    place = np.searchsorted(needed, key)[0]
    return bool(place < needed.size and needed[place] == key[0])


def _keys(sha256: Iterable[str]) -> NDArray[np.uint64]:
    return np.frombuffer(bytes.fromhex("".join(one[:16] for one in sha256)), np.uint64)
