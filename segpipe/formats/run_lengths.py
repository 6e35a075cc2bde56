"""COCO's run-length encoding of binary masks, and its polygons.

Runs alternate between 0 and 1, begin with 0, and go down the columns. The compressed form encodes
each run in base 32 with a continuation bit, plus 48; from the fourth run on, as the difference to
the run two before (cocoapi, common/maskApi.c: rleFrString). Runs are decoded here and not by
pycocotools, which does not check them: counts from a damaged file can make it write out of bounds.
Polygons are rasterized by pycocotools, because its rounding defines COCO polygons.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import SegpipeError, SettingsError
from segpipe.formats.json_values import brief, identity, number
from segpipe.masks.decoding import MAX_PIXELS

_MOST_DIGITS = 8  # of base 32: more than any run needs
_LONGEST_OUTLINE = 1_000_000  # pixels; real ones have thousands


class RunLengthError(SegpipeError, ValueError):
    """The encoding does not describe a mask of its size."""


@dataclass(frozen=True)
class RunLengths:
    """A binary mask as runs down its columns: 0, 1, 0, ...

    Attributes:
        height, width: in pixels.
        runs: lengths in pixels; their sum is height x width.
    """

    height: int
    width: int
    runs: NDArray[np.int64]

    @property
    def area(self) -> int:
        """Number of pixels that are 1."""
        return int(self.runs[1::2].sum())

    def decode(self) -> NDArray[np.bool_]:
        """H x W bool."""
        values = np.arange(self.runs.size) % 2 == 1
        return np.repeat(values, self.runs).reshape(self.width, self.height).T


def read_segmentation(cell: object, height: int | None, width: int | None) -> RunLengths:
    """Parse the ``segmentation`` of a COCO record: RLE, compressed or not, or polygons.

    Args:
        height, width: of the image in pixels, where known; polygons need them.

    Raises:
        RunLengthError: if it is malformed, or does not fit its size.
        SettingsError: if polygons need a package that is not installed.
    """
    if isinstance(cell, Mapping):
        return _from_rle(cell)
    if isinstance(cell, list):
        if height is None or width is None:
            raise RunLengthError(
                "polygons do not say the image's size: give the image list with --images"
            )
        return _from_polygons(cell, height, width)
    raise RunLengthError(f"the segmentation is {brief(cell)}, expected RLE or polygons")


def _from_rle(cell: Mapping[str, Any]) -> RunLengths:
    size, counts = cell.get("size"), cell.get("counts")
    sides = _counts(size)
    if sides is None or len(sides) != 2:
        raise RunLengthError(f"size is {size!r}, expected [height, width]")
    height, width = sides
    if not 0 < height * width <= MAX_PIXELS:
        raise RunLengthError(f"size is {size!r}: over the limit of {MAX_PIXELS:,} pixels, or none")
    if isinstance(counts, str):
        runs = _decompressed(_unwrapped(counts), height * width)
    else:
        listed = _counts(counts)
        if listed is None:
            raise RunLengthError(
                f"counts are {brief(counts)}, expected text or whole numbers from 0"
            )
        runs = listed
    total = sum(runs)
    if total != height * width:
        raise RunLengthError(
            f"the runs fill {total:,} pixels of {height * width:,} ({height} x {width}): the "
            "counts are cut or damaged"
        )
    return RunLengths(height, width, np.array(runs, np.int64))


def _decompressed(counts: str, pixels: int) -> list[int]:
    """Runs of the compressed form.

    Raises:
        RunLengthError: if it is malformed, or its runs exceed the number of pixels.
    """
    runs: list[int] = []
    value = shift = total = 0
    for character in counts:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift > 5 * _MOST_DIGITS:
            raise RunLengthError(f"counts hold {character!r} where no digit can be")
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:
            continue
        if digit & 0x10:
            value -= 1 << shift
        run = value + (runs[-2] if len(runs) > 2 else 0)
        total += run
        if run < 0 or total > pixels:
            raise RunLengthError("the runs go beyond the image: the counts are damaged")
        runs.append(run)
        value = shift = 0
    if shift:
        raise RunLengthError("the counts end within a run: they are cut")
    return runs


def _from_polygons(cell: Sequence[object], height: int, width: int) -> RunLengths:
    outline = sum(_outline_length(polygon, 2 * height, 2 * width) for polygon in cell)
    if outline > _LONGEST_OUTLINE:
        raise RunLengthError(f"the outline of the polygons is {outline:,.0f} pixels long")
    if not cell:
        raise RunLengthError("there are no polygons")
    try:
        from pycocotools import mask as coco
    except ImportError:
        raise SettingsError(
            "polygons need a package that is not installed: install segpipe[coco]"
        ) from None
    merged = coco.merge(coco.frPyObjects(list(cell), height, width))
    return _from_rle({"size": [height, width], "counts": merged["counts"].decode("ascii")})


def _outline_length(polygon: object, height: int, width: int) -> float:
    """Length of a polygon's outline in pixels; pycocotools needs memory in proportion to it."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise RunLengthError("a polygon is not a list of three or more x, y pairs")
    values = [number(value) for value in polygon]
    for value, given in zip(values, polygon, strict=True):
        if value is None:
            raise RunLengthError(f"a polygon has the coordinate {brief(given)}, expected numbers")
    points = np.array(values, np.float64).reshape(-1, 2)
    most = np.abs(points).max(axis=0)
    if most[0] > width or most[1] > height:
        raise RunLengthError(
            f"a polygon goes to ({most[0]:g}, {most[1]:g}), far beyond the image of "
            f"{height // 2} x {width // 2}: made for another size?"
        )
    steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
    return float(steps.sum())


def _counts(value: object) -> list[int] | None:
    """A list of whole numbers from 0, also as floats; None for anything else."""
    if not isinstance(value, list):
        return None
    found = [identity(one) for one in value]
    counts = [one for one in found if isinstance(one, int) and one >= 0]
    return counts if len(counts) == len(found) else None


def _unwrapped(counts: str) -> str:
    """The compressed form, out of the text that Python's ``str`` makes of bytes: ``b'...'``.

    A quotation mark is no digit of the compressed form, so no other text looks like that.

    Raises:
        RunLengthError: if such a text is cut or damaged.
    """
    if not counts.startswith(("b'", 'b"')):
        return counts
    try:
        value = ast.literal_eval(counts)
        return value.decode("ascii") if isinstance(value, bytes) else counts
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise RunLengthError(
            f"counts are {brief(counts)}, the text of a bytes object that is cut or damaged; "
            "write counts.decode() instead of str(counts)"
        ) from None
