"""Numbers over many rows: facets, the overview, rejects by rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.validation.rules import CATALOGUE, Severity
from segpipe.viewer.filters import Filters
from segpipe.viewer.rows import ACCEPTED, IGNORED, OUTCOMES, PUBLISHED, REJECTED, REPLACED
from segpipe.viewer.snapshot import Snapshot

_EXAMPLES = 12
Json = dict[str, Any]
Select = Callable[[Snapshot, Filters], NDArray[np.bool_]]


def counts(snapshot: Snapshot, filters: Filters, select: Select) -> Json:
    """How many rows each value of a filter would show, the other filters as they are.

    Of labels, all of which have to be present, those among the rows that are shown.
    """
    rows, names = snapshot.rows, snapshot.names
    shown = select(snapshot, filters)
    labels = np.bincount(
        rows.pair_label[np.repeat(shown, rows.pairs)], minlength=len(names.labels.names)
    )
    by_run = select(snapshot, replace(filters, runs=()))
    starts = snapshot.group_starts
    runs: dict[str, int] = {}
    for number, group in enumerate(snapshot.groups):
        there = int(by_run[starts[number] : starts[number + 1]].sum())
        if there:
            runs[group.model_run] = runs.get(group.model_run, 0) + there
    every = select(snapshot, replace(filters, outcomes=OUTCOMES))
    outcomes = np.bincount(rows.outcome[every], minlength=len(OUTCOMES))
    outcomes[PUBLISHED] += outcomes[REPLACED]
    return {
        "labels": _named(names.labels.names, labels),
        "runs": runs,
        "outcomes": _named(OUTCOMES, outcomes),
        "rules": _of_rules(snapshot, select(snapshot, replace(filters, rules=()))),
    }


def _named(names: Any, numbers: NDArray[np.int64]) -> dict[str, int]:
    return {name: int(n) for name, n in zip(names, numbers, strict=False) if n}


def _of_rules(snapshot: Snapshot, mask: NDArray[np.bool_]) -> dict[str, int]:
    """Rule -> rows with a finding of it."""
    rows = snapshot.rows
    if not rows.rule.size:
        return {}
    owners = np.repeat(np.arange(len(rows)), rows.rules)
    there = mask[owners]
    total = len(snapshot.names.rules.names)
    each = np.unique(owners[there] * total + rows.rule[there])
    return _named(snapshot.names.rules.names, np.bincount(each % total, minlength=total))


def overview(snapshot: Snapshot, filters: Filters, select: Select) -> Json:
    """Per model run and day what became of the rows; areas and confidences per model run."""
    rows, names = snapshot.rows, snapshot.names
    mask = select(snapshot, replace(filters, outcomes=OUTCOMES))
    summaries = {(one.model_run, one.date): one.summary for one in snapshot.partitions}
    cells: list[Json] = []
    areas: list[Json] = []
    confidences: list[Json] = []
    days = len(names.dates.names)
    for number, group in enumerate(snapshot.groups):
        at = slice(*snapshot.group_starts[number : number + 2])
        own = mask[at]
        if not own.any():
            continue
        kinds = rows.date[at][own].astype(np.int64) * len(OUTCOMES) + rows.outcome[at][own]
        table = np.bincount(kinds, minlength=days * len(OUTCOMES)).reshape(days, len(OUTCOMES))
        for day in np.flatnonzero(table.sum(1)):
            date = names.dates.names[day]
            cells.append(_cell(group.model_run, date, table[day], summaries))
        areas += _areas(snapshot, number, own)
        confidences.append({"model_run": group.model_run, "bins": group.bins.tolist()})
    cells.sort(key=lambda cell: (cell["model_run"], cell["date"]))
    return {"cells": cells, "areas": areas, "confidences": confidences}


def _cell(
    run: str, date: str, kinds: NDArray[np.int64], summaries: Mapping[tuple[str, str], Any]
) -> Json:
    summary = summaries.get((run, date))
    published = int(kinds[PUBLISHED] + kinds[REPLACED])
    accepted = int(kinds[IGNORED] + kinds[ACCEPTED])
    return {
        "model_run": run,
        "date": date,
        "accepted": summary.accepted if summary is not None else accepted + published,
        "rejected": int(kinds[REJECTED]),
        "published": published,
        "replaced": int(kinds[REPLACED]),
        "ignored": int(kinds[IGNORED]),
        "waiting": int(kinds[ACCEPTED]),
    }


def _areas(snapshot: Snapshot, number: int, mask: NDArray[np.bool_]) -> list[Json]:
    """The mean share of each label in a model run's published masks."""
    rows = snapshot.rows
    start, stop = snapshot.group_starts[number : number + 2]
    published = mask & (rows.outcome[start:stop] <= REPLACED)
    total = int(published.sum())
    if not total:
        return []
    pairs = slice(int(snapshot.pair_starts[start]), int(snapshot.pair_starts[stop]))
    chosen = np.repeat(published, rows.pairs[start:stop])
    labels, shares = rows.pair_label[pairs][chosen], rows.pair_area[pairs][chosen]
    sums = np.bincount(labels, shares)
    return [
        {
            "model_run": snapshot.groups[number].model_run,
            "label": snapshot.names.labels.names[label],
            "share": round(float(sums[label]) / total, 6),
        }
        for label in np.argsort(-sums, kind="stable")
        if sums[label] > 0
    ]


def rejects(
    snapshot: Snapshot, filters: Filters, select: Select, card: Callable[[int], Json]
) -> list[Json]:
    """The rejected rows by rule, the most frequent first, a few cards of each."""
    mask = select(snapshot, replace(filters, outcomes=("rejected",)))
    numbers = _of_rules(snapshot, mask)
    found = []
    for rule, count in sorted(numbers.items(), key=lambda one: (-one[1], one[0])):
        with_rule = np.unique(snapshot.with_rules([rule]))
        own = with_rule[mask[with_rule]]
        first = own[np.argsort(snapshot.rank[own], kind="stable")][:_EXAMPLES]
        known = CATALOGUE.get(rule)
        found.append(
            {
                "rule": rule,
                "severity": (Severity.REJECT if known is None else known.severity).value,
                "meaning": "" if known is None else known.meaning,
                "remedy": "" if known is None else known.remedy,
                "count": count,
                "items": [card(int(row)) for row in first],
            }
        )
    return found
