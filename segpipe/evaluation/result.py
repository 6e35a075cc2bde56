"""What an evaluation found, put together from its blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.evaluation.schemas import CONFUSION, PREDICTION, TRUTH
from segpipe.evaluation.scores import Scores
from segpipe.evaluation.tally import Tally
from segpipe.evaluation.uncertainty import Judged
from segpipe.tables.writing import table_of

# The tables that the others follow from.
_TABLES = ("items", "item_classes", "item_confusion", "segments")


@dataclass(frozen=True, repr=False)
class Evaluation(Scores):
    """Predictions beside ground truth. Its repr is the table that a paper would print.

    Attributes:
        items: one row per item of either side: what became of it, and its numbers.
        item_classes: one row per item and class; whether nothing says there that it is thing or
            stuff.
        item_confusion: pixels of each pair of classes of each item.
        segments: one row per segment of either side: with what it is matched, its IoU, and whether
            it is TP, FP, FN or ignored, and why.
        boundary: Boundary IoU was asked for.
        notes: what else has to be known, as lines for people.
        reused: items that were taken from an earlier evaluation, as neither side has changed.
    """

    items: pa.Table
    item_classes: pa.Table
    item_confusion: pa.Table
    segments: pa.Table
    boundary: bool = False
    notes: Sequence[str] = ()
    reused: int = field(default=0, compare=False)

    @classmethod
    def together(cls, parts: Iterable[Evaluation]) -> Evaluation:
        """The evaluation of all items of several ones, which have no item in common."""
        parts = list(parts)
        tables = {
            name: pa.concat_tables([getattr(part, name) for part in parts]) for name in _TABLES
        }
        return cls(
            **tables,
            boundary=all(part.boundary for part in parts),
            notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
            reused=sum(part.reused for part in parts),
        )

    @classmethod
    def of_days(cls, newest_first: Iterable[Evaluation]) -> Evaluation:
        """The evaluation of several days; of an item on several of them, the newest counts."""
        parts: list[Evaluation] = []
        seen: set[str] = set()
        older = 0
        for day in newest_first:
            ids = day.items["reference_id"].to_pylist()
            new = [id for id in ids if id not in seen]
            older += len(ids) - len(new)
            seen.update(new)
            parts.append(day if len(new) == len(ids) else day.of_items(new))
        whole = cls.together(parts).in_order()
        if not older:
            return whole
        note = f"{older} predictions are of items that a later day has as well: the later counts"
        return replace(whole, notes=[*whole.notes, note])

    def of_items(self, reference_ids: Sequence[str]) -> Evaluation:
        """The evaluation of some of the items."""
        ids = pa.array(reference_ids, pa.string())
        return self._with(lambda table: table.filter(pc.is_in(table["reference_id"], ids)))

    def in_order(self) -> Evaluation:
        """The same with its rows in the order of the reference ids."""
        return self._with(lambda table: table.take(pc.sort_indices(table["reference_id"])))

    def _with(self, change: Callable[[pa.Table], pa.Table]) -> Evaluation:
        return replace(self, **{name: change(getattr(self, name)) for name in _TABLES})

    @cached_property
    def undecided(self) -> Sequence[str]:
        """Labels of which nothing says thing or stuff in some item, counted as things there."""
        return undecided_of(self.item_classes)

    @cached_property
    def tally(self) -> Tally:
        """The counts of the classes, added over the items."""
        return Tally.of(self.item_classes)

    @cached_property
    def confusion(self) -> pa.Table:
        """Pixels of each class of the ground truth by class, or void (null), of the prediction."""
        return added_confusion(self.item_confusion)

    @cached_property
    def judged(self) -> Judged:
        """The predicted segments that are right or wrong, with their confidence."""
        return Judged.of(self.segments)

    @cached_property
    def labels(self) -> tuple[Set[str], Set[str]]:
        """The labels of the ground truth's segments, and of the predicted ones."""
        return labels_of(self.segments)


def added_confusion(table: pa.Table) -> pa.Table:
    """CONFUSION: the pixels of each pair of labels added."""
    keys = ["label", "predicted_label"]
    added = table.group_by(keys).aggregate([("pixels", "sum")])
    added = added.sort_by([(key, "ascending") for key in keys])
    columns = {key: added[key] for key in keys}
    return table_of({**columns, "pixels": added["pixels_sum"]}, CONFUSION)


def undecided_of(item_classes: pa.Table) -> list[str]:
    """The labels of undecided rows, sorted."""
    rows = item_classes.filter(item_classes["undecided"])
    return sorted(pc.unique(rows["label"]).to_pylist())


def labels_of(segments: pa.Table) -> tuple[Set[str], Set[str]]:
    """The labels of the ground truth's segments, and of the predicted ones."""
    sides = segments["side"]
    truth, predicted = (
        set(pc.unique(segments.filter(pc.equal(sides, side))["label"]).to_pylist())
        for side in (TRUTH, PREDICTION)
    )
    return truth, predicted
