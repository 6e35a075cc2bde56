"""Text in pictures: on one line, of letters a font has, as long as there is room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import ImageDraw, ImageFont

_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

_LEAST_SIZE, _LARGEST_SIZE = 12, 96
# Longer texts are cut before they are looked at.
_LONGEST = 300
# Pillow's own font is the same everywhere, and has no letters beyond ASCII. Where a system has one
# of these, it draws the texts that need them.
_OTHERS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "arial.ttf",
    "LiberationSans-Regular.ttf",
)
#: Ends a text that was cut.
ELLIPSIS = "..."


def text_size(longest_side: int) -> int:
    """The size of text for a picture of so many pixels: legible when it is looked at as a whole."""
    return min(_LARGEST_SIZE, max(_LEAST_SIZE, round(longest_side / 48)))


def line_height(size: int) -> int:
    """Height of a line of text in pixels."""
    return round(1.42 * size)


@dataclass(frozen=True)
class Text:
    """Text as it is drawn: on one line, characters without a letter in any font escaped.

    Attributes:
        words: what is drawn.
        font: that has its letters.
    """

    words: str
    font: _Font

    @classmethod
    def of(cls, text: str, size: int, width: float | None = None) -> Text:
        """Text of a size in pixels, cut to a width in pixels where one is given."""
        cut = text[:_LONGEST] + ELLIPSIS * (len(text) > _LONGEST)
        return cls(*_laid_out(cut, size, width))

    @property
    def width(self) -> float:
        """In pixels."""
        return self.font.getlength(self.words)

    def draw(
        self,
        draw: ImageDraw.ImageDraw,
        place: tuple[float, float],
        fill: Sequence[int],
        *,
        anchor: str = "la",
        stroke: int = 0,
    ) -> None:
        """Draw it at a place, by default of its upper left corner.

        Args:
            stroke: width of a black border around the letters, in pixels.
        """
        draw.text(
            place, self.words, fill=tuple(fill), font=self.font, anchor=anchor,
            stroke_width=stroke, stroke_fill=(0, 0, 0),
        )  # fmt: skip


@lru_cache(maxsize=4096)
def _laid_out(text: str, size: int, width: float | None) -> tuple[str, _Font]:
    """Words and font; kept, for the labels of a legend are those of the next."""
    name = _font_with(frozenset(text))
    font = _font(name, size)
    words = " ".join("".join(_shown(letter, name) for letter in text).split())
    return (words if width is None else _fitted(words, font, width)), font


def _fitted(words: str, font: _Font, width: float) -> str:
    if font.getlength(words) <= width:
        return words
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(words[:middle] + ELLIPSIS) <= width:
            low = middle
        else:
            high = middle - 1
    return words[:low] + ELLIPSIS


@lru_cache(maxsize=1024)
def _font_with(letters: frozenset[str]) -> str:
    """The name of the font that has most of the letters, Pillow's own where none is missing."""
    special = [one for one in letters if not one.isascii() and one.isprintable()]
    if not special:
        return ""
    names = ["", *(name for name in _OTHERS if _is_there(name))]
    return max(names, key=lambda name: sum(_has(name, one) for one in special))


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> _Font:
    return ImageFont.truetype(name, size) if name else ImageFont.load_default(size=size)


@lru_cache
def _is_there(name: str) -> bool:
    try:
        _font(name, 24)
    except OSError:
        return False
    return True


@lru_cache(maxsize=4096)
def _has(name: str, letter: str) -> bool:
    return _drawn(name, letter) != _drawn(name, "\uffff")


@lru_cache(maxsize=4096)
def _shown(letter: str, name: str) -> str:
    if letter.isspace():
        return " "
    if letter.isprintable() and (letter.isascii() or _has(name, letter)):
        return letter
    return letter.encode("unicode_escape").decode()


def _drawn(name: str, letter: str) -> bytes:
    mask = _font(name, 24).getmask(letter)
    return bytes(mask) + repr(mask.size).encode()
