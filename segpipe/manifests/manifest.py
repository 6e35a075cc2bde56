"""Parquet manifests: one row per prediction, read as a stream of chunks.

A *file* is checked before its first row is read, and raises ManifestError if it cannot be used. A
*row* is judged by the rules (segpipe.validation.rules), so that one bad row does not affect others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.errors import ManifestError, listed
from segpipe.manifests.carried import CarriedColumns
from segpipe.manifests.cells import readable_text
from segpipe.manifests.columns import (
    check_columns,
    class_names,
    form_of_masks,
    segment_column,
)
from segpipe.manifests.footer import check_footer
from segpipe.manifests.held_masks import MASK_COLUMN, MaskForm
from segpipe.manifests.limits import MAX_READING_BYTES, Limits
from segpipe.manifests.reading_plan import ReadingPlans
from segpipe.manifests.row_sizes import SizedRows, merged, sized
from segpipe.manifests.rows import ManifestBatch, ManifestChunk
from segpipe.storage.files import Folder

_READ_AHEAD = 2**17
_ARRAYS_MEMORY = MAX_READING_BYTES // 4


@dataclass(frozen=True)
class ManifestFile:
    """A readable Parquet file whose columns were checked.

    Attributes:
        folder, name: where it is.
        shown: its name in tables and messages.
        rows: number of rows.
        limits: rows beyond them are not read as a whole.
        masks_name_files: some masks in its rows are paths of files.
    """

    folder: Folder
    name: str
    shown: str
    rows: int
    schema: pa.Schema
    limits: Limits = field(default_factory=Limits)
    masks_name_files: bool = False

    def read_columns(self, columns: Sequence[str]) -> list[str]:
        """Of some columns those to be read: what there is, and where ``mask_url`` stands; one at
        least, so that rows can be counted."""
        there = [name for name in columns if name in self.schema.names]
        if self.masks_name_files and "mask_url" in columns and MASK_COLUMN not in there:
            there.append(MASK_COLUMN)
        return there or ["reference_id"]

    @cached_property
    def plans(self) -> ReadingPlans:
        """How its columns are read in bounded memory; what was found is kept.

        Raises:
            pyarrow.ArrowException, OSError: if the file turns out to be damaged.
        """
        with self.open() as handle:
            return ReadingPlans(self.shown, handle)

    def open(self) -> IO[bytes]:
        """The file, for reading some of its columns.

        Raises:
            StorageError: if it cannot be opened.
        """
        # Beside the masks the other columns are small: what follows them is not read ahead.
        ahead = None if form_of_masks(self.schema) is None else _READ_AHEAD
        return self.folder.open_input(self.name, ahead)

    def column(self, place: int) -> Iterator[pa.Array]:
        """Stream one column, given its place in the schema.

        Raises:
            ManifestError: if the file turns out to be damaged.
        """
        name = self.schema.field(place).name
        # All columns of that name are read; this one is as many places after the first.
        among = self.schema.names[:place].count(name)
        for part in _batches(self, [name], 65_536):
            names, columns = part.rows.schema.names, part.rows.columns
            named = [c for n, c in zip(names, columns, strict=True) if n == name]
            yield named[among]


@dataclass(frozen=True)
class Manifest:
    """The manifest files of one partition, read as one manifest.

    Attributes:
        files: sorted by name.
        carried: the columns that are carried through to the tables.
    """

    files: tuple[ManifestFile, ...]
    carried: CarriedColumns

    @classmethod
    def open(
        cls, files: Sequence[tuple[Folder, str, str]], limits: Limits | None = None
    ) -> Manifest:
        """Open and check manifest files.

        Only their footers are read, and carried columns that have several types.

        Args:
            files: folder, file name, and name for messages, of each.
            limits: on the manifest and its rows; None for the defaults.

        Raises:
            ManifestError: naming the file, the column, what was found and what was expected.
        """
        limits = limits or Limits()
        opened = tuple(_open(folder, name, shown, limits) for folder, name, shown in files)
        rows = sum(file.rows for file in opened)
        if rows > limits.max_rows:
            raise ManifestError(
                f"{listed([file.shown for file in opened])}: the manifest has {rows:,} rows, over "
                f"the limit of {limits.max_rows:,} (max_rows in the policy). Split it into several "
                "days or model runs, or raise the limit"
            )
        if not any(file.rows for file in opened):
            shown = ", ".join(file.shown for file in opened)
            raise ManifestError(
                f"{shown}: the manifest has no rows. A model run that predicted nothing needs no "
                "manifest; otherwise write it again"
            )
        return cls(opened, CarriedColumns.of(opened))

    @property
    def extras(self) -> pa.Schema:
        """Schema of the carried columns, with their names in the tables."""
        return self.carried.schema

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not as the files have it, for people; empty if everything is."""
        return self.carried.warnings

    @property
    def columns_without_masks(self) -> tuple[str, ...]:
        """The names of all columns but the one that holds masks."""
        names = dict.fromkeys(name for file in self.files for name in file.schema.names)
        return tuple(name for name in names if name != MASK_COLUMN)

    @property
    def rows(self) -> int:
        """Rows of all files together."""
        return sum(file.rows for file in self.files)

    def content_sha256(self) -> str:
        """SHA-256 over the bytes of all files, read when first asked for it: equal content, equal
        digest."""
        return self._content_sha256

    @cached_property
    def _content_sha256(self) -> str:
        digest = hashlib.sha256()
        for file in self.files:
            with file.folder.open_input(file.name) as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())  # type: ignore[arg-type]
        return digest.hexdigest()

    def batches(
        self, rows_per_batch: int, columns: Sequence[str] | None = None
    ) -> Iterator[ManifestBatch]:
        """Stream all rows in order; memory is bounded, see ``limits``.

        Args:
            columns: names of the columns to read; all if None.

        Raises:
            ManifestError: if a file turns out to be damaged.
        """
        for file, carried in zip(self.files, self.carried.names, strict=True):
            number = 0
            names = None if columns is None else file.read_columns(columns)
            extras = self.extras if columns is None else pa.schema([])
            segments, classes = segment_column(file.schema), class_names(file.schema)
            masks = form_of_masks(file.schema)
            for part in _batches(file, names, rows_per_batch):
                yield ManifestBatch(
                    folder=file.folder.url,
                    manifest=file.shown,
                    first=number,
                    rows=part.rows,
                    segment_column=segments,
                    extras=extras,
                    carried=carried if columns is None else (),
                    class_names=classes,
                    too_large=part.too_large,
                    mask_form=masks,
                )
                number += part.rows.num_rows

    def chunks(
        self, rows_per_chunk: int = 256, columns: Sequence[str] | None = None
    ) -> Iterator[ManifestChunk]:
        """:meth:`batches`, each converted to a chunk."""
        for batch in self.batches(rows_per_chunk, columns):
            yield batch.chunk()

    def reference_ids(self) -> Iterator[pa.Array]:
        """Stream the reference ids alone, as string arrays with nulls.

        Raises:
            ManifestError: if a file turns out to be damaged.
        """
        for file in self.files:
            for part in _batches(file, ["reference_id"], 65_536):
                yield readable_text(part.rows.column(0), None)


def _open(folder: Folder, name: str, shown: str, limits: Limits) -> ManifestFile:
    handle = folder.open_input(name)
    try:
        with handle:
            check_footer(shown, handle)
            file = pq.ParquetFile(handle)
            schema, rows = file.schema_arrow, file.metadata.num_rows
            metadata = file.metadata
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, ManifestError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ManifestError(
            f"{shown} is not a readable Parquet file ({reason}). Write the manifest again, or "
            "point to a .parquet file"
        ) from None
    check_columns(shown, schema)
    named = _name_files(metadata, form_of_masks(schema))
    return ManifestFile(folder, name, shown, rows, schema, limits, named)


def _name_files(metadata: pq.FileMetaData, form: MaskForm | None) -> bool:
    """Whether some masks have no bytes, and so may be paths of files."""
    if form is None or not form.may_name_files:
        return False
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema == f"{MASK_COLUMN}.bytes":
                counted = chunk.statistics
                if counted is None or not counted.has_null_count or counted.null_count:
                    return True
    return False


def _batches(file: ManifestFile, columns: Sequence[str] | None, rows: int) -> Iterator[SizedRows]:
    try:
        with file.open() as handle:
            masks = form_of_masks(file.schema)
            memory = _ARRAYS_MEMORY if masks and masks.holds_arrays else MAX_READING_BYTES
            plan = file.plans.of(handle, columns, rows, memory)
            batches = plan.batches(handle, columns)
            parts = chain.from_iterable(sized(batch, file.limits) for batch in batches)
            yield from merged(parts, rows, file.limits)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(
            f"{file.shown} is damaged: {str(error).splitlines()[0]}. Write the manifest again"
        ) from None
