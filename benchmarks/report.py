"""Results as Markdown tables and a chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.cases import LONG, PILLOW, SHORT, USUAL, Measured

#: Where figures go; not under version control.
RESULTS = Path(__file__).resolve().parent / "results"

_BAR, _ROW, _LEFT, _WIDTH = 16, 26, 250, 760
# Blue for segpipe, orange for others: told apart by everybody.
_OWN, _OTHER = "#0072b2", "#e69f00"


def whole_table(measured: Sequence[Measured]) -> str:
    """Everything end to end, by size and kind, as ratios to decoding."""
    lines = [
        "| masks | Pillow decode, ms | segpipe, ms | x decode | without `fast` | usual code |",
        "|---|---|---|---|---|---|",
    ]
    for one in measured:
        width, height = one.case.shape
        cells = [f"{width} x {height}, {one.case.kind}", _ms(one, PILLOW)]
        cells += [_ms(one, SHORT), _ratio(one, SHORT), _ratio(one, LONG), _ratio(one, USUAL)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def stage_table(one: Measured) -> str:
    """The stages of a case, both ways."""
    ways = one.ways
    names = dict.fromkeys(name for way in ways for name in one.stages[way].by_block)
    lines = [f"| stage | {', ms | '.join(ways)}, ms |", f"|---|{'---|' * len(ways)}"]
    for name in names:
        cells = [
            f"{one.stages[way].milliseconds(name):.3f}" if name in one.stages[way].by_block else "-"
            for way in ways
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def peers_table(ratios: Sequence[tuple[str, float | str]], own: float) -> str:
    """Others on the same masks, as ratios to decoding and to segpipe."""
    lines = ["| what | x decode | x segpipe |", "|---|---|---|"]
    for name, found in ratios:
        if isinstance(found, str):
            lines.append(f"| {name} | {found} | |")
        else:
            lines.append(f"| {name} | {found:.2f} | {found / own:.1f} |")
    return "\n".join(lines)


def chart(ratios: Sequence[tuple[str, float]]) -> str:
    """Bars of ratios to decoding, longest last, as SVG."""
    most = max(ratio for _, ratio in ratios)
    height = _ROW * len(ratios) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="20">Time per 640 x 480 mask, as a multiple of Pillow\'s decoding</text>',
    ]
    for place, (name, ratio) in enumerate(sorted(ratios, key=lambda one: one[1])):
        y = 34 + place * _ROW
        length = max(2, (_WIDTH - _LEFT - 70) * ratio / most)
        fill = _OWN if name.startswith("segpipe") else _OTHER
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{length:.0f}" height="{_BAR}" fill="{fill}"/>',
            f'<text x="{_LEFT + length + 6:.0f}" y="{y + 13}">{ratio:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _ms(one: Measured, name: str) -> str:
    return f"{one.whole.milliseconds(name):.3f}" if name in one.whole.by_block else "-"


def _ratio(one: Measured, name: str) -> str:
    return f"{one.ratio(name):.2f}" if name in one.whole.by_block else "-"
