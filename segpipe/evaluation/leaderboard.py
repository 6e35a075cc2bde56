"""Where a model run stands among the others, on the items that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from segpipe.errors import listed
from segpipe.evaluation.days import EvaluatedDays
from segpipe.names import shown
from segpipe.tables.text import text_table

_METRICS = ("mIoU", "PQ", "pixel_accuracy", "SQ", "RQ")
SCHEMA = pa.schema(
    [
        pa.field("rank", pa.int32()),
        pa.field("model_run", pa.string()),
        *(pa.field(name, pa.float64()) for name in _METRICS),
        pa.field("items", pa.int64()),
        pa.field("evaluated_items", pa.int64()),
    ]
)


@dataclass(frozen=True, repr=False)
class Leaderboard:
    """Model runs of a dataset, the best first.

    Attributes:
        table: SCHEMA, a row per model run: its rank by mIoU, its numbers on the common items, how
            many these are, and how many items it was evaluated on in all.
        notes: which items are compared, and what is left out, as lines for people.
    """

    table: pa.Table
    notes: Sequence[str]

    def __repr__(self) -> str:
        names = self.table.column_names
        rows = [
            [one[name] if name not in _METRICS else _percent(one[name]) for name in names]
            for one in self.table.to_pylist()
        ]
        return "\n".join([text_table(names, rows), "", *self.notes])


def leaderboard(
    model_run: str, evaluations: Mapping[str, EvaluatedDays], notes: Sequence[str] = ()
) -> Leaderboard:
    """Rank model runs on the items that they have in common with one of them.

    Those with most items in common are taken first; one that would leave nothing is left out.

    Args:
        model_run: whose standing is asked for; one of ``evaluations``.
        evaluations: of each model run, all its days.
        notes: what is left out already.
    """
    ids = {name: one.evaluated for name, one in evaluations.items()}
    common, ranked, out = ids[model_run], [model_run], []
    others = sorted(ids.keys() - {model_run}, key=lambda name: (-len(ids[name] & common), name))
    for name in others:
        if ids[name] & common:
            common, ranked = common & ids[name], [*ranked, name]
        else:
            out.append(name)
    numbers = {name: evaluations[name].tally(common).numbers for name in ranked}
    values = {name: _value(numbers[name]["mIoU"]) for name in ranked}
    rows = [
        {
            # Equal ones have the same rank.
            "rank": 1 + sum(other > value for other in values.values()),
            "model_run": name,
            **{one: numbers[name][one] for one in _METRICS},
            "items": len(common),
            "evaluated_items": len(ids[name]),
        }
        for name, value in sorted(values.items(), key=lambda one: (-one[1], one[0]))
    ]
    told = [
        f"compared on the {len(common)} items that all {len(ranked)} model runs have"
        if len(ranked) > 1
        else "there is no other model run with the same items"
    ]
    if out:
        told.append(f"left out, without items of the others: {listed([shown(one) for one in out])}")
    return Leaderboard(pa.Table.from_pylist(rows, schema=SCHEMA), [*told, *notes])


def _value(number: float | None) -> float:
    return -1.0 if number is None else number


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"
