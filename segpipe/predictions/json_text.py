"""JSON text of metadata: read without losing a key in silence, and numbers as Python writes them.

orjson reads and writes it ten times as fast as Python's json, and not the same: of a key that is
there twice it keeps one, integers beyond 64 bits become floats, and exponents have another form.
So it is used where what it does can be seen to be the same, and Python's json everywhere else.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import orjson

#: Below it, an integral float is an integer that was written with a point; above, it may also be
#: an integer of too many digits.
EXACT = 1e15
_UNSURE = object()

_MARKS = frozenset(':,{}[]"\\')  # around the numbers of an object or list, and in escapes


class RepeatedKeys(dict[str, Any]):
    """An object of a JSON text that has keys twice; as elsewhere, the last of them counts.

    Attributes:
        repeated: those keys.
    """

    repeated: frozenset[str] = frozenset()

    @classmethod
    def of(cls, made: Mapping[str, Any], repeated: frozenset[str]) -> RepeatedKeys:
        """An object with these members, some of whose keys are there twice."""
        marked = cls(made)
        marked.repeated = repeated
        return marked


def noting_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """``object_pairs_hook`` of a JSON decoder: a dict, :class:`RepeatedKeys` where it lost keys."""
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    counts = Counter(key for key, _ in pairs)
    return RepeatedKeys.of(made, frozenset(key for key in counts if counts[key] > 1))


def json_value(text: str) -> Any:
    """The value of a JSON text, its objects as :func:`noting_repeated_keys` gives them.

    Raises:
        ValueError: if it is no JSON.
        RecursionError: if it is nested beyond reason.
    """
    value = _plain_value(text)
    if value is _UNSURE:
        return json.loads(text, object_pairs_hook=noting_repeated_keys)
    return value


def _plain_value(text: str) -> Any:
    """An object or list whose numbers are exact; else ``_UNSURE``.

    It has as many quotation marks as it has keys and texts, twice: no key was lost.
    """
    if text[:1] not in ("{", "[") or "\\" in text:
        return _UNSURE
    try:
        value = orjson.loads(text)
        quoted = _quoted(value)
    except (ValueError, RecursionError):  # Python's json says more, and takes NaN
        return _UNSURE
    return value if text.count('"') == 2 * quoted else _UNSURE


def _quoted(value: Any) -> int:
    """How many keys and texts there are in a value.

    Raises:
        ValueError: if it has numbers that may be others in the text.
    """
    kind = type(value)
    if kind is str:
        return 1
    if kind is dict or kind is list:
        members = value.values() if kind is dict else value
        own = len(value) if kind is dict else 0
        if not members or _are_exact(members):
            return own
        return own + sum(map(_quoted, members))
    if kind is float and not -EXACT < value < EXACT:
        raise ValueError
    return 0


def _are_exact(values: Collection[Any]) -> bool:
    """Whether values are numbers alone, and below ``EXACT``."""
    try:
        if min(values) >= 0:
            return bool(sum(values) < EXACT)
        return bool(-EXACT < min(values) <= max(values) < EXACT)
    except TypeError:  # other things than numbers
        return False


def numbers_text(numbers: Mapping[str, float]) -> str | None:
    """An object of numbers as :func:`segpipe.predictions.metadata.metadata_json` writes it, names
    sorted; None where they or their names are not plain enough to be written in a fast way.

    Args:
        numbers: integers and finite floats, from 0 and below 1e15.
    """
    if not plain_names(tuple(numbers)):
        return None
    try:
        text = orjson.dumps(numbers, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # names of a kind of text, such as NumPy's, that equal plain ones
        return None
    first, *others = text.split("e-")
    if others:  # orjson writes 1e-6 for Python's 1e-06
        text = "e-".join((first, *(f"0{one}" if one[1] in ",}" else one for one in others)))
    first, *others = text.split(":0.0000")
    return first + "".join(map(_with_exponent, others)) if others else text


def _with_exponent(rest: str) -> str:
    """A member's number below 1e-4 and what follows it, from where it had ``0.0000``."""
    digits, end, following = rest.partition(",")
    if not end:
        digits, end, following = rest.partition("}")
    first, others = digits[0], digits[1:]
    if first == "0":
        return f":{float(f'0.0000{digits}')!r}{end}{following}"
    return f":{first}.{others}e-05{end}{following}" if others else f":{first}e-05{end}{following}"


def is_plain(text: str) -> bool:
    """Whether orjson and Python write a text alike, and no number can be found in it."""
    return text.isascii() and text.isprintable() and not _MARKS & set(text)


@lru_cache(maxsize=64)
def plain_names(names: tuple[Any, ...]) -> bool:
    """Whether names are text, and :func:`is_plain`."""
    return all(type(name) is str and is_plain(name) for name in names)
