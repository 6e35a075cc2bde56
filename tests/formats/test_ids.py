"""Ids by runs say of a mask what its pixels say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from segpipe.formats.ids import Ids
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.fast_path import disabled, load_fast_path
from tests.fixtures.thoroughness import at_most

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)
KINDS = [np.uint8, np.uint16, np.int32, np.int64, np.uint64]


def ids_of(kind: type) -> st.SearchStrategy[np.ndarray]:
    most = min(np.iinfo(kind).max, 2**40)
    return hnp.arrays(kind, SHAPES, elements=st.sampled_from([0, 1, 2, 255, most]))


@settings(max_examples=at_most(60, 150), deadline=None)
@given(pixels=st.sampled_from(KINDS).flatmap(ids_of))
def test_areas_and_pixels_are_those_of_the_array_and_each_id_becomes_another(
    pixels: np.ndarray,
) -> None:
    ids = Ids.of(pixels)
    again = Ids(ids.shape, ids.starts, ids.values)
    assert np.array_equal(again.pixels, pixels)
    values, counts = np.unique(pixels, return_counts=True)
    assert ids.areas == dict(zip(values.tolist(), counts.tolist(), strict=True))
    turned = ids.becoming({value: place % 2 for place, value in enumerate(values.tolist())})
    expected = np.searchsorted(values, pixels) % 2
    assert np.array_equal(turned.pixels, expected)
    assert turned.pixels.dtype == np.uint8
    assert turned.digest == Ids.of(expected).digest


@settings(max_examples=80, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)),
                  elements=st.integers(0, 2)))  # fmt: skip
def test_colours_are_ids_of_24_bits(colours: np.ndarray) -> None:
    expected = colours.astype(int) @ [1, 256, 65536]
    assert np.array_equal(Ids.of_colours(colours).pixels, expected)
    assert np.array_equal(Ids.of_colours(colours[:, ::-1]).pixels, expected[:, ::-1])


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 3)))
def test_a_mask_has_one_digest_however_it_is_stored_and_decoded(pixels: np.ndarray) -> None:
    pytest.importorskip("deflate")
    load_fast_path()
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint16)).save(buffer, format="PNG")
    masks = [decode_mask(canonical_png(pixels)), decode_mask(buffer.getvalue())]
    with disabled():
        masks.append(decode_mask(canonical_png(pixels)))
    for mask in masks:
        ids = Ids.of_mask(mask)
        assert ids.digest == Ids.of(pixels).digest
        assert np.array_equal(ids.pixels, pixels)
        assert ids.areas == Ids.of(pixels).areas


def test_masks_of_other_pixels_or_size_have_other_digests() -> None:
    arrays = [np.zeros((2, 6), np.uint8), np.zeros((3, 4), np.uint8), np.ones((2, 6), np.uint8),
              np.eye(2, 6, dtype=np.uint8)]  # fmt: skip
    assert len({Ids.of(pixels).digest for pixels in arrays}) == 4
