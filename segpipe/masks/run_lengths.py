"""COCO's run-length encoding of binary masks, compressed or not.

Runs alternate between 0 and 1, begin with 0, and go down the columns. The compressed form encodes
each run in base 32 with a continuation bit, plus 48; from the fourth run on, as the difference to
the run two before (cocoapi, common/maskApi.c: rleFrString). Runs are decoded here and not by
pycocotools, which does not check them: counts from a damaged file can make it write out of bounds.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import SegpipeError
from segpipe.masks.decoding import MAX_PIXELS

_MOST_DIGITS = 9  # of base 32: more than any run needs
_BRIEF = 40


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


def size_of_runs(size: object) -> tuple[int, int]:
    """Height and width, which may be written as floats.

    Raises:
        RunLengthError: if they are no two whole numbers from 0.
    """
    sides = _whole_numbers(size)
    if sides is None or len(sides) != 2:
        raise RunLengthError(f"size is {_brief(size)}, expected [height, width]")
    return sides[0], sides[1]


def read_run_lengths(cell: Mapping[str, Any], max_pixels: int = MAX_PIXELS) -> RunLengths:
    """Parse ``{"size": [height, width], "counts": text or list}``.

    Args:
        max_pixels: limit on height x width.

    Raises:
        RunLengthError: if it is malformed, or its runs do not fill its size.
    """
    size, counts = cell.get("size"), cell.get("counts")
    height, width = size_of_runs(size)
    if not 0 < height * width <= max_pixels:
        raise RunLengthError(f"size is {size!r}: over the limit of {max_pixels:,} pixels, or none")
    if isinstance(counts, str):
        runs = _decompressed(_unwrapped(counts), height * width)
        total = int(runs.sum())
    else:
        listed = _whole_numbers(counts)
        if listed is None:
            raise RunLengthError(
                f"counts are {_brief(counts)}, expected text or whole numbers from 0"
            )
        total = sum(listed)  # of any number of digits
        runs = np.array(listed if total == height * width else (), np.int64)
    if total != height * width:
        raise RunLengthError(
            f"the runs fill {total:,} pixels of {height * width:,} ({height} x {width}): the "
            "counts are cut or damaged"
        )
    return RunLengths(height, width, runs)


def _decompressed(counts: str, pixels: int) -> NDArray[np.int64]:
    """Runs of the compressed form.

    Raises:
        RunLengthError: if it is malformed, or its runs exceed the number of pixels.
    """
    digits = np.frombuffer(counts.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
    digits -= 48
    ends = np.flatnonzero((digits & 0x20) == 0)
    starts = np.append(0, ends[:-1] + 1)[: ends.size]
    lengths = ends - starts + 1
    is_wrong = (digits < 0) | (digits >= 64)
    if not is_wrong.any() and (not digits.size or (ends.size and ends[-1] == digits.size - 1)):
        is_wrong[starts[lengths > _MOST_DIGITS] + _MOST_DIGITS] = True
    elif not is_wrong.any():
        raise RunLengthError("the counts end within a run: they are cut")
    if is_wrong.any():
        raise RunLengthError(
            f"counts hold {counts[int(is_wrong.argmax())]!r} where no digit can be"
        )
    if not digits.size:
        return np.zeros(0, np.int64)
    places = np.arange(digits.size) - np.repeat(starts, lengths)
    runs = np.add.reduceat((digits & 0x1F) << (5 * places), starts)
    runs -= np.where(digits[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    if (np.abs(runs) <= pixels).all():  # else sums might overflow
        runs[1::2] = np.cumsum(runs[1::2])
        runs[2::2] = np.cumsum(runs[2::2])
    if (runs < 0).any() or (runs > pixels).any() or runs.sum() > pixels:
        raise RunLengthError("the runs go beyond the image: the counts are damaged")
    return runs


def _whole_numbers(value: object) -> list[int] | None:
    """A list of whole numbers from 0, also as floats; None for anything else."""
    if not isinstance(value, list):
        return None
    found = [int(one) for one in value if _is_whole(one) and one >= 0]
    return found if len(found) == len(value) else None


def _is_whole(value: object) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


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
            f"counts are {_brief(counts)}, the text of a bytes object that is cut or damaged; "
            "write counts.decode() instead of str(counts)"
        ) from None


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _BRIEF else f"{type(value).__name__} {text[:_BRIEF]}..."
