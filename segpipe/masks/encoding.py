"""Encoding masks as PNG in the canonical form in which they are stored."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def canonical_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an H x W uint8 mask: 8-bit greyscale, not interlaced, only IHDR, IDAT and IEND."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
