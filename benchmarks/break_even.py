"""When opening the fast path pays: masks decoded and measured in fresh processes, without it, with
it from the start, and as segpipe decides itself. ``python -m benchmarks.break_even`` prints this.
"""

from __future__ import annotations

import io
import subprocess
import sys
from time import process_time

from PIL import Image

from benchmarks.masks import SMALL, Shape, mask_of
from segpipe.masks import fast_path
from segpipe.masks.decoding import decode_mask
from segpipe.masks.measures import measure_decoded

_SHAPES = (Shape(320, 240), SMALL, Shape(2048, 1024))
_COUNTS = (10, 100, 1000, 10_000)
_NEVER, _AT_ONCE, _ITSELF = _WAYS = ("never", "at once", "itself")
_DIFFERENT = 8  # masks, taken again and again
_ROUNDS = 2
# Beyond as many pixels, nobody asks whether it pays.
_MOST_PIXELS = 320_000_000


def break_even_table(divisor: int = 1) -> str:
    """Markdown: a row for each size and number of masks; processor seconds of each way.

    Args:
        divisor: of the largest number of pixels that are looked at.
    """
    lines = ["| masks | without, s | opened first, s | by itself, s | x the better |"]
    lines.append("|---|---|---|---|---|")
    for shape in _SHAPES:
        for count in _COUNTS:
            pixels = count * shape.width * shape.height
            if pixels > 4 * _MOST_PIXELS // divisor:
                continue
            ways = _WAYS if pixels <= _MOST_PIXELS else (_AT_ONCE, _ITSELF)
            least = dict.fromkeys(ways, float("inf"))
            for _ in range(max(1, _ROUNDS // divisor)):
                for way in ways:
                    least[way] = min(least[way], _seconds(way, count, shape))
            ratio = least[_ITSELF] / min(least[way] for way in ways if way != _ITSELF)
            shown = [f"{least[way]:.2f}" if way in least else "-" for way in _WAYS]
            lines.append(f"| {count:,} of {shape} | {' | '.join(shown)} | {ratio:.2f} |")
    return "\n".join(lines)


def _seconds(way: str, count: int, shape: Shape) -> float:
    command = [sys.executable, "-m", "benchmarks.break_even", way, str(count), *map(str, shape)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _work(way: str, count: int, shape: Shape) -> float:
    """Processor seconds of opening, decoding and measuring; what makes the files is not counted."""
    files = [_png(number, shape) for number in range(min(count, _DIFFERENT))]
    started = process_time()
    if way == _AT_ONCE:
        fast_path.load_fast_path()
    if way == _NEVER:
        with fast_path.disabled():
            _decode(files, count)
    else:
        with fast_path.expecting(count):
            _decode(files, count)
    return process_time() - started


def _decode(files: list[bytes], count: int) -> None:
    for number in range(count):
        measure_decoded(decode_mask(files[number % len(files)]))


def _png(number: int, shape: Shape) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask_of(5, number, shape=shape)).save(buffer, format="PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        way, count, width, height = sys.argv[1:]
        print(_work(way, int(count), Shape(int(width), int(height))))
    else:
        print(break_even_table())
