"""Boundaries of the regions of two masks, and how they overlap.

A pixel is on its region's boundary if a pixel of another region, or one outside the image, is no
farther away than a distance, counted as a king moves on a chessboard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.masks.decoding import DecodedMask
from segpipe.masks.fast_path import is_loaded


@dataclass(frozen=True, slots=True)
class Regions:
    """A mask as runs of regions.

    Attributes:
        height, width: pixels.
        starts: R + 1 uint32, flat positions of the runs, which end with their row, then H * W.
        codes: R uint16: number of the region; 0 is no region.
    """

    height: int
    width: int
    starts: NDArray[np.uint32]
    codes: NDArray[np.uint16]

    @classmethod
    def of(cls, mask: DecodedMask, code_of: NDArray[np.uint16]) -> Regions:
        """The regions of a mask.

        Args:
            code_of: 256 uint16, the region of each pixel value.
        """
        height, width = mask.header.height, mask.header.width
        runs = mask.runs
        if runs is not None:
            starts, values = runs
        else:
            flat = mask.pixels.reshape(-1)
            begins = np.empty(flat.size, bool)
            np.not_equal(flat[1:], flat[:-1], out=begins[1:])
            begins[::width] = True
            starts = np.flatnonzero(begins).astype(np.uint32)
            values = flat[starts]
        return cls(
            height, width, np.append(starts, np.uint32(height * width)), code_of.take(values)
        )

    @property
    def pixels(self) -> NDArray[np.uint16]:
        """H x W uint16: the region of each pixel."""
        return np.repeat(self.codes, np.diff(self.starts)).reshape(self.height, self.width)


@dataclass(frozen=True, slots=True)
class BoundaryPixels:
    """Pixels on boundaries of two masks with regions below A and B.

    Attributes:
        both: A x B int64, those on a boundary in both masks, by their regions.
        one_only, other_only: A x B int64, those on a boundary in only one of them.
    """

    both: NDArray[np.int64]
    one_only: NDArray[np.int64]
    other_only: NDArray[np.int64]


def boundary_reach(height: int, width: int, share: float = 0.02) -> int:
    """The distance in pixels that belongs to a share of the image's diagonal."""
    return max(1, round(share * float(np.hypot(height, width))))


def boundary_pixels(
    one: Regions, other: Regions, reach: int, shape: tuple[int, int]
) -> BoundaryPixels:
    """Count the pixels on the boundaries of two masks' regions.

    Args:
        one, other: of one size.
        reach: the distance in pixels, at least 1.
        shape: numbers that no region's number reaches, of the one and of the other.
    """
    inner, other_inner = _interior(one, reach), _interior(other, reach)
    if is_loaded():
        from segpipe.masks.boundary_kernel import count_boundaries

        both, one_only, other_only = np.zeros((3, *shape), np.int64)
        count_boundaries(
            one.starts,
            one.codes,
            other.starts,
            other.codes,
            inner.reshape(-1),
            other_inner.reshape(-1),
            both,
            one_only,
            other_only,
        )
        return BoundaryPixels(both, one_only, other_only)
    pairs = one.pixels.astype(np.int64) * shape[1] + other.pixels
    edge, other_edge = inner == 0, other_inner == 0

    def counted(where: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(pairs[where], minlength=shape[0] * shape[1]).reshape(shape)

    return BoundaryPixels(
        counted(edge & other_edge), counted(edge & ~other_edge), counted(~edge & other_edge)
    )


def _interior(regions: Regions, reach: int) -> NDArray[np.uint8]:
    """Pixels of a region that are not on its boundary, H x W uint8."""
    height, width = regions.height, regions.width
    interior = np.zeros((height, width), np.uint8)
    side = 2 * reach + 1
    if height < side or width < side:
        return interior
    if is_loaded():
        from segpipe.masks.boundary_kernel import mark_interior

        mark_interior(regions.starts, regions.codes, reach, interior)
        return interior
    codes = regions.pixels
    changes = np.zeros((height, width), np.int32)
    np.cumsum(codes[:, 1:] != codes[:, :-1], axis=1, out=changes[:, 1:])
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
