"""What a picture of a mask shows: colours, greys, outlines, numbers, and a legend that agrees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segpipe.pictures.blending import MARK, blend, drawn_size, scaled_marks
from segpipe.pictures.overlay import LegendEntry, looks_of, overlay
from segpipe.pictures.text import Text, text_size

RED, BLUE = (200.0, 30.0, 30.0), (30.0, 30.0, 200.0)
HALVES = np.zeros((400, 600), np.uint8)
HALVES[:, 300:] = 1


def drawn(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, int)


def swatch(picture: Image.Image, width: int, line: int) -> np.ndarray:
    """The middle of a legend's box, in a picture without a title and text of 12 pixels."""
    return drawn(picture)[3 + 17 * line + 8, width + 8 + 6]


@pytest.mark.parametrize("light", [5, 128, 250])
def test_swatches_have_the_colour_the_pixels_have_on_any_image(light: int) -> None:
    image = Image.new("RGB", (600, 400), (light, light // 2, light))
    colours = {"road": RED, "car": BLUE}
    legend = [LegendEntry(0, "road"), LegendEntry(1, "car")]
    picture = overlay(HALVES, legend, image, longest_side=600, colours=colours)
    for line, x in enumerate((50, 550)):
        assert np.abs(drawn(picture)[40, x] - swatch(picture, 600, line)).max() <= 1


def test_background_and_ignored_pixels_are_grey_and_ignored_ones_hatched() -> None:
    image = Image.new("RGB", (600, 400), (30, 160, 90))
    mask = HALVES.copy()
    mask[200:] += 2
    legend = [
        LegendEntry(0, "background"),
        LegendEntry(1, "Void"),
        LegendEntry(2, "car"),
        LegendEntry(3, "truck", ignored=True),
    ]
    pixels = drawn(overlay(mask, legend, image, longest_side=600))
    background, void, car, ignored = (
        pixels[rows, columns].reshape(-1, 3)
        for rows, columns in (
            (slice(20, 80), slice(20, 100)), (slice(20, 80), slice(320, 400)),
            (slice(320, 380), slice(20, 100)), (slice(320, 380), slice(320, 400)),
        )
    )  # fmt: skip
    assert len(np.unique(background, axis=0)) == 1
    for grey in (background, void, ignored):
        assert (np.ptp(grey, axis=1) == 0).all()
    for hatched in (void, ignored):
        assert len(np.unique(hatched)) == 2
    assert np.ptp(car[0]) > 60


def test_a_segment_of_one_pixel_is_seen_however_large_the_mask_is() -> None:
    mask = np.zeros((3000, 4000), np.uint8)
    mask[1501, 2003] = 7
    legend = [LegendEntry(0, "road"), LegendEntry(7, "ball")]
    colours = {"road": RED, "ball": BLUE}
    blended = blend(mask, looks_of(legend, colours), None, 640)
    assert (blended.values == 7).sum() == 1
    assert list(blended.tiny) == [7]
    pixels = drawn(overlay(mask, legend, longest_side=640, colours=colours))
    near = pixels[240 - 9 : 240 + 9, 320 - 9 : 320 + 9].reshape(-1, 3)
    assert (near[:, 2] > near[:, 0] + 60).sum() >= 4, "its colour"
    assert (near > 240).all(axis=1).sum() > 12, "the ring around it"


def test_an_outline_takes_no_pixel_of_the_smaller_segment() -> None:
    mask = np.zeros((300, 400), np.uint8)
    mask[100:104, 100:104], mask[101:103, 101:103] = 1, 2
    blended = blend(mask, looks_of([LegendEntry(n, str(n)) for n in range(3)]), None, 400)
    assert blended.inner[mask == 2].all()
    assert blended.inner[mask == 1].sum() == 4, "its corners do not touch the smaller one"
    assert blended.inner[mask == 0].sum() == (mask == 0).sum() - 16


def test_a_number_stands_in_each_segment_with_room_for_it() -> None:
    mask = np.zeros((300, 400), np.uint8)
    mask[50:250, 50:150], mask[50:250, 200:204] = 12, 3
    legend = [LegendEntry(value, f"label {value}") for value in (0, 3, 12)]
    numbered = drawn(overlay(mask, legend, longest_side=400))[:, :400]
    plain = blend(mask, looks_of(legend), None, 400).pixels.astype(int)
    changed = (numbered != plain).any(axis=2)
    assert changed[mask == 12].sum() > 40
    assert changed[mask == 0].sum() > 20
    assert not changed[mask == 3].any()
    rows, columns = np.nonzero(changed & (mask == 12))
    assert abs(rows.mean() - 150) < 12
    assert abs(columns.mean() - 100) < 4


@pytest.mark.parametrize("side", [480, 1000, 4000])
def test_text_is_as_large_as_the_picture_asks_for(side: int) -> None:
    size = text_size(side)
    assert side / 60 <= size <= side / 35
    mask = np.zeros((side // 4, side), np.uint8)
    picture = overlay(mask, [LegendEntry(0, "road")], title="title", longest_side=side)
    title = drawn(picture)[: round(1.4 * 1.42 * size)]
    rows = np.flatnonzero((title < 128).all(axis=2).any(axis=1))
    assert np.ptp(rows) >= size / 2


@pytest.mark.parametrize("spots", [1, 60, 30_000])
def test_marked_pixels_are_red_and_few_of_them_are_ringed(spots: int) -> None:
    mask = np.zeros((1000, 1000), np.uint8)
    marked = np.zeros(1000 * 1000, bool)
    marked[np.random.default_rng(0).choice(1000 * 1000, spots, replace=False)] = True
    marked = marked.reshape(1000, 1000)
    pixels = drawn(overlay(mask, [LegendEntry(0, "road")], longest_side=500, marked=marked))
    red = (pixels[:, :500] == MARK).all(axis=2)
    assert red[np.nonzero(marked)[0] // 2, np.nonzero(marked)[1] // 2].mean() > 0.8
    assert (red.sum() > 12 * spots) == (spots < 100)


def test_two_hundred_segments_have_two_hundred_lines_and_hostile_labels_one_each() -> None:
    mask = np.arange(200, dtype=np.uint8).repeat(5)[None].repeat(400, 0)
    hostile = [
        "a\nb",
        "</svg><script>",
        "\u202eevil",
        "日本語" * 50,
        "\ud800",
        "\x00\x1b[31m",
        "W" * 9999,
    ]
    labels = [hostile[n % len(hostile)] for n in range(200)]
    legend = [LegendEntry(n, label, 0.5, 1e-9) for n, label in enumerate(labels)]
    picture = overlay(mask, legend, title="\n".join(hostile), longest_side=640)
    assert picture.width < 640 + 5 * 320
    last = drawn(picture)[:, 640 + 4 * (picture.width - 640) // 5 :]
    assert (last < 128).all(axis=2).sum() > 1000, "the last of five columns is full"
    words = [Text.of(label, 12).words for label in hostile]
    assert words[:2] == ["a b", "</svg><script>"]
    assert words[2] == r"\u202eevil"
    assert words[4:6] == [r"\ud800", r"\x00\x1b[31m"]


@pytest.mark.parametrize(
    ("size", "drawn_as"),
    [((6, 8), (240, 320)), ((1, 1), (320, 320)), ((5000, 2), (640, 8)), ((700, 500), (640, 457))],
)
def test_small_masks_are_enlarged_and_large_ones_fit(
    size: tuple[int, int], drawn_as: tuple[int, int]
) -> None:
    assert drawn_size(*size, 640) == drawn_as


sides = st.integers(1, 20)


@given(sides, sides, sides, sides, st.integers(0, 2**32))
def test_marks_of_a_scaled_picture_are_where_marks_are_and_none_is_lost(
    tall: int, wide: int, height: int, width: int, seed: int
) -> None:
    marked = np.random.default_rng(seed).random((tall, wide)) < 0.1
    found = scaled_marks(marked, (height, width))
    assert found.shape == (height, width)
    places = [(int(row), int(column)) for row, column in np.argwhere(marked)]
    assert all(found[row * height // tall, column * width // wide] for row, column in places)
    for down, right in np.argwhere(found):
        assert any(
            down * tall < (row + 1) * height and row * height < (down + 1) * tall
            and right * wide < (column + 1) * width and column * width < (right + 1) * wide
            for row, column in places
        )  # fmt: skip
