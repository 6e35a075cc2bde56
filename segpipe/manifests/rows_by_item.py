"""The rows of a manifest by the item they are about, in whatever order the file has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from segpipe.manifests.cells import readable_text
from segpipe.manifests.columns import FINDINGS_COLUMN, SEGMENT_COLUMNS, SIZE_COLUMNS, TEXT_COLUMNS
from segpipe.manifests.held_masks import MASK_COLUMN
from segpipe.manifests.manifest import Manifest
from segpipe.manifests.row_sizes import TooLarge
from segpipe.manifests.rows import ManifestBatch
from segpipe.storage.failures import storage_errors

_COLUMNS = (*TEXT_COLUMNS, *SIZE_COLUMNS, FINDINGS_COLUMN, *SEGMENT_COLUMNS, MASK_COLUMN)
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class _File:
    """The rows of one manifest file, memory-mapped.

    Attributes:
        empty: a batch of the file without rows.
        first: number of its first row among those of all files.
        too_large: row of the file -> why it was not read as a whole.
    """

    empty: ManifestBatch
    rows: pa.Table
    first: int
    too_large: dict[int, TooLarge]


class RowsByItem:
    """A manifest whose rows are found by reference id; what it holds in memory are the ids.

    Args:
        manifest: to be read; rows without a reference id are left out.
        folder: an empty one for temporary files, which outlives this object.

    Attributes:
        places: reference id -> numbers of its rows, in the manifest's order.
        nameless: rows without a reference id.

    Raises:
        ManifestError: if the manifest turns out to be damaged.
        StorageError: if the temporary files cannot be written.
    """

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self.places: dict[str, list[int]] = {}
        self.nameless = 0
        self._files: list[_File] = []
        number = 0
        for place, file in enumerate(manifest.files):
            path = folder / f"{place}.arrow"
            batches = replace(manifest, files=(file,)).batches(_ROWS_AT_ONCE, _COLUMNS)
            first, empty = number, None
            too_large: dict[int, TooLarge] = {}
            writer: pa.ipc.RecordBatchFileWriter | None = None
            with storage_errors(f"keeping rows in {folder}"):
                for batch in batches:
                    if writer is None:
                        writer = pa.ipc.new_file(str(path), batch.rows.schema)
                    empty = replace(batch, rows=batch.rows.slice(0, 0), too_large={})
                    writer.write_batch(batch.rows)
                    too_large |= {batch.first + row: why for row, why in batch.too_large.items()}
                    number = self._note(batch, number)
                if writer is None or empty is None:
                    continue
                writer.close()
                rows = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            self._files.append(_File(empty, rows, first, too_large))

    def _note(self, batch: ManifestBatch, number: int) -> int:
        """Note the ids of rows from a number on; the number of the next row."""
        names = batch.rows.schema.names
        ids = readable_text(batch.rows.column(names.index("reference_id")), None)
        for place, id in enumerate(ids.to_pylist(), number):
            if id:
                self.places.setdefault(id, []).append(place)
            else:
                self.nameless += 1
        return number + len(ids)

    def of(self, reference_ids: Sequence[str]) -> Iterator[ManifestBatch]:
        """The rows of some items, those of each file as one batch; ``first`` is not theirs."""
        numbers = np.array(
            sorted(number for id in reference_ids for number in self.places.get(id, ())), np.int64
        )
        for file in self._files:
            own = (
                numbers[(numbers >= file.first) & (numbers < file.first + file.rows.num_rows)]
                - file.first
            )
            if len(own):
                taken = file.rows.take(pa.array(own)).combine_chunks()
                (batch,) = taken.to_batches(max_chunksize=len(own))
                too_large = {
                    place: file.too_large[row]
                    for place, row in enumerate(own.tolist())
                    if row in file.too_large
                }
                yield replace(file.empty, rows=batch, too_large=too_large)
