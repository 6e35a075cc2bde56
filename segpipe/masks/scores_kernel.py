"""The loops over probabilities per class, compiled by numba; see :mod:`segpipe.masks.kernel`.

:mod:`segpipe.masks.scores` has the same with NumPy. Both add in the same order, so that every
bit of the results is the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int32, int64, uint8, uint64
from numpy.typing import NDArray

from segpipe.masks.kernel import compiled


@compiled
def _add_runs(
    scores: NDArray[Any],
    winners: NDArray[np.uint8],
    areas: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> None:
    """Add the classes' scores to the sums of each pixel's winner.

    Pixel by pixel in reading order, four classes at a time: one addition waits for the one before.
    """
    classes, pixels = scores.shape
    start: Any = uint64(0)
    end: Any = uint64(pixels)
    while start < end:
        winner = winners[start]
        stop: Any = start + uint64(1)
        while stop < end and winners[stop] == winner:
            stop += uint64(1)
        areas[winner] += int64(stop - start)
        own = sums[winner]
        one = 0
        while one + 4 <= classes:
            first, second = scores[one], scores[one + 1]
            third, fourth = scores[one + 2], scores[one + 3]
            a, b, c, d = own[one], own[one + 1], own[one + 2], own[one + 3]
            for place in range(start, stop):
                a += np.float64(first[place])
                b += np.float64(second[place])
                c += np.float64(third[place])
                d += np.float64(fourth[place])
            own[one], own[one + 1], own[one + 2], own[one + 3] = a, b, c, d
            one += 4
        while one < classes:
            row, total = scores[one], own[one]
            for place in range(start, stop):
                total += np.float64(row[place])
            own[one] = total
            one += 1
        start = stop


@compiled
def take_block(
    scores: NDArray[Any],
    bounds: NDArray[Any],
    void: int,
    winners: NDArray[np.uint8],
    areas: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> bool:
    """Find the winner of every pixel, and add up the scores by winner.

    Args:
        scores: C x N float32 or float64, C-contiguous.
        bounds: 1, the tolerance of the sum, and the score below which a pixel is void; of the
            scores' dtype, so that NumPy and this compare alike.
        void: the winner of pixels below that.
        winners: output: N uint8.
        areas, sums: outputs: 256 int64 and 256 x C float64; added to.

    Returns:
        Whether every pixel is a distribution; where not, areas and sums are incomplete.
    """
    classes, pixels = scores.shape
    end: Any = uint64(pixels)
    best, lowest, total = scores[0].copy(), scores[0].copy(), scores[0].copy()
    # As wide as the scores, which vectorizes.
    winner = np.zeros(pixels, np.int32)
    for one in range(1, classes):
        row, number = scores[one], int32(one)
        for place in range(end):
            score = row[place]
            total[place] += score
            lowest[place] = score if score < lowest[place] else lowest[place]
            higher = score > best[place]
            winner[place] = number if higher else winner[place]
            best[place] = score if higher else best[place]
    unit, tolerance, least = bounds[0], bounds[1], bounds[2]
    wrong = int64(0)
    for place in range(end):
        right = abs(total[place] - unit) <= tolerance and lowest[place] >= 0
        wrong += int64(not right)
        winners[place] = uint8(void) if best[place] < least else uint8(winner[place])
    if wrong > 0:
        return False
    _add_runs(scores, winners, areas, sums)
    return True
