"""What a request asks for: filters as query parameters, the same on every address."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from segpipe.errors import nearest, shortened
from segpipe.viewer.refusal import RequestRefused
from segpipe.viewer.rows import OUTCOMES
from segpipe.viewer.snapshot import Snapshot

#: In which orders rows are listed.
SORTS = ("id", "least-sure", "most-segments", "largest-change", "rule", "newest")
Range = tuple[float, float]
_ONCE = (
    "dataset", "from", "to", "confidence", "entropy", "segments", "text", "sort", "ids",
)  # fmt: skip
_OFTEN = ("run", "label", "area", "rule", "outcome", "column")
#: The parameters that are filters.
PARAMETERS = (*_ONCE, *_OFTEN)
_LONGEST_VALUE = 1000
_MOST_VALUES = 100


@dataclass(frozen=True)
class Filters:
    """Which rows are asked for, and in which order; all conditions hold together.

    Attributes:
        runs, rules, outcomes: any of them; none for all and, of outcomes, for what is published.
        labels: all of them present.
        first, last: days, included.
        confidence: bounds of the least confidence of a row's Segments.
        entropy: bounds of the highest entropy of its class PDFs.
        areas: label, and bounds of its share of the mask, from 0 to 1.
        text: in the reference id, in whatever case.
        columns: names of columns that the manifest carried, and their values as text.
        ids: name of a saved selection.
    """

    dataset: str | None = None
    runs: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None
    labels: tuple[str, ...] = ()
    confidence: Range | None = None
    entropy: Range | None = None
    segments: Range | None = None
    areas: tuple[tuple[str, Range], ...] = ()
    rules: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    text: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    sort: str = "id"
    ids: str | None = None

    @property
    def needs_partitions(self) -> bool:
        """Whether rows are asked for that only the partitions' tables have."""
        apart = {"ignored", "accepted", "rejected"}
        return bool(self.rules or self.columns or self.sort == "rule" or apart & {*self.outcomes})

    @property
    def of_accepted(self) -> list[str]:
        """What is asked for that no table has of rejected rows, in words."""
        asked = {
            "labels": self.labels,
            "areas": self.areas,
            "confidences": self.confidence,
            "entropies": self.entropy,
            "numbers of Segments": self.segments,
            "the carried columns": self.columns,
        }
        return [words for words, given in asked.items() if given]


def filters_of(pairs: Iterable[tuple[str, str]], also: Sequence[str] = ()) -> Filters:
    """The filters of a request.

    Args:
        pairs: its query parameters, in order.
        also: names of parameters that the address takes besides.

    Raises:
        RequestRefused: for one that is not known or cannot be read, with what can.
    """
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if name in also:
            continue
        if name not in PARAMETERS:
            raise RequestRefused(
                f"there is no filter {shortened(name, 60)!r}{nearest(name[:60], PARAMETERS)}"
            )
        if len(value) > _LONGEST_VALUE:
            raise RequestRefused(f"{name} has {len(value)} characters, at most {_LONGEST_VALUE}")
        values = given.setdefault(name, [])
        values.append(value)
        if len(values) > (_MOST_VALUES if name in _OFTEN else 1):
            most = f"at most {_MOST_VALUES} times" if name in _OFTEN else "once"
            raise RequestRefused(f"{name} is given {len(values)} times, expected {most}")
    return _filters(given)


def _filters(given: dict[str, list[str]]) -> Filters:
    def one(name: str) -> str | None:
        return given[name][0] if name in given else None

    def several(name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(given.get(name, ())))

    outcomes = several("outcome")
    for outcome in outcomes:
        _check(outcome in OUTCOMES, "outcome", outcome, " or ".join(OUTCOMES))
    sort = one("sort") or "id"
    _check(sort in SORTS, "sort", sort, ", ".join(SORTS))
    return Filters(
        dataset=one("dataset"),
        runs=several("run"),
        first=_day("from", one("from")),
        last=_day("to", one("to")),
        labels=several("label"),
        confidence=_range("confidence", one("confidence")),
        entropy=_range("entropy", one("entropy")),
        segments=_range("segments", one("segments")),
        areas=tuple(map(_area, several("area"))),
        rules=several("rule"),
        outcomes=outcomes,
        text=one("text") or "",
        columns=tuple(map(_column, several("column"))),
        sort=sort,
        ids=one("ids"),
    )


def _check(fits: bool, name: str, value: str, expected: str) -> None:
    if not fits:
        raise RequestRefused(f"{name} is {shortened(value, 80)!r}, expected {expected}")


def _day(name: str, value: str | None) -> str | None:
    if not value:
        return None
    try:
        fits = date.fromisoformat(value).isoformat() == value
    except ValueError:
        fits = False
    _check(fits, name, value, "a day as YYYY-MM-DD")
    return value


def _range(name: str, value: str | None) -> Range | None:
    if not value:
        return None
    low, dots, high = value.partition("..")
    try:
        bounds = float(low) if low else -math.inf, float(high) if high else math.inf
    except ValueError:
        bounds = math.nan, math.nan
    fits = bool(dots) and not any(map(math.isnan, bounds)) and bounds[0] <= bounds[1]
    _check(fits, name, value, "LOW..HIGH, two numbers of which one may be missing")
    return bounds


def _area(value: str) -> tuple[str, Range]:
    label, colon, bounds = value.rpartition(":")
    _check(bool(colon and label), "area", value, "LABEL:LOW..HIGH")
    found = _range("area", bounds)
    return label, found or (-math.inf, math.inf)


def _column(value: str) -> tuple[str, str]:
    name, colon, wanted = value.partition(":")
    _check(bool(colon and name), "column", value, "NAME:VALUE")
    return name, wanted


def selected(snapshot: Snapshot, filters: Filters, dataset: str) -> NDArray[np.bool_]:
    """Of each row of a snapshot, whether it is asked for; without ``columns`` and ``ids``.

    Args:
        dataset: whose rows are asked for where the filters name none.
    """
    rows = snapshot.rows
    mask = snapshot.of_model_runs(filters.dataset or dataset, filters.runs or None)
    mask &= _of_outcomes(snapshot, filters.outcomes)
    if filters.first or filters.last:
        names = snapshot.names.dates.names
        days = np.array(
            [(filters.first or "") <= day <= (filters.last or "~") for day in names], bool
        )
        mask &= days[rows.date] if len(days) else False
    for values, bounds in (
        (rows.confidence, filters.confidence),
        (rows.entropy, filters.entropy),
        (rows.n_segments, filters.segments),
    ):
        if bounds is not None:
            mask &= within(values, bounds)
    if filters.of_accepted:  # of rejected rows the index has zeros for what no table has
        mask &= rows.outcome != OUTCOMES.index("rejected")
    for label in filters.labels:
        mask &= _marked(len(rows), snapshot.with_label(label)[0])
    for label, bounds in filters.areas:
        area = np.zeros(len(rows), np.float32)
        at, shares = snapshot.with_label(label)
        area[at] = shares
        mask &= within(area, bounds)
    if filters.rules:
        mask &= _marked(len(rows), snapshot.with_rules(filters.rules))
    if filters.text:
        found = pc.match_substring(rows.ids, filters.text, ignore_case=True)
        mask &= pc.fill_null(found, False).to_numpy(zero_copy_only=False)
    return mask


def within(values: NDArray[Any], bounds: Range) -> NDArray[np.bool_]:
    """Of numbers, which lie within bounds; one that is missing does not.

    The bounds are rounded as the numbers are, so that a bound finds the number it was read from.
    """
    low, high = (np.float32(bound) for bound in bounds)
    return np.asarray((values >= low) & (values <= high))


def _marked(total: int, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    mask = np.zeros(total, bool)
    mask[at] = True
    return mask


def _of_outcomes(snapshot: Snapshot, outcomes: Sequence[str]) -> NDArray[np.bool_]:
    """What replaced something is published as well."""
    wanted = {*(outcomes or ("published",))}
    if "published" in wanted:
        wanted.add("replaced")
    table = np.array([name in wanted for name in OUTCOMES], bool)
    return table[snapshot.rows.outcome]
