"""Manifests and masks made here, without segpipe."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.outputs.constants import Row, Values

_SEGMENT = pa.struct([("label", pa.string()), ("index", pa.int32()), ("metadata", pa.string())])
_MANIFEST = pa.schema(
    [
        ("reference_id", pa.string()),
        ("mask_url", pa.string()),
        ("segments", pa.list_(_SEGMENT)),
        ("height", pa.int32()),
        ("width", pa.int32()),
    ]
)


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """A manifest with typed Segments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=_MANIFEST), path)


def write_untyped_manifest(path: Path, rows: Iterable[Row]) -> None:
    """A manifest with Segments as JSON, which may then be anything."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)


def mask_rows(folder: Path, masks: Iterable[Path], values: Values) -> Iterator[Row]:
    """Rows of a manifest in ``folder`` for PNGs below it, all with the same Segments, and sizes
    from the PNGs' headers."""
    segments = [
        {"label": label, "index": value, "metadata": None} for value, label in values.items()
    ]
    for mask in masks:
        place = mask.relative_to(folder).as_posix()
        width, height = size_of(mask.read_bytes())
        yield {
            "reference_id": place.removesuffix(".png"),
            "mask_url": place,
            "segments": segments,
            "height": height,
            "width": width,
        }


def size_of(png: bytes) -> tuple[int | None, int | None]:
    """Width and height a PNG's header names; None where there is no sensible one."""
    if len(png) < 24 or png[12:16] != b"IHDR":
        return None, None
    width, height = struct.unpack(">II", png[16:24])
    return (width, height) if 0 < width < 2**31 and 0 < height < 2**31 else (None, None)


@dataclass(frozen=True)
class Grey:
    """A picture of one grey sample a pixel.

    Attributes:
        samples: in rows, of ``depth`` bytes each; two are little-endian.
    """

    width: int
    height: int
    depth: int
    samples: bytes

    @classmethod
    def read(cls, png: bytes) -> Grey:
        """From a PNG of 8 or 16 bits that is not interlaced."""
        width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", png[16:29])
        if kind != 0 or bits not in (8, 16) or interlaced:
            raise ValueError("only grey PNGs of 8 or 16 bits, not interlaced, are read here")
        data, place = b"", 8
        while place < len(png):
            length, name = struct.unpack(">I4s", png[place : place + 8])
            data += png[place + 8 : place + 8 + length] if name == b"IDAT" else b""
            place += length + 12
        depth = bits // 8
        samples = bytearray(_unfiltered(zlib.decompress(data), width * depth, depth))
        if depth == 2:
            samples[0::2], samples[1::2] = samples[1::2], samples[0::2]
        return cls(width, height, depth, bytes(samples))

    def png(self, bits: int = 8, *, colours: bool = False) -> bytes:
        """As a PNG of 8 or 16 bits a sample, grey or with three equal channels."""
        header = struct.pack(">IIBBBBB", self.width, self.height, bits, 2 * colours, 0, 0, 0)
        step = 3 if colours else bits // 8
        data = bytearray()
        for line in self.lines():
            wide = bytearray(step * len(line))
            for place in range(step) if colours else (step - 1,):  # the high byte stays 0
                wide[place::step] = line
            data += b"\0" + wide
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data))
        return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")

    def lines(self) -> Iterator[bytes]:
        """Its rows."""
        length = self.width * self.depth
        for start in range(0, len(self.samples), length):
            yield self.samples[start : start + length]

    def mapped(self, by: Mapping[int, int]) -> Grey:
        """With other values, of 8 bits."""
        table = bytes(by.get(value, value) for value in range(256))
        return Grey(self.width, self.height, 1, self.samples.translate(table))

    def halved(self) -> Grey:
        """Every second pixel of every second row."""
        lines = [line[::2] for line in self.lines()][::2]
        return Grey(len(lines[0]), len(lines), 1, b"".join(lines))

    def turned(self) -> Grey:
        """Rows as columns."""
        turned = b"".join(self.samples[column :: self.width] for column in range(self.width))
        return Grey(self.height, self.width, 1, turned)

    def interpolated(self) -> Grey:
        """Each pixel the mean of it and its right neighbour."""
        lines = [
            bytes((a + b) // 2 for a, b in zip(line, line[1:] + line[-1:], strict=True))
            for line in self.lines()
        ]
        return Grey(self.width, self.height, 1, b"".join(lines))


def _unfiltered(data: bytes, length: int, step: int) -> bytes:
    before, found = bytes(length), []
    for start in range(0, len(data), length + 1):
        kind, line = data[start], bytearray(data[start + 1 : start + 1 + length])
        for place in range(length) if kind else ():
            left = line[place - step] if place >= step else 0
            corner = before[place - step] if place >= step else 0
            line[place] = (line[place] + _predicted(kind, left, before[place], corner)) & 255
        before = bytes(line)
        found.append(before)
    return b"".join(found)


def _predicted(kind: int, left: int, above: int, corner: int) -> int:
    if kind == 4:
        estimate = left + above - corner
        return min((left, above, corner), key=lambda value: abs(estimate - value))
    return (0, left, above, (left + above) // 2)[kind]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def npy(descr: str, shape: Sequence[int], data: bytes) -> bytes:
    """A NumPy file."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + data


def write_label_map(path: Path, values: Values) -> None:
    """A label map in the form its name says."""
    if path.suffix == ".csv":
        lines = ["index,label", *(f'{value},"{label}"' for value, label in values.items())]
        path.write_text("\n".join(lines), "utf-8")
    elif path.suffix == ".toml":
        lines = [f"{value} = {json.dumps(label)}" for value, label in values.items()]
        path.write_text("\n".join(lines), "utf-8")
    else:
        path.write_text(json.dumps(dict(values)), "utf-8")
