"""Consolidation: the views of a prediction, from panoptic to instance to semantic.

A view is the same prediction said more coarsely: pixel values are renamed or merged by a table of
256 entries, and the Segments follow. No pixel is lost and none is invented.

**instance**: stuff and crowds become one Segment, ``background`` (spelled as the taxonomy, else the
prediction, spells it), at index 0. Things and ignored Segments stay as they are. Index 0 always
means background: what else stands there moves to the lowest index the prediction does not use.
(Only when 256 things use every index, and so nothing is background, a thing stays at 0.)

**semantic**: one Segment per label. A label's index is its position in the taxonomy, where there is
one; other labels follow after it in alphabetical order. Without a taxonomy the labels of each
prediction are numbered from 0 in alphabetical order. Ignored Segments are merged among themselves,
never with others of their label, and keep their index where no other label claims it.

What a Segment is, in this order: ``ignore`` in its metadata; ``iscrowd`` in its metadata; its label
in the taxonomy; ``isthing`` in its metadata; the label ``background``, in any spelling, which is
stuff. A Segment of which none of them speaks is kept as a thing, because nothing becomes background
silently, and its label is named in ``undecided``. The three flags may be true/false, 1/0, or either
as text; anything else says nothing.

Metadata of a Segment that a view made (by merging, moving or renaming) records ``n_merged`` and
``source_indexes``: how many Segments of the prediction as given it stands for, and which. Of
merged Segments, ``confidence`` is the mean weighted by area of those that have one (unweighted
where none of them has pixels), ``confidence_min`` and ``confidence_max`` are the extremes, and any
other key is kept where every Segment has it with the same value. Segments a view need not touch
keep their metadata as it is, which makes consolidating a second time change nothing. What was made
by a view counts with what it was made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import SettingsError
from segpipe.predictions.metadata import canonical_metadata, confidence_of, metadata_json
from segpipe.predictions.prediction import Segment
from segpipe.predictions.view import View

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
    """A prediction's view: how its pixels are renamed, and its Segments.

    Attributes:
        lookup: uint8, 256 entries: pixel value as given -> pixel value in the view.
        segments: of the view, sorted by index; each index once.
        undecided: labels of Segments that an instance view keeps as things because nothing says
            what they are; sorted, one per Segment.
    """

    lookup: NDArray[np.uint8]
    segments: tuple[Segment, ...]
    undecided: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Group:
    """Segments that become one; a value no Segment explains is a group without members."""

    members: tuple[Segment, ...]
    label: str
    index: int  # the lowest of the members
    ignored: bool = False
    background: bool = False


@dataclass(frozen=True)
class Consolidation:
    """A view of a model run's predictions.

    Args:
        view: which one.
        taxonomy: label -> ``thing`` or ``stuff``, in the order that numbers the semantic view;
            empty where Segments say themselves what they are.

    Raises:
        SettingsError: if the taxonomy cannot serve the view: more than 256 labels to number, or
            ``background`` a thing.
    """

    view: View
    taxonomy: Mapping[str, str]

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
            segments: in any order; each index 0..255 and only once.
            areas: pixels of each of the 256 values. Values that have pixels and no Segment (where
                a policy lets them through) stay apart from all others.
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
        made = []
        for group, index in zip(groups, indexes, strict=True):
            lookup[[one.index for one in group.members] or [group.index]] = index
            if group.members:
                made.append(_segment(group, index, areas))
        undecided = [
            segment.label
            for segment, kind in zip(ordered, kinds, strict=True)
            if kind is _Kind.UNDECIDED and self.view is View.INSTANCE
        ]
        return Consolidated(
            lookup, tuple(sorted(made, key=lambda one: one.index)), tuple(sorted(undecided))
        )

    def is_thing(self, segment: Segment) -> bool:
        """Whether a Segment's class is things, or nothing says it is not; its crowds as well."""
        told = {"isthing": segment.metadata.get("isthing")}
        kind = self._kind(Segment(segment.label, segment.index, told))
        return kind in (_Kind.THING, _Kind.UNDECIDED)

    def _kind(self, segment: Segment) -> _Kind:
        metadata = segment.metadata
        if _flag(metadata.get("ignore")):
            return _Kind.IGNORED
        if _flag(metadata.get("iscrowd")):
            return _Kind.CROWD
        told = self.taxonomy.get(segment.label)
        if told is not None:
            return _Kind(told)
        is_thing = _flag(metadata.get("isthing"))
        if is_thing is None:
            return _Kind.STUFF if _background([segment.label]) else _Kind.UNDECIDED
        return _Kind.THING if is_thing else _Kind.STUFF

    def _groups(self, segments: Sequence[Segment], kinds: Sequence[_Kind]) -> list[_Group]:
        """What is merged with what, by the lowest index of each group."""
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
        # Where they stand, unless the taxonomy may give that number to a label of another image.
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
    """How ``background`` is spelled among the labels; None where it is not."""
    return next((label for label in labels if label.casefold() == BACKGROUND), None)


class _FreeIndexes:
    """The indexes nothing stands at yet."""

    def __init__(self) -> None:
        self._free = set(range(_VALUES))

    def has(self, index: int) -> bool:
        """Whether it is free."""
        return index in self._free

    def take(self, index: int) -> int:
        """Put something there."""
        self._free.remove(index)
        return index

    def lowest(self, start: int = 0) -> int:
        """The lowest from ``start`` on; from 0 where there is none."""
        return min((one for one in self._free if one >= start), default=min(self._free))

    def highest(self) -> int:
        """The highest."""
        return max(self._free)


def _instance_indexes(groups: Sequence[_Group], used: set[int]) -> list[int]:
    """Background at 0, everything else at its own index, except what stands at 0."""
    kept = {group.index for group in groups if not group.background}
    unused = [index for index in range(1, _VALUES) if index not in used]
    given_up = [index for index in range(1, _VALUES) if index not in kept]
    aside = next(iter(unused or given_up), _BACKGROUND_INDEX)
    return [_BACKGROUND_INDEX if group.background else (group.index or aside) for group in groups]


def _segment(group: _Group, index: int, areas: NDArray[np.int64]) -> Segment:
    """The one Segment a group becomes."""
    members = group.members
    first = members[0]
    if len(members) == 1 and (first.index, first.label) == (index, group.label):
        return first
    metadata = dict(first.metadata)
    if len(members) > 1:
        metadata = {**_shared(members), **_confidences(members, areas)}
    if group.background:
        metadata.pop("iscrowd", None)
        metadata["isthing"] = False
    sources = [_sources(member) for member in members]
    metadata["n_merged"] = sum(count for count, _ in sources)
    metadata["source_indexes"] = sorted({index for _, indexes in sources for index in indexes})
    return Segment(group.label, index, metadata)


def _shared(members: Sequence[Segment]) -> dict[str, Any]:
    """The keys every member has with the same value; confidences apart where one is a number."""
    first, *others = (canonical_metadata(member.metadata) for member in members)
    confident = any(member.confidence is not None for member in members)
    apart = (*_SOURCES, *_CONFIDENCES) if confident else _SOURCES
    shared = {
        key: value
        for key, value in first.items()
        if key not in apart and all(_equal(value, one.get(key)) for one in others)
    }
    for key in _FLAGS:  # equal, however each of them is written
        told = {_flag(member.metadata.get(key)) for member in members}
        if len(told) == 1 and None not in told:
            shared[key] = told.pop()
    return shared


def _equal(one: object, other: object) -> bool:
    # As JSON: to Python, true equals 1.
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
    # Exactly, so that neither the order nor the size of the numbers matters.
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
    """Of a member's own confidence, or of those it was merged from."""
    if _is_made(member.metadata):
        lowest = confidence_of({"confidence": member.metadata.get("confidence_min")})
        highest = confidence_of({"confidence": member.metadata.get("confidence_max")})
        if lowest is not None and highest is not None:
            return min(lowest, confidence), max(highest, confidence)
    return confidence, confidence


def _sources(member: Segment) -> tuple[int, Sequence[int]]:
    """How many Segments as given a member stands for, and which."""
    if _is_made(member.metadata):
        return member.metadata["n_merged"], member.metadata["source_indexes"]
    return 1, [member.index]


def _is_made(metadata: Mapping[str, Any]) -> bool:
    """Whether a view made the Segment: its records are there, and of their form."""
    count, indexes = (metadata.get(key) for key in _SOURCES)
    return (
        isinstance(indexes, list)
        and all(type(index) is int and 0 <= index < _VALUES for index in indexes)
        and type(count) is int
        and count == len(indexes) > 0
    )


def _flag(value: object) -> bool | None:
    """True or false, however it is written; None where it is neither."""
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower())
    return bool(value) if value in (0, 1) else None
