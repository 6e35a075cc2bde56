"""The two loops over pixels that decide what a mask costs, compiled by numba.

``unfilter`` undoes a PNG's scan line filters (PNG specification, third edition, section 9) and
``measure`` finds every value's runs. Both look at eight bytes at a time and stop only where
something changes, for a mask is mostly its neighbours. Only :mod:`segpipe.scanlines` imports this
module: numba takes time to import, and segpipe does without it where it is absent.

Indexes are unsigned where they can be: numba gives signed ones Python's meaning of negative
indexes, which keeps loops from being vectorized.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import int32, int64, uint8, uint64
from numpy.typing import NDArray

#: What ``measure`` finds of a value: a row of its table has one column for each.
AREA, LEFT, RIGHT, TOP, BOTTOM, COLUMNS_TWICE, ROWS, FIRST = range(8)
_ONE = np.uint64(1)
_EIGHT = np.uint64(8)
_EVERY_BYTE = np.uint64(0x0101010101010101)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Machine code for a function, kept on disk where there is a place for it; frees the GIL."""
    options: Any = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
    compiled: Callable[..., Any]
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written
        compiled = numba.njit(**options)(function)
    return compiled


@_compiled
def unfilter(lines: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> bool:
    """Scan lines of one byte a pixel to pixels.

    Args:
        lines: H * (1 + W) uint8: of each line its filter's number and its filtered bytes.
        pixels: H x W uint8, written.

    Returns:
        False where a filter's number does not exist.
    """
    height, width = pixels.shape
    padded = (width + 7) // 8 * 8
    # Lines are worked on in buffers of whole words, with a pixel of zeros before the first.
    above = np.zeros(padded + 8, np.uint8)
    line = np.zeros(padded + 8, np.uint8)
    busy = np.zeros(padded, np.uint8)
    busy_words = busy.view(np.uint64)
    for y in range(height):
        begin = y * (width + 1)
        kind = lines[begin]
        given = lines[begin + 1 : begin + 1 + width]
        own = line[8 : 8 + width]
        up = above[8 : 8 + width]
        if kind == 0:
            for x in range(width):
                own[x] = given[x]
        elif kind == 2:
            for x in range(width):
                own[x] = given[x] + up[x]
        elif kind > 4:
            return False
        else:
            up_left = above[7 : 7 + width]
            for x in range(width):
                busy[x] = given[x] | (up[x] ^ up_left[x])
            words = line.view(np.uint64)
            left, corner = int32(0), int32(0)
            for word in range(uint64(padded // 8)):
                # Nothing is added, and nothing changes above: every filter repeats the pixel to
                # the left (Average only where it is the one above, too).
                if busy_words[word] == uint64(0) and (kind != 3 or left == corner):
                    words[word + _ONE] = uint64(left) * _EVERY_BYTE
                    continue
                start = word * _EIGHT
                stop = min(start + _EIGHT, np.uint64(width))
                if kind == 1:
                    for x in range(start, stop):
                        left = (left + int32(given[x])) & 255
                        own[x] = uint8(left)
                elif kind == 3:
                    for x in range(start, stop):
                        left = (int32(given[x]) + ((left + int32(up[x])) >> 1)) & 255
                        own[x] = uint8(left)
                else:
                    for x in range(start, stop):
                        over = int32(up[x])
                        to_left, to_over = abs(over - corner), abs(left - corner)
                        to_corner = abs(over + left - 2 * corner)
                        if to_left <= to_over and to_left <= to_corner:
                            predicted = left
                        elif to_over <= to_corner:
                            predicted = over
                        else:
                            predicted = corner
                        corner = over
                        left = (predicted + int32(given[x])) & 255
                        own[x] = uint8(left)
                corner = int32(up[stop - _ONE])
        row = pixels[y]
        for x in range(width):
            row[x] = own[x]
        above, line = line, above
    return True


@_compiled
def measure(
    pixels: NDArray[np.uint8],
    table: NDArray[np.int64],
    run_starts: NDArray[np.uint32],
    run_values: NDArray[np.uint8],
) -> tuple[int, int, int]:
    """Measure every value of a mask in one pass over its runs, and list them.

    Args:
        pixels: H x W uint8, rows without gaps.
        table: 256 x 8 int64, written: a row per value, a column per constant above.
        run_starts: N uint32, written: flat (row-major) positions of the first N runs.
        run_values: N uint8, written: their values.

    Returns:
        Edge pixels, and those of them strictly between their neighbours (see
        :class:`segpipe.segments.Measures`); runs, of which there may be more than N.
    """
    height, width = pixels.shape
    listed, most = uint64(0), uint64(run_starts.size)
    table[:] = 0
    table[:, LEFT] = width
    changes = np.zeros((width + 7) // 8 * 8, np.uint8)
    change_words = changes.view(np.uint64)
    starts = np.zeros(width + 9, np.int64)
    edges, between = 0, 0
    for y in range(height):
        row = pixels[y]
        after, before, marks = row[1:], row[: width - 1], changes[1:width]
        for x in range(width - 1):
            marks[x] = uint8(after[x] != before[x])
        runs = _ONE
        for word in range(uint64(change_words.size)):
            changed = change_words[word]
            if changed != uint64(0):
                for byte in range(_EIGHT):
                    starts[runs] = int64(word * _EIGHT + byte)
                    runs += (changed >> (byte * _EIGHT)) & _ONE
        starts[runs] = width
        for run in range(runs):
            start, stop = starts[run], starts[run + _ONE]
            value = row[start]
            if listed < most:
                run_starts[listed] = y * width + start
                run_values[listed] = value
            listed += _ONE
            entry = table[value]
            length = stop - start
            if entry[AREA] == 0:
                entry[TOP] = y
                entry[FIRST] = y * width + start
            entry[AREA] += length
            entry[LEFT] = min(entry[LEFT], start)
            entry[RIGHT] = max(entry[RIGHT], stop - 1)
            entry[BOTTOM] = y
            entry[COLUMNS_TWICE] += length * (start + stop - 1)
            entry[ROWS] += length * y
            # Only a run's ends can be edge pixels, and only a run of one pixel can lie between.
            if length > 1:
                edges += int64(start > 0) + int64(stop < width)
            elif start > 0 and stop < width:
                one, other = row[start - 1], row[stop]
                if one != other:
                    edges += 1
                    between += int64(min(one, other) < value and value < max(one, other))
    return edges, between, int64(listed)  # type: ignore[return-value]
