"""Charts of an evaluation, as SVG: its classes, what they are confused with, its calibration."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.pictures.palette import Colour, hex_colour
from segpipe.pictures.svg import BAR, FAINT, INK, WIDTH, fitted, mark, svg, text

_MOST_CLASSES = 25
_MOST_CONFUSED = 12
_ROW, _TOP = 22, 34
_LABELS_WIDTH, _BARS_WIDTH = 150, 250
_GREY: Colour = (110.0, 110.0, 110.0)
_CELL, _SIDE = 30, 240


def class_bars(
    classes: pa.Table, colours: Mapping[str, Colour], before: pa.Table | None = None
) -> str:
    """A bar per class: its IoU, the lowest first.

    Args:
        classes: of an evaluation.
        colours: label -> red, green, blue, 0 to 255; other labels are grey.
        before: of the partition before, whose IoUs are marked on the bars.

    Returns:
        An ``<svg>`` element.
    """
    found = classes.filter(pc.is_valid(classes["IoU"])).sort_by(
        [("IoU", "ascending"), ("label", "ascending")]
    )
    old = {} if before is None else _by_label(before, "IoU")
    lines = [text(12, 20, "IoU by class, the lowest first", weight="600")]
    if before is not None:
        lines.append(mark(WIDTH - 152, 9, 14))
        lines.append(text(WIDTH - 144, 20, "in the partition before", fill=FAINT))
    shown = found.slice(0, _MOST_CLASSES).select(["label", "IoU", "PQ"]).to_pylist()
    for position, one in enumerate(shown):
        y, label, value = _TOP + position * _ROW, one["label"], one["IoU"]
        colour = hex_colour(colours.get(label, _GREY))
        lines.append(text(_LABELS_WIDTH, y + 14, fitted(label), anchor="end"))
        lines.append(
            f'<rect x="{_LABELS_WIDTH + 8}" y="{y + 3}" width="{value * _BARS_WIDTH:.2f}" '
            f'height="14" rx="1.5" fill="{colour}"/>'
        )
        if old.get(label) is not None:
            lines.append(mark(_LABELS_WIDTH + 8 + old[label] * _BARS_WIDTH, y, 20))
        quality = "" if one["PQ"] is None else f"  ·  PQ {100 * one['PQ']:.1f}"
        lines.append(
            text(_LABELS_WIDTH + _BARS_WIDTH + 18, y + 14, f"IoU {100 * value:.1f}{quality}")
        )
    height = _TOP + max(1, len(shown)) * _ROW + 12
    more = found.num_rows - len(shown)
    if more or not shown:
        words = f"and {more:,} more classes, with higher IoU" if more else "no class is judged"
        lines.append(text(_LABELS_WIDTH + 8, height + 4, words, fill=FAINT))
        height += 16
    return svg(height, lines)


def _by_label(classes: pa.Table, column: str) -> dict[str, float]:
    values = zip(classes["label"].to_pylist(), classes[column].to_pylist(), strict=True)
    return {label: value for label, value in values if value is not None}


def confusion_matrix(confusion: pa.Table) -> str:
    """Which classes are taken for which: a row per true class, as shares of its pixels.

    The classes with most pixels are shown, and void of the prediction.

    Returns:
        An ``<svg>`` element.
    """
    pixels = {
        (one["label"], one["predicted_label"]): one["pixels"] for one in confusion.to_pylist()
    }
    totals: dict[str | None, int] = {}
    for pair, count in pixels.items():
        for label in {*pair}:
            totals[label] = totals.get(label, 0) + count
    named = sorted((one for one in totals if one is not None), key=lambda one: (-totals[one], one))
    rows: list[str] = named[:_MOST_CONFUSED]
    columns: list[str | None] = [*rows, *([None] if None in totals else [])]
    lines = [text(12, 20, "pixels of a true class (row) by predicted class, %", weight="600")]
    left, top = _LABELS_WIDTH + 8, _TOP + 14
    for place, column in enumerate(columns):
        words = "void" if column is None else str(place + 1)
        lines.append(
            text(left + (place + 0.5) * _CELL, top - 6, words, anchor="middle", fill=FAINT)
        )
    for place, row in enumerate(rows):
        y = top + place * _CELL * 0.7
        whole = sum(count for (true, _), count in pixels.items() if true == row)
        lines.append(text(_LABELS_WIDTH, y + 15, f"{fitted(row)} {place + 1}", anchor="end"))
        for across, column in enumerate(columns):
            share = pixels.get((row, column), 0) / whole if whole else 0.0
            lines += _confused(left + across * _CELL, y, share, right=row == column)
    height = top + max(1, len(rows)) * _CELL * 0.7 + 12
    if len(named) > len(rows):
        words = f"and {len(named) - len(rows):,} more classes, with fewer pixels"
        lines.append(text(left, height + 4, words, fill=FAINT))
        height += 16
    return svg(height, lines)


def _confused(x: float, y: float, share: float, *, right: bool) -> list[str]:
    fill = BAR if right else "#d55e00"
    box = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{_CELL - 1}" height="{_CELL * 0.7 - 1:.1f}" '
        f'fill="{fill}" fill-opacity="{0.04 + 0.8 * share:.3f}"/>'
    )
    if share < 0.005:
        return [box]
    ink = "#ffffff" if share > 0.8 else INK
    return [
        box,
        text(x + _CELL / 2, y + 14, f"{100 * share:.0f}", anchor="middle", fill=ink),
    ]


def reliability(calibration: pa.Table, error: float | None) -> str | None:
    """Confidence of predicted segments beside the share of them that is right.

    Args:
        calibration: the reliability table of an evaluation.
        error: the expected calibration error.

    Returns:
        An ``<svg>`` element; None where no segment has a confidence.
    """
    if not calibration.num_rows or error is None:
        return None
    left, top = 58, _TOP
    bottom = top + _SIDE
    lines = [
        text(12, 20, "segments that match, by confidence", weight="600"),
        text(WIDTH - 12, 20, f"expected calibration error {error:.3f}", anchor="end"),
        f'<line x1="{left}" y1="{bottom}" x2="{left + _SIDE}" y2="{top}" stroke="{FAINT}" '
        'stroke-dasharray="4 3"/>',
    ]
    for tick in (0.0, 0.5, 1.0):
        lines.append(
            text(left + tick * _SIDE, bottom + 16, f"{tick:.1f}", anchor="middle", fill=FAINT)
        )
        lines.append(
            text(left - 6, bottom - tick * _SIDE + 4, f"{tick:.1f}", anchor="end", fill=FAINT)
        )
    names = calibration.column_names
    for one in calibration.to_pylist():
        low, high, count, _, confidence, accuracy = (one[name] for name in names)
        x, tall = left + low * _SIDE, accuracy * _SIDE
        lines.append(
            f'<rect x="{x + 1:.1f}" y="{bottom - tall:.1f}" '
            f'width="{(high - low) * _SIDE - 2:.1f}" height="{tall:.1f}" fill="{BAR}" '
            'fill-opacity="0.75"/>'
        )
        lines.append(mark(left + confidence * _SIDE, bottom - tall - 5, 10))
        lines.append(
            text(
                left + _SIDE + 24,
                bottom - (low + high) / 2 * _SIDE + 4,
                f"{low:.1f} to {high:.1f}: {100 * accuracy:.0f} % of {count:,} segments match",
            )
        )
    return svg(bottom + 26, lines)
