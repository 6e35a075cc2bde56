"""A mask as horizontal runs, and the measures the compiled kernel takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Runs(NamedTuple):
    """A mask as runs: horizontal stretches of one value within a row.

    Attributes:
        starts: R uint32, flat (row-major) position of each run's first pixel.
        values: R uint8, the pixel value of each run.
    """

    starts: NDArray[np.uint32]
    values: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class KernelMeasures:
    """What the compiled kernel measures of a mask with V distinct values.

    Attributes:
        per_value: 7 x V int64: one row per measure, in the order of the constants in
            ``segpipe.masks.kernel``, and one column per value, ascending.
        centroids: 2 x V float64: mean column and mean row of each value, in pixels.
        edge_pixels, between_pixels: see ``segpipe.masks.measures.Measures``.
        runs: None if their list would take more bytes than the pixels.
    """

    per_value: NDArray[np.int64]
    centroids: NDArray[np.float64]
    edge_pixels: int
    between_pixels: int
    runs: Runs | None


def max_listed_runs(height: int, width: int) -> int:
    """The most runs whose list (4 + 1 bytes each) is no larger than the pixels."""
    pixels = height * width
    return pixels // 5 if pixels < 2**32 else 0
