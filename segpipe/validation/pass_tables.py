"""The three tables of a pass over a manifest, while they are written."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.manifests.cells import cells_of
from segpipe.manifests.rows import ManifestRow
from segpipe.storage.files import Folder
from segpipe.tables.schemas import VALIDATED, segments_schema
from segpipe.tables.writing import column_array
from segpipe.validation.chunk import ValidatedChunk, Validation, rejected_table
from segpipe.validation.duplicates import Duplicates, SameMasks
from segpipe.validation.ground_truth import TruthCounts
from segpipe.validation.partition_tables import PartitionTables
from segpipe.validation.rules import Finding, Found, Severity, finding
from segpipe.validation.rules.rows import DUPLICATE_MASK, REF_DUPLICATE
from segpipe.validation.summary import Summary

#: Part of every digest: increment it when the same masks may give different tables.
CODE_VERSION = "10"
# The last column of rows until they are written: what is equal for masks of equal pixels.
_PIXELS = pa.field("pixels", pa.string())
_DUPLICATE_COLUMNS = ("reference_id", "fingerprint", "manifest", "manifest_row")


class PassTables:
    """Writes the tables of a pass, and decides on rows whose item occurs more than once.

    Args:
        stack: the tables appear under their names when it closes without an error.
        out: folder of the tables.
        extras: the manifest's carried columns.
    """

    def __init__(
        self,
        stack: ExitStack,
        out: Folder,
        extras: pa.Schema,
        duplicates: Duplicates,
        validation: Validation,
    ) -> None:
        schemas = pa.schema([*VALIDATED, *extras]), segments_schema(validation.policy.metadata)
        self._tables = PartitionTables(stack, out, *schemas, CODE_VERSION)
        self._deferred = _DeferredRows(stack, schemas[0].append(_PIXELS), schemas[1])
        self._duplicates = duplicates
        self._validation = validation
        self._same_masks = SameMasks()
        self._findings: Counter[str] = Counter()
        self._repeated = 0
        self._truth = TruthCounts()

    def add(self, chunk: ValidatedChunk) -> None:
        """Append a chunk; rows of items that occur more than once are deferred."""
        self._findings.update(chunk.findings)
        self._truth.update(chunk.truth)
        self._tables.reject(chunk.rejected)
        validated = chunk.validated.append_column(_PIXELS, chunk.pixels)
        segments = chunk.segments
        if len(self._duplicates.repeated) and validated.num_rows:
            repeated = self._duplicates.is_repeated(validated["reference_id"])
            repeated_segments = self._duplicates.is_repeated(segments["reference_id"])
            self._defer(validated.filter(repeated), segments.filter(repeated_segments))
            validated = validated.filter(pc.invert(repeated))
            segments = segments.filter(pc.invert(repeated_segments))
        self._accept(validated, segments)

    def finish(self, rows: int) -> Summary:
        """Decide on the deferred rows, and summarize.

        Args:
            rows: rows of the manifest.
        """
        for validated, segments in self._deferred.chunks():
            self._resolve(validated, segments)
        return self._tables.finish(
            rows,
            repeated=self._repeated,
            taxonomy_size=len(self._validation.taxonomy_list or ()),
            findings=self._findings,
            truth=self._truth,
        )

    def _accept(self, validated: pa.Table, segments: pa.Table) -> None:
        last = validated.num_columns - 1
        pixels, validated = validated.column(last), validated.remove_column(last)
        self._tables.accept(self._with_same_masks(validated, pixels), segments)

    def _with_same_masks(self, validated: pa.Table, pixels: pa.ChunkedArray) -> pa.Table:
        """The rows, with a finding where another item has the same mask."""
        policy = self._validation.policy
        if policy.severity_of(DUPLICATE_MASK) is Severity.OFF:
            return validated
        added: dict[int, dict[str, str]] = {}
        empty = _empty_masks(validated)
        columns = pixels.to_pylist(), cells_of(column_array(validated, "reference_id"))
        for place, (own, reference_id) in enumerate(zip(*columns, strict=True)):
            if place in empty:
                continue  # equal empty masks mean nothing
            other = self._same_masks.other_item(own, reference_id)
            if other is not None:
                words = f"{other!r} has the very same mask: did each item get its own?"
                found = finding(DUPLICATE_MASK, policy, Found(words))
                added[place] = {
                    "rule": found.rule,
                    "severity": found.severity.value,
                    "message": found.message,
                }
        if not added:
            return validated
        self._findings[DUPLICATE_MASK.id] += len(added)
        findings = validated["findings"].to_pylist()
        for place, one in added.items():
            findings[place] = [*findings[place], one]
        place = validated.schema.get_field_index("findings")
        column = validated.schema.field("findings")
        return validated.set_column(place, column, pa.array(findings, column.type))

    def _defer(self, validated: pa.Table, segments: pa.Table) -> None:
        self._deferred.add(validated, segments)
        for row in zip(*(validated[name].to_pylist() for name in _DUPLICATE_COLUMNS), strict=True):
            self._duplicates.note(*row)

    def _resolve(self, validated: pa.Table, segments: pa.Table) -> None:
        """Reject deferred rows that conflict; of equal ones, keep the first."""
        validation = self._validation
        keep: list[bool] = []
        conflicts: list[tuple[ManifestRow, Finding]] = []
        for row in zip(*(validated[name].to_pylist() for name in _DUPLICATE_COLUMNS), strict=True):
            reference_id, _, manifest, number = row
            conflict = self._duplicates.conflict(reference_id)
            if conflict is not None:
                rejected = ManifestRow(manifest, number, reference_id, None, None)
                conflicts.append((rejected, finding(REF_DUPLICATE, validation.policy, conflict)))
            keep.append(conflict is None and self._duplicates.keep(reference_id))
        self._findings[REF_DUPLICATE.id] += len(conflicts)
        self._repeated += len(keep) - sum(keep) - len(conflicts)
        self._tables.reject(rejected_table(conflicts, validation.dataset, validation.model_run))
        owner = np.repeat(keep, validated["n_segments"].to_numpy())
        self._accept(validated.filter(pa.array(keep)), segments.filter(pa.array(owner)))


class _DeferredRows:
    """Rows that can be decided on only after the last row, kept on disk until then."""

    def __init__(self, stack: ExitStack, validated: pa.Schema, segments: pa.Schema) -> None:
        self._stack = stack
        self._schemas = (validated, segments)
        self._files: list[IO[bytes]] = []
        self._writers: list[pq.ParquetWriter] = []

    def add(self, *tables: pa.Table) -> None:
        """Append a chunk of the validated and the segments table."""
        if tables[0].num_rows == 0:
            return
        if not self._writers:
            for schema in self._schemas:
                temporary = tempfile.TemporaryFile(prefix="segpipe-")  # noqa: SIM115
                file = self._stack.enter_context(temporary)
                self._files.append(file)
                writer = pq.ParquetWriter(file, schema)
                self._stack.callback(_close, writer)
                self._writers.append(writer)
        for writer, table in zip(self._writers, tables, strict=True):
            writer.write_table(table, row_group_size=max(1, table.num_rows))

    def chunks(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """The chunks, in the order they were added; nothing can be added afterwards."""
        for writer in self._writers:
            writer.close()
        if self._files:
            validated, segments = map(pq.ParquetFile, self._files)
            for group in range(validated.num_row_groups):
                yield validated.read_row_group(group), segments.read_row_group(group)


def _close(writer: pq.ParquetWriter) -> None:
    # After a failure; closing twice does nothing.
    with suppress(Exception):
        writer.close()


def _empty_masks(validated: pa.Table) -> frozenset[int]:
    """Places of the rows with a finding that the mask is empty."""
    findings = validated["findings"].combine_chunks()
    of_emptiness = pc.equal(pc.struct_field(findings.flatten(), "rule"), "EMPTY-MASK")
    return frozenset(pc.list_parent_indices(findings).filter(of_emptiness).to_pylist())
