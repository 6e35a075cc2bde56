"""Small charts of a partition's labels, confidences and entropies, as SVG.

They have an opaque background, so that they are readable on light and dark pages, and need no
script and no font file, so that any page can show them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from segpipe.pictures.palette import Colour, hex_colour
from segpipe.pictures.svg import BAR, FAINT, INK, WIDTH, fitted, mark, svg, text
from segpipe.validation.distributions import BINS_OF_A_NAT, Distribution

_MOST_LABELS = 15
_ROW, _TOP = 22, 34
_LABELS_WIDTH, _BARS_WIDTH = 150, 250
_PLOT_LEFT, _PLOT_HEIGHT = 58, 150
_MOST_BARS = 50


def label_areas(
    distribution: Distribution,
    colours: Mapping[str, Colour],
    before: Distribution | None = None,
) -> str:
    """A bar per label: its share of all pixels, the largest first.

    Args:
        distribution: of the partition.
        colours: label -> red, green, blue, 0 to 255; other labels are grey.
        before: of the previous partition; its shares are marked on the bars.

    Returns:
        An ``<svg>`` element.
    """
    shares = distribution.shares
    shown = dict(list(shares.items())[: _MOST_LABELS if len(shares) > _MOST_LABELS + 1 else None])
    old = before.shares if before is not None else {}
    scale = _BARS_WIDTH / max([*shown.values(), *(old.get(label, 0.0) for label in shown), 1e-9])
    lines = [text(12, 20, "share of all pixels, by label", weight="600")]
    if before is not None:
        lines.append(mark(WIDTH - 152, 9, 14))
        lines.append(text(WIDTH - 144, 20, "in the partition before", fill=FAINT))
    for position, (label, share) in enumerate(shown.items()):
        y = _TOP + position * _ROW
        colour = hex_colour(colours.get(label, (110.0, 110.0, 110.0)))
        count = distribution.segments.get(label, 0)
        lines.append(text(_LABELS_WIDTH, y + 14, fitted(label), anchor="end"))
        lines.append(
            f'<rect x="{_LABELS_WIDTH + 8}" y="{y + 3}" width="{share * scale:.2f}" height="14" '
            f'rx="1.5" fill="{colour}"/>'
        )
        if label in old:
            lines.append(mark(_LABELS_WIDTH + 8 + old[label] * scale, y, 20))
        words = f"{_percent(share)}  ·  {count:,} segment{'' if count == 1 else 's'}"
        lines.append(text(_LABELS_WIDTH + _BARS_WIDTH + 18, y + 14, words))
    height = _TOP + len(shown) * _ROW + 12
    if len(shown) < len(shares):
        rest = sum(list(shares.values())[len(shown) :])
        words = f"and {len(shares) - len(shown):,} more labels: {_percent(rest)}"
        lines.append(text(_LABELS_WIDTH + 8, height + 4, words, fill=FAINT))
        height += 16
    if not shares:
        lines.append(text(12, _TOP + 14, "there are no segments", fill=FAINT))
        height += _ROW
    return svg(height, lines)


def confidence_histogram(distribution: Distribution) -> str | None:
    """Histogram of the segments' confidences, in bins of 0.05, as an ``<svg>`` element.

    None where no segment has a confidence.
    """
    median = distribution.median_confidence
    if median is None:
        return None
    return _histogram(
        "segments, by confidence",
        distribution.confidences,
        [tenth / 10 for tenth in range(0, 11, 2)],
        (median, f"median {median:.2f}"),
        _segments_of(
            sum(distribution.confidences), distribution.without_confidence, "a confidence"
        ),
    )


def entropy_histogram(distribution: Distribution) -> str | None:
    """Histogram of the entropies of the segments' class PDFs in nats, as an ``<svg>`` element.

    The axis ends at a half or whole nat. None where no segment has a class PDF.
    """
    mean, counts = distribution.mean_entropy, distribution.entropies
    if mean is None:
        return None
    total = sum(counts)
    halves = max(1, -(-2 * len(counts) // BINS_OF_A_NAT))
    padded = [*counts, *[0] * (halves * BINS_OF_A_NAT // 2 - len(counts))]
    merged = -(-len(padded) // _MOST_BARS)
    bars = [sum(padded[place : place + merged]) for place in range(0, len(padded), merged)]
    every = -(-halves // 10)
    # The last bar may reach beyond the axis' last half nat.
    return _histogram(
        "segments, by entropy of the class PDF (nats)",
        bars,
        [half / 2 for half in range(0, halves + 1, every)],
        (mean, f"mean {mean:.2f}"),
        _segments_of(total, sum(distribution.segments.values()) - total, "a class PDF"),
        end=len(bars) * merged / BINS_OF_A_NAT,
    )


def _segments_of(total: int, without: int, what: str) -> str:
    return f"{total:,} segments" + (f", {without:,} more without {what}" if without else "")


def _histogram(
    title: str,
    counts: Sequence[int],
    labels: Sequence[float],
    marked: tuple[float, str],
    words: str,
    end: float = 1.0,
) -> str:
    """A bar per count, at even distances from 0 to ``end``, as an ``<svg>`` element.

    Args:
        labels: values named below the axis.
        marked: a value to mark with a line, and its name.
        words: at the upper right.
    """
    ticks = _round_ticks(max(counts))
    bottom = _TOP + _PLOT_HEIGHT
    width = WIDTH - _PLOT_LEFT - 20
    wide = width / len(counts)
    lines = [text(12, 20, title, weight="600")]
    for tick in ticks:
        y = bottom - tick / ticks[-1] * _PLOT_HEIGHT
        lines.append(
            f'<line x1="{_PLOT_LEFT}" x2="{_PLOT_LEFT + width}" y1="{y:.1f}" y2="{y:.1f}" '
            'stroke="#dededa"/>'
        )
        lines.append(text(_PLOT_LEFT - 6, y + 4, f"{tick:,}", anchor="end", fill=FAINT))
    for position, count in enumerate(counts):
        tall = count / ticks[-1] * _PLOT_HEIGHT
        lines.append(
            f'<rect x="{_PLOT_LEFT + position * wide + 1:.2f}" y="{bottom - tall:.2f}" '
            f'width="{wide - 2:.2f}" height="{tall:.2f}" fill="{BAR}"/>'
        )
    for value in labels:
        x = _PLOT_LEFT + value / end * width
        lines.append(text(x, bottom + 16, f"{value:.1f}", anchor="middle", fill=FAINT))
    value, name = marked
    x = _PLOT_LEFT + value / end * width
    lines.append(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{bottom}" stroke="{INK}" '
        'stroke-width="1.5" stroke-dasharray="4 3"/>'
    )
    left = value > 0.75 * end
    anchor = "end" if left else "start"
    lines.append(text(x + (-5 if left else 5), _TOP + 7, name, anchor=anchor))
    lines.append(text(WIDTH - 12, 20, words, anchor="end", fill=FAINT))
    return svg(bottom + 26, lines)


def _round_ticks(most: int) -> list[int]:
    """Round integers from 0 to at least the largest count, in about four steps."""
    raw = max(1.0, most / 4)
    power = 10 ** math.floor(math.log10(raw))
    step = next(round(m * power) for m in (1, 2, 2.5, 5, 10) if m * power >= raw - 1e-9)
    step = max(1, step)
    return [step * n for n in range(-(-most // step) + 1)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 or share == 0 else "< 0.1 %"
