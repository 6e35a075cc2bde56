"""Memory that was freed is given back to the system, where the C library can be told to."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import pyarrow as pa

# Of glibc's malloc.h.
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8
_LARGE = 1 << 20
_ARENAS = 2


def keep_little() -> None:
    """Have this process keep little of what it frees.

    A request on a million rows takes tens of megabytes for a moment, in one of several threads, and
    each thread's part of the memory would otherwise stay as large as it once was.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Give freed memory back now, as after what takes much."""
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
