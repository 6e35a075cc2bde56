"""The PNG that is written: its pixels, its size beside Pillow's, and the same bytes every time."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from benchmarks.masks import mask_of
from segpipe.masks.encoding import canonical_png, colour_png
from segpipe.masks.fast_path import disabled
from segpipe.masks.png import read_png
from tests.fixtures.places import REAL_DATA

ROWS, COLUMNS = np.mgrid[:240, :320]
NOISE = np.random.default_rng(7).integers(0, 256, (240, 320), dtype=np.uint8)


def by_pillow(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "L"
        return np.asarray(image)


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_any_array_is_read_back_by_pillow_and_inflates_to_its_lines_exactly(
    pixels: np.ndarray,
) -> None:
    for one in (pixels, pixels.T, pixels[::-1, ::2]):  # however it lies in memory
        data = canonical_png(one)
        assert np.array_equal(pixels_of(data), one)
        file = read_png(data)
        inflater = zlib.decompressobj()
        assert len(inflater.decompress(file.compressed)) == file.header.raw_size
        assert (inflater.eof, inflater.unused_data) == (True, b"")


@pytest.mark.parametrize(
    ("texture", "most"),
    [
        (NOISE, 1.01),
        (NOISE % 4, 1.01),
        (np.where(NOISE < 26, 0, mask_of(1, 0)[:240, :320]), 1.0),
        ((ROWS + COLUMNS) % 2, 3.0),
        (ROWS * COLUMNS % 7, 3.0),
        (COLUMNS // 3 % 5, 1.5),
        (ROWS % 5, 1.5),
        ((COLUMNS // 3 + ROWS // 2) % 256, 2.5),
    ],
    ids=["noise", "4 values", "salt", "checkers", "dither", "columns", "rows", "gradient"],
)
def test_textures_are_written_too_and_take_no_multiple_of_what_pillow_takes(
    texture: np.ndarray, most: float
) -> None:
    pixels = texture.astype(np.uint8)
    data = canonical_png(pixels)
    assert np.array_equal(pixels_of(data), pixels)
    assert len(data) < most * len(by_pillow(pixels))


def test_files_of_masks_are_smaller_than_pillows() -> None:
    masks = [mask_of(3, number) for number in range(6)]
    assert sum(map(len, map(canonical_png, masks))) < 0.95 * sum(map(len, map(by_pillow, masks)))


@pytest.mark.realdata
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the research data are not beside this checkout")
def test_files_of_real_masks_are_smaller_than_pillows() -> None:
    for masks in (
        "camvid/**/*.png", "cityscapes/**/*labelIds.png", "davis17_results/**/*.png",
        "labelme/**/*.png", "membrane/**/*.png", "cocostuff/**/*.png", "ade20k/**/*.png",
    ):  # fmt: skip
        ours = pillows = 0
        for path in sorted(REAL_DATA.glob(masks))[:40]:
            with Image.open(path) as image:
                if image.mode not in ("L", "P"):
                    continue
                pixels = np.asarray(image)
            data = canonical_png(pixels)
            assert np.array_equal(pixels_of(data), pixels)
            ours, pillows = ours + len(data), pillows + len(by_pillow(pixels))
        assert 0 < ours < pillows, masks


def test_the_bytes_do_not_depend_on_the_fast_path_or_on_what_was_encoded_before() -> None:
    mask = mask_of(1, 2)
    first = canonical_png(mask)
    canonical_png(NOISE)
    with disabled():
        assert canonical_png(mask.copy()) == first


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30), st.just(3))))
def test_colours_are_read_back_by_pillow(colours: np.ndarray) -> None:
    with Image.open(io.BytesIO(colour_png(colours))) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), colours)


def test_files_of_ids_in_colours_are_smaller_than_pillows() -> None:
    masks = [mask_of(3, number) for number in range(6)]
    ids = [np.stack([mask, mask // 200, np.zeros_like(mask)], axis=-1) for mask in masks]
    assert sum(map(len, map(colour_png, ids))) < sum(map(len, map(by_pillow, ids)))
