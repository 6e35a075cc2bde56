"""The fast path from a PNG of one byte a pixel to its runs, their measures, and its pixels.

It needs two packages (the extra ``segpipe[fast]``): libdeflate, which inflates several times as
fast as zlib and checks as much, and numba, which compiles :mod:`segpipe.masks.kernel`. They decide
nothing: the fast path is taken where a file is well-formed to the last byte, and gives the same
pixels and measures as the reference path; anything unusual is left to Pillow, which has the last
word on what can be read.

numba takes half a second to load, so the packages are loaded only where they pay.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.masks import png
from segpipe.masks.png import PngFile
from segpipe.masks.runs import Measured, Runs, most_runs

#: Masks from which on loading the packages costs less than it saves.
FAST_PATH_MASKS = 1000
# Image data that hardly gets smaller has too many runs to list.
_SHARE_OF_MANY_RUNS = 1 / 8


@dataclass(frozen=True)
class _Packages:
    inflate: Callable[[Any, int], bytearray]
    inflate_error: type[Exception]
    kernel: Any


_lock = threading.Lock()
_packages: _Packages | None = None
_tried = False


def load_fast_path() -> bool:
    """Load the packages, once in a process; whether they are there."""
    global _packages, _tried
    with _lock:
        if not _tried:
            _tried = True
            try:
                import deflate

                from segpipe.masks import kernel
            except ImportError:
                return False
            _packages = _Packages(deflate.zlib_decompress, deflate.DeflateError, kernel)
    return _packages is not None


def is_loaded() -> bool:
    """Whether this process takes the fast path."""
    return _packages is not None


@contextmanager
def disabled() -> Iterator[None]:
    """Only the reference path, in the whole process, until the block ends: to compare the two."""
    global _packages
    packages, _packages = _packages, None
    try:
        yield
    finally:
        _packages = packages


class Samples:
    """The samples of a grey or palette PNG of 8 bits, of which every byte is as it should be.

    Args:
        given: the runs, and what the kernel keeps behind the last; or H x W uint8 where they are
            too many.
    """

    def __init__(
        self, kernel: Any, given: Runs | NDArray[np.uint8], height: int, width: int
    ) -> None:
        self._kernel, self._height, self._width = kernel, height, width
        self._runs = given if isinstance(given, Runs) else None
        self._pixels = given if isinstance(given, np.ndarray) else None

    @cached_property
    def measured(self) -> Measured:
        """Measures of the values."""
        if self._runs is None:
            assert self._pixels is not None
            return _measured_pixels(self._kernel, self._pixels)
        return _measured_runs(self._kernel, self._runs, self._height, self._width)

    @property
    def values(self) -> list[int]:
        """The values that are there, ascending."""
        present: list[int] = self.measured.found[self._kernel.VALUE].tolist()
        return present

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """H x W uint8; made when they are asked for."""
        if self._pixels is None:
            assert self._runs is not None
            starts, values = self._runs
            made = np.repeat(values[:-1], np.diff(starts))
            self._pixels = made.reshape(self._height, self._width)
        return self._pixels


def read_samples(file: PngFile) -> Samples | None:
    """The samples of a PNG.

    Returns:
        None where the fast path is not loaded, the file is another kind of PNG, or anything in its
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
    compressed = file.compressed
    try:
        lines = packages.inflate(compressed, header.raw_size)
    except packages.inflate_error:
        return None
    if len(lines) != header.raw_size:
        return None
    filtered = np.frombuffer(lines, np.uint8)
    kernel, height, width = packages.kernel, header.height, header.width
    if len(compressed) <= _SHARE_OF_MANY_RUNS * header.raw_size:
        runs = _listed(height, width, partial(kernel.runs_of_lines, filtered, height, width))
        if runs is not None:
            return Samples(kernel, runs, height, width)
    pixels = np.empty((height, width), np.uint8)
    return Samples(kernel, pixels, height, width) if kernel.unfilter(filtered, pixels) else None


def measure_pixels(mask: NDArray[np.uint8]) -> Measured | None:
    """A mask's values measured by the compiled kernel; None where it is not open.

    Args:
        mask: H x W uint8, contiguous.
    """
    return None if _packages is None else _measured_pixels(_packages.kernel, mask)


def _measured_pixels(kernel: Any, mask: NDArray[np.uint8]) -> Measured:
    height, width = mask.shape
    runs = _listed(height, width, partial(kernel.runs_of_pixels, mask))
    if runs is not None:
        return _measured_runs(kernel, runs, height, width)
    return _measured(kernel, None, partial(kernel.measure_pixels, mask))


def _listed(
    height: int, width: int, find: Callable[[NDArray[np.uint32], NDArray[np.uint8]], int]
) -> Runs | None:
    """The runs of a mask, with what the kernel keeps behind the last; None where it fails."""
    room = most_runs(height, width) + width + 1
    starts, values = np.empty(room, np.uint32), np.empty(room, np.uint8)
    count = find(starts, values)
    return Runs(starts[: count + 1], values[: count + 1]) if count >= 0 else None


def _measured_runs(kernel: Any, runs: Runs, height: int, width: int) -> Measured:
    listed = Runs(runs.starts[:-1], runs.values[:-1])
    return _measured(kernel, listed, partial(kernel.measure_runs, *runs, height, width))


def _measured(
    kernel: Any,
    runs: Runs | None,
    measure: Callable[[NDArray[np.int64], NDArray[np.float64]], tuple[int, int, int]],
) -> Measured:
    found, centroids = np.empty((kernel.FOUND, 256), np.int64), np.empty((2, 256), np.float64)
    count, edges, between = measure(found, centroids)
    # Copies, so that a mask of three values is not kept as one of 256.
    return Measured(found[:, :count].copy(), centroids[:, :count].copy(), edges, between, runs)
