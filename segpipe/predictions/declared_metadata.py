"""Keys of metadata that are declared with a type, so that they are columns and can be queried."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

_INT64 = range(-(2**63), 2**63)


class MetadataType(StrEnum):
    """The type of a declared key's values."""

    STRING = "string"
    FLOAT = "float"
    BOOL = "bool"
    INT = "int"


#: Key -> type, in the order of the columns.
Declared = Mapping[str, MetadataType]


def typed_value(value: Any, kind: MetadataType) -> str | float | bool | int | None:
    """A value of canonical metadata as the column holds it; None where it is of another type.

    Nothing is converted but whole numbers to floats, which JSON does not tell apart: text that
    spells a number is text, and true and false are no numbers.

    Args:
        value: canonical; see :func:`segpipe.predictions.metadata.canonical_metadata`.
    """
    if kind is MetadataType.STRING:
        return value if isinstance(value, str) else None
    if kind is MetadataType.BOOL:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if kind is MetadataType.INT:
        return value if isinstance(value, int) and value in _INT64 else None
    try:
        return float(value)
    except OverflowError:
        return None


def mistyped(metadata: Mapping[str, Any], declared: Declared) -> list[str]:
    """The declared keys whose value is of another type."""
    return [
        key
        for key, kind in declared.items()
        if metadata.get(key) is not None and typed_value(metadata[key], kind) is None
    ]
