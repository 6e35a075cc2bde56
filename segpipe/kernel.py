"""The loops over pixels that decide what a mask costs, compiled by numba.

``runs_of_lines`` goes from a PNG's filtered scan lines (PNG specification, third edition, section
9) to the mask's runs without making a pixel, ``unfilter`` makes the pixels, and ``measure_runs``
finds the measures of every value. They stop only where something changes, for a mask is mostly its
neighbours; ``measure_pixels`` is for those that are not. Only :mod:`segpipe.scanlines` imports this
module: numba takes time to import, and segpipe does without it where it is absent.

Indexes are unsigned where they can be: numba gives signed ones Python's meaning of negative
indexes, which keeps loops from being vectorized.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import int32, int64, types, uint8, uint64
from numba.extending import intrinsic
from numpy.typing import NDArray

#: What is found of a value, in the order of the rows ``measure_...`` write.
VALUE, AREA, LEFT, RIGHT, TOP, BOTTOM, FIRST = range(7)
FOUND = 7
# Kept beside these while a mask is measured; the value is the row's number.
_COLUMNS_TWICE, _ROWS = 0, 7
_ENTRY = 8
_ONE = np.uint64(1)
_EIGHT = np.uint64(8)
_EVERY_BYTE = np.uint64(0x0101010101010101)
_GROUP = 64  # bytes looked at together

#: Instead of a number of runs: a filter does not exist, or there are more runs than asked for.
NO_SUCH_FILTER, TOO_MANY_RUNS = -1, -2


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Machine code for a function, kept on disk where there is a place for it; frees the GIL."""
    options: Any = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
    compiled: Callable[..., Any]
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written
        compiled = numba.njit(**options)(function)
    return compiled


def _count_trailing_zeros(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


#: Place of the lowest bit of a uint64 that is set, 64 where none is: one instruction, for which
#: numba has no name.
_lowest_bit: Any = intrinsic(_count_trailing_zeros)


def _compare_group(typing_context: Any, one: Any, start: Any, other: Any, other_start: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bytes_type = ir.VectorType(ir.IntType(8), _GROUP)

        def group(kind: Any, array: Any, place: Any) -> Any:
            data = context.make_array(kind)(context, builder, array).data
            pointer = builder.bitcast(builder.gep(data, [place]), bytes_type.as_pointer())
            return builder.load(pointer, align=1)

        unequal = builder.icmp_unsigned(
            "!=",
            group(signature.args[0], arguments[0], arguments[1]),
            group(signature.args[2], arguments[2], arguments[3]),
        )
        return builder.bitcast(unequal, ir.IntType(_GROUP))

    return types.uint64(one, types.int64, other, types.int64), generate


#: A bit for each of 64 bytes of two uint8 arrays, from a place in each on: whether they differ.
#: Processors have instructions for it, which loops are not made into.
_differing_group: Any = intrinsic(_compare_group)


@_compiled
def _differing(
    one: NDArray[np.uint8], start: int, other: NDArray[np.uint8], other_start: int, count: int
) -> int:
    """The same for the first ``count`` bytes, where there are fewer; the other bits are 0."""
    if count >= _GROUP:
        return _differing_group(one, start, other, other_start)  # type: ignore[no-any-return]
    bits = uint64(0)
    for place in range(count):
        unequal = one[start + place] != other[other_start + place]
        bits |= uint64(unequal) << uint64(place)
    return bits  # type: ignore[return-value]


@_compiled
def _list_differing(
    one: NDArray[np.uint8],
    start: int,
    other: NDArray[np.uint8],
    other_start: int,
    count: int,
    places: NDArray[np.uint64],
) -> int:
    """Places where ``count`` bytes of two arrays differ.

    Args:
        places: ``count`` + 2 uint64, written: counted from the starts, ascending.

    Returns:
        How many there are.
    """
    found = uint64(0)
    for first in range(0, count, _GROUP):
        bits = uint64(_differing(one, start + first, other, other_start + first, count - first))
        # One or two at a time, mostly: written whether there or not, which no processor has to
        # guess.
        for _ in range(2):
            places[found] = uint64(first) + _lowest_bit(bits)
            found += uint64(bits != uint64(0))
            bits &= bits - _ONE
        while bits != uint64(0):
            places[found] = uint64(first) + _lowest_bit(bits)
            found += _ONE
            bits &= bits - _ONE
    return found  # type: ignore[return-value]


@_compiled
def runs_of_lines(
    lines: NDArray[np.uint8],
    height: int,
    width: int,
    starts: NDArray[np.uint32],
    values: NDArray[np.uint8],
) -> int:
    """Filtered scan lines of one byte a pixel to the runs of the mask.

    Between the places where a line's filter adds something and those where the line above changes,
    every filter repeats the pixel to the left (Up the one above, Average until it is the same), so
    that only these are looked at.

    Args:
        lines: H * (1 + W) uint8: of each line its filter's number and its filtered bytes.
        starts: N + W + 1 uint32, written: flat (row-major) positions of the runs, and H * W after
            the last. Runs end with their row.
        values: N + W + 1 uint8, written: their values.

    Returns:
        How many there are, at most about N; or why they were not found.
    """
    most = uint64(starts.size - width - 1)
    nothing = np.zeros(width, np.uint8)
    places = np.empty(width + 2, np.uint64)
    wide = uint64(width)
    runs, run_above = uint64(0), uint64(0)
    for y in range(height):
        if runs > most:
            return TOO_MANY_RUNS
        begin = y * (width + 1) + 1
        kind = lines[begin - 1]
        if kind > 4:
            return NO_SUCH_FILTER
        if kind == 0:  # nothing is added to what is repeated
            changes = _list_differing(lines, begin, lines, begin - 1, width, places)
        else:
            changes = _list_differing(lines, begin, nothing, 0, width, places)
        places[changes] = wide
        given, here = uint64(begin), uint64(y * width)
        # The line above ends where this one begins; the one above the first is zero everywhere.
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
                to_left, to_over = abs(up - corner), abs(left - corner)
                to_corner = abs(up + left - 2 * corner)
                if to_left <= to_over and to_left <= to_corner:
                    predicted = left
                elif to_over <= to_corner:
                    predicted = up
                else:
                    predicted = corner
                value = (predicted + added) & 255
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


@_compiled
def runs_of_pixels(
    pixels: NDArray[np.uint8], starts: NDArray[np.uint32], values: NDArray[np.uint8]
) -> int:
    """The runs of a mask.

    Args:
        pixels: H x W uint8, rows without gaps.
        starts, values: as of :func:`runs_of_lines`, which see.
    """
    height, width = pixels.shape
    most = uint64(starts.size - width - 1)
    flat = pixels.reshape(-1)
    runs = uint64(0)
    for y in range(height):
        if runs > most:
            return TOO_MANY_RUNS
        here = y * width
        starts[runs] = here
        values[runs] = flat[here]
        runs += _ONE
        for first in range(1, width, _GROUP):
            begins = _differing(flat, here + first, flat, here + first - 1, width - first)
            while begins != uint64(0):
                place = uint64(here + first) + _lowest_bit(begins)
                starts[runs] = place
                values[runs] = flat[place]
                runs += _ONE
                begins &= begins - _ONE
        starts[runs] = here + width
    return int64(runs) if runs <= most else TOO_MANY_RUNS  # type: ignore[return-value]


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
def _no_runs(width: int) -> NDArray[np.int64]:
    """A table for :func:`_add_run`: a row per value."""
    table = np.zeros((256, _ENTRY), np.int64)
    table[:, LEFT] = width
    return table


@_compiled
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


@_compiled
def _sum_up(
    table: NDArray[np.int64], found: NDArray[np.int64], centroids: NDArray[np.float64]
) -> int:
    """The values that are there, put side by side; how many there are."""
    count = int64(0)
    for value in range(256):
        entry = table[value]
        if entry[AREA] > 0:
            found[VALUE, count] = value
            for what in range(AREA, FOUND):
                found[what, count] = entry[what]
            area = float(entry[AREA])
            centroids[0, count] = float(entry[_COLUMNS_TWICE]) / (2.0 * area)
            centroids[1, count] = float(entry[_ROWS]) / area
            count += 1
    return count  # type: ignore[return-value]


@_compiled
def measure_runs(
    starts: NDArray[np.uint32],
    values: NDArray[np.uint8],
    height: int,
    width: int,
    found: NDArray[np.int64],
    centroids: NDArray[np.float64],
) -> tuple[int, int, int]:
    """Measure every value of a mask whose runs are known.

    Args:
        starts, values: of :func:`runs_of_lines`.
        found: 7 x 256 int64, written: a row per constant above, a column per value that is there.
        centroids: 2 x 256 float64, written: mean column and mean row of each.

    Returns:
        How many values there are; edge pixels, and those of them strictly between their neighbours
        (see :class:`segpipe.segments.Measures`).
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
            # Only a run's ends can be edge pixels, and only a run of one pixel can lie between.
            if stop - start > 1:
                edges += int64(start > 0) + int64(stop < width)
            elif start > 0 and stop < width:
                one, other = values[run - 1], values[run + 1]
                if one != other:
                    edges += 1
                    between += int64(min(one, other) < value and value < max(one, other))
            run += 1
    return _sum_up(table, found, centroids), edges, between


@_compiled
def measure_pixels(
    pixels: NDArray[np.uint8], found: NDArray[np.int64], centroids: NDArray[np.float64]
) -> tuple[int, int, int]:
    """:func:`measure_runs` for masks whose runs are too many to list: pixel by pixel.

    Args:
        pixels: H x W uint8, rows without gaps.
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
    return _sum_up(table, found, centroids), edges, between
