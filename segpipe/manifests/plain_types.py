"""Arrow types in their plain form: one type for what writers store in many.

Extension types become their storage, UUIDs their text form, dictionaries their values, and views
and large text the usual list, text and binary types.
"""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# Bytes that are reserved without need.
_MOST_RESERVED = 64_000_000
_UUID, _BOOL8 = "arrow.uuid", "arrow.bool8"


def is_text(kind: pa.DataType) -> bool:
    """Whether the type is one of Arrow's string types."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_bytes(kind: pa.DataType) -> bool:
    """Whether the type is one of Arrow's binary types."""
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    """Whether the type is one of Arrow's list types; maps are not."""
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


@lru_cache(maxsize=4096)
def plain_type(kind: pa.DataType) -> pa.DataType:
    """The plain form of a type, members included; the type itself if it is plain already."""
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == _UUID:
            return pa.string()
        return pa.bool_() if kind.extension_name == _BOOL8 else plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if is_text(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    if is_list(kind):
        return _plain_list(kind)
    if pa.types.is_struct(kind):
        members = [plain_type(field.type) for field in kind]
        if members == [field.type for field in kind]:
            return kind
        return pa.struct(
            [pa.field(field.name, plain) for field, plain in zip(kind, members, strict=True)]
        )
    if pa.types.is_map(kind):
        key, item = plain_type(kind.key_type), plain_type(kind.item_type)
        return kind if (key, item) == (kind.key_type, kind.item_type) else pa.map_(key, item)
    return kind


def _plain_list(kind: pa.DataType) -> pa.DataType:
    value = plain_type(kind.value_type)
    if pa.types.is_list_view(kind):
        return pa.list_(value)
    if pa.types.is_large_list_view(kind):
        return pa.large_list(value)
    if value == kind.value_type:
        return kind
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(value, kind.list_size)
    return pa.large_list(value) if pa.types.is_large_list(kind) else pa.list_(value)


def plain_array(array: pa.Array) -> pa.Array:
    """An array in its :func:`plain_type`; the array itself if that is its type already.

    Text that is not UTF-8 is kept byte for byte.
    """
    kind = array.type
    target = plain_type(kind)
    if kind == target:
        return array
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_extension(array)
    if pa.types.is_dictionary(kind):
        return plain_array(_decoded(array))
    if pa.types.is_run_end_encoded(kind):
        return plain_array(pc.run_end_decode(array))
    if is_list(kind):
        return rebuilt_list(array, plain_array(list_values(array)), target)
    if pa.types.is_struct(kind):
        return rebuilt_struct(array, [plain_array(member) for member in array.flatten()], target)
    if pa.types.is_map(kind):
        keys, items = map_entries(array)
        return rebuilt_map(array, plain_array(keys), plain_array(items), target)
    return array.cast(target)


def _decoded(array: pa.DictionaryArray) -> pa.Array:
    entries, count = array.dictionary, len(array)
    if len(entries) and entries.nbytes // len(entries) * count > _MOST_RESERVED:
        # Arrow reserves the average entry for every value, also for nulls and short ones.
        used = pc.unique(array.indices).drop_null()
        indices = pc.index_in(array.indices, value_set=used)
        array = pa.DictionaryArray.from_arrays(indices, entries.take(used))
        if not len(used):
            return pa.nulls(count, entries.type)
    return array.dictionary_decode()


def _plain_extension(array: pa.Array) -> pa.Array:
    storage = array.storage
    if array.type.extension_name == _UUID:
        cells = storage.to_pylist()
        return pa.array(
            [None if cell is None else str(UUID(bytes=cell)) for cell in cells], pa.string()
        )
    return storage.cast(pa.bool_()) if array.type.extension_name == _BOOL8 else plain_array(storage)


def list_values(array: pa.Array) -> pa.Array:
    """The members of all lists, in order, for :func:`rebuilt_list`."""
    if pa.types.is_fixed_size_list(array.type):  # lists that are null have members, too
        size = array.type.list_size
        return array.values.slice(array.offset * size, len(array) * size)
    return array.flatten()


def list_ends(array: pa.Array) -> NDArray[np.int64]:
    """Where each list of an array begins in its ``values``, and where the last ends; N + 1 of them.

    Args:
        array: of lists, large or of fixed size, too; no views.
    """
    if pa.types.is_fixed_size_list(array.type):
        ends: NDArray[np.int64] = np.arange(len(array) + 1) + array.offset
        ends *= array.type.list_size
        return ends
    return np.asarray(array.offsets.to_numpy(), np.int64)


def rebuilt_list(array: pa.Array, values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Lists as long as those of an array, null where they are null, of other members.

    Args:
        values: as many as :func:`list_values` gives.
        kind: a list type of them. Of fixed size only if the array's is, and of the same.
    """
    nothing = array.is_null() if array.null_count else None
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=nothing)
    if pa.types.is_fixed_size_list(array.type):
        offsets = np.arange(len(array) + 1, dtype=np.int64) * array.type.list_size
    else:
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    if pa.types.is_large_list(kind):
        return pa.LargeListArray.from_arrays(pa.array(offsets), values, type=kind, mask=nothing)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=kind, mask=nothing)


def rebuilt_struct(array: pa.Array, members: list[pa.Array], kind: pa.DataType) -> pa.Array:
    """Structs of a struct type, null where an array's are, of these members."""
    nothing = array.is_null() if array.null_count else None
    if not members:
        return array.cast(kind)
    return pa.StructArray.from_arrays(members, fields=list(kind), mask=nothing)


def map_entries(array: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The keys and the items of all maps, in order."""
    ends = array.offsets
    first = ends[0].as_py() if len(ends) else 0
    count = (ends[-1].as_py() if len(ends) else 0) - first
    return array.keys.slice(first, count), array.items.slice(first, count)


def rebuilt_map(array: pa.Array, keys: pa.Array, items: pa.Array, kind: pa.DataType) -> pa.Array:
    """Maps as long as those of an array, null where they are null, of these entries."""
    offsets = pc.subtract(array.offsets, array.offsets[0])
    nothing = array.is_null() if array.null_count else None
    return pa.MapArray.from_arrays(offsets, keys, items, type=kind, mask=nothing)
