"""How far two model runs agree, where nothing says which of them is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import EvaluationError, listed
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.schemas import EVALUATED, NO_PREDICTION
from segpipe.evaluation.shown_comparison import (
    MOST_CHANGES,
    SHOWN_CHANGES,
    BesideEachOther,
    Shown,
    one_sided_table,
    percent,
)
from segpipe.evaluation.validated_items import ValidatedItems
from segpipe.names import shown

_SHOWN_LABELS, _NAMED = 20, 3
_NUMBERS = ("pixel_accuracy", "mIoU", "PQ", "SQ", "RQ")
# Number of an evaluation -> its name where both sides count alike.
_NAMES = {"pixel_accuracy": "pixel_agreement"}


@dataclass(frozen=True, repr=False)
class Agreement(BesideEachOther):
    """How far the model runs A and B agree on the items that both have.

    Attributes:
        a, b: the model runs.
        evaluation: of B, with A in the place of the ground truth: A's void is left out, B's void
            is no agreement.
        one_sided: items that one model run alone has, with the ``reason``.
        without_picture: why items of ``changes`` have none, a line each, where they were asked for.
    """

    a: str
    b: str
    evaluation: Evaluation
    one_sided: pa.Table
    without_picture: Sequence[str] = ()

    @classmethod
    def of(cls, a: ValidatedItems, b: ValidatedItems, evaluation: Evaluation) -> Agreement:
        """Of two model runs.

        Args:
            evaluation: of B, with A in the place of the ground truth.
        """
        alone = [
            {"reference_id": id, "model_run": own.model_run, "reason": "no accepted prediction"}
            for own, other in ((a, b), (b, a))
            for id in sorted(own.ids.keys() - other.ids.keys())
        ]
        whole = replace(evaluation, notes=[*a.notes, *evaluation.notes])
        return cls(a.model_run, b.model_run, whole, one_sided_table(alone))

    @property
    def headline(self) -> Mapping[str, float | None]:
        """``pixel_agreement``, ``mIoU``, ``PQ``, ``SQ``, ``RQ`` and, where it was asked for,
        ``boundary_IoU``; None where undefined."""
        numbers = self.evaluation.numbers
        return {_NAMES.get(of, of): numbers[of] for of in self._asked(*_NUMBERS)}

    def _asked(self, *names: str) -> list[str]:
        return [*names, *(["boundary_IoU"] if self.evaluation.boundary else [])]

    @property
    def confusion(self) -> pa.Table:
        """Pixels that have one label in A (``a``) and another, or void (null), in B (``b``), the
        most first."""
        found = self.evaluation.confusion
        same = pc.fill_null(pc.equal(found["label"], found["predicted_label"]), fill_value=False)
        found = found.filter(pc.invert(same)).rename_columns(["a", "b", "pixels"])
        return found.sort_by([("pixels", "descending"), ("a", "ascending"), ("b", "ascending")])

    @property
    def items(self) -> pa.Table:
        """One row per common item, ``pixel_agreement``, ``PQ`` and, where it was asked for,
        ``boundary_IoU``; the least agreement first."""
        rows = self.evaluation.items
        names = self._asked("reference_id", "pixel_accuracy", "PQ")
        rows = rows.filter(pc.equal(rows["outcome"], EVALUATED)).select(names)
        rows = rows.rename_columns([_NAMES.get(name, name) for name in names])
        return rows.sort_by([("pixel_agreement", "ascending"), ("reference_id", "ascending")])

    @property
    def changes(self) -> pa.Table:
        """The rows of ``items`` where they disagree the most: at most fifty."""
        rows = self.items
        return rows.filter(pc.less(rows["pixel_agreement"], 1.0)).slice(0, MOST_CHANGES)

    @property
    def notes_of_sides(self) -> Sequence[str]:
        """What has to be known besides items of one side, as lines for people."""
        lines = [*self.evaluation.notes]
        items = self.evaluation.items
        lost = items.filter(pc.equal(items["outcome"], NO_PREDICTION))
        both = lost.filter(pc.is_valid(lost["fingerprint"]))
        if both.num_rows:
            few = both.slice(0, _NAMED).to_pylist()
            named = "; ".join(f"{shown(one['reference_id'])}: {one['reason']}" for one in few)
            lines.append(
                f"{both.num_rows} items cannot be compared ({self.a} stands for the ground truth): "
                f"{named}{', ...' * (both.num_rows > _NAMED)}"
            )
        for name, labels in zip((self.a, self.b), self.evaluation.one_sided_labels, strict=True):
            if labels:
                lines.append(f"labels that only {name} has: {listed(labels)}")
        return lines

    @property
    def _common_items(self) -> int:
        return int(self.items.num_rows)

    @property
    def _numbers(self) -> Mapping[str, Any]:
        return {"agreement": dict(self.headline), "confusion": self.confusion.to_pylist()}

    @property
    def _said(self) -> tuple[str, Sequence[Shown]]:
        headline: list[list[object]] = [
            [name, percent(value)] for name, value in self.headline.items()
        ]
        labels = [
            [one["a"], one["b"] or "(void)", one["pixels"]]
            for one in self.confusion.slice(0, _SHOWN_LABELS).to_pylist()
        ]
        names = [name for name in self.items.column_names if name != "reference_id"]
        items = [
            [one["reference_id"], *(percent(one[name]) for name in names)]
            for one in self.changes.slice(0, SHOWN_CHANGES).to_pylist()
        ]
        return ", without ground truth", [
            ("", ("", "%"), headline),
            ("other labels", ("A", "B", "pixels"), labels),
            ("least agreement", ("item", *names), items),
        ]


def check_common(a: ValidatedItems, b: ValidatedItems) -> None:
    """Raise an error unless two model runs have an item in common.

    Raises:
        EvaluationError: with ids of both.
    """
    if a.ids.keys().isdisjoint(b.ids):
        few = (
            f"those of {one.model_run} are {listed([shown(id) for id in one.ids], 3)}"
            if one.ids
            else f"{one.model_run} has none"
            for one in (a, b)
        )
        raise EvaluationError(f"no item is in both model runs: {', '.join(few)}")
