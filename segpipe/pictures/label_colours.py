"""One colour per label, the same in every picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from segpipe.settings import Settings

Colour = tuple[float, float, float]

# Okabe and Ito, "Color Universal Design" (2008): distinct with every common kind of colour vision.
# The last three are added, so that ten labels differ.
_HUES = np.array(
    [
        (0, 114, 178),
        (230, 159, 0),
        (0, 158, 115),
        (204, 121, 167),
        (86, 180, 233),
        (213, 94, 0),
        (240, 228, 66),
        (120, 94, 240),
        (148, 103, 60),
        (110, 110, 110),
    ],
    np.float32,
)
#: Colour of labels for no particular class, such as background.
PLAIN_COLOUR: Colour = (160.0, 160.0, 160.0)
_PLAIN = frozenset({"background", "void", "unlabelled", "unlabeled", "ignore"})
# Beyond ten labels the hues repeat: darker, lighter, much darker.
_SHADES = (0.0, -0.45, 0.5, -0.7)


def is_plain(label: str) -> bool:
    """Whether a label stands for no particular class, such as ``background`` or ``void``."""
    return label.lower() in _PLAIN


def label_colours(labels: Iterable[str]) -> dict[str, Colour]:
    """Label -> red, green, blue from 0 to 255; no two of the first forty labels alike.

    A label's hue is a hash of its name: it is the same in every picture and partition, unless
    another label of the set has the same hue. Then one of them takes the next free hue. The order
    of the labels makes no difference.
    """
    distinct = sorted(set(labels), key=_digest)
    colours = {label: PLAIN_COLOUR for label in distinct if is_plain(label)}
    named = [label for label in distinct if not is_plain(label)]
    for start in range(0, len(named), len(_HUES)):
        shade = _SHADES[start // len(_HUES) % len(_SHADES)]
        free = dict.fromkeys(range(len(_HUES)))
        for label in named[start : start + len(_HUES)]:
            wanted = int.from_bytes(_digest(label)[:4], "big")
            position = next(
                n % len(_HUES) for n in range(wanted, wanted + 99) if n % len(_HUES) in free
            )
            del free[position]
            colours[label] = shaded(_HUES[position], shade)
    return colours


def colours_of(settings: Settings, model_run: str, labels: Iterable[str]) -> dict[str, Colour]:
    """:func:`label_colours` for a model run's pictures: of these labels and of its taxonomy."""
    return label_colours({*labels, *settings.policies.of(model_run).taxonomy})


def shaded(colour: Iterable[float], shade: float) -> Colour:
    """A colour mixed with white (shade 0 to 1) or with black (0 to -1)."""
    towards = 255.0 if shade > 0 else 0.0
    red, green, blue = (float(part) + (towards - float(part)) * abs(shade) for part in colour)
    return red, green, blue


def _digest(label: str) -> bytes:
    return hashlib.sha256(label.encode("utf-8", "surrogatepass")).digest()
