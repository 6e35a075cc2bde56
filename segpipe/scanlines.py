"""The short way from a PNG of one byte a pixel to its pixels and their measures.

Two packages (the extra ``segpipe[fast]``) make it: libdeflate, which inflates several times as fast
as zlib and checks as much, and numba, which compiles :mod:`segpipe.kernel`. They decide nothing:
the short way is taken where a file is as it should be to the last byte, and gives the very same
pixels and measures; whatever is unusual is left to Pillow, which has the last word on what can be
read.

numba takes half a second to load, so that the short way is opened only where it pays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segpipe import png
from segpipe.png import PngFile

#: Masks from which on loading the packages costs less than it saves.
WORTHWHILE_MASKS = 1000


@dataclass(frozen=True)
class _Packages:
    inflate: Callable[[Any, int], bytearray]
    inflate_error: type[Exception]
    kernel: Any


_lock = threading.Lock()
_packages: _Packages | None = None
_tried = False


def open_short_way() -> bool:
    """Load the packages, once in a process; whether they are there."""
    global _packages, _tried
    with _lock:
        if not _tried:
            _tried = True
            try:
                import deflate

                from segpipe import kernel
            except ImportError:
                return False
            _packages = _Packages(deflate.zlib_decompress, deflate.DeflateError, kernel)
    return _packages is not None


def is_open() -> bool:
    """Whether the short way is taken in this process."""
    return _packages is not None


@contextmanager
def closed() -> Iterator[None]:
    """The long way alone, in all of this process, until the block ends: to compare the two."""
    global _packages
    packages, _packages = _packages, None
    try:
        yield
    finally:
        _packages = packages


def read_samples(file: PngFile) -> NDArray[np.uint8] | None:
    """The samples of a grey or palette PNG of 8 bits, not interlaced.

    Returns:
        H x W uint8; None where it is not open, the file is another kind of PNG, or anything in its
        image data is not as it should be.
    """
    packages, header = _packages, file.header
    if (
        packages is None
        or header.depth != 8
        or header.interlaced
        or header.colour not in (png.GREY, png.PALETTE)
    ):
        return None
    try:
        lines = packages.inflate(file.compressed, header.raw_size)
    except packages.inflate_error:
        return None
    if len(lines) != header.raw_size:
        return None
    pixels = np.empty((header.height, header.width), np.uint8)
    if not packages.kernel.unfilter(np.frombuffer(lines, np.uint8), pixels):
        return None
    return pixels


class MeasuredRuns(NamedTuple):
    """What the compiled kernel finds in a mask of R runs.

    Attributes:
        table: 256 x 8 int64, a row per value; see ``segpipe.kernel``.
        edge_pixels, between_pixels: see ``segpipe.segments.Measures``.
        starts: R uint32, flat positions of the runs; cut off where there are more than were asked
            for.
        values: R uint8, likewise.
        runs: R.
    """

    table: NDArray[np.int64]
    edge_pixels: int
    between_pixels: int
    starts: NDArray[np.uint32]
    values: NDArray[np.uint8]
    runs: int


def measure_runs(mask: NDArray[np.uint8], most_listed: int) -> MeasuredRuns | None:
    """A mask's values measured by the compiled kernel; None where it is not open.

    Args:
        mask: H x W uint8, contiguous.
        most_listed: runs that are listed.
    """
    packages = _packages
    if packages is None:
        return None
    table = np.empty((256, 8), np.int64)
    starts, values = np.empty(most_listed, np.uint32), np.empty(most_listed, np.uint8)
    edges, between, runs = packages.kernel.measure(mask, table, starts, values)
    return MeasuredRuns(table, edges, between, starts[:runs], values[:runs], runs)
