"""Words under a picture, wrapped to its width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw

from segpipe.pictures.legend import INK, PAPER
from segpipe.pictures.text import Text, line_height

# Lines of a note, and of all notes; the command line prints them whole.
_LINES_OF_NOTE, _MOST_LINES = 6, 40
_LEAST_WIDTH = 480


def with_notes(picture: Image.Image, notes: Sequence[str], size: int) -> Image.Image:
    """The picture with notes under it; long ones are cut, and of many it says how many more.

    Args:
        size: of the text, in pixels.
    """
    if not notes:
        return picture
    width = max(picture.width, _LEAST_WIDTH)
    lines: list[tuple[str, bool]] = []
    for place, note in enumerate(notes):
        if len(lines) >= _MOST_LINES:
            lines.append((f"and {len(notes) - place} more findings", True))
            break
        wrapped = list(_wrapped(note, size, width - 2 * size))
        lines += [(line, n == 0) for n, line in enumerate(wrapped)]
    tall = line_height(size)
    sheet = Image.new("RGB", (width, picture.height + len(lines) * tall + size), PAPER)
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for place, (line, first) in enumerate(lines):
        left = size // 3 if first else size
        y = picture.height + size // 2 + place * tall
        Text.of(line, size, width - left - size // 3).draw(draw, (left, y), INK)
    return sheet


def _wrapped(note: str, size: int, width: float) -> Iterator[str]:
    """The note in lines; the last says that there is more, where there is."""
    line, lines = "", 0
    for word in note.split():
        longer = f"{line} {word}" if line else word
        if line and Text.of(longer, size).width > width:
            lines += 1
            if lines == _LINES_OF_NOTE:
                yield f"{line} ..."
                return
            yield line
            line = word
        else:
            line = longer
    if line:
        yield line
