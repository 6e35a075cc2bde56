"""The legend of a picture: a line per entry, its colour in a box before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PIL import ImageDraw, ImageFont

#: Colours of a picture's background and of its text.
PAPER, INK = (250, 250, 248), (30, 30, 30)
_FAINT = (110, 110, 106)
#: Height of a line of text in pixels.
LINE = 17

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def text_font() -> Font:
    """The font of titles and legends."""
    return ImageFont.load_default(size=12)


def draw_legend(
    draw: ImageDraw.ImageDraw,
    font: Font,
    entries: Sequence[tuple[Iterable[float] | None, str]],
    corner: tuple[int, int],
    lines: int,
) -> None:
    """Draw as many entries as fit; where some do not, the last line has their number.

    Args:
        entries: colour (red, green and blue, 0 to 255) and text of each; a line without a colour
            belongs to the entry above it.
        corner: x and y of the first line's upper left corner, in pixels.
        lines: number of lines that fit.
    """
    x, y = corner
    shown = entries if len(entries) <= lines else entries[: lines - 1]
    for colour, text in shown:
        if colour is not None:
            red, green, blue = (int(part) for part in colour)
            draw.rectangle((x, y + 2, x + 11, y + 13), fill=(red, green, blue), outline=INK)
        draw.text((x + 17, y), text, fill=INK if colour is not None else _FAINT, font=font)
        y += LINE
    left = sum(colour is not None for colour, _ in entries[len(shown) :])
    if left:
        draw.text((x, y), f"and {left} more", fill=INK, font=font)
