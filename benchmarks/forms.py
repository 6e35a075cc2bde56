"""The same organic masks in other common forms of PNG: decoded, judged ready to store, and encoded,
as ratios to Pillow's decoding of the same form in the same run.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from time import process_time

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.goals import Goal
from benchmarks.masks import mask_of
from segpipe.masks import fast_path
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.measures import measure_decoded

_ROUNDS = 9
_FAST, _REFERENCE = "segpipe[fast]", "segpipe"


@dataclass(frozen=True)
class Form:
    """Masks in one form of PNG.

    Attributes:
        decoding: Pillow's processor seconds for one.
        ours: way -> seconds until it is measured and ready to store.
        as_canonical: way -> the same with the image data under the canonical header; empty where
            the pixels are encoded anew.
    """

    name: str
    decoding: float
    ours: Mapping[str, float]
    as_canonical: Mapping[str, float]


@dataclass(frozen=True)
class Encoding:
    """Encoding of arrays: processor seconds for one, and what it is of Pillow's time and bytes."""

    seconds: float
    time: float
    size: float


def measure_forms(masks: int) -> tuple[list[Form], Encoding]:
    """Of this many organic 640 x 480 masks, one thread, in memory."""
    pixels = [mask_of(5, number, (5, 15)) for number in range(masks)]
    forms = [_measured(name, [write(mask) for mask in pixels]) for name, write in _FORMS.items()]
    theirs, seconds = _fastest(
        lambda: [_pillow_png(mask) for mask in pixels],
        lambda: [canonical_png(mask) for mask in pixels],
    )
    size = sum(len(canonical_png(m)) for m in pixels) / sum(len(_pillow_png(m)) for m in pixels)
    return forms, Encoding(seconds / masks, seconds / theirs, size)


def _measured(name: str, files: list[bytes]) -> Form:
    ways = [_FAST, _REFERENCE] if fast_path.load_fast_path() else [_REFERENCE]
    canonical = [one for file in files if (one := decode_mask(file).canonical) is not None]
    works: list[Callable[[], object]] = [lambda: [_decoded(file) for file in files]]
    works += [partial(_made_ready, files, way) for way in ways]
    works += [partial(_made_ready, canonical, way) for way in ways if canonical]
    decoding, *taken = (seconds / len(files) for seconds in _fastest(*works))
    ours, others = taken[: len(ways)], taken[len(ways) :]
    as_canonical = dict(zip(ways, others, strict=True)) if others else {}
    return Form(name, decoding, dict(zip(ways, ours, strict=True)), as_canonical)


def forms_table(forms: Sequence[Form], encoding: Encoding) -> str:
    """Markdown: a row per form; and a sentence on encoding."""
    ways = list(forms[0].ours)
    heads = [f"{way}, x decode" for way in ways] + [f"{way}, x canonical" for way in ways]
    lines = [
        f"| form | Pillow decode, ms | {' | '.join(heads)} |",
        f"|---|---|{'---|' * len(heads)}",
    ]
    for form in forms:
        ratios = [f"{form.ours[way] / form.decoding:.2f}" for way in ways]
        ratios += [
            f"{form.ours[way] / form.as_canonical[way]:.2f}" if form.as_canonical else "-"
            for way in ways
        ]
        lines.append(f"| {form.name} | {1000 * form.decoding:.2f} | {' | '.join(ratios)} |")
    encoded = (
        f"Encoding an array takes {1000 * encoding.seconds:.2f} ms, {encoding.time:.2f} x "
        f"Pillow's at level 6, and {encoding.size:.2f} x its bytes; it is the same with and "
        "without `fast`."
    )
    return "\n".join([*lines, "", encoded])


def form_goals(forms: Sequence[Form], encoding: Encoding) -> list[Goal]:
    """What needs no encoding takes as long as the canonical form; the rest is encoded fast."""
    found = [
        Goal(f"{form.name} / its canonical form, {way}", 1.15, form.ours[way] / other)
        for form in forms[1:]
        for way, other in form.as_canonical.items()
    ]
    return [
        *found,
        Goal("encoding / Pillow's at level 6", 0.3, encoding.time),
        Goal("encoded bytes / Pillow's at level 6", 1, encoding.size),
    ]


def _made_ready(files: list[bytes], way: str) -> None:
    with nullcontext() if way == _FAST else fast_path.disabled():
        for file in files:
            mask = decode_mask(file)
            measure_decoded(mask)
            if mask.canonical is None:
                canonical_png(mask.pixels)


def _fastest(*works: Callable[[], object]) -> Iterator[float]:
    """Processor seconds of each, the least of several rounds in turns."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(_ROUNDS):
        for taken, work in zip(seconds, works, strict=True):
            started = process_time()
            work()
            taken.append(process_time() - started)
    return map(min, seconds)


def _decoded(file: bytes) -> NDArray[np.generic]:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image)


def _saved(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", **options)
    return buffer.getvalue()


def _pillow_png(mask: NDArray[np.uint8]) -> bytes:
    return _saved(Image.fromarray(mask), compress_level=6)


def _with_text(mask: NDArray[np.uint8]) -> bytes:
    told = PngInfo()
    told.add_text("Software", "other")
    return _saved(Image.fromarray(mask), pnginfo=told, dpi=(96, 96))


def _palette(mask: NDArray[np.uint8], **options: int) -> bytes:
    image = Image.fromarray(mask)
    image.putpalette([channel for value in range(256) for channel in (value, value * 7 % 256, 9)])
    return _saved(image, **options)


def _few(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.unique(mask, return_inverse=True)[1].reshape(mask.shape).astype(np.uint8)


_FORMS: Mapping[str, Callable[[NDArray[np.uint8]], bytes]] = {
    "grey 8-bit, canonical": _pillow_png,
    "grey 8-bit with text and pHYs": _with_text,
    "palette 8-bit": _palette,
    "palette 4-bit": lambda mask: _palette(_few(mask), bits=4),
    "grey in RGB": lambda mask: _saved(Image.fromarray(np.stack([mask] * 3, axis=-1))),
    "16-bit with small values": lambda mask: _saved(Image.fromarray(mask.astype(np.uint16))),
}
