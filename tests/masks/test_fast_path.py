"""The fast path: the same pixels and measures as the reference path, or not taken at all."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segpipe.masks import fast_path
from segpipe.masks.decoding import decode_mask
from segpipe.masks.fast_path import disabled, load_fast_path, read_samples
from segpipe.masks.measures import Measures, measure, measure_decoded
from segpipe.masks.png import read_png
from segpipe.masks.refusal import MaskRefused
from tests.fixtures.png import GREY, PALETTE, RGB, SIGNATURE, chunk, ihdr, png
from tests.fixtures.thoroughness import at_most

pytest.importorskip("numba")
pytest.importorskip("deflate")

MANY = settings(max_examples=at_most(60, 150), deadline=None)


@pytest.fixture(autouse=True, scope="module")
def fast_path_loaded() -> Iterator[None]:
    before = fast_path._packages, fast_path._tried
    assert load_fast_path()
    yield
    fast_path._packages, fast_path._tried = before


@st.composite
def patches(draw: st.DrawFn) -> np.ndarray:
    """Masks like predictions: stretches of one value, across words and not, and some noise."""
    height = draw(st.integers(1, 12))
    width = draw(st.integers(1, 70) | st.integers(125, 131))
    mask = np.full((height, width), draw(st.integers(0, 255)), np.uint8)
    for _ in range(draw(st.integers(0, 6))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        down, right = draw(st.integers(1, height)), draw(st.integers(1, width))
        mask[top : top + down, left : left + right] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        where = draw(hnp.arrays(bool, mask.shape, elements=st.booleans()))
        mask = np.where(where, mask, draw(hnp.arrays(np.uint8, mask.shape)))
    return mask


FILTERS = st.lists(st.integers(0, 4), min_size=1, max_size=5)


def of_filtered(lines: np.ndarray, filters: list[int]) -> bytes:
    """A PNG whose image data are these H x W bytes, as if the filters had made them."""
    raw = b"".join(
        bytes([filters[y % len(filters)]]) + line.tobytes() for y, line in enumerate(lines)
    )
    height, width = lines.shape
    return SIGNATURE + ihdr(width, height) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND")


@MANY
@given(patches(), FILTERS, st.sampled_from([GREY, PALETTE]), st.integers(0, 9))
def test_samples_are_what_was_written_whatever_the_filters_of_the_lines(
    mask: np.ndarray, filters: list[int], colour: int, level: int
) -> None:
    palette = bytes(768) if colour == PALETTE else None
    data = png(mask, filters=filters, colour=colour, palette=palette, level=level)
    samples = read_samples(read_png(data))
    assert samples is not None
    assert samples.pixels.dtype == np.uint8
    assert np.array_equal(samples.pixels, mask)


@MANY
@given(hnp.arrays(np.uint8, (3, 21)), FILTERS)
def test_filtered_bytes_of_any_kind_are_read_as_pillow_reads_them(
    lines: np.ndarray, filters: list[int]
) -> None:
    data = of_filtered(lines, filters)
    fast = decode_mask(data)
    with disabled():
        reference = decode_mask(data)
    assert np.array_equal(fast.pixels, reference.pixels)
    assert (fast.header, fast.remarks, fast.canonical) == (
        reference.header,
        reference.remarks,
        reference.canonical,
    )


def assert_same(one: Measures, other: Measures) -> None:
    for field in dataclasses.fields(Measures):
        left, right = getattr(one, field.name), getattr(other, field.name)
        assert type(left) is type(right), field.name
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, field.name
            assert left.tobytes() == right.tobytes(), field.name
        else:
            assert left == right, field.name


@MANY
@given(patches())
def test_measures_of_pixels_are_the_same_to_the_last_bit(mask: np.ndarray) -> None:
    fast = measure(mask)
    with disabled():
        reference = measure(mask)
    assert_same(fast, reference)


@MANY
@given(patches(), FILTERS, st.sampled_from([0.0, 1 / 8, 100.0]), st.sampled_from([GREY, PALETTE]))
def test_measures_of_a_file_are_those_of_its_pixels(
    mask: np.ndarray, filters: list[int], share: float, colour: int
) -> None:
    palette = bytes(768) if colour == PALETTE else None
    data = png(mask, filters=filters, colour=colour, palette=palette)
    with pytest.MonkeyPatch.context() as patch:
        # From its lines, or from its pixels as where image data hardly gets smaller.
        patch.setattr(fast_path, "_MAX_COMPRESSION_RATIO", share)
        fast = measure_decoded(decode_mask(data))
    with disabled():
        reference = measure(mask)
    assert_same(fast, reference)


@MANY
@given(hnp.arrays(np.uint8, (4, 75), elements=st.sampled_from([0, 0, 0, 1, 255])), FILTERS)
def test_measures_of_filtered_bytes_of_any_kind_are_those_of_their_pixels(
    lines: np.ndarray, filters: list[int]
) -> None:
    data = of_filtered(lines, filters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_path, "_MAX_COMPRESSION_RATIO", 100.0)
        fast = decode_mask(data)
        measures = measure_decoded(fast)
    with disabled():
        reference = decode_mask(data)
        assert np.array_equal(fast.pixels, reference.pixels)
        assert_same(measures, measure(reference.pixels))


def test_an_ordinary_mask_is_measured_without_making_its_pixels() -> None:
    mask = np.zeros((40, 50), np.uint8)
    mask[5:20, 7:30] = 3
    decoded = decode_mask(png(mask))
    assert isinstance(decoded.samples, fast_path.FastSamples)
    assert measure_decoded(decoded).area.tolist() == [40 * 50 - 15 * 23, 15 * 23]
    assert decoded.samples._pixels is None
    assert np.array_equal(decoded.pixels, mask)


def test_measuring_does_not_need_the_rows_to_lie_side_by_side() -> None:
    wide = np.arange(60, dtype=np.uint8).reshape(6, 10)
    assert measure(wide[::2, ::3]).values.tolist() == wide[::2, ::3].ravel().tolist()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(np.zeros((4, 4, 3), np.uint8), colour=RGB), id="colour"),
        pytest.param(png(np.zeros((4, 4), np.uint8), depth=4), id="four bits"),
        pytest.param(png(np.zeros((9, 9), np.uint8), interlaced=True), id="interlaced"),
    ],
)
def test_another_kind_of_png_is_left_to_the_long_way(data: bytes) -> None:
    assert read_samples(read_png(data)) is None


def whole(raw: bytes, *, idat: bytes | None = None) -> bytes:
    """A PNG of 4 x 3 pixels whose image data inflates to these bytes."""
    body = zlib.compress(raw) if idat is None else idat
    return SIGNATURE + ihdr(4, 3) + chunk(b"IDAT", body) + chunk(b"IEND")


GOOD = bytes([0, 1, 2, 3, 4] * 3)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(whole(GOOD[:-1]), id="a byte too few"),
        pytest.param(whole(GOOD[:5]), id="a line alone"),
        pytest.param(whole(b""), id="nothing"),
        pytest.param(whole(bytes([9]) + GOOD[1:]), id="a filter that does not exist"),
        pytest.param(whole(GOOD, idat=zlib.compress(GOOD)[:-1] + b"x"), id="another checksum"),
        pytest.param(whole(GOOD, idat=zlib.compress(GOOD)[:-6]), id="a cut stream"),
        pytest.param(whole(GOOD, idat=b"no zlib stream"), id="no stream at all"),
        pytest.param(whole(GOOD, idat=b"\x79" + zlib.compress(GOOD)[1:]), id="a damaged head"),
    ],
)
def test_image_data_that_is_not_as_it_should_be_is_judged_the_long_way(data: bytes) -> None:
    assert read_samples(read_png(data)) is None
    with disabled(), pytest.raises(MaskRefused) as expected:
        decode_mask(data)
    with pytest.raises(MaskRefused) as found:
        decode_mask(data)
    assert (found.value.rule, found.value.message) == (expected.value.rule, expected.value.message)


def test_image_data_in_several_chunks_is_one_stream() -> None:
    body = zlib.compress(GOOD)
    pieces = [chunk(b"IDAT", body[a : a + 3]) for a in range(0, len(body), 3)]
    data = SIGNATURE + ihdr(4, 3) + b"".join(pieces) + chunk(b"IEND")
    samples = read_samples(read_png(data))
    assert samples is not None
    assert samples.pixels.tolist() == [[1, 2, 3, 4]] * 3


def test_without_the_packages_the_long_way_is_taken() -> None:
    with disabled():
        assert not fast_path.is_loaded()
        assert read_samples(read_png(whole(GOOD))) is None
        assert decode_mask(whole(GOOD)).pixels.tolist() == [[1, 2, 3, 4]] * 3
