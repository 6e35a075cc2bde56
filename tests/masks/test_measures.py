"""Areas, boxes and centroids of all values of a mask, against counting pixel by pixel."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from segpipe.masks.decoding import decode_mask
from segpipe.masks.fast_path import disabled, load_fast_path
from segpipe.masks.measures import Measures, measure, measure_decoded
from tests.fixtures.strategies import masks
from tests.fixtures.thoroughness import at_most


def table(measures: Measures) -> dict[int, tuple[int, ...]]:
    """value -> area, left, top, right, bottom, first."""
    names = ("area", "left", "top", "right", "bottom", "first")
    columns = [getattr(measures, name).tolist() for name in names]
    return dict(zip(measures.values.tolist(), zip(*columns, strict=True), strict=True))


def test_a_small_mask_measured_by_hand() -> None:
    mask = np.array(
        [
            [0, 0, 7, 7, 0],
            [0, 7, 7, 0, 0],
            [9, 0, 0, 0, 7],
        ],
        np.uint8,
    )
    measures = measure(mask)
    assert (measures.height, measures.width, measures.pixels) == (3, 5, 15)
    assert table(measures) == {
        0: (9, 0, 0, 4, 2, 0),
        7: (5, 1, 0, 4, 2, 2),
        9: (1, 0, 2, 0, 2, 10),
    }
    assert measures.centroid_x.tolist() == [
        (0 + 1 + 4 + 0 + 3 + 4 + 1 + 2 + 3) / 9,
        (2 + 3 + 1 + 2 + 4) / 5,
        0.0,
    ]
    assert measures.centroid_y.tolist() == [(3 * 0 + 3 * 1 + 3 * 2) / 9, (2 + 2) / 5, 2.0]


def naive_facts(mask: np.ndarray, value: int) -> tuple[float, ...]:
    """Looked for pixel by pixel, in whole numbers."""
    places = [
        (y, x)
        for y in range(mask.shape[0])
        for x in range(mask.shape[1])
        if int(mask[y, x]) == value
    ]
    xs, ys = [x for _, x in places], [y for y, _ in places]
    first = places[0][0] * mask.shape[1] + places[0][1]
    box = (min(xs), min(ys), max(xs), max(ys))
    return (len(places), *box, first, sum(xs) / len(xs), sum(ys) / len(ys))


@settings(max_examples=at_most(60, 150), deadline=None)
@given(masks(side=9))
def test_every_value_measures_as_counting_pixel_by_pixel_says(mask: np.ndarray) -> None:
    measures = measure(mask)
    assert measures.values.tolist() == sorted({int(value) for value in mask.flat})
    for place, value in enumerate(measures.values.tolist()):
        found = (
            *table(measures)[value],
            float(measures.centroid_x[place]),
            float(measures.centroid_y[place]),
        )
        assert found == naive_facts(mask, value)


@settings(max_examples=60, deadline=None)
@given(masks(side=30))
def test_areas_sum_to_the_number_of_pixels(mask: np.ndarray) -> None:
    assert int(measure(mask).area.sum()) == mask.shape[0] * mask.shape[1]


@settings(max_examples=60, deadline=None)
@given(masks(side=30))
def test_boxes_hold_all_pixels_of_their_value_and_are_no_larger_than_needed(
    mask: np.ndarray,
) -> None:
    for value, (area, left, top, right, bottom, _) in table(measure(mask)).items():
        inside = mask[top : bottom + 1, left : right + 1] == value
        assert inside.sum() == area == (mask == value).sum()
        for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
            assert edge.any()


@settings(max_examples=40, deadline=None)
@given(masks(side=12))
def test_transposing_the_mask_swaps_the_axes(mask: np.ndarray) -> None:
    upright, turned = measure(mask), measure(mask.T)  # the second is not contiguous
    for one, other in (("left", "top"), ("right", "bottom"), ("centroid_x", "centroid_y")):
        assert getattr(upright, one).tolist() == getattr(turned, other).tolist()
    assert upright.area.tolist() == turned.area.tolist()


@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (1000, 1)])
def test_single_pixels_rows_and_columns_measure(shape: tuple[int, int]) -> None:
    measures = measure(np.full(shape, 255, np.uint8))
    height, width = shape
    assert table(measures) == {255: (height * width, 0, 0, width - 1, height - 1, 0)}
    assert measures.centroid_x.tolist() == [(width - 1) / 2]
    assert measures.centroid_y.tolist() == [(height - 1) / 2]


def test_all_256_values_are_told_apart() -> None:
    measures = measure(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert measures.values.tolist() == list(range(256))
    assert measures.area.tolist() == [1] * 256
    assert measures.first.tolist() == list(range(256))


def test_centroids_of_a_large_mask_are_exact() -> None:
    mask = np.zeros((3000, 4001), np.uint8)
    mask[:, 4000] = 3
    measures = measure(mask)
    assert measures.centroid_x.tolist() == [1999.5, 4000.0]
    assert measures.centroid_y.tolist() == [1499.5, 1499.5]


@pytest.mark.parametrize("shape", [(128, 128), (131, 900), (700, 129), (127, 300), (2, 70_000)])
@pytest.mark.parametrize("values", [2, 9, 256])
@pytest.mark.parametrize("fast", [False, True])
def test_noise_measures_as_counting_each_value_says(
    shape: tuple[int, int], values: int, fast: bool
) -> None:
    mask = np.random.default_rng(5).integers(0, values, shape, dtype=np.uint8)
    mask[-1, -1] = mask[-2, 1] = 201  # values that are found late
    mask[-1, 0] = 202
    if fast:
        pytest.importorskip("deflate")
        load_fast_path()
    with nullcontext() if fast else disabled():
        measures = measure(mask)
    found = table(measures)
    assert list(found) == np.unique(mask).tolist()
    for place, value in enumerate(found):
        ys, xs = np.nonzero(mask == value)
        box = (xs.min(), ys.min(), xs.max(), ys.max())
        assert found[value] == (xs.size, *box, ys[0] * shape[1] + xs[0])
        assert measures.centroid_x[place] == int(xs.sum()) / xs.size
        assert measures.centroid_y[place] == int(ys.sum()) / ys.size
    one, own, other = mask[:, :-2], mask[:, 1:-1], mask[:, 2:]
    low, high = np.minimum(one, other), np.maximum(one, other)
    assert measures.edge_pixels == (one != other).sum()
    assert measures.between_pixels == ((low < own) & (own < high)).sum()


def test_noise_is_measured_in_less_than_six_times_its_decoding_without_the_fast_path() -> None:
    noise = np.random.default_rng(5).integers(0, 256, (480, 640), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format="PNG")

    def fastest(work: Callable[[], object]) -> float:
        seconds = []
        for _ in range(7):
            started = time.process_time()
            work()
            seconds.append(time.process_time() - started)
        return min(seconds)

    with disabled():
        ours = fastest(lambda: measure_decoded(decode_mask(buffer.getvalue())))
    assert ours < 6 * fastest(lambda: np.asarray(Image.open(buffer)))


def test_a_value_is_looked_up_by_its_number() -> None:
    measures = measure(np.array([[3, 200]], np.uint8))
    assert [measures.place_of(index) for index in (3, 200, 0, 4, 255, 300, -1)] == [
        0,
        1,
        None,
        None,
        None,
        None,
        None,
    ]


@settings(max_examples=80, deadline=None)
@given(masks(side=9))
def test_edges_and_what_lies_between_them_are_as_counting_pixel_by_pixel_says(
    mask: np.ndarray,
) -> None:
    edges = between = 0
    for row in mask.tolist():
        for left, own, right in zip(row, row[1:], row[2:], strict=False):
            edges += left != right
            between += min(left, right) < own < max(left, right)
    measures = measure(mask)
    assert (measures.edge_pixels, measures.between_pixels) == (edges, between)
