"""Two model runs beside the same ground truth, item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from segpipe.errors import EvaluationError, SettingsError, listed, nearest
from segpipe.evaluation.bootstrap import RESAMPLES, Intervals, intervals
from segpipe.evaluation.numbers import nullable
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.schemas import EVALUATED, NO_TRUTH
from segpipe.evaluation.scores import HEADLINE
from segpipe.evaluation.shown_comparison import (
    MOST_CHANGES,
    SHOWN_CHANGES,
    BesideEachOther,
    Shown,
    interval,
    one_sided_lines,
    one_sided_table,
    percent,
    signed,
)
from segpipe.names import shown

_SHOWN_CLASSES = 20
#: The number that decides which items changed the most.
METRIC = "mIoU"
#: The number that has to be asked for.
BOUNDARY = "boundary_IoU"
_METRIC_COLUMNS = ("%", "A", "B", "B - A", "95 %", "won", "lost", "tied")


@dataclass(frozen=True, repr=False)
class Comparison(BesideEachOther):
    """How a model run B does beside a model run A, on the items that both have. Differences are
    B minus A, so that B is better where they are positive.

    Attributes:
        a, b: the model runs.
        metrics: one row per number of the set: ``metric``, ``a``, ``b``, ``difference``, its 95 %
            interval ``low`` to ``high``; items ``won`` by B, ``lost``, ``tied``, and ``undefined``,
            where a side has no such number.
        classes: one row per class: its IoU, PQ and, where it was asked for, Boundary IoU in the
            same way, and whether it ``moved``: an interval is on one side of zero. The largest
            differences of IoU come first.
        items: one row per common item: ``a``, ``b`` and ``difference`` of the number that was
            asked for. The largest changes come first.
        one_sided: items that one model run alone has: ``reference_id``, ``model_run``, and the
            ``reason`` why the other is not compared.
        metric: the number that decides in ``items``.
        seed: of the bootstrap.
        notes: what else has to be known, as lines for people.
        without_picture: why items of ``changes`` have none, a line each, where they were asked for.
    """

    a: str
    b: str
    metrics: pa.Table
    classes: pa.Table
    items: pa.Table
    one_sided: pa.Table
    metric: str = METRIC
    seed: int = 0
    notes: Sequence[str] = ()
    without_picture: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        a: tuple[str, Evaluation],
        b: tuple[str, Evaluation],
        *,
        metric: str = METRIC,
        seed: int = 0,
        resamples: int = RESAMPLES,
    ) -> Comparison:
        """Compare the evaluations of two model runs, each with its name.

        Args:
            metric: the number by which items are sorted, one of both evaluations' ``headline``.
            seed: decides which items are drawn.
            resamples: how many samples are drawn.

        Raises:
            EvaluationError: if no item was evaluated in both.
            SettingsError: if there is no such number.
        """
        names = (a[0], b[0])
        whole = (a[1], b[1])
        check_metric(metric)
        common, one_sided, notes = _common(names, whole)
        sides = tuple(one.of_items(common).in_order() for one in whole)
        labels = sorted({label for one in sides for label in one.tally.labels})
        tables = (sides[0].item_classes, sides[1].item_classes)
        of_classes = _of_classes(all(one.boundary for one in whole))
        found = intervals(*tables, common, labels, of_classes, seed=seed, resamples=resamples)
        return cls(
            *names,
            _metrics(sides, found),
            _classes(sides, labels, found),
            _changes(sides, metric),
            one_sided,
            metric,
            seed,
            [*notes, *_kinds(names, sides), *_of_sides(names, whole)],
        )

    @property
    def changes(self) -> pa.Table:
        """The rows of ``items`` whose number differs the most: at most fifty."""
        differs = pc.not_equal(self.items["difference"], 0.0)
        return self.items.filter(differs).slice(0, MOST_CHANGES)

    @property
    def moved(self) -> pa.Table:
        """The rows of ``classes`` that moved."""
        return self.classes.filter(self.classes["moved"])

    @property
    def notes_of_sides(self) -> Sequence[str]:
        """What has to be known besides items of one side, as lines for people."""
        return self.notes

    @property
    def _common_items(self) -> int:
        return int(self.items.num_rows)

    @property
    def _numbers(self) -> Mapping[str, Any]:
        return {
            "metrics": self.metrics.to_pylist(),
            "classes": self.classes.to_pylist(),
            "metric": self.metric,
            "seed": self.seed,
        }

    @property
    def _said(self) -> tuple[str, Sequence[Shown]]:
        metrics = [
            [
                one["metric"],
                *(percent(one[name]) for name in ("a", "b")),
                signed(one["difference"]),
                interval(one["low"], one["high"]),
                *(one[name] for name in ("won", "lost", "tied")),
            ]
            for one in self.metrics.to_pylist()
            if one["difference"] is not None
        ]
        moved = self.moved
        of_classes = [name for name in _of_classes(True) if name in moved.column_names]
        classes = [
            [one["label"], *(
                cell
                for name in of_classes
                for cell in (signed(one[name]), interval(one[f"{name}_low"], one[f"{name}_high"]))
            )]
            for one in moved.slice(0, _SHOWN_CLASSES).to_pylist()
        ]  # fmt: skip
        changes = [
            [one["reference_id"], percent(one["a"]), percent(one["b"]), signed(one["difference"])]
            for one in self.changes.slice(0, SHOWN_CHANGES).to_pylist()
        ]
        few = f" ({_SHOWN_CLASSES} of {moved.num_rows})" if moved.num_rows > _SHOWN_CLASSES else ""
        columns = ("class", *(cell for name in of_classes for cell in (name, "95 %")))
        return "", [
            ("", _METRIC_COLUMNS, metrics),
            (f"classes that moved{few}", columns, classes),
            (f"largest changes of {self.metric}", ("item", "A", "B", "B - A"), changes),
        ]


def check_metric(name: str) -> None:
    """Raise an error unless a number of sets has this name.

    Raises:
        SettingsError: with the nearest one.
    """
    names = (*HEADLINE, BOUNDARY)
    if name not in names:
        raise SettingsError(f"no number of a set is called {name!r}{nearest(name, names)}")


def _of_classes(boundary: bool) -> tuple[str, ...]:
    """Numbers of classes whose differences have intervals."""
    return ("IoU", "PQ", BOUNDARY) if boundary else ("IoU", "PQ")


def _common(
    names: Sequence[str], whole: Sequence[Evaluation]
) -> tuple[list[str], pa.Table, list[str]]:
    """The items that were evaluated in both, sorted; those of one alone; and what is to be said.

    Raises:
        EvaluationError: if there are none.
    """
    rows = [{row["reference_id"]: row for row in _outcomes(one)} for one in whole]
    there = [
        {id: row["truth_fingerprint"] for id, row in one.items() if row["outcome"] == EVALUATED}
        for one in rows
    ]
    both = there[0].keys() & there[1].keys()
    common = sorted(id for id in both if there[0][id] == there[1][id])
    notes = []
    if len(common) < len(both):
        notes.append(
            f"{len(both) - len(common)} items are left out: their ground truth was published anew "
            "while this was computed"
        )
    alone = [
        {"reference_id": id, "model_run": names[own], "reason": _reason(rows[1 - own].get(id))}
        for own in (0, 1)
        for id in sorted(there[own].keys() - there[1 - own].keys())
    ]
    if not common:
        counts = " and ".join(f"{len(of)} of {name}" for name, of in zip(names, there, strict=True))
        raise EvaluationError(
            f"no item with ground truth has a prediction of both: {counts} were evaluated. "
            + " ".join(one_sided_lines(one_sided_table(alone), names))
        )
    return common, one_sided_table(alone), notes


def _outcomes(evaluation: Evaluation) -> list[dict[str, Any]]:
    columns = ["reference_id", "outcome", "reason", "truth_fingerprint"]
    rows: list[dict[str, Any]] = evaluation.items.select(columns).to_pylist()
    return rows


def _reason(row: Mapping[str, Any] | None) -> str:
    return "no row" if row is None else f"{row['outcome']}, {row['reason']}"


def _metrics(sides: Sequence[Evaluation], found: Intervals) -> pa.Table:
    names = [name for name in sides[0].headline if name in sides[1].headline]
    values = np.array([[_number(one.headline[name]) for name in names] for one in sides])
    counts = np.array([_won(*(one.items[name] for one in sides)) for name in names])
    bounds = np.array([found.numbers[name] for name in names])
    return pa.table(
        {
            "metric": pa.array(names, pa.string()),
            **_beside(values),
            "low": nullable(bounds[:, 0]),
            "high": nullable(bounds[:, 1]),
            **{
                name: pa.array(counts[:, place])
                for place, name in enumerate(("won", "lost", "tied", "undefined"))
            },
        }
    )


def _beside(values: NDArray[np.float64], prefix: str = "") -> dict[str, pa.Array]:
    """The columns of two sides' numbers, 2 x N, and of their differences."""
    return {
        f"{prefix}a": nullable(values[0]),
        f"{prefix}b": nullable(values[1]),
        prefix.rstrip("_") or "difference": nullable(values[1] - values[0]),
    }


def _won(before: pa.ChunkedArray, after: pa.ChunkedArray) -> tuple[int, int, int, int]:
    differences = _floats(after) - _floats(before)
    undefined = int(np.isnan(differences).sum())
    won, lost = int((differences > 0).sum()), int((differences < 0).sum())
    return won, lost, len(differences) - won - lost - undefined, undefined


def _classes(sides: Sequence[Evaluation], labels: Sequence[str], found: Intervals) -> pa.Table:
    rows = [{one["label"]: one for one in side.classes.to_pylist()} for side in sides]
    columns: dict[str, pa.Array] = {
        "label": pa.array(labels, pa.string()),
        "kind": [(rows[0].get(label) or rows[1][label])["kind"] for label in labels],
    }
    moved = np.zeros(len(labels), bool)
    for name in found.classes:
        values = np.array(
            [[_number(one.get(label, {}).get(name)) for label in labels] for one in rows]
        )
        bounds = found.classes[name]
        columns |= _beside(values, f"{name}_")
        columns |= {f"{name}_low": nullable(bounds[:, 0]), f"{name}_high": nullable(bounds[:, 1])}
        moved |= (bounds[:, 0] > 0) | (bounds[:, 1] < 0)
    table = pa.table({**columns, "moved": pa.array(moved)})
    return _largest_first(table, "IoU", "label")


def _changes(sides: Sequence[Evaluation], metric: str) -> pa.Table:
    values = np.array([_floats(one.items[metric]) for one in sides])
    items = {"reference_id": sides[0].items["reference_id"], **_beside(values)}
    return _largest_first(pa.table(items), "difference", "reference_id")


def _largest_first(table: pa.Table, difference: str, name: str) -> pa.Table:
    """Sorted by the size of a difference, undefined ones last."""
    sized = table.append_column("size", pc.abs(table[difference]))
    order = pc.sort_indices(sized, [("size", "descending"), (name, "ascending")])
    return table.take(order)


def _kinds(names: Sequence[str], sides: Sequence[Evaluation]) -> list[str]:
    """A line about classes that are things for one model run and stuff for the other."""
    kinds = [dict(zip(*(of.classes[one].to_pylist() for one in ("label", "kind")), strict=True))
             for of in sides]  # fmt: skip
    others = [
        f"{shown(label)} ({kind} for {names[0]}, {kinds[1][label]} for {names[1]})"
        for label, kind in kinds[0].items()
        if label in kinds[1] and kinds[1][label] != kind
    ]
    if not others:
        return []
    return [
        f"things of one model run are stuff of the other, so that their PQ, SQ and RQ are not of "
        f"the same segments: {listed(others)}. Give both the same taxonomy in their policies"
    ]


def _of_sides(names: Sequence[str], whole: Sequence[Evaluation]) -> list[str]:
    """What is to be known of each side: its notes, labels of one side; items are told apart."""
    lines = []
    for name, one in zip(names, whole, strict=True):
        without = int(pc.sum(pc.equal(one.items["outcome"], NO_TRUTH)).as_py() or 0)
        if without:
            lines.append(f"{name}: {without} items have no ground truth and are left out")
        lines += [f"{name}: {line}" for line in [*one.notes, *one.label_remarks]]
    return lines


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.to_numpy().astype(np.float64)
    return values


def _number(value: float | None) -> float:
    return np.nan if value is None else value
