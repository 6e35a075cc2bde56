"""The orientation in a PNG's EXIF or XMP data; it is reported and never applied."""

from __future__ import annotations

import re
import struct

from segpipe.masks.png import PngFile

#: EXIF tag of the orientation.
ORIENTATION_TAG = 0x0112
_EXIF_SHORT = 3
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([2-8])")


def orientation_of(file: PngFile) -> int:
    """EXIF or XMP orientation, 1 to 8; 1 (as stored) if there is none or it cannot be read."""
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
    """Orientation, 1 to 8, from the body of an eXIf chunk; 1 if it has none or is damaged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(body[:4])
    if order is None or len(body) < 10:
        return 1
    start = struct.unpack_from(f"{order}I", body, 4)[0]
    entries = body[start + 2 :] if start + 2 <= len(body) else b""
    count = struct.unpack_from(f"{order}H", body, start)[0] if entries else 0
    for place in range(0, min(12 * count, len(entries) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", entries, place)
        if tag == ORIENTATION_TAG and kind == _EXIF_SHORT and 1 <= value <= 8:
            return int(value)
    return 1
