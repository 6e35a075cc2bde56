"""The size of an image, from its header: JPEG, PNG, WebP and TIFF.

Only headers are read, never pixels. Pillow's plugin classes are used directly, because
``Image.open`` applies a process-wide pixel limit.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO

from PIL import JpegImagePlugin, TiffImagePlugin

from segpipe.masks import png

_ORIENTATION_TAG = 0x0112
_TIFF_WIDTH = TiffImagePlugin.IMAGEWIDTH


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Height and width in pixels as stored, and the EXIF orientation (1 to 8), never applied."""

    height: int
    width: int
    orientation: int = 1


def read_image_size(file: IO[bytes]) -> ImageSize | None:
    """Read the size of an image.

    Args:
        file: seekable, at its start.

    Returns:
        None for other formats and for damaged headers.
    """
    start = file.read(33)
    file.seek(0)
    try:
        if start.startswith(png.SIGNATURE):
            header = png.read_header(start)
            return ImageSize(header.height, header.width)
        if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            return _webp(start)
        if start.startswith(b"\xff\xd8\xff"):
            image = JpegImagePlugin.JpegImageFile(file)
            return ImageSize(image.height, image.width, _orientation(image))
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            tiff = TiffImagePlugin.TiffImageFile(file)
            # From the tags, because Pillow's size is that of the rotated image.
            height, width = tiff.tag_v2[TiffImagePlugin.IMAGELENGTH], tiff.tag_v2[_TIFF_WIDTH]
            return ImageSize(int(height), int(width), _orientation(tiff))
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, EOFError, struct.error):
        return None
    return None


def _orientation(image: JpegImagePlugin.JpegImageFile | TiffImagePlugin.TiffImageFile) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # metadata is only reported, so any damage is ignored
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _webp(start: bytes) -> ImageSize | None:
    """The three kinds of WebP headers (RFC 9649, sections 2.5 to 2.7)."""
    kind = start[12:16]
    if len(start) < 30:
        return None
    if kind == b"VP8X":
        width = 1 + int.from_bytes(start[24:27], "little")
        height = 1 + int.from_bytes(start[27:30], "little")
    elif kind == b"VP8L" and start[20] == 0x2F:
        bits = int.from_bytes(start[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 " and start[23:26] == b"\x9d\x01\x2a":
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", start, 26))
    else:
        return None
    return ImageSize(height, width)
