"""COCO's run lengths: read exactly, and never beyond what they may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from segpipe.formats.run_lengths import RunLengthError, read_segmentation

MASKS = st.tuples(st.integers(1, 24), st.integers(1, 24)).flatmap(
    lambda shape: arrays(np.bool_, shape)
)


@given(MASKS)
def test_compressed_runs_say_what_pycocotools_wrote(mask: np.ndarray) -> None:
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    cell = {"size": list(mask.shape), "counts": encoded["counts"].decode()}
    read = read_segmentation(cell, None, None)
    np.testing.assert_array_equal(read.decode(), mask)
    assert read.area == mask.sum() == coco.area(encoded)


@given(MASKS)
def test_uncompressed_runs_go_down_the_columns_and_begin_with_zero(mask: np.ndarray) -> None:
    runs, value, count = [], False, 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(count)
            value, count = pixel, 0
        count += 1
    cell = {"size": list(mask.shape), "counts": [*runs, count]}
    np.testing.assert_array_equal(read_segmentation(cell, None, None).decode(), mask)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x100), max_size=60))
def test_any_text_is_a_mask_of_its_size_or_refused(counts: str) -> None:
    """pycocotools writes beyond its memory for some of these."""
    try:
        read = read_segmentation({"size": [40, 30], "counts": counts}, None, None)
    except RunLengthError:
        return
    assert read.decode().shape == (40, 30)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"size": [4, 4], "counts": [3, 5]}, "fill 8 pixels of 16"),
        ({"size": [4, 4], "counts": [3, 15]}, "fill 18 pixels of 16"),
        ({"size": [4, 4], "counts": [-1, 17]}, "expected text or whole numbers"),
        ({"size": [4, 4], "counts": None}, "expected text or whole numbers"),
        ({"size": [4, 4], "counts": ""}, "fill 0 pixels"),
        ({"size": [4], "counts": [16]}, "height, width"),
        ({"size": [4, "4"], "counts": [16]}, "height, width"),
        ({"size": [0, 4], "counts": []}, "limit"),
        ({"size": [10**6, 10**6], "counts": [10**12]}, "limit"),
        ({"counts": [16]}, "size is None"),
        ([[0, 0, 1]], "x, y pairs"),
        ([[0, 0, 1, 0, "1", 1]], "expected numbers"),
        ([[0, 0, 1, 0, 1, float("inf")]], "coordinate"),
        ([], "no polygons"),
        (None, "expected RLE or polygons"),
        ("counts", "expected RLE or polygons"),
    ],
)
def test_what_is_wrong_is_said(cell: object, words: str) -> None:
    with pytest.raises(RunLengthError, match=words):
        read_segmentation(cell, 4, 4)


def test_polygons_need_the_images_size() -> None:
    with pytest.raises(RunLengthError, match="--images"):
        read_segmentation([[0, 0, 4, 0, 4, 4]], None, None)


def test_polygons_cover_what_coco_says_they_cover() -> None:
    polygons = [[1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 4.0], [6, 6, 8, 6, 8, 8]]
    expected = coco.decode(coco.merge(coco.frPyObjects(polygons, 9, 10)))
    np.testing.assert_array_equal(read_segmentation(polygons, 9, 10).decode(), expected == 1)
