"""Small tables for display: text in a terminal, HTML in a notebook; control characters escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from segpipe.errors import printable

Cells = Sequence[object]


def text_table(columns: Sequence[str], rows: Iterable[Cells]) -> str:
    """One line per row, columns aligned: numbers to the right, text to the left."""
    rows = [list(row) for row in rows]
    shown = [list(columns), *([_shown(cell) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in shown) for place in range(len(columns))]
    numeric = [
        bool(rows) and all(isinstance(row[place], (int, float)) for row in rows)
        for place in range(len(columns))
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in shown
    )


def html_table(columns: Sequence[str], rows: Iterable[Cells]) -> str:
    """The same as an HTML table; names and cells are escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(_shown(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    return f"{cell:g}" if isinstance(cell, float) else printable(str(cell))
