"""What an evaluation found, put together from its blocks."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import listed, printable
from segpipe.evaluation.class_counts import ClassCounts, summaries
from segpipe.evaluation.numbers import class_columns, counts_of
from segpipe.evaluation.schemas import (
    CLASSES,
    CONFUSION,
    EVALUATED,
    NO_PREDICTION,
    NO_TRUTH,
    NUMBERS,
    PREDICTION,
    TRUTH,
)
from segpipe.evaluation.uncertainty import Judged
from segpipe.names import Looks, shown
from segpipe.tables.text import html_table, text_table
from segpipe.tables.writing import table_of

#: Raised with any change of what is counted, or how.
CONVENTIONS_VERSION = "1"
#: The numbers of a set that a paper would print.
HEADLINE = (
    "mIoU", "fwIoU", "pixel_accuracy", "mean_accuracy", "mDice",
    "PQ", "SQ", "RQ", "PQ_things", "PQ_stuff",
)  # fmt: skip
_NAMED = 3
# The tables that the others follow from.
_TABLES = ("items", "item_classes", "item_confusion", "segments")
_COLUMNS = (
    "class",
    "kind",
    "IoU",
    "Dice",
    "precision",
    "recall",
    "PQ",
    "SQ",
    "RQ",
    "TP",
    "FP",
    "FN",
)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Predictions beside ground truth. Its repr is the table that a paper would print.

    Attributes:
        items: one row per item of either side: what became of it, and its numbers.
        item_classes: one row per item and class.
        item_confusion: pixels of each pair of classes of each item.
        segments: one row per segment of either side: with what it is matched, its IoU, and whether
            it is TP, FP, FN or ignored, and why.
        undecided: labels of which nothing says thing or stuff, counted as things.
        boundary: Boundary IoU was asked for.
        notes: what else has to be known, as lines for people.
        reused: items that were taken from an earlier evaluation, as neither side has changed.
    """

    items: pa.Table
    item_classes: pa.Table
    item_confusion: pa.Table
    segments: pa.Table
    undecided: Sequence[str] = ()
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
            undecided=sorted({label for part in parts for label in part.undecided}),
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
    def counts(self) -> tuple[list[str], ClassCounts]:
        """The classes, sorted by label, and their counts added over the items."""
        labels = self.item_classes["label"].combine_chunks().dictionary_encode()
        names = labels.dictionary.to_pylist()
        order = np.argsort(np.array(names, object), kind="stable")
        place = np.empty(len(names), np.int64)
        place[order] = np.arange(len(names))
        own = counts_of(self.item_classes)
        added = own.added(place[labels.indices.to_numpy()], len(names))
        return [names[number] for number in order], added

    @cached_property
    def classes(self) -> pa.Table:
        """One row per class with a pixel or a segment in either side: counts and numbers."""
        labels, counts = self.counts
        return table_of({"label": labels, **class_columns(counts)}, CLASSES)

    @cached_property
    def confusion(self) -> pa.Table:
        """Pixels of each class of the ground truth by class, or void (null), of the prediction."""
        keys = ["label", "predicted_label"]
        added = self.item_confusion.group_by(keys).aggregate([("pixels", "sum")])
        added = added.sort_by([(key, "ascending") for key in keys])
        columns = {key: added[key] for key in keys}
        return table_of({**columns, "pixels": added["pixels_sum"]}, CONFUSION)

    @cached_property
    def numbers(self) -> Mapping[str, float | None]:
        """Every number of the set; None where it is undefined, or was not asked for."""
        _, counts = self.counts
        found = summaries(counts, np.zeros(len(counts), np.int64), 1)
        values = {name: float(found[name][0]) for name in NUMBERS}
        return {name: None if np.isnan(value) else value for name, value in values.items()}

    @property
    def headline(self) -> Mapping[str, float | None]:
        """The numbers of the set by name; None where one is undefined.

        ``boundary_IoU`` is there if it was asked for; ``numbers`` has more.
        """
        asked = ("boundary_IoU",) if self.boundary else ()
        return {name: self.numbers[name] for name in (*HEADLINE, *asked)}

    @cached_property
    def judged(self) -> Judged:
        """The predicted segments that are right or wrong, with their confidence."""
        return Judged.of(self.segments)

    @property
    def calibration(self) -> pa.Table:
        """The reliability table: confidence of predicted segments beside the share matched."""
        return self.judged.calibration

    @property
    def uncertainty(self) -> Mapping[str, float | None]:
        """``calibration_error`` (expected, over ten bins) and the areas under the risk-coverage
        curves ``risk_by_confidence`` and ``risk_by_entropy``; None where segments have neither."""
        judged = self.judged
        return {
            "calibration_error": judged.calibration_error,
            "risk_by_confidence": judged.risk_by_confidence,
            "risk_by_entropy": judged.risk_by_entropy,
        }

    @property
    def outcomes(self) -> Mapping[str, int]:
        """What became of items -> number of items."""
        counts = pc.value_counts(self.items["outcome"]).to_pylist()
        found = {one["values"]: one["counts"] for one in counts}
        return {name: found.get(name, 0) for name in (EVALUATED, NO_TRUTH, NO_PREDICTION)}

    @property
    def remarks(self) -> list[str]:
        """What is behind the numbers, as lines for people."""
        lines = [*self.notes]
        outcome = self.items["outcome"]
        missed = pc.and_(pc.equal(outcome, EVALUATED), pc.is_valid(self.items["reason"]))
        for rows, said in (
            (pc.equal(outcome, NO_TRUTH), "not evaluated, no ground truth"),
            (pc.equal(outcome, NO_PREDICTION), "not evaluated, no prediction"),
            (missed, "evaluated as if nothing had been predicted"),
        ):
            lines += _named(self.items.filter(rows), said)
        lines += self.label_remarks
        if self.undecided:
            lines.append(
                "nothing says whether these classes are things or stuff, so they count as things: "
                f"{listed([shown(label) for label in self.undecided])}. Say so in the taxonomy of "
                "the policy, or as isthing in the Segments' metadata"
            )
        return lines

    @property
    def one_sided_labels(self) -> tuple[list[str], list[str]]:
        """The labels that the ground truth alone has, and those that the predictions alone have, in
        quotes, each with the nearest one of the other side."""
        sides = self.segments["side"]
        truth, predicted = (
            set(pc.unique(self.segments.filter(pc.equal(sides, side))["label"]).to_pylist())
            for side in (TRUTH, PREDICTION)
        )
        return _alone(truth, predicted), _alone(predicted, truth)

    @property
    def label_remarks(self) -> list[str]:
        """What labels of one side mean, as lines for people."""
        words = (
            "only the ground truth has (every pixel of them is a miss)",
            "only the predictions have (wrong on every pixel that is not void)",
        )
        sides = zip(self.one_sided_labels, words, strict=True)
        return [f"labels that {said}: {listed(labels)}" for labels, said in sides if labels]

    def to_json(self) -> str:
        """The numbers and the classes as JSON text, without the items."""
        told: dict[str, Any] = {
            "conventions": CONVENTIONS_VERSION,
            "headline": dict(self.headline),
            "uncertainty": dict(self.uncertainty),
            "items": dict(self.outcomes),
            "classes": self.classes.to_pylist(),
            "remarks": self.remarks,
        }
        return json.dumps(told, indent=2, ensure_ascii=False)

    def _rows(self) -> list[list[object]]:
        rows: list[list[object]] = []
        for one in self.classes.to_pylist():
            values = [_percent(one[name]) for name in _COLUMNS[2:9]]
            rows.append([one["label"], one["kind"], *values, one["TP"], one["FP"], one["FN"]])
        return rows

    def _headline_rows(self) -> list[list[object]]:
        told = {**self.headline, **self.uncertainty}
        return [[name, _percent(value)] for name, value in told.items() if value is not None]

    @property
    def _count_line(self) -> str:
        outcomes = self.outcomes
        rest = [f"{count} {name}" for name, count in outcomes.items() if count]
        rest += [f"{self.reused} of them unchanged, not read again"] if self.reused else []
        return f"{self.items.num_rows} items: {', '.join(rest)}"

    def __repr__(self) -> str:
        lines = [self._count_line, "", text_table(("", "%"), self._headline_rows()), ""]
        lines += [text_table(_COLUMNS, self._rows())]
        lines += ["", *self.remarks] if self.remarks else []
        return "\n".join(line if "\n" in line else printable(line) for line in lines)

    def _repr_html_(self) -> str:
        remarks = "".join(f"<p>{html.escape(printable(line))}</p>" for line in self.remarks)
        return (
            f"<p>{html.escape(self._count_line)}</p>"
            f"{html_table(('', '%'), self._headline_rows())}"
            f"{html_table(_COLUMNS, self._rows())}{remarks}"
        )


def _alone(own: set[str], other: set[str]) -> list[str]:
    looks = Looks(sorted(other - own))
    near = ((label, looks.nearest(label)) for label in sorted(own - other))
    return [
        shown(label) + ("" if found is None else f" ({shown(found)}?)") for label, found in near
    ]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _named(items: pa.Table, said: str) -> list[str]:
    """A line about some items, with the reasons of the first; none without items."""
    if not items.num_rows:
        return []
    few = items.slice(0, _NAMED).to_pylist()
    named = "; ".join(f"{shown(one['reference_id'])}: {one['reason']}" for one in few)
    return [f"{items.num_rows} items are {said}: {named}{', ...' * (items.num_rows > _NAMED)}"]
