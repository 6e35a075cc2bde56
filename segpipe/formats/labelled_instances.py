"""Instances that have a label and a mask of their own, painted into one prediction.

Index 0 is ``background``, index k the k-th instance in the file; where there are more than 255, see
``identifiers``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.formats.identifiers import Indexed, Over256, Region, index_mask
from segpipe.formats.ids import Ids
from segpipe.formats.labels import BACKGROUND
from segpipe.formats.overlaps import Instance, Overlaps, Painted, overlap_findings, paint
from segpipe.manifests.rows import ImportFinding

MOST_INSTANCES = 255


@dataclass(frozen=True)
class LabelledInstance:
    """One instance.

    Attributes:
        painted: its mask and score.
        metadata: what the format says of it besides.
        layers: the shapes it is made of, where the format groups shapes, each with its place in the
            order of all shapes of the image: others may lie between them.
    """

    label: str
    painted: Instance
    metadata: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[tuple[tuple[int, int], Instance], ...] = ()

    def _region(self, position: int, visible: int) -> Region:
        metadata = {
            "isthing": True,
            **self.metadata,
            "instance": position,
            "area": self.painted.area,
            "visible_area": visible,
        }
        return Region(position, self.label, metadata, self.painted.score)


def cut_out(mask: NDArray[np.bool_], score: float | None = None) -> Instance:
    """An instance of a mask, of which the part within its box is kept.

    Args:
        mask: H x W.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return Instance(0, score, lambda: np.zeros(mask.shape, np.bool_))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    part, shape = mask[box].copy(), mask.shape

    def decode() -> NDArray[np.bool_]:
        whole = np.zeros(shape, np.bool_)
        whole[box] = part
        return whole

    return Instance(int(part.sum()), score, decode)


def left_out(parts: Mapping[str, int], source: str) -> tuple[ImportFinding, ...]:
    """A finding about parts of a record that are not in the prediction; none for nothing.

    Args:
        parts: what they are -> how many.
        source: the record, for messages.
    """
    if not parts:
        return ()
    counted = ", ".join(f"{count} {what}" for what, count in sorted(parts.items()))
    return (ImportFinding("IMPORT-LEFT-OUT", f"{source}: left out: {counted}", counted),)


def in_one_mask(
    instances: Sequence[LabelledInstance],
    height: int,
    width: int,
    overlaps: Overlaps,
    over: Over256,
    source: str,
) -> Indexed:
    """Paint instances into one mask.

    Args:
        height, width: of the image, in pixels; every instance's mask has this shape.
        overlaps: which is on top.
        over: what is done with more than 256 ids.
        source: for messages.

    Returns:
        The mask and its Segments, with findings about what is hidden or merged; findings without a
        mask where it is refused.
    """
    to_paint = [one.painted for one in instances]
    if overlaps is Overlaps.LAST and all(one.layers for one in instances):
        painted = _in_layers(instances, height, width)
    else:
        painted = paint(to_paint, height, width, overlaps)
    overlapping = overlap_findings(painted, to_paint, overlaps, source)
    indexed = _indexed(painted, instances, over, source)
    return replace(indexed, findings=(*overlapping, *indexed.findings))


def _in_layers(instances: Sequence[LabelledInstance], height: int, width: int) -> Painted:
    """Instances painted shape by shape, in the order of all shapes."""
    layers = [
        (order, position, layer)
        for position, one in enumerate(instances, 1)
        for order, layer in one.layers
    ]
    layers.sort(key=lambda one: one[0])
    shapes = paint([layer for *_, layer in layers], height, width, Overlaps.LAST)
    owner = np.array([0, *(position for _, position, _ in layers)], np.int32)
    ids = owner[shapes.instance_ids]
    counts = np.bincount(ids.ravel(), minlength=len(instances) + 1)
    return Painted(ids, tuple(counts[1:].tolist()), shapes.overlapping)


def _indexed(
    painted: Painted, instances: Sequence[LabelledInstance], over: Over256, source: str
) -> Indexed:
    regions = {0: Region(0, BACKGROUND, {"isthing": False}, fixed=True)}
    for position, (one, visible) in enumerate(zip(instances, painted.visible, strict=True), 1):
        regions[position] = one._region(position, visible)
    if len(instances) > MOST_INSTANCES:
        indexed = index_mask(Ids.of(painted.instance_ids), regions, over, source)
        return replace(indexed, findings=(*_dropped(painted, source), *indexed.findings))
    # Every instance keeps its index, hidden ones too.
    has_background = bool((painted.instance_ids == 0).any())
    segments = tuple(
        region.segment(position)
        for position, region in regions.items()
        if position or has_background
    )
    return Indexed(Ids.of(painted.instance_ids.astype(np.uint8)), segments)


def _dropped(painted: Painted, source: str) -> tuple[ImportFinding, ...]:
    """A finding where hidden instances get no Segment."""
    hidden = sum(visible == 0 for visible in painted.visible)
    if not hidden:
        return ()
    words = (
        f"{source}: {hidden} of {len(painted.visible)} instances have no visible pixel, and get no "
        f"Segment: more than {MOST_INSTANCES} do not fit one mask"
    )
    return (ImportFinding("OVERLAP-HIDDEN", words, f"{hidden} of {len(painted.visible)}"),)
