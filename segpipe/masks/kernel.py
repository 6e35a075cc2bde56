"""The fast path's loops over scan lines, runs and pixels, compiled by numba.

``runs_of_lines`` turns a PNG's filtered scan lines (PNG specification, third edition, section 9)
into the mask's runs without making pixels, ``unfilter`` makes the pixels, and ``measure_runs``
measures every value. Most pixels of a mask equal their neighbours, so the loops over runs only
visit changes; ``measure_pixels`` is for masks where most pixels differ. Only
:mod:`segpipe.masks.fast_path` imports this module: numba is slow to import, and optional.

Array indexes are unsigned where possible: numba applies Python's negative indexing to signed ones,
which prevents vectorization.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import int32, int64, uint8, uint64
from numpy.typing import NDArray

#: Measures of a value: the rows of the table that ``measure_...`` functions write.
VALUE, AREA, LEFT, RIGHT, TOP, BOTTOM, FIRST = range(7)
MEASURES = 7
# Sums kept in a value's entry while measuring; the entry's number is the value itself.
_COLUMNS_TWICE, _ROWS = 0, 7
_ENTRY = 8
_NARROW = 128  # columns; in narrower masks, resetting counts per row costs more than it saves
_ONE = np.uint64(1)
_EIGHT = np.uint64(8)

#: Returned instead of a number of runs: invalid filter type, or more runs than there is room for.
NO_SUCH_FILTER, TOO_MANY_RUNS = -1, -2


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function; cached on disk if possible. The compiled function releases the GIL."""
    options: Any = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
    compiled: Callable[..., Any]
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written
        compiled = numba.njit(**options)(function)
    return compiled


@compiled
def _whole_words(size: int) -> int:
    return (size + 7) // 8 * 8


@compiled
def _list_differing(
    one: NDArray[np.uint8],
    other: NDArray[np.uint8],
    marks: NDArray[np.uint8],
    places: NDArray[np.uint64],
) -> int:
    """List the positions at which two arrays differ.

    Args:
        one, other: N uint8 each.
        marks: scratch: N uint8, zero-padded to a multiple of 8.
        places: output: N + 8 uint64; the positions, ascending.

    Returns:
        The number of positions.
    """
    for place in range(one.size):
        marks[place] = uint8(one[place] != other[place])
    words = marks.view(np.uint64)
    found = uint64(0)
    for word in range(uint64(words.size)):
        marked = words[word]
        if marked != uint64(0):
            for byte in range(_EIGHT):
                places[found] = word * _EIGHT + byte
                found += (marked >> (byte * _EIGHT)) & _ONE
    return found  # type: ignore[return-value]


@compiled
def _paeth(left: int, up: int, corner: int) -> int:
    """The Paeth predictor: the neighbour nearest to left + up - corner."""
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if to_left <= to_up and to_left <= to_corner:
        return left
    return up if to_up <= to_corner else corner


@compiled
def runs_of_lines(
    lines: NDArray[np.uint8],
    height: int,
    width: int,
    starts: NDArray[np.uint32],
    values: NDArray[np.uint8],
) -> int:
    """Convert filtered scan lines of one byte per pixel to the runs of the mask.

    A pixel can differ from its left neighbour only where the line's residual is not zero or the
    line above changes (with Up it repeats the pixel above, with Average it converges to it), so
    only these positions are visited.

    Args:
        lines: H * (1 + W) uint8: for each line its filter type and its filtered bytes.
        starts: output: N + W + 1 uint32; flat (row-major) positions of the runs, then H * W as
            sentinel. Runs do not continue across rows.
        values: output: N + W + 1 uint8; the runs' pixel values.

    Returns:
        The number of runs, at most about N; or ``NO_SUCH_FILTER`` or ``TOO_MANY_RUNS``.
    """
    most = uint64(starts.size - width - 1)
    nothing = np.zeros(width, np.uint8)
    marks, places = np.zeros(_whole_words(width), np.uint8), np.empty(width + 8, np.uint64)
    wide = uint64(width)
    runs, run_above = uint64(0), uint64(0)
    for y in range(height):
        if runs > most:
            return TOO_MANY_RUNS
        begin = y * (width + 1) + 1
        kind = lines[begin - 1]
        if kind > 4:
            return NO_SUCH_FILTER
        own = lines[begin : begin + width]
        if kind == 0:  # no prediction: the line holds pixels, so compare with the left neighbour
            changes = _list_differing(own, lines[begin - 1 : begin - 1 + width], marks, places)
        else:
            changes = _list_differing(own, nothing, marks, places)
        places[changes] = wide
        given, here = uint64(begin), uint64(y * width)
        # The runs of the line above end where this line's begin; above the first line all is zero.
        first = runs
        starts[first] = here
        alone = y == 0 or kind < 2
        next_above = wide if alone else uint64(0)
        place, next_place = uint64(0), places[0]
        x, up, left, last = uint64(0), int64(0), int64(0), int64(-1)
        while x < wide:
            corner = up
            if x == next_above:
                up = int64(values[run_above])
                run_above += _ONE
                next_above = uint64(starts[run_above]) + wide - here
            place += uint64(x == next_place)
            next_place = places[place]
            then = min(next_place, next_above)
            added = int64(lines[given + x])
            if kind == 2:
                value = (up + added) & 255
                then = then if value == up else x + _ONE
            elif kind == 4:
                value = (_paeth(left, up, corner) + added) & 255
            elif kind == 1:
                value = (left + added) & 255
            elif kind == 3:
                value = (((left + up) >> 1) + added) & 255
                then = then if (value + up) >> 1 == value else x + _ONE
            else:
                value = added
            starts[runs] = here + x
            values[runs] = value
            runs += uint64(value != last)
            left = last = value
            x = then
        run_above = first
        starts[runs] = here + wide
    return int64(runs) if runs <= most else TOO_MANY_RUNS  # type: ignore[return-value]


@compiled
def runs_of_pixels(
    pixels: NDArray[np.uint8], starts: NDArray[np.uint32], values: NDArray[np.uint8]
) -> int:
    """List the runs of a mask.

    Args:
        pixels: H x W uint8, C-contiguous.
        starts, values: outputs, as in :func:`runs_of_lines`.

    Returns:
        The number of runs, or ``TOO_MANY_RUNS``.
    """
    height, width = pixels.shape
    most = uint64(starts.size - width - 1)
    marks, places = np.zeros(_whole_words(width), np.uint8), np.empty(width + 8, np.uint64)
    runs = uint64(0)
    for y in range(height):
        if runs > most:
            return TOO_MANY_RUNS
        row, here = pixels[y], uint64(y * width)
        starts[runs] = here
        values[runs] = row[0]
        runs += _ONE
        for change in range(_list_differing(row[1:], row[: width - 1], marks, places)):
            x = places[change] + _ONE
            starts[runs] = here + x
            values[runs] = row[x]
            runs += _ONE
        starts[runs] = here + uint64(width)
    return int64(runs) if runs <= most else TOO_MANY_RUNS  # type: ignore[return-value]


@compiled
def unfilter(lines: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> bool:
    """Convert filtered scan lines of one byte per pixel to pixels, if there are too many runs.

    Args:
        lines: as in :func:`runs_of_lines`.
        pixels: output: H x W uint8.

    Returns:
        False if a filter type is invalid.
    """
    height, width = pixels.shape
    up = np.zeros(width, np.uint8)
    for y in range(height):
        begin = y * (width + 1)
        kind, given, row = lines[begin], lines[begin + 1 : begin + 1 + width], pixels[y]
        left, corner = int32(0), int32(0)
        if kind == 0:
            row[:] = given
        elif kind == 1:
            for x in range(width):
                left = (left + int32(given[x])) & 255
                row[x] = uint8(left)
        elif kind == 2:
            for x in range(width):
                row[x] = given[x] + up[x]
        elif kind == 3:
            for x in range(width):
                left = (int32(given[x]) + ((left + int32(up[x])) >> 1)) & 255
                row[x] = uint8(left)
        elif kind == 4:
            for x in range(width):
                over = int32(up[x])
                left = (_paeth(left, over, corner) + int32(given[x])) & 255
                row[x] = uint8(left)
                corner = over
        else:
            return False
        up = row
    return True


@compiled
def _no_runs(width: int) -> NDArray[np.int64]:
    """An empty table for :func:`_add_run`: 256 x 8 int64, one entry per pixel value."""
    table = np.zeros((256, _ENTRY), np.int64)
    table[:, LEFT] = width
    return table


@compiled
def _add_run(
    table: NDArray[np.int64], value: int, y: int, start: int, stop: int, width: int
) -> None:
    entry = table[value]
    length = stop - start
    if entry[AREA] == 0:
        entry[TOP] = y
        entry[FIRST] = y * width + start
    entry[AREA] += length
    entry[LEFT] = min(entry[LEFT], start)
    entry[RIGHT] = max(entry[RIGHT], stop - 1)
    entry[BOTTOM] = y
    entry[_COLUMNS_TWICE] += length * (start + stop - 1)
    entry[_ROWS] += length * y


@compiled
def _compact(
    table: NDArray[np.int64], per_value: NDArray[np.int64], centroids: NDArray[np.float64]
) -> int:
    """Write the measures of the values that occur to the first columns; returns their number."""
    count = int64(0)
    for value in range(256):
        entry = table[value]
        if entry[AREA] > 0:
            per_value[VALUE, count] = value
            for measure in range(AREA, MEASURES):
                per_value[measure, count] = entry[measure]
            area = float(entry[AREA])
            centroids[0, count] = float(entry[_COLUMNS_TWICE]) / (2.0 * area)
            centroids[1, count] = float(entry[_ROWS]) / area
            count += 1
    return count  # type: ignore[return-value]


@compiled
def measure_runs(
    starts: NDArray[np.uint32],
    values: NDArray[np.uint8],
    height: int,
    width: int,
    per_value: NDArray[np.int64],
    centroids: NDArray[np.float64],
) -> tuple[int, int, int]:
    """Measure every value of a mask whose runs are known.

    Args:
        starts, values: from :func:`runs_of_lines` or :func:`runs_of_pixels`.
        per_value: output: 7 x 256 int64; one row per constant above, one column per value.
        centroids: output: 2 x 256 float64; mean column and mean row of each value.

    Returns:
        The number of values that occur, of edge pixels and of between pixels (see
        :class:`segpipe.masks.measures.Measures`).
    """
    table = _no_runs(width)
    edges, between, run = 0, 0, 0
    for y in range(height):
        here = y * width
        stop = 0
        while stop < width:
            start = stop
            stop = int64(starts[run + 1]) - here
            value = values[run]
            _add_run(table, value, y, start, stop, width)
            # Only a run's ends can be edge pixels, only a run of one pixel a between pixel.
            if stop - start > 1:
                edges += int64(start > 0) + int64(stop < width)
            elif start > 0 and stop < width:
                one, other = values[run - 1], values[run + 1]
                if one != other:
                    edges += 1
                    between += int64(min(one, other) < value and value < max(one, other))
            run += 1
    return _compact(table, per_value, centroids), edges, between


@compiled
def measure_pixels(
    pixels: NDArray[np.uint8], per_value: NDArray[np.int64], centroids: NDArray[np.float64]
) -> tuple[int, int, int]:
    """:func:`measure_runs` for masks with too many runs to list: pixel by pixel.

    Args:
        pixels: H x W uint8, C-contiguous.
    """
    height, width = pixels.shape
    table = _no_runs(width)
    edges, between = 0, 0
    area, columns = np.empty(256, np.int64), np.empty(256, np.int64)
    leftmost, rightmost = np.empty(256, np.int64), np.empty(256, np.int64)
    for y in range(height):
        row = pixels[y]
        if width > 2:
            ones, owns, others = row[: width - 2], row[1 : width - 1], row[2:]
            for x in range(width - 2):
                one, own, other = ones[x], owns[x], others[x]
                edges += int64(one != other)
                between += int64(min(one, other) < own and own < max(one, other))
        if width < _NARROW:
            start = 0
            for x in range(1, width + 1):
                if x == width or row[x] != row[start]:
                    _add_run(table, row[start], y, start, x, width)
                    start = x
            continue
        area[:] = 0
        columns[:] = 0
        for x in range(width):
            value = row[x]
            area[value] += 1
            columns[value] += int64(x)
            rightmost[value] = int64(x)
        for x in range(width - 1, -1, -1):
            leftmost[row[x]] = x
        for value in range(256):
            if area[value] > 0:
                entry = table[value]
                if entry[AREA] == 0:
                    entry[TOP] = y
                    entry[FIRST] = y * width + leftmost[value]
                entry[AREA] += area[value]
                entry[LEFT] = min(entry[LEFT], leftmost[value])
                entry[RIGHT] = max(entry[RIGHT], rightmost[value])
                entry[BOTTOM] = y
                entry[_COLUMNS_TWICE] += 2 * columns[value]
                entry[_ROWS] += area[value] * y
    return _compact(table, per_value, centroids), edges, between


@compiled
def count_pairs(
    starts: NDArray[np.uint32],
    values: NDArray[np.uint8],
    other_starts: NDArray[np.uint32],
    other_values: NDArray[np.uint8],
    counts: NDArray[np.int64],
) -> None:
    """Count the pairs of values of two masks of one size from their runs, sentinels included.

    Args:
        counts: output: 256 x 256 int64, zeros; pixels by value of the first and of the other.
    """
    run, other, place, end = uint64(0), uint64(0), starts[0], starts[-1]
    while place < end:
        stop = min(starts[run + _ONE], other_starts[other + _ONE])
        counts[values[run], other_values[other]] += int64(stop) - int64(place)
        run += uint64(starts[run + _ONE] == stop)
        other += uint64(other_starts[other + _ONE] == stop)
        place = stop
