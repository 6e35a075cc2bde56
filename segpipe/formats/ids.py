"""The ids of a mask's pixels, as runs: what importers count, look up and renumber.

A mask has a run for every hundred pixels or so, and everything but decoding is done run by run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.masks.decoding import DecodedMask

_SMALL = 2**17
_CHANNELS = np.array([1, 256, 65536], np.uint32)


@dataclass(frozen=True, eq=False)
class Ids:
    """The ids of a mask.

    Attributes:
        shape: height and width.
        starts: R int64, flat (row-major) position of each run's first pixel. A run goes on over
            the end of a row, and the next one has another id.
        values: R integers of any dtype, the id of each run.
        png: a PNG in the canonical form with these values, where there is one.
    """

    shape: tuple[int, int]
    starts: NDArray[np.int64]
    values: NDArray[Any]
    png: bytes | None = None

    @classmethod
    def of(cls, pixels: NDArray[Any], png: bytes | None = None) -> Ids:
        """Of an array, H x W integers of any dtype, at least one."""
        flat = pixels.reshape(-1)
        height, width = pixels.shape
        starts = _starts(flat[1:] != flat[:-1])
        found = cls((height, width), starts, flat[starts], png)
        found.__dict__["pixels"] = pixels
        return found

    @classmethod
    def of_mask(cls, mask: DecodedMask) -> Ids:
        """Of an index mask."""
        runs = mask.runs
        if runs is None:
            return cls.of(mask.pixels, mask.canonical)
        first = _starts(runs.values[1:] != runs.values[:-1])
        shape = mask.header.height, mask.header.width
        return cls(shape, runs.starts[first].astype(np.int64), runs.values[first], mask.canonical)

    @classmethod
    def of_colours(cls, colours: NDArray[np.uint8]) -> Ids:
        """The ids ``R + 256 G + 65536 B``, uint32, of H x W x 3 colours."""
        height, width, _ = colours.shape
        flat = colours.reshape(-1)
        changes = np.flatnonzero(flat[3:] != flat[:-3]) // 3 + 1  # once for each channel
        starts = np.concatenate([np.zeros(1, np.int64), changes])
        starts = starts[_starts(starts[1:] != starts[:-1])]
        return cls((height, width), starts, colours.reshape(-1, 3)[starts] @ _CHANNELS)

    @cached_property
    def areas(self) -> dict[int, int]:
        """Id -> number of its pixels, by ascending id."""
        present, inverse = self._distinct
        counts = np.bincount(inverse, self._lengths).astype(np.int64)  # exact below 2**53
        return dict(zip(present.tolist(), counts.tolist(), strict=True))

    @cached_property
    def pixels(self) -> NDArray[Any]:
        """H x W, of the dtype of ``values``."""
        return np.repeat(self.values, self._lengths).reshape(self.shape)

    def becoming(self, new: Mapping[int, int]) -> Ids:
        """The ids with every one replaced.

        Args:
            new: id -> what it becomes, from 0; for every id that has pixels.

        Returns:
            Of uint8 where all of them fit, else int64.
        """
        kind = np.uint8 if max(new.values()) <= 255 else np.int64
        present, inverse = self._distinct
        values = np.array([new[id] for id in present.tolist()], kind)[inverse]
        first = _starts(values[1:] != values[:-1])
        return Ids(self.shape, self.starts[first], values[first])

    @property
    def digest(self) -> bytes:
        """Equal for masks of index values whose size and pixels are, however they were made."""
        digest = hashlib.blake2b(repr(self.shape).encode(), digest_size=16)
        digest.update(self.starts.astype("<i8", copy=False).data)
        digest.update(self.values.astype(np.uint8, copy=False).data)
        return digest.digest()

    @cached_property
    def _distinct(self) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """The ids that occur, ascending; and of each run, the place of its id among them."""
        if self.values.dtype.kind != "u" or self.values.max() >= _SMALL:
            present, inverse = np.unique(self.values, return_inverse=True)
            return present, inverse
        values = self.values.astype(np.intp)
        present = np.flatnonzero(np.bincount(values))
        places = np.zeros(int(present[-1]) + 1, np.intp)
        places[present] = np.arange(present.size)
        return present, places[values]

    @property
    def _lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts, append=self.shape[0] * self.shape[1])


def _starts(changes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The first place, and those after a change."""
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(changes) + 1])
