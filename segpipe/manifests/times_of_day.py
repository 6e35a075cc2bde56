"""Times of day of Arrow's in nanoseconds, which Python has not: Arrow cuts them without a word."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def in_microseconds(value: Any) -> Any:
    """A scalar or array of Arrow's with its times of day in microseconds, however deep they are.

    Raises:
        pyarrow.ArrowInvalid: if one has nanoseconds beyond its microseconds.
        pyarrow.ArrowNotImplementedError: if Arrow has no cast of its type.
    """
    if isinstance(value, pa.Scalar) and not value.is_valid:
        return value
    kind = _type_in_microseconds(value.type)
    return value if kind == value.type else value.cast(kind)


def _type_in_microseconds(kind: pa.DataType) -> pa.DataType:
    """A type without times of day in nanoseconds comes back as it is; a dictionary and an extension
    become what they hold."""
    types = pa.types
    if kind == pa.time64("ns"):
        return pa.time64("us")
    inner = _inner_types(kind)
    made = [_type_in_microseconds(one) for one in inner]
    if made == inner:
        return kind
    if types.is_struct(kind):
        return pa.struct([one.with_type(new) for one, new in zip(kind, made, strict=True)])
    if types.is_map(kind):
        return pa.map_(*made)
    if types.is_fixed_size_list(kind):
        return pa.list_(made[0], kind.list_size)
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.large_list(made[0]) if types.is_large_list(kind) else pa.list_(made[0])
    if types.is_dictionary(kind) or isinstance(kind, pa.BaseExtensionType):
        return made[0]
    # Unions and run ends, and views of lists: Arrow 26 casts these to lists that lack members.
    raise pa.ArrowNotImplementedError(f"no cast of {kind}")


def _inner_types(kind: pa.DataType) -> list[pa.DataType]:
    if pa.types.is_map(kind):
        return [kind.key_type, kind.item_type]
    if pa.types.is_dictionary(kind):
        return [kind.value_type]
    if isinstance(kind, pa.BaseExtensionType):
        return [kind.storage_type]
    return [kind.field(place).type for place in range(kind.num_fields)]
