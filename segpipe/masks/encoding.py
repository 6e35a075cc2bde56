"""Encoding masks as PNG: the canonical form in which they are stored, and ids as colours.

Lines of a mask mostly repeat the line above, so Up turns them into zeros, and run-length matches
are all that zlib has to look for: for masks that takes an eighth of Pillow's time, and the files
are a tenth smaller. Only textures that repeat further away, and the three bytes of a colour, need
real matching.

The bytes depend on the version of zlib, so nothing is compared by them: fingerprints and digests of
tables cover pixels.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from segpipe.masks.png import GREY, RGB, eight_bit_png

_NONE, _UP = 0, 2  # filter types
_RUNS_MEMORY = 7  # blocks of 8192 symbols: a mask's parts get codes of their own
# Above this ratio of compressed to raw size, there may be a texture.
_MOST_RUNS = 1 / 16
_MATCHING_LEVEL = 3
_COLOUR_LEVEL = 4


def canonical_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an H x W uint8 mask: 8-bit greyscale, not interlaced, only IHDR, IDAT and IEND."""
    height, width = pixels.shape
    lines = _up_filtered(pixels)
    encoder = zlib.compressobj(1, memLevel=_RUNS_MEMORY, strategy=zlib.Z_RLE)
    compressed = encoder.compress(lines.data) + encoder.flush()
    if len(compressed) > _MOST_RUNS * lines.size:
        lines[:, 0] = _NONE
        lines[:, 1:] = pixels
        compressed = min(compressed, zlib.compress(lines.data, _MATCHING_LEVEL), key=len)
    return eight_bit_png(height, width, GREY, compressed)


def colour_png(colours: NDArray[np.uint8]) -> bytes:
    """Encode H x W x 3 uint8 colours that stand for ids: 8-bit RGB, not interlaced."""
    height, width, _ = colours.shape
    compressed = zlib.compress(_up_filtered(colours.reshape(height, -1)).data, _COLOUR_LEVEL)
    return eight_bit_png(height, width, RGB, compressed)


def _up_filtered(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scan lines: the filter type, and what differs from the line above."""
    height, width = rows.shape
    lines = np.empty((height, width + 1), np.uint8)
    lines[:, 0] = _UP
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    return lines
