"""Instances given as masks of their own, painted into one: who is on top is a named choice.

``score``: the lower score first, so that the higher is on top; where an instance of the image has
no score, larger first, and that is told. ``area``: the larger first, so that the smaller is on top.
Of equals the earlier in the list is on top. ``error``: no pixel may be covered twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from segpipe.manifests.rows import ImportFinding

# An instance that lost more than this share of its pixels is told.
_MUCH = 0.5


class Overlaps(StrEnum):
    """Which instance a pixel belongs to that several cover."""

    SCORE = "score"
    AREA = "area"
    ERROR = "error"


@dataclass(frozen=True)
class Instance:
    """One instance to paint.

    Attributes:
        area: its pixels, hidden ones included.
        decode: gives its mask, H x W bool; called once, so that one is in memory at a time.
    """

    area: int
    score: float | None
    decode: Callable[[], NDArray[np.bool_]]


@dataclass(frozen=True)
class Painted:
    """Instances in one mask.

    Attributes:
        places: H x W int32; place in the list + 1, and 0 where there is none.
        visible: pixels left of each instance, in the list's order.
        twice: pixels that several instances cover.
    """

    places: NDArray[np.int32]
    visible: tuple[int, ...]
    twice: int


def paint(instances: Sequence[Instance], height: int, width: int, overlaps: Overlaps) -> Painted:
    """Paint instances over each other."""
    places = np.zeros((height, width), np.int32)
    twice = np.zeros((height, width), np.bool_)
    for place in _order(instances, overlaps):
        mask = instances[place].decode()
        twice |= mask & (places > 0)
        places[mask] = place + 1
    counts = np.bincount(places.ravel(), minlength=len(instances) + 1)
    return Painted(places, tuple(counts[1:].tolist()), int(twice.sum()))


def _order(instances: Sequence[Instance], overlaps: Overlaps) -> list[int]:
    scored = overlaps is Overlaps.SCORE and _scored(instances)

    def key(place: int) -> tuple[float, int]:
        one = instances[place]
        return (one.score or 0.0, -place) if scored else (-float(one.area), -place)

    return sorted(range(len(instances)), key=key)


def overlap_findings(
    painted: Painted, instances: Sequence[Instance], overlaps: Overlaps, source: str
) -> tuple[ImportFinding, ...]:
    """What is to be said of overlaps; a refusal where they were to be an error."""
    if overlaps is Overlaps.ERROR and painted.twice:
        return (
            ImportFinding(
                "OVERLAP-REFUSED",
                f"{source}: instances overlap in {painted.twice:,} pixels; import with --overlaps "
                "score or --overlaps area to choose which is on top",
                found=f"{painted.twice} pixels",
                expected="no overlap",
            ),
        )
    told = []
    if overlaps is Overlaps.SCORE and painted.twice and not _scored(instances):
        told.append(
            ImportFinding(
                "OVERLAP-HIDDEN",
                f"{source}: not every instance has a score, so the smaller was painted on top",
            )
        )
    hidden = [
        place
        for place, (one, visible) in enumerate(zip(instances, painted.visible, strict=True))
        if one.area and visible < (1 - _MUCH) * one.area
    ]
    if hidden:
        told.append(
            ImportFinding(
                "OVERLAP-HIDDEN",
                f"{source}: {len(hidden)} of {len(instances)} instances lost over half of their "
                f"pixels to others (--overlaps {overlaps})",
                found=f"{len(hidden)} of {len(instances)}",
            )
        )
    return tuple(told)


def _scored(instances: Sequence[Instance]) -> bool:
    return all(one.score is not None for one in instances)
