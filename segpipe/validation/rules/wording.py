"""Numbers in the messages of findings."""

from __future__ import annotations


def percent(part: int, whole: int) -> str:
    """``5.7 %``; a part greater than 0 is never shown as ``0.0 %``."""
    share = 100.0 * part / whole
    if part and share < 0.1:
        return "< 0.1 %"
    return f"{share:.1f} %"


def count(pixels: int) -> str:
    """A count of pixels, thousands separated: ``9 830 px``."""
    return f"{pixels:,} px".replace(",", " ")
