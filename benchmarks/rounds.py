"""Interleaved timing: every contender takes every block in turn, so drift hits all alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median, quantiles
from time import perf_counter
from typing import Protocol


class Contender(Protocol):
    """Something that works through the masks, a block at a time."""

    def run(self, block: slice) -> None:
        """Do the work for the masks of this block."""


@dataclass
class Times:
    """Seconds per mask of each contender, by block (the number of its first mask)."""

    by_block: dict[str, dict[int, float]] = field(default_factory=dict)

    def add(self, name: str, block: int, seconds_per_mask: float) -> None:
        """Note one measurement."""
        self.by_block.setdefault(name, {})[block] = seconds_per_mask

    def spread(self, name: str, seconds_per_mask: float) -> None:
        """Add to every block its share of what was done once for all of them."""
        own = self.by_block[name]
        self.by_block[name] = {block: time + seconds_per_mask for block, time in own.items()}

    def milliseconds(self, name: str) -> float:
        """Median over blocks of the time per mask."""
        return 1000 * median(self.by_block[name].values())

    def ratio(self, name: str, baseline: str) -> float:
        """Median over the blocks both took of the ratio of their times."""
        return median(self._ratios(name, baseline))

    def middle_half(self, name: str, baseline: str) -> tuple[float, float]:
        """Between which ratios the middle half of the blocks lies: how far to trust the median."""
        ratios = self._ratios(name, baseline)
        if len(ratios) < 2:
            return ratios[0], ratios[0]
        lower, _, upper = quantiles(ratios, n=4, method="inclusive")
        return lower, upper

    def _ratios(self, name: str, baseline: str) -> list[float]:
        own, other = self.by_block[name], self.by_block[baseline]
        return [own[block] / other[block] for block in sorted(own.keys() & other.keys())]


def blocks(count: int, rows: int) -> list[slice]:
    """``count`` masks in blocks of ``rows``; the last may be smaller."""
    return [slice(first, min(first + rows, count)) for first in range(0, count, rows)]


def interleaved(
    contenders: Mapping[str, Contender], taking: list[slice], every: Mapping[str, int]
) -> Times:
    """Time all contenders on all blocks, round robin, each round starting with another one.

    Args:
        every: contender -> it takes only each n-th block, where that is not each one.
    """
    times = Times()
    for number, block in enumerate(taking):
        for name in _rotated(list(contenders), number):
            if number % every.get(name, 1) == 0:
                started = perf_counter()
                contenders[name].run(block)
                times.add(
                    name, block.start, (perf_counter() - started) / (block.stop - block.start)
                )
    return times


def _rotated(names: list[str], by: int) -> Iterator[str]:
    for place in range(len(names)):
        yield names[(place + by) % len(names)]
