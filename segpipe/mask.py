"""PNG bytes <-> H x W uint8 masks, and the canonical form masks are stored in.

A mask is a table of numbers: samples are accepted when they are unambiguous 8-bit numbers,
converted when there is exactly one lossless reading, and refused otherwise. Gamma, palettes'
colours, alpha and orientation are never applied.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from segpipe import png
from segpipe.png import PngError, PngFile, PngHeader
from segpipe.scanlines import Measured, Samples, read_samples

#: Default limit on width x height, checked in the header before anything is decoded.
MAX_PIXELS = 100_000_000
#: Default limit on the bytes of one mask file, checked before it is read.
MAX_BYTES = 100_000_000

# Pillow scales 1-, 2- and 4-bit grey up to 0..255 (x255, x85, x17); dividing undoes it exactly.
_PILLOW_SCALE = {1: 255, 2: 85, 4: 17}
_ORIENTATION_TAG = 0x0112
_EXIF_SHORT = 3
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([2-8])")


@dataclass(frozen=True, slots=True)
class Remark:
    """Something worth telling of a mask that was accepted: a rule's id and the words for it."""

    rule: str
    message: str


class MaskRefused(Exception):
    """A mask file is not an index mask. ``rule`` is the id of the rule it breaks."""

    def __init__(self, rule: str, message: str, found: str = "", expected: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.found = found
        self.expected = expected


@dataclass(frozen=True, slots=True)
class DecodedMask:
    """A mask as numbers.

    Attributes:
        samples: its pixels, or what they are made from when they are asked for.
        header: of the PNG it came from.
        remarks: conversions made and oddities seen.
        canonical: True when the source bytes already are the canonical form.
    """

    samples: NDArray[np.uint8] | Samples
    header: PngHeader
    remarks: tuple[Remark, ...]
    canonical: bool

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """H x W uint8, read-only where it aliases the decoder's memory."""
        return self.samples.pixels if isinstance(self.samples, Samples) else self.samples

    @property
    def measured(self) -> Measured | None:
        """Measures of its values, where they come from other than its pixels as an array."""
        return self.samples.measured if isinstance(self.samples, Samples) else None


def decode_mask(data: bytes, max_pixels: int = MAX_PIXELS) -> DecodedMask:
    """Decode an index mask from PNG bytes.

    Raises:
        MaskRefused: naming the rule (FILE-NOT-PNG, PNG-UNREADABLE, TOO-LARGE, MASK-COLOUR,
            MASK-ALPHA, MASK-16BIT), what was found and what was expected.
    """
    samples, file = _read(data, max_pixels)
    header = file.header
    remarks = tuple(_remarks(file))
    canonical = (
        file.minimal and header.colour == png.GREY and header.depth == 8 and not header.interlaced
    )
    if isinstance(samples, Samples):
        conversion = None
        if header.colour == png.PALETTE:
            conversion = _check_palette(samples.values, file)
        pixels: NDArray[np.uint8] | Samples = samples
    else:
        read, conversion = _index_values(samples, file)
        pixels = np.ascontiguousarray(read)
    remarks = remarks if conversion is None else (conversion, *remarks)
    return DecodedMask(pixels, header, remarks, canonical)


def decode_samples(
    data: bytes, max_pixels: int = MAX_PIXELS
) -> tuple[NDArray[np.generic], PngFile]:
    """The samples of a PNG as stored, for formats that mean something by colours or 16 bits.

    Returns:
        H x W, or H x W x channels; palette indexes for palette PNGs; and the file's parts.

    Raises:
        MaskRefused: FILE-NOT-PNG, PNG-UNREADABLE or TOO-LARGE.
    """
    samples, file = _read(data, max_pixels)
    return _array(samples), file


def _array(samples: NDArray[np.generic] | Samples) -> NDArray[np.generic]:
    return samples.pixels if isinstance(samples, Samples) else samples


def _read(data: bytes, max_pixels: int) -> tuple[NDArray[np.generic] | Samples, PngFile]:
    """The samples by the short way, or as an array by Pillow; see :func:`decode_samples`."""
    try:
        header = png.read_header(data)
        _check_pixels(header, max_pixels)
        file = png.read_png(data, header)
    except PngError as error:
        rule = "PNG-UNREADABLE" if error.is_png else "FILE-NOT-PNG"
        raise MaskRefused(rule, str(error), found=str(error), expected="a whole PNG") from None
    short = read_samples(file)
    if short is not None:
        return short, file
    samples = _decode_samples(file)
    _check_complete(samples, file)
    return samples, file


def canonical_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode H x W uint8 as 8-bit greyscale, not interlaced, only IHDR, IDAT and IEND."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def _check_pixels(header: PngHeader, max_pixels: int) -> None:
    if header.width * header.height > max_pixels:
        raise MaskRefused(
            "TOO-LARGE",
            f"the mask is {header.width} x {header.height} pixels, over the limit of "
            f"{max_pixels:,} (max_pixels in the policy)",
            found=f"{header.width}x{header.height}",
            expected=f"at most {max_pixels} pixels",
        )


def _decode_samples(file: PngFile) -> NDArray[np.generic]:
    header = file.header
    try:
        # The plugin directly: Image.open would apply a process-wide pixel limit of its own.
        with PngImagePlugin.PngImageFile(io.BytesIO(file.image_data)) as image:
            image.load()
            if header.colour == png.GREY and header.depth == 1:
                return np.asarray(image.convert("L"))
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise MaskRefused(
            "PNG-UNREADABLE",
            f"the image data cannot be decoded ({error}); write or download the file again",
            found=str(error),
            expected="a whole PNG",
        ) from None


def _check_complete(samples: NDArray[np.generic], file: PngFile) -> None:
    # Pillow takes a stream that ends early for a whole one and leaves the missing rows zero. Rows
    # are decoded in order, so anything but zeros in the last one proves that none is missing.
    if not file.header.interlaced and samples[-1].any():
        return
    share = png.image_data_share(file)
    if share < 1:
        raise MaskRefused(
            "PNG-UNREADABLE",
            f"the image data ends after {int(100 * share)} % of the pixels; write the file again",
            found=f"{int(100 * share)} % of the pixels",
            expected="all pixels",
        )


def _index_values(
    samples: NDArray[np.generic], file: PngFile
) -> tuple[NDArray[np.uint8], Remark | None]:
    """The one lossless reading of the samples as index values, and the conversion it took."""
    header = file.header
    if header.colour == png.PALETTE:
        indexes = samples.astype(np.uint8, copy=False)
        return indexes, _check_palette(_present(indexes), file)
    if header.colour == png.GREY:
        if header.depth == 8:
            return samples.astype(np.uint8, copy=False), None
        if header.depth < 8:
            values = samples.astype(np.uint8, copy=False) // np.uint8(_PILLOW_SCALE[header.depth])
            return values, Remark(
                "CONV-LOWBIT",
                f"{header.depth}-bit grey: took the samples {_some(_present(values))}",
            )
        return _narrow_grey16(samples)
    return _grey_of_colour(samples, header)


def _check_palette(present: list[int], file: PngFile) -> Remark:
    entries = file.palette_entries or 0
    highest = present[-1]
    if highest >= entries:
        raise MaskRefused(
            "PNG-UNREADABLE",
            f"pixels have palette index {highest}, but the palette has only {entries} entries",
            found=f"index {highest}",
            expected=f"0..{entries - 1}",
        )
    return Remark("CONV-PALETTE", f"palette PNG: took the indexes {_some(present)}")


def _narrow_grey16(samples: NDArray[np.generic]) -> tuple[NDArray[np.uint8], Remark | None]:
    values = samples.astype(np.int64)
    highest = int(values.max())
    if highest > 255:
        distinct = np.unique(values).size
        advice = "fits after a remap" if distinct <= 256 else "too many ids for one 8-bit mask"
        raise MaskRefused(
            "MASK-16BIT",
            f"16-bit grey, max {highest}, {distinct} distinct values: {advice}; remap the ids "
            "to 0..255",
            found=f"max {highest}, {distinct} distinct",
            expected="values 0..255",
        )
    return values.astype(np.uint8), Remark("CONV-G16-SMALL", "16-bit grey: every value fits 8 bits")


def _grey_of_colour(
    samples: NDArray[np.generic], header: PngHeader
) -> tuple[NDArray[np.uint8], Remark | None]:
    name = f"{header.depth}-bit {png.COLOUR_NAMES[header.colour]}"
    has_alpha = header.colour in (png.GREY_ALPHA, png.RGBA)
    colour = samples[..., :-1] if has_alpha else samples
    if colour.shape[-1] == 3 and (
        (colour[..., 0] != colour[..., 1]).any() or (colour[..., 0] != colour[..., 2]).any()
    ):
        raise MaskRefused(
            "MASK-COLOUR",
            f"{name} with {_colours(colour)}, not an index mask; write the index values, or "
            "translate the colours with the table (or the panoptic ids) they were made from",
            found=name,
            expected="8-bit greyscale or palette",
        )
    if has_alpha and (samples[..., -1] != 255).any():
        distinct = np.unique(samples[..., -1]).size
        raise MaskRefused(
            "MASK-ALPHA",
            f"{name}: alpha has {distinct} value{'s' * (distinct > 1)}, and a transparent pixel "
            "is ambiguous; write the mask without an alpha channel",
            found=f"alpha with {distinct} values",
            expected="no alpha, or 255 everywhere",
        )
    if header.depth == 16:  # Pillow keeps the high byte only: nothing left to read losslessly
        raise MaskRefused(
            "MASK-16BIT",
            f"{name}: write the mask as 8-bit greyscale",
            found=name,
            expected="8-bit greyscale or palette",
        )
    return colour[..., 0].astype(np.uint8), Remark(
        "CONV-GREY-IN-RGB", f"{name} with equal channels: took one of them"
    )


def _colours(colour: NDArray[np.generic]) -> str:
    packed = colour.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    values, counts = np.unique(packed, return_counts=True)
    most = sorted(zip(counts.tolist(), values.tolist(), strict=True), reverse=True)[:5]
    listed = ", ".join(f"#{value:06x} {count:,} px" for count, value in most)
    more = ", ..." if values.size > len(most) else ""
    return f"{values.size} colours ({listed}{more})"


def _present(values: NDArray[np.uint8]) -> list[int]:
    """The values that are there, ascending."""
    present: list[int] = np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()
    return present


def _some(present: list[int]) -> str:
    listed = ", ".join(map(str, present[:10]))
    return listed + (f" and {len(present) - 10} more" if len(present) > 10 else "")


def _remarks(file: PngFile) -> list[Remark]:
    remarks = []
    if file.transparency:
        remarks.append(Remark("CONV-TRNS", "transparency (tRNS) is not part of a mask: dropped"))
    if file.trailing_bytes:
        remarks.append(
            Remark("PNG-TRAILING", f"{file.trailing_bytes:,} bytes after the PNG's end: dropped")
        )
    orientation = _orientation(file)
    if orientation != 1:
        remarks.append(
            Remark(
                "EXIF-ORIENTATION",
                f"the mask says orientation {orientation}; its pixels are kept as stored",
            )
        )
    return remarks


def _orientation(file: PngFile) -> int:
    """EXIF or XMP orientation, 1 (as stored) where there is none or it cannot be read."""
    for kind, body in file.ancillary:
        if kind == b"eXIf":
            value = exif_orientation(body)
            if value != 1:
                return value
        elif kind == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0"):
            match = _XMP_ORIENTATION.search(body)
            if match:
                return int(match[1])
    return 1


def exif_orientation(body: bytes) -> int:
    """Orientation (1 to 8) from EXIF data; 1 where it says nothing, or is damaged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(body[:4])
    if order is None or len(body) < 10:
        return 1
    start = struct.unpack_from(f"{order}I", body, 4)[0]
    entries = body[start + 2 :] if start + 2 <= len(body) else b""
    count = struct.unpack_from(f"{order}H", body, start)[0] if entries else 0
    for place in range(0, min(12 * count, len(entries) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", entries, place)
        if tag == _ORIENTATION_TAG and kind == _EXIF_SHORT and 1 <= value <= 8:
            return int(value)
    return 1
