"""Boundaries of the regions of two masks, and how they overlap.

A pixel is on its region's boundary if a pixel of another region, or one outside the image, is no
farther away than a distance, counted as a king moves on a chessboard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.masks.fast_path import is_loaded


@dataclass(frozen=True, slots=True)
class BoundaryPixels:
    """Pixels on boundaries of two masks with codes below A and B; code 0 is no region.

    Attributes:
        both: A x B int64, those on a boundary in both masks, by their codes.
        one_only, other_only: A x B int64, those on a boundary in only one of them.
    """

    both: NDArray[np.int64]
    one_only: NDArray[np.int64]
    other_only: NDArray[np.int64]


def boundary_reach(height: int, width: int, share: float = 0.02) -> int:
    """The distance in pixels that belongs to a share of the image's diagonal."""
    return max(1, round(share * float(np.hypot(height, width))))


def boundary_pixels(
    one: NDArray[np.uint16], other: NDArray[np.uint16], reach: int
) -> BoundaryPixels:
    """Count the pixels on the boundaries of two masks' regions.

    Args:
        one, other: H x W codes of regions; 0 is no region.
        reach: the distance in pixels, at least 1.
    """
    shape = (int(one.max()) + 1, int(other.max()) + 1)
    inner, other_inner = _interior(one, reach), _interior(other, reach)
    if is_loaded():
        from segpipe.masks.boundary_kernel import count_boundaries

        both, one_only, other_only = np.zeros((3, *shape), np.int64)
        count_boundaries(one, other, inner, other_inner, both, one_only, other_only)
        return BoundaryPixels(both, one_only, other_only)
    pairs = one.astype(np.int64) * shape[1] + other
    edge, other_edge = inner == 0, other_inner == 0

    def counted(where: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(pairs[where], minlength=shape[0] * shape[1]).reshape(shape)

    return BoundaryPixels(
        counted(edge & other_edge), counted(edge & ~other_edge), counted(~edge & other_edge)
    )


def _interior(codes: NDArray[np.uint16], reach: int) -> NDArray[np.uint8]:
    """Pixels of a region that are not on its boundary, H x W uint8."""
    interior = np.zeros(codes.shape, np.uint8)
    if is_loaded():
        from segpipe.masks.boundary_kernel import mark_interior

        mark_interior(codes, reach, interior)
        return interior
    height, width = codes.shape
    side = 2 * reach + 1
    if height < side or width < side:
        return interior
    changes = np.cumsum(codes[:, 1:] != codes[:, :-1], axis=1, dtype=np.int32)
    changes = np.pad(changes, ((0, 0), (1, 0)))
    # No change between the leftmost and the rightmost pixel of a row's window.
    level = changes[:, side - 1 :] == changes[:, : width - side + 1]
    own = codes[:, reach : width - reach]
    level &= own != 0
    # The same from row to row; a row that is not level is as a change.
    steps = np.zeros(own.shape, np.int32)
    steps[1:] = (own[1:] != own[:-1]) | ~level[1:]
    total = np.cumsum(steps, axis=0)
    same = total[side - 1 :] == total[: height - side + 1]
    interior[reach : height - reach, reach : width - reach] = same & level[: height - side + 1]
    return interior
