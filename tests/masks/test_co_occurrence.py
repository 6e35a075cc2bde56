"""Pairs of values of two masks, counted from runs and from pixels, equal a plain count."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segpipe.masks import co_occurrence as module
from segpipe.masks.co_occurrence import CoOccurrence, co_occurrence, pairs_of_pixels
from segpipe.masks.decoding import decode_mask
from segpipe.masks.fast_path import disabled, load_fast_path
from tests.fixtures.png import png

needs_fast_path = pytest.mark.skipif(not load_fast_path(), reason="segpipe[fast] is not installed")


def listed(table: CoOccurrence) -> list[tuple[int, int, int]]:
    return list(zip(table.one.tolist(), table.other.tolist(), table.pixels.tolist(), strict=True))


def by_hand(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    pairs = Counter(zip(one.ravel().tolist(), other.ravel().tolist(), strict=True))
    return sorted((*pair, count) for pair, count in pairs.items())


def blobs(seed: int, height: int, width: int, values: int = 256) -> NDArray[np.uint8]:
    """Blocks of 8 x 8 pixels, cut to H x W uint8."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, values, (-(-height // 8), -(-width // 8)), np.uint8)
    return np.repeat(np.repeat(coarse, 8, 0), 8, 1)[:height, :width].copy()


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    values=st.sampled_from([1, 2, 5, 256]),
)
def test_the_pairs_are_those_of_a_plain_count_on_runs_and_on_pixels(
    seed: int, height: int, width: int, values: int
) -> None:
    one, other = blobs(seed, height, width, values), blobs(seed + 1, height, width, values)
    decoded = decode_mask(png(one)), decode_mask(png(other))
    expected = by_hand(one, other)
    assert listed(co_occurrence(*decoded)) == expected
    with disabled():
        assert listed(co_occurrence(decode_mask(png(one)), decode_mask(png(other)))) == expected


@needs_fast_path
def test_masks_with_listed_runs_are_compared_without_making_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = blobs(1, 200, 300, 9), blobs(2, 200, 300, 9)
    decoded = decode_mask(png(one)), decode_mask(png(other))
    monkeypatch.setattr(module, "pairs_of_pixels", None)
    assert listed(co_occurrence(*decoded)) == by_hand(one, other)


@needs_fast_path
def test_a_noisy_mask_is_compared_with_a_calm_one_on_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 70), np.uint8)
    calm = blobs(3, 60, 70, 4)
    assert listed(co_occurrence(decode_mask(png(noise)), decode_mask(png(calm)))) == by_hand(
        noise, calm
    )


def test_masks_larger_than_a_block_are_counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIXELS_AT_ONCE", 1000)
    one, other = blobs(4, 90, 110), blobs(5, 90, 110)
    counts = pairs_of_pixels(one, other)
    assert {(a, b): counts[a, b] for a, b in zip(*np.nonzero(counts), strict=True)} == {
        (a, b): pixels for a, b, pixels in by_hand(one, other)
    }


def test_masks_of_other_sizes_are_refused_also_where_the_pixel_counts_agree() -> None:
    one, other = np.zeros((4, 6), np.uint8), np.zeros((6, 4), np.uint8)
    with pytest.raises(ValueError, match="4 x 6 and 6 x 4"):
        co_occurrence(decode_mask(png(one)), decode_mask(png(other)))
