"""How findings list things: the first ten, and how many there are besides."""

from __future__ import annotations

from collections.abc import Sequence


def listed(items: Sequence[str], most: int = 10) -> str:
    """``a, b, c and 4 more``."""
    text = ", ".join(items[:most])
    return text if len(items) <= most else f"{text} and {len(items) - most} more"


def percent(part: int, whole: int) -> str:
    """``5.7 %``; a part that is there is never shown as nothing."""
    share = 100.0 * part / whole
    if part and share < 0.1:
        return "< 0.1 %"
    return f"{share:.1f} %"


def count(pixels: int) -> str:
    """Pixel counts with thin separators: ``9 830 px``."""
    return f"{pixels:,} px".replace(",", " ")
