"""The size of a HEIF image (AVIF, HEIC), from its boxes: ISO/IEC 14496-12 and 23008-12.

By hand, because Pillow's reader wants the whole file, and has none for HEIC.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

#: Bytes in which the boxes that are looked for have to lie.
_MOST = 1 << 16
# 'irot' counts quarter turns anticlockwise.
_ORIENTATIONS = {0: 1, 1: 8, 2: 3, 3: 6}


def read_heif_size(file: IO[bytes]) -> tuple[int, int, int]:
    """Height and width in pixels as stored, and the rotation as an EXIF orientation.

    Args:
        file: at its start.

    Raises:
        ValueError, struct.error: for damaged headers.
    """
    meta = dict(_boxes(file.read(_MOST)))[b"meta"][4:]
    boxes = dict(_boxes(meta))
    wide = boxes[b"pitm"][0] > 0
    (primary,) = struct.unpack_from(">I" if wide else ">H", boxes[b"pitm"], 4)
    height = width = 0
    orientation = 1
    properties = list(_boxes(dict(_boxes(boxes[b"iprp"]))[b"ipco"]))
    for kind, found in _boxes(boxes[b"iprp"]):
        if kind != b"ipma":
            continue
        for number in _associated(found, primary):
            name, content = properties[number - 1]
            if name == b"ispe":
                width, height = struct.unpack_from(">II", content, 4)
            elif name == b"irot":
                orientation = _ORIENTATIONS[content[0] & 3]
    if not height or not width:
        raise ValueError("no size is associated with the primary item")
    return height, width, orientation


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind and content of each box; the last may be cut."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = at + size if size else len(data)
        if end < start:
            raise ValueError("a box is smaller than its header")
        yield kind, data[start:end]
        at = end


def _associated(ipma: bytes, item: int) -> Iterator[int]:
    """The numbers, from 1, of an item's properties."""
    version, wide = ipma[0], ipma[3] & 1
    (count,) = struct.unpack_from(">I", ipma, 4)
    at = 8
    for _ in range(count):
        (found,) = struct.unpack_from(">H" if version < 1 else ">I", ipma, at)
        at += 2 if version < 1 else 4
        properties = ipma[at]
        at += 1
        for _ in range(properties):
            number = int.from_bytes(ipma[at : at + 2]) & 0x7FFF if wide else ipma[at] & 0x7F
            at += 2 if wide else 1
            if found == item and number:
                yield number
