"""The fast path: from an 8-bit PNG to its runs, measures and pixels with compiled code.

It needs two packages (the extra ``segpipe[fast]``): libdeflate, which inflates several times as
fast as zlib with the same checks, and numba, which compiles :mod:`segpipe.masks.kernel`. Results
do not depend on it: it only accepts files that are well-formed to the last byte, and gives the same
pixels and measures as the reference path. Everything else is left to Pillow, which decides what
can be decoded.

Importing numba takes half a second, so the packages are loaded where the masks to come save more
than that: :func:`expecting` says how many there are, and the first of them how large they are.
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
from segpipe.masks.runs import KernelMeasures, Runs, max_listed_runs

#: Work for which loading the packages takes as long as it saves, in pixels, of which a mask counts
#: for some itself: 340 masks of 640 x 480, 810 of 320 x 240 (``benchmarks/break_even.py``).
WORK_WORTH_LOADING = 135_000_000
_WORK_OF_A_MASK = 90_000
#: What packages raise that are not installed, or whose compiled libraries are not to be found.
LOAD_ERRORS = (ImportError, OSError)
# Above this ratio of compressed to raw size, a mask has too many runs to list.
_MAX_COMPRESSION_RATIO = 1 / 8


@dataclass(frozen=True)
class _Packages:
    inflate: Callable[[Any, int], bytearray]
    inflate_error: type[Exception]
    kernel: Any


@dataclass
class _Met:
    """Masks that were decoded without the fast path, and what they hold."""

    masks: int = 0
    work: int = 0


_lock = threading.Lock()
_packages: _Packages | None = None
_tried = False
_met = _Met()
_expected: int | None = None  # the number of masks met by then; None if nobody knows


@contextmanager
def expecting(masks: int) -> Iterator[None]:
    """Load the fast path in this block as soon as its masks are seen to be worth it.

    Args:
        masks: how many the block decodes, about.
    """
    global _expected
    before, _expected = _expected, _met.masks + masks
    try:
        yield
    finally:
        _expected = before


def meet(pixels: int) -> None:
    """Count a mask that is about to be decoded; load the fast path if that pays.

    It does if the masks that are expected, as large as this one, would save the time; or if those
    so far would have.

    Args:
        pixels: of the mask.
    """
    if _tried:
        return
    to_come = 0 if _expected is None else _expected - _met.masks
    work = pixels + _WORK_OF_A_MASK
    _met.masks += 1
    _met.work += work
    if max(to_come * work, _met.work) >= WORK_WORTH_LOADING:
        load_fast_path()


def load_fast_path() -> bool:
    """Load the packages, once per process; returns whether they are there and can be loaded."""
    global _packages, _tried
    with _lock:
        if not _tried:
            _tried = True
            try:
                import deflate

                from segpipe.masks import kernel
            except LOAD_ERRORS:
                return False
            _packages = _Packages(deflate.zlib_decompress, deflate.DeflateError, kernel)
    return _packages is not None


def is_loaded() -> bool:
    """Whether this process has loaded the fast path."""
    return _packages is not None


def score_kernel(*, load: bool) -> Callable[..., bool] | None:
    """``take_block`` of :mod:`segpipe.masks.scores_kernel`; None if the fast path is not loaded.

    Args:
        load: load it if it is not.
    """
    if load:
        load_fast_path()
    if _packages is None:
        return None
    from segpipe.masks.scores_kernel import take_block

    taken: Callable[..., bool] = take_block
    return taken


@contextmanager
def disabled() -> Iterator[None]:
    """Use only the reference path, in the whole process, until the block ends; for comparisons."""
    global _packages, _tried
    before = _packages, _tried
    _packages, _tried = None, True
    try:
        yield
    finally:
        _packages, _tried = before


class FastSamples:
    """The samples of a well-formed 8-bit grey or palette PNG, decoded by the fast path.

    Args:
        given: the runs, with the kernel's sentinel after the last; or H x W uint8 if there are too
            many runs to list.
        height, width: of the image, in pixels.
    """

    def __init__(
        self, kernel: Any, given: Runs | NDArray[np.uint8], height: int, width: int
    ) -> None:
        self._kernel, self._height, self._width = kernel, height, width
        self._runs = given if isinstance(given, Runs) else None
        self._pixels = given if isinstance(given, np.ndarray) else None

    @cached_property
    def kernel_measures(self) -> KernelMeasures:
        """Measures of all values; taken on first use."""
        if self._runs is None:
            assert self._pixels is not None
            return _measured_pixels(self._kernel, self._pixels)
        return _measured_runs(self._kernel, self._runs, self._height, self._width)

    @property
    def runs(self) -> Runs | None:
        """The runs; None if there are too many to list."""
        return None if self._runs is None else _listed_runs(self._runs)

    def pairs_with(self, other: FastSamples) -> NDArray[np.int64] | None:
        """Pixels of each pair of values of this mask and another of its size, 256 x 256 int64;
        None if either has too many runs to list."""
        if self._runs is None or other._runs is None:
            return None
        counts = np.zeros((256, 256), np.int64)
        self._kernel.count_pairs(*self._runs, *other._runs, counts)
        return counts

    @property
    def values(self) -> list[int]:
        """The values that occur, ascending."""
        present: list[int] = self.kernel_measures.per_value[self._kernel.VALUE].tolist()
        return present

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """H x W uint8; made on first use."""
        if self._pixels is None:
            assert self._runs is not None
            starts, values = self._runs
            made = np.repeat(values[:-1], np.diff(starts))
            self._pixels = made.reshape(self._height, self._width)
        return self._pixels


def read_samples(file: PngFile) -> FastSamples | None:
    """Decode a PNG by the fast path.

    Returns:
        None if the fast path is not loaded, the file is not an 8-bit grey or palette PNG without
        interlacing, or its image data is not well-formed.
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
    lines = _lines(packages, compressed, header.raw_size)
    if lines is None:
        return None
    filtered = np.frombuffer(lines, np.uint8)
    kernel, height, width = packages.kernel, header.height, header.width
    if len(compressed) <= _MAX_COMPRESSION_RATIO * header.raw_size:
        runs = _listed(height, width, partial(kernel.runs_of_lines, filtered, height, width))
        if runs is not None:
            return FastSamples(kernel, runs, height, width)
    pixels = np.empty((height, width), np.uint8)
    return FastSamples(kernel, pixels, height, width) if kernel.unfilter(filtered, pixels) else None


def inflates_exactly(file: PngFile) -> bool:
    """Whether the image data are undamaged and hold what the pixels need, and no more.

    False also where the fast path is not loaded.
    """
    if _packages is None:
        return False
    return _lines(_packages, file.compressed, file.header.raw_size) is not None


def _lines(packages: _Packages, compressed: bytes | memoryview, size: int) -> bytearray | None:
    """The filtered scan lines; None if the stream is damaged or does not hold this many bytes."""
    try:
        lines = packages.inflate(compressed, size)
    except packages.inflate_error:
        return None
    return lines if len(lines) == size else None


def measure_pixels(mask: NDArray[np.uint8]) -> KernelMeasures | None:
    """Measure a mask with the compiled kernel; None if the fast path is not loaded.

    Args:
        mask: H x W uint8, C-contiguous.
    """
    return None if _packages is None else _measured_pixels(_packages.kernel, mask)


def _measured_pixels(kernel: Any, mask: NDArray[np.uint8]) -> KernelMeasures:
    height, width = mask.shape
    runs = _listed(height, width, partial(kernel.runs_of_pixels, mask))
    if runs is not None:
        return _measured_runs(kernel, runs, height, width)
    return _measured(kernel, None, partial(kernel.measure_pixels, mask))


def _listed(
    height: int, width: int, find: Callable[[NDArray[np.uint32], NDArray[np.uint8]], int]
) -> Runs | None:
    """A mask's runs, with the kernel's sentinel after the last; None if ``find`` fails."""
    room = max_listed_runs(height, width) + width + 1
    starts, values = np.empty(room, np.uint32), np.empty(room, np.uint8)
    count = find(starts, values)
    return Runs(starts[: count + 1], values[: count + 1]) if count >= 0 else None


def _listed_runs(runs: Runs) -> Runs:
    """Without the kernel's sentinel."""
    return Runs(runs.starts[:-1], runs.values[:-1])


def _measured_runs(kernel: Any, runs: Runs, height: int, width: int) -> KernelMeasures:
    return _measured(kernel, _listed_runs(runs), partial(kernel.measure_runs, *runs, height, width))


def _measured(
    kernel: Any,
    runs: Runs | None,
    measure: Callable[[NDArray[np.int64], NDArray[np.float64]], tuple[int, int, int]],
) -> KernelMeasures:
    per_value, centroids = (
        np.empty((kernel.MEASURES, 256), np.int64),
        np.empty((2, 256), np.float64),
    )
    count, edges, between = measure(per_value, centroids)
    # Copies, so that a mask of three values does not keep arrays for 256.
    return KernelMeasures(
        per_value[:, :count].copy(), centroids[:, :count].copy(), edges, between, runs
    )
