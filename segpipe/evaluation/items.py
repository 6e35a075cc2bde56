"""Evaluating a chunk of items, whatever their masks are read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe.errors import SettingsError, nearest
from segpipe.evaluation.block import BlockTables, Conventions, evaluate_block
from segpipe.evaluation.boundaries import Masks
from segpipe.evaluation.groups import Pair
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.schemas import (
    ITEM_CLASSES,
    ITEM_CONFUSION,
    ITEMS,
    NO_PREDICTION,
    NO_TRUTH,
    SEGMENTS,
)
from segpipe.evaluation.side import Side
from segpipe.masks.co_occurrence import CoOccurrence, co_occurrence
from segpipe.masks.measures import measure_decoded

# Pairs of pixel values that are evaluated at once: it bounds memory for masks of noise.
_PAIRS_AT_ONCE = 1 << 18
# Pixels that are held as long as a pair, where masks are needed.
_PIXELS_PER_PAIR = 128
NO_ROW = Side(None, problem="there is none")


class Missing(StrEnum):
    """What an item counts for whose prediction is missing, or cannot be used."""

    ERROR = "error"
    FALSE_NEGATIVES = "false-negatives"
    LEAVE_OUT = "leave-out"

    @classmethod
    def named(cls, name: str) -> Missing:
        """The one of this name.

        Raises:
            SettingsError: with the nearest one, if there is none.
        """
        names = [one.value for one in cls]
        if name not in names:
            raise SettingsError(f"missing is {name!r}{nearest(str(name), names)}")
        return cls(name)


@dataclass(frozen=True)
class Item:
    """Both sides of an item."""

    reference_id: str
    truth: Side
    predicted: Side


def evaluate_items(items: Iterable[Item], conventions: Conventions, missing: Missing) -> Evaluation:
    """Evaluate items, a bounded number of pairs of pixel values at once."""
    blocks: list[BlockTables] = []
    left_out: list[dict[str, Any]] = []
    waiting: list[Pair] = []
    both: list[Masks] = []
    size = 0
    for item in items:
        outcome, reason = _outcome(item, missing)
        if outcome is not None:
            left_out.append(
                {
                    "reference_id": item.reference_id,
                    "outcome": outcome,
                    "reason": reason,
                    "truth_fingerprint": item.truth.fingerprint,
                    "fingerprint": item.predicted.fingerprint,
                }
            )
            continue
        pair, masks = _pair(item, reason)
        waiting.append(pair)
        size += len(pair.pairs.pixels)
        if conventions.needs_masks:  # else masks are not needed any more
            both.append(masks)
            size += pair.height * pair.width // _PIXELS_PER_PAIR
        if size >= _PAIRS_AT_ONCE:
            blocks.append(evaluate_block(waiting, conventions, both))
            waiting, both, size = [], [], 0
    if waiting:
        blocks.append(evaluate_block(waiting, conventions, both))
    return _together(blocks, left_out, conventions)


def _outcome(item: Item, missing: Missing) -> tuple[str | None, str | None]:
    """Why an item is not evaluated; or None, and why its prediction counts as void, if it does."""
    truth, predicted = item.truth, item.predicted
    if truth.mask is None:
        return NO_TRUTH, truth.problem
    problem = predicted.problem
    if predicted.mask is not None:
        own, other = truth.mask.header, predicted.mask.header
        if (own.height, own.width) != (other.height, other.width):
            problem = (
                f"the prediction has {other.height} x {other.width} pixels (height x width), the "
                f"ground truth {own.height} x {own.width}"
            )
    if problem is None:
        return None, None
    return (None if missing is Missing.FALSE_NEGATIVES else NO_PREDICTION), problem


def _pair(item: Item, reason: str | None) -> tuple[Pair, Masks]:
    truth, predicted = item.truth, item.predicted
    assert truth.mask is not None
    header = truth.mask.header
    if reason is not None or predicted.mask is None:
        # Void everywhere: nothing explains the values of the ground truth's own mask.
        measures = measure_decoded(truth.mask)
        pairs = CoOccurrence(measures.values, np.zeros_like(measures.values), measures.area)
        predicted = Side(truth.mask)
    else:
        pairs = co_occurrence(truth.mask, predicted.mask)
    assert predicted.mask is not None
    pair = Pair(
        item.reference_id,
        truth.segments,
        predicted.segments,
        pairs,
        header.height,
        header.width,
        truth.fingerprint,
        predicted.fingerprint,
        truth.lists_classes,
        reason,
    )
    return pair, (truth.mask, predicted.mask)


def _together(
    blocks: Sequence[BlockTables], left_out: Sequence[dict[str, Any]], conventions: Conventions
) -> Evaluation:
    rest = pa.Table.from_pylist(list(left_out), schema=ITEMS)

    def joined(name: str, schema: pa.Schema) -> pa.Table:
        return pa.concat_tables([schema.empty_table(), *(getattr(one, name) for one in blocks)])

    return Evaluation(
        items=pa.concat_tables([joined("items", ITEMS), rest]),
        item_classes=joined("item_classes", ITEM_CLASSES),
        item_confusion=joined("item_confusion", ITEM_CONFUSION),
        segments=joined("segments", SEGMENTS),
        boundary=conventions.boundary,
    )


def by_id(sides: Iterable[tuple[str, Side]]) -> dict[str, list[Side]]:
    """What was read, by reference id."""
    found: dict[str, list[Side]] = {}
    for id, side in sides:
        found.setdefault(id, []).append(side)
    return found


def in_chunks(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Reference ids, some at a time."""
    for first in range(0, len(ids), size):
        yield ids[first : first + size]
