"""Boundaries of the regions of a mask, compiled by numba; see :mod:`segpipe.masks.boundaries`.

Loops over the pixels of a row are simple, so that they are vectorized; all else goes over runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segpipe.masks.kernel import compiled


@compiled
def mark_interior(
    starts: NDArray[np.uint32],
    codes: NDArray[np.uint16],
    reach: int,
    interior: NDArray[np.uint8],
) -> None:
    """Mark the pixels whose neighbourhood has their code.

    Args:
        starts: R + 1 uint32, flat positions of the runs, then H * W.
        codes: R uint16; those of 0 are not marked.
        reach: pixels to each side that the square neighbourhood has.
        interior: output: H x W uint8, zeros.
    """
    height, width = interior.shape
    # The code of each pixel whose neighbours in the row have it, else 0; and of the row above.
    level, above = np.zeros(width, np.uint16), np.zeros(width, np.uint16)
    rows = np.zeros(width, np.uint16)  # up to this one in which a column's pixels have one code
    least = np.uint16(2 * reach)
    run = 0
    for y in range(height):
        here = y * width
        level[:] = 0
        start = 0
        while start < width:
            code = codes[run]
            run += 1
            stop = int(starts[run]) - here
            while stop < width and codes[run] == code:
                run += 1
                stop = int(starts[run]) - here
            if code != 0 and stop - start > 2 * reach:
                level[start + reach : stop - reach] = code
            start = stop
        for x in range(width):
            alike = rows[x] if level[x] == above[x] else np.uint16(0)
            rows[x] = alike + np.uint16(1) if level[x] != 0 else np.uint16(0)
        level, above = above, level
        if y >= 2 * reach:
            own = interior[y - reach]
            for x in range(width):
                own[x] = np.uint8(rows[x] > least)


@compiled
def count_boundaries(
    one_starts: NDArray[np.uint32],
    one_codes: NDArray[np.uint16],
    other_starts: NDArray[np.uint32],
    other_codes: NDArray[np.uint16],
    one_interior: NDArray[np.uint8],
    other_interior: NDArray[np.uint8],
    both: NDArray[np.int64],
    one_only: NDArray[np.int64],
    other_only: NDArray[np.int64],
) -> None:
    """Count pixels on boundaries by their codes.

    Args:
        one_starts, one_codes, other_starts, other_codes: as of :func:`mark_interior`.
        one_interior, other_interior: its results, flat.
        both, one_only, other_only: outputs: A x B int64, zeros; pixels by their codes that are on
            a boundary in both, and only in the one or the other.
    """
    place, end = int(one_starts[0]), int(one_starts[-1])
    run, other = 0, 0
    while place < end:
        stop = min(int(one_starts[run + 1]), int(other_starts[other + 1]))
        inner, other_inner, both_inner = 0, 0, 0
        for x in range(place, stop):
            inner += one_interior[x]
            other_inner += other_interior[x]
            both_inner += one_interior[x] & other_interior[x]
        code, other_code = one_codes[run], other_codes[other]
        both[code, other_code] += stop - place - inner - other_inner + both_inner
        one_only[code, other_code] += other_inner - both_inner
        other_only[code, other_code] += inner - both_inner
        if int(one_starts[run + 1]) == stop:
            run += 1
        if int(other_starts[other + 1]) == stop:
            other += 1
        place = stop
