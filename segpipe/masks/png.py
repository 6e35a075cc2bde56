"""The PNG container: is this file a whole, undamaged PNG, and what does it hold?

Pillow opens files with a wrong IDAT checksum and decompresses text chunks of any size. Both are
checked here, from the chunk structure alone, before a decoder sees a byte.
Source of the format: PNG specification, third edition (W3C), sections 5 and 11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
COLOUR_NAMES = {
    GREY: "grey",
    RGB: "RGB",
    PALETTE: "palette",
    GREY_ALPHA: "grey+alpha",
    RGBA: "RGBA",
}
_DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGBA: (8, 16),
}
_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
# Interlacing: first column and row, and steps, of each of the seven passes.
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip
_END = b"\0\0\0\0IEND\xaeB`\x82"
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# Bytes that suffice to find an orientation; larger chunks are never copied or inflated.
_KEPT_ANCILLARY = {b"eXIf": 65_536, b"iTXt": 65_536}

# A file of empty chunks would take a hundred times its size in memory. Encoders write image data in
# chunks of 8 kB or more, so this many hold half a gigabyte.
_MAX_CHUNKS = 65_536

# Other formats found under a .png name, by magic bytes.
_OTHER_FORMATS = (
    (b"\xff\xd8\xff", "JPEG data (lossy: class numbers are damaged); export PNG from the array"),
    (b"GIF8", "a GIF image; export an 8-bit greyscale PNG from the array"),
    (b"BM", "a BMP image; export an 8-bit greyscale PNG from the array"),
    (b"II*\0", "a TIFF image; export an 8-bit greyscale PNG from the array"),
    (b"MM\0*", "a TIFF image; export an 8-bit greyscale PNG from the array"),
    (b"\x93NUMPY", "a NumPy .npy array; write it as an 8-bit greyscale PNG"),
    (b"PK\x03\x04", "a zip or .npz archive; unpack it first"),
    (b"\x1f\x8b", "gzip data; unpack it first"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "a Parquet file"),
    (b"\x89HDF", "an HDF5 file; write the array as an 8-bit greyscale PNG"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
)


class PngError(ValueError):
    """The bytes are not a complete PNG. ``is_png`` is False for files of another format.

    ``remedy`` says what to do where writing the file again would not help.
    """

    def __init__(self, message: str, *, is_png: bool = True, remedy: str = "") -> None:
        super().__init__(message)
        self.is_png = is_png
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class PngHeader:
    """IHDR: width and height in pixels, bits per sample, colour type (see ``COLOUR_NAMES``)."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def raw_size(self) -> int:
        """Bytes of filtered scan lines that complete image data inflates to."""
        if not self.interlaced:
            return self._lines(self.width, self.height)
        return sum(
            self._lines(-(-(self.width - x) // dx), -(-(self.height - y) // dy))
            for x, y, dx, dy in _ADAM7
        )

    def _lines(self, width: int, height: int) -> int:
        if width <= 0 or height <= 0:
            return 0
        return height * (1 + (width * self.depth * _CHANNELS[self.colour] + 7) // 8)


@dataclass(frozen=True, slots=True)
class PngFile:
    """A PNG with valid structure and valid checksums of its critical chunks.

    Attributes:
        header: IHDR.
        data: the whole file.
        kept: start and end byte of IHDR, PLTE, IDAT and IEND in it, in order.
        palette_entries: number of colours; None without a palette.
        transparency: whether there is a tRNS chunk.
        trailing_bytes: bytes after IEND.
        minimal: whether the file has no other chunks and no trailing bytes.
        ancillary: type and body of the chunks that may hold an orientation.
    """

    header: PngHeader
    data: bytes
    kept: Sequence[tuple[int, int]]
    palette_entries: int | None
    transparency: bool
    trailing_bytes: int
    minimal: bool
    ancillary: tuple[tuple[bytes, bytes], ...]

    @property
    def image_data(self) -> bytes:
        """The file reduced to its kept chunks, safe to pass to a decoder."""
        if self.minimal:
            return self.data
        view = memoryview(self.data)
        return b"".join([SIGNATURE, *(view[start:stop] for start, stop in self.kept)])

    @property
    def compressed(self) -> bytes | memoryview:
        """The image data: a zlib stream, without copying if it is in one chunk."""
        pieces = _image_pieces(memoryview(self.data), self.kept)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def is_grey_as_it_is(self) -> bool:
        """Whether the image data are those of an 8-bit grey PNG with the same samples."""
        header = self.header
        return header.depth == 8 and not header.interlaced and header.colour in (GREY, PALETTE)

    @property
    def grey(self) -> bytes:
        """Its IDAT chunks as an 8-bit grey PNG with IHDR and IEND alone, if it is one as it is."""
        if self.minimal and self.header.colour == GREY:
            return self.data
        view = memoryview(self.data)
        chunks = _image_chunks(view, self.kept)
        consecutive = view[chunks[0][0] : chunks[-1][1]]
        header = _header_chunk(self.header.height, self.header.width, GREY)
        return b"".join([SIGNATURE, header, consecutive, _END])


def _image_pieces(data: memoryview, chunks: Sequence[tuple[int, int]]) -> list[memoryview]:
    """The bodies of the IDAT chunks among chunks given by start and end."""
    return [data[start + 8 : stop - 4] for start, stop in _image_chunks(data, chunks)]


def _image_chunks(data: memoryview, chunks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Start and end of the IDAT chunks among them."""
    return [one for one in chunks if data[one[0] + 4 : one[0] + 8].tobytes() == b"IDAT"]


def eight_bit_png(height: int, width: int, colour: int, compressed: bytes) -> bytes:
    """An 8-bit PNG, not interlaced: IHDR, one IDAT chunk and IEND.

    Args:
        colour: GREY or RGB.
        compressed: zlib stream of the filtered scan lines.
    """
    header = _header_chunk(height, width, colour)
    return b"".join([SIGNATURE, header, _chunk(b"IDAT", compressed), _END])


def _header_chunk(height: int, width: int, colour: int) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))


def _chunk(kind: bytes, body: bytes) -> bytes:
    checked = zlib.crc32(body, zlib.crc32(kind))
    return b"".join([struct.pack(">I", len(body)), kind, body, struct.pack(">I", checked)])


def read_header(data: bytes) -> PngHeader:
    """Read IHDR from at least the first 33 bytes of a PNG.

    Raises:
        PngError: if the bytes are not a PNG, or IHDR is damaged.
    """
    _check_signature(data)
    if len(data) < 33:
        raise PngError(f"the file ends after {len(data)} bytes, within its header")
    length, kind = struct.unpack_from(">I4s", data, 8)
    if kind != b"IHDR" or length != 13:
        raise PngError("the first chunk is not a 13-byte IHDR")
    if zlib.crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
        raise PngError("CRC of IHDR is wrong: the file is damaged; write or download it again")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack_from(
        ">IIBBBBB", data, 16
    )
    if not 0 < width < 2**31 or not 0 < height < 2**31:
        raise PngError(f"IHDR says {width} x {height} pixels")
    if colour not in _DEPTHS:
        raise PngError(f"colour type {colour} does not exist")
    if depth not in _DEPTHS[colour]:
        raise PngError(f"bit depth {depth} does not exist for colour type {colour}")
    if compression or filtering or interlace > 1:
        raise PngError("IHDR names an unknown compression, filter or interlace method")
    return PngHeader(width, height, depth, colour, bool(interlace))


def read_png(data: bytes, header: PngHeader | None = None) -> PngFile:
    """Check signature, IHDR, chunk order and critical checksums of a whole PNG; decode nothing.

    Args:
        header: IHDR, if it has been read already.

    Raises:
        PngError: naming the damage and, for a truncated file, the share of the image it holds.
    """
    header = header or read_header(data)
    view = memoryview(data)
    spans: list[tuple[int, int]] = [(8, 33)]
    ancillary: list[tuple[bytes, bytes]] = []
    palette: int | None = None
    transparency = image_ended = image_begun = False
    place, chunks = 33, 0
    while True:
        if place + 12 > len(data):
            raise PngError(_cut(data, header, spans, place))
        chunks += 1
        if chunks > _MAX_CHUNKS:
            raise PngError(f"it has more than {_MAX_CHUNKS:,} chunks; write the file again")
        length = int.from_bytes(view[place : place + 4], "big")
        kind = bytes(view[place + 4 : place + 8])
        end = place + 12 + length
        if end > len(data):
            raise PngError(_cut(data, header, spans, place))
        if kind in _CRITICAL:
            stored = int.from_bytes(view[end - 4 : end], "big")
            if zlib.crc32(view[place + 4 : end - 4]) != stored:
                raise PngError(
                    f"CRC of {kind.decode()} is wrong: the file is damaged; "
                    "write or download it again"
                )
            # A palette of a grey or colour PNG is only a suggestion for display, and is dropped.
            if kind != b"PLTE" or header.colour == PALETTE:
                spans.append((place, end))
        if kind == b"IDAT":
            if image_ended:
                raise PngError("IDAT chunks are not consecutive")
            image_begun = True
        else:
            image_ended = image_begun
            if kind == b"PLTE":
                palette = _palette_entries(length, palette, image_begun)
            elif kind == b"tRNS":
                transparency = True
            elif kind == b"acTL":
                raise PngError(
                    "it is an animated PNG (acTL): one mask per file, please",
                    remedy="Write each frame as a PNG of its own, with a row for each.",
                )
            elif kind == b"IHDR":
                raise PngError("a second IHDR chunk")
            elif kind not in _CRITICAL and not kind[0] & 0x20:
                raise PngError(f"unknown critical chunk {kind!r}")
            elif length <= _KEPT_ANCILLARY.get(kind, -1):
                ancillary.append((kind, bytes(view[place + 8 : end - 4])))
        place = end
        if kind == b"IEND":
            break
    if not image_begun:
        raise PngError("it has no IDAT chunk: there is no image in it")
    if header.colour == PALETTE and palette is None:
        raise PngError("it is a palette PNG without a palette (PLTE)")
    minimal = sum(stop - start for start, stop in spans) + 8 == len(data)
    return PngFile(
        header, data, spans, palette, transparency, len(data) - place, minimal, tuple(ancillary)
    )


def _palette_entries(length: int, earlier: int | None, image_begun: bool) -> int:
    if earlier is not None or image_begun or length % 3 or not 0 < length <= 768:
        raise PngError("its palette (PLTE) is misplaced or malformed")
    return length // 3


def _check_signature(data: bytes) -> None:
    if data[:8] == SIGNATURE:
        return
    if not data:
        raise PngError("the file is empty (0 bytes)")
    if SIGNATURE.startswith(data):
        raise PngError(f"the file ends after {len(data)} bytes, within its signature")
    if b"IHDR" in data[:24]:
        raise PngError("the PNG signature is damaged, as by a transfer in text mode")
    raise PngError(f"holds {describe_bytes(data)}", is_png=False)


def describe_bytes(data: bytes) -> str:
    """Describe the bytes of a file that is not a PNG, for a message."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP image; export an 8-bit greyscale PNG from the array"
    for magic, words in _OTHER_FORMATS:
        if data.startswith(magic):
            return words
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page: did the signed URL expire?"
    if b"<error" in start and b"<code>" in start:
        return "an object store's error message (XML): did the signed URL expire?"
    if start.startswith(b"<?xml") or start.startswith(b"<"):
        return "an XML or HTML document"
    if start.startswith((b"{", b"[")):
        return "JSON text"
    return f"bytes of another kind (they begin with {data[:8].hex(' ')})"


def _cut(data: bytes, header: PngHeader, spans: list[tuple[int, int]], place: int) -> str:
    """The message for a truncated file: where it ends, and how much of the image it holds."""
    pieces = _image_pieces(memoryview(data), spans)
    if data[place + 4 : place + 8] == b"IDAT":
        pieces.append(memoryview(data)[place + 8 :])
    if not pieces:
        return f"the file ends after {len(data)} bytes, before its image data"
    try:
        share = min(100, 100 * _inflated(pieces, header.raw_size) // header.raw_size)
    except zlib.error:
        return f"the file ends after {len(data)} bytes and its image data is damaged"
    return f"the file is cut: it ends after {len(data)} bytes, {share} % of the image"


def image_data_size(file: PngFile) -> int | None:
    """Bytes that a PNG's image data inflates to, at most one more than its pixels need; None if it
    is damaged. In bounded memory and time, whatever it would inflate to.

    Some decoders accept a stream that ends early, and fill up with zeros; and one that does not
    end, and leave the rest.
    """
    pieces = _image_pieces(memoryview(file.data), file.kept)
    try:
        return _inflated(pieces, file.header.raw_size + 1)
    except zlib.error:
        return None


def _inflated(pieces: Sequence[memoryview], enough: int) -> int:
    """Bytes that the pieces of a zlib stream inflate to, at most ``enough``."""
    inflater, size = zlib.decompressobj(), 0
    for body in pieces:
        # What is not consumed is copied each time: short slices keep that linear.
        for start in range(0, len(body), 1 << 16):
            piece: bytes | memoryview = body[start : start + (1 << 16)]
            while piece and size < enough and not inflater.eof:
                size += len(inflater.decompress(piece, min(1 << 20, enough - size)))
                piece = inflater.unconsumed_tail
            if size >= enough or inflater.eof:
                return size
    return size
