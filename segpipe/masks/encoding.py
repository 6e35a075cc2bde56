"""Encoding masks as PNG in the canonical form in which they are stored.

Lines of a mask mostly repeat the line above, so Up turns them into zeros, and run-length matches
are all that zlib has to look for: for masks that takes an eighth of Pillow's time, and the files
are a tenth smaller. Only textures that repeat further away need real matching.

The bytes depend on the version of zlib, so nothing is compared by them: fingerprints and digests of
tables cover pixels.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from segpipe.masks.png import grey_png

_NONE, _UP = 0, 2  # filter types
_RUNS_MEMORY = 7  # blocks of 8192 symbols: a mask's parts get codes of their own
# Above this ratio of compressed to raw size, there may be a texture.
_MOST_RUNS = 1 / 16
_MATCHING_LEVEL = 3


def canonical_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an H x W uint8 mask: 8-bit greyscale, not interlaced, only IHDR, IDAT and IEND."""
    height, width = pixels.shape
    lines = np.empty((height, width + 1), np.uint8)
    lines[:, 0] = _UP
    lines[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=lines[1:, 1:])
    encoder = zlib.compressobj(1, memLevel=_RUNS_MEMORY, strategy=zlib.Z_RLE)
    compressed = encoder.compress(lines.data) + encoder.flush()
    if len(compressed) > _MOST_RUNS * lines.size:
        lines[:, 0] = _NONE
        lines[:, 1:] = pixels
        compressed = min(compressed, zlib.compress(lines.data, _MATCHING_LEVEL), key=len)
    return grey_png(height, width, compressed)
