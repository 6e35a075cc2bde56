"""Hand-built PNGs (no encoder but zlib), and an inbox: a folder of masks and manifests."""

from __future__ import annotations

import json
import struct
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segpipe.manifests.manifest import Manifest
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.sources import AllowedRoots
from segpipe.validation.chunk import Validation
from segpipe.validation.materialization import materialize
from segpipe.validation.rules import Policy
from segpipe.validation.summary import Summary
from segpipe.workers.chunks import Workers

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
_ADAM7_LAST = (1, 0, 2, 1)


def chunk(kind: bytes, body: bytes = b"", crc: int | None = None) -> bytes:
    """A PNG chunk; ``crc`` replaces the right checksum."""
    right = zlib.crc32(kind + body)
    return (
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", right if crc is None else crc)
    )


def ihdr(width: int, height: int, depth: int = 8, colour: int = GREY, interlace: int = 0) -> bytes:
    """The header chunk."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png(
    samples: Any,
    *,
    depth: int = 8,
    colour: int = GREY,
    interlaced: bool = False,
    filters: Sequence[int] = (0,),
    level: int = 6,
    palette: bytes | None = None,
    before: bytes = b"",
    after: bytes = b"",
    trailing: bytes = b"",
    pieces: int = 1,
) -> bytes:
    """A PNG of these samples (H x W or H x W x channels), as the specification describes it.

    ``filters`` are taken in turn, row by row; ``before`` and ``after`` are chunks around the image
    data; ``pieces`` is the number of IDAT chunks.
    """
    array = np.asarray(samples)
    height, width = array.shape[:2]
    if palette is None and colour == PALETTE:
        palette = bytes((i * 37 + c * 91) % 256 for i in range(2**depth) for c in range(3))
    passes = [array[a::c, b::d] for a, b, c, d in (*_ADAM7, _ADAM7_LAST)] if interlaced else [array]
    raw = b"".join(_scanlines(one, depth, filters) for one in passes if one.size)
    packed = zlib.compress(raw, level)
    step = -(-len(packed) // pieces)
    return b"".join(
        (
            SIGNATURE,
            ihdr(width, height, depth, colour, int(interlaced)),
            chunk(b"PLTE", palette) if palette is not None else b"",
            before,
            *(chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step)),
            after,
            chunk(b"IEND"),
            trailing,
        )
    )


def _scanlines(array: np.ndarray, depth: int, filters: Sequence[int]) -> bytes:
    channels = array.shape[2] if array.ndim == 3 else 1
    before = max(1, channels * depth // 8)
    out, above = bytearray(), b""
    for number, row in enumerate(array):
        line = _packed(row.reshape(-1), depth)
        above = above or bytes(len(line))
        kind = filters[number % len(filters)]
        out.append(kind)
        for at, byte in enumerate(line):
            left = line[at - before] if at >= before else 0
            corner = above[at - before] if at >= before else 0
            guess = (0, left, above[at], (left + above[at]) // 2, _paeth(left, above[at], corner))
            out.append((byte - guess[kind]) % 256)
        above = line
    return bytes(out)


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda one: abs(guess - one))


def _packed(row: np.ndarray, depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    if depth == 8:
        return row.astype(np.uint8).tobytes()
    bits = "".join(format(int(sample), f"0{depth}b") for sample in row)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def chunk_kinds(data: bytes) -> list[bytes]:
    """The kinds of a PNG's chunks, in order."""
    kinds, place = [], 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kinds.append(data[place + 4 : place + 8])
        place += 12 + length
    return kinds


def masks(most: int = 255, side: int = 12) -> st.SearchStrategy[np.ndarray]:
    """Any H x W uint8 mask with values up to ``most``; few values often, many sometimes."""
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=side)
    few = st.sets(st.integers(0, most), min_size=1, max_size=4).map(sorted)
    return st.one_of(
        hnp.arrays(np.uint8, shapes, elements=st.integers(0, most)),
        few.flatmap(lambda some: hnp.arrays(np.uint8, shapes, elements=st.sampled_from(some))),
    )


def segments_for(values: Iterable[int], **metadata: Any) -> list[dict[str, Any]]:
    """Segments that explain these pixel values, as a manifest cell."""
    return [{"label": f"class {v}", "index": int(v), "metadata": dict(metadata)} for v in values]


@dataclass(frozen=True)
class Outcome:
    """The tables a pass left behind, as rows."""

    summary: Summary
    out: Path
    masks: Path

    @property
    def validated(self) -> list[dict[str, Any]]:
        return self._rows("validated")

    @property
    def segments(self) -> list[dict[str, Any]]:
        return self._rows("segments")

    @property
    def rejected(self) -> list[dict[str, Any]]:
        return self._rows("rejected")

    @property
    def accepted_ids(self) -> list[str]:
        return [row["reference_id"] for row in self.validated]

    @property
    def rejections(self) -> dict[Any, list[str]]:
        """reference_id -> the rules of its findings, for rejected rows."""
        rules: dict[Any, list[str]] = {}
        for row in self.rejected:
            rules.setdefault(row["reference_id"], []).append(row["rule"])
        return rules

    @property
    def fingerprints(self) -> dict[str, str]:
        return {row["reference_id"]: row["fingerprint"] for row in self.validated}

    def findings(self, reference_id: str) -> dict[str, str]:
        """rule -> message of what was said about a row, accepted or rejected."""
        said = {r["rule"]: r["message"] for r in self.rejected if r["reference_id"] == reference_id}
        for row in self.validated:
            if row["reference_id"] == reference_id:
                said |= {finding["rule"]: finding["message"] for finding in row["findings"]}
        return said

    def _rows(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(self.out / f"{name}.parquet").to_pylist()
        return rows


@dataclass
class Inbox:
    """A folder that masks and manifests are written to, and the pass over it."""

    path: Path
    files: list[str] = field(default_factory=list)

    def file(self, name: str, data: bytes) -> str:
        """Write any file; returns its name."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return name

    def mask(self, name: str, pixels: Any) -> str:
        """Write an 8-bit greyscale mask."""
        return self.file(name, png(pixels))

    def row(self, reference_id: str, pixels: Any, **more: Any) -> dict[str, Any]:
        """A right manifest row, its mask written; ``more`` replaces or adds columns."""
        array = np.asarray(pixels, np.uint8)
        return {
            "reference_id": reference_id,
            "mask_url": self.mask(f"{reference_id}.png", array),
            "segments": json.dumps(segments_for(np.unique(array))),
            "height": array.shape[0],
            "width": array.shape[1],
            **more,
        }

    def manifest(
        self,
        rows: pa.Table | Sequence[Mapping[str, Any]],
        name: str = "part-0.parquet",
        **options: Any,
    ) -> str:
        """Write a manifest file."""
        if not isinstance(rows, pa.Table):
            names = list(dict.fromkeys(key for row in rows for key in row))
            rows = pa.table({key: [row.get(key) for row in rows] for key in names})
        pq.write_table(rows, self.path / name, **options)
        if name not in self.files:
            self.files.append(name)
        return name

    def open(self) -> Manifest:
        """The manifest files written so far, in the order of their names."""
        folder = Folder(str(self.path))
        return Manifest.open([(folder, name, name) for name in sorted(self.files)])

    def validation(
        self, *, roots: Sequence[str] = (), policy: Policy | None = None, masks: Path | None = None
    ) -> Validation:
        """What rows are validated with: masks are read from the inbox and ``roots``."""
        return Validation(
            "street",
            "unet",
            AllowedRoots((str(self.path), *roots)),
            MaskStore(Folder(str(masks or self.path.parent / "masks"))),
            policy or Policy(),
        )

    def run(
        self,
        rows: pa.Table | Sequence[Mapping[str, Any]] | None = None,
        *,
        out: str = "tables",
        workers: int = 1,
        rows_per_chunk: int = 128,
        validation: Validation | None = None,
        force: bool = False,
    ) -> Outcome:
        """Write the rows as a manifest, where given, and materialize the inbox."""
        if rows is not None:
            self.manifest(rows)
        target = self.path.parent / out
        summary = materialize(
            self.open(),
            validation or self.validation(),
            Folder(str(target)),
            workers=Workers(workers),
            rows_per_chunk=rows_per_chunk,
            force=force,
        )
        return Outcome(summary, target, self.path.parent / "masks")


def new_inbox(parent: Path) -> Inbox:
    """An inbox in a new folder of its own."""
    path = Path(tempfile.mkdtemp(dir=parent)) / "inbox"
    path.mkdir()
    return Inbox(path)


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    """An empty inbox."""
    return new_inbox(tmp_path)
