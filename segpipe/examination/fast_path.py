"""The fast path: whether its compiled code works here, and gives what the reference path gives."""

from __future__ import annotations

import importlib
from dataclasses import fields
from time import perf_counter

import numpy as np

from segpipe.examination.check import Check, note, ok, problem, warning
from segpipe.examination.packages import install_anew_command
from segpipe.extras import install_command
from segpipe.masks import fast_path
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.measures import Measures, measure_decoded

_PACKAGES = ("deflate", "numba")
_HEIGHT, _WIDTH, _TIMES = 480, 640, 20
_NAME = "fast path"
_INSTALL = install_command("fast")


def compiled_code() -> Check:
    """Decode and measure a mask with the fast path and without it, and compare."""
    for package in _PACKAGES:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                return _broken(package, error)
            return note(_NAME, "not used: masks are read by Pillow", "if you need it", _INSTALL)
        except Exception as error:  # as where NumPy is newer than numba knows
            return _broken(package, error)
    if _compiles_nothing():
        found = "numba compiles nothing (NUMBA_DISABLE_JIT): masks take longer than by Pillow"
        return warning(_NAME, found, "let it compile", "unset NUMBA_DISABLE_JIT")
    try:
        importlib.import_module("segpipe.masks.kernel")
    except Exception as error:
        return _broken("numba", error)
    fast_path.load_fast_path()
    data = canonical_png(_blocks())
    fast = decode_mask(data)
    compiled, measures = fast.kernel_measures is not None, measure_decoded(fast)
    with fast_path.disabled():
        slow = decode_mask(data)
        same = np.array_equal(fast.pixels, slow.pixels)
        same = same and _equal(measures, measure_decoded(slow))
    if not compiled or not same:
        step = "remove the fast path, and report it: results must not depend on it"
        return problem(
            _NAME, "it gives other results than Pillow and NumPy", step, "pip uninstall numba"
        )
    quick = _seconds(data)
    with fast_path.disabled():
        usual = _seconds(data)
    times = f"{1e3 * quick:.1f} ms for a mask of {_WIDTH} x {_HEIGHT}, {1e3 * usual:.1f} ms without"
    if not _is_kept():
        step = "let numba keep what it compiles: name a folder that can be written"
        command = 'export NUMBA_CACHE_DIR="$HOME/.cache/numba"'
        found = f"it works, and each process compiles it anew ({times})"
        return warning(_NAME, found, step, command)
    return ok(_NAME, f"same results as Pillow and NumPy, {times}")


def _broken(package: str, error: Exception) -> Check:
    words = " ".join(str(error).split())[:200]
    found = f"{package} is installed and cannot be loaded ({type(error).__name__}: {words})"
    # NumPy with it: numba is for some versions of it alone.
    command = install_anew_command(*_PACKAGES, "numpy", alone=False)
    if isinstance(error, fast_path.LOAD_ERRORS):
        return warning(_NAME, f"{found}: masks are read by Pillow", "install it anew", command)
    return problem(_NAME, f"{found}: reading many masks fails", "install it anew", command)


def _compiles_nothing() -> bool:
    import numba

    return bool(getattr(numba.config, "DISABLE_JIT", False))


def _is_kept() -> bool:
    """Whether compiled code is kept for the next process."""
    from segpipe.masks.kernel import measure_runs

    return measure_runs.stats.cache_path is not None  # type: ignore[attr-defined]


def _blocks() -> np.ndarray:
    """H x W uint8: blocks of 256 values, which no path can guess."""
    values = np.random.default_rng(0).integers(0, 256, (_HEIGHT // 16, _WIDTH // 16), np.uint8)
    return np.repeat(np.repeat(values, 16, axis=0), 16, axis=1)


def _seconds(data: bytes) -> float:
    """Seconds to decode and measure a mask."""
    began = perf_counter()
    for _ in range(_TIMES):
        measure_decoded(decode_mask(data))
    return (perf_counter() - began) / _TIMES


def _equal(one: Measures, other: Measures) -> bool:
    names = [field.name for field in fields(Measures)]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)
