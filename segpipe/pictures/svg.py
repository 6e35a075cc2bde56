"""What charts are drawn with: text, bars and marks, as SVG."""

from __future__ import annotations

import html
from collections.abc import Iterator

#: Of a chart, in pixels; and the colours of its ground, words, lesser words, and bars.
WIDTH = 600
PAPER, INK, FAINT, BAR = "#fafaf8", "#1e1e1e", "#8a8a86", "#0072b2"
LABEL_CHARACTERS = 22


def fitted(label: str) -> str:
    """A label on one line, truncated to the space beside its bar, of characters valid in XML."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in label).split())
    cut = plain[: LABEL_CHARACTERS - 1] + "…" if len(plain) > LABEL_CHARACTERS else plain
    return cut or "(no name)"


def text(
    x: float, y: float, words: str, *, anchor: str = "start", fill: str = INK, weight: str = ""
) -> str:
    """A line of text that begins, ends or has its middle (``anchor``) at x, y."""
    bold = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{bold}>'
        f"{html.escape(words)}</text>"
    )


def mark(x: float, y: float, tall: float) -> str:
    """A thick upright line from x, y, so many pixels tall."""
    return (
        f'<line x1="{x:.2f}" x2="{x:.2f}" y1="{y:.1f}" y2="{y + tall:.1f}" stroke="{INK}" '
        'stroke-width="2"/>'
    )


def svg(height: float, lines: list[str]) -> str:
    """The ``<svg>`` element of elements.

    Args:
        height: of the chart, in pixels.
    """
    return "\n".join(_document(height, lines))


def _document(height: float, lines: list[str]) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" font-family="system-ui, sans-serif" font-size="12">'
    )
    yield f'<rect width="{WIDTH}" height="{height:.0f}" fill="{PAPER}"/>'
    yield from lines
    yield "</svg>"
