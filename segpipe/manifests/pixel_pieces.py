"""Batches cut by the pixels of their masks: few large masks are work for several workers, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.manifests.columns import SIZE_COLUMNS
from segpipe.manifests.rows import ManifestBatch

#: Pixels of a piece; those of 256 masks of 640 x 480.
PIXELS_AT_ONCE = 80_000_000


def by_pixels(
    batches: Iterable[ManifestBatch], most: int = PIXELS_AT_ONCE
) -> Iterator[ManifestBatch]:
    """The rows of batches in order, in pieces of no more than two masks beyond ``most`` pixels.

    Sizes are those that rows declare. Batches that declare none stay whole: reading their masks
    would be the work itself.
    """
    for batch in batches:
        before = np.cumsum(pixels := _pixels(batch.rows, most)) - pixels
        begins = np.flatnonzero(np.diff(before // most, prepend=-1.0))
        for begin, end in zip(begins, [*begins[1:], batch.rows.num_rows], strict=True):
            yield _piece(batch, int(begin), int(end))


def _pixels(rows: pa.RecordBatch, most: int) -> NDArray[np.float64]:
    """Pixels of each row's mask, at most ``most``; 0 where they are not known."""
    pixels = np.ones(rows.num_rows)
    for name in SIZE_COLUMNS:
        try:
            sizes = rows[name].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        except (KeyError, pa.ArrowException):  # not there, or no numbers
            return np.zeros(rows.num_rows)
        # Larger ones are refused when they are looked at.
        pixels = pixels * np.clip(np.nan_to_num(sizes), 0, most)
    return np.clip(pixels, 0, most)


def _piece(batch: ManifestBatch, begin: int, end: int) -> ManifestBatch:
    if end - begin == batch.rows.num_rows:
        return batch
    too_large = {
        place - begin: why for place, why in batch.too_large.items() if begin <= place < end
    }
    rows = batch.rows.slice(begin, end - begin)
    return replace(batch, first=batch.first + begin, rows=rows, too_large=too_large)
