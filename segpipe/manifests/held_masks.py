"""Masks that rows hold themselves, in the column ``mask``, instead of the URL of a file.

Each becomes the bytes of a PNG, which are judged as those of a file are: PNG bytes as they are, run
lengths and arrays as the canonical PNG of their pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.manifests.cells import cells_of
from segpipe.manifests.plain_types import (
    is_bytes,
    is_list,
    is_text,
    list_ends,
    plain_type,
)
from segpipe.masks.beyond_8_bits import refusal_of_grey16
from segpipe.masks.decoding import check_pixels
from segpipe.masks.encoding import canonical_png
from segpipe.masks.png import GREY, PngHeader
from segpipe.masks.refusal import MaskRefused
from segpipe.masks.run_lengths import RunLengthError, read_run_lengths, size_of_runs

MASK_COLUMN = "mask"
#: Of a Hugging Face image: its file, where the image has no bytes.
PATH_MEMBER = "mask.path"
EXPECTED_MASKS = (
    "PNG bytes, a struct {bytes, path} as of Hugging Face's Image, a struct {size, counts} of COCO "
    "run lengths, or an array of whole numbers, H x W (list<list<uint8>> or a fixed-shape tensor)"
)


class _Kind(StrEnum):
    PNG = "PNG bytes"
    IMAGE = "Hugging Face images"
    RUNS = "COCO run lengths"
    ARRAY = "arrays"
    TENSOR = "tensors"


@dataclass(frozen=True, slots=True)
class MaskForm:
    """How a column of masks holds them.

    Attributes:
        shape, order: of a tensor, as stored, and which of its axes are the rows and the columns.
    """

    kind: _Kind
    shape: tuple[int, ...] = ()
    order: tuple[int, ...] = ()

    @property
    def may_name_files(self) -> bool:
        """Whether a cell may be the path of a file."""
        return self.kind is _Kind.IMAGE

    @property
    def holds_arrays(self) -> bool:
        """Whether each pixel is a value of Parquet's, and takes many bytes while it is read."""
        return self.kind in (_Kind.ARRAY, _Kind.TENSOR)

    @property
    def is_large(self) -> bool:
        """Whether cells have the limits of masks; else those of rows."""
        return self.kind is not _Kind.RUNS


class HeldMask(Protocol):
    """A mask in a row."""

    def png(self, max_bytes: int, max_pixels: int) -> bytes:
        """It as a PNG.

        Args:
            max_bytes: limit on PNG bytes.
            max_pixels: limit on height x width of what is encoded here.

        Raises:
            MaskRefused: TOO-LARGE, MASK-16BIT or MASK-UNREADABLE.
        """


def mask_form(kind: pa.DataType) -> MaskForm | None:
    """How a column of this type holds masks; None if it holds none."""
    if isinstance(kind, pa.FixedShapeTensorType):
        shape = tuple(kind.shape)
        order = tuple(kind.permutation or range(len(shape)))
        fits = len(shape) == 2 and _is_whole(plain_type(kind.value_type))
        return MaskForm(_Kind.TENSOR, shape, order) if fits else None
    kind = plain_type(kind)
    if is_bytes(kind) or pa.types.is_null(kind):
        return MaskForm(_Kind.PNG)
    if pa.types.is_struct(kind):
        return _struct_form({field.name: field.type for field in kind})
    if is_list(kind) and is_list(kind.value_type) and _is_whole(kind.value_type.value_type):
        return MaskForm(_Kind.ARRAY)
    return None


def _struct_form(members: dict[str, pa.DataType]) -> MaskForm | None:
    empty = pa.types.is_null
    if members.keys() == {"size", "counts"}:
        size, counts = members["size"], members["counts"]
        if (empty(size) or _is_list_of_whole(size)) and (
            empty(counts) or is_text(counts) or is_bytes(counts) or _is_list_of_whole(counts)
        ):
            return MaskForm(_Kind.RUNS)
    if "bytes" in members and members.keys() <= {"bytes", "path"}:
        data, path = members["bytes"], members.get("path", pa.null())
        if (is_bytes(data) or empty(data)) and (is_text(path) or empty(path)):
            return MaskForm(_Kind.IMAGE)
    return None


def _is_list_of_whole(kind: pa.DataType) -> bool:
    return is_list(kind) and (_is_whole(kind.value_type) or pa.types.is_null(kind.value_type))


def _is_whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def held_masks(column: pa.Array, form: MaskForm) -> list[HeldMask | None]:
    """The masks of a column of plain types; None for nulls."""
    match form.kind:
        case _Kind.PNG:
            return [None if cell is None else HeldPng(cell) for cell in column.to_pylist()]
        case _Kind.IMAGE:
            given = _members(column, ("bytes", "path"))
            return [
                HeldPng(data) if data is not None else HeldPath(path) if path else None
                for data, path in zip(*given, strict=True)
            ]
        case _Kind.RUNS:
            return [
                None if size is None and counts is None else HeldRuns(size, counts)
                for size, counts in zip(*_members(column, ("size", "counts")), strict=True)
            ]
        case _Kind.ARRAY:
            return _arrays(column)
        case _Kind.TENSOR:
            return _tensors(column, form)


@dataclass(frozen=True, slots=True)
class HeldPath:
    """The path of a file, in an image without bytes; a mask only by its file."""

    path: str

    def png(self, max_bytes: int, max_pixels: int) -> bytes:
        """None: it is in the file."""
        raise _unreadable("the mask in the row is a path without bytes")


@dataclass(frozen=True, slots=True)
class HeldPng:
    """What should be a PNG; whether it is, is judged as for a file."""

    data: bytes

    def png(self, max_bytes: int, max_pixels: int) -> bytes:
        """The bytes as they are."""
        if len(self.data) > max_bytes:
            raise MaskRefused(
                "TOO-LARGE",
                f"the mask in the row has {len(self.data):,} bytes, over the limit of "
                f"{max_bytes:,} (max_bytes in the policy)",
                found=f"{len(self.data)} bytes",
                expected=f"at most {max_bytes} bytes",
            )
        return self.data


@dataclass(frozen=True, slots=True)
class HeldRuns:
    """A binary mask, as COCO encodes it: values 0 and 1."""

    size: object
    counts: object

    def png(self, max_bytes: int, max_pixels: int) -> bytes:
        """The canonical PNG of the values."""
        counts = self.counts
        if isinstance(counts, bytes):
            counts = counts.decode("latin-1")
        try:
            _check_pixels(*size_of_runs(self.size), max_pixels)
            runs = read_run_lengths({"size": self.size, "counts": counts}, max_pixels)
        except RunLengthError as error:
            raise _unreadable(f"the mask in the row is no COCO run lengths: {error}") from None
        return canonical_png(np.ascontiguousarray(runs.decode(), np.uint8))


@dataclass(frozen=True, slots=True, eq=False)
class HeldPixels:
    """An array of indexes.

    Attributes:
        pixels: H x W, integers or bool; shares Arrow's memory.
        problem: why it is none; empty if it is one.
    """

    pixels: NDArray[Any]
    problem: str = ""

    def png(self, max_bytes: int, max_pixels: int) -> bytes:
        """The canonical PNG of the indexes."""
        pixels = self.pixels
        if self.problem or not pixels.size:
            shape = " x ".join(map(str, pixels.shape))
            raise _unreadable(f"the mask in the row is no array: {self.problem or shape}")
        height, width = pixels.shape
        _check_pixels(height, width, max_pixels)
        lowest, highest = int(pixels.min()), int(pixels.max())
        if lowest >= 0 and highest <= 255:
            return canonical_png(np.ascontiguousarray(pixels, np.uint8))
        if lowest >= 0 and highest <= 65_535:
            refusal = refusal_of_grey16(pixels.astype(np.uint16))
        else:
            worst = lowest if lowest < 0 else highest
            refusal = _unreadable(f"the mask in the row holds the value {worst}", "0..255")
            refusal.remedy = "Give the values indexes from 0 to 255, and their Segments the same."
        refusal.header = _header(height, width)
        raise refusal


def _members(column: pa.Array, names: Sequence[str]) -> list[list[Any]]:
    """Cells of a struct's members; None where the struct is null or has no such member."""
    members = dict(zip((field.name for field in column.type), column.flatten(), strict=True))
    none = [None] * len(column)
    return [cells_of(members[name]) if name in members else none for name in names]


def _arrays(column: pa.Array) -> list[HeldMask | None]:
    ends, lines = list_ends(column), column.values
    valid = column.is_valid().to_pylist()
    found: list[HeldMask | None] = []
    for place, is_there in enumerate(valid):
        first, end = int(ends[place]), int(ends[place + 1])
        found.append(_array(lines.slice(first, end - first)) if is_there else None)
    return found


def _array(lines: pa.Array) -> HeldPixels:
    """A mask of its lines of pixels."""
    ends = list_ends(lines)
    widths = np.diff(ends)
    if not len(lines) or not widths[0]:
        return HeldPixels(np.zeros((len(lines), 0), np.uint8))
    flat = lines.values.slice(int(ends[0]), int(ends[-1] - ends[0]))
    if lines.null_count or flat.null_count:
        return HeldPixels(np.zeros((0, 0)), "a line or a pixel in it is null")
    if (widths != widths[0]).any():
        return HeldPixels(
            np.zeros((0, 0)), f"its lines have from {widths.min()} to {widths.max()} pixels"
        )
    values = flat.to_numpy(zero_copy_only=False)
    return HeldPixels(values.reshape(len(lines), int(widths[0])))


def _tensors(column: pa.Array, form: MaskForm) -> list[HeldMask | None]:
    ends = list_ends(column)
    found: list[HeldMask | None] = []
    for place, is_there in enumerate(column.is_valid().to_pylist()):
        flat = column.values.slice(int(ends[place]), int(ends[place + 1] - ends[place]))
        if not is_there:
            found.append(None)
        elif flat.null_count:
            found.append(HeldPixels(np.zeros((0, 0)), "a pixel in it is null"))
        else:
            values = flat.to_numpy(zero_copy_only=False).reshape(form.shape)
            found.append(HeldPixels(values.transpose(form.order)))
    return found


def _check_pixels(height: int, width: int, max_pixels: int) -> None:
    header = _header(height, width)
    try:
        check_pixels(header, max_pixels)
    except MaskRefused as refusal:
        refusal.header = header
        raise


def _header(height: int, width: int) -> PngHeader:
    return PngHeader(width, height, 8, GREY, interlaced=False)


def _unreadable(message: str, expected: str = "a mask") -> MaskRefused:
    return MaskRefused("MASK-UNREADABLE", message, found=message, expected=expected)
