"""What comparisons of two model runs have in common: items of one alone, and how they are shown."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import printable
from segpipe.evaluation.scores import CONVENTIONS_VERSION
from segpipe.names import shown
from segpipe.tables.text import html_table, text_table

#: The largest changes that are shown, and drawn.
MOST_CHANGES = 50
#: Of them, those in a repr.
SHOWN_CHANGES = 10
_NAMED = 3
#: A title, names of columns, and rows.
Shown = tuple[str, Sequence[str], list[list[object]]]


class BesideEachOther:
    """Two model runs beside each other, and how that is told.

    Attributes:
        a, b: the model runs.
        one_sided: items that one model run alone has: ``reference_id``, ``model_run``, and the
            ``reason`` why the other is not compared.
        without_picture: why items of ``changes`` have none, a line each, where pictures were asked
            for.
    """

    a: str
    b: str
    one_sided: pa.Table
    without_picture: Sequence[str]

    @property
    def _common_items(self) -> int:
        """How many items both have."""
        raise NotImplementedError

    @property
    def changes(self) -> pa.Table:
        """The rows of ``items`` that differ the most: at most fifty."""
        raise NotImplementedError

    @property
    def notes_of_sides(self) -> Sequence[str]:
        """What has to be known besides items of one side, as lines for people."""
        raise NotImplementedError

    @property
    def _said(self) -> tuple[str, Sequence[Shown]]:
        """What follows the number of items in the first line, and the tables."""
        raise NotImplementedError

    @property
    def _numbers(self) -> Mapping[str, Any]:
        """What the JSON text has besides items."""
        raise NotImplementedError

    @property
    def remarks(self) -> list[str]:
        """What is behind the numbers, as lines for people."""
        one_sided = one_sided_lines(self.one_sided, (self.a, self.b))
        return [*self.notes_of_sides, *one_sided, *self.without_picture]

    def to_json(self) -> str:
        """The numbers as JSON text, with the items that differ the most."""
        names = (self.a, self.b)
        told: dict[str, Any] = {
            "conventions": CONVENTIONS_VERSION,
            "a": self.a,
            "b": self.b,
            "items": self._common_items,
            **self._numbers,
            "changes": self.changes.to_pylist(),
            "one_sided": {
                name: int(pc.sum(pc.equal(self.one_sided["model_run"], name)).as_py() or 0)
                for name in names
            },
            "remarks": self.remarks,
        }
        return json.dumps(told, indent=2, ensure_ascii=False)

    @property
    def _head(self) -> str:
        return f"A = {self.a}, B = {self.b}: {self._common_items} items that both have"

    def __repr__(self) -> str:
        more, tables = self._said
        return _as_text(self._head + more, tables, self.remarks)

    def _repr_html_(self) -> str:
        more, tables = self._said
        return _as_html(self._head + more, tables, self.remarks)


def _as_text(
    head: str,
    tables: Iterable[Shown],
    remarks: Sequence[str],
) -> str:
    """A line, tables with their titles, and remarks; a table without rows is left out."""
    parts = [printable(head)]
    for title, columns, rows in tables:
        if rows:
            table = text_table(columns, rows)
            parts.append(f"{title}\n{table}" if title else table)
    if remarks:
        parts.append("\n".join(map(printable, remarks)))
    return "\n\n".join(parts)


def _as_html(
    head: str,
    tables: Iterable[Shown],
    remarks: Sequence[str],
) -> str:
    """The same for a notebook."""
    parts = [f"<p>{html.escape(printable(head))}</p>"]
    parts += [f"<p>{title}</p>{html_table(columns, rows)}" for title, columns, rows in tables]
    parts += [f"<p>{html.escape(printable(line))}</p>" for line in remarks]
    return "".join(parts)


def percent(value: float | None) -> str:
    """A number in percent; nothing where it is undefined."""
    return "" if value is None else f"{100 * value:.2f}"


def signed(value: float | None) -> str:
    """A difference in percentage points; nothing where it is undefined."""
    return "" if value is None else f"{100 * value:+.2f}"


def interval(low: float | None, high: float | None) -> str:
    """Both bounds of a difference; nothing where they are undefined."""
    return "" if low is None else f"{signed(low)} to {signed(high)}"


def one_sided_table(rows: Sequence[Mapping[str, str | None]]) -> pa.Table:
    """Items that one model run alone has."""
    names = ("reference_id", "model_run", "reason")
    return pa.Table.from_pylist(
        list(rows), pa.schema([pa.field(name, pa.string()) for name in names])
    )


def one_sided_lines(table: pa.Table, names: Sequence[str]) -> list[str]:
    """A line about the items that each of the model runs alone has."""
    lines = []
    for name, other in (tuple(names), tuple(reversed(names))):
        rows = table.filter(pc.equal(table["model_run"], name))
        if rows.num_rows:
            few = rows.slice(0, _NAMED).to_pylist()
            named = [f"{shown(one['reference_id'])} ({other}: {one['reason']})" for one in few]
            more = f"; and {rows.num_rows - _NAMED} more" if rows.num_rows > _NAMED else ""
            lines.append(f"{rows.num_rows} items only {name} has: {'; '.join(named)}{more}")
    return lines
