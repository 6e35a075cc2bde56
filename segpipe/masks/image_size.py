"""The size of an image, from its header, in the formats of ``FORMATS``.

Only headers are read, never pixels. Pillow's plugin classes are used directly, because
``Image.open`` applies a process-wide pixel limit.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    TiffImagePlugin,
)
from PIL.Image import Image

from segpipe.masks import png
from segpipe.masks.heif import read_heif_size
from segpipe.masks.orientation import ORIENTATION_TAG

#: Formats whose size is read.
FORMATS = "JPEG, PNG, WebP, TIFF, BMP, GIF, JPEG 2000, AVIF, HEIC"
_TIFF_WIDTH = TiffImagePlugin.IMAGEWIDTH
_HEIF_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"),
}
# Where a file of another format tells itself: the bytes at its start, and what to call it.
_OTHER_FORMATS = (
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the image itself with `git lfs pull`"),
)


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Height and width in pixels as stored, and the EXIF orientation (1 to 8), never applied."""

    height: int
    width: int
    orientation: int = 1


class SizeUnknown(Exception):
    """An image's size cannot be told; the message says why, as what follows "the image"."""


def read_image_size(file: IO[bytes]) -> ImageSize:
    """Read the size of an image.

    Args:
        file: seekable, at its start.

    Raises:
        SizeUnknown: for other formats and for damaged headers.
    """
    start = file.read(64)
    file.seek(0)
    name, read = _reader(start)
    if read is None:
        raise SizeUnknown(f"is {name}" if name else f"is of no format that is read ({FORMATS})")
    try:
        size = read(file, start)
    except Exception as error:  # whatever a library says of a damaged header
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the storage's
        size = None
    if size is None or size.height < 1 or size.width < 1:
        raise SizeUnknown(f"is damaged: it begins as {name}, but its header cannot be read")
    return size


_Reader = Callable[[IO[bytes], bytes], ImageSize | None]


def _reader(start: bytes) -> tuple[str, _Reader | None]:
    """The name of the format that a file's first bytes tell, and what reads its size."""
    brand = start[8:12] if start[4:8] == b"ftyp" else b""
    for found, name, read in (
        (start.startswith(png.SIGNATURE), "PNG", _png),
        (start[:4] == b"RIFF" and start[8:12] == b"WEBP", "WebP", _webp),
        (start.startswith(b"\xff\xd8\xff"), "JPEG", _jpeg),
        (start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF", _tiff),
        (start[:6] in (b"GIF87a", b"GIF89a"), "GIF", _gif),
        (_is_bmp(start), "BMP", _bmp),
        (
            start.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
            "JPEG 2000",
            _jpeg_2000,
        ),
        (brand in _HEIF_BRANDS, _HEIF_BRANDS.get(brand, ""), _heif),
    ):
        if found:
            return name, read
    if not start:
        return "empty", None
    if start.lstrip()[:1] == b"<":
        return "a web page or XML: did a link expire?", None
    return next((name for magic, name in _OTHER_FORMATS if start.startswith(magic)), ""), None


def _is_bmp(start: bytes) -> bool:
    """Two letters say little: the sizes of the known headers, too."""
    return start[:2] == b"BM" and start[14:18] in [
        struct.pack("<I", size) for size in (12, 16, 40, 52, 56, 64, 108, 124)
    ]


def _png(file: IO[bytes], start: bytes) -> ImageSize:
    header = png.read_header(start[:33])
    return ImageSize(header.height, header.width)


def _jpeg(file: IO[bytes], start: bytes) -> ImageSize:
    image = JpegImagePlugin.JpegImageFile(file)
    return ImageSize(image.height, image.width, _orientation(image))


def _tiff(file: IO[bytes], start: bytes) -> ImageSize:
    tiff = TiffImagePlugin.TiffImageFile(file)
    # From the tags, because Pillow's size is that of the rotated image.
    height, width = tiff.tag_v2[TiffImagePlugin.IMAGELENGTH], tiff.tag_v2[_TIFF_WIDTH]
    return ImageSize(int(height), int(width), _orientation(tiff))


def _gif(file: IO[bytes], start: bytes) -> ImageSize:
    image = GifImagePlugin.GifImageFile(file)
    return ImageSize(image.height, image.width)


def _bmp(file: IO[bytes], start: bytes) -> ImageSize:
    image = BmpImagePlugin.BmpImageFile(file)
    return ImageSize(image.height, image.width)


def _jpeg_2000(file: IO[bytes], start: bytes) -> ImageSize:
    image = Jpeg2KImagePlugin.Jpeg2KImageFile(file)
    return ImageSize(image.height, image.width)


def _heif(file: IO[bytes], start: bytes) -> ImageSize:
    return ImageSize(*read_heif_size(file))


def _orientation(image: Image) -> int:
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # metadata is only reported, so any damage is ignored
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _webp(file: IO[bytes], start: bytes) -> ImageSize | None:
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
