"""The counts of classes of a set, by label, and the numbers that follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from segpipe.evaluation.class_counts import ClassCounts, summaries
from segpipe.evaluation.numbers import class_columns, counts_of
from segpipe.evaluation.schemas import CLASSES, NUMBERS
from segpipe.tables.writing import table_of


@dataclass(frozen=True)
class Tally:
    """Counts of C classes, added over items.

    Attributes:
        labels: sorted, C.
        counts: of each class.
    """

    labels: list[str]
    counts: ClassCounts

    @classmethod
    def of(cls, table: pa.Table) -> Tally:
        """Of rows with a label and counts, those of a label added."""
        labels = table["label"].combine_chunks().dictionary_encode()
        names = labels.dictionary.to_pylist()
        order = np.argsort(np.array(names, object), kind="stable")
        place = np.empty(len(names), np.int64)
        place[order] = np.arange(len(names))
        added = counts_of(table).added(place[labels.indices.to_numpy()], len(names))
        return cls([names[number] for number in order], added)

    @classmethod
    def together(cls, parts: Iterable[Tally]) -> Tally:
        """Of several sets of items that have none in common."""
        tables = [part.classes for part in parts]
        return cls.of(pa.concat_tables([CLASSES.empty_table(), *tables]))

    @cached_property
    def classes(self) -> pa.Table:
        """CLASSES: counts and numbers of each class."""
        return table_of({"label": self.labels, **class_columns(self.counts)}, CLASSES)

    @cached_property
    def numbers(self) -> Mapping[str, float | None]:
        """Every number of the set; None where it is undefined, or was not asked for."""
        found = summaries(self.counts, np.zeros(len(self.counts), np.int64), 1)
        values = {name: float(found[name][0]) for name in NUMBERS}
        return {name: None if np.isnan(value) else value for name, value in values.items()}
