"""Which PNGs are masks, which numbers they hold, and in which words the others are refused."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import struct
import tracemalloc
import zlib
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from segpipe.masks import fast_path
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.fast_path import disabled, load_fast_path
from segpipe.masks.png import read_header
from segpipe.masks.refusal import MaskRefused
from tests.fixtures.places import TEST_DATA
from tests.fixtures.png import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    SIGNATURE,
    chunk,
    chunk_kinds,
    ihdr,
    png,
)
from tests.fixtures.strategies import masks
from tests.fixtures.thoroughness import at_most

PIXELS = np.array([[0, 1, 2], [3, 1, 0]], np.uint8)
FEW = settings(max_examples=60, deadline=None)


def refusal(data: bytes, **limits: int) -> MaskRefused:
    with pytest.raises(MaskRefused) as refused:
        decode_mask(data, **limits)
    return refused.value


def rules_of(data: bytes) -> list[str]:
    return [remark.rule for remark in decode_mask(data).remarks]


def remark(data: bytes, rule: str) -> str:
    (message,) = [one.message for one in decode_mask(data).remarks if one.rule == rule]
    return message


# --- which numbers a PNG holds


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("filters", [(0,), (1,), (2,), (3,), (4,), (4, 1, 0, 3, 2)])
def test_eight_bit_grey_is_taken_as_it_is(filters: tuple[int, ...], interlaced: bool) -> None:
    pixels = (np.arange(9 * 11).reshape(9, 11) * 7 % 256).astype(np.uint8)
    decoded = decode_mask(png(pixels, filters=filters, interlaced=interlaced))
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.tolist() == pixels.tolist()
    assert decoded.remarks == ()


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_samples_of_fewer_bits_are_kept_unscaled(depth: int, interlaced: bool) -> None:
    pixels = (np.arange(5 * 13).reshape(5, 13) % 2**depth).astype(np.uint8)
    encoded = png(pixels, depth=depth, interlaced=interlaced)
    decoded = decode_mask(encoded)
    assert decoded.pixels.tolist() == pixels.tolist()
    assert rules_of(encoded) == ["CONV-LOWBIT"]
    assert f"{depth}-bit" in remark(encoded, "CONV-LOWBIT")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_indexes_are_the_values_whatever_the_colours(depth: int, interlaced: bool) -> None:
    pixels = (np.arange(5 * 13).reshape(5, 13) * 3 % 2**depth).astype(np.uint8)
    for colours in (bytes(range(3 * 2**depth % 256)) or None, bytes(3 * 2**depth)):
        palette = colours and colours.ljust(3 * 2**depth, b"\x55")[: 3 * 2**depth]
        encoded = png(pixels, depth=depth, colour=PALETTE, interlaced=interlaced, palette=palette)
        assert decode_mask(encoded).pixels.tolist() == pixels.tolist()
        assert rules_of(encoded) == ["CONV-PALETTE"]


def test_the_indexes_taken_from_a_palette_are_listed() -> None:
    for row in ([0, 5, 255], [0] * 40 + [5] * 9 + [0] * 30 + [255], [255] * 15 + [0] * 8 + [5]):
        with fast_path.disabled():
            told = remark(png([row], colour=PALETTE), "CONV-PALETTE")
        assert told == "palette PNG: took the indexes 0, 5, 255"


def test_a_palette_index_beyond_the_palette_is_refused() -> None:
    refused = refusal(png([[0, 1, 2]], colour=PALETTE, palette=bytes(3 * 2)))
    assert refused.rule == "PNG-UNREADABLE"
    assert "palette index 2" in refused.message
    assert "only 2 entries" in refused.message


def test_sixteen_bit_grey_that_fits_eight_bits_is_narrowed() -> None:
    encoded = png([[0, 255], [7, 1]], depth=16)
    assert decode_mask(encoded).pixels.tolist() == [[0, 255], [7, 1]]
    assert rules_of(encoded) == ["CONV-G16-SMALL"]


def test_256_does_not_fit_eight_bits() -> None:
    """Cast to uint8 it would be 0: background."""
    assert refusal(png([[0, 256]], depth=16)).rule == "MASK-16BIT"


def test_sixteen_bit_grey_beyond_255_is_refused_with_the_numbers() -> None:
    refused = refusal(png([[0, 256], [33003, 256]], depth=16))
    assert refused.rule == "MASK-16BIT"
    assert "max 33003, 3 distinct values: fits after a remap" in refused.message


@pytest.mark.parametrize("colour", [RGB, RGBA])
def test_colour_with_equal_channels_is_one_of_them(colour: int) -> None:
    samples = np.repeat(PIXELS[:, :, None], 4, axis=2)
    samples[:, :, 3] = 255
    encoded = png(samples[:, :, : 3 if colour == RGB else 4], colour=colour)
    assert decode_mask(encoded).pixels.tolist() == PIXELS.tolist()
    assert rules_of(encoded) == ["CONV-GREY-IN-RGB"]


def test_colour_whose_channels_differ_at_one_pixel_is_refused_with_its_colours() -> None:
    samples = np.zeros((2, 3, 3), np.uint8)
    samples[1, 2] = (0, 0, 1)
    refused = refusal(png(samples, colour=RGB))
    assert refused.rule == "MASK-COLOUR"
    assert "RGB with 2 colours (#000000 5 px, #000001 1 px)" in refused.message


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_no_channel_may_differ(channel: int) -> None:
    samples = np.full((2, 2, 3), 9, np.uint8)
    samples[0, 0, channel] = 10
    assert refusal(png(samples, colour=RGB)).rule == "MASK-COLOUR"


def test_grey_with_opaque_alpha_is_its_grey() -> None:
    samples = np.stack([PIXELS, np.full_like(PIXELS, 255)], axis=2)
    assert decode_mask(png(samples, colour=GREY_ALPHA)).pixels.tolist() == PIXELS.tolist()


@pytest.mark.parametrize("colour", [GREY_ALPHA, RGBA])
def test_alpha_that_is_not_opaque_everywhere_is_refused(colour: int) -> None:
    channels = 2 if colour == GREY_ALPHA else 4
    samples = np.full((2, 2, channels), 255, np.uint8)
    samples[1, 1, -1] = 254
    refused = refusal(png(samples, colour=colour))
    assert refused.rule == "MASK-ALPHA"
    assert "alpha has 2 values" in refused.message


def test_alpha_that_is_transparent_everywhere_is_refused() -> None:
    samples = np.zeros((2, 2, 2), np.uint8)
    refused = refusal(png(samples, colour=GREY_ALPHA))
    assert refused.rule == "MASK-ALPHA"
    assert "alpha has 1 value," in refused.message


def test_sixteen_bit_colour_is_never_read_as_its_high_bytes() -> None:
    samples = np.full((2, 2, 3), 0x0501, np.uint16)
    assert refusal(png(samples, depth=16, colour=RGB)).rule == "MASK-16BIT"


@pytest.mark.parametrize(
    ("colour", "body"), [(GREY, b"\x00\x01"), (PALETTE, b"\xff\x00\x80")], ids=["grey", "palette"]
)
def test_trns_is_dropped_and_the_values_stay(colour: int, body: bytes) -> None:
    encoded = png(PIXELS, colour=colour, before=chunk(b"tRNS", body))
    assert decode_mask(encoded).pixels.tolist() == PIXELS.tolist()
    assert "CONV-TRNS" in rules_of(encoded)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"gAMA", struct.pack(">I", 10_000)),
        chunk(b"tEXt", b"Comment\0hello"),
        chunk(b"pHYs", struct.pack(">IIB", 1, 2, 0)),
        chunk(b"bKGD", b"\0\1"),
        chunk(b"tIME", b"\x07\xea\1\5\1\1\1", crc=0),
    ],
    ids=["gamma", "text", "aspect", "background", "a damaged ancillary chunk"],
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_ancillary_chunks_change_nothing(extra: bytes, place: str) -> None:
    decoded = decode_mask(png(PIXELS, **{place: extra}))  # type: ignore[arg-type]
    assert decoded.pixels.tolist() == PIXELS.tolist()
    assert decoded.remarks == ()
    assert decoded.canonical == png(PIXELS)


@FEW
@given(
    st.sampled_from([1, 2, 4, 8]).flatmap(
        lambda depth: st.tuples(st.just(depth), masks(most=2**depth - 1, side=10))
    ),
    st.sampled_from([GREY, PALETTE]),
    st.booleans(),
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.integers(0, 9),
    st.integers(1, 5),
)
def test_any_encoding_of_any_values_gives_the_values_back(
    content: tuple[int, np.ndarray],
    colour: int,
    interlaced: bool,
    filters: list[int],
    level: int,
    pieces: int,
) -> None:
    depth, pixels = content
    encoded = png(
        pixels,
        depth=depth,
        colour=colour,
        interlaced=interlaced,
        filters=filters,
        level=level,
        pieces=pieces,
    )
    decoded = decode_mask(encoded).pixels
    assert decoded.shape == pixels.shape
    assert decoded.tolist() == pixels.tolist()


# --- orientation


def _exif(orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


XMP = b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta><rdf:Description %s</rdf:Description></x:xmpmeta>"


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"eXIf", _exif(6)),
        chunk(b"iTXt", XMP % b'tiff:Orientation="6">'),
        chunk(b"iTXt", XMP % b"><tiff:Orientation>6</tiff:Orientation>"),
    ],
    ids=["EXIF", "XMP attribute", "XMP element"],
)
def test_orientation_is_reported_and_never_applied(extra: bytes) -> None:
    encoded = png(PIXELS, before=extra)
    assert decode_mask(encoded).pixels.tolist() == PIXELS.tolist()
    assert "orientation 6" in remark(encoded, "EXIF-ORIENTATION")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("body", [_exif(1), b"", b"garbage", _exif(6)[:11]])
def test_upright_or_unreadable_orientation_is_nothing_to_tell(body: bytes) -> None:
    assert rules_of(png(PIXELS, before=chunk(b"eXIf", body))) == []


# --- damage


def test_a_wrong_checksum_of_the_image_data_is_refused_though_pillow_opens_it() -> None:
    packed = zlib.compress(b"\0\1\2\0\3\4")
    damaged = SIGNATURE + ihdr(2, 2) + chunk(b"IDAT", packed, crc=1) + chunk(b"IEND")
    with Image.open(io.BytesIO(damaged)) as image:
        assert np.asarray(image).tolist() == [[1, 2], [3, 4]]
    refused = refusal(damaged)
    assert refused.rule == "PNG-UNREADABLE"
    assert "CRC of IDAT is wrong" in refused.message


def test_no_flipped_bit_of_a_mask_goes_unnoticed() -> None:
    whole = png(PIXELS)
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            with pytest.raises(MaskRefused):
                decode_mask(bytes(damaged))


@pytest.mark.parametrize("interlaced", [False, True])
def test_no_cut_of_a_mask_goes_unnoticed(interlaced: bool) -> None:
    whole = png(np.arange(64).reshape(8, 8), pieces=3, interlaced=interlaced)
    for length in range(len(whole)):
        assert refusal(whole[:length]).rule in ("PNG-UNREADABLE", "FILE-NOT-PNG"), length


def test_a_cut_file_says_how_much_of_the_image_is_there() -> None:
    whole = png(np.zeros((100, 100)), level=0)
    # Uncompressed: signature, IHDR, the chunk's and zlib's heads are 8 + 25 + 8 + 2 + 5 bytes,
    # then every byte is one of the 100 x 101 of the image.
    refused = refusal(whole[: 48 + 6670])
    assert refused.rule == "PNG-UNREADABLE"
    assert f"ends after {48 + 6670} bytes, 66 % of the image" in refused.message


def test_a_file_without_its_end_says_that_the_image_is_there() -> None:
    assert "100 % of the image" in refusal(png(PIXELS)[:-12]).message


def test_a_file_cut_before_its_image_says_so() -> None:
    assert "before its image data" in refusal(png(PIXELS)[:33]).message


def test_an_empty_file_is_refused_as_empty() -> None:
    refused = refusal(b"")
    assert refused.rule == "PNG-UNREADABLE"
    assert "empty (0 bytes)" in refused.message


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 8, 16])
def test_image_data_that_ends_early_is_refused_and_never_filled_with_background(
    depth: int, interlaced: bool
) -> None:
    """All checksums are right, but the zlib stream holds fewer rows than IHDR promises."""
    row = b"\0" + {1: b"\x10", 8: b"\1\1\1\1", 16: b"\0\1\0\1\0\1\0\1"}[depth]
    for rows in range(4):
        packed = zlib.compress(row * rows)
        header = ihdr(4, 4, depth, GREY, int(interlaced))
        refused = refusal(SIGNATURE + header + chunk(b"IDAT", packed) + chunk(b"IEND"))
        assert refused.rule == "PNG-UNREADABLE"


def _with_image_data(packed: bytes) -> bytes:
    return SIGNATURE + ihdr(2, 2) + chunk(b"IDAT", packed) + chunk(b"IEND")


GOOD = zlib.compress(b"\0\1\2\0\3\4")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_with_image_data(b""), "cannot be decoded"),
        (_with_image_data(b"not zlib at all"), "cannot be decoded"),
        (_with_image_data(GOOD[:-4] + b"\0\0\0\0"), "cannot be decoded"),
        (_with_image_data(zlib.compress(b"\x09\1\2\0\3\4")), "cannot be decoded"),
        (SIGNATURE + ihdr(2, 2) + chunk(b"IEND"), "no IDAT"),
        (SIGNATURE + chunk(b"IDAT", GOOD) + ihdr(2, 2) + chunk(b"IEND"), "first chunk"),
        (png(PIXELS, before=ihdr(3, 2)), "second IHDR"),
        (png(PIXELS, before=chunk(b"CRIT")), "unknown critical chunk"),
        (png(PIXELS, before=chunk(b"acTL", bytes(8))), "animated"),
        (png(PIXELS, after=chunk(b"acTL", bytes(8))), "animated"),
        (png(PIXELS, colour=PALETTE, palette=b""), "palette"),
        (png(PIXELS, colour=PALETTE, palette=bytes(13)), "palette"),
        (png(PIXELS, colour=PALETTE, after=chunk(b"PLTE", bytes(12))), "palette"),
        (SIGNATURE + ihdr(2, 2, 8, PALETTE) + chunk(b"IDAT", GOOD) + chunk(b"IEND"), "PLTE"),
        (
            SIGNATURE
            + ihdr(2, 2)
            + chunk(b"IDAT", GOOD[:5])
            + chunk(b"tEXt", b"a\0b")
            + chunk(b"IDAT", GOOD[5:])
            + chunk(b"IEND"),
            "not consecutive",
        ),
        (SIGNATURE + ihdr(0, 2) + chunk(b"IDAT", GOOD) + chunk(b"IEND"), "0 x 2"),
        (SIGNATURE + ihdr(2, 2, 3) + chunk(b"IDAT", GOOD) + chunk(b"IEND"), "bit depth 3"),
        (SIGNATURE + ihdr(2, 2, 16, PALETTE) + chunk(b"IEND"), "bit depth 16"),
        (SIGNATURE + ihdr(2, 2, 8, 5) + chunk(b"IEND"), "colour type 5"),
        (SIGNATURE + ihdr(2, 2, interlace=2) + chunk(b"IEND"), "interlace"),
        (png(PIXELS).replace(b"\r\n", b"\n", 1), "signature is damaged"),
    ],
)
def test_what_is_not_a_whole_png_is_refused_saying_what_is_wrong(data: bytes, said: str) -> None:
    refused = refusal(data)
    assert refused.rule == "PNG-UNREADABLE"
    assert said in refused.message


@pytest.mark.parametrize("trailing", [b"x", bytes(1000), png(PIXELS)])
def test_bytes_after_the_end_are_accepted_and_told(trailing: bytes) -> None:
    encoded = png(PIXELS, trailing=trailing)
    decoded = decode_mask(encoded)
    assert decoded.pixels.tolist() == PIXELS.tolist()
    assert decoded.canonical == png(PIXELS)
    assert f"{len(trailing):,} byte" in remark(encoded, "PNG-TRAILING")


@settings(max_examples=at_most(60, 150), deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (2, 3)])
    | st.sampled_from([(4, 3), (8, 3), (8, 4), (16, 4), (8, 6), (16, 6)]),
    st.integers(0, 1),
    st.lists(
        st.tuples(
            st.sampled_from([b"PLTE", b"IDAT", b"tRNS", b"eXIf", b"iTXt", b"zTXt", b"sBIT"]),
            st.binary(max_size=40) | st.binary(max_size=60).map(zlib.compress),
        ),
        max_size=5,
    ),
)
def test_nothing_inside_a_png_raises_anything_but_a_refusal(
    width: int,
    height: int,
    depth_colour: tuple[int, int],
    interlace: int,
    chunks: list[tuple[bytes, bytes]],
) -> None:
    body = b"".join(chunk(kind, content) for kind, content in chunks)
    data = SIGNATURE + ihdr(width, height, *depth_colour, interlace) + body + chunk(b"IEND")
    try:
        assert decode_mask(data).pixels.shape == (height, width)
    except MaskRefused as refused:
        assert refused.message


@FEW
@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    for whole in (data, SIGNATURE + data, png(PIXELS)[:40] + data):
        with pytest.raises(MaskRefused):
            decode_mask(whole)


# --- other things under a .png name


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG data (lossy: class numbers are damaged)"),
        (b"<!DOCTYPE html><html><body>Sign in</body>", "HTML page: did the signed URL expire?"),
        (b"\n  <html lang=en>", "HTML page: did the signed URL expire?"),
        (
            b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
            "object store's error message (XML): did the signed URL expire?",
        ),
        (b"<?xml version='1.0'?><svg/>", "XML or HTML document"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\x93NUMPY\1\0", "NumPy"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"BM\x9a\0\0\0", "BMP"),
        (b"GIF89a", "GIF"),
        (b"RIFF\0\0\0\0WEBPVP8L", "WebP"),
        (b"PK\x03\x04\x14", "zip"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"PAR1\x15", "Parquet"),
        (b'{"error": "not found"}', "JSON text"),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07rest", "00 01 02 03 04 05 06 07"),
    ],
)
def test_what_is_no_png_is_named_with_its_likely_cause(data: bytes, said: str) -> None:
    refused = refusal(data)
    assert refused.rule == "FILE-NOT-PNG"
    assert said in refused.message


# --- limits


def peak_memory(work: Any) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (10_001, 10_000), (1, 100_000_001)])
def test_more_pixels_than_allowed_are_refused_from_the_header_alone(size: tuple[int, int]) -> None:
    bomb = SIGNATURE + ihdr(*size) + chunk(b"IDAT", GOOD) + chunk(b"IEND")
    assert peak_memory(lambda: refusal(bomb)) < 1_000_000
    # Nothing after the header is looked at: not even that the image is missing.
    refused = refusal(SIGNATURE + ihdr(*size))
    assert refused.rule == "TOO-LARGE"
    assert f"{size[0]} x {size[1]} pixels" in refused.message
    assert "max_pixels" in refused.message


def test_a_mask_exactly_as_large_as_allowed_is_decoded() -> None:
    assert decode_mask(png(PIXELS), max_pixels=6).pixels.shape == (2, 3)
    assert refusal(png(PIXELS), max_pixels=5).rule == "TOO-LARGE"


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        (b"zTXt", b"Comment\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
        (b"iCCP", b"profile\0\0"),
    ],
    ids=["zTXt", "compressed iTXt", "iCCP"],
)
def test_a_compressed_text_bomb_is_never_inflated(kind: bytes, head: bytes) -> None:
    encoded = png(PIXELS, before=chunk(kind, head + zlib.compress(bytes(20_000_000))))
    assert peak_memory(lambda: decode_mask(encoded)) < 2_000_000
    assert decode_mask(encoded).pixels.tolist() == PIXELS.tolist()


def test_image_data_that_inflates_beyond_the_image_is_not_inflated_further() -> None:
    cut = SIGNATURE + ihdr(2, 2) + chunk(b"IDAT", zlib.compress(bytes(50_000_000)))
    assert peak_memory(lambda: refusal(cut)) < 3_000_000


def bomb(raw: bytes, *, beyond: bytes = b"", behind: bytes = b"", pieces: int = 1) -> bytes:
    """A 64 x 48 mask; ``beyond`` its pixels in the stream, ``behind`` the stream's end."""
    packed = zlib.compress(raw + beyond, 9) + behind
    step = -(-len(packed) // pieces)
    idat = [chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step)]
    return SIGNATURE + ihdr(64, 48) + b"".join(idat) + chunk(b"IEND")


LINES = b"".join(b"\0" + bytes([row % 7]) * 64 for row in range(48))
EMPTY_BLOCKS = zlib.compress(LINES)[:2] + b"\0\0\0\xff\xff" * 300_000 + zlib.compress(LINES)[2:]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("file", "told"),
    [
        (bomb(LINES, beyond=bytes(30_000_000)), ["PNG-TRAILING"]),
        (bomb(LINES, beyond=bytes(30_000_000), pieces=50), ["PNG-TRAILING"]),
        (bomb(LINES, beyond=b"\1"), ["PNG-TRAILING"]),
        (bomb(LINES, behind=bytes(1_000_000), pieces=4_000), []),
        (SIGNATURE + ihdr(64, 48) + chunk(b"IDAT", EMPTY_BLOCKS) + chunk(b"IEND"), []),
    ],
    ids=["inflating", "in pieces", "by a byte", "behind the stream", "empty blocks"],
)
def test_a_mask_larger_than_its_pixels_is_read_in_bounded_memory_and_never_stored_as_it_is(
    file: bytes, told: list[str], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_path, "_packages", fast_path._packages)
    monkeypatch.setattr(fast_path, "_tried", fast_path._packages is not None)
    if fast:
        pytest.importorskip("deflate")
        assert load_fast_path()
    with nullcontext() if fast else disabled():
        assert peak_memory(lambda: decode_mask(file)) < 5 * len(file) + 3_000_000
        decoded = decode_mask(file)
    assert decoded.canonical is None
    assert [remark.rule for remark in decoded.remarks] == told
    stored = canonical_png(decoded.pixels)
    assert len(stored) < 2_000
    again = decode_mask(stored)
    assert again.canonical == stored
    assert np.array_equal(again.pixels, decoded.pixels)


def test_a_large_ancillary_chunk_is_not_stored() -> None:
    pixels = np.zeros((48, 64), np.uint8)
    file = png(pixels, before=chunk(b"prVt", bytes(1_000_000)))
    assert peak_memory(lambda: decode_mask(file)) < 5 * len(file) + 3_000_000
    assert decode_mask(file).canonical == png(pixels)


# --- the canonical form


def test_a_canonical_png_has_the_three_chunks_it_needs_and_no_more() -> None:
    encoded = canonical_png(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert encoded.startswith(SIGNATURE + ihdr(16, 16))
    assert chunk_kinds(encoded) == [b"IHDR", b"IDAT", b"IEND"]


@FEW
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_what_is_encoded_canonically_is_canonical_and_gives_the_pixels_back(
    pixels: np.ndarray,
) -> None:
    encoded = canonical_png(pixels)
    decoded = decode_mask(encoded)
    assert decoded.canonical is encoded
    assert decoded.remarks == ()
    assert decoded.pixels.tolist() == pixels.tolist()


@pytest.mark.parametrize(
    "encoded",
    [
        png(PIXELS),
        png(PIXELS, level=0),
        png(PIXELS, filters=(4, 3)),
        png(PIXELS, pieces=4),
    ],
    ids=["plain", "uncompressed", "filtered", "several IDAT"],
)
def test_grey_of_eight_bits_with_nothing_else_is_canonical_however_compressed(
    encoded: bytes,
) -> None:
    assert decode_mask(encoded).canonical is encoded


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("filters", [(0,), (4, 3, 1, 2)])
@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize(
    "form",
    [
        {"colour": PALETTE},
        {"colour": PALETTE, "before": chunk(b"tRNS", b"\0")},
        {"before": chunk(b"gAMA", struct.pack(">I", 45_455))},
        {"after": chunk(b"tEXt", b"Software\0x")},
        {"trailing": b"\0"},
        {"palette": bytes(12)},
    ],
    ids=["palette", "transparency", "gamma", "text", "trailing", "PLTE in grey"],
)
def test_eight_bits_in_another_file_are_stored_with_the_image_data_as_it_is(
    form: dict[str, Any], pieces: int, filters: tuple[int, ...], fast: bool
) -> None:
    if fast:
        pytest.importorskip("deflate")
        load_fast_path()
    with nullcontext() if fast else disabled():
        stored = decode_mask(png(PIXELS, filters=filters, pieces=pieces, **form)).canonical
    assert stored == png(PIXELS, filters=filters, pieces=pieces)
    assert np.asarray(Image.open(io.BytesIO(stored))).tolist() == PIXELS.tolist()


@pytest.mark.parametrize(
    "encoded",
    [
        png(PIXELS, depth=4),
        png(PIXELS, depth=4, colour=PALETTE),
        png(PIXELS, depth=16),
        png(PIXELS, interlaced=True),
        png(PIXELS, interlaced=True, colour=PALETTE),
        png(np.stack([PIXELS] * 3, axis=-1), colour=RGB),
    ],
    ids=["4-bit", "4-bit palette", "16-bit", "interlaced", "interlaced palette", "RGB"],
)
def test_anything_else_has_to_be_encoded_anew(encoded: bytes) -> None:
    assert decode_mask(encoded).canonical is None


def test_the_header_is_read_from_the_first_33_bytes() -> None:
    header = read_header(png(PIXELS, depth=4, interlaced=True)[:33])
    assert (header.width, header.height, header.depth) == (3, 2, 4)
    assert header.interlaced


# --- the PNG test suite

SUITE = TEST_DATA / "pngsuite"


def _verdicts() -> list[Any]:
    with (SUITE / "verdicts.csv").open(newline="") as lines:
        return [pytest.param(row, id=row["file"]) for row in csv.DictReader(lines)]


def test_the_png_suite_is_whole() -> None:
    judged = {one.id for one in _verdicts()}
    assert judged == {path.name for path in SUITE.glob("*.png")}
    assert len(judged) == 175


@pytest.mark.parametrize("verdict", _verdicts())
def test_every_file_of_the_png_suite_is_judged_as_agreed(verdict: dict[str, str]) -> None:
    data = (SUITE / verdict["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == verdict["sha256"]
    if verdict["verdict"] == "reject":
        assert refusal(data).rule == verdict["rule"]
        return
    decoded = decode_mask(data)
    rules = rules_of(data)
    if verdict["verdict"] == "convert":
        assert verdict["rule"] in rules
    else:
        assert [rule for rule in rules if rule.startswith("CONV-")] == []
    assert decoded.pixels.shape == (int(verdict["height"]), int(verdict["width"]))
    assert hashlib.sha256(decoded.pixels.tobytes()).hexdigest() == verdict["index_sha256"]
    if verdict["note"] == "drop tRNS":
        assert re.search(r"CONV-TRNS", " ".join(rules))


@pytest.mark.parametrize("kind", [b"IDAT", b"tEXt"])
def test_a_file_of_endless_empty_chunks_is_refused_before_it_fills_the_memory(kind: bytes) -> None:
    whole = png(np.zeros((2, 2), np.uint8))
    end = whole.index(b"IEND") - 4
    many = whole[:end] + chunk(kind) * 70_000 + whole[end:]
    with pytest.raises(MaskRefused, match=r"more than 65,536 chunks"):
        decode_mask(many)
    some = whole[:end] + chunk(kind) * 1_000 + whole[end:]
    assert decode_mask(some).pixels.tolist() == [[0, 0], [0, 0]]
