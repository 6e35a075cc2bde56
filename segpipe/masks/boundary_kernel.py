"""Boundaries of the regions of a mask, compiled by numba; see :mod:`segpipe.masks.boundaries`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segpipe.masks.kernel import compiled


@compiled
def mark_interior(codes: NDArray[np.uint16], reach: int, interior: NDArray[np.uint8]) -> None:
    """Mark the pixels whose neighbourhood has their code.

    Args:
        codes: H x W; those of 0 are not marked.
        reach: pixels to each side that the square neighbourhood has.
        interior: output: H x W uint8, zeros.
    """
    height, width = codes.shape
    # Rows, up to this one, in which the pixels of a column are alike to both sides.
    alike, last = np.zeros(width, np.int32), np.zeros(width, np.uint16)
    for y in range(height):
        row = codes[y]
        start = 0
        while start < width:
            code = row[start]
            stop = start + 1
            while stop < width and row[stop] == code:
                stop += 1
            begin, end = start + reach, stop - reach
            if code == 0 or begin >= end:
                begin = end = stop
            for x in range(start, begin):
                alike[x] = 0
            for x in range(begin, end):
                alike[x] = alike[x] + 1 if last[x] == code else 1
                last[x] = code
            for x in range(end, stop):
                alike[x] = 0
            start = stop
        if y >= 2 * reach:
            own = interior[y - reach]
            for x in range(width):
                own[x] = alike[x] > 2 * reach


@compiled
def count_boundaries(
    one: NDArray[np.uint16],
    other: NDArray[np.uint16],
    one_interior: NDArray[np.uint8],
    other_interior: NDArray[np.uint8],
    both: NDArray[np.int64],
    one_only: NDArray[np.int64],
    other_only: NDArray[np.int64],
) -> None:
    """Count pixels on boundaries by their codes.

    Args:
        one, other, one_interior, other_interior: H x W, as of :func:`mark_interior`.
        both, one_only, other_only: outputs: A x B int64, zeros; pixels by their codes that are on
            a boundary in both, and only in the one or the other.
    """
    height, width = one.shape
    for y in range(height):
        for x in range(width):
            inner, other_inner = one_interior[y, x], other_interior[y, x]
            if inner == 0:
                if other_inner == 0:
                    both[one[y, x], other[y, x]] += 1
                else:
                    one_only[one[y, x], other[y, x]] += 1
            elif other_inner == 0:
                other_only[one[y, x], other[y, x]] += 1
