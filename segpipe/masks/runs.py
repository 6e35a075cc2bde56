"""A mask as runs, and what is measured of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Runs(NamedTuple):
    """A mask as stretches of one value within a row.

    Attributes:
        starts: R uint32, flat (row-major) positions.
        values: R uint8.
    """

    starts: NDArray[np.uint32]
    values: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Measured:
    """What the compiled kernel finds in a mask.

    Attributes:
        found: 7 x V int64: a row per measure, as ``segpipe.masks.kernel`` numbers them, and a
            column per value that is there.
        centroids: 2 x V float64: their mean columns and mean rows.
        edge_pixels, between_pixels: see ``segpipe.masks.measures.Measures``.
        runs: None where the list of them would be longer than the pixels.
    """

    found: NDArray[np.int64]
    centroids: NDArray[np.float64]
    edge_pixels: int
    between_pixels: int
    runs: Runs | None


def most_runs(height: int, width: int) -> int:
    """Runs whose list (4 bytes for the place, 1 for the value) is not longer than the pixels."""
    pixels = height * width
    return pixels // 5 if pixels < 2**32 else 0
