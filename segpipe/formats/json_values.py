"""JSON from other programs: files, and the values in them, parsed strictly.

A value is accepted where there is exactly one lossless reading of it (42.0 is 42). For any other
the functions return None, so that the caller can refuse the record; nothing is truncated or
guessed.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from segpipe.errors import SettingsError, listed

#: Bytes of a JSON file. That of COCO's 118 000 training images has 450 million.
MOST_BYTES = 2_000_000_000
_SURROGATE = re.compile("[\ud800-\udfff]")
_BRIEF = 40
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def read_json(path: Path) -> Any:
    """Parse a JSON file. A lone surrogate in it becomes its escape sequence, ``\\udXXX``.

    Raises:
        SettingsError: if it cannot be read, is not JSON, or has more than MOST_BYTES.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise SettingsError(
                f"{path} has {size:,} bytes, and at most {MOST_BYTES:,} are read: once parsed, it "
                "takes several times as much memory. Split it"
            )
        data = path.read_bytes()
        content = json.loads(data)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not JSON: {error}") from None
    return _escaped_surrogates(content) if re.search(rb"\\u[dD][89a-fA-F]", data) else content


def json_text(content: Any) -> str:
    """Deterministic JSON text: keys are sorted."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True)


def kind_of(content: Any) -> str:
    """What parsed JSON is, in a few words, for messages."""
    if isinstance(content, dict):
        return "an object with " + (listed(list(content)) or "nothing in it")
    if isinstance(content, list):
        return f"a list of {len(content)}"
    return type(content).__name__


def identity(value: object) -> int | str | None:
    """An id: text, or a whole number (also as a float); None for any other value."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def number(value: object) -> float | None:
    """A finite number; None for any other value, text included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def flag(value: object) -> bool | None:
    """A boolean: true, 1, or either as text in any case; None for any other value."""
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    return bool(value) if isinstance(value, (int, float)) and value in (0, 1) else None


def brief(value: object) -> str:
    """A value's repr for a message, truncated where it is long."""
    text = repr(value)
    return text if len(text) <= _BRIEF else f"{type(value).__name__} {text[:_BRIEF]}..."


def _escaped_surrogates(content: Any) -> Any:
    if isinstance(content, str):
        return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", content)
    if isinstance(content, list):
        return [_escaped_surrogates(one) for one in content]
    if isinstance(content, dict):
        return {
            _escaped_surrogates(key): _escaped_surrogates(value) for key, value in content.items()
        }
    return content
