"""The scores of a set, however it was put together: its numbers, and how they are told."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import listed, printable
from segpipe.evaluation.schemas import EVALUATED, NO_PREDICTION, NO_TRUTH, SUMMARY
from segpipe.evaluation.tally import Tally
from segpipe.evaluation.uncertainty import Judged
from segpipe.names import Looks, shown
from segpipe.tables.text import html_table, text_table

#: Raised with any change of what is counted, or how.
CONVENTIONS_VERSION = "1"
#: The numbers of a set that a paper would print.
HEADLINE = (
    "mIoU", "fwIoU", "pixel_accuracy", "mean_accuracy", "mDice",
    "PQ", "SQ", "RQ", "PQ_things", "PQ_stuff",
)  # fmt: skip
_NAMED = 3
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


class Scores:
    """The scores of a set. Its repr is the table that a paper would print."""

    items: pa.Table
    boundary: bool
    notes: Sequence[str]
    reused: int

    @property
    def undecided(self) -> Sequence[str]:
        """Labels of which nothing says thing or stuff in some item, counted as things there."""
        raise NotImplementedError

    @property
    def tally(self) -> Tally:
        """The counts of the classes, added over the items."""
        raise NotImplementedError

    @property
    def confusion(self) -> pa.Table:
        """Pixels of each class of the ground truth by class, or void (null), of the prediction."""
        raise NotImplementedError

    @property
    def judged(self) -> Judged:
        """The predicted segments that are right or wrong, with their confidence."""
        raise NotImplementedError

    @property
    def labels(self) -> tuple[Set[str], Set[str]]:
        """The labels of the ground truth's segments, and of the predicted ones."""
        raise NotImplementedError

    @property
    def classes(self) -> pa.Table:
        """One row per class with a pixel or a segment in either side: counts and numbers."""
        return self.tally.classes

    @property
    def numbers(self) -> Mapping[str, float | None]:
        """Every number of the set; None where it is undefined, or was not asked for."""
        return self.tally.numbers

    @property
    def headline(self) -> Mapping[str, float | None]:
        """The numbers of the set by name; None where one is undefined.

        ``boundary_IoU`` is there if it was asked for; ``numbers`` has more.
        """
        asked = ("boundary_IoU",) if self.boundary else ()
        return {name: self.numbers[name] for name in (*HEADLINE, *asked)}

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
        truth, predicted = self.labels
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

    def summary(self, catalog_version: int | None) -> pa.Table:
        """SUMMARY: the numbers and counts of the set, one row.

        Args:
            catalog_version: in which the ground truth was read.
        """
        outcomes = self.outcomes
        row = {
            "items": self.items.num_rows,
            "evaluated": outcomes[EVALUATED],
            "without_ground_truth": outcomes[NO_TRUTH],
            "without_prediction": outcomes[NO_PREDICTION],
            **self.numbers,
            **self.uncertainty,
            "catalog_version": catalog_version,
        }
        return pa.Table.from_pylist([row], schema=SUMMARY)

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


def _alone(own: Set[str], other: Set[str]) -> list[str]:
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
