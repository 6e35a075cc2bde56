"""One type for the values of several: which types hold them all, and whether nothing is lost.

For columns that are written already, whose types are all known. Values that are still being
written, one at a time, widen a type by other rules: see ``carried_values``, which says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import islice, pairwise, product
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.manifests.cells import cells_of, readable_text
from segpipe.manifests.plain_types import (
    is_bytes,
    is_list,
    is_text,
    list_values,
    map_entries,
    plain_array,
    plain_type,
    rebuilt_list,
    rebuilt_map,
    rebuilt_struct,
)

_UNITS = ("s", "ms", "us", "ns")
_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}
_MOST_COMBINATIONS = 16


class Inexact(ValueError):
    """A value cannot be converted without loss."""


def common_types(kinds: Sequence[pa.DataType]) -> list[pa.DataType]:
    """Types that may hold the values of all these types, the best first; empty if there are none.

    Whether one does may depend on the values: see :func:`fitted`.
    """
    distinct = list(
        dict.fromkeys(kind for kind in map(storable, kinds) if not pa.types.is_null(kind))
    )
    if len(distinct) < 2:
        return distinct or [pa.null()]
    for belongs, unite in _FAMILIES:
        if all(belongs(kind) for kind in distinct):
            return unite(distinct)
    return []


def storable(kind: pa.DataType) -> pa.DataType:
    """The plain form of a type, in which everything may be null."""
    kind = plain_type(kind)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(storable(kind.value_type), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(storable(kind.value_type))
    if pa.types.is_list(kind):
        return pa.list_(storable(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, storable(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(storable(kind.key_type), storable(kind.item_type))
    return kind


def fitted(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """An array as one of the :func:`common_types`, value by value the same.

    Raises:
        Inexact: if the type does not hold a value.
    """
    array = plain_array(array)
    have = array.type
    if have == kind:
        return array
    if pa.types.is_null(have):
        return pa.nulls(len(array), kind)
    if is_list(kind) and is_list(have):
        return rebuilt_list(array, fitted(list_values(array), kind.value_type), kind)
    if pa.types.is_struct(kind) and pa.types.is_struct(have):
        given = {field.name: member for field, member in zip(have, array.flatten(), strict=True)}
        members = [
            fitted(given[field.name], field.type)
            if field.name in given
            else pa.nulls(len(array), field.type)
            for field in kind
        ]
        return rebuilt_struct(array, members, kind)
    if pa.types.is_map(kind) and pa.types.is_map(have):
        keys, items = map_entries(array)
        return rebuilt_map(array, fitted(keys, kind.key_type), fitted(items, kind.item_type), kind)
    try:
        return _fitted_values(array, kind)
    except pa.ArrowException as error:
        raise Inexact(str(error).splitlines()[0]) from None


def _fitted_values(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind) and is_bytes(array.type):
        text = array.cast(pa.binary()).view(pa.string())
        text.validate(full=True)
        return text
    if pa.types.is_integer(array.type) and pa.types.is_floating(kind):
        made = array.cast(kind, safe=False)
        if not made.cast(array.type).equals(array):
            raise Inexact(f"a whole number is not exact as {kind}")
        return made
    return array.cast(kind)


def always_fits(have: pa.DataType, kind: pa.DataType) -> bool:
    """Whether every value of a type is exact in another, without looking at values."""
    have = storable(have)
    if have == kind or pa.types.is_null(have):
        return True
    if pa.types.is_integer(have) and pa.types.is_integer(kind):
        wider = kind.bit_width > have.bit_width
        return bool(wider and (_is_signed(kind) or not _is_signed(have)))
    if pa.types.is_integer(have) and pa.types.is_float64(kind):
        return bool(have.bit_width <= 32)
    return bool(pa.types.is_floating(have) and pa.types.is_floating(kind))


# --- families of types that have a common one


def _is_signed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_signed_integer(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_exact(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _integers(kinds: Sequence[pa.DataType]) -> list[pa.DataType]:
    unsigned = max((kind.bit_width for kind in kinds if not _is_signed(kind)), default=0)
    signed = max((kind.bit_width for kind in kinds if _is_signed(kind)), default=0)
    if not signed:
        return [max(kinds, key=lambda kind: kind.bit_width)]
    width = max(signed, 2 * unsigned)
    if width <= 64:
        return [_SIGNED[width]]
    return [pa.int64(), pa.uint64(), pa.decimal128(20, 0)]


def _numbers(kinds: Sequence[pa.DataType]) -> list[pa.DataType]:
    if all(pa.types.is_floating(kind) for kind in kinds):
        return [max(kinds, key=lambda kind: kind.bit_width)]
    return [pa.float64()]


def _decimals(kinds: Sequence[pa.DataType]) -> list[pa.DataType]:
    scale = max(kind.scale for kind in kinds if pa.types.is_decimal(kind))
    whole = max(
        kind.precision - kind.scale
        if pa.types.is_decimal(kind)
        else _DIGITS[kind.bit_width] + (kind == pa.uint64())
        for kind in kinds
    )
    precision = whole + max(0, scale)
    if precision > 76:
        return []
    return [(pa.decimal128 if precision <= 38 else pa.decimal256)(precision, max(0, scale))]


def _units(kinds: Sequence[pa.DataType]) -> list[str]:
    """From the finest unit of these types to the coarsest."""
    places = [_UNITS.index(kind.unit) for kind in kinds]
    return [_UNITS[place] for place in range(max(places), min(places) - 1, -1)]


def _timestamps(kinds: Sequence[pa.DataType]) -> list[pa.DataType]:
    zones = {kind.tz for kind in kinds}
    if None in zones and len(zones) > 1:
        return []  # no instant is known for times without a zone
    zone = zones.pop() if len(zones) == 1 else "UTC"
    return [pa.timestamp(unit, zone) for unit in _units(kinds)]


def _durations(kinds: Sequence[pa.DataType]) -> list[pa.DataType]:
    return [pa.duration(unit) for unit in _units(kinds)]


def _times(kinds: Sequence[pa.DataType]) -> list[pa.DataType]:
    finest = _units(kinds)[0]
    return [pa.time64(finest) if finest in ("us", "ns") else pa.time32(finest)]


def _bytes(kinds: Sequence[pa.DataType]) -> list[pa.DataType]:
    if any(is_text(kind) for kind in kinds):
        return [pa.string()]
    large = any(pa.types.is_large_binary(kind) for kind in kinds)
    return [pa.large_binary() if large else pa.binary()]


def _lists(kinds: Sequence[pa.DataType]) -> list[pa.DataType]:
    sizes = {kind.list_size if pa.types.is_fixed_size_list(kind) else -1 for kind in kinds}
    size = sizes.pop() if len(sizes) == 1 else -1
    large = any(pa.types.is_large_list(kind) for kind in kinds)
    members = common_types([kind.value_type for kind in kinds])
    return [pa.large_list(kind) if large else pa.list_(kind, size) for kind in members]


def _structs(kinds: Sequence[pa.DataType]) -> list[pa.DataType]:
    members: dict[str, list[pa.DataType]] = {}
    for kind in kinds:
        names = [field.name for field in kind]
        if len({*names}) < len(names):
            return []
        for field in kind:
            members.setdefault(field.name, []).append(field.type)
    choices = product(*(common_types(of) for of in members.values()))
    return [
        pa.struct(list(zip(members, chosen, strict=True)))
        for chosen in islice(choices, _MOST_COMBINATIONS)
    ]


def _maps(kinds: Sequence[pa.DataType]) -> list[pa.DataType]:
    keys = common_types([kind.key_type for kind in kinds])
    items = common_types([kind.item_type for kind in kinds])
    return [pa.map_(key, item) for key, item in islice(product(keys, items), _MOST_COMBINATIONS)]


_FAMILIES: tuple[
    tuple[Callable[[pa.DataType], bool], Callable[[Sequence[pa.DataType]], list[pa.DataType]]], ...
] = (
    (pa.types.is_integer, _integers),
    (_is_number, _numbers),
    (_is_exact, _decimals),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_duration, _durations),
    (pa.types.is_time, _times),
    (pa.types.is_date, lambda _: [pa.date32()]),
    (lambda kind: is_text(kind) or is_bytes(kind), _bytes),
    (is_list, _lists),
    (pa.types.is_struct, _structs),
    (pa.types.is_map, _maps),
)


# --- values as text, where no type holds them all


def as_text(array: pa.Array) -> pa.Array:
    """Any array as text: numbers in digits, times in ISO 8601 (UTC where they have a zone).

    Lists, structs and maps become JSON. Bytes that are not UTF-8 are written as ``\\xff``.
    """
    array = plain_array(array)
    kind = array.type
    if pa.types.is_null(kind) or pa.types.is_string(kind):
        return readable_text(array, "backslashreplace")
    if is_bytes(kind):
        cells = array.to_pylist()
        return pa.array(
            [cell if cell is None else cell.decode("utf-8", "backslashreplace") for cell in cells],
            pa.string(),
        )
    if pa.types.is_nested(kind):
        return pa.array(
            [
                None if cell is None else json.dumps(cell, ensure_ascii=False)
                for cell in _json_values(array)
            ],
            pa.string(),
        )
    return _scalar_text(array)


def cells_or_text(array: pa.Array) -> list[Any]:
    """An array's values as :func:`cells_of` gives them, and the text of those that Python cannot
    represent, such as times after the year 9999."""
    array = plain_array(array)
    cells = cells_of(array, "backslashreplace")
    if cells.count(None) > array.null_count:
        for place, there in enumerate(array.is_valid().to_pylist()):
            if there and cells[place] is None:
                (cells[place],) = as_text(array.slice(place, 1)).to_pylist()
    return cells


def _scalar_text(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_duration(kind):
        numbers = array.cast(pa.int64()).to_pylist()
        cells = [None if number is None else f"{number} {kind.unit}" for number in numbers]
        return pa.array(cells, pa.string())
    if pa.types.is_float16(kind):
        array = array.cast(pa.float32())
    zone = ""
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        array, zone = array.view(pa.timestamp(kind.unit)), "Z"  # needs no database of zones
    text = array.cast(pa.string())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # Arrow says "<value out of range: N>" for years it cannot write, and with a zone nonsense.
        return pa.array([_time_text(cell, zone) for cell in text.to_pylist()], pa.string())
    return text


def _time_text(cell: str | None, zone: str) -> str | None:
    if cell is None:
        return None
    number = cell.removeprefix("<value out of range: ")
    return f"{cell}{zone}" if number == cell else number.removesuffix(">")


def _json_values(array: pa.Array) -> list[Any]:
    """An array's values as JSON holds them."""
    kind = array.type
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        columns = [_json_values(member) for member in array.flatten()]
        rows = zip(*columns, strict=True) if columns else [()] * len(array)
        values: list[Any] = [dict(zip(names, row, strict=True)) for row in rows]
    elif pa.types.is_map(kind):
        keys, items = map_entries(array)
        pairs = list(zip(as_text(keys).to_pylist(), _json_values(items), strict=True))
        ends = (pc.subtract(array.offsets, array.offsets[0])).to_pylist()
        values = [dict(pairs[start:end]) for start, end in pairwise(ends)]
    elif is_list(kind):
        members = _json_values(list_values(array))
        whole = rebuilt_list(array, pa.array(range(len(members)), pa.int64()), pa.list_(pa.int64()))
        ends = whole.offsets.to_pylist()
        values = [members[start:end] for start, end in pairwise(ends)]
    elif pa.types.is_boolean(kind) or _is_number(kind) or pa.types.is_null(kind):
        return list(array.to_pylist())
    else:
        return list(as_text(array).to_pylist())
    valid = array.is_valid().to_pylist()
    return [value if there else None for value, there in zip(values, valid, strict=True)]
