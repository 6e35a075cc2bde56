"""Opaque, URL-safe names: of a row, and of a place in a list.

They name what they mean, and are only ever looked up among the rows of a snapshot.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from segpipe.viewer.refusal import RequestRefused
from segpipe.viewer.snapshot import KIND_OF, Snapshot

_LONGEST = 8000


def encoded(value: Any) -> str:
    """A value of JSON as text for an address."""
    return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode("ascii")


def decoded(text: str, what: str) -> Any:
    """The value that a text was made of.

    Args:
        what: its name, for messages.

    Raises:
        RequestRefused: if it is none.
    """
    try:
        if len(text) > _LONGEST:
            raise ValueError
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return orjson.loads(data)
    except (binascii.Error, ValueError):
        raise RequestRefused(f"the {what} is not one of this page: it is cut or changed") from None


def key_of(snapshot: Snapshot, row: int) -> str:
    """The key of a row: what it is of, and a part of its fingerprint."""
    id, dataset, run, kind, _, _ = snapshot.identity(row)
    date = snapshot.date_of(row)
    return encoded([kind, dataset, run, date, id, f"{int(snapshot.rows.key[row]):016x}"])


def row_of(snapshot: Snapshot, key: str) -> tuple[int, bool]:
    """The row that a key names, and whether it is still of the same content.

    Raises:
        RequestRefused: if there is none any more, or it is no key.
    """
    kind, dataset, run, date, id, content = parts_of(key)
    candidates = [
        row for row in snapshot.of_item(dataset, id)
        if snapshot.group_of(row).model_run == run
        and int(KIND_OF[snapshot.rows.outcome[row]]) == kind
        and (kind == 0 or snapshot.date_of(row) == date)
    ]  # fmt: skip
    for row in candidates:
        if f"{int(snapshot.rows.key[row]):016x}" == content:
            return row, True
    if candidates:
        return candidates[0], False
    raise RequestRefused(f"{id!r} of model run {run!r} is not there any more", 404)


def parts_of(key: str) -> tuple[int, str, str, str, str, str]:
    """What a key names: kind, dataset, model run, day, reference id, part of the fingerprint.

    Raises:
        RequestRefused: if it is no key.
    """
    value = decoded(key, "key")
    fits = isinstance(value, list) and len(value) == 6 and isinstance(value[0], int)
    if not fits or not all(isinstance(one, str) for one in value[1:]):
        raise RequestRefused("the key is not one of this page: it is cut or changed")
    kind, dataset, run, date, id, content = value
    return kind, dataset, run, date, id, content
