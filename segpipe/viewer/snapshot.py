"""All rows of a root at one version of its catalog, in order; nothing of it ever changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from segpipe.viewer.blocks import BINS
from segpipe.viewer.rows import (
    OUTCOMES,
    Dictionaries,
    Rows,
    columns_of,
    joined,
    joined_columns,
)
from segpipe.viewer.sources import MaterializedPartition, Source

_KINDS = {"published": 0, "replaced": 0, "ignored": 1, "accepted": 1, "rejected": 2}
#: Outcome -> the place of its kind among those of an item: published, accepted, rejected.
KIND_OF = np.array([_KINDS[name] for name in OUTCOMES], np.uint8)


@dataclass(frozen=True)
class Group:
    """The rows of a model run.

    Attributes:
        sources: where they are from, in order, and how many are of each.
        notes: what of it cannot be read, a sentence each.
        bins: counts of Segments' confidences of published predictions.
    """

    dataset: str
    model_run: str
    made_of: tuple[Source, ...]
    rows: Rows
    sources: Sequence[tuple[Source, int]]
    notes: tuple[str, ...] = ()
    bins: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))


@dataclass(frozen=True)
class Snapshot:
    """N rows of a root, as they were when they were looked at.

    Attributes:
        version: of the catalog; None where there is none yet.
        rows: model run by model run, published before accepted before rejected.
        groups: the same rows, in parts that share their memory.
        notes: what is missing or cannot be read, a sentence each.
        is_whole: whether all that was there has been read.
    """

    version: int | None
    rows: Rows
    groups: Sequence[Group]
    names: Dictionaries
    partitions: Sequence[MaterializedPartition] = ()
    notes: Sequence[str] = ()
    is_whole: bool = True
    #: Selections and orders of the last requests.
    remembered: dict[Any, Any] = field(default_factory=dict, repr=False)
    lock: Lock = field(default_factory=Lock, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def group_starts(self) -> NDArray[np.int64]:
        """Where the rows of each group begin, and their number."""
        return np.cumsum([0, *(len(group.rows) for group in self.groups)])

    @cached_property
    def _sources(self) -> list[Source]:
        return [source for group in self.groups for source, _ in group.sources]

    @cached_property
    def _source_ends(self) -> NDArray[np.int64]:
        return np.cumsum([count for group in self.groups for _, count in group.sources])

    def source_of(self, row: int) -> Source:
        """Where a row is from."""
        return self._sources[int(np.searchsorted(self._source_ends, row, "right"))]

    def group_of(self, row: int) -> Group:
        """The model run of a row."""
        return self.groups[int(np.searchsorted(self.group_starts, row, "right")) - 1]

    @cached_property
    def order(self) -> NDArray[np.int32]:
        """The rows by reference id; those of an item as :attr:`rows` has them."""
        return np.asarray(pc.array_sort_indices(self.rows.ids).to_numpy(), np.int32)

    @cached_property
    def rank(self) -> NDArray[np.int32]:
        """Of each row its place in :attr:`order`."""
        rank = np.empty(len(self), np.int32)
        rank[self.order] = np.arange(len(self), dtype=np.int32)
        return rank

    @cached_property
    def pair_starts(self) -> NDArray[np.int64]:
        """N + 1 places: where the labels of each row begin."""
        return np.concatenate(([0], np.cumsum(self.rows.pairs, dtype=np.int64)))

    @cached_property
    def rule_starts(self) -> NDArray[np.int64]:
        """N + 1 places: where the findings of each row begin."""
        return np.concatenate(([0], np.cumsum(self.rows.rules, dtype=np.int64)))

    def of_model_runs(self, dataset: str, runs: Sequence[str] | None) -> NDArray[np.bool_]:
        """N bools: the rows of a dataset, or of some of its model runs."""
        wanted = [
            group.dataset == dataset and (runs is None or group.model_run in runs)
            for group in self.groups
        ]
        return np.repeat(np.array(wanted, bool), np.diff(self.group_starts))

    def with_label(self, label: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The rows that have a label, and its share of their masks."""
        number = self.names.labels.known(label)
        if number is None:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        at = np.flatnonzero(self.rows.pair_label == number)
        return np.searchsorted(self.pair_starts, at, "right") - 1, self.rows.pair_area[at]

    def with_rules(self, rules: Sequence[str]) -> NDArray[np.int64]:
        """The rows with a finding of one of some rules."""
        numbers = [n for n in map(self.names.rules.known, rules) if n is not None]
        at = np.flatnonzero(np.isin(self.rows.rule, numbers))
        return np.searchsorted(self.rule_starts, at, "right") - 1

    def labels_of(self, row: int) -> list[str]:
        """The labels of a row, the largest first."""
        start, stop = self.pair_starts[row], self.pair_starts[row + 1]
        return [self.names.labels.names[n] for n in self.rows.pair_label[start:stop]]

    def rules_of(self, row: int) -> list[str]:
        """The rules of a row's findings, each once."""
        start, stop = self.rule_starts[row], self.rule_starts[row + 1]
        return list(dict.fromkeys(self.names.rules.names[n] for n in self.rows.rule[start:stop]))

    def of_item(self, dataset: str, reference_id: str) -> list[int]:
        """The rows of an item."""
        same = pc.equal(self.rows.ids, pa.scalar(reference_id, pa.string()))
        found = np.flatnonzero(pc.fill_null(same, False).to_numpy(zero_copy_only=False))
        return [row for row in found.tolist() if self.group_of(row).dataset == dataset]

    def identity(self, row: int) -> tuple[str, str, str, int, str, int]:
        """What orders rows: reference id, dataset, model run, kind, day, place."""
        group, rows = self.group_of(row), self.rows
        kind = int(KIND_OF[rows.outcome[row]])
        date = "" if kind == 0 else self.names.dates.names[rows.date[row]]
        place = int(rows.place[row]) if kind else 0
        return str(rows.ids[row].as_py()), group.dataset, group.model_run, kind, date, place

    def date_of(self, row: int) -> str:
        """The day of a row's partition."""
        return self.names.dates.names[int(self.rows.date[row])]

    def outcome_of(self, row: int) -> str:
        """What became of a row."""
        return OUTCOMES[self.rows.outcome[row]]


def together(groups: list[Group]) -> tuple[Rows, list[Group]]:
    """The rows of groups one after the other, and the groups as parts of them.

    Args:
        groups: is emptied: no second copy of all rows is held meanwhile.
    """
    sizes = [(len(one.rows), one.rows.pair_label.size, one.rows.rule.size) for one in groups]
    bare = [replace(one, rows=_NO_ROWS) for one in groups]
    columns = columns_of([one.rows for one in groups])
    groups.clear()
    rows = joined_columns(columns)
    parts, ends = [], (0, 0, 0)
    for one, size in zip(bare, sizes, strict=True):
        starts, ends = ends, (ends[0] + size[0], ends[1] + size[1], ends[2] + size[2])
        parts.append(replace(one, rows=rows.part(*map(slice, starts, ends))))
    return rows, parts


_NO_ROWS = joined([])
