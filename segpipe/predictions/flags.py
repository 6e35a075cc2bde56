"""Flags in Segments' metadata, such as ``isthing``, in any of the forms in which they come."""

from __future__ import annotations


def flag_of(value: object) -> bool | None:
    """True or false, in any of the accepted forms; None for any other value."""
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower())
    return bool(value) if value in (0, 1) else None
