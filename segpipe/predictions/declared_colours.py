"""The colours of labels that settings name, ``[policy.colours]``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from PIL import ImageColor

from segpipe.errors import SettingsError

_HEX = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})")


def declared_colours(given: object, shown: str) -> Mapping[str, str]:
    """The table of label = colour: a name that HTML has, such as ``seagreen``, or ``#2e8b57``.

    Args:
        shown: the file, for messages.

    Returns:
        label -> ``#rrggbb``.

    Raises:
        SettingsError: naming the label, with the nearest name of a colour.
    """
    if not isinstance(given, Mapping):
        raise SettingsError(
            f"{shown}: colours is {given!r}, expected a table [policy.colours] of label = colour"
        )
    return {label: _read(label, colour, shown) for label, colour in given.items()}


def _read(label: str, colour: object, shown: str) -> str:
    text = colour.strip().lower() if isinstance(colour, str) else ""
    if text not in ImageColor.colormap and not _HEX.fullmatch(text):
        close = difflib.get_close_matches(text, ImageColor.colormap, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise SettingsError(
            f"{shown}: the colour of {label!r} is {colour!r}, expected a name such as "
            f'"seagreen", or red, green and blue as "#2e8b57"{hint}'
        )
    parts = ImageColor.getrgb(text)[:3]
    return "#" + "".join(f"{part:02x}" for part in parts)
