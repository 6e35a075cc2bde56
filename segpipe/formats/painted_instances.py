"""Instances that were painted into one mask, as mask indexes and a Segment for each.

Index 0 is the background, index k the k-th instance: also a hidden one keeps its Segment. Where
there are more than 255 instances, see ``identifiers``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from segpipe.formats.identifiers import OVER_256, Indexed, Over256, Region, index_mask
from segpipe.formats.ids import Ids
from segpipe.formats.overlaps import Instance, Painted
from segpipe.manifests.rows import ImportFinding

_MOST_INSTANCES = 255


@dataclass(frozen=True)
class LabelledInstance(Instance):
    """An instance to paint, and what it is.

    Attributes:
        metadata: of its Segment, besides ``confidence`` (its score), ``instance`` (its place among
            the instances, from 1), ``area`` and ``visible_area``.
    """

    label: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def region(self, place: int, visible: int) -> Region:
        """Its region of the mask; ``visible`` of its pixels are seen."""
        metadata = {
            **self.metadata,
            "instance": place,
            "area": self.area,
            "visible_area": visible,
        }
        return Region(place, self.label, metadata, self.score)


class _HasRegion(Protocol):
    def region(self, place: int, visible: int, /) -> Region: ...


def indexed_instances(
    painted: Painted,
    instances: Sequence[_HasRegion],
    background: Region,
    over: Over256,
    shown: str,
    option: str = OVER_256,
) -> Indexed:
    """Painted instances as an index mask.

    Args:
        painted: the instances, in the same order.
        background: the region of id 0.
        over: what is done with more than 256 ids.
        shown: the image, for messages.
        option: how ``over`` is chosen, for messages.
    """
    seen = zip(instances, painted.visible, strict=True)
    regions = {
        0: background,
        **{place: one.region(place, visible) for place, (one, visible) in enumerate(seen, 1)},
    }
    if len(instances) > _MOST_INSTANCES:
        indexed = index_mask(Ids.of(painted.instance_ids), regions, over, shown, option)
        return replace(indexed, findings=(*_dropped(painted, shown), *indexed.findings))
    has_background = bool((painted.instance_ids == 0).any())
    segments = tuple(
        region.segment(place) for place, region in regions.items() if place or has_background
    )
    return Indexed(Ids.of(painted.instance_ids.astype(np.uint8)), segments)


def _dropped(painted: Painted, shown: str) -> tuple[ImportFinding, ...]:
    """A finding where hidden instances get no Segment."""
    hidden = sum(visible == 0 for visible in painted.visible)
    if not hidden:
        return ()
    words = (
        f"{shown}: {hidden} of {len(painted.visible)} instances have no visible pixel, and get no "
        f"Segment: more than {_MOST_INSTANCES} do not fit one mask"
    )
    return (ImportFinding("OVERLAP-HIDDEN", words, f"{hidden} of {len(painted.visible)}"),)
