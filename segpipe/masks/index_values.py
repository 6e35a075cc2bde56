"""Lossless conversion of PNG samples to 8-bit index values, if it is unambiguous."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import listed
from segpipe.masks import png
from segpipe.masks.beyond_8_bits import refusal_of_grey16
from segpipe.masks.png import PngFile, PngHeader
from segpipe.masks.refusal import MaskRefused, Remark

# Pillow scales 1-, 2- and 4-bit grey up to 0..255 (x255, x85, x17); dividing undoes it exactly.
_PILLOW_SCALE = {1: 255, 2: 85, 4: 17}


def index_values_of(
    samples: NDArray[np.generic], file: PngFile
) -> tuple[NDArray[np.uint8], Remark | None]:
    """Convert a PNG's samples to index values.

    Args:
        samples: H x W, or H x W x channels, as Pillow decodes them.

    Returns:
        H x W uint8, and a remark on the conversion; None if there was nothing to convert.

    Raises:
        MaskRefused: PNG-UNREADABLE, MASK-16BIT, MASK-COLOUR or MASK-ALPHA.
    """
    header = file.header
    if header.colour == png.PALETTE:
        indexes = samples.astype(np.uint8, copy=False)
        return indexes, check_palette(_present(indexes), file)
    if header.colour == png.GREY:
        if header.depth == 8:
            return samples.astype(np.uint8, copy=False), None
        if header.depth < 8:
            values = samples.astype(np.uint8, copy=False) // np.uint8(_PILLOW_SCALE[header.depth])
            return values, Remark(
                "CONV-LOWBIT",
                f"{header.depth}-bit grey: took the samples {listed(_present(values))}",
            )
        return _narrow_grey16(samples)
    return _grey_of_colour(samples, header)


def check_palette(present: list[int], file: PngFile) -> Remark:
    """Check that a palette PNG's palette has an entry for every index.

    Args:
        present: the indexes that occur, ascending.

    Raises:
        MaskRefused: PNG-UNREADABLE if an entry is missing.
    """
    entries = file.palette_entries or 0
    highest = present[-1]
    if highest >= entries:
        raise MaskRefused(
            "PNG-UNREADABLE",
            f"pixels have palette index {highest}, but the palette has only {entries} entries",
            found=f"index {highest}",
            expected=f"0..{entries - 1}",
            remedy="Write a palette with an entry for every index (256 entries always suffice), or "
            "the indexes as 8-bit greyscale; writing or uploading the same file again changes "
            "nothing.",
        )
    return Remark("CONV-PALETTE", f"palette PNG: took the indexes {listed(present)}")


def _narrow_grey16(samples: NDArray[np.generic]) -> tuple[NDArray[np.uint8], Remark | None]:
    values = samples.astype(np.uint16, copy=False)
    highest = int(values.max())
    if highest > 255:
        raise refusal_of_grey16(values)
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
    if header.depth == 16:  # Pillow only decodes the high byte, which is lossy
        raise MaskRefused(
            "MASK-16BIT",
            f"{name}: write the mask as 8-bit greyscale",
            found=name,
            expected="8-bit greyscale or palette",
            remedy="Write one channel as 8-bit greyscale; divide values that are all multiples of "
            "257 by it.",
        )
    return colour[..., 0].astype(np.uint8), Remark(
        "CONV-GREY-IN-RGB", f"{name} with equal channels: took one of them"
    )


def _colours(colour: NDArray[np.generic]) -> str:
    packed = colour.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    values, counts = np.unique(packed, return_counts=True)
    most = sorted(zip(counts.tolist(), values.tolist(), strict=True), reverse=True)[:5]
    named = ", ".join(f"#{value:06x} {count:,} px" for count, value in most)
    more = ", ..." if values.size > len(most) else ""
    return f"{values.size} colours ({named}{more})"


def _present(values: NDArray[np.uint8]) -> list[int]:
    """The values that occur, ascending."""
    flat = values.reshape(-1)
    # Counting pixels takes as long as decoding them; most words of eight repeat the one before.
    words = flat[: flat.size // 8 * 8].view(np.uint64)
    few = _ends_of_runs(np.append(_ends_of_runs(words).view(np.uint8), flat[words.size * 8 :]))
    present: list[int] = np.flatnonzero(np.bincount(few, minlength=256)).tolist()
    return present


def _ends_of_runs(values: NDArray[Any]) -> NDArray[Any]:
    return np.append(values[np.flatnonzero(values[1:] != values[:-1])], values[-1:])
