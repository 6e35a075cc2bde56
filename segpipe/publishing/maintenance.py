"""Maintenance of the catalog: restore, unpublish, optimize, vacuum."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from numpy.typing import NDArray

from segpipe.errors import CatalogError, SegpipeError, StorageError
from segpipe.publishing.history import NOTE
from segpipe.publishing.stored_predictions import StoredPredictions
from segpipe.publishing.table import (
    FILE_SIZE,
    TABLE,
    WRITING,
    application_of,
    of_model_run,
    quoted,
)
from segpipe.storage.failures import library_words, storage_errors
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import RENEWED_AFTER
from segpipe.validation.summary import VALIDATED_FILE

_ATTEMPTS = 20
_IDS_AT_ONCE = 500
_MASK_NAME = re.compile(r"/[0-9a-f]{2}/([0-9a-f]{64})\.png$")


@dataclass(frozen=True)
class Vacuumed:
    """What a vacuum deleted, or for a dry run would delete.

    Attributes:
        table_files: number of files of the Delta table.
        mask_files, mask_bytes: number of masks, and their size together.
    """

    table_files: int
    mask_files: int
    mask_bytes: int
    dry_run: bool


def restore(catalog: StoredPredictions, version: int, run_id: str) -> int:
    """Restore the catalog to an earlier version, as a new version, whose number is returned.

    Nothing is lost: the versions in between stay and can be restored as well.

    Raises:
        CatalogError: if there is no such version, or its files were vacuumed.
    """

    def commit(table: DeltaTable) -> None:
        if not 0 <= version <= table.version():
            raise CatalogError(
                f"there is no version {version}: the catalog is at {table.version()}"
            )
        if version == table.version():
            return
        earlier = catalog.table.open(version, any_columns=True)
        touched = {_model_run(p) for t in (table, earlier) if t is not None for p in t.partitions()}
        notes = {"operation": "restore", "run_id": run_id, "restored": str(version)}
        try:
            table.restore(version, commit_properties=_properties(table, sorted(touched), notes))
        except CommitFailedError:
            raise
        except (DeltaError, OSError) as error:
            raise CatalogError(
                f"version {version} cannot be restored ({library_words(error)}): were its files "
                "vacuumed?"
            ) from None

    return _committed(catalog, commit)


def unpublish(
    catalog: StoredPredictions,
    dataset: str,
    model_run: str,
    run_id: str,
    *,
    reference_ids: Sequence[str] | None = None,
    partition: str | None = None,
) -> int:
    """Remove predictions of a model run: by item, by partition, or both.

    Args:
        run_id: recorded in the history.
        reference_ids: only the predictions for these items.
        partition: only the predictions of this day's partition, ``YYYY-MM-DD``.

    Returns:
        How many predictions were removed.

    Raises:
        CatalogError: if neither items nor a partition are given.
    """
    if reference_ids == [] or (reference_ids is None and not partition):
        raise CatalogError("name the items or the partition to unpublish")
    removed = 0
    ids = None if reference_ids is None else list(dict.fromkeys(reference_ids))
    for start in range(0, 1 if ids is None else len(ids), _IDS_AT_ONCE):  # none for an empty list
        where = of_model_run(dataset, model_run)
        if ids is not None:
            listed = ", ".join(map(quoted, ids[start : start + _IDS_AT_ONCE]))
            where += f" AND reference_id IN ({listed})"
        if partition is not None:
            where += f" AND partition = {quoted(partition)}"
        notes = {
            "operation": "unpublish",
            "dataset": dataset,
            "model_run": model_run,
            "partition": partition or "",
            "run_id": run_id,
        }
        removed += _removed(catalog, where, notes)
    return removed


def _removed(catalog: StoredPredictions, where: str, notes: dict[str, str]) -> int:
    count = 0
    if catalog.version() is None:
        return count

    def commit(table: DeltaTable) -> None:
        # Counted at the version that is changed; if another run commits first, this is repeated.
        nonlocal count
        count = catalog.table.read(table, ["reference_id"], where).num_rows
        if count:
            whose = [(notes["dataset"], notes["model_run"])]
            properties = _properties(table, whose, {**notes, "removed": str(count)})
            table.delete(where, writer_properties=WRITING, commit_properties=properties)

    _committed(catalog, commit)
    return count


def optimize(catalog: StoredPredictions, run_id: str) -> dict[str, int]:
    """Rewrite many small files of the table as a few large ones.

    Returns:
        The numbers of files ``added`` and ``removed``.
    """
    figures: dict[str, int] = {}

    def commit(table: DeltaTable) -> None:
        notes = {f"{NOTE}operation": "optimize", f"{NOTE}run_id": run_id}
        metrics = table.optimize.compact(
            target_size=FILE_SIZE,
            writer_properties=WRITING,
            commit_properties=CommitProperties(custom_metadata=notes),
        )
        figures.update(added=metrics["numFilesAdded"], removed=metrics["numFilesRemoved"])

    _committed(catalog, commit)
    return figures


def vacuum(
    catalog: StoredPredictions,
    validated: Folder,
    *,
    views: Folder | None = None,
    masks_too: bool = True,
    retention_hours: int = 168,
    dry_run: bool = True,
) -> Vacuumed:
    """Delete what no version within the retention needs: table files, then mask files.

    A mask is kept if a remaining table file or a materialized partition refers to it, or if it is
    recent: it may belong to a run that has not finished. Storing a mask again renews its age.

    Args:
        validated: folder of the materialized partitions, whose masks are kept.
        views: folder of their views, whose masks are kept as well.
        masks_too: False if other roots may use the same mask store, since it is not known which
            masks they need.
        retention_hours: age up to which old versions and recent masks are kept.
        dry_run: only determine what would be deleted.

    Raises:
        CatalogError, StorageError: if something cannot be read; nothing more is deleted then.
    """
    # Find what is needed before anything is deleted, so that a failure does no harm.
    while True:
        version = catalog.version()
        files = _vacuum_table(catalog, retention_hours, dry_run=True)
        needed = _referenced(catalog, validated, views, set(files)) if masks_too else _keys([])
        if catalog.version() == version:  # else another run committed meanwhile: try again
            break
    if not dry_run:
        catalog.table.check_writable()
        _vacuum_table(catalog, retention_hours, dry_run=False)
    # Twice the age at which storing a mask again renews it, so that a run cannot lose it.
    before = datetime.now(UTC) - max(timedelta(hours=retention_hours), 2 * RENEWED_AFTER)
    masks, size = 0, 0
    for mask in catalog.masks.folder.files() if masks_too else ():
        name = _MASK_NAME.search(mask.path)
        if name is not None and mask.modified < before and not _is_in(name[1], needed):
            if not dry_run and not catalog.masks.remove_if_older(name[1], before):
                continue
            masks, size = masks + 1, size + mask.size
    return Vacuumed(len(files), masks, size, dry_run)


def _vacuum_table(catalog: StoredPredictions, retention_hours: int, *, dry_run: bool) -> list[str]:
    table = catalog.table.open()
    if table is None:
        return []
    try:
        found: list[str] = table.vacuum(
            retention_hours,
            dry_run=dry_run,
            enforce_retention_duration=False,
            # Also delete files that a crashed commit left behind, once they are too old to belong
            # to a commit in progress.
            full=timedelta(hours=retention_hours) >= 2 * RENEWED_AFTER,
        )
    except (DeltaError, OSError) as error:
        raise StorageError(f"{catalog!r} cannot be vacuumed: {library_words(error)}") from None
    # The log still lists files that an earlier vacuum deleted.
    folder = catalog.folder.folder(TABLE)
    return [file for file in dict.fromkeys(found) if folder.stored(file) is not None]


def _referenced(
    catalog: StoredPredictions, validated: Folder, views: Folder | None, deleted: set[str]
) -> NDArray[np.uint64]:
    """The masks that a table file or a materialized partition refers to.

    Args:
        deleted: files of the table that the vacuum deletes.

    Returns:
        uint64 of shape (N,), sorted: the first eight bytes of each mask's SHA-256. Two masks that
        share them are both kept.
    """
    needed = _keys([])
    folder = Folder(f"{catalog.folder.url}/predictions", catalog.folder.storage_options)
    places = [(folder, ".parquet"), (validated, f"/{VALIDATED_FILE}")]
    if views is not None:
        places.append((views, f"/{VALIDATED_FILE}"))
    for place, wanted in places:
        for path in (file.path for file in place.files()):
            if not path.endswith(wanted):
                continue
            if path.removeprefix(f"{place.path}/") in deleted or "/_delta_log/" in path:
                continue
            with storage_errors(f"reading {path}"), place.filesystem.open(path, "rb") as handle:
                for batch in pq.ParquetFile(handle).iter_batches(columns=["mask_sha256"]):
                    found = _keys(pc.unique(batch.column(0)).to_pylist())
                    needed = np.union1d(needed, found)
    return needed


def _is_in(sha256: str, needed: NDArray[np.uint64]) -> bool:
    key = _keys([sha256])
    place = np.searchsorted(needed, key)[0]
    return bool(place < needed.size and needed[place] == key[0])


def _keys(sha256: Iterable[str]) -> NDArray[np.uint64]:
    return np.frombuffer(bytes.fromhex("".join(one[:16] for one in sha256)), np.uint64)


def _model_run(partition: dict[str, Any]) -> tuple[str, str]:
    return str(partition["dataset"]), str(partition["model_run"])


def _properties(
    table: DeltaTable, model_runs: Sequence[tuple[str, str]], notes: dict[str, str]
) -> CommitProperties:
    """Metadata for the log, and a transaction per model run.

    The transactions conflict with any running publisher, whose plan is based on an old version.
    """
    transactions = []
    for dataset, model_run in model_runs:
        application = application_of(dataset, model_run)
        version = (table.transaction_version(application) or 0) + 1
        transactions.append(Transaction(application, version))
    return CommitProperties(
        app_transactions=transactions,
        custom_metadata={f"{NOTE}{key}": value for key, value in notes.items()},
    )


def _committed(catalog: StoredPredictions, commit: Callable[[DeltaTable], None]) -> int:
    """Commit against the newest version, and again if another run commits first.

    Returns:
        The new version.
    """
    catalog.table.check_writable()
    for attempt in range(_ATTEMPTS):
        table = catalog.table.open(any_columns=True)
        if table is None:
            raise CatalogError(f"{catalog!r} holds nothing yet")
        try:
            commit(table)
        except CommitFailedError:
            time.sleep(0.05 * (attempt + 1))
            continue
        except (DeltaError, OSError) as error:
            if isinstance(error, SegpipeError):
                raise
            raise StorageError(
                f"{catalog!r} cannot be changed: {library_words(error)}. It is as it was before"
            ) from None
        version = catalog.version()
        return -1 if version is None else version
    raise CatalogError(f"{catalog!r}: other runs kept committing; run again")
