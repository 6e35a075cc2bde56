"""Segment metadata in the one form in which equal meanings compare equal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from segpipe.errors import MetadataError
from segpipe.predictions.json_text import EXACT, numbers_text

# json.dumps would build such an encoder for every call.
_CANONICAL_JSON = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode
_MAX_DEPTH = 16
_MAX_EXACT_FLOAT = 2**53
_PLAIN_NUMBERS = frozenset({int, float})


def confidence_of(metadata: Mapping[str, Any]) -> float | None:
    """``metadata["confidence"]`` as a float; None when absent or not a number."""
    value = metadata.get("confidence")
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def canonical_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata in the one form in which equal meanings compare equal.

    Parquet structs give every row the keys of all rows, as nulls, and turn ``1`` into ``1.0``;
    so null members are dropped and integral floats become integers (as RFC 8785 writes them).
    Times become ISO 8601 strings; NumPy scalars become Python's.

    Raises:
        MetadataError: naming the key, for NaN, infinities, bytes, keys that are not strings,
            text that is not valid Unicode, and nesting deeper than 16.
    """
    canonical = _canonical(metadata, "metadata", 0)
    if not isinstance(canonical, dict):
        raise MetadataError(f"metadata is {type(metadata).__name__}, expected an object")
    return canonical


def metadata_json(canonical: Mapping[str, Any]) -> str:
    """Canonical metadata as JSON text: keys sorted, no spaces, Unicode as it is."""
    return _CANONICAL_JSON(canonical)


def canonical_form(metadata: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """:func:`canonical_metadata` of metadata and its :func:`metadata_json`.

    Fast path: most metadata is a few plain values that are canonical already, and is recognized
    and serialized in a fraction of the time.

    Raises:
        MetadataError: as :func:`canonical_metadata` does.
    """
    if type(metadata) is dict and (len(metadata) < 2 or all(type(key) is str for key in metadata)):
        members = []
        replaced: dict[str, Any] = {}
        for key, value in metadata.items() if len(metadata) < 2 else sorted(metadata.items()):
            text = _plain_text(value)
            if text is None and type(value) is dict and len(value) > 1:
                numbers = _named_numbers(value)
                if numbers is not None:
                    replaced[key], text = numbers
            if text is None or type(key) is not str or not key.isascii():
                break
            members.append(f"{encode_basestring(key)}:{text}")
        else:
            canonical = {**metadata, **replaced} if replaced else metadata
            return canonical, f"{{{','.join(members)}}}"
    canonical = canonical_metadata(metadata)
    return canonical, metadata_json(canonical)


def _named_numbers(given: dict[Any, Any]) -> tuple[dict[str, float], str] | None:
    """An object of plain numbers, as class PDFs are, in canonical form and as JSON; else None."""
    numbers = given.values()
    if not _PLAIN_NUMBERS.issuperset(map(type, numbers)):
        return None
    lowest, highest = min(numbers), max(numbers)
    if not (lowest >= 0 and highest < EXACT and sum(numbers) < math.inf):  # as NaN is not
        return None
    if lowest == 0 or highest >= 1:  # integral ones, it may be
        given = {name: int(one) if one % 1 == 0 else one for name, one in given.items()}
    text = numbers_text(given)
    return None if text is None else (given, text)


def _plain_text(value: Any) -> str | None:
    """A plain value as JSON, where canonical metadata holds it as it is; else None."""
    kind = type(value)
    if kind is float:
        # Whole ones become integers, and the others may not be finite.
        return float.__repr__(value) if value % 1 != 0 and value - value == 0 else None
    if kind is str:
        return encode_basestring(value) if value.isascii() else None
    return int.__repr__(value) if kind is int else None


def _canonical(value: Any, path: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise MetadataError(f"{path} is nested deeper than {_MAX_DEPTH} levels")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _unicode(value, path)
    if isinstance(value, float):
        return _number(value, path)
    if isinstance(value, Mapping):
        return {
            _key(key, path): _canonical(member, f"{path}.{key}", depth + 1)
            for key, member in value.items()
            if member is not None
        }
    if isinstance(value, (list, tuple)):
        return [
            _canonical(member, f"{path}[{place}]", depth + 1) for place, member in enumerate(value)
        ]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _number(float(value), path)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return _canonical(value.tolist(), path, depth + 1)
    raise MetadataError(f"{path} is {type(value).__name__}, which JSON cannot hold")


def _number(value: float, path: str) -> float | int:
    if not math.isfinite(value):
        raise MetadataError(f"{path} is {value}, which JSON cannot hold")
    if value.is_integer() and abs(value) <= _MAX_EXACT_FLOAT:
        return int(value)
    return value


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise MetadataError(f"{path} has the key {key!r}, expected text")
    return _unicode(key, path)


def _unicode(text: str, path: str) -> str:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise MetadataError(f"{path} is not valid Unicode text") from None
    return text
