"""Values of carried columns: taken as they are given, or refused; Arrow never converts one.

Arrow cuts without a word: 0.7 in a column of integers becomes 0, an hour is shifted by its zone. So
the type of a value is found here, a column's type widens only where every value before stays what
it was, and a type that was declared beforehand takes only what reads back equal.

``common_types`` also unites types, and is another mechanism for a reason. A writer meets one value
at a time, does not know what follows, and may not change what it wrote: one type is decided at
once, by what occurred so far (a negative integer, one that no float holds), or the value is
refused. There all files are known beforehand: several types are proposed, the values are tried on
each, and what fits none becomes text. With one for both, a writer would take bytes for text and
integers for decimals, and a reader would refuse what it can read.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from segpipe.manifests.times_of_day import in_microseconds

_MOST_EXACT = 2**53
_DEEPEST = 16
_LARGEST_PRECISION = 76
_INTEGERS = (pa.int64(), pa.uint64())
_DIGITS = {pa.int64(): 19, pa.uint64(): 20}
_MISSING = ("NaTType", "NAType")
_NO_TIME = "it is no whole number of microseconds within the years 1 to 9999: give text"


class Unfit(ValueError):
    """A value that a column cannot hold; the message says why."""


@dataclass(frozen=True, slots=True)
class CarriedColumn:
    """The type of a carried column so far, and what decides how it may widen.

    Attributes:
        declared: the type was given beforehand and does not change.
        negative: an integer below 0 occurred.
        inexact: an integer occurred that a 64-bit float cannot hold.
    """

    type: pa.DataType
    declared: bool = False
    negative: bool = False
    inexact: bool = False

    def taking(self, value: Any) -> tuple[Any, CarriedColumn]:
        """A value as Arrow takes it without converting, and the column that holds it as well.

        Raises:
            Unfit: if the value cannot be held as it is, or would change the ones before.
        """
        kind = type(value)
        if value is None:
            return None, self
        if (kind is str and self.type == pa.string() and value.isascii()) or (
            kind is float and self.type == pa.float64()
        ):
            return value, self
        if kind is int and self.type == pa.int64() and 0 <= value <= _MOST_EXACT:
            return value, self
        given = plain_value(value)
        if self.declared:
            _check_held(given, self.type, f"expected {self.type}, as the column was declared")
            return given, self
        whole = _integers_in(given)
        negative = self.negative or any(one < 0 for one in whole)
        inexact = self.inexact or any(not _is_exact(one) for one in whole)
        other = _type_of(given, negative, inexact)
        joined = _joined(self.type, other, negative, inexact)
        if joined is None:
            raise Unfit(
                f"expected {_words(self.type)} as in the rows before, "
                f"and {_words(other)} cannot stand beside it unaltered"
            )
        if _has_empty_struct(joined):
            raise Unfit("an empty object has no form in Parquet: give None, or a member")
        _check_held(given, joined, "Parquet cannot hold it: give text")
        return given, CarriedColumn(joined, False, negative, inexact)


def plain_value(value: Any, depth: int = 0) -> Any:
    """A value in Python's own types: None, bool, int, float, str, bytes, Decimal, times, lists,
    dicts. NumPy's, tensors, UUIDs and paths become those, without loss.

    Raises:
        Unfit: if it cannot.
    """
    if depth > _DEEPEST:
        raise Unfit(f"it is nested deeper than {_DEEPEST} levels")
    if value is None or type(value).__name__ in _MISSING:
        return None
    if isinstance(value, (bool, int)):
        return value if isinstance(value, bool) else int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return _unicode(str.__str__(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (UUID, PurePath)):
        return _unicode(str(value))
    if isinstance(value, (dt.datetime, dt.date, dt.time, dt.timedelta)):
        return _time(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, np.datetime64 | np.timedelta64):
        return _numpy_time(value)
    if isinstance(value, Mapping) and not isinstance(value, pa.MapScalar):  # which has pairs
        return {_key(key): plain_value(member, depth + 1) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(member, depth + 1) for member in value]
    return _converted(value, depth)


def _converted(value: Any, depth: int) -> Any:
    """What NumPy, PyTorch and others have: ``tolist``; of Arrow: ``as_py``."""
    if isinstance(value, type) or not callable(_conversion(value)):
        raise Unfit(f"Parquet has no type for {type(value).__name__}: give numbers or text")
    if isinstance(value, np.floating):  # longdouble, which NumPy leaves as it is
        if float(value) != value and not np.isnan(value):
            raise Unfit("it has more digits than a 64-bit float: give it as text")
        return float(value)
    of_arrow = isinstance(value, (pa.Scalar, pa.Array))
    try:
        given = _conversion(in_microseconds(value) if of_arrow else value)()
    except UnicodeDecodeError:
        raise Unfit("it is not valid Unicode text") from None
    except KeyError:
        raise Unfit("its time zone is not known here: give the time in UTC, or as text") from None
    except pa.ArrowNotImplementedError:
        raise Unfit(
            f"its type is {value.type}, whose times of day cannot be cast to microseconds: "
            "give lists, or text"
        ) from None
    except (ValueError, OverflowError) as error:
        if of_arrow:  # all else that Arrow has, Python has too
            raise Unfit(_NO_TIME) from None
        raise Unfit(f"{type(value).__name__} has no value in Python's types: {error}") from None
    if type(given) is type(value):
        raise Unfit(f"Parquet has no type for {type(value).__name__}: give numbers or text")
    return plain_value(given, depth + 1)


def _conversion(value: Any) -> Any:
    return getattr(value, "tolist", None) or getattr(value, "as_py", None)


def _unicode(text: str) -> str:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise Unfit("it is not valid Unicode text") from None
    return text


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise Unfit(f"it has the key {key!r}, expected text")
    return _unicode(str.__str__(key))


def _time(value: Any) -> Any:
    if getattr(value, "nanosecond", 0):  # pandas
        raise Unfit("it has nanoseconds, of which microseconds are held: round it, or give text")
    if isinstance(value, dt.time) and value.tzinfo is not None:
        raise Unfit("a time of day with a zone has no form in Parquet: give text")
    if hasattr(value, "to_pydatetime"):
        return value.to_pydatetime()
    if hasattr(value, "to_pytimedelta"):
        if value.nanoseconds:
            raise Unfit(
                "it has nanoseconds, of which microseconds are held: round it, or give text"
            )
        return value.to_pytimedelta()
    return value


def _numpy_time(value: np.datetime64 | np.timedelta64) -> Any:
    if np.isnat(value):
        return None
    unit = np.datetime_data(value.dtype)[0]
    kind = "datetime64" if isinstance(value, np.datetime64) else "timedelta64"
    if kind == "datetime64" and unit in ("Y", "M", "W", "D"):
        given: Any = value.astype("datetime64[D]").item()
    elif kind == "timedelta64" and unit in ("Y", "M", "generic"):
        given = None
    else:
        held = value.astype(f"{kind}[us]")
        given = held.item() if held == value else None
    if not isinstance(given, dt.date | dt.timedelta):
        raise Unfit(_NO_TIME)
    return given


def _decimal(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise Unfit("Parquet's decimals have no NaN and no infinity: give a float")
    if sum(_places(value)) > _LARGEST_PRECISION:
        raise Unfit(f"it has more than {_LARGEST_PRECISION} digits: give it as text")
    return value


def _places(value: Decimal) -> tuple[int, int]:
    """Digits before and after the point."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # finite
    return max(len(digits) + exponent, 1), max(-exponent, 0)


def _is_exact(whole: int) -> bool:
    return abs(whole) <= _MOST_EXACT or (abs(whole) < 2**64 and int(float(whole)) == whole)


def _integers_in(value: Any) -> list[int]:
    if isinstance(value, int):
        return [] if isinstance(value, bool) else [value]
    if isinstance(value, list):
        return [one for member in value for one in _integers_in(member)]
    if isinstance(value, dict):
        return [one for member in value.values() for one in _integers_in(member)]
    return []


def _type_of(value: Any, negative: bool, inexact: bool) -> pa.DataType:
    """The type of a plain value; its members are joined as the rows of a column are."""
    if isinstance(value, dict):
        return pa.struct(
            [pa.field(name, _type_of(one, negative, inexact)) for name, one in value.items()]
        )
    if isinstance(value, list):
        inner = pa.null()
        for member in value:
            other = _type_of(member, negative, inexact)
            joined = _joined(inner, other, negative, inexact)
            if joined is None:
                raise Unfit(
                    f"its members are {_words(inner)} and {_words(other)}, of several types"
                )
            inner = joined
        return pa.list_(inner)
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            return pa.timestamp("us")
        return pa.timestamp("us", _zone(value))
    if isinstance(value, Decimal):
        return _decimal_type(*_places(value))
    if isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**64:
            raise Unfit("it is beyond 64 bits: give it as text")
        return pa.int64() if value < 2**63 else pa.uint64()
    if isinstance(value, dt.timedelta):
        try:
            pa.scalar(value, pa.duration("us"))
        except (pa.ArrowException, OverflowError):
            raise Unfit("it is beyond 64 bits of microseconds: give it as text") from None
    return next(kind for python, kind in _PLAIN.items() if isinstance(value, python))


_PLAIN = {
    type(None): pa.null(),
    bool: pa.bool_(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    dt.date: pa.date32(),
    dt.time: pa.time64("us"),
    dt.timedelta: pa.duration("us"),
}


def _zone(value: dt.datetime) -> str:
    """The zone as Arrow names it; UTC where it has no name for it."""
    try:
        kind = pa.array([value]).type
        pa.array([value], kind).to_pylist()
        return str(kind.tz)
    except (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError):
        return "UTC"


def _decimal_type(before: int, after: int) -> pa.DataType:
    digits = before + after
    if digits > _LARGEST_PRECISION:
        raise Unfit(f"with the rows before, it takes more than {_LARGEST_PRECISION} digits")
    return pa.decimal128(digits, after) if digits <= 38 else pa.decimal256(digits, after)


def _joined(
    one: pa.DataType, other: pa.DataType, negative: bool, inexact: bool
) -> pa.DataType | None:
    """The type that holds the values of both, each as it is; None where there is none."""
    if one.equals(other) or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_list(one) and pa.types.is_list(other):
        inner = _joined(one.value_type, other.value_type, negative, inexact)
        return None if inner is None else pa.list_(inner)
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return _joined_structs(one, other, negative, inexact)
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other):
        return pa.timestamp("us", "UTC") if one.tz and other.tz else None
    if pa.types.is_decimal(one) or pa.types.is_decimal(other):
        before, after = _digits(one), _digits(other)
        if before is None or after is None:
            return None
        return _decimal_type(max(before[0], after[0]), max(before[1], after[1]))
    kinds = {one, other}
    if kinds == {*_INTEGERS}:
        return None if negative else pa.uint64()
    if pa.float64() in kinds and kinds & {*_INTEGERS}:
        return None if inexact else pa.float64()
    return None


def _joined_structs(
    one: pa.DataType, other: pa.DataType, negative: bool, inexact: bool
) -> pa.DataType | None:
    members = {field.name: field.type for field in one}
    for field in other:
        joined = _joined(members.get(field.name, pa.null()), field.type, negative, inexact)
        if joined is None:
            return None
        members[field.name] = joined
    return pa.struct([pa.field(name, kind) for name, kind in members.items()])


def _digits(kind: pa.DataType) -> tuple[int, int] | None:
    if pa.types.is_decimal(kind):
        return kind.precision - kind.scale, kind.scale
    return (_DIGITS[kind], 0) if kind in _DIGITS else None


def _has_empty_struct(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return not kind.num_fields or any(_has_empty_struct(field.type) for field in kind)
    return bool(pa.types.is_list(kind)) and _has_empty_struct(kind.value_type)


def _check_held(value: Any, kind: pa.DataType, otherwise: str) -> None:
    """Raises Unfit, with the reason ``otherwise``, unless the value reads back equal."""
    try:
        back = pa.array([value], kind).to_pylist()[0]
    except (pa.ArrowException, TypeError, ValueError, OverflowError, KeyError):
        raise Unfit(otherwise) from None
    # A person who declares fewer bits asks for their precision.
    near = 1e-2 if "halffloat" in str(kind) else 1e-6 if "float" in str(kind) else 0.0
    if not _same(value, back, near):
        raise Unfit(f"{otherwise}; it would become {back!r}")


def _same(value: Any, back: Any, near: float) -> bool:
    if isinstance(value, list):
        return (
            isinstance(back, list)
            and len(value) == len(back)
            and all(_same(one, other, near) for one, other in zip(value, back, strict=True))
        )
    if isinstance(value, dict):
        return isinstance(back, dict) and all(
            _same(one, back.get(name), near) for name, one in value.items()
        )
    if isinstance(value, float) and isinstance(back, float):
        if math.isnan(value) or math.isnan(back):
            return math.isnan(value) and math.isnan(back)
        return value == back or (math.isfinite(back) and math.isclose(value, back, rel_tol=near))
    if isinstance(value, bool) is not isinstance(back, bool):
        return False
    if isinstance(value, dt.datetime) and isinstance(back, dt.datetime):
        return (value.tzinfo is None) is (back.tzinfo is None) and value == back
    return bool(value == back)


def _words(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "a time with a zone" if kind.tz else "a time without a zone"
    return {
        pa.int64(): "a whole number",
        pa.uint64(): "a whole number beyond 63 bits",
        pa.float64(): "a number",
        pa.string(): "text",
        pa.bool_(): "true or false",
        pa.binary(): "bytes",
        pa.date32(): "a day",
    }.get(kind, str(kind))
