"""Numbers in JSON as Python writes them, for many texts at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MINUS, _DOT, _E, _ZERO = b"-.e0"
_EXPONENT = np.frombuffer(b"e-05", np.uint8)
# More than the digits of a float.
_DIGITS = np.arange(24)


def _bytes_of(some: bytes) -> NDArray[np.bool_]:
    table = np.zeros(256, bool)
    table[list(some)] = True
    return table


# What stands before a number in an object or a list, and after it.
_IS_START, _IS_END = _bytes_of(b":,["), _bytes_of(b",}]")


def with_canonical_numbers(texts: Sequence[bytes]) -> list[str] | None:
    """Objects that orjson wrote, with their numbers as Python writes them, whole ones as integers.

    All at once, by positions in their bytes: ``1e-6`` becomes ``1e-06``, ``0.000012`` becomes
    ``1.2e-05``, and ``1.0`` becomes ``1``.

    Args:
        texts: objects, and objects and lists of numbers in them. Numbers are from 0 and below 1e15,
            and no negative zeros; names and texts are :func:`plain_names`.

    Returns:
        None where that cannot be done so.
    """
    joined = np.frombuffer(b"\n".join(texts), np.uint8)
    marks = np.flatnonzero(joined - np.uint8(_MINUS) <= _DOT - _MINUS)
    minus, dots = marks[joined[marks] == _MINUS], marks[joined[marks] == _DOT]
    short = minus[(joined[minus - 1] == _E) & _IS_END[joined[minus + 2]]]
    whole = dots[(joined[dots + 1] == _ZERO) & _IS_END[joined[dots + 2]]]
    tiny = dots[(joined[dots - 1] == _ZERO) & _IS_START[joined[dots - 2]]]
    for place in range(1, 5):
        tiny = tiny[joined[tiny + place] == _ZERO]
    if not (len(short) or len(whole) or len(tiny)):
        return [text.decode() for text in texts]
    digits = tiny + 5
    if (joined[digits] == _ZERO).any():
        return None
    following = joined[np.minimum(digits[:, None] + _DIGITS, len(joined) - 1)]
    after = digits + _IS_END[following].argmax(axis=1)
    kept = np.ones(len(joined), bool)
    kept[whole] = kept[whole + 1] = False
    for place in range(-1, 5):
        kept[tiny + place] = False
    several = digits[after - digits > 1] + 1
    places = np.concatenate((short + 1, several, np.repeat(after, 4)))
    added = np.concatenate(
        (
            np.full(len(short), _ZERO, np.uint8),
            np.full(len(several), _DOT, np.uint8),
            np.tile(np.frombuffer(b"e-05", np.uint8), len(after)),
        )
    )
    # Where they are in what is written: before what is kept from their places on.
    order = np.argsort(places, kind="stable")
    removed = np.flatnonzero(~kept)
    before = places[order] - np.searchsorted(removed, places[order])
    at = before + np.arange(len(places))
    written = np.empty(len(joined) - len(removed) + len(places), np.uint8)
    own = np.ones(len(written), bool)
    own[at] = False
    written[at] = added[order]
    written[own] = joined[kept]
    return written.tobytes().decode().split("\n")
