"""Several days of a model run, evaluated: what is stored of them, read a day at a time.

Memory holds the reference ids, and the tables of one day. Of an item on several days the last one
counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import EvaluationError, SegpipeError, TableError
from segpipe.evaluation.result import added_confusion, labels_of, undecided_of
from segpipe.evaluation.schemas import CONFUSION, EVALUATED, ITEMS
from segpipe.evaluation.scores import Scores
from segpipe.evaluation.stored import StoredEvaluation
from segpipe.evaluation.tally import Tally
from segpipe.evaluation.uncertainty import Judged
from segpipe.manifests.partition import Partition

_LABELS = ["reference_id", "side", "label"]
_JUDGED = [*_LABELS, "outcome", "confidence", "entropy"]


@dataclass(frozen=True)
class EvaluatedDay:
    """A stored day.

    Attributes:
        partition: the day.
        stored: its evaluation.
        ids: items of it that count, evaluated or not.
        evaluated: those of them that were evaluated.
        is_whole: whether all of its items count.
    """

    partition: Partition
    stored: StoredEvaluation
    ids: Set[str]
    evaluated: Set[str]
    is_whole: bool

    def tally(self, wanted: Set[str] | None = None) -> Tally:
        """The classes of the items that count, or of some of them.

        Args:
            wanted: None for all.
        """
        ids = self.evaluated if wanted is None else self.evaluated & wanted
        if self.is_whole and len(ids) == len(self.evaluated):
            with suppress(TableError):  # damaged; it follows from the other
                return Tally.of(self.stored.table("classes"))
        return Tally.of(_of_items(self.stored.table("item_classes"), ids))

    @property
    def undecided(self) -> Sequence[str]:
        """Labels of which nothing says thing or stuff in some of these items."""
        found = self.stored.undecided
        if self.is_whole or not found:
            return found
        return undecided_of(self.rows("item_classes", ["reference_id", "label", "undecided"]))

    def rows(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of a table of items or segments that count."""
        table = self.stored.table(name, columns)
        return table if self.is_whole else _of_items(table, self.ids)

    def confusion(self) -> pa.Table:
        """CONFUSION: of the items that count."""
        if self.is_whole:
            with suppress(TableError):  # damaged; it follows from the other
                return self.stored.table("confusion")
        return added_confusion(self.rows("item_confusion"))


def _of_items(table: pa.Table, ids: Set[str]) -> pa.Table:
    wanted = pa.array(sorted(ids), pa.string())
    return table.filter(pc.is_in(table["reference_id"], wanted))


@dataclass(frozen=True)
class EvaluatedDays:
    """A model run's evaluated days, the newest first.

    Attributes:
        notes: days that are left out, and why, and what else has to be known.
    """

    days: Sequence[EvaluatedDay]
    notes: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        days: Sequence[Partition],
        stored: Callable[[Partition, bool], StoredEvaluation],
        wanted: Set[str] | None = None,
        may_have: Callable[[Partition, Set[str]], bool] = lambda day, ids: True,
    ) -> EvaluatedDays:
        """Evaluate days, or take what is stored of them.

        Args:
            days: the newest first.
            stored: the evaluation of a day; where the second argument is true, looked at again.
            wanted: the items that matter; None for all. Days are looked at until all are found.
            may_have: whether a day may have some of these.

        Raises:
            EvaluationError, TableError: if no day can be evaluated.
        """
        found: list[EvaluatedDay] = []
        failed: list[SegpipeError] = []
        notes: list[str] = []
        seen: set[str] = set()
        older = 0
        for day in days:
            missing = None if wanted is None else wanted - seen
            if missing is not None and not (missing and may_have(day, missing)):
                continue
            try:
                one, outcomes = _opened(day, stored)
            except (EvaluationError, TableError) as error:
                failed.append(error)
                notes.append(f"{day.date} is left out: {error}")
                continue
            own = outcomes.keys() - seen
            older += len(outcomes) - len(own)
            seen |= own
            counted = own if wanted is None else own & wanted
            evaluated = {id for id in counted if outcomes[id] == EVALUATED}
            found.append(EvaluatedDay(day, one, counted, evaluated, len(counted) == len(outcomes)))
        if failed and not found:
            raise failed[0]
        if older:
            notes.append(
                f"{older} predictions are of items that a later day has as well: the later counts"
            )
        return cls(found, notes)

    @cached_property
    def evaluated(self) -> Set[str]:
        """The items that were evaluated."""
        return {id for day in self.days for id in day.evaluated}

    def tally(self, wanted: Set[str] | None = None) -> Tally:
        """The classes of all items, or of some of them.

        Args:
            wanted: None for all.
        """
        days = (day for day in self.days if wanted is None or not day.evaluated.isdisjoint(wanted))
        return Tally.together(day.tally(wanted) for day in days)


def _opened(
    day: Partition, stored: Callable[[Partition, bool], StoredEvaluation]
) -> tuple[StoredEvaluation, Mapping[str, str]]:
    """A day's evaluation, made again if it is damaged, and what became of each item."""
    one = stored(day, False)
    try:
        return one, _outcomes(one)
    except TableError:
        one = stored(day, True)
        return one, _outcomes(one)


def _outcomes(stored: StoredEvaluation) -> Mapping[str, str]:
    """What became of each item."""
    table = stored.table("items", ["reference_id", "outcome"])
    ids, outcomes = (table[name].to_pylist() for name in ("reference_id", "outcome"))
    return dict(zip(ids, outcomes, strict=True))


class DatasetEvaluation(Scores):
    """All days of a model run beside ground truth.

    Memory holds the items, and three numbers of each predicted segment that says how certain it is.

    Args:
        days: the model run's.
        boundary: Boundary IoU was asked for.

    Attributes:
        items: ITEMS, in the order of the reference ids.
    """

    reused = 0

    def __init__(self, days: EvaluatedDays, *, boundary: bool = False) -> None:
        self.days, self.boundary, self.notes = days, boundary, days.notes
        items = [ITEMS.empty_table(), *(day.rows("items") for day in days.days)]
        self.items = pa.concat_tables(items).sort_by("reference_id")

    @cached_property
    def undecided(self) -> Sequence[str]:
        """Labels of which nothing says thing or stuff in some item, counted as things there."""
        return sorted({label for day in self.days.days for label in day.undecided})

    @cached_property
    def tally(self) -> Tally:
        """The counts of the classes, added over the days."""
        return self.days.tally()

    @cached_property
    def confusion(self) -> pa.Table:
        """Pixels of each class of the ground truth by class, or void (null), of the prediction."""
        parts = [CONFUSION.empty_table(), *(day.confusion() for day in self.days.days)]
        return added_confusion(pa.concat_tables(parts))

    @cached_property
    def judged(self) -> Judged:
        """The predicted segments that are right or wrong and say how certain they are."""
        return self._of_segments[0]

    @cached_property
    def labels(self) -> tuple[Set[str], Set[str]]:
        """The labels of the ground truth's segments, and of the predicted ones."""
        return self._of_segments[1]

    @cached_property
    def _of_segments(self) -> tuple[Judged, tuple[Set[str], Set[str]]]:
        sides: tuple[set[str], set[str]] = (set(), set())
        judged = []
        for day in self.days.days:
            rows = day.rows("segments", _JUDGED)
            judged.append(Judged.of(rows).certain)
            for labels, new in zip(sides, labels_of(rows), strict=True):
                labels.update(new)
        return Judged.together(judged), sides

    @property
    def segments(self) -> Iterator[pa.Table]:
        """SEGMENTS, a day at a time, the newest first."""
        for day in self.days.days:
            yield day.rows("segments")
