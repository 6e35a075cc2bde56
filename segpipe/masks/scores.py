"""Probabilities per class as a mask, and the mean distribution over the pixels of each class.

Scores are taken block by block, so that no second copy of them is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.masks.fast_path import score_kernel

#: How far from 1 the probabilities of a pixel may sum up.
TOLERANCE = 1e-3
#: The mask's value of pixels whose highest probability is too low.
VOID_INDEX = 255
# Scores in a block: few enough to stay in a core's cache.
_BLOCK = 1 << 17
_FEWEST_COLUMNS = 512
# Scores after which the compiled loops have saved the time it takes to load them.
_WORTH_LOADING = 100_000_000
_taken = 0


@dataclass(frozen=True, slots=True)
class ScoredMask:
    """The mask of some scores.

    Attributes:
        mask: H x W uint8; the class with the highest probability, or ``VOID_INDEX``.
        areas: number of pixels of each value, 256 int64.
        means: 256 x C float64; mean probability of each class over the pixels of each value, zeros
            for values without pixels.
    """

    mask: NDArray[np.uint8]
    areas: NDArray[np.int64]
    means: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Block:
    """A part of some scores.

    Attributes:
        rows, columns: where it lies in the mask.
        scores: C x N, float32 or float64, contiguous; N pixels in reading order. Overwritten by
            the next block.
    """

    rows: slice
    columns: slice
    scores: NDArray[Any]

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.columns.stop - self.columns.start)


def blocks(scores: NDArray[Any]) -> Iterator[Block]:
    """The parts of scores, from top to bottom and left to right.

    Args:
        scores: C x H x W, float16, float32 or float64, in any memory layout.
    """
    classes, height, width = scores.shape
    columns = min(width, max(_FEWEST_COLUMNS, _BLOCK // classes))
    rows = min(height, max(1, _BLOCK // (classes * columns)))
    kind = np.float64 if scores.dtype.itemsize == 8 else np.float32
    room = np.empty(classes * rows * columns, kind)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            bottom, right = min(height, top + rows), min(width, left + columns)
            pixels = (bottom - top) * (right - left)
            part = room[: classes * pixels].reshape(classes, bottom - top, right - left)
            np.copyto(part, scores[:, top:bottom, left:right])
            yield Block(slice(top, bottom), slice(left, right), part.reshape(classes, pixels))


def scored_mask(scores: NDArray[Any], void_below: float | None = None) -> ScoredMask | None:
    """The mask by argmax, and the mean distribution over the pixels of each class.

    Of equal probabilities, the lowest class wins. Means are of float64 sums in a fixed order: the
    same scores give the same bits, in any memory layout and with or without compiled code.

    Args:
        scores: C x H x W, float16, float32 or float64; 1 to 256 classes, to 255 with
            ``void_below``.
        void_below: pixels whose highest probability is lower become ``VOID_INDEX``; compared in the
            scores' precision, so that 0.9 is not below 0.9.

    Returns:
        None if a pixel is no distribution: a probability is NaN or below 0, or their sum differs
        from 1 by more than ``TOLERANCE``.
    """
    global _taken
    _taken += scores.size
    take = score_kernel(load=_taken > _WORTH_LOADING) or _take_block
    classes, height, width = scores.shape
    mask = np.empty((height, width), np.uint8)
    areas, sums = np.zeros(256, np.int64), np.zeros((256, classes), np.float64)
    least = -1.0 if void_below is None else float(scores.dtype.type(void_below))
    for block in blocks(scores):
        bounds = np.array([1, TOLERANCE, least], block.scores.dtype)
        winners = np.empty(block.scores.shape[1], np.uint8)
        counted, added = np.zeros(256, np.int64), np.zeros_like(sums)
        if not take(block.scores, bounds, VOID_INDEX, winners, counted, added):
            return None
        mask[block.rows, block.columns] = winners.reshape(-1, block.width)
        present = np.flatnonzero(counted)
        areas[present] += counted[present]
        sums[present] += added[present]
    return ScoredMask(mask, areas, sums / np.maximum(areas, 1)[:, None])


def _take_block(
    scores: NDArray[Any],
    bounds: NDArray[Any],
    void: int,
    winners: NDArray[np.uint8],
    areas: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> bool:
    """The reference path of :func:`segpipe.masks.scores_kernel.take_block`."""
    unit, tolerance, least = bounds
    total = scores[0].copy()
    with np.errstate(invalid="ignore", over="ignore"):
        for row in scores[1:]:  # one by one, as the kernel adds them
            total += row
        if not (np.abs(total - unit) <= tolerance).all() or not (scores.min(axis=0) >= 0).all():
            return False
    winners[:] = scores.argmax(axis=0)
    winners[scores.max(axis=0) < least] = void
    areas += np.bincount(winners, minlength=256)
    for one, row in enumerate(scores):
        sums[:, one] += np.bincount(winners, row, 256)
    return True
