"""Maintenance of the catalog: restore, unpublish, optimize. Vacuum is in ``vacuum.py``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from posixpath import basename
from typing import Any

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError

from segpipe.errors import CatalogError, SegpipeError, StorageError, listed
from segpipe.publishing.damaged_files import DamagedFilesError, find_among, find_lost
from segpipe.publishing.given_up import files_of, given_up, next_turn
from segpipe.publishing.history import NOTE
from segpipe.publishing.log_entries import TRANSACTIONS_KEY
from segpipe.publishing.stored_predictions import StoredPredictions
from segpipe.publishing.table import is_missing_file
from segpipe.publishing.table_format import (
    FILE_SIZE,
    TABLE,
    WRITING,
    application_of,
    of_model_run,
    quoted,
)
from segpipe.storage.failures import library_words

_ATTEMPTS = 20
_IDS_AT_ONCE = 500


def restore(catalog: StoredPredictions, version: int, run_id: str) -> int:
    """Restore the catalog to an earlier version, as a new version, whose number is returned.

    Nothing is lost: the versions in between stay and can be restored as well. The order with a
    vacuum is explained in :mod:`segpipe.publishing.given_up`.

    Raises:
        CatalogError: if there is no such version, or its files were vacuumed.
    """
    again: dict[str, str] = {}  # the files that are referred to again, by name
    before = -1

    def commit(table: DeltaTable) -> None:
        nonlocal before
        before = table.version()
        if not 0 <= version <= table.version():
            raise CatalogError(
                f"there is no version {version}: the catalog is at {table.version()}"
            )
        again.clear()
        if version == table.version():
            return
        earlier = catalog.table.open(version, any_columns=True)
        if earlier is None:
            raise CatalogError(f"there is no version {version}")
        there = files_of(table)
        again.update((n, file) for n, file in files_of(earlier).items() if n not in there)
        if again and not given_up(table, version).isdisjoint(again):
            raise _vacuumed(version, "a vacuum has given some of its files up")
        _check_readable(catalog, earlier, version, list(again.values()))
        touched = {_model_run(p) for t in (table, earlier) for p in t.partitions()}
        notes = {"operation": "restore", "run_id": run_id, "restored": str(version)}
        properties = _properties(table, sorted(touched), notes, [next_turn(table)])
        try:
            table.restore(
                version,
                commit_properties=properties,
                post_commithook_properties=catalog.table.hooks,
            )
        except CommitFailedError:
            raise
        except (DeltaError, OSError) as error:
            raise _vacuumed(version, library_words(error)) from None

    catalog.table.give_up_damaged(above=version)
    restored = committed(catalog, commit)
    if again:
        _check_restored(catalog, version, before, restored, again)
    _remark_lost(catalog, restored)
    return restored


def _check_readable(
    catalog: StoredPredictions, earlier: DeltaTable, version: int, files: Sequence[str]
) -> None:
    """Raises:
    DamagedFilesError: if files of an earlier version, given by path, cannot be read.
    """
    if damaged := find_among(catalog.folder.folder(TABLE), earlier, files):
        lost = all(file.is_missing for file in damaged)
        raise DamagedFilesError(
            f"version {version} cannot be restored: {listed(damaged)}. "
            + ("Were they vacuumed? " if lost else "")
            + f"Publish what they held again with: {catalog.table.publishing_again(damaged)}",
            damaged,
        )


def _check_restored(
    catalog: StoredPredictions, version: int, before: int, restored: int, again: Mapping[str, str]
) -> None:
    """Raises:
    CatalogError: if files that are referred to again are gone. segpipe's own vacuum cannot have
        come between; an older one or another tool can.
    """
    if restored == before:  # the new version does not count, as after a cut of the power
        raise CatalogError(
            f"version {version} was not restored: something other than segpipe removed some of "
            f"its files meanwhile. The catalog is as it was, at version {before}"
        )
    if lost := _lost(catalog, again):
        raise CatalogError(
            f"version {version} was restored as version {restored}, but something other than "
            f"segpipe removed {len(lost)} of its files meanwhile, such as {basename(lost[0])}. "
            f"Restore version {restored - 1}, which was current before"
        )


def _remark_lost(catalog: StoredPredictions, restored: int) -> None:
    """What was current before, and is now, may have been missing all the time."""
    table = catalog.table.open(any_columns=True)
    if table is not None and (lost := find_lost(catalog.folder.folder(TABLE), table)):
        catalog.table.remarks.append(
            f"version {restored} cannot be read: {listed(lost)}; publish what they held again "
            f"with: {catalog.table.publishing_again(lost)}"
        )


def _lost(catalog: StoredPredictions, files: Mapping[str, str]) -> list[str]:
    """Those of the files (name -> path) that the table refers to now and that are not there."""
    table = catalog.table.open(any_columns=True)
    referred = {} if table is None else files_of(table)
    folder = catalog.folder.folder(TABLE)
    paths = [path for name, path in files.items() if name in referred]
    found = folder.each(folder.stored, paths)
    return [path for path, file in zip(paths, found, strict=True) if file is None]


def _vacuumed(version: int, why: str) -> CatalogError:
    return CatalogError(f"version {version} cannot be restored ({why}): were its files vacuumed?")


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
        raise CatalogError(
            "nothing says what to unpublish: give reference ids, on the command line or by --ids "
            "FILE, or the day of a partition, by --date"
        )
    removed = 0
    ids = None if reference_ids is None else list(dict.fromkeys(reference_ids))
    for start in range(0, 1 if ids is None else len(ids), _IDS_AT_ONCE):  # none for an empty list
        where = of_model_run(dataset, model_run)
        if ids is not None:
            among = ", ".join(map(quoted, ids[start : start + _IDS_AT_ONCE]))
            where += f" AND reference_id IN ({among})"
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


def withdraw(
    catalog: StoredPredictions,
    dataset: str,
    model_run: str,
    run_id: str,
    reasons: Mapping[str, str],
) -> int:
    """Remove predictions that were replaced by others which the catalog does not take.

    The history tells the items and the reasons; restoring the version before brings them back.

    Args:
        reasons: reference id -> why the other one is not taken.

    Returns:
        How many predictions were removed.
    """
    removed = 0
    for start in range(0, len(reasons), _IDS_AT_ONCE):
        part = dict([*reasons.items()][start : start + _IDS_AT_ONCE])
        ids = ", ".join(map(quoted, part))
        where = f"{of_model_run(dataset, model_run)} AND reference_id IN ({ids})"
        notes = {
            "operation": "withdraw",
            "dataset": dataset,
            "model_run": model_run,
            "run_id": run_id,
            "update": "true",
        }
        removed += _removed(catalog, where, notes, part)
    return removed


def _removed(
    catalog: StoredPredictions,
    where: str,
    notes: dict[str, str],
    reasons: Mapping[str, str] | None = None,
) -> int:
    count = 0
    if catalog.version() is None:
        return count

    def commit(table: DeltaTable) -> None:
        # Counted at the version that is changed; if another run commits first, this is repeated.
        nonlocal count
        ids = catalog.table.read(table, ["reference_id"], where)["reference_id"].to_pylist()
        count = len(ids)
        if count:
            whose = [(notes["dataset"], notes["model_run"])]
            told = {**notes, "removed": str(count)}
            if reasons is not None:
                told["reason"] = listed([f"{id}: {reasons[id]}" for id in sorted(ids)], 3)
            properties = _properties(table, whose, told)
            table.delete(
                where,
                writer_properties=WRITING,
                commit_properties=properties,
                post_commithook_properties=catalog.table.hooks,
            )

    committed(catalog, commit)
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
            post_commithook_properties=catalog.table.hooks,
        )
        figures.update(added=metrics["numFilesAdded"], removed=metrics["numFilesRemoved"])

    committed(catalog, commit)
    catalog.table.tidy()
    return figures


def _model_run(partition: dict[str, Any]) -> tuple[str, str]:
    return str(partition["dataset"]), str(partition["model_run"])


def _properties(
    table: DeltaTable,
    model_runs: Sequence[tuple[str, str]],
    notes: dict[str, str],
    further: Sequence[Transaction] = (),
) -> CommitProperties:
    """Metadata for the log, and a transaction per model run, besides further ones.

    The transactions conflict with any running publisher, whose plan is based on an old version.
    """
    transactions = list(further)
    for dataset, model_run in model_runs:
        application = application_of(dataset, model_run)
        version = (table.transaction_version(application) or 0) + 1
        transactions.append(Transaction(application, version))
    return CommitProperties(
        app_transactions=transactions,
        custom_metadata={
            TRANSACTIONS_KEY: str(len(transactions)),
            **{f"{NOTE}{key}": value for key, value in notes.items()},
        },
    )


def committed(
    catalog: StoredPredictions, commit: Callable[[DeltaTable], None], *, writes: bool = True
) -> int:
    """Commit against the newest version, and again if another run commits first.

    Args:
        writes: False if ``commit`` looks itself whether the table can be written, where it has to.

    Returns:
        The new version.
    """
    if writes:
        catalog.table.check_writable()
    for attempt in range(_ATTEMPTS):
        table = catalog.table.open(any_columns=True, mending=True)
        if table is None:
            raise CatalogError(f"{catalog!r} holds nothing yet")
        read_at = table.version()
        try:
            commit(table)
        except CommitFailedError:
            time.sleep(0.05 * (attempt + 1))
            continue
        except (SegpipeError, DeltaError, OSError) as error:
            # A file that was read may have been replaced, and vacuumed: then look again.
            if is_missing_file(error) and catalog.version() != read_at:
                continue
            if isinstance(error, SegpipeError):
                raise
            if damaged := catalog.table.damaged(table):
                raise catalog.table.damaged_error(table, damaged) from None
            raise StorageError(
                f"{catalog!r} cannot be changed: {library_words(error)}. It is as it was before"
            ) from None
        version = catalog.version()
        if version is None:
            return -1
        catalog.table.confirm(version)
        return version
    raise CatalogError(f"{catalog!r}: other runs kept committing; run again")
