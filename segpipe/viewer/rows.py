"""The rows of a root as columns in memory: published, accepted, ignored and rejected ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from segpipe.viewer.blocks import LABELS_KEY, RULES_KEY, iter_pairs, iter_rules, notes_of

#: What became of a row, as numbers: ``OUTCOMES[n]``.
OUTCOMES = ("published", "replaced", "ignored", "accepted", "rejected")
PUBLISHED, REPLACED, IGNORED, ACCEPTED, REJECTED = range(5)


class Names:
    """Names with numbers, which stay as they are while names are added."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The number of a name; a new one where it has none."""
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number

    def known(self, name: str) -> int | None:
        """The number of a name; None where it has none."""
        return self._numbers.get(name)

    def numbers(self, names: Iterable[str]) -> NDArray[np.int32]:
        """The numbers of names."""
        return np.array([self.number(name) for name in names], np.int32)


@dataclass(frozen=True)
class Dictionaries:
    """The names whose numbers the columns hold."""

    datasets: Names
    runs: Names
    dates: Names
    labels: Names
    rules: Names

    @classmethod
    def empty(cls) -> Dictionaries:
        """Without any name."""
        return cls(*(Names() for _ in fields(cls)))


@dataclass(frozen=True, slots=True)
class Rows:
    """N rows with P pairs of label and area, and R findings.

    Attributes:
        ids: N reference ids, an Arrow array of strings.
        place: N places of the rows in their blocks.
        key: N uint64, which tell a prediction from others of its item and model run.
        date, outcome: N numbers of names.
        published: N times in microseconds, 0 where none was.
        confidence, entropy: N numbers, the least and the highest of the Segments; NaN for none.
        pairs, rules: N counts of labels and of findings, which follow row after row in the arrays
            ``pair_label``, ``pair_area`` and ``rule``.
    """

    ids: pa.Array
    place: NDArray[np.int32]
    key: NDArray[np.uint64]
    date: NDArray[np.uint16]
    outcome: NDArray[np.uint8]
    height: NDArray[np.int32]
    width: NDArray[np.int32]
    published: NDArray[np.int64]
    n_segments: NDArray[np.uint16]
    confidence: NDArray[np.float32]
    entropy: NDArray[np.float32]
    pairs: NDArray[np.uint16]
    rules: NDArray[np.uint16]
    pair_label: NDArray[np.int32]
    pair_area: NDArray[np.float32]
    rule: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.place)

    def part(self, rows: slice, pairs: slice, rules: slice) -> Rows:
        """Rows that follow each other, without copying them.

        Args:
            rows, pairs, rules: where they are, their labels and their findings.
        """
        given: dict[str, Any] = {"ids": self.ids[rows]}
        for name in _PER_ROW:
            given[name] = getattr(self, name)[rows]
        return Rows(
            **given,
            pair_label=self.pair_label[pairs],
            pair_area=self.pair_area[pairs],
            rule=self.rule[rules],
        )

    def chosen(self, mask: NDArray[np.bool_], outcome: NDArray[np.uint8]) -> Rows:
        """Some of the rows, with what became of them."""
        given: dict[str, Any] = {"ids": self.ids.filter(pa.array(mask))}
        for name in _PER_ROW:
            given[name] = getattr(self, name)[mask]
        given["outcome"] = outcome[mask]
        of_pairs, of_rules = np.repeat(mask, self.pairs), np.repeat(mask, self.rules)
        return Rows(
            **given,
            pair_label=self.pair_label[of_pairs],
            pair_area=self.pair_area[of_pairs],
            rule=self.rule[of_rules],
        )

    def with_rules(self, counts: NDArray[np.uint16], rules: NDArray[np.uint16]) -> Rows:
        """The same rows with other findings."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        return Rows(**{**given, "rules": counts, "rule": rules})


_PER_ROW = [
    one.name for one in fields(Rows) if one.name not in ("ids", "pair_label", "pair_area", "rule")
]


def rows_of(
    block: pa.Table, names: Dictionaries, outcome: int | None, date: str | None = None
) -> Rows:
    """The columns of a block that are filtered and sorted by.

    Args:
        outcome: of all rows; None for published ones, of which some replaced others.
        date: of all rows; None where the block says it.
    """
    total = block.num_rows
    pairs, labels, areas = iter_pairs(block)
    counts, rules = iter_rules(block)
    if date is None:
        days = block["date"].combine_chunks().dictionary_encode()
        codes = names.dates.numbers([str(day) for day in days.dictionary.to_pylist()])
        dates = codes[days.indices.to_numpy()] if total else np.zeros(0)
    else:
        dates = np.full(total, names.dates.number(date))
    if outcome is None:
        replaced = block["replaced"].to_numpy()
        outcomes = np.where(replaced, REPLACED, PUBLISHED)
    else:
        outcomes = np.full(total, outcome)
    label_codes = names.labels.numbers(notes_of(block, LABELS_KEY))
    rule_codes = names.rules.numbers(notes_of(block, RULES_KEY))
    return Rows(
        # Copied out of the block, whose file is not kept mapped for it.
        ids=_copied(block["reference_id"]),
        place=np.arange(total, dtype=np.int32),
        key=_numbers(block["key"], np.uint64),
        date=dates.astype(np.uint16),
        outcome=outcomes.astype(np.uint8),
        height=_numbers(block["height"], np.int32),
        width=_numbers(block["width"], np.int32),
        published=_numbers(block["published"], np.int64),
        n_segments=_numbers(block["n_segments"], np.uint16),
        confidence=_numbers(block["confidence"], np.float32),
        entropy=_numbers(block["entropy"], np.float32),
        pairs=pairs.astype(np.uint16),
        rules=counts.astype(np.uint16),
        pair_label=(label_codes[labels] if labels.size else labels).astype(np.int32),
        pair_area=np.array(areas, np.float32),
        rule=(rule_codes[rules] if rules.size else rules).astype(np.uint16),
    )


def _copied(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays([pa.array([], column.type), *column.chunks])


def _numbers(column: pa.ChunkedArray, kind: type[Any]) -> NDArray[Any]:
    if column.null_count:
        column = pc.fill_null(column, 0)
    return np.array(column.to_numpy(), kind)


def joined(parts: Sequence[Rows]) -> Rows:
    """Rows one after the other."""
    return parts[0] if len(parts) == 1 else joined_columns(columns_of(parts))


def columns_of(parts: Sequence[Rows]) -> dict[str, list[Any]]:
    """The columns of rows, by name."""
    return {one.name: [getattr(part, one.name) for part in parts] for one in fields(Rows)}


def joined_columns(columns: dict[str, list[Any]]) -> Rows:
    """Rows one after the other.

    Args:
        columns: is emptied as they are joined.
    """
    given: dict[str, Any] = {}
    for name in [*columns]:
        arrays = columns.pop(name)
        if name == "ids":
            given[name] = pa.concat_arrays([pa.array([], pa.string()), *arrays])
        else:
            given[name] = np.concatenate(arrays) if arrays else _EMPTY[name]
    return Rows(**given)


_EMPTY = {
    "place": np.zeros(0, np.int32), "key": np.zeros(0, np.uint64), "date": np.zeros(0, np.uint16),
    "outcome": np.zeros(0, np.uint8), "height": np.zeros(0, np.int32),
    "width": np.zeros(0, np.int32), "published": np.zeros(0, np.int64),
    "n_segments": np.zeros(0, np.uint16), "confidence": np.zeros(0, np.float32),
    "entropy": np.zeros(0, np.float32), "pairs": np.zeros(0, np.uint16),
    "rules": np.zeros(0, np.uint16), "pair_label": np.zeros(0, np.int32),
    "pair_area": np.zeros(0, np.float32), "rule": np.zeros(0, np.uint16),
}  # fmt: skip
