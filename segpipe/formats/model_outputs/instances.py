"""Instances with masks of their own as one mask: what ``ManifestWriter.add_instances`` does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from segpipe.errors import ManifestError, shortened
from segpipe.formats.given_masks import as_array
from segpipe.formats.identifiers import Over256, Region
from segpipe.formats.model_outputs.detections import Detections, class_numbers, read_detections
from segpipe.formats.model_outputs.given import (
    OVER_256_ARGUMENT,
    OVERLAPS_ARGUMENT,
    ClassNames,
    Output,
    check_names,
    members,
    name_of,
    option_of,
    pixels_of,
    probability,
    shown_names,
)
from segpipe.formats.model_outputs.instance_masks import InstanceMasks, OneMask, read_masks
from segpipe.formats.overlaps import Overlaps, Painted, overlap_findings, paint
from segpipe.formats.painted_instances import LabelledInstance, indexed_instances
from segpipe.formats.panoptic_segments import VOID
from segpipe.manifests.rows import ImportFinding


@dataclass(frozen=True)
class InstanceOptions:
    """See :meth:`ManifestWriter.add_instances`."""

    overlaps: str = "score"
    over_256: str = "refuse"
    background: str | None = "background"
    names: ClassNames | None = None
    threshold: float | None = None


def instance_output(
    masks: Any,
    labels: Any,
    scores: Any,
    boxes: Any,
    size: tuple[int | None, int | None],
    options: InstanceOptions,
    of: str,
) -> Output:
    """Instances painted into one mask.

    Args:
        size: height and width of the image, where given.
        of: the item, for messages.

    Raises:
        ManifestError: naming the item, if they are contradictory, or an option refuses them.
    """
    overlaps = option_of(Overlaps, options.overlaps, "overlaps")
    over = option_of(Over256, options.over_256, "over_256")
    found = read_detections(masks, of)
    if scores is not None:
        found = replace(found, scores=scores, ranked=True)
    if boxes is not None:
        found = replace(found, boxes=boxes)
    # What the caller says goes before what an object says.
    given = (size[0] or found.size[0], size[1] or found.size[1])
    read = read_masks(found.masks, given, options.threshold, of)
    if None not in found.size and read.size != found.size:
        raise ManifestError(f"{of!r}: masks of {read.size} for an image of {found.size}")
    instances = _instances(read, labels, found, options.names, of)
    if overlaps is Overlaps.SCORE and not found.ranked:
        overlaps = Overlaps.AREA
    painted = _painted(read, instances, overlaps)
    shown = repr(of)
    findings = overlap_findings(painted, instances, overlaps, shown, OVERLAPS_ARGUMENT)
    if overlaps is Overlaps.ERROR and findings:
        raise ManifestError(findings[0].message)
    background = _background(options.background)
    indexed = indexed_instances(painted, instances, background, over, shown, OVER_256_ARGUMENT)
    if indexed.mask is None:
        raise ManifestError(indexed.findings[-1].message)
    findings = (*_vanished(read, instances, of), *findings, *indexed.findings)
    return Output(pixels_of(indexed.mask), indexed.segments, findings)


def _painted(
    read: InstanceMasks, instances: Sequence[LabelledInstance], overlaps: Overlaps
) -> Painted:
    if read.ids is None:
        return paint(instances, *read.size, overlaps)
    return Painted(read.ids, tuple(one.area for one in instances), 0)


def _background(label: str | None) -> Region:
    if label is None:
        return Region(0, VOID, {"ignore": True}, fixed=True)
    if not isinstance(label, str):
        raise ManifestError(
            f"background is {label!r}, expected a label, or None for an ignored void"
        )
    return Region(0, label, {"isthing": False}, fixed=True)


def _instances(
    read: InstanceMasks, labels: Any, found: Detections, names: ClassNames | None, of: str
) -> list[LabelledInstance]:
    count = len(read.masks)
    named = _labels(labels, found, names, count, of)
    said = f"the scores of {of!r}"
    scores = [None] * count if found.scores is None else members(found.scores, said)
    _check_count(scores, count, "scores", of)
    confidences = [
        probability(score, f"the score of instance {place} of {of!r}")
        for place, score in enumerate(scores)
    ]
    metadata = [dict(one) for one in found.metadata] or [{} for _ in range(count)]
    _check_count(metadata, count, "entries", of)
    boxes = _boxes(found.boxes, count, of)
    return [
        _instance(mask, *label, confidence, extra, box)
        for mask, label, confidence, extra, box in zip(
            read.masks, named, confidences, metadata, boxes, strict=True
        )
    ]


def _instance(
    mask: OneMask,
    label: str,
    number: int | None,
    confidence: float | None,
    metadata: Mapping[str, Any],
    box: list[float] | None,
) -> LabelledInstance:
    known = {"category_id": number, "box": box}
    told = {key: value for key, value in known.items() if value is not None}
    return LabelledInstance(
        mask.area, confidence, mask.decode, label, {"isthing": True, **metadata, **told}
    )


def _labels(
    labels: Any, found: Detections, names: ClassNames | None, count: int, of: str
) -> list[tuple[str, int | None]]:
    """The label of each instance, and its class number where it has one."""
    if isinstance(labels, str):
        return [(labels, None)] * count
    if isinstance(labels, Mapping):
        names, labels = labels, None
    names = found.names if names is None else names
    numbers = None if found.classes is None else class_numbers(found.classes, of)
    given = labels
    if given is None and names is None:
        given = found.labels
    if given is None:
        given = numbers
    if given is None:
        if not count:
            return []
        raise ManifestError(
            f"{of!r} has {count} instances and no labels: give one for each, or one text for all"
        )
    listed = members(given, f"the labels of {of!r}")
    _check_count(listed, count, "labels", of)
    if numbers is None or len(numbers) != count:
        numbers = None
    return [
        _label(one, None if numbers is None else numbers[place], names, place, of)
        for place, one in enumerate(listed)
    ]


def _label(
    given: Any, number: int | None, names: ClassNames | None, place: int, of: str
) -> tuple[str, int | None]:
    if isinstance(given, str):
        return str(given), number
    said = f"the label of instance {place} of {of!r}"
    if isinstance(given, bool) or not isinstance(given, (int, float)) or given % 1 != 0:
        raise ManifestError(
            f"{said} is {shortened(repr(given), 80)}, expected text or a class number"
        )
    number = int(given)
    if names is None:
        raise ManifestError(f"{said} is the number {number}: give names=[...] of the classes")
    check_names(names, "names")
    name = name_of(number, names)
    if name is None:
        raise ManifestError(f"{said} is {number}, which has no name (names: {shown_names(names)})")
    return name, number


def _boxes(boxes: Any, count: int, of: str) -> list[list[float] | None]:
    if boxes is None or (not count and not len(boxes)):
        return [None] * count
    if isinstance(boxes, (list, tuple)):
        boxes = np.array([np.asarray(one, np.float64) for one in boxes])
    array = as_array(boxes, f"the boxes of {of!r}")
    if array.ndim != 2 or array.shape[1] != 4:
        raise ManifestError(f"the boxes of {of!r} have shape {array.shape}, expected N x 4")
    listed: list[list[float] | None] = array.tolist()
    _check_count(listed, count, "boxes", of)
    if any(not math.isfinite(value) for one in listed for value in one or ()):
        raise ManifestError(f"the boxes of {of!r} hold NaN or infinite values")
    return listed


def _check_count(given: Sequence[Any], count: int, what: str, of: str) -> None:
    if len(given) != count:
        hint = "; the names of classes are given as names=..." if what == "labels" else ""
        raise ManifestError(f"{of!r} has {count} masks and {len(given)} {what}{hint}")


def _vanished(
    read: InstanceMasks, instances: Sequence[LabelledInstance], of: str
) -> tuple[ImportFinding, ...]:
    """A finding where masks have no pixel, as thresholds and tiny outlines make them."""
    empty = [place for place, one in enumerate(read.masks) if not one.area]
    if not empty:
        return ()
    words = (
        f"{of!r}: {len(empty)} of {len(instances)} instances have no pixel in their own mask, such "
        f"as instance {empty[0]} ({shortened(instances[empty[0]].label, 80)})"
    )
    return (ImportFinding("OVERLAP-HIDDEN", words, f"{len(empty)} of {len(instances)}"),)
