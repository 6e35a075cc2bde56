"""The same organic masks in other common forms of PNG: decoded, judged ready to store, and encoded,
as ratios to Pillow's decoding of the same form in the same run.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from time import process_time

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.masks import mask_of
from segpipe.masks import fast_path
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.measures import measure_decoded

_ROUNDS = 5
_FAST, _REFERENCE = "segpipe[fast]", "segpipe"


def forms_table(masks: int) -> str:
    """Markdown: a row per form, of this many organic 640 x 480 masks, one thread, in memory.

    The last row is encoding, as a ratio to Pillow's; and what its files take of Pillow's bytes.
    """
    pixels = [mask_of(5, number, (5, 15)) for number in range(masks)]
    ways = [_FAST, _REFERENCE] if fast_path.load_fast_path() else [_REFERENCE]
    lines = [f"| form | Pillow decode, ms | {' | '.join(f'{way}, x decode' for way in ways)} |"]
    lines += [f"|---|---|{'---|' * len(ways)}"]
    for name, write in _FORMS.items():
        files = [write(mask) for mask in pixels]
        pillow, *ours = _fastest(
            lambda files=files: [_decoded(file) for file in files],  # type: ignore[misc]
            *(lambda files=files, way=way: _made_ready(files, way) for way in ways),
        )
        ratios = " | ".join(f"{one / pillow:.2f}" for one in ours)
        lines.append(f"| {name} | {1000 * pillow / masks:.2f} | {ratios} |")
    theirs, encoding = _fastest(
        lambda: [_pillow_png(mask) for mask in pixels],
        lambda: [canonical_png(mask) for mask in pixels],
    )
    size = sum(len(canonical_png(m)) for m in pixels) / sum(len(_pillow_png(m)) for m in pixels)
    encoded = (
        f"Encoding an array takes {1000 * encoding / masks:.2f} ms, {encoding / theirs:.2f} x "
        f"Pillow's at level 6, and {size:.2f} x its bytes; it is the same with and without `fast`."
    )
    return "\n".join([*lines, "", encoded])


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
