"""Measures of a mask: area, box and centroid of every value, and its pixels' digest, in one pass.

The pass goes over the mask's horizontal runs (stretches of equal value within a row) and measures
all values at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segpipe.masks.fast_path import measure_pixels
from segpipe.masks.runs import KernelMeasures, Runs, max_listed_runs

if TYPE_CHECKING:
    from segpipe.masks.decoding import DecodedMask

# Pixels at once where they are counted, and rows where a value's first one is looked for.
_PIXELS_AT_ONCE, _ROWS_LOOKED_AT = 65_536, 16
_NARROW = 128  # rows or columns; for fewer, counting takes longer than sorting runs


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures of each value in a mask; every array has shape V, one entry per value.

    Attributes:
        height, width: of the mask, pixels.
        values: the pixel values that occur, ascending, int64.
        area: number of pixels of each value, int64.
        left, top, right, bottom: first and last column and row of each value, int64, inclusive.
        centroid_x, centroid_y: mean column and row of its pixels, float64; pixel centres have
            integer coordinates.
        first: flat (row-major) position of its first pixel, int64.
        edge_pixels: pixels whose left and right neighbours differ.
        between_pixels: edge pixels whose value lies strictly between their two neighbours'. In an
            index mask this is rare; after interpolation it is about a third of the edge pixels.
        pixels_digest: SHA-256 (hex) of the pixels; masks of one size have the same digest only if
            all pixels are equal.
    """

    height: int
    width: int
    values: NDArray[np.int64]
    area: NDArray[np.int64]
    left: NDArray[np.int64]
    top: NDArray[np.int64]
    right: NDArray[np.int64]
    bottom: NDArray[np.int64]
    centroid_x: NDArray[np.float64]
    centroid_y: NDArray[np.float64]
    first: NDArray[np.int64]
    edge_pixels: int
    between_pixels: int
    pixels_digest: str

    @property
    def pixels(self) -> int:
        """Number of pixels: height times width."""
        return self.height * self.width

    def place_of(self, index: int) -> int | None:
        """Position of a pixel value in the arrays; None if it does not occur in the mask."""
        place = int(np.searchsorted(self.values, index))
        if place < self.values.size and self.values[place] == index:
            return place
        return None


def measure(mask: NDArray[np.uint8]) -> Measures:
    """Measure every value of an H x W uint8 mask (H, W >= 1) in one pass over its runs."""
    mask = np.ascontiguousarray(mask)
    measured = measure_pixels(mask)
    if measured is None:
        return _measured_by_numpy(mask)
    return _measures_of(mask.shape[0], mask.shape[1], measured, lambda: mask)


def measure_decoded(mask: DecodedMask) -> Measures:
    """Measure a decoded mask; makes no pixels if the fast path has its runs already."""
    measured = mask.kernel_measures
    if measured is None:
        return measure(mask.pixels)
    return _measures_of(mask.header.height, mask.header.width, measured, lambda: mask.pixels)


def _runs_digest(runs: Runs) -> str:
    """SHA-256 (hex) of a mask, for masks whose list of runs is no larger than their pixels.

    The runs of most masks take a tenth of the bytes, and hashing pixels would take as long as all
    other work on a mask. Whether runs or pixels are hashed depends on the pixels alone.
    """
    digest = hashlib.sha256(b"runs\n")
    digest.update(runs.starts.astype("<u4", copy=False).data)
    digest.update(runs.values.data)
    return digest.hexdigest()


def _pixels_digest(mask: NDArray[np.uint8]) -> str:
    """SHA-256 (hex) of a mask, for masks whose list of runs is larger than their pixels."""
    return hashlib.sha256(b"pixels\n" + mask.tobytes()).hexdigest()


def _measures_of(
    height: int, width: int, measured: KernelMeasures, pixels: Callable[[], NDArray[np.uint8]]
) -> Measures:
    """Measures from those of the compiled kernel, with the digest."""
    values, area, left, right, top, bottom, first = measured.per_value
    centroid_x, centroid_y = measured.centroids
    runs = measured.runs
    return Measures(
        height=height,
        width=width,
        values=values,
        area=area,
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        centroid_x=centroid_x,
        centroid_y=centroid_y,
        first=first,
        edge_pixels=measured.edge_pixels,
        between_pixels=measured.between_pixels,
        pixels_digest=_pixels_digest(pixels()) if runs is None else _runs_digest(runs),
    )


def _measured_by_numpy(mask: NDArray[np.uint8]) -> Measures:
    """The same measures by numpy: the reference path, without the compiled kernel."""
    height, width = mask.shape
    flat = mask.reshape(-1)
    begins = np.empty(flat.size, dtype=bool)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[::width] = True
    listed = np.count_nonzero(begins) <= max_listed_runs(height, width)
    if not listed and min(height, width) >= _NARROW:
        return _counted(mask)
    starts = np.flatnonzero(begins)
    values = flat[starts]
    lengths = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=lengths[:-1])
    lengths[-1] = flat.size - starts[-1]
    rows = starts // width
    left = starts - rows * width

    edge_pixels, between_pixels = _edges(values, lengths, left, width)
    order = np.argsort(values, kind="stable")  # runs grouped by value, in reading order
    counts = np.bincount(values, minlength=256)
    present = np.flatnonzero(counts)
    bounds = np.cumsum(counts[present])
    offsets = np.concatenate(([0], bounds[:-1]))
    grouped_left, grouped_rows, grouped_lengths = left[order], rows[order], lengths[order]
    area = np.add.reduceat(grouped_lengths, offsets)
    columns_twice = grouped_lengths * (2 * grouped_left + grouped_lengths - 1)
    return Measures(
        height=height,
        width=width,
        values=present,
        area=area,
        left=np.minimum.reduceat(grouped_left, offsets),
        top=grouped_rows[offsets],
        right=np.maximum.reduceat(grouped_left + grouped_lengths - 1, offsets),
        bottom=grouped_rows[bounds - 1],
        centroid_x=np.add.reduceat(columns_twice, offsets) / (2.0 * area),
        centroid_y=np.add.reduceat(grouped_lengths * grouped_rows, offsets) / area,
        first=starts[order][offsets],
        edge_pixels=edge_pixels,
        between_pixels=between_pixels,
        pixels_digest=(
            _runs_digest(Runs(starts.astype(np.uint32), values)) if listed else _pixels_digest(mask)
        ),
    )


def _counted(mask: NDArray[np.uint8]) -> Measures:
    """Measures of a mask with too many runs to list, such as noise: by counting pixels."""
    height, width = mask.shape
    areas, columns, rows = np.zeros((3, 256), np.int64)
    # Weighted sums are float64, and exact in a block of rows.
    at_once = max(1, _PIXELS_AT_ONCE // width)
    xs = np.tile(np.arange(width, dtype=np.float64), at_once)
    ys = np.repeat(np.arange(at_once, dtype=np.float64), width)
    for row in range(0, height, at_once):
        pixels = mask[row : row + at_once].reshape(-1).astype(np.intp)
        counts = np.bincount(pixels, minlength=256)
        areas += counts
        columns += np.bincount(pixels, xs[: pixels.size], 256).astype(np.int64)
        rows += np.bincount(pixels, ys[: pixels.size], 256).astype(np.int64) + row * counts
    present = np.flatnonzero(areas)
    area, top = areas[present], _first_rows(mask, present)
    one, own, other = mask[:, :-2], mask[:, 1:-1], mask[:, 2:]
    between = (np.minimum(one, other) < own) & (own < np.maximum(one, other))
    return Measures(
        height=height,
        width=width,
        values=present,
        area=area,
        left=_first_rows(mask.T, present),
        top=top,
        right=width - 1 - _first_rows(mask.T[::-1], present),
        bottom=height - 1 - _first_rows(mask[::-1], present),
        centroid_x=2 * columns[present] / (2.0 * area),
        centroid_y=rows[present] / area,
        first=top * width + (mask[top] == present.astype(np.uint8)[:, None]).argmax(axis=1),
        edge_pixels=int(np.count_nonzero(one != other)),
        between_pixels=int(np.count_nonzero(between)),
        pixels_digest=_pixels_digest(mask),
    )


def _first_rows(mask: NDArray[np.uint8], present: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first row of each value that occurs; of noise, only a few rows are looked at."""
    found = np.full(256, -1, np.int64)
    for row in range(0, len(mask), _ROWS_LOOKED_AT):
        block = mask[row : row + _ROWS_LOOKED_AT]
        bins = (block + 256 * np.arange(len(block))[:, None]).reshape(-1)
        there = np.bincount(bins, minlength=256 * len(block)).reshape(-1, 256) > 0
        new = there.any(axis=0) & (found < 0)
        found[new] = row + there.argmax(axis=0)[new]
        if (found[present] >= 0).all():
            break
    return found[present]


def _edges(
    values: NDArray[np.uint8], lengths: NDArray[np.int64], left: NDArray[np.int64], width: int
) -> tuple[int, int]:
    """Number of edge pixels and of between pixels, from the runs alone.

    Only the ends of a run can be edge pixels; only a run of one pixel can be a between pixel.
    """
    long = lengths > 1
    after, before = left > 0, left + lengths < width
    edges = np.count_nonzero(long & after) + np.count_nonzero(long & before)
    single = np.flatnonzero(~long & after & before)
    one, other, own = values[single - 1], values[single + 1], values[single]
    edges += np.count_nonzero(one != other)
    between = (np.minimum(one, other) < own) & (own < np.maximum(one, other))
    return int(edges), int(np.count_nonzero(between))
