"""Verification: does the destination hold what the receipts claim?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import SegpipeError
from segpipe.masks.decoding import decode_mask
from segpipe.masks.measures import measure_decoded
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.fingerprint import fingerprint_of_parts
from segpipe.publishing.outcomes import Outcome
from segpipe.storage.mask_store import MaskStore
from segpipe.tables.writing import column_array

_ROW = ["reference_id", "fingerprint", "run_id"]
#: The columns a fingerprint is computed from, besides the mask.
_MEANING = [
    "reference_id",
    "annotation_id",
    "mask_sha256",
    "fingerprint",
    "height",
    "width",
    "segments",
]
_MASKS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A receipt that the destination does not confirm.

    Attributes:
        words: what differs, for people.
    """

    reference_id: str
    words: str


@dataclass(frozen=True)
class Verification:
    """The result of reading published predictions back.

    Attributes:
        receipts: receipts that were compared with the destination.
        masks: how many of their masks were decoded to compute the fingerprint again.
        mismatches: receipts that were not confirmed.
    """

    receipts: int
    masks: int
    mismatches: tuple[Mismatch, ...]


class RowsOf(Protocol):
    """Reads columns of a destination's rows for some reference ids (a string array)."""

    def __call__(self, ids: pa.Array, columns: list[str], *, now: bool) -> pa.Table:
        """The rows as they are now, or as they were when the receipts were written."""
        ...


def verify(
    receipts: pa.Table,
    rows_of: RowsOf,
    undone: Callable[[], bool],
    masks: MaskStore,
    most_masks: int | None,
    source: MaskStore | None = None,
) -> Verification:
    """Compare receipts with what the destination holds now.

    Every receipt is compared with its row: inserted, replaced and unchanged items have the
    receipt's fingerprint, ignored ones the previous fingerprint. For a sample, the fingerprint is
    also computed again, from the mask file's pixels and the row's Segments.

    Args:
        receipts: RECEIPTS of one model run.
        rows_of: reads the destination.
        undone: whether predictions were unpublished since the receipts were written.
        masks: the destination's mask files.
        most_masks: how many masks to decode, spread evenly; all if None.
        source: where the batch's masks came from; damaged ones are mended from it.
    """
    claims = receipts.filter(pc.not_equal(receipts["outcome"], Outcome.FAILED.value))
    found = rows_of(column_array(claims, "reference_id"), _ROW, now=True)
    uncertain = claims.filter(pc.invert(_confirmed(claims, found)))
    mismatches = _mismatches(uncertain, found, rows_of, undone)
    step = 1 if most_masks is None else max(1, -(-receipts.num_rows // max(1, most_masks)))
    sampled = pa.array(range(0, 0 if most_masks == 0 else claims.num_rows, step), pa.int64())
    decoded = claims.take(sampled)
    wrong = pa.array([mismatch.reference_id for mismatch in mismatches], pa.string())
    decoded = decoded.filter(pc.invert(pc.is_in(decoded["reference_id"], value_set=wrong)))
    # Sorted by id, so that the rows of each read are close to each other.
    decoded = decoded.sort_by("reference_id")
    for start in range(0, decoded.num_rows, _MASKS_AT_ONCE):
        part = decoded.slice(start, _MASKS_AT_ONCE)
        mismatches += _mask_mismatches(part, rows_of, masks, source)
    return Verification(receipts.num_rows, decoded.num_rows, tuple(mismatches))


def _expected(claims: pa.Table) -> pa.Array:
    """The fingerprint that the destination holds according to each claim."""
    ignored = pc.equal(claims["outcome"], Outcome.IGNORED.value)
    return pc.if_else(ignored, claims["previous_fingerprint"], claims["fingerprint"])


def _confirmed(claims: pa.Table, rows: pa.Table) -> pa.Array:
    """A boolean per claim: is there exactly one row, with the expected fingerprint?"""
    ids = column_array(rows, "reference_id")
    counts = pc.value_counts(ids)
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    own = column_array(claims, "reference_id")
    held = column_array(rows, "fingerprint").take(pc.index_in(own, value_set=ids))
    same = pc.fill_null(pc.equal(held, _expected(claims).combine_chunks()), False)
    return pc.and_(same, pc.invert(pc.is_in(own, value_set=repeated)))


def _mismatches(
    uncertain: pa.Table, now: pa.Table, rows_of: RowsOf, undone: Callable[[], bool]
) -> list[Mismatch]:
    """Which claims that the current rows do not confirm are really wrong, and how."""
    if not uncertain.num_rows:
        return []
    ids = column_array(uncertain, "reference_id")
    by_id = _by_id(now.filter(pc.is_in(now["reference_id"], value_set=ids)))
    # Another run may have written or unpublished the item since. That does not make the receipt
    # wrong: it is then compared with the rows at the time it was written.
    then = _by_id(rows_of(ids, _ROW, now=False))
    mismatches = []
    was_undone = undone()
    for claim, expected in zip(
        uncertain.to_pylist(), _expected(uncertain).to_pylist(), strict=True
    ):
        rows = by_id.get(claim["reference_id"], [])
        if was_undone if not rows else any(row["run_id"] != claim["run_id"] for row in rows):
            rows = then.get(claim["reference_id"], [])
        words = _row_mismatch(claim, expected, rows)
        if words is not None:
            mismatches.append(Mismatch(claim["reference_id"], words))
    return mismatches


def _by_id(rows: pa.Table) -> dict[str, list[dict[str, Any]]]:
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        by_id.setdefault(row["reference_id"], []).append(row)
    return by_id


def _row_mismatch(claim: dict[str, Any], expected: str, rows: list[dict[str, Any]]) -> str | None:
    if len(rows) != 1:
        return f"the destination holds {len(rows)} predictions for it, expected one"
    if rows[0]["fingerprint"] != expected:
        return (
            f"the receipt says {claim['outcome']}, but the destination holds another prediction "
            f"({rows[0]['fingerprint'][:12]}..., expected {expected[:12]}...)"
        )
    return None


def _mask_mismatches(
    claims: pa.Table, rows_of: RowsOf, masks: MaskStore, source: MaskStore | None
) -> list[Mismatch]:
    """Claims whose fingerprint, computed again from mask and Segments, is not the row's."""
    ids = column_array(claims, "reference_id")
    expected = dict(zip(ids.to_pylist(), _expected(claims).to_pylist(), strict=True))
    now = {row["reference_id"]: row for row in rows_of(ids, _MEANING, now=True).to_pylist()}
    changed = [id for id in expected if id not in now or now[id]["fingerprint"] != expected[id]]
    if changed:  # by another run since: read the rows as the receipts were written
        then = rows_of(pa.array(changed, pa.string()), _MEANING, now=False)
        now.update({row["reference_id"]: row for row in then.to_pylist()})
    read = masks.folder.each(lambda id: _mask_mismatch(masks, source, now.get(id)), list(expected))
    return [
        Mismatch(id, words) for id, words in zip(expected, read, strict=True) if words is not None
    ]


def _mask_mismatch(
    masks: MaskStore, source: MaskStore | None, row: dict[str, Any] | None
) -> str | None:
    if row is None:
        return "the destination holds no prediction for it any more"
    sha256 = row["mask_sha256"]
    remedy = (
        f"; the file is {masks.folder.shown}/{masks.name_of(sha256)}: "
        "run the partition again, which makes it anew from its source"
    )
    try:
        if source is not None and not masks.is_right(sha256) and source.is_right(sha256):
            masks.put(source.read(sha256))
        mask = decode_mask(masks.read(sha256), max_pixels=2**31)
    except (SegpipeError, MaskRefused) as error:
        return f"its mask cannot be read: {error}{remedy}"
    described = [[s["index"], s["label"], s["metadata"]] for s in row["segments"]]
    computed = fingerprint_of_parts(measure_decoded(mask), described, row["annotation_id"])
    if computed != row["fingerprint"]:
        words = "its mask and Segments are not what was published: they were changed since"
        return words if masks.is_right(sha256) else words + remedy
    return None
