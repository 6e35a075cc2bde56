"""The legend of a picture: a line per entry, its look in a box before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from segpipe.pictures.blending import hatched
from segpipe.pictures.text import Text, line_height

#: Colours of a picture's background and of its text.
PAPER, INK = (250, 250, 248), (30, 30, 30)
_FAINT = (95, 95, 92)


@dataclass(frozen=True)
class Line:
    """A line of a legend.

    Attributes:
        swatch: red, green and blue, 0 to 255, as in the picture; None for a line that belongs to
            the one above it.
        text: truncated where there is no room for it.
        end: shown whole, after the text.
        hatched: whether the swatch is.
    """

    swatch: Sequence[float] | None
    text: str
    end: str = ""
    hatched: bool = False


@dataclass(frozen=True)
class Legend:
    """Lines in columns beside a picture; where some do not fit, the last tells how many.

    Attributes:
        size: of the text, in pixels.
        rows: lines of a column.
        widest: of a column, in pixels.
        most_columns: more than these are not drawn.
    """

    lines: Sequence[Line]
    size: int
    rows: int
    widest: int
    most_columns: int = 1

    @property
    def columns(self) -> int:
        """Number of columns that are drawn."""
        return min(self.most_columns, -(-len(self.lines) // self.rows)) or 1

    @property
    def column_width(self) -> int:
        """Width of a column in pixels, with what keeps it from the next."""
        needed = (
            Text.of(one.text, self.size).width + Text.of(f"  {one.end}", self.size).width
            for one in self._shown()
        )
        widest = self.widest if self.columns < 3 else 2 * self.widest // 3
        return min(widest, int(max(needed, default=0)) + round(3.4 * self.size))

    @property
    def height(self) -> int:
        """Height in pixels."""
        rows = min(self.rows, len(self.lines))
        return rows * line_height(self.size) + self.size // 2

    def _shown(self) -> Sequence[Line]:
        room = self.rows * self.columns
        return self.lines if len(self.lines) <= room else self.lines[: room - 1]

    def draw(self, sheet: Image.Image, corner: tuple[int, int]) -> None:
        """Draw it.

        Args:
            corner: x and y of its upper left corner, in pixels.
        """
        draw = ImageDraw.Draw(sheet)
        tall, width = line_height(self.size), self.column_width
        shown = self._shown()
        for place, line in enumerate(shown):
            x = corner[0] + place // self.rows * width
            y = corner[1] + place % self.rows * tall
            self._draw_line(sheet, draw, line, (x, y, width))
        left = sum(line.swatch is not None for line in self.lines[len(shown) :])
        if left:
            x = corner[0] + (self.columns - 1) * width
            y = corner[1] + (self.rows - 1) * tall
            Text.of(f"and {left} more", self.size).draw(draw, (x, y), INK)

    def _draw_line(
        self,
        sheet: Image.Image,
        draw: ImageDraw.ImageDraw,
        line: Line,
        place: tuple[int, int, int],
    ) -> None:
        x, y, width = place
        size = self.size
        if line.swatch is not None:
            red, green, blue = (int(part) for part in line.swatch)
            box = (x, y + size // 6, x + size, y + size // 6 + size)
            draw.rectangle(box, fill=(red, green, blue), outline=INK)
            if line.hatched:
                lines = Image.fromarray(hatched((size - 1, size - 1), max(1, size // 12)))
                sheet.paste(INK, (box[0] + 1, box[1] + 1), lines.convert("L"))
        left, fill = x + round(1.45 * size), INK if line.swatch is not None else _FAINT
        end = Text.of(line.end, size)
        gap = 0.7 * size if line.end else 0
        text = Text.of(line.text, size, width - 2.4 * size - gap - end.width)
        text.draw(draw, (left, y), fill)
        end.draw(draw, (left + text.width + gap, y), fill)
