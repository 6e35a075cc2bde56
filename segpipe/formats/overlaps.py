"""Instance masks painted into one mask; an option chooses which is on top where they overlap.

``score``: the higher score is on top; where any instance of the image has no score, as ``area``,
with a finding. ``area``: the smaller is on top. Ties: the earlier in the list is on top. ``last``:
the later in the list is on top, as annotation tools show it. ``error``: an overlap is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from segpipe.manifests.rows import ImportFinding

#: How the option is written on the command line; ``{}`` is its value.
OVERLAPS = "--overlaps {}"
# An instance that lost more than this share of its pixels is reported.
_HIDDEN_SHARE = 0.5


class Overlaps(StrEnum):
    """Which instance a pixel belongs to where several cover it."""

    SCORE = "score"
    AREA = "area"
    LAST = "last"
    ERROR = "error"


@dataclass(frozen=True)
class Instance:
    """One instance to paint.

    Attributes:
        area: number of its pixels, hidden ones included.
        decode: returns its mask, H x W bool; called once, so that one is in memory at a time.
    """

    area: int
    score: float | None
    decode: Callable[[], NDArray[np.bool_]]


@dataclass(frozen=True)
class Painted:
    """Instances in one mask.

    Attributes:
        instance_ids: H x W int32; the instance's position in the list + 1; 0 where there is none.
        visible: number of visible pixels of each instance, in the list's order.
        overlapping: number of pixels that several instances cover.
    """

    instance_ids: NDArray[np.int32]
    visible: tuple[int, ...]
    overlapping: int


def paint(instances: Sequence[Instance], height: int, width: int, overlaps: Overlaps) -> Painted:
    """Paint instances over each other.

    Args:
        height, width: of the image, in pixels; every instance's mask has this shape.
    """
    instance_ids = np.zeros((height, width), np.int32)
    overlapping = np.zeros((height, width), np.bool_)
    for position in _order(instances, overlaps):
        mask = instances[position].decode()
        box = box_of(mask)  # most instances are much smaller than their image
        inside, below = mask[box], instance_ids[box]
        overlapping[box] |= inside & (below > 0)
        below[inside] = position + 1
    counts = np.bincount(instance_ids.ravel(), minlength=len(instances) + 1)
    return Painted(instance_ids, tuple(counts[1:].tolist()), int(overlapping.sum()))


def box_of(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns between which all pixels of an H x W mask are; empty if it has none."""
    rows = _between(np.logical_or.reduce(mask, axis=1))
    return rows, _between(np.logical_or.reduce(mask[rows], axis=0))


def _between(found: NDArray[np.bool_]) -> slice:
    places = np.flatnonzero(found)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0)


def _order(instances: Sequence[Instance], overlaps: Overlaps) -> list[int]:
    """Positions in painting order, the topmost last."""
    if overlaps is Overlaps.LAST:
        return list(range(len(instances)))
    scored = overlaps is Overlaps.SCORE and _scored(instances)

    def key(position: int) -> tuple[float, int]:
        one = instances[position]
        return (one.score or 0.0, -position) if scored else (-float(one.area), -position)

    return sorted(range(len(instances)), key=key)


def overlap_findings(
    painted: Painted,
    instances: Sequence[Instance],
    overlaps: Overlaps,
    source: str,
    option: str = OVERLAPS,
) -> tuple[ImportFinding, ...]:
    """Findings about overlaps; with ``Overlaps.ERROR`` a single one that refuses the image.

    Args:
        option: how ``overlaps`` is chosen, for messages.
    """
    if overlaps is Overlaps.ERROR and painted.overlapping:
        return (
            ImportFinding(
                "OVERLAP-REFUSED",
                f"{source}: instances overlap in {painted.overlapping:,} pixels; "
                f"{option.format('score')}, {option.format('area')} or {option.format('last')} "
                "says which is on top",
                found=f"{painted.overlapping} pixels",
                expected="no overlap",
            ),
        )
    findings = []
    if overlaps is Overlaps.SCORE and painted.overlapping and not _scored(instances):
        findings.append(
            ImportFinding(
                "OVERLAP-HIDDEN",
                f"{source}: not every instance has a score, so the smaller was painted on top",
            )
        )
    hidden = [
        position
        for position, (one, visible) in enumerate(zip(instances, painted.visible, strict=True))
        if one.area and visible < (1 - _HIDDEN_SHARE) * one.area
    ]
    if hidden:
        findings.append(
            ImportFinding(
                "OVERLAP-HIDDEN",
                f"{source}: {len(hidden)} of {len(instances)} instances lost over half of their "
                f"pixels to others ({option.format(overlaps)})",
                found=f"{len(hidden)} of {len(instances)}",
            )
        )
    return tuple(findings)


def _scored(instances: Sequence[Instance]) -> bool:
    return all(one.score is not None for one in instances)
