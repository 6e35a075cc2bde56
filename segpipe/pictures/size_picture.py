"""Two sizes in pixels, drawn to scale: that of a mask, and that of its image."""

from __future__ import annotations

from PIL import Image, ImageDraw

from segpipe.pictures.legend import INK, PAPER
from segpipe.pictures.text import Text, line_height, text_size

_MASK, _IMAGE = (213, 94, 0), (0, 114, 178)


def size_picture(
    mask: tuple[int, int], image: tuple[int, int], longest_side: int = 420
) -> Image.Image:
    """Both as rectangles with one corner in common, and their sizes in words.

    Args:
        mask, image: width and height.
        longest_side: of the larger one as it is drawn, in pixels.
    """
    size = text_size(longest_side)
    tall = line_height(size)
    scale = longest_side / max(*mask, *image)
    margin, line = size, max(2, size // 6)
    width = max(longest_side, 26 * size) + 2 * margin
    height = round(max(mask[1], image[1]) * scale) + 2 * margin + 2 * tall
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = 2 * tall + margin
    for place, (name, given, ink) in enumerate((("image", image, _IMAGE), ("mask", mask, _MASK))):
        right = margin + max(line, round(given[0] * scale))
        bottom = top + max(line, round(given[1] * scale))
        draw.rectangle((margin, top, right, bottom), outline=ink, width=line * (2 - place))
        y = size // 3 + place * tall
        draw.rectangle((margin, y + size // 6, margin + size, y + size), fill=ink)
        words = Text.of(f"{name}: {given[0]} x {given[1]} pixels", size)
        words.draw(draw, (margin + 1.5 * size, y), INK)
    return sheet
