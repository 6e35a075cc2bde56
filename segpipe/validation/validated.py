"""Reading a partition's validated predictions, with a check that its tables belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.errors import TableError
from segpipe.manifests.reading_plan import ReadingPlans
from segpipe.manifests.row_sizes import cut
from segpipe.storage.files import Folder
from segpipe.tables.amounts import bytes_at_once
from segpipe.tables.schemas import MEASURED, SEGMENTS
from segpipe.validation.inputs import INPUTS_FILE
from segpipe.validation.partition_tables import DIGEST_KEY
from segpipe.validation.summary import REJECTED_FILE, SEGMENTS_FILE, VALIDATED_FILE, Summary

# Bytes of rows that are held at once, whatever number is asked for; a fourth where they are large.
_BYTES_AT_ONCE = 48_000_000
# Bytes of memory that reading takes, beside the rows that it gives.
_READING_BYTES = 96_000_000
#: A prediction's segments in nested form: one struct per Segment, sorted by index. Where metadata
#: is declared, its columns follow in the struct.
SEGMENT_LIST = pa.list_(pa.struct(MEASURED))


@dataclass(frozen=True)
class PredictionBatch:
    """N validated predictions with their segments.

    Attributes:
        rows: N rows of the validated table.
        segments: N entries of SEGMENT_LIST, one per row.
    """

    rows: pa.Table
    segments: pa.Array

    def __str__(self) -> str:
        ids = self.rows["reference_id"]
        return f"the predictions of {ids[0].as_py()!r} to {ids[-1].as_py()!r}"


class ValidatedPredictions:
    """The tables of one materialized partition, as a stream of batches.

    Raises:
        TableError: if they are missing or damaged, or a table is left over from another pass.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.summary = Summary.read(folder)
        self._check(VALIDATED_FILE, self.summary.validated_digest)
        self._check(SEGMENTS_FILE, self.summary.validated_digest)
        self._check(REJECTED_FILE, self.summary.rejected_digest)

    def __len__(self) -> int:
        return self.summary.accepted

    @property
    def schema(self) -> pa.Schema:
        """Of the validated table: VALIDATED, then the manifest's carried columns."""
        with self.folder.open_input(VALIDATED_FILE) as handle:
            return pq.ParquetFile(handle).schema_arrow.remove_metadata()

    def batches(self, rows: int) -> Iterator[PredictionBatch]:
        """The predictions in the table's order, at most ``rows`` per batch.

        Raises:
            TableError: if the tables were replaced meanwhile, or do not belong together.
        """
        with (
            self.folder.open_input(VALIDATED_FILE) as validated,
            self.folder.open_input(SEGMENTS_FILE) as segments,
        ):
            # Another pass may have replaced the files since this object was made.
            _check_digest(self.folder, VALIDATED_FILE, validated, self.summary.validated_digest)
            _check_digest(self.folder, SEGMENTS_FILE, segments, self.summary.validated_digest)
            schema = pq.read_schema(segments).remove_metadata()
            measured = _RowReader(
                pieces(f"{self.folder.shown}/{SEGMENTS_FILE}", segments, 65_536), schema
            )
            for piece in pieces(f"{self.folder.shown}/{VALIDATED_FILE}", validated, rows):
                table = pa.Table.from_batches([piece]).replace_schema_metadata()
                while table.num_rows:
                    counts = table["n_segments"].to_numpy()
                    own, first = measured.of_first(counts)
                    counts, head = counts[:first], table.slice(0, first)
                    yield PredictionBatch(head, self._nested(head, counts, own))
                    table = table.slice(first)

    def _nested(self, table: pa.Table, counts: np.ndarray, segments: pa.Table) -> pa.Array:
        owner = np.repeat(np.arange(table.num_rows), counts)
        expected = table["reference_id"].take(pa.array(owner))
        if segments.num_rows != owner.size or not segments["reference_id"].equals(expected):
            raise TableError(
                f"{self.folder.shown}: the segment table does not follow the validated table; "
                "materialize the partition again"
            )
        return nested(counts, segments)

    def read_anew(self) -> None:
        """Have the partition's next run read its sources again, as where a stored mask is lost.

        Raises:
            StorageError: if that cannot be noted.
        """
        self.folder.remove(INPUTS_FILE)

    def rejected(self, most: int) -> pa.Table:
        """The first findings of rejected rows: REJECTED, at most ``most`` rows."""
        with self.folder.open_input(REJECTED_FILE) as handle:
            for batch in pq.ParquetFile(handle).iter_batches(batch_size=most):
                return pa.Table.from_batches([batch])
            return pq.ParquetFile(handle).schema_arrow.empty_table()

    @property
    def rejected_rows(self) -> int:
        """Rows of the rejected table: findings, of which a rejected row may have several."""
        with self.folder.open_input(REJECTED_FILE) as handle:
            return int(pq.ParquetFile(handle).metadata.num_rows)

    def _check(self, name: str, digest: str) -> None:
        if not self.folder.exists(name):
            raise TableError(
                f"{self.folder.shown}/{name} is missing: materialize the partition again"
            )
        with self.folder.open_input(name) as handle:
            _check_digest(self.folder, name, handle, digest)
            if name == SEGMENTS_FILE:
                _check_columns(f"{self.folder.shown}/{name}", handle)


def nested(counts: np.ndarray, segments: pa.Table) -> pa.Array:
    """Rows of the segment table in nested form.

    Args:
        counts: integers of shape (N,): number of rows of each of the N predictions.
        segments: all their rows, in the same order.

    Returns:
        N entries of SEGMENT_LIST, with the columns of declared metadata that there are.
    """
    members = [*MEASURED, *(one for one in segments.schema if one.name not in SEGMENTS.names)]
    structs = pa.StructArray.from_arrays(
        [segments[member.name].combine_chunks() for member in members], fields=members
    )
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), structs).cast(pa.list_(pa.struct(members)))


def _check_digest(folder: Folder, name: str, handle: IO[bytes], digest: str) -> None:
    try:
        notes = pq.ParquetFile(handle).metadata.metadata or {}
    except pa.ArrowException as error:
        raise TableError(f"{folder.shown}/{name} is damaged ({error}): materialize again") from None
    if notes.get(DIGEST_KEY.encode()) != digest.encode():
        raise TableError(
            f"{folder.shown}/{name} comes from another pass than {folder.shown}'s "
            "summary, as after a crash: materialize the partition again"
        )


def _check_columns(shown: str, handle: IO[bytes]) -> None:
    there = pq.read_schema(handle).names
    missing = [name for name in SEGMENTS.names if name not in there]
    if missing:
        raise TableError(
            f"{shown} has no column {', '.join(missing)}, as those of an earlier segpipe: "
            "materialize the partition again"
        )


class _RowReader:
    """Gives the rows of the segment table to the predictions they belong to, in order."""

    def __init__(self, pieces: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
        self._pieces = pieces
        self._rest = schema.empty_table()

    def of_first(self, counts: np.ndarray) -> tuple[pa.Table, int]:
        """The next rows, those of as many predictions as can be held at once.

        Args:
            counts: integers of shape (N,): number of rows of each of the next N predictions.

        Returns:
            The rows, fewer at the end of the file, and the number of predictions: 1 to N.
        """
        ends = np.cumsum(counts)
        parts, have, size = [self._rest], self._rest.num_rows, self._rest.nbytes
        while have < ends[-1] and (have < ends[0] or not _are_enough(ends, have, size)):
            piece = next(self._pieces, None)
            if piece is None:
                break
            parts.append(pa.Table.from_batches([piece]).replace_schema_metadata())
            have += piece.num_rows
            size += piece.nbytes
        else:
            counts = counts[: max(1, int(np.searchsorted(ends, have, side="right")))]
        whole, rows = pa.concat_tables(parts), int(counts.sum())
        self._rest = whole.slice(rows)
        return whole.slice(0, rows), len(counts)


def _are_enough(ends: np.ndarray, have: int, size: int) -> bool:
    predictions = int(np.searchsorted(ends, have, side="right"))
    return size >= bytes_at_once(_BYTES_AT_ONCE, predictions, size)


def pieces(
    shown: str, handle: IO[bytes], rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a table in order, in pieces of a bounded number and of bounded size.

    Args:
        shown: name of the table, for messages.
        columns: those to read; all if None.
    """
    plan = ReadingPlans(shown, handle).of(handle, columns, rows, _READING_BYTES)
    for batch in plan.batches(handle, columns):
        yield from cut(batch, _BYTES_AT_ONCE)
