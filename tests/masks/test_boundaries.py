"""Boundaries are those of the definition, pixel by pixel, with the compiled kernel and without."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from numpy.typing import NDArray

from segpipe.masks.boundaries import Regions, boundary_pixels, boundary_reach
from segpipe.masks.decoding import decode_mask
from segpipe.masks.fast_path import disabled, load_fast_path
from tests.fixtures.png import png

CODES = np.array([0, 1, 2, 3, *([0] * 252)], np.uint16)  # 0 is no region


def by_definition(mask: NDArray[np.uint8], reach: int) -> NDArray[np.bool_]:
    """Pixels with another value, or the outside, at most so far away as a king moves."""
    padded = np.pad(mask.astype(int), reach, constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1))
    return np.asarray((windows != mask[:, :, None, None]).any(axis=(2, 3)))


def blobs(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    size = int(random.integers(3, 12))
    coarse = random.integers(0, 4, (-(-height // size), -(-width // size)), np.uint8)
    return np.repeat(np.repeat(coarse, size, 0), size, 1)[:height, :width].copy()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("reach", [1, 2, 4])
def test_the_counts_are_those_of_the_definition(reach: int, fast: bool) -> None:
    if fast and not load_fast_path():
        pytest.skip("segpipe[fast] is not installed")
    for seed in range(12):
        height, width = np.random.default_rng(seed).integers(1, 40, 2).tolist()
        one, other = blobs(seed, height, width), blobs(seed + 100, height, width)
        with nullcontext() if fast else disabled():
            regions = [Regions.of(decode_mask(png(mask)), CODES) for mask in (one, other)]
            found = boundary_pixels(*regions, reach, (4, 4))
        edge, other_edge = by_definition(one, reach), by_definition(other, reach)
        for counts, where in (
            (found.both, edge & other_edge),
            (found.one_only, edge & ~other_edge),
            (found.other_only, ~edge & other_edge),
        ):
            expected = np.zeros((4, 4), np.int64)
            np.add.at(expected, (one[where], other[where]), 1)
            assert (counts[1:, 1:] == expected[1:, 1:]).all()


def test_the_distance_is_two_percent_of_the_diagonal_and_at_least_one_pixel() -> None:
    assert boundary_reach(360, 480) == 12
    assert boundary_reach(1024, 2048) == 46
    assert boundary_reach(5, 5) == 1
