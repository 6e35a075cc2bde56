"""Consolidation: the views of a prediction, from panoptic to instance to semantic.

A view is a coarser form of the same prediction. Pixel values are mapped by a lookup table of 256
entries, and Segments are merged and renumbered to match. No pixel is added or dropped.

**instance**: stuff and crowds become one Segment at index 0 with the label ``background`` (in the
taxonomy's spelling, else the prediction's). Things and ignored Segments stay as they are. Index 0
always means background: any other Segment at 0 moves to the lowest index that the prediction does
not use. (Only if 256 things use all indexes, so that nothing is background, a thing stays at 0.)

**semantic**: one Segment per label. With a taxonomy, a label's index is its position in it; other
labels follow in alphabetical order. Without one, the labels of each prediction are numbered from 0
in alphabetical order. Ignored Segments are merged among themselves, never with others of their
label, and keep their index unless another label takes it.

The kind of a Segment is decided by the first of these that applies: ``ignore`` in its metadata;
``iscrowd`` in its metadata; its label in the taxonomy; ``isthing`` in its metadata; the label
``background``, in any letter case, which is stuff. If none applies, the Segment is kept as a thing,
since nothing becomes background silently, and its label is listed in ``undecided``. The three flags
may be true/false, 1/0, or either as text; any other value is ignored.

The metadata of a Segment that a view merged, moved or renamed records ``n_merged`` and
``source_indexes``: how many Segments of the original prediction it stands for, and their indexes.
For merged Segments, ``confidence`` is the area-weighted mean of those that have one (unweighted if
none of them has pixels), ``confidence_min`` and ``confidence_max`` are the extremes, ``class_pdf``
is the mixture of their class PDFs with the same weights, and any other key is kept if every Segment
has it with the same value. In the PDF of the instance view's background, the classes that are stuff
are summed under its label. Unaffected Segments keep their metadata, so
that consolidating twice gives the same result. Segments that an earlier view merged count as the
Segments they were merged from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import SettingsError
from segpipe.predictions.declared_metadata import Declared
from segpipe.predictions.flags import flag_of
from segpipe.predictions.metadata import canonical_metadata, confidence_of, metadata_json
from segpipe.predictions.prediction import Segment
from segpipe.predictions.view import View
from segpipe.views.merged_pdfs import MergedPdf

#: Label of the Segment that the instance view merges stuff and crowds into.
BACKGROUND = "background"
_BACKGROUND_INDEX = 0
_VALUES = 256
_CONFIDENCES = ("confidence", "confidence_min", "confidence_max")
_SOURCES = ("n_merged", "source_indexes")
_FLAGS = ("ignore", "iscrowd", "isthing")


class _Kind(StrEnum):
    IGNORED = "ignored"
    CROWD = "crowd"
    STUFF = "stuff"
    THING = "thing"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Consolidated:
    """The view of a prediction: how its pixel values are mapped, and its Segments.

    Attributes:
        lookup: uint8 of shape (256,): original pixel value -> pixel value in the view.
        segments: of the view, sorted by index; indexes are distinct.
        undecided: labels of Segments that an instance view keeps as things because their kind is
            not known; sorted, one per Segment.
    """

    lookup: NDArray[np.uint8]
    segments: tuple[Segment, ...]
    undecided: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Group:
    """Segments that become one; a pixel value without a Segment is a group without members."""

    members: tuple[Segment, ...]
    label: str
    index: int  # the lowest of the members
    ignored: bool = False
    background: bool = False


@dataclass(frozen=True)
class Consolidation:
    """How a model run's predictions are consolidated into a view.

    Args:
        view: as given, instance or semantic.
        taxonomy: label -> ``thing`` or ``stuff``; its order numbers the labels of the semantic
            view. Empty if the Segments' metadata defines their kind.
        metadata: keys of the metadata that are columns of the view's tables, too; merged Segments
            have a value where all have the same.

    Raises:
        SettingsError: if the taxonomy does not suit the view: it has more than 256 labels to
            number, or ``background`` is a thing.
    """

    view: View
    taxonomy: Mapping[str, str]
    metadata: Declared = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.view is View.SEMANTIC and len(self.taxonomy) > _VALUES:
            raise SettingsError(
                f"the taxonomy has {len(self.taxonomy)} labels, and the semantic view can number "
                f"{_VALUES}: list fewer, or publish as given or instance"
            )
        things = [label for label, kind in self.taxonomy.items() if kind == "thing"]
        background = _background(things)
        if self.view is View.INSTANCE and background is not None:
            raise SettingsError(
                f"the taxonomy calls {background!r} a thing, and the instance view merges stuff "
                "under that label: make it stuff, or give the thing another label"
            )

    def of(self, segments: Sequence[Segment], areas: NDArray[np.int64]) -> Consolidated:
        """The view of one prediction.

        Args:
            segments: in any order, with distinct indexes from 0 to 255.
            areas: int64 of shape (256,): number of pixels of each value. Values with pixels but no
                Segment (if the policy accepts them) are never merged with others.
        """
        ordered = tuple(sorted(segments, key=lambda one: one.index))
        if self.view is View.GIVEN:
            return Consolidated(np.arange(_VALUES, dtype=np.uint8), ordered)
        kinds = [self._kind(segment) for segment in ordered]
        groups = self._groups(ordered, kinds)
        declared = {segment.index for segment in ordered}
        unexplained = [v for v in np.flatnonzero(areas).tolist() if v not in declared]
        groups += [_Group((), "", value) for value in unexplained]
        if self.view is View.INSTANCE:
            indexes = _instance_indexes(groups, declared.union(unexplained))
        else:
            indexes = self._semantic_indexes(groups)
        lookup = np.arange(_VALUES, dtype=np.uint8)
        stuff = {label for label, kind in self.taxonomy.items() if kind == "stuff"}
        stuff |= {s.label for s, kind in zip(ordered, kinds, strict=True) if kind is _Kind.STUFF}
        made = []
        for group, index in zip(groups, indexes, strict=True):
            lookup[[one.index for one in group.members] or [group.index]] = index
            if group.members:
                made.append(_segment(group, index, areas, tuple(self.taxonomy), stuff))
        undecided = [
            segment.label
            for segment, kind in zip(ordered, kinds, strict=True)
            if kind is _Kind.UNDECIDED and self.view is View.INSTANCE
        ]
        return Consolidated(
            lookup, tuple(sorted(made, key=lambda one: one.index)), tuple(sorted(undecided))
        )

    def is_thing(self, segment: Segment) -> bool:
        """Whether a Segment's class is a thing class or not known; true for its crowds as well."""
        flag = {"isthing": segment.metadata.get("isthing")}
        kind = self._kind(Segment(segment.label, segment.index, flag))
        return kind in (_Kind.THING, _Kind.UNDECIDED)

    def _kind(self, segment: Segment) -> _Kind:
        metadata = segment.metadata
        if flag_of(metadata.get("ignore")):
            return _Kind.IGNORED
        if flag_of(metadata.get("iscrowd")):
            return _Kind.CROWD
        kind = self.taxonomy.get(segment.label)
        if kind is not None:
            return _Kind(kind)
        is_thing = flag_of(metadata.get("isthing"))
        if is_thing is None:
            return _Kind.STUFF if _background([segment.label]) else _Kind.UNDECIDED
        return _Kind.THING if is_thing else _Kind.STUFF

    def _groups(self, segments: Sequence[Segment], kinds: Sequence[_Kind]) -> list[_Group]:
        """The Segments that are merged with each other, sorted by the lowest index of a group."""
        merged = [
            segment.label
            for segment, kind in zip(segments, kinds, strict=True)
            if kind in (_Kind.STUFF, _Kind.CROWD)
        ]
        background = _background(self.taxonomy) or _background(merged) or BACKGROUND
        groups: dict[tuple[str, int | None, bool, bool], list[Segment]] = {}
        for segment, kind in zip(segments, kinds, strict=True):
            ignored = kind is _Kind.IGNORED
            key: tuple[str, int | None, bool, bool]
            if self.view is View.SEMANTIC:
                key = (segment.label, None, ignored, False)
            elif kind in (_Kind.STUFF, _Kind.CROWD):
                key = (background, None, False, True)
            else:
                key = (segment.label, segment.index, ignored, False)
            groups.setdefault(key, []).append(segment)
        return [
            _Group(tuple(members), label, members[0].index, ignored, background)
            for (label, _, ignored, background), members in groups.items()
        ]

    def _semantic_indexes(self, groups: Sequence[_Group]) -> list[int]:
        places = {label: place for place, label in enumerate(self.taxonomy)}
        free = _FreeIndexes()
        indexes: dict[int, int] = {}
        ignored = [n for n, group in enumerate(groups) if group.ignored]
        unexplained = [n for n, group in enumerate(groups) if not group.members]
        others = [n for n, group in enumerate(groups) if n not in {*ignored, *unexplained}]
        others.sort(key=lambda n: groups[n].label)
        known = [n for n in others if groups[n].label in places]
        for n in known:
            indexes[n] = free.take(places[groups[n].label])
        for n in ignored:
            place = places.get(groups[n].label)
            if place is not None and free.has(place):
                indexes[n] = free.take(place)
        ignored = [n for n in ignored if n not in indexes]
        # Keep their index, unless the taxonomy may give it to a label in another prediction.
        for n in ignored:
            if groups[n].index >= len(places) and free.has(groups[n].index):
                indexes[n] = free.take(groups[n].index)
        for n in sorted(set(ignored) - indexes.keys(), key=lambda n: groups[n].label):
            indexes[n] = free.take(free.highest())
        for n in others:
            if n not in indexes:
                indexes[n] = free.take(free.lowest(len(places)))
        for n in unexplained:
            if free.has(groups[n].index):
                indexes[n] = free.take(groups[n].index)
        for n in unexplained:
            if n not in indexes:
                indexes[n] = free.take(free.highest())
        return [indexes[n] for n in range(len(groups))]


def _background(labels: Iterable[str]) -> str | None:
    """The first label that is ``background``, in any letter case; None if there is none."""
    return next((label for label in labels if label.casefold() == BACKGROUND), None)


class _FreeIndexes:
    """The indexes that are not taken yet."""

    def __init__(self) -> None:
        self._free = set(range(_VALUES))

    def has(self, index: int) -> bool:
        """Whether the index is free."""
        return index in self._free

    def take(self, index: int) -> int:
        """Mark the index as taken; returns it."""
        self._free.remove(index)
        return index

    def lowest(self, start: int = 0) -> int:
        """The lowest free index from ``start`` on; if there is none, the lowest of all."""
        return min((one for one in self._free if one >= start), default=min(self._free))

    def highest(self) -> int:
        """The highest free index."""
        return max(self._free)


def _instance_indexes(groups: Sequence[_Group], used: set[int]) -> list[int]:
    """Background goes to 0; others keep their index, except one at 0, which moves."""
    kept = {group.index for group in groups if not group.background}
    unused = [index for index in range(1, _VALUES) if index not in used]
    vacated = [index for index in range(1, _VALUES) if index not in kept]
    moved = next(iter(unused or vacated), _BACKGROUND_INDEX)
    return [_BACKGROUND_INDEX if group.background else (group.index or moved) for group in groups]


def _segment(
    group: _Group,
    index: int,
    areas: NDArray[np.int64],
    taxonomy: Sequence[str],
    stuff: Collection[str],
) -> Segment:
    """The Segment that a group becomes.

    Args:
        stuff: labels that the instance view groups as background.
    """
    members = group.members
    first = members[0]
    if len(members) == 1 and (first.index, first.label) == (index, group.label):
        return first
    metadata = dict(first.metadata)
    if len(members) > 1 or group.background:
        pdf = MergedPdf.of(members, areas, taxonomy)
        if len(members) > 1:
            metadata = {**_shared(members), **_confidences(members, areas)}
        metadata = {key: value for key, value in metadata.items() if key not in pdf.replaced}
        metadata |= pdf.metadata(group.label, stuff if group.background else ())
    if group.background:
        metadata.pop("iscrowd", None)
        metadata["isthing"] = False
    sources = [_sources(member) for member in members]
    metadata["n_merged"] = sum(count for count, _ in sources)
    metadata["source_indexes"] = sorted({index for _, indexes in sources for index in indexes})
    return Segment(group.label, index, metadata)


def _shared(members: Sequence[Segment]) -> dict[str, Any]:
    """The keys that every member has with the same value.

    Confidences are left out if any member has one: they are merged separately.
    """
    first, *others = (canonical_metadata(member.metadata) for member in members)
    confident = any(member.confidence is not None for member in members)
    left_out = (*_SOURCES, *_CONFIDENCES) if confident else _SOURCES
    shared = {
        key: value
        for key, value in first.items()
        if key not in left_out and all(_equal(value, one.get(key)) for one in others)
    }
    for key in _FLAGS:  # may be equal although written differently
        values = {flag_of(member.metadata.get(key)) for member in members}
        if len(values) == 1 and None not in values:
            shared[key] = values.pop()
    return shared


def _equal(one: object, other: object) -> bool:
    # Compared as JSON: in Python, True == 1.
    return metadata_json({"": one}) == metadata_json({"": other})


def _confidences(members: Sequence[Segment], areas: NDArray[np.int64]) -> dict[str, float]:
    """Area-weighted mean, minimum and maximum of the members that have a confidence."""
    known = [
        (member.confidence, int(areas[member.index]), member)
        for member in members
        if member.confidence is not None
    ]
    if not known:
        return {}
    total = sum(area for _, area, _ in known)
    # Exact arithmetic, so that the order of the members does not matter.
    weights = [Fraction(area, total) if total else Fraction(1, len(known)) for _, area, _ in known]
    mean = sum(
        (
            Fraction(confidence) * weight
            for (confidence, _, _), weight in zip(known, weights, strict=True)
        ),
        Fraction(0),
    )
    lowest, highest = zip(
        *(_extremes(member, confidence) for confidence, _, member in known), strict=True
    )
    return {
        "confidence": float(mean),
        "confidence_min": min(lowest),
        "confidence_max": max(highest),
    }


def _extremes(member: Segment, confidence: float) -> tuple[float, float]:
    """Lowest and highest confidence of a member, or of the Segments it was merged from."""
    if _is_made(member.metadata):
        lowest = confidence_of({"confidence": member.metadata.get("confidence_min")})
        highest = confidence_of({"confidence": member.metadata.get("confidence_max")})
        if lowest is not None and highest is not None:
            return min(lowest, confidence), max(highest, confidence)
    return confidence, confidence


def _sources(member: Segment) -> tuple[int, Sequence[int]]:
    """How many original Segments a member stands for, and their indexes."""
    if _is_made(member.metadata):
        return member.metadata["n_merged"], member.metadata["source_indexes"]
    return 1, [member.index]


def _is_made(metadata: Mapping[str, Any]) -> bool:
    """Whether a view made the Segment: it has the records of one, and they are valid."""
    count, indexes = (metadata.get(key) for key in _SOURCES)
    return (
        isinstance(indexes, list)
        and all(type(index) is int and 0 <= index < _VALUES for index in indexes)
        and type(count) is int
        and count == len(indexes) > 0
    )
