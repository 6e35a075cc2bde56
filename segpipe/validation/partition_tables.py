"""Writing the validated, segments and rejected tables of a partition together.

The three tables belong together: each carries the digest of its content in its footer, and the
summary holds the same digests. A reader can therefore detect a table left over from another pass.
The fingerprints stand for the masks there: the same pixels may be other bytes where another version
of zlib compressed them, and nothing is made again, or taken for another, because of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType

import pyarrow as pa

from segpipe.storage.files import Folder
from segpipe.tables.digest import TableDigest
from segpipe.tables.schemas import ENCODED, REJECTED
from segpipe.tables.writing import table_writer
from segpipe.validation.ground_truth import TruthCounts
from segpipe.validation.summary import REJECTED_FILE, SEGMENTS_FILE, VALIDATED_FILE, Summary

#: Key of the content digest in each table's footer.
DIGEST_KEY = "segpipe.digest"
_NO_FINDINGS: Mapping[str, int] = MappingProxyType({})


class PartitionTables:
    """The three tables of a partition, open for writing.

    Args:
        stack: the files appear under their names when it closes without an error.
        out: folder of the tables.
        schema: of the validated table: VALIDATED, then the carried columns.
        segments: of the segment table: SEGMENTS, then declared metadata.
        code_version: part of the digests; another version gives other digests.

    Raises:
        StorageError: if a file cannot be opened for writing.
    """

    def __init__(
        self,
        stack: ExitStack,
        out: Folder,
        schema: pa.Schema,
        segments: pa.Schema,
        code_version: str,
    ) -> None:
        self.schema = schema
        self._validated = stack.enter_context(table_writer(out, VALIDATED_FILE, schema))
        self._segments = stack.enter_context(table_writer(out, SEGMENTS_FILE, segments))
        self._rejected = stack.enter_context(table_writer(out, REJECTED_FILE, REJECTED))
        self._validated_digest = TableDigest(code_version)
        self._rejected_digest = TableDigest(code_version)
        self._rejected_rows = 0

    @property
    def accepted(self) -> int:
        """Rows of the validated table so far."""
        return self._validated.rows

    def accept(self, validated: pa.Table, segments: pa.Table) -> None:
        """Append accepted predictions.

        Args:
            validated: in this object's ``schema``.
            segments: in the schema of the segment table, in the order of ``validated``.
        """
        self._validated.write(validated)
        self._segments.write(segments)
        self._validated_digest.add(validated.drop_columns(list(ENCODED)))

    def reject(self, rejected: pa.Table) -> None:
        """Append findings of rejected rows (REJECTED); all findings of a row in one call."""
        if rejected.num_rows == 0:
            return
        self._rejected.write(rejected)
        self._rejected_digest.add(rejected)
        rows = rejected.select(["manifest", "manifest_row"])
        self._rejected_rows += rows.group_by(["manifest", "manifest_row"]).aggregate([]).num_rows

    def finish(
        self,
        rows: int,
        *,
        repeated: int = 0,
        taxonomy_size: int = 0,
        findings: Mapping[str, int] = _NO_FINDINGS,
        truth: TruthCounts | None = None,
    ) -> Summary:
        """Write the digests into the footers, and summarize.

        Args:
            rows: rows that were looked at, see :class:`Summary` for the other arguments.
        """
        validated_digest = self._validated_digest.hexdigest()
        rejected_digest = self._rejected_digest.hexdigest()
        self._validated.add_metadata(DIGEST_KEY, validated_digest)
        self._segments.add_metadata(DIGEST_KEY, validated_digest)
        self._rejected.add_metadata(DIGEST_KEY, rejected_digest)
        return Summary(
            rows=rows,
            accepted=self._validated.rows,
            rejected=self._rejected_rows,
            repeated=repeated,
            segments=self._segments.rows,
            taxonomy_size=taxonomy_size,
            findings=dict(sorted(findings.items())),
            validated_digest=validated_digest,
            rejected_digest=rejected_digest,
            warnings=[] if truth is None else truth.warnings(),
            ground_truth={} if truth is None else dict(sorted(truth.rows.items())),
        )
