"""The Delta table of published predictions: reading and writing its rows.

``publishing.catalog`` is what users see of it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import RemoveAction

from segpipe.errors import CatalogError, StorageError, listed
from segpipe.publishing.advised_commands import AdvisedCommands
from segpipe.publishing.damaged_files import (
    CLOSELY,
    DamagedFile,
    DamagedFilesError,
    find_damaged,
    owners,
)
from segpipe.publishing.log_entries import LOG, TRANSACTIONS_KEY
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.table_columns import (
    aligned,
    described,
    missing_columns,
    nested_field,
    schema_of,
)
from segpipe.publishing.table_format import (
    FILE_SIZE,
    MASKS_KEY,
    SEGMENTS_COLUMN,
    WRITING,
    application_of,
    quoted,
)
from segpipe.publishing.table_opening import OpeningTable
from segpipe.storage.failures import library_words
from segpipe.storage.files import Folder
from segpipe.storage.local_paths import plain_place
from segpipe.tables.schemas import FORMAT, FORMAT_KEY
from segpipe.validation.validated import SEGMENT_LIST

_MOST_COMMANDS = 10


class PredictionsTable(OpeningTable):
    """The Delta table in a catalog's folder.

    Args:
        folder: the catalog's; holds the table as ``predictions``.
        masks: where the mask files are, as the table's own configuration names it.
        root: path or URL of the catalog's root, for the commands that messages advise.
    """

    def __init__(self, folder: Folder, masks: str, root: str | None = None) -> None:
        super().__init__(folder, AdvisedCommands(root))
        self._masks = masks

    def create(self, segments: pa.DataType = SEGMENT_LIST) -> DeltaTable:
        """The table; created if there is none yet.

        Args:
            segments: the type of its Segments, SEGMENT_LIST with declared metadata.

        Raises:
            StorageError: if it cannot be made.
        """
        self._make_folders([LOG])
        try:
            return DeltaTable.create(
                self._address(),
                described(segments),
                mode="ignore",
                partition_by=["dataset", "model_run"],
                name="predictions",
                description="Published segmentation predictions, one row per item and model run",
                configuration={
                    FORMAT_KEY: str(FORMAT),
                    MASKS_KEY: self._masks,
                    "delta.targetFileSize": str(FILE_SIZE),
                    # The columns used to skip files; others would only make the log larger.
                    "delta.dataSkippingStatsColumns": "reference_id,partition",
                },
                storage_options=self._options,
                post_commithook_properties=self.hooks,
                raise_if_key_not_exists=False,
            )
        except CommitFailedError:  # another run created it meanwhile
            return DeltaTable(self._address(), storage_options=self._options)
        except (DeltaError, OSError) as error:
            raise StorageError(f"{self.shown} cannot be created: {library_words(error)}") from None

    def read(
        self,
        table: DeltaTable,
        columns: list[str] | None = None,
        where: str | None = None,
        ids: pa.Array | None = None,
    ) -> pa.Table:
        """Rows of an opened table; memory is bounded by the result, not by the table.

        Args:
            columns: names to read; all if None. With ``ids``, must contain ``reference_id``.
            where: an SQL predicate on the columns.
            ids: string array of reference ids to read, all if None; filtered while streaming.

        Returns:
            The columns asked for, in the types of PREDICTIONS; Segments also with the columns of
            declared metadata that the table has. What a table of an older format lacks is null.

        Raises:
            DamagedFilesError: if files of the version are missing or damaged.
            CatalogError: if it cannot be read for another reason.
        """
        whole = schema_of(table)
        schema = pa.schema([whole.field(name) for name in columns or whole.names])
        if ids is not None:
            if not len(ids):
                return schema.empty_table()
            span = pc.min_max(ids).as_py()
            within = f"reference_id >= {quoted(span['min'])} AND reference_id <= "
            where = " AND ".join(filter(None, [where, within + quoted(span["max"])]))
        try:
            return self._retried(lambda: pa.concat_tables(_streamed(table, schema, where, ids)))
        except (DeltaError, OSError, pa.ArrowException) as error:
            if damaged := find_damaged(self._folder, table):
                raise self.damaged_error(table, damaged) from None
            raise CatalogError(
                f"{self.shown} cannot be read at version {table.version()}: "
                f"{library_words(error)[:300]}"
            ) from None

    def damaged(
        self, table: DeltaTable, model_run: tuple[str, str] | None = None
    ) -> list[DamagedFile]:
        """The missing and damaged files of a version; see :func:`find_damaged`."""
        return find_damaged(self._folder, table, model_run)

    def damaged_error(self, table: DeltaTable, files: Sequence[DamagedFile]) -> DamagedFilesError:
        """What to raise where files of a version cannot be read: with what brings them back."""
        words = f"{self.shown} cannot be read at version {table.version()}: {listed(files)}"
        if table.version() == self.version():
            advice = f"Publish what they held again with: {self.publishing_again(files)}"
        else:
            advice = "Were they vacuumed or deleted? Take a version whose files are there"
        return DamagedFilesError(f"{words}. {advice}", files)

    def publishing_again(
        self, files: Sequence[DamagedFile], but: tuple[str, str] | None = None
    ) -> str:
        """The commands that publish again what files held; empty where there are none.

        Args:
            but: model run and partition that are being published.
        """
        whose = [one for one in owners(files, self.commits()) if one != but]
        commands = [self.commands.run(*one, *CLOSELY) for one in whose[:_MOST_COMMANDS]]
        more = len(whose) - len(commands)
        return "; ".join(commands) + (f"; and so {more} further partitions" if more else "")

    def take_out(
        self, table: DeltaTable, files: Sequence[DamagedFile], provenance: Provenance
    ) -> None:
        """Take damaged files out of the table, for who publishes again what they held.

        Args:
            files: of the provenance's model run.

        Raises:
            CommitFailedError: if another publisher of the model run committed first.
            StorageError: if it cannot be written.
        """
        application = application_of(provenance.dataset, provenance.model_run)
        turn = Transaction(application, (table.transaction_version(application) or 0) + 1)
        now = int(time.time() * 1000)
        partition = {"dataset": provenance.dataset, "model_run": provenance.model_run}
        notes = {
            "operation": "mend",
            **partition,
            "partition": provenance.partition,
            "run_id": provenance.run_id,
            "removed_files": str(len(files)),
        }
        with _storage_failures(self.shown):
            table.create_write_transaction(
                [RemoveAction(one.path, True, now, one.size, partition) for one in files],
                "append",
                table.schema(),
                list(table.metadata().partition_columns),
                post_commithook_properties=self.hooks,
                commit_properties=CommitProperties(
                    app_transactions=[turn],
                    custom_metadata={
                        TRANSACTIONS_KEY: "1",
                        **{f"segpipe.{key}": value for key, value in notes.items()},
                    },
                ),
            )
        self.confirm(self.version() or 0)
        again = self.publishing_again(files, (provenance.model_run, provenance.partition))
        self.remarks.append(
            f"what could not be read was taken out of the catalog: {listed(files)}; this run "
            "publishes again what was of its partition"
            + (f"; publish the rest again with: {again}" if again else "")
        )

    def widen(self, table: DeltaTable, rows: pa.Table, provenance: Provenance) -> None:
        """Add the columns of Segments that rows have and the table lacks: metadata that was
        declared since. No file is rewritten; what was published before has nulls there.

        Raises:
            CommitFailedError: if another commit changed the table at the same time.
            StorageError: if it cannot be written.
            SettingsError: see :func:`missing_columns`.
        """
        missing = missing_columns(table, rows.schema.field(SEGMENTS_COLUMN).type)
        if not missing or not rows.num_rows:
            return
        names = ", ".join(field.name for field in missing)
        notes = {"operation": "widen", "columns": names, "run_id": provenance.run_id}
        with _storage_failures(self.shown):
            table.alter.add_columns(
                list(nested_field(missing).fields),
                commit_properties=CommitProperties(
                    custom_metadata={f"segpipe.{key}": value for key, value in notes.items()}
                ),
                post_commithook_properties=self.hooks,
            )
        self.confirm(table.version())
        self.remarks.append(
            f"the catalog's Segments got the columns {names}: null in what was published before"
        )

    def append(self, table: DeltaTable, rows: pa.Table, properties: CommitProperties) -> None:
        """Add rows in one commit.

        Raises:
            CommitFailedError: if another publisher of the model run committed first.
            StorageError: if it cannot be written.
        """
        self._make_folders(_partition_folders(rows))
        with _storage_failures(self.shown):
            write_deltalake(
                table,
                _for_writing(rows, table),
                mode="append",
                commit_properties=properties,
                post_commithook_properties=self.hooks,
                writer_properties=WRITING,
            )

    def merge(
        self,
        table: DeltaTable,
        rows: pa.Table,
        of: str,
        replaced: pa.Array,
        properties: CommitProperties,
    ) -> None:
        """Replace the rows with the same reference id and add the others, in one commit.

        Args:
            of: the predicate for the rows' model run, with its columns prefixed ``target.``.
            replaced: the reference ids the table already holds.

        Raises:
            CommitFailedError: if another publisher of the model run committed first.
            StorageError: if it cannot be written.
        """
        # The range lets the merge skip files; without it every file of the table is read.
        span = pc.min_max(replaced).as_py()
        of += f" AND target.reference_id >= {quoted(span['min'])}"
        of += f" AND target.reference_id <= {quoted(span['max'])}"
        self._make_folders(_partition_folders(rows))
        with _storage_failures(self.shown):
            (
                table.merge(
                    _for_writing(rows, table),
                    f"{of} AND target.reference_id = source.reference_id",
                    source_alias="source",
                    target_alias="target",
                    commit_properties=properties,
                    post_commithook_properties=self.hooks,
                    writer_properties=WRITING,
                )
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .execute()
            )


def _partition_folders(rows: pa.Table) -> Iterator[str]:
    for dataset in pc.unique(rows["dataset"]).to_pylist():
        yield _partition_folder(dataset)


@cache
def _partition_folder(dataset: str) -> str:
    """The folder of a dataset in the table: the Delta library is asked how it names it."""
    with tempfile.TemporaryDirectory(dir=plain_place()) as folder:
        rows = pa.table({"dataset": [dataset], "row": [0]})
        write_deltalake(folder, rows, partition_by=["dataset"])
        (name,) = (entry for entry in os.listdir(folder) if entry != LOG)
    return name


@contextmanager
def _storage_failures(shown: str) -> Iterator[None]:
    """Raise the storage's failures as StorageError; commit conflicts pass through unchanged."""
    try:
        yield
    except CommitFailedError:
        raise
    except (DeltaError, OSError) as error:
        raise StorageError(
            f"publishing to {shown} failed: {library_words(error)}. What was committed before is "
            "complete; run again to publish the rest"
        ) from None


def _streamed(
    table: DeltaTable, schema: pa.Schema, where: str | None, ids: pa.Array | None
) -> Iterator[pa.Table]:
    yield schema.empty_table()
    # delta-rs' own scan: Arrow's dataset reader calls back into Python from its own threads and
    # can abort the interpreter at exit.
    scanned = table.scan(columns=schema.names, predicate=where)
    for batch in pa.RecordBatchReader.from_stream(scanned):
        part = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
        if ids is not None:
            part = part.filter(pc.is_in(part["reference_id"], value_set=ids))
        if part.num_rows:
            yield part


def _for_writing(rows: pa.Table, table: DeltaTable) -> pa.Table:
    """The rows with nulls in columns that only the table has, sorted by item.

    Sorted, each file covers a narrow range of items, and most files can be skipped.
    """
    return aligned(rows, table).sort_by("reference_id")


def first_line(error: Exception) -> str:
    """The first line of a library's error message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def is_missing_file(error: Exception) -> bool:
    """Whether reading failed because a file is not there: nothing was committed then."""
    if isinstance(error, DamagedFilesError):
        return any(file.is_missing for file in error.files)
    words = str(error).lower()
    return "not found" in words or "no such file" in words
