"""Ids of any size, renumbered to mask indexes: nothing is cast or lost silently.

A mask has 256 values. Ids modulo 256 would make 256 and 512 vanish, so ids are renumbered: densely
and losslessly, in ascending order, where at most 256 of them have pixels. Where there are more, the
record is refused with the counts, unless an option is chosen: ``keep-best`` keeps the best
instances (by confidence, then area) and merges the rest per label into a crowd segment;
``semantic`` merges all instances of a label.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from segpipe.formats.ids import Ids
from segpipe.manifests.rows import ImportFinding
from segpipe.predictions.prediction import Segment

#: How the option is written on the command line; ``{}`` is its value.
OVER_256 = "--over-256 {}"
_VALUES = 256
_MOST_LISTED = 10
_FLAGS = ("isthing", "iscrowd", "ignore", "category_id")


class Over256(StrEnum):
    """How more ids than a mask has values are handled."""

    REFUSE = "refuse"
    KEEP_BEST = "keep-best"
    SEMANTIC = "semantic"


@dataclass(frozen=True)
class Region:
    """The pixels of one id, and what they are.

    Attributes:
        confidence: 0 to 1, where the source has it.
        fixed: never merged into a crowd, such as background and ignored regions.
    """

    id: int
    label: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    confidence: float | None = None
    fixed: bool = False

    def segment(self, index: int) -> Segment:
        """Its Segment, the confidence in the metadata."""
        confidence = {} if self.confidence is None else {"confidence": self.confidence}
        return Segment(self.label, index, {**self.metadata, **confidence})


@dataclass(frozen=True)
class Indexed:
    """An index mask and its Segments; or, where it was refused, findings only.

    Attributes:
        mask: of index values; None where it was refused.
        findings: why it was refused, or what was merged.
    """

    mask: Ids | None
    segments: tuple[Segment, ...] = ()
    findings: tuple[ImportFinding, ...] = ()


def listed(ids: Sequence[int]) -> str:
    """The first ids, for a message."""
    return ", ".join(map(str, ids[:_MOST_LISTED]))


def listed_with_areas(ids: Sequence[int], areas: Mapping[int, int]) -> str:
    """The first ids with their pixels, for a message."""
    return ", ".join(f"{id} ({areas[id]:,} px)" for id in ids[:_MOST_LISTED])


def ellipsis_after(ids: Sequence[int]) -> str:
    """What follows a list of the first ids where there are more."""
    return ", ..." if len(ids) > _MOST_LISTED else ""


def index_mask(
    ids: Ids,
    regions: Mapping[int, Region],
    over: Over256,
    source: str,
    option: str = OVER_256,
) -> Indexed:
    """Renumber ids to 0..255.

    Args:
        regions: id -> its region, for at least every id that has pixels.
        over: how more than 256 ids are handled.
        source: for messages.
        option: how ``over`` is chosen, for messages.

    Returns:
        The mask and its Segments, with a finding where ids were merged; a finding alone where the
        ids do not fit.
    """
    areas = ids.areas
    groups = [[regions[id]] for id in areas]
    findings: tuple[ImportFinding, ...] = ()
    if len(groups) > _VALUES:
        if over is Over256.REFUSE:
            return Indexed(None, findings=(_too_many(groups, source, option),))
        merged = _merged_by_label(groups) if over is Over256.SEMANTIC else _keep_best(groups, areas)
        if merged is None or len(merged) > _VALUES:
            labels = len(_merged_by_label(groups))
            words = f"{source}: {len(groups)} ids of {labels} labels do not fit 256 values"
            return Indexed(
                None,
                findings=(
                    ImportFinding("INDEX-OVERFLOW", words, f"{labels} labels", "at most 256"),
                ),
            )
        groups = merged
        findings = (_told_merged(merged, source),)
    index_of = {region.id: index for index, group in enumerate(groups) for region in group}
    segments = tuple(_segment(group, index, areas) for index, group in enumerate(groups))
    return Indexed(ids.becoming(index_of), segments, findings)


def _merged_by_label(groups: Sequence[list[Region]]) -> list[list[Region]]:
    by_label: dict[tuple[str, bool], list[Region]] = {}
    for (region,) in groups:
        by_label.setdefault((region.label, region.fixed), []).append(region)
    return list(by_label.values())


def _keep_best(
    groups: Sequence[list[Region]], areas: Mapping[int, int]
) -> list[list[Region]] | None:
    """As many of the best instances as fit beside the crowds; None where even no instance fits."""
    fixed = [region for (region,) in groups if region.fixed]
    ranked = sorted(
        (region for (region,) in groups if not region.fixed),
        key=lambda region: (
            -(region.confidence if region.confidence is not None else -1.0),
            -areas[region.id],
            region.id,
        ),
    )
    for kept in range(min(len(ranked), _VALUES - 1), -1, -1):
        labels = {region.label for region in ranked[kept:]}
        if len(fixed) + kept + len(labels) <= _VALUES:
            break
    else:
        return None
    best = {region.id for region in [*fixed, *ranked[:kept]]}
    crowds: dict[str, list[Region]] = {}
    for region in ranked[kept:]:
        crowds.setdefault(region.label, []).append(region)
    in_order = [[region] for (region,) in groups if region.id in best]
    return [*in_order, *(sorted(crowd, key=lambda one: one.id) for crowd in crowds.values())]


def _segment(group: Sequence[Region], index: int, areas: Mapping[int, int]) -> Segment:
    first = group[0]
    if len(group) == 1:
        return first.segment(index)
    metadata = dict(_agreed(group))
    if any(not region.fixed for region in group):
        metadata["iscrowd"] = True
    metadata["n_merged"] = len(group)
    metadata["source_ids"] = [region.id for region in group]
    scored = [(r.confidence, areas[r.id]) for r in group if r.confidence is not None]
    if scored:
        pixels = sum(area for _, area in scored)
        metadata["confidence"] = sum(score * area for score, area in scored) / pixels
        metadata["confidence_min"] = min(score for score, _ in scored)
        metadata["confidence_max"] = max(score for score, _ in scored)
    return Segment(first.label, index, metadata)


def _agreed(group: Sequence[Region]) -> Iterator[tuple[str, Any]]:
    """The metadata that all of them share."""
    for name in _FLAGS:
        values = [region.metadata.get(name) for region in group]
        if values[0] is not None and all(value == values[0] for value in values):
            yield name, values[0]


def _too_many(groups: Sequence[list[Region]], source: str, option: str) -> ImportFinding:
    count, labels = len(groups), len(_merged_by_label(groups))
    return ImportFinding(
        "INDEX-OVERFLOW",
        f"{source}: {count} ids have pixels, and a mask has 256 values. Choose "
        f"{option.format('keep-best')} (the best instances, the rest merged per label into a "
        f"crowd) or {option.format('semantic')} ({labels} labels)",
        found=f"{count} ids",
        expected="at most 256",
    )


def _told_merged(groups: Sequence[list[Region]], source: str) -> ImportFinding:
    crowds = [group for group in groups if len(group) > 1]
    merged, total = sum(map(len, crowds)), sum(map(len, groups))
    return ImportFinding(
        "INSTANCES-MERGED",
        f"{source}: {merged} of {total} ids were merged into {len(crowds)} "
        f"Segment{'s' * (len(crowds) != 1)}, one per label; the metadata source_ids names them",
        found=f"{total} ids",
        expected="at most 256",
    )
