"""Reading back: is what the receipts claim what the destination holds?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from segpipe.errors import SegpipeError
from segpipe.mask import MaskRefused, decode_mask
from segpipe.prediction import fingerprint_of_parts
from segpipe.publishing.outcomes import Outcome
from segpipe.storage import MaskStore

#: The columns reading back needs.
VERIFIED_COLUMNS = [
    "reference_id",
    "annotation_id",
    "mask_sha256",
    "fingerprint",
    "height",
    "width",
    "segments",
    "run_id",
]
_ITEMS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A receipt that reading back does not confirm."""

    reference_id: str
    words: str


@dataclass(frozen=True)
class Verification:
    """What reading back found.

    Attributes:
        receipts: receipts held against the catalog's rows.
        masks: of these, how many masks were decoded and fingerprinted anew.
    """

    receipts: int
    masks: int
    mismatches: tuple[Mismatch, ...]


class RowsOf(Protocol):
    """Reads a destination's rows (VERIFIED_COLUMNS) for the receipts from one place to another."""

    def __call__(self, start: int, stop: int, *, now: bool) -> pa.Table:
        """The rows as they are now, or as they were when the receipts were written."""
        ...


def verify(
    receipts: pa.Table,
    rows_of: RowsOf,
    masks: MaskStore,
    most_masks: int | None,
) -> Verification:
    """Hold receipts against what the destination holds now.

    Every receipt is held against its row: inserted, replaced and unchanged items have the receipt's
    fingerprint, ignored ones the previous one. Of some, the fingerprint is computed anew from the
    mask file's pixels and the row's Segments.

    Args:
        rows_of: reads the destination.
        most_masks: how many masks to decode, spread evenly; all where None.
    """
    claims = receipts.to_pylist()
    step = 1 if most_masks is None else max(1, -(-len(claims) // max(1, most_masks)))
    mismatches: list[Mismatch] = []
    decoded = 0
    for start in range(0, len(claims), _ITEMS_AT_ONCE):
        part = claims[start : start + _ITEMS_AT_ONCE]
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in rows_of(start, start + len(part), now=True).to_pylist():
            rows.setdefault(row["reference_id"], []).append(row)
        for place, claim in enumerate(part, start):
            if claim["outcome"] == Outcome.FAILED:
                continue
            found = rows.get(claim["reference_id"], [])
            words = _row_mismatch(claim, found)
            if words is not None and any(row["run_id"] != claim["run_id"] for row in found):
                # Another run wrote the item since, which does not make the receipt untrue.
                found = rows_of(place, place + 1, now=False).to_pylist()
                words = _row_mismatch(claim, found)
            if words is None and most_masks != 0 and place % step == 0:
                decoded += 1
                words = _mask_mismatch(masks, found[0])
            if words is not None:
                mismatches.append(Mismatch(claim["reference_id"], words))
    return Verification(len(claims), decoded, tuple(mismatches))


def _row_mismatch(claim: dict[str, Any], rows: list[dict[str, Any]]) -> str | None:
    if len(rows) != 1:
        return f"the destination holds {len(rows)} predictions for it, expected one"
    ignored = claim["outcome"] == Outcome.IGNORED
    expected = claim["previous_fingerprint"] if ignored else claim["fingerprint"]
    if rows[0]["fingerprint"] != expected:
        return (
            f"the receipt says {claim['outcome']}, but the destination holds another prediction "
            f"({rows[0]['fingerprint'][:12]}..., expected {expected[:12]}...)"
        )
    return None


def _mask_mismatch(masks: MaskStore, row: dict[str, Any]) -> str | None:
    try:
        mask = decode_mask(masks.read(row["mask_sha256"]), max_pixels=2**31)
    except (SegpipeError, MaskRefused) as error:
        return f"its mask cannot be read: {error}"
    described = [[s["index"], s["label"], s["metadata"]] for s in row["segments"]]
    height, width = mask.pixels.shape
    computed = fingerprint_of_parts(mask.pixels, height, width, described, row["annotation_id"])
    if computed != row["fingerprint"]:
        return "its mask and Segments are not what was published: they were changed since"
    return None
