"""Contours of a region in two masks, and how well they agree: the measure F of DAVIS."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def contour_agreement(truth: Mask, predicted: Mask, share: float = 0.008) -> float:
    """The harmonic mean of the shares of each contour that are near the other one.

    Near is within a Euclidean distance that is a share of the image's diagonal, rounded up.

    Args:
        truth, predicted: H x W bool each.

    Returns:
        1 if neither has a contour, 0 if only one has.
    """
    reach = math.ceil(share * math.hypot(*truth.shape))
    one, other = contour(truth), contour(predicted)
    if not one.any() or not other.any():
        return float(one.any() == other.any())
    near = _around(one | other, reach)
    one, other = one[near], other[near]
    precision = float((other & _near(one, reach)).sum() / other.sum())
    recall = float((one & _near(other, reach)).sum() / one.sum())
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0


def contour(mask: Mask) -> Mask:
    """Pixels that differ from their right, lower or lower right neighbour, H x W bool.

    Of the last column the lower one counts, of the last row the right one; the corner is none.
    """
    found = np.zeros(mask.shape, bool)
    right, lower = mask[:, :-1] != mask[:, 1:], mask[:-1] != mask[1:]
    found[:, :-1] = right
    found[:-1] |= lower
    found[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return found


def _around(mask: Mask, reach: int) -> tuple[slice, slice]:
    """The rows and columns that hold a mask and what is near it."""
    places = []
    for axis in (1, 0):
        (there,) = np.nonzero(mask.any(axis=axis))
        places.append(slice(max(0, int(there[0]) - reach), int(there[-1]) + reach + 1))
    return places[0], places[1]


def _near(mask: Mask, reach: int) -> Mask:
    """Pixels within a Euclidean distance of one of the mask's."""
    height, width = mask.shape
    before = np.zeros((height, width + 1), np.int32)
    np.cumsum(mask, axis=1, out=before[:, 1:])
    columns = np.arange(width)
    found = np.zeros(mask.shape, bool)
    for step in range(min(reach, height - 1) + 1):
        half = math.isqrt(reach * reach - step * step)
        ends = np.minimum(columns + half + 1, width)
        wide = before[:, ends] > before[:, np.maximum(columns - half, 0)]
        found[step:] |= wide[: height - step]
        found[: height - step] |= wide[step:]
    return found
