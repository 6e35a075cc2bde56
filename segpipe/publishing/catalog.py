"""The embedded catalog: one Delta Lake table of published predictions.

One row is one published prediction, with its segments nested in it, so that one commit of one
table is the whole truth. Masks are immutable and stored before the commit that refers to them; an
orphan mask is harmless.
"""

from __future__ import annotations

import posixpath
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from segpipe.errors import CatalogError, StorageError
from segpipe.publishing.outcomes import Outcome, Plan, Provenance, plan, receipts
from segpipe.publishing.verification import VERIFIED_COLUMNS, Verification, verify
from segpipe.storage import Folder, MaskStore, redacted
from segpipe.tables import IDENTITY, column_array
from segpipe.validated import SEGMENT_LIST, PredictionBatch

#: What a published prediction is; the columns of the Delta table.
PREDICTIONS = pa.schema(
    [
        *IDENTITY,
        pa.field("annotation_id", pa.string()),
        pa.field("mask_path", pa.string()),
        pa.field("mask_sha256", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("segments", SEGMENT_LIST),
        pa.field("image_url", pa.string()),
        pa.field("manifest", pa.string()),
        pa.field("partition", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("previous_fingerprint", pa.string()),
        pa.field("published_at", pa.timestamp("us", tz="UTC")),
    ]
)

#: The table's folder in the catalog.
TABLE = "predictions"
_FORMAT_KEY, _FORMAT = "segpipe.format", "1"
# Where the mask files are, relative to the catalog's folder where that is possible.
_MASKS_KEY = "segpipe.masks"
# Where receipts carry the version of the table they speak of.
_VERSION_KEY = "segpipe.version"
_ATTEMPTS = 60
_PRESENT = ["reference_id", "fingerprint", "run_id", "previous_fingerprint"]


class Catalog:
    """Published predictions under a URL that fsspec and object_store both know.

    Args:
        folder: holds the Delta table ``predictions``.
        masks: the content-addressed mask files its rows refer to.
        storage_options: for the Delta table, in object_store's words.
    """

    def __init__(
        self, folder: Folder, masks: MaskStore, storage_options: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.masks = masks
        self._options = dict(storage_options or {}) or None
        self.uri = f"{folder.path if folder.is_local else folder.url}/{TABLE}"

    def __repr__(self) -> str:
        return f"Catalog({redacted(self.uri)!r})"

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
        for attempt in range(_ATTEMPTS):
            table = self.open() or (None if dry_run else self._create())
            present = self._present(table, ids, provenance)
            planned = plan(ids, prints, present, update=provenance.update)
            to_write, failures = self._to_write(rows, planned, masks, dry_run=dry_run)
            if table is not None and not dry_run:
                conflict = self._commit(table, to_write, provenance)
                if conflict is not None:
                    if self.version() == table.version():
                        raise StorageError(f"publishing to {self!r} failed: {conflict}")
                    _wait(attempt)
                    continue
            planned = _with_own_commits(planned, ids, prints, present, provenance)
            told = receipts(ids, prints, planned, provenance, failures)
            version = "" if table is None else str(table.version())
            return told.replace_schema_metadata({_VERSION_KEY: version})
        raise CatalogError(
            f"{self!r}: other runs kept publishing to {provenance.model_run!r}; run again"
        )

    def verify(self, receipts: pa.Table, provenance: Provenance, masks: int | None) -> Verification:
        """See :meth:`segpipe.publishing.destination.Destination.verify`."""
        ids = column_array(receipts, "reference_id").to_pylist()
        identity = (provenance.dataset, provenance.model_run)
        told = (receipts.schema.metadata or {}).get(_VERSION_KEY.encode(), b"")

        def rows_of(start: int, stop: int, *, now: bool) -> pa.Table:
            version = None if now or not told else int(told)
            return self.read_items(*identity, ids[start:stop], VERIFIED_COLUMNS, version=version)

        return verify(receipts, rows_of, self.masks, masks)

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
        table = self.open(version)
        if table is None:
            names = PREDICTIONS.names if columns is None else columns
            return pa.schema([PREDICTIONS.field(name) for name in names]).empty_table()
        return self._scan(table, columns, where)

    def read_items(
        self,
        dataset: str,
        model_run: str,
        reference_ids: Sequence[str],
        columns: list[str],
        *,
        version: int | None = None,
    ) -> pa.Table:
        """Published predictions of some items of a model run."""
        listed = ", ".join(map(quoted, reference_ids))
        where = f"{of_model_run(dataset, model_run)} AND reference_id IN ({listed})"
        return self.read(columns, where, version=version)

    def version(self) -> int | None:
        """The table's version; None where there is no table yet."""
        table = self.open(any_columns=True)
        return None if table is None else table.version()

    def open(self, version: int | None = None, *, any_columns: bool = False) -> DeltaTable | None:
        """The Delta table at a version, the newest where None; None where there is none yet.

        Args:
            any_columns: open it although columns are missing or changed, as for restoring it.

        Raises:
            CatalogError: if it cannot be read, or is not a segpipe catalog.
        """
        try:
            table = DeltaTable(self.uri, version=version, storage_options=self._options)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            at = "" if version is None else f" at version {version}"
            raise CatalogError(f"{self!r} cannot be opened{at}: {first_line(error)}") from None
        found = table.metadata().configuration.get(_FORMAT_KEY)
        if found != _FORMAT:
            raise CatalogError(
                f"{redacted(self.uri)} is a Delta table, but not one segpipe {_FORMAT} can publish "
                f"to ({_FORMAT_KEY} is {found!r}): choose another catalog, or upgrade segpipe"
            )
        if not any_columns:
            self._check_columns(table)
        return table

    def _check_columns(self, table: DeltaTable) -> None:
        """Columns added by others are left alone; one that is missing or changed is refused."""
        there = {field.name: field.type for field in table.schema().fields}
        for field in DeltaSchema.from_arrow(PREDICTIONS).fields:
            found = there.get(field.name)
            if found != field.type:
                words = "missing" if found is None else f"of another type ({found})"
                raise CatalogError(
                    f"{redacted(self.uri)}: the column {field.name!r} is {words}: the table was "
                    "changed by something other than segpipe; restore an earlier version of it"
                )

    def _masks_url(self) -> str:
        own, masks = self.folder.url, self.masks.folder.url
        if own.partition("://")[0] == masks.partition("://")[0] or "://" not in own + masks:
            return posixpath.relpath(masks, own)
        return self.masks.folder.shown

    def _create(self) -> DeltaTable:
        try:
            return DeltaTable.create(
                self.uri,
                PREDICTIONS,
                mode="ignore",
                partition_by=["dataset", "model_run"],
                name="predictions",
                description="Published segmentation predictions, one row per item and model run",
                configuration={_FORMAT_KEY: _FORMAT, _MASKS_KEY: self._masks_url()},
                storage_options=self._options,
                raise_if_key_not_exists=False,
            )
        except CommitFailedError:  # another run created it meanwhile
            return DeltaTable(self.uri, storage_options=self._options)
        except (DeltaError, OSError) as error:
            raise StorageError(f"{self!r} cannot be created: {first_line(error)}") from None

    def _scan(
        self,
        table: DeltaTable,
        columns: list[str] | None,
        where: str | None,
        ids: pa.Array | None = None,
    ) -> pa.Table:
        try:
            return _scan(table, columns, where, ids)
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise CatalogError(
                f"{self!r} cannot be read at version {table.version()}: {first_line(error)[:300]}. "
                "Were its files vacuumed or deleted? Restore a version whose files are there"
            ) from None

    def _present(self, table: DeltaTable | None, ids: pa.Array, provenance: Provenance) -> pa.Table:
        """What the table holds for the batch's items, at the table's version."""
        if table is None or not len(ids):
            return pa.schema([PREDICTIONS.field(name) for name in _PRESENT]).empty_table()
        span = pc.min_max(ids).as_py()
        where = (
            f"{of_model_run(provenance.dataset, provenance.model_run)} "
            f"AND reference_id >= {quoted(span['min'])} AND reference_id <= {quoted(span['max'])}"
        )
        # Filtered as it streams: a span of ids may hold the whole model run.
        present = self._scan(table, _PRESENT, where, ids)
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
        failures: dict[str, str] = {}
        same_store = masks.folder.url == self.masks.folder.url
        for id, sha256 in zip(
            rows["reference_id"].to_pylist(), rows["mask_sha256"].to_pylist(), strict=True
        ):
            if self.masks.has(sha256) if dry_run else self.masks.keep(sha256):
                continue
            if same_store or not masks.has(sha256):
                failures[id] = (
                    f"its mask {MaskStore.name_of(sha256)} is no longer in {masks!r}: "
                    "materialize the partition again"
                )
            elif not dry_run:
                self.masks.put(masks.read(sha256))
        if failures:
            refused = pc.is_in(rows["reference_id"], value_set=pa.array(list(failures)))
            rows = rows.filter(pc.invert(refused))
        if rows.num_rows and not dry_run:
            self.masks.folder.sync()
        return rows, failures

    def _commit(self, table: DeltaTable, rows: pa.Table, provenance: Provenance) -> str | None:
        """Make rows visible in one commit; the log's words where it was refused, as when another
        publisher was faster."""
        if not rows.num_rows:
            return None
        application = application_of(provenance.dataset, provenance.model_run)
        version = (table.transaction_version(application) or 0) + 1
        replaced = pc.sum(pc.is_valid(rows["previous_fingerprint"])).as_py()
        properties = CommitProperties(
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
        rows = _with_added_columns(rows, table)
        # Sorted, so that each file covers a narrow range of items and most can be skipped.
        rows = rows.sort_by("reference_id")
        try:
            if replaced:
                self._merge(table, rows, provenance, properties)
            else:
                write_deltalake(table, rows, mode="append", commit_properties=properties)
        except CommitFailedError as error:
            return first_line(error)
        except (DeltaError, OSError) as error:
            raise StorageError(
                f"publishing to {self!r} failed: {first_line(error)}. What was committed before "
                "is complete; run again to publish the rest"
            ) from None
        return None

    @staticmethod
    def _merge(
        table: DeltaTable, rows: pa.Table, provenance: Provenance, properties: CommitProperties
    ) -> None:
        target = of_model_run(provenance.dataset, provenance.model_run, "target.")
        # The range lets the merge skip files; without it every file of the table is read.
        span = pc.min_max(rows["reference_id"]).as_py()
        target += f" AND target.reference_id >= {quoted(span['min'])}"
        target += f" AND target.reference_id <= {quoted(span['max'])}"
        (
            table.merge(
                rows,
                f"{target} AND target.reference_id = source.reference_id",
                source_alias="source",
                target_alias="target",
                commit_properties=properties,
            )
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .execute()
        )


def open_catalog(url: str, storage_options: Mapping[str, str] | None = None) -> Catalog:
    """The catalog in a folder, for reading: ``open_catalog("demo/catalog").read()``.

    Args:
        url: of the catalog's folder, or of the root that holds it as ``catalog/``.
        storage_options: for remote URLs.

    Raises:
        CatalogError: if there is none.
    """
    for place in (url.rstrip("/"), f"{url.rstrip('/')}/catalog"):
        folder = Folder(place, storage_options)
        # The masks are named by the table itself, so that the folder is all one has to know.
        table = Catalog(folder, MaskStore(folder), storage_options).open()
        if table is not None:
            masks = table.metadata().configuration.get(_MASKS_KEY, "../masks")
            if "://" not in masks and not masks.startswith("/"):
                scheme, separator, path = place.rpartition("://")
                masks = f"{scheme}{separator}{posixpath.normpath(f'{path}/{masks}')}"
            return Catalog(folder, MaskStore(Folder(masks, storage_options)), storage_options)
    raise CatalogError(f"there is no catalog in {redacted(url)}: nothing was published there yet")


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


def _with_added_columns(rows: pa.Table, table: DeltaTable) -> pa.Table:
    """The rows with nulls for the columns that others added to the table."""
    for field in pa.schema(table.schema().to_arrow()):
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows


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


def _scan(
    table: DeltaTable, columns: list[str] | None, where: str | None, ids: pa.Array | None = None
) -> pa.Table:
    # The native scan: Arrow's dataset reader calls back into Python from its own threads and
    # can abort the interpreter at exit.
    reader = pa.RecordBatchReader.from_stream(table.scan(columns=columns, predicate=where))
    schema = pa.schema(
        [PREDICTIONS.field(name) for name in (PREDICTIONS.names if columns is None else columns)]
    )
    parts = [schema.empty_table()]
    for batch in reader:
        part = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
        if ids is not None:
            part = part.filter(pc.is_in(part["reference_id"], value_set=ids))
        if part.num_rows:
            parts.append(part)
    return pa.concat_tables(parts)


def application_of(dataset: str, model_run: str) -> str:
    """The Delta application whose transactions order the commits of a model run."""
    return f"segpipe/{dataset}/{model_run}"


def of_model_run(dataset: str, model_run: str, prefix: str = "") -> str:
    """The predicate for a model run's predictions."""
    return f"{prefix}dataset = {quoted(dataset)} AND {prefix}model_run = {quoted(model_run)}"


def quoted(text: str) -> str:
    """Text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def first_line(error: Exception) -> str:
    """What a library's error says, without its trace."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
