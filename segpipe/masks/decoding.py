"""Decoding index masks: PNG bytes to H x W uint8.

Samples are accepted if they are 8-bit index values, converted if exactly one lossless conversion
exists, and refused otherwise. Gamma, palette colours, alpha and orientation are never applied.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import PngImagePlugin

from segpipe.masks import png
from segpipe.masks.fast_path import FastSamples, inflates_exactly, meet, read_samples
from segpipe.masks.index_values import check_palette, index_values_of
from segpipe.masks.orientation import orientation_of
from segpipe.masks.png import PngError, PngFile, PngHeader
from segpipe.masks.refusal import MaskRefused, Remark
from segpipe.masks.runs import KernelMeasures, Runs

#: Default limit on width x height in pixels, checked in the header before anything is decoded.
MAX_PIXELS = 100_000_000
#: Default limit on the size of a mask file in bytes, checked before it is read.
MAX_BYTES = 100_000_000
# A file beyond this many times its pixels' bytes is padding: no encoder comes near it.
_MOST_TIMES_RAW, _FEW_BYTES = 2, 4096


@dataclass(frozen=True, slots=True)
class DecodedMask:
    """A decoded mask.

    Attributes:
        samples: H x W uint8; or the fast path's samples, which make pixels on demand.
        header: of the PNG.
        remarks: conversions and oddities.
        canonical: the file in the canonical form, if its image data can be kept as they are: the
            source itself where nothing else is in it. None if the pixels have to be encoded.
    """

    samples: NDArray[np.uint8] | FastSamples
    header: PngHeader
    remarks: tuple[Remark, ...]
    canonical: bytes | None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """H x W uint8; read-only if it shares the decoder's memory."""
        return self.samples.pixels if isinstance(self.samples, FastSamples) else self.samples

    @property
    def runs(self) -> Runs | None:
        """Its runs, where the fast path lists them."""
        return self.samples.runs if isinstance(self.samples, FastSamples) else None

    @property
    def kernel_measures(self) -> KernelMeasures | None:
        """Measures the fast path took while decoding; None without the fast path."""
        return self.samples.kernel_measures if isinstance(self.samples, FastSamples) else None


def decode_mask(data: bytes, max_pixels: int = MAX_PIXELS) -> DecodedMask:
    """Decode an index mask from PNG bytes.

    Args:
        data: the whole file.
        max_pixels: limit on width x height.

    Raises:
        MaskRefused: naming the rule (FILE-NOT-PNG, PNG-UNREADABLE, TOO-LARGE, MASK-COLOUR,
            MASK-ALPHA, MASK-16BIT), what was found and what was expected. It holds the header
            unless that is damaged.
    """
    header = _header(data)
    try:
        return _decoded(data, header, max_pixels)
    except MaskRefused as refusal:
        refusal.header = header
        raise


def _decoded(data: bytes, header: PngHeader, max_pixels: int) -> DecodedMask:
    check_pixels(header, max_pixels)
    meet(header.width * header.height)
    samples, file, excess = _read(data, header)
    remarks = tuple(_remarks(file, excess))
    if isinstance(samples, FastSamples):
        conversion = None
        if header.colour == png.PALETTE:
            conversion = check_palette(samples.values, file)
        pixels: NDArray[np.uint8] | FastSamples = samples
    else:
        read, conversion = index_values_of(samples, file)
        pixels = np.ascontiguousarray(read)
    remarks = remarks if conversion is None else (conversion, *remarks)
    return DecodedMask(pixels, header, remarks, None if excess else _canonical(file))


def _canonical(file: PngFile) -> bytes | None:
    """The file in the canonical form with its image data as they are; None if that cannot be."""
    if not file.is_grey_as_it_is:
        return None
    grey = file.grey
    return grey if len(grey) <= _MOST_TIMES_RAW * file.header.raw_size + _FEW_BYTES else None


def decode_samples(
    data: bytes, max_pixels: int = MAX_PIXELS
) -> tuple[NDArray[np.generic], PngFile]:
    """Decode a PNG's samples as stored, for formats that encode ids in colours or 16 bits.

    Returns:
        H x W, or H x W x channels (palette indexes for palette PNGs), uint8 or as Pillow decodes
        16 bits; and the parsed file.

    Raises:
        MaskRefused: FILE-NOT-PNG, PNG-UNREADABLE or TOO-LARGE.
    """
    header = _header(data)
    check_pixels(header, max_pixels)
    samples, file, _ = _read(data, header)
    return _array(samples), file


def _array(samples: NDArray[np.generic] | FastSamples) -> NDArray[np.generic]:
    return samples.pixels if isinstance(samples, FastSamples) else samples


def _header(data: bytes) -> PngHeader:
    try:
        return png.read_header(data)
    except PngError as error:
        raise _unreadable(error) from None


def _unreadable(error: PngError) -> MaskRefused:
    rule = "PNG-UNREADABLE" if error.is_png else "FILE-NOT-PNG"
    return MaskRefused(
        rule, str(error), found=str(error), expected="a whole PNG", remedy=error.remedy
    )


def _read(
    data: bytes, header: PngHeader
) -> tuple[NDArray[np.generic] | FastSamples, PngFile, bool]:
    """Samples from the fast path, or an array decoded by Pillow; see :func:`decode_samples`.

    The last is whether the image data holds more than its pixels, or is damaged behind them.
    """
    try:
        file = png.read_png(data, header)
    except PngError as error:
        raise _unreadable(error) from None
    fast = read_samples(file)
    if fast is not None:
        return fast, file, False
    samples = _decode_samples(file)
    return samples, file, _has_excess(samples, file)


def check_pixels(header: PngHeader, max_pixels: int) -> None:
    """Refuse a mask of more than ``max_pixels``.

    Raises:
        MaskRefused: TOO-LARGE.
    """
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
        # Pillow takes longer for indexes of a palette than for the same data as grey values.
        data = file.grey if file.is_grey_as_it_is else file.image_data
        # The plugin class, because Image.open applies a process-wide pixel limit.
        with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
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


def _has_excess(samples: NDArray[np.generic], file: PngFile) -> bool:
    """Whether more follows the pixels in the image data; refuses if pixels are missing."""
    if inflates_exactly(file):
        return False
    size, raw_size = png.image_data_size(file), file.header.raw_size
    if size is None:
        # Pillow accepts a stream that ends early and leaves the missing rows zero. Rows are
        # decoded in order, so a last row that is not all zeros proves that none is missing.
        size = raw_size + 1 if not file.header.interlaced and samples[-1].any() else 0
    if size < raw_size:
        share = int(100 * size / raw_size)
        raise MaskRefused(
            "PNG-UNREADABLE",
            f"the image data ends after {share} % of the pixels; write the file again",
            found=f"{share} % of the pixels",
            expected="all pixels",
        )
    return size > raw_size


def _remarks(file: PngFile, excess: bool) -> list[Remark]:
    remarks = []
    if file.transparency:
        remarks.append(Remark("CONV-TRNS", "transparency (tRNS) is not part of a mask: dropped"))
    if file.trailing_bytes:
        remarks.append(
            Remark("PNG-TRAILING", f"{file.trailing_bytes:,} bytes after the PNG's end: dropped")
        )
    if excess:
        remarks.append(
            Remark(
                "PNG-TRAILING", "its image data goes on after the last pixel: the rest is dropped"
            )
        )
    orientation = orientation_of(file)
    if orientation != 1:
        remarks.append(
            Remark(
                "EXIF-ORIENTATION",
                f"the mask says orientation {orientation}; its pixels are kept as stored",
            )
        )
    return remarks
