"""The embedded catalog: one Delta Lake table of published predictions.

One row is one published prediction, with its segments nested in it, so that the table alone is the
whole truth. Masks are immutable and stored before the commit that refers to them; an orphan mask is
harmless.
"""

from __future__ import annotations

import posixpath
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError

from segpipe.errors import CatalogError, StorageError
from segpipe.publishing.outcomes import Outcome, Plan, Provenance, plan, receipts
from segpipe.publishing.rewriting import file_spans, slices
from segpipe.publishing.table import (
    MASKS_KEY,
    PREDICTIONS,
    PredictionsTable,
    application_of,
    first_line,
    of_model_run,
)
from segpipe.publishing.verification import Verification, verify
from segpipe.storage import Folder, MaskStore, redacted
from segpipe.tables import column_array
from segpipe.validated import PredictionBatch

# Where receipts carry the version of the table they speak of.
_VERSION_KEY = b"segpipe.version"
#: Where a commit that does not publish says what it does.
OPERATION_KEY = "segpipe.operation"
_UNDOING = ("unpublish", "restore")
_ATTEMPTS = 60
_STORAGE_ATTEMPTS = 3
_PRESENT = ["reference_id", "fingerprint", "run_id", "previous_fingerprint"]
# Rows of the files one commit writes anew: memory is bounded by these, whatever the table holds.
_REWRITTEN_ROWS = 100_000


class Catalog:
    """Published predictions under a URL that fsspec and object_store both know.

    Args:
        folder: holds the Delta table ``predictions``.
        masks: the content-addressed mask files its rows refer to.
    """

    def __init__(self, folder: Folder, masks: MaskStore) -> None:
        self.folder = folder
        self.masks = masks
        self.table = PredictionsTable(folder, _masks_url(folder, masks))

    def __repr__(self) -> str:
        return f"Catalog({self.table.shown!r})"

    @property
    def uri(self) -> str:
        """URL or path of the Delta table."""
        return self.table.uri

    def publish(
        self,
        batch: PredictionBatch,
        masks: MaskStore,
        provenance: Provenance,
        *,
        dry_run: bool = False,
    ) -> pa.Table:
        """See :meth:`segpipe.publishing.destination.Destination.publish`."""
        rows = _published_rows(batch, provenance)
        ids, prints = column_array(rows, "reference_id"), column_array(rows, "fingerprint")
        if pc.count_distinct(ids).as_py() != len(ids):
            raise CatalogError("a batch holds two predictions for one item; validate it first")
        conflict = None
        for attempt in range(_ATTEMPTS):
            table = self.table.open() or (None if dry_run else self.table.create())
            present = self._present(table, ids, provenance)
            planned = plan(ids, prints, present, update=provenance.update)
            to_write, failures = self._to_write(rows, planned, masks, dry_run=dry_run)
            if table is not None and not dry_run:
                read_at = table.version()
                try:
                    conflict = self._commit(table, to_write, provenance)
                except StorageError:
                    # On a network a request may fail for a moment; what is there is planned anew.
                    if self.folder.is_local or attempt >= _STORAGE_ATTEMPTS:
                        raise
                    _wait(attempt)
                    continue
                if conflict is not None:
                    if self.table.version() == read_at:
                        raise StorageError(f"publishing to {self!r} failed: {conflict}")
                    _wait(attempt)
                    continue
            planned = _with_own_commits(planned, ids, prints, present, provenance)
            told = receipts(ids, prints, planned, provenance, failures)
            version = b"" if table is None else str(table.version()).encode()
            return told.replace_schema_metadata({_VERSION_KEY: version})
        raise CatalogError(
            f"{self!r}: other runs kept publishing to {provenance.model_run!r} ({conflict}); "
            "run again"
        )

    def verify(self, receipts: pa.Table, provenance: Provenance, masks: int | None) -> Verification:
        """See :meth:`segpipe.publishing.destination.Destination.verify`."""
        told = (receipts.schema.metadata or {}).get(_VERSION_KEY)
        opened: dict[bool, DeltaTable | None] = {}

        def rows_of(ids: pa.Array, columns: list[str], *, now: bool) -> pa.Table:
            if now not in opened:
                opened[now] = self.table.open(None if now or not told else int(told))
            where = of_model_run(provenance.dataset, provenance.model_run)
            return self._read(opened[now], columns, where, ids)

        def undone() -> bool:
            newest = opened.get(True)
            since = 0 if newest is None or not told else newest.version() - int(told)
            commits = newest.history(since) if newest is not None and since > 0 else []
            return any(commit.get(OPERATION_KEY) in _UNDOING for commit in commits)

        return verify(receipts, rows_of, undone, self.masks, masks)

    def read(
        self,
        columns: list[str] | None = None,
        where: str | None = None,
        *,
        version: int | None = None,
    ) -> pa.Table:
        """Published predictions as Arrow; empty where nothing was published yet.

        Args:
            columns: names to read; all where None.
            where: an SQL predicate on the columns.
            version: of the catalog; the newest where None.

        Raises:
            CatalogError: if the version does not exist or its files were vacuumed.
        """
        return self._read(self.table.open(version), columns, where)

    def read_items(
        self,
        dataset: str,
        model_run: str,
        reference_ids: Sequence[str],
        columns: list[str],
        *,
        version: int | None = None,
    ) -> pa.Table:
        """Published predictions of some items of a model run.

        Args:
            columns: names to read; must hold ``reference_id``.
        """
        ids = pa.array(reference_ids, pa.string())
        return self._read(self.table.open(version), columns, of_model_run(dataset, model_run), ids)

    def version(self) -> int | None:
        """The table's version; None where there is no table yet."""
        return self.table.version()

    def _read(
        self,
        table: DeltaTable | None,
        columns: list[str] | None,
        where: str | None,
        ids: pa.Array | None = None,
    ) -> pa.Table:
        if table is None:
            names = PREDICTIONS.names if columns is None else columns
            return pa.schema([PREDICTIONS.field(name) for name in names]).empty_table()
        return self.table.read(table, columns, where, ids)

    def _present(self, table: DeltaTable | None, ids: pa.Array, provenance: Provenance) -> pa.Table:
        """What the table holds for the batch's items, at the table's version."""
        where = of_model_run(provenance.dataset, provenance.model_run)
        present = self._read(table, _PRESENT, where, ids)
        if pc.count_distinct(present["reference_id"]).as_py() != present.num_rows:
            raise CatalogError(
                f"{self!r} holds two predictions for one item of {provenance.model_run!r}: it was "
                "changed by something other than segpipe; restore an earlier version"
            )
        return present

    def _to_write(
        self, rows: pa.Table, planned: Plan, masks: MaskStore, *, dry_run: bool
    ) -> tuple[pa.Table, dict[str, str]]:
        """The rows to commit, their masks stored; and who cannot be, with the reason."""
        rows = rows.set_column(
            rows.schema.get_field_index("previous_fingerprint"),
            PREDICTIONS.field("previous_fingerprint"),
            planned.previous,
        ).filter(planned.where(Outcome.INSERTED, Outcome.REPLACED))
        same_store = masks.folder.url == self.masks.folder.url

        def stored(sha256: str) -> bool:
            if self.masks.has(sha256) if dry_run else self.masks.keep(sha256):
                return True
            if same_store or not masks.has(sha256):
                return False
            if not dry_run:
                self.masks.put(masks.read(sha256))
            return True

        there = self.masks.folder.each(stored, rows["mask_sha256"].to_pylist())
        failures = {
            id: f"its mask {MaskStore.name_of(sha256)} is no longer in {masks!r}: materialize the "
            "partition again"
            for id, sha256, is_there in zip(
                rows["reference_id"].to_pylist(),
                rows["mask_sha256"].to_pylist(),
                there,
                strict=True,
            )
            if not is_there
        }
        rows = rows.filter(pa.array(there, pa.bool_()))
        if rows.num_rows and not dry_run:
            self.masks.folder.sync()
        return rows, failures

    def _commit(self, table: DeltaTable, rows: pa.Table, provenance: Provenance) -> str | None:
        """Make rows visible, in one commit where nothing is replaced; the log's words where it was
        refused, as when another publisher was faster. What was committed by then stays."""
        application = application_of(provenance.dataset, provenance.model_run)
        of = of_model_run(provenance.dataset, provenance.model_run, "target.")
        committed = table.transaction_version(application) or 0
        for part in self._parts(table, rows, provenance):
            if (table.transaction_version(application) or 0) != committed:
                return "another run published to the model run"
            properties = _properties(part, provenance, application, committed + 1)
            replaced = column_array(part, "reference_id").filter(_replaced(part))
            try:
                if len(replaced):
                    self.table.merge(table, part, of, replaced, properties)
                else:
                    self.table.append(table, part, properties)
            except CommitFailedError as error:
                return first_line(error)
            committed += 1
        return None

    @staticmethod
    def _parts(table: DeltaTable, rows: pa.Table, provenance: Provenance) -> Iterator[pa.Table]:
        """What goes into each commit: all of it, where few files have to be written anew."""
        inserted = rows.filter(pc.invert(_replaced(rows)))
        if inserted.num_rows == rows.num_rows:
            if rows.num_rows:
                yield rows
            return
        files = file_spans(table, provenance.dataset, provenance.model_run)
        for part in slices(rows.filter(_replaced(rows)), files, _REWRITTEN_ROWS):
            yield pa.concat_tables([inserted, part])
            inserted = inserted.slice(0, 0)


def open_catalog(url: str, storage_options: Mapping[str, Any] | None = None) -> Catalog:
    """The catalog in a folder, for reading: ``open_catalog("demo/catalog").read()``.

    Args:
        url: of the catalog's folder, or of the root that holds it as ``catalog/``.
        storage_options: for remote URLs, in fsspec's words.

    Raises:
        CatalogError: if there is none.
    """
    for place in (url.rstrip("/"), f"{url.rstrip('/')}/catalog"):
        folder = Folder(place, storage_options)
        # The masks are named by the table itself, so that the folder is all one has to know.
        table = Catalog(folder, MaskStore(folder)).table.open()
        if table is not None:
            masks = table.metadata().configuration.get(MASKS_KEY, "../masks")
            if "://" not in masks and not masks.startswith("/"):
                scheme, separator, path = place.rpartition("://")
                masks = f"{scheme}{separator}{posixpath.normpath(f'{path}/{masks}')}"
            return Catalog(folder, MaskStore(Folder(masks, storage_options)))
    raise CatalogError(f"there is no catalog in {redacted(url)}: nothing was published there yet")


def _masks_url(folder: Folder, masks: MaskStore) -> str:
    own, other = folder.url, masks.folder.url
    if own.partition("://")[0] == other.partition("://")[0] or "://" not in own + other:
        return posixpath.relpath(other, own)
    return masks.folder.shown


def _replaced(rows: pa.Table) -> pa.ChunkedArray:
    """A boolean per row: does it replace another?"""
    return pc.is_valid(rows["previous_fingerprint"])


def _properties(
    rows: pa.Table, provenance: Provenance, application: str, version: int
) -> CommitProperties:
    replaced = pc.sum(_replaced(rows)).as_py()
    return CommitProperties(
        app_transactions=[Transaction(application, version)],
        custom_metadata={
            "segpipe.dataset": provenance.dataset,
            "segpipe.model_run": provenance.model_run,
            "segpipe.partition": provenance.partition,
            "segpipe.run_id": provenance.run_id,
            "segpipe.update": str(provenance.update).lower(),
            "segpipe.inserted": str(rows.num_rows - replaced),
            "segpipe.replaced": str(replaced),
        },
    )


def _published_rows(batch: PredictionBatch, provenance: Provenance) -> pa.Table:
    """The batch as rows of the table."""
    count = batch.rows.num_rows
    given: dict[str, Any] = {
        "dataset": provenance.dataset,
        "model_run": provenance.model_run,
        "partition": provenance.partition,
        "run_id": provenance.run_id,
        "previous_fingerprint": None,
        "published_at": provenance.time,
    }
    columns = [
        batch.segments
        if field.name == "segments"
        else pa.array([given[field.name]] * count, field.type)
        if field.name in given
        else batch.rows[field.name]
        for field in PREDICTIONS
    ]
    return pa.Table.from_arrays(columns, schema=PREDICTIONS)


def _with_own_commits(
    planned: Plan, ids: pa.Array, prints: pa.Array, present: pa.Table, provenance: Provenance
) -> Plan:
    """The plan, where what this very run committed before an interruption counts as its doing.

    A commit can succeed and its answer be lost, and a step can be retried. The rows say who wrote
    them and what they replaced, so the receipt can say exactly what happened.
    """
    own = present.filter(pc.equal(present["run_id"], provenance.run_id))
    if not own.num_rows:
        return planned
    place = pc.index_in(ids, value_set=column_array(own, "reference_id"))
    is_own = pc.fill_null(pc.equal(column_array(own, "fingerprint").take(place), prints), False)
    before = column_array(own, "previous_fingerprint").take(place)
    did = pc.if_else(pc.is_null(before), Outcome.INSERTED.value, Outcome.REPLACED.value)
    return Plan(
        pc.if_else(is_own, did, planned.outcomes), pc.if_else(is_own, before, planned.previous)
    )


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
