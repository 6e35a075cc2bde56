"""Lists and numbers in the messages of findings."""

from __future__ import annotations

from collections.abc import Sequence


def listed(items: Sequence[str], most: int = 10) -> str:
    """``a, b, c and 4 more``.

    Args:
        most: how many are listed.
    """
    text = ", ".join(items[:most])
    return text if len(items) <= most else f"{text} and {len(items) - most} more"


def percent(part: int, whole: int) -> str:
    """``5.7 %``; a part greater than 0 is never shown as ``0.0 %``."""
    share = 100.0 * part / whole
    if part and share < 0.1:
        return "< 0.1 %"
    return f"{share:.1f} %"


def count(pixels: int) -> str:
    """A count of pixels, thousands separated: ``9 830 px``."""
    return f"{pixels:,} px".replace(",", " ")
