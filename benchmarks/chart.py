"""Bars of ratios to decoding, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

_BAR, _ROW, _TOP, _LEFT, _WIDTH, _VALUES = 16, 26, 54, 250, 760, 70
# Blue for segpipe, orange for others: told apart by everybody.
_PAPER, _INK, _FAINT, _OWN, _OTHER = "#fafaf8", "#1e1e1e", "#6a6a66", "#0072b2", "#e69f00"


def chart(ratios: Sequence[tuple[str, float]]) -> str:
    """A bar for each name, the longest last, and a line at decoding's own time."""
    most = max([1.0, *(ratio for _, ratio in ratios)])
    scale = (_WIDTH - _LEFT - _VALUES) / most
    height = _TOP + _ROW * len(ratios) + 8
    one = _LEFT + scale
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="{_PAPER}"/>',
        _text(12, 20, "time per 640 x 480 mask, as a multiple of Pillow's decoding alone", _INK),
        _text(one + 5, _TOP - 8, "1: decoding", _FAINT),
    ]
    for place, (name, ratio) in enumerate(sorted(ratios, key=lambda pair: pair[1])):
        y = _TOP + place * _ROW
        length = max(2.0, ratio * scale)
        fill = _OWN if name.startswith("segpipe") else _OTHER
        parts += [
            _text(_LEFT - 8, y + 13, name, _INK, anchor="end"),
            f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{fill}"/>',
            _text(max(_LEFT + length, one) + 6, y + 13, f"{ratio:.2f}", _INK),
        ]
    parts.append(
        f'<line x1="{one:.1f}" x2="{one:.1f}" y1="{_TOP - 18}" y2="{height - 8}" '
        f'stroke="{_INK}" stroke-dasharray="4 3"/>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, words: str, fill: str, *, anchor: str = "start") -> str:
    placed = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"'
    return f"<text {placed}>{escape(words)}</text>"
