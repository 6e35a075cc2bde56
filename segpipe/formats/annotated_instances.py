"""Instances as annotation tools list them, each with a label and shapes, painted into one mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.formats.identifiers import Indexed, Over256, Region
from segpipe.formats.labels import BACKGROUND
from segpipe.formats.overlaps import Instance, Overlaps, Painted, box_of, overlap_findings, paint
from segpipe.formats.painted_instances import indexed_instances
from segpipe.manifests.rows import ImportFinding

_BACKGROUND = Region(0, BACKGROUND, {"isthing": False}, fixed=True)


@dataclass(frozen=True)
class AnnotatedInstance:
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

    def region(self, position: int, visible: int) -> Region:
        """Its region of the mask; ``visible`` of its pixels are seen."""
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
    box = box_of(mask)
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
    instances: Sequence[AnnotatedInstance],
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
    indexed = indexed_instances(painted, instances, _BACKGROUND, over, source)
    return replace(indexed, findings=(*overlapping, *indexed.findings))


def _in_layers(instances: Sequence[AnnotatedInstance], height: int, width: int) -> Painted:
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
