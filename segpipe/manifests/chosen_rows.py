"""Some rows of a manifest, without reading the others where row groups tell them apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.errors import ManifestError
from segpipe.manifests.columns import class_names, form_of_masks, segment_column
from segpipe.manifests.manifest import Manifest, ManifestFile
from segpipe.manifests.row_sizes import sized
from segpipe.manifests.rows import ManifestBatch, ManifestRow

_ROWS_AT_ONCE = 256


def chosen_rows(
    manifest: Manifest, wanted: Mapping[str, Collection[int]]
) -> Iterator[tuple[str, ManifestRow]]:
    """Rows of a manifest, with the URL of their file's folder, in the manifest's order.

    Args:
        wanted: name of a file in tables and messages -> numbers of its rows, from 0; those that
            are not there are left out.

    Raises:
        ManifestError: if a file turns out to be damaged.
    """
    for file in manifest.files:
        numbers = sorted(wanted.get(file.shown, ()))
        if numbers:
            try:
                yield from ((file.folder.url, row) for row in _rows(file, numbers))
            except (pa.ArrowException, OSError) as error:
                raise ManifestError(
                    f"{file.shown} is damaged: {str(error).splitlines()[0]}. Write the manifest "
                    "again"
                ) from None


def _rows(file: ManifestFile, numbers: list[int]) -> Iterator[ManifestRow]:
    with file.open() as handle:
        plan = file.plans.of(handle, None, _ROWS_AT_ONCE)
        metadata = pq.read_metadata(handle)
        first = 0
        for group in range(metadata.num_row_groups):
            end = first + metadata.row_group(group).num_rows
            if any(first <= number < end for number in numbers):
                for batch in plan.batches(handle, None, [group]):
                    yield from _of_batch(file, batch, first, numbers)
                    first += batch.num_rows
            first = end


def _of_batch(
    file: ManifestFile, batch: pa.RecordBatch, first: int, numbers: list[int]
) -> Iterator[ManifestRow]:
    for number in numbers:
        if not first <= number < first + batch.num_rows:
            continue
        for part in sized(batch.slice(number - first, 1), file.limits):
            alone = ManifestBatch(
                folder=file.folder.url,
                manifest=file.shown,
                first=number,
                rows=part.rows,
                segment_column=segment_column(file.schema),
                extras=pa.schema([]),
                class_names=class_names(file.schema),
                too_large=part.too_large,
                mask_form=form_of_masks(file.schema),
            )
            yield from alone.chunk().rows
