"""The three tables of a pass, while they are written."""

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
from segpipe.tables.digest import TableDigest
from segpipe.tables.schemas import REJECTED, SEGMENTS, VALIDATED
from segpipe.tables.writing import TableWriter, column_array, table_writer
from segpipe.validation.chunk import (
    ValidatedChunk,
    Validation,
    rejected_table,
)
from segpipe.validation.duplicates import Duplicates, SameMasks
from segpipe.validation.rules import Finding, Found, Severity, finding
from segpipe.validation.rules.rows import DUPLICATE_MASK, REF_DUPLICATE
from segpipe.validation.summary import REJECTED_FILE, SEGMENTS_FILE, VALIDATED_FILE, Summary

#: Part of every digest: bump it when the same masks may lead to other tables.
CODE_VERSION = "3"
#: Where each table's footer holds the digest of its pass.
DIGEST_KEY = "segpipe.digest"
_WHOSE = ("reference_id", "fingerprint", "manifest", "manifest_row")


class PassTables:
    """The three tables being written, and a place aside for rows whose item occurs twice."""

    def __init__(
        self,
        validated: TableWriter,
        segments: TableWriter,
        rejected: TableWriter,
        aside: _Aside,
        duplicates: Duplicates,
        validation: Validation,
    ) -> None:
        self._validation = validation
        self._same_masks = SameMasks()
        self._validated, self._segments, self._rejected = validated, segments, rejected
        self._aside = aside
        self._duplicates = duplicates
        self._findings: Counter[str] = Counter()
        self._validated_digest = TableDigest(CODE_VERSION)
        self._rejected_digest = TableDigest(CODE_VERSION)
        self._rejected_rows = 0
        self._repeated = 0

    @classmethod
    def open(
        cls,
        stack: ExitStack,
        out: Folder,
        extras: pa.Schema,
        duplicates: Duplicates,
        validation: Validation,
    ) -> PassTables:
        """Open all tables for writing; they appear when the stack closes without an error."""
        schema = pa.schema([*VALIDATED, *extras])
        validated = stack.enter_context(table_writer(out, VALIDATED_FILE, schema))
        segments = stack.enter_context(table_writer(out, SEGMENTS_FILE, SEGMENTS))
        rejected = stack.enter_context(table_writer(out, REJECTED_FILE, REJECTED))
        return cls(validated, segments, rejected, _Aside(stack, schema), duplicates, validation)

    def add(self, chunk: ValidatedChunk) -> None:
        """Append a chunk; rows of items that occur twice are set aside."""
        self._findings.update(chunk.findings)
        self._reject(chunk.rejected)
        validated, segments = chunk.validated, chunk.segments
        if len(self._duplicates.repeated) and validated.num_rows:
            repeated = self._duplicates.is_repeated(validated["reference_id"])
            own = self._duplicates.is_repeated(segments["reference_id"])
            self._set_aside(validated.filter(repeated), segments.filter(own))
            validated = validated.filter(_not(repeated))
            segments = segments.filter(_not(own))
        self._accept(validated, segments)

    def finish(self, rows: int) -> Summary:
        """Decide on the rows set aside and sum up."""
        for validated, segments in self._aside.chunks():
            self._decide(validated, segments)
        validated_digest = self._validated_digest.hexdigest()
        rejected_digest = self._rejected_digest.hexdigest()
        for table, digest in (
            (self._validated, validated_digest),
            (self._segments, validated_digest),
            (self._rejected, rejected_digest),
        ):
            table.add_metadata(DIGEST_KEY, digest)
        return Summary(
            rows=rows,
            accepted=self._validated.rows,
            rejected=self._rejected_rows,
            repeated=self._repeated,
            segments=self._segments.rows,
            taxonomy_size=len(self._validation.taxonomy_list or ()),
            findings=dict(sorted(self._findings.items())),
            validated_digest=validated_digest,
            rejected_digest=rejected_digest,
        )

    def _accept(self, validated: pa.Table, segments: pa.Table) -> None:
        validated = self._with_same_masks(validated)
        self._validated.write(validated)
        self._segments.write(segments)
        self._validated_digest.add(validated)

    def _with_same_masks(self, validated: pa.Table) -> pa.Table:
        """The rows, with a finding where another item has the very same mask."""
        policy = self._validation.policy
        if policy.severity_of(DUPLICATE_MASK) is Severity.OFF:
            return validated
        told: dict[int, dict[str, str]] = {}
        empty = _empty_masks(validated)
        names = ("mask_sha256", "reference_id")
        columns = (cells_of(column_array(validated, name)) for name in names)
        for place, (mask_sha256, reference_id) in enumerate(zip(*columns, strict=True)):
            if place in empty:
                continue  # empty masks are equal without meaning anything by it
            other = self._same_masks.other_item(mask_sha256, reference_id)
            if other is not None:
                words = f"{other!r} has the very same mask: did each item get its own?"
                found = finding(DUPLICATE_MASK, policy, Found(words))
                told[place] = {
                    "rule": found.rule,
                    "severity": found.severity.value,
                    "message": found.message,
                }
        if not told:
            return validated
        self._findings[DUPLICATE_MASK.id] += len(told)
        findings = validated["findings"].to_pylist()
        for place, one in told.items():
            findings[place] = [*findings[place], one]
        place = validated.schema.get_field_index("findings")
        column = validated.schema.field("findings")
        return validated.set_column(place, column, pa.array(findings, column.type))

    def _reject(self, rejected: pa.Table) -> None:
        if rejected.num_rows == 0:
            return
        self._rejected.write(rejected)
        self._rejected_digest.add(rejected)
        rows = rejected.select(["manifest", "manifest_row"])
        self._rejected_rows += rows.group_by(["manifest", "manifest_row"]).aggregate([]).num_rows

    def _set_aside(self, validated: pa.Table, segments: pa.Table) -> None:
        self._aside.add(validated, segments)
        for row in zip(*(validated[name].to_pylist() for name in _WHOSE), strict=True):
            self._duplicates.note(*row)

    def _decide(self, validated: pa.Table, segments: pa.Table) -> None:
        validation = self._validation
        keep: list[bool] = []
        conflicts: list[tuple[ManifestRow, Finding]] = []
        for row in zip(*(validated[name].to_pylist() for name in _WHOSE), strict=True):
            reference_id, _, manifest, number = row
            conflict = self._duplicates.conflict(reference_id)
            if conflict is not None:
                whose = ManifestRow(manifest, number, reference_id, None, None)
                conflicts.append((whose, finding(REF_DUPLICATE, validation.policy, conflict)))
            keep.append(conflict is None and self._duplicates.keep(reference_id))
        self._findings[REF_DUPLICATE.id] += len(conflicts)
        self._repeated += len(keep) - sum(keep) - len(conflicts)
        self._reject(rejected_table(conflicts, validation.dataset, validation.model_run))
        owner = np.repeat(keep, validated["n_segments"].to_numpy())
        self._accept(validated.filter(pa.array(keep)), segments.filter(pa.array(owner)))


class _Aside:
    """Chunks of rows whose fate is known only after the last row, kept on disk meanwhile."""

    def __init__(self, stack: ExitStack, schema: pa.Schema) -> None:
        self._stack = stack
        self._schemas = (schema, SEGMENTS)
        self._files: list[IO[bytes]] = []
        self._writers: list[pq.ParquetWriter] = []

    def add(self, *tables: pa.Table) -> None:
        """Set a chunk of both tables aside."""
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
        """The chunks again, in order; nothing can be added after."""
        for writer in self._writers:
            writer.close()
        if self._files:
            validated, segments = map(pq.ParquetFile, self._files)
            for group in range(validated.num_row_groups):
                yield validated.read_row_group(group), segments.read_row_group(group)


def _close(writer: pq.ParquetWriter) -> None:
    # On the way out of a failure; closing twice does nothing.
    with suppress(Exception):
        writer.close()


def _empty_masks(validated: pa.Table) -> frozenset[int]:
    """Rows with a finding that the mask is empty."""
    findings = validated["findings"].combine_chunks()
    rules = pc.struct_field(findings.flatten(), "rule")
    if not pc.any(pc.equal(rules, "EMPTY-MASK")).as_py():
        return frozenset()
    cells = enumerate(findings.to_pylist())
    return frozenset(
        place for place, own in cells if any(one["rule"] == "EMPTY-MASK" for one in own)
    )


def _not(flags: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.invert(flags)
