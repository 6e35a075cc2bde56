"""Co-occurrence of two masks: how many pixels have which pair of values.

Everything that compares a prediction with ground truth follows from this one table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.masks.decoding import DecodedMask
from segpipe.masks.fast_path import FastSamples

# Pixels compared at once: bounds memory, whatever the size of the masks.
_PIXELS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class CoOccurrence:
    """The pairs of values of two masks of one size that occur; N of them, sorted.

    Attributes:
        one, other: the value in either mask, N int64.
        pixels: number of pixels with this pair, N int64; at least 1.
    """

    one: NDArray[np.int64]
    other: NDArray[np.int64]
    pixels: NDArray[np.int64]


def co_occurrence(one: DecodedMask, other: DecodedMask) -> CoOccurrence:
    """Count the pairs of values of two masks.

    Works on runs, without making pixels, where the fast path has listed those of both.

    Raises:
        ValueError: if the masks differ in height or width.
    """
    header, others = one.header, other.header
    if (header.height, header.width) != (others.height, others.width):
        raise ValueError(
            f"{header.height} x {header.width} and {others.height} x {others.width} "
            "(height x width) cannot be compared pixel by pixel"
        )
    counts = None
    if isinstance(one.samples, FastSamples) and isinstance(other.samples, FastSamples):
        counts = one.samples.pairs_with(other.samples)
    if counts is None:
        counts = pairs_of_pixels(one.pixels, other.pixels)
    flat = counts.reshape(-1)
    found = np.flatnonzero(flat != 0)  # of booleans: several times as fast as of integers
    return CoOccurrence(found >> 8, found & 255, flat[found])


def pairs_of_pixels(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of each pair of values of two H x W uint8 masks, 256 x 256 int64."""
    counts = np.zeros(1 << 16, np.int64)
    ones, others = one.reshape(-1), other.reshape(-1)
    for begin in range(0, ones.size, _PIXELS_AT_ONCE):
        block = slice(begin, begin + _PIXELS_AT_ONCE)
        pairs = (ones[block].astype(np.uint16) << 8) | others[block]
        # Most pixels repeat the pair of the one before: only changes are counted.
        starts = np.concatenate(([0], np.flatnonzero(pairs[1:] != pairs[:-1]) + 1))
        lengths = np.diff(starts, append=pairs.size)
        # Weights are added as float64, which is exact up to 2^53 pixels.
        counted = np.bincount(pairs[starts], weights=lengths, minlength=1 << 16)
        counts += counted.astype(np.int64)
    return counts.reshape(256, 256)
