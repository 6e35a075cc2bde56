"""The loops over JSON text of plain class PDFs, compiled by numba; see :mod:`segpipe.masks.kernel`.

``find_numbers`` takes the numbers' text out of metadata, and ``write_texts`` writes canonical
metadata of numbers that orjson wrote. Floats are read and written by Arrow and orjson in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from segpipe.masks.kernel import compiled

_PDF = np.frombuffer(b'class_pdf"', np.uint8)
_CONFIDENCE = np.frombuffer(b'confidence"', np.uint8)
_PDF_END, _CONFIDENCE_END = np.uint64(_PDF.size), np.uint64(_CONFIDENCE.size)
_QUOTE, _COMMA, _COLON, _OPEN, _CLOSE, _END_OF_LIST = 34, 44, 58, 123, 125, 93
_ZERO, _NINE, _DOT, _MINUS, _PLUS, _E, _LARGE_E = 48, 57, 46, 45, 43, 101, 69
_LINE = 10
# Places in a text are unsigned: of signed ones, each look-up asks whether it counts from the end.
# Numbers that are added to them have to be unsigned as well, or the sum is a float.
_NONE, _ONE = np.uint64(0), np.uint64(1)
_NOT_PLAIN = np.uint64(2**64 - 1)


@compiled
def _after_space(text: NDArray[np.uint8], at: Any, end: Any) -> Any:
    while at < end and (text[at] == 32 or 9 <= text[at] <= 10 or text[at] == 13):
        at += _ONE
    return at


@compiled
def _after(text: NDArray[np.uint8], at: Any, end: Any, mark: int) -> Any:
    """The place after a mark with space around it; ``_NOT_PLAIN`` if another thing is there."""
    at = _after_space(text, at, end)
    if at >= end or text[at] != mark:
        return _NOT_PLAIN
    return _after_space(text, at + _ONE, end)


@compiled
def _after_digits(text: NDArray[np.uint8], at: Any, end: Any) -> Any:
    while at < end and _ZERO <= text[at] <= _NINE:
        at += _ONE
    return at


@compiled
def _after_number(text: NDArray[np.uint8], at: Any, end: Any) -> Any:
    """The place after a number without a sign, as JSON writes it; else ``_NOT_PLAIN``."""
    after = _after_digits(text, at, end)
    if after == at or (text[at] == _ZERO and after > at + _ONE):
        return _NOT_PLAIN
    if after < end and text[after] == _DOT:
        fraction = after + _ONE
        after = _after_digits(text, fraction, end)
        if after == fraction:
            return _NOT_PLAIN
    if after < end and (text[after] == _E or text[after] == _LARGE_E):
        exponent = after + _ONE
        if exponent < end and (text[exponent] == _MINUS or text[exponent] == _PLUS):
            exponent += _ONE
        after = _after_digits(text, exponent, end)
        if after == exponent:
            return _NOT_PLAIN
    return after


@compiled
def _after_name(
    text: NDArray[np.uint8], at: Any, end: Any, names: NDArray[np.uint8], first: Any, last: Any
) -> Any:
    """The place after what stands in ``names`` from ``first`` to ``last``; else ``_NOT_PLAIN``."""
    after = at + (last - first)
    if after > end or text[after - _ONE] != names[last - _ONE]:
        return _NOT_PLAIN
    ahead = at - first
    same = True
    for place in range(first, last):
        same &= text[place + ahead] == names[place]
    return after if same else _NOT_PLAIN


@compiled
def _find_members(
    text: NDArray[np.uint8],
    at: Any,
    end: Any,
    names: NDArray[np.uint8],
    name_ends: NDArray[np.uint64],
    spans: NDArray[np.uint64],
) -> Any:
    """Find the number of every class in a PDF, from after its opening brace.

    Args:
        name_ends: C + 1: the end of each class's name, after a leading 0.
        spans: output: the first and end of each class's number, the first 0 where it is missing.

    Returns:
        The place after its closing brace; ``_NOT_PLAIN`` if it is anything else.
    """
    classes = uint64(name_ends.size) - _ONE
    for place in range(classes):
        spans[place, 0] = _NONE
    expected, last = _NONE, classes - _ONE
    at = _after_space(text, at, end)
    for number in range(classes):
        if at >= end or text[at] != _QUOTE:
            return _NOT_PLAIN
        at += _ONE
        after = _NOT_PLAIN
        for step in range(classes):
            one = expected + step
            if one > last:
                one -= classes
            after = _after_name(text, at, end, names, name_ends[one], name_ends[one + _ONE])
            if after != _NOT_PLAIN:
                expected = one
                break
        if after == _NOT_PLAIN or spans[expected, 0]:
            return _NOT_PLAIN
        at = _after(text, after, end, _COLON)
        if at == _NOT_PLAIN:
            return _NOT_PLAIN
        after = _after_number(text, at, end)
        if after == _NOT_PLAIN:
            return _NOT_PLAIN
        spans[expected, 0], spans[expected, 1] = at, after
        expected = expected + _ONE if expected < last else _NONE
        at = _after_space(text, after, end)
        if at >= end or text[at] != (_COMMA if number < last else _CLOSE):
            return _NOT_PLAIN
        at += _ONE
        if number < last:
            at = _after_space(text, at, end)
    return at


@compiled
def _find_one(
    text: NDArray[np.uint8],
    at: Any,
    end: Any,
    names: NDArray[np.uint8],
    name_ends: NDArray[np.uint64],
    spans: NDArray[np.uint64],
) -> bool:
    """Find the numbers of one metadata: those of the PDF, then the confidence, in ``spans``."""
    classes = uint64(name_ends.size) - _ONE
    has_pdf = False
    spans[classes, 0] = _NONE
    at = _after(text, at, end, _OPEN)
    while at != _NOT_PLAIN and at < end and text[at] == _QUOTE:
        at += _ONE
        pdf = _after_name(text, at, end, _PDF, _NONE, _PDF_END)
        confidence = _after_name(text, at, end, _CONFIDENCE, _NONE, _CONFIDENCE_END)
        if not has_pdf and pdf != _NOT_PLAIN:
            at = _after(text, pdf, end, _COLON)
            if at == _NOT_PLAIN or at >= end or text[at] != _OPEN:
                return False
            at = _find_members(text, at + _ONE, end, names, name_ends, spans)
            has_pdf = True
        elif not spans[classes, 0] and confidence != _NOT_PLAIN:
            at = _after(text, confidence, end, _COLON)
            if at == _NOT_PLAIN:
                return False
            after = _after_number(text, at, end)
            spans[classes, 0], spans[classes, 1] = at, after
            at = after
        else:
            return False
        if at == _NOT_PLAIN:
            return False
        at = _after_space(text, at, end)
        if at < end and text[at] == _CLOSE:
            return has_pdf and _after_space(text, at + _ONE, end) == end
        at = _after(text, at, end, _COMMA)
    return False


@compiled
def find_numbers(
    text: NDArray[np.uint8],
    ends: NDArray[np.uint64],
    names: NDArray[np.uint8],
    name_ends: NDArray[np.uint64],
    numbers: NDArray[np.uint8],
    number_ends: NDArray[np.int32],
    plain: NDArray[np.bool_],
    confident: NDArray[np.bool_],
) -> int:
    """Take the numbers out of JSON metadata that hold one class PDF, and maybe a confidence.

    Args:
        text: the N texts, one after the other.
        ends: N: the end of each text.
        names: names of C classes, each with the quotation mark after it, one after the other.
        name_ends: C + 1: the end of each name, after a leading 0.
        numbers: output, as long as the text and N more: for each text that is found plain, those of
            the classes, and the confidence, 0 where there is none; one after the other.
        number_ends: output: N x (C + 1) ends of these, after a leading 0.
        plain: output: N; the text holds the numbers of just these classes.
        confident: output: N; it has a confidence.

    Returns:
        The number of texts that are plain.
    """
    classes = uint64(name_ends.size) - _ONE
    spans = np.zeros((name_ends.size, 2), np.uint64)
    found, at, first, ended = 0, _NONE, _NONE, _ONE
    number_ends[0] = 0
    for one in range(ends.size):
        end = ends[one]
        plain[one] = _find_one(text, first, end, names, name_ends, spans)
        first = end
        if not plain[one]:
            continue
        confident[one] = spans[classes, 0] > _NONE
        for place in range(classes + _ONE):
            if spans[place, 0]:
                at = _write(numbers, at, text, spans[place, 0], spans[place, 1])
            else:
                numbers[at] = _ZERO
                at += _ONE
            number_ends[ended] = at
            ended += _ONE
        found += 1
    return found


@compiled
def _write(out: NDArray[np.uint8], at: Any, some: NDArray[np.uint8], first: Any, end: Any) -> Any:
    """Copy what stands from ``first`` to ``end``; returns the place after it."""
    ahead = uint64(at) - uint64(first)
    for place in range(uint64(first), uint64(end)):
        out[place + ahead] = some[place]
    return uint64(end) + ahead


@compiled
def _write_number(
    out: NDArray[np.uint8], at: Any, text: NDArray[np.uint8], first: Any, end: Any
) -> Any:
    """Write a number that orjson wrote as Python writes it, a whole one as an integer."""
    one, two, three, four = uint64(1), uint64(2), uint64(3), uint64(4)
    size = end - first
    if size > two and text[end - one] == _ZERO and text[end - two] == _DOT:
        return _write(out, at, text, first, end - two)
    if size > three and text[end - three] == _E and text[end - two] == _MINUS:  # 1e-6 is 1e-06
        at = _write(out, at, text, first, end - one)
        out[at], out[at + one] = _ZERO, text[end - one]
        return at + two
    digits = first + two
    if text[first] == _ZERO and size > two and text[digits] == _ZERO:
        while digits < end and text[digits] == _ZERO:
            digits += one
        exponent = digits - first - one
        if exponent > four and digits < end:  # 0.000012 is 1.2e-05
            out[at] = text[digits]
            at += one
            if end > digits + one:
                out[at] = _DOT
                at = _write(out, at + one, text, digits + one, end)
            out[at], out[at + one] = _E, _MINUS
            out[at + two] = _ZERO + exponent // uint64(10)
            out[at + three] = _ZERO + exponent % uint64(10)
            return at + four
    return _write(out, at, text, first, end)


@compiled
def _end_of_number(text: NDArray[np.uint8], at: Any) -> Any:
    while text[at] != _COMMA and text[at] != _END_OF_LIST:
        at += uint64(1)
    return at


@compiled
def write_texts(
    rows: NDArray[np.uint8],
    confidences: NDArray[np.uint8],
    confident: NDArray[np.bool_],
    names: NDArray[np.uint8],
    name_ends: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """Write N metadata as canonical JSON, a line each.

    Args:
        rows: N x C numbers, as JSON without spaces.
        confidences: N numbers, likewise.
        confident: N; the metadata has a confidence.
        names: what stands before each class's number, from the text's beginning or the number
            before; and what stands before the confidence, and at the end.
        name_ends: C + 2: the ends of these.
        out: output.

    Returns:
        The number of bytes.
    """
    classes = uint64(name_ends.size - 2)
    one = uint64(1)
    at, row_at, confidence_at = uint64(0), one, one
    for row in range(confident.size):
        row_at += one  # an opening bracket
        first = uint64(0)
        for place in range(classes):
            end = uint64(name_ends[place])
            at = _write(out, at, names, first, end)
            first = end
            end = _end_of_number(rows, row_at)
            at = _write_number(out, at, rows, row_at, end)
            row_at = end + one
        row_at += one  # the comma between rows, or the last bracket
        out[at] = _CLOSE
        at += one
        end = _end_of_number(confidences, confidence_at)
        last = uint64(name_ends[classes])
        if confident[row]:
            at = _write(out, at, names, first, last)
            at = _write_number(out, at, confidences, confidence_at, end)
        confidence_at = end + one
        at = _write(out, at, names, last, uint64(name_ends[classes + one]))
        out[at] = _LINE
        at += one
    return int(at)
