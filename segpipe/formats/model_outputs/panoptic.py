"""Panoptic ids and what they are: the forms of COCO, detectron2 and Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from segpipe.errors import ManifestError, listed, shortened
from segpipe.formats.coco import CocoCategory
from segpipe.formats.given_masks import as_array
from segpipe.formats.identifiers import Over256, Region, index_mask
from segpipe.formats.ids import Ids
from segpipe.formats.json_values import flag
from segpipe.formats.model_outputs.given import (
    OVER_256_ARGUMENT,
    ClassNames,
    Output,
    check_names,
    name_of,
    option_of,
    pixels_of,
    plain,
    probability,
    scalar,
    shown_names,
    whole_numbers,
)
from segpipe.formats.panoptic_segments import VOID, PanopticSegment, disagreements
from segpipe.manifests.rows import ImportFinding

_CLASS_KEYS = ("category_id", "label_id")
_READ = frozenset({"id", "area", "score", "isthing", "iscrowd", *_CLASS_KEYS})


@dataclass(frozen=True)
class _Found:
    """A segment, and metadata that COCO does not know."""

    segment: PanopticSegment
    metadata: Mapping[str, Any]

    @property
    def region(self) -> Region:
        region = self.segment.region
        return replace(region, metadata={**region.metadata, **self.metadata})


@dataclass(frozen=True)
class Categories:
    """Names of classes; of things and stuff apart where their numbers overlap.

    Attributes:
        things: also of all classes, where there is one list.
        stuff: None where there is one list.
        isthing: number -> whether it is a thing, where the list says so.
    """

    things: ClassNames
    stuff: ClassNames | None
    isthing: Mapping[int, bool | None]

    @classmethod
    def of(cls, given: Any, of: str) -> Categories:
        """From a list of names or of COCO's categories, a dict of names, or what has
        ``thing_classes`` and ``stuff_classes``, as detectron2's metadata do.

        Raises:
            ManifestError: if it is none of them.
        """
        lists = ("thing_classes", "stuff_classes")
        if isinstance(given, Mapping):
            things, stuff = (given.get(name) for name in lists)
        else:
            things, stuff = (getattr(given, name, None) for name in lists)
        if things is not None or stuff is not None:
            return cls(things or (), stuff or (), {})
        if isinstance(given, (list, tuple)) and given and isinstance(given[0], Mapping):
            try:
                names = {int(one["id"]): str(one["name"]) for one in given}
                return cls(names, None, {int(c["id"]): flag(c.get("isthing")) for c in given})
            except (KeyError, TypeError, ValueError):
                raise ManifestError(
                    f"the categories of {of!r} have an entry without id and name, expected "
                    '{"id": ..., "name": ...}'
                ) from None
        check_names(given, f"the categories of {of!r}")
        return cls(given, None, {})

    def category(self, number: int, isthing: bool | None, said: str) -> CocoCategory:
        """The class of a segment.

        Raises:
            ManifestError: if it has no name.
        """
        if self.stuff is not None and isthing is None:
            raise ManifestError(
                f"{said} does not say isthing, and things and stuff have names of their own"
            )
        names = self.stuff if self.stuff is not None and isthing is False else self.things
        name = name_of(number, names)
        if name is None:
            raise ManifestError(
                f"{said} is of class {number}, which has no name (names: {shown_names(names)})"
            )
        return CocoCategory(number, name, self.isthing.get(number) if isthing is None else isthing)


def panoptic_output(
    ids: Any, segments_info: Any, categories: Any, void_id: int | None, over_256: str, of: str
) -> Output:
    """Panoptic ids as one mask, each with its Segment.

    Args:
        ids: H x W whole numbers, or H x W x 3 colours of a COCO panoptic PNG.
        void_id: the id of unlabelled pixels; None for -1 where it occurs, else 0.
        of: the item, for messages.

    Raises:
        ManifestError: naming the item, if ids and segments contradict each other.
    """
    over = option_of(Over256, over_256, "over_256")
    read = _ids(ids, of)
    found = _found(segments_info, Categories.of(categories, of), of)
    declared = {one.segment.id for one in found}
    void = _void(void_id, read, declared)
    areas = {id: area for id, area in read.areas.items() if id != void or id in declared}
    present = [one for one in found if one.segment.id in areas]
    contradictions = list(
        disagreements([one.segment for one in present], areas, repr(of), None, "array")
    )
    if 0 in areas and 0 not in declared:
        words = f"{of!r}: id 0 has {areas[0]:,} pixels and no segment, beside -1 for void"
        contradictions.append(ImportFinding("VALUE-NO-SEGMENT", words))
    if contradictions:
        hint = ""
        if any(one.rule == "VALUE-NO-SEGMENT" for one in contradictions):
            hint = "; void_id=... names the id of unlabelled pixels"
        raise ManifestError("; ".join(one.message for one in contradictions) + hint)
    regions = {one.segment.id: one.region for one in present}
    if void not in declared:
        regions[void] = Region(void, VOID, {"source_id": void, "ignore": True}, fixed=True)
    indexed = index_mask(read, regions, over, repr(of), OVER_256_ARGUMENT)
    if indexed.mask is None:
        raise ManifestError(indexed.findings[-1].message)
    findings = (*_vanished(found, areas, of), *indexed.findings)
    return Output(pixels_of(indexed.mask), indexed.segments, findings)


def _ids(given: Any, of: str) -> Ids:
    said = f"the array of ids of {of!r}"
    array = whole_numbers(as_array(given, said), said)
    if array.ndim == 2:
        return Ids.of(array)
    if array.dtype != np.uint8:
        raise ManifestError(f"{said} has shape {array.shape} and {array.dtype}; colours are uint8")
    return Ids.of_colours(np.ascontiguousarray(array))


def _void(given: int | None, ids: Ids, declared: set[int]) -> int:
    if given is not None:
        return int(given)
    return -1 if -1 in ids.areas and -1 not in declared else 0


def _found(segments_info: Any, categories: Categories, of: str) -> list[_Found]:
    if isinstance(segments_info, (str, bytes, Mapping)) or not isinstance(segments_info, Sequence):
        hint = ""
        if segments_info is None:
            hint = ": of ids without a description, such as those of cells, give add_instances"
        raise ManifestError(
            f"segments_info of {of!r} is {shortened(repr(segments_info), 80)}, expected a list of "
            f"dicts, one for each id{hint}"
        )
    by_id: dict[int, list[_Found]] = {}
    for place, entry in enumerate(segments_info):
        one = _one(entry, categories, f"segment {place} of {of!r}")
        by_id.setdefault(one.segment.id, []).append(one)
    return [group[0] if len(group) == 1 else _fused(group, of) for group in by_id.values()]


def _one(entry: Any, categories: Categories, said: str) -> _Found:
    if not isinstance(entry, Mapping):
        raise ManifestError(f"{said} is {shortened(repr(entry), 80)}, expected a dict")
    known = {str(key): scalar(value) for key, value in entry.items()}
    key = next((one for one in _CLASS_KEYS if one in known), None)
    number = known.get(key) if key else None
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise ManifestError(
            f"{said} has the class {number!r}, expected a number under category_id or label_id "
            f"(it has {listed(list(known))})"
        )
    probability(known.get("score"), f"the score of {said}")
    isthing = flag(known.get("isthing"))
    if isthing is None and known.get("isthing") is not None:
        raise ManifestError(f"isthing of {said} is {known['isthing']!r}, expected true or false")
    category = categories.category(number, isthing, said)
    try:
        segment = PanopticSegment.of({**known, "category_id": number}, {number: category})
    except ValueError as error:
        raise ManifestError(f"{said}: {error}") from None
    return _Found(segment, {key: plain(one) for key, one in entry.items() if key not in _READ})


def _fused(group: Sequence[_Found], of: str) -> _Found:
    """One segment of those with the same id, where they are parts of the same stuff.

    Raises:
        ManifestError: if they are of different classes, or nothing says that they were fused.
    """
    first = group[0]
    names = [one.segment.category.name for one in group]
    alike = all(one.segment.category == first.segment.category for one in group)
    if not alike or not all(one.metadata.get("was_fused") for one in group):
        raise ManifestError(
            f"the id {first.segment.id} of {of!r} is given {len(group)} times in segments_info "
            f"({listed(names)}): nobody can tell whose its pixels are. In Hugging Face's panoptic "
            "results label_ids_to_fuse makes such ids; pass label_ids_to_fuse=set()"
        )
    scores = [one.segment.score for one in group if one.segment.score is not None]
    told: dict[str, Any] = {"n_merged": len(group)}
    score = first.segment.score
    if scores:
        score = sum(scores) / len(scores)  # their areas are not known apart
        told |= {"confidence_min": min(scores), "confidence_max": max(scores)}
    segment = replace(first.segment, score=score)
    return _Found(segment, {**first.metadata, **told})


def _vanished(
    found: Sequence[_Found], areas: Mapping[int, int], of: str
) -> tuple[ImportFinding, ...]:
    """A finding where segments have no pixels: later ones were painted over them."""
    hidden = [one.segment for one in found if one.segment.id not in areas]
    if not hidden:
        return ()
    told = listed([f"{one.id} ({one.category.name})" for one in hidden], 5)
    words = (
        f"{of!r}: {len(hidden)} of {len(found)} segments have no pixels, and get no Segment: {told}"
    )
    return (ImportFinding("OVERLAP-HIDDEN", words, f"{len(hidden)} of {len(found)}"),)
