"""One side of an item as it is read from a manifest: decoded, and judged by the rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from segpipe.manifests.rows import ManifestBatch, ManifestRow
from segpipe.masks.decoding import DecodedMask
from segpipe.predictions.fingerprint import fingerprint_of_parts
from segpipe.predictions.prediction import Segment
from segpipe.storage.sources import is_remote
from segpipe.validation.chunk import Validation, read_evidence
from segpipe.validation.rules import Rules, Severity, judge, rules_in_force
from segpipe.workers.chunks import FETCHED_AT_ONCE, map_threads


@dataclass(frozen=True, slots=True)
class Side:
    """The ground truth or the prediction of an item.

    Attributes:
        mask: None if it cannot be used.
        segments: sorted by index.
        fingerprint: None if it cannot be used.
        lists_classes: the Segments are all classes there are, in the mask or not.
        problem: why it cannot be used; None if it can.
    """

    mask: DecodedMask | None
    segments: Sequence[Segment] = ()
    fingerprint: str | None = None
    lists_classes: bool = False
    problem: str | None = None


def rejecting(validation: Validation) -> Rules:
    """The rules that reject a row; what is only a warning does not matter here."""
    policy = validation.policy
    return Rules(
        rule for rule in rules_in_force(policy) if policy.severity_of(rule) is Severity.REJECT
    )


def read_sides(
    batches: Sequence[ManifestBatch], validation: Validation
) -> Iterator[tuple[str, Side]]:
    """Read and judge rows; the reference id of each, and what was read.

    Raises:
        StorageError: if storage itself fails.
    """
    rules = rejecting(validation)
    for batch in batches:
        chunk = batch.chunk()

        def read(row: ManifestRow, folder: str = chunk.folder) -> tuple[str, Side]:
            return row.reference_id or "", _read(row, folder, validation, rules)

        remote = any(is_remote(row.mask_url or "", chunk.folder) for row in chunk.rows)
        yield from map_threads(read, chunk.rows, FETCHED_AT_ONCE if remote else 1)


def _read(row: ManifestRow, folder: str, validation: Validation, rules: Rules) -> Side:
    refused = row.import_findings
    if refused and row.mask_url is None:
        return Side(None, problem="; ".join(one.message for one in refused))
    evidence, _ = read_evidence(row, folder, validation)
    found = [one for one in judge(evidence, rules) if one.severity is Severity.REJECT]
    if found or evidence.mask is None or evidence.measures is None:
        return Side(None, problem="; ".join(f"{one.rule}: {one.message}" for one in found))
    declaration = evidence.declaration
    described = [[s.index, s.label, s.metadata_text] for s in declaration.segments]
    return Side(
        evidence.mask,
        declaration.as_segments(),
        fingerprint_of_parts(evidence.measures, described, row.annotation_id),
        evidence.declares_taxonomy,
    )


def only_one(sides: Sequence[Side], what: str) -> Side:
    """The side of an item with several rows: they have to be the same.

    Args:
        what: the side, for messages.
    """
    if len(sides) == 1:
        return sides[0]
    usable = [side for side in sides if side.problem is None]
    if len({side.fingerprint for side in usable}) == 1 and len(usable) == len(sides):
        return usable[0]
    return Side(None, problem=f"there are {len(sides)} different {what} of this item; keep one")
