"""The short way from a PNG of one byte a pixel to its runs, their measures, and its pixels.

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
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segpipe import png
from segpipe.png import PngFile

#: Masks from which on loading the packages costs less than it saves.
WORTHWHILE_MASKS = 1000
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


class Runs(NamedTuple):
    """A mask as stretches of one value within a row.

    Attributes:
        starts: R uint32, flat (row-major) positions.
        values: R uint8.
    """

    starts: NDArray[np.uint32]
    values: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Measured:
    """What the compiled kernel finds in a mask.

    Attributes:
        found: 7 x V int64: a row per measure, as ``segpipe.kernel`` numbers them, and a column per
            value that is there.
        centroids: 2 x V float64: their mean columns and mean rows.
        edge_pixels, between_pixels: see ``segpipe.segments.Measures``.
        runs: None where the list of them would be longer than the pixels.
    """

    found: NDArray[np.int64]
    centroids: NDArray[np.float64]
    edge_pixels: int
    between_pixels: int
    runs: Runs | None


def most_runs(height: int, width: int) -> int:
    """Runs whose list (4 bytes for the place, 1 for the value) is not longer than the pixels."""
    pixels = height * width
    return pixels // 5 if pixels < 2**32 else 0


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
        None where the short way is not open, the file is another kind of PNG, or anything in its
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
