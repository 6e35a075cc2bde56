"""``segpipe query``: SQL on what is in a root."""

from __future__ import annotations

import io
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from segpipe.cli.console import OutputClosed, put, put_lines, say
from segpipe.cli.exit_status import ALL_ACCEPTED
from segpipe.errors import QueryError, StorageError, printable
from segpipe.queries import session
from segpipe.queries.examples import EXAMPLES
from segpipe.queries.results import FORMATS, Cells, rows_of, write_result
from segpipe.queries.views import VIEWS
from segpipe.root import Root
from segpipe.storage.atomic import replacing_file
from segpipe.storage.failures import storage_errors
from segpipe.tables.text import text_table

_WIDTH = 60
# Columns of what EXPLAIN gives: a drawing of several lines.
_EXPLAINED = ["explain_key", "explain_value"]
_SECONDS_TO_COUNT = 2.0


@dataclass(frozen=True)
class QueryOptions:
    """The command's options.

    Attributes:
        sql, file, example: the query, in one of three ways; without any, the views are listed.
        output: ``table``, or one of FORMATS; None for a table, or as ``out`` is named.
        out: the file to write; None for standard output.
        version: of the catalog; None for the newest.
        rows: how many a table shows.
    """

    sql: str | None
    file: Path | None
    example: str | None
    output: str | None
    out: Path | None
    version: int | None
    rows: int


def run_query(root: str, options: QueryOptions) -> int:
    """Answer a query; returns the exit status.

    Raises:
        QueryError: if it cannot be answered.
        StorageError: if its file cannot be read, or the result not be written.
    """
    sources = Root.open(root, must_exist=True).query_sources
    sql = _sql(options)
    if sql is None:
        _list_views(root, session.columns(sources, options.version))
        return ALL_ACCEPTED
    kind = _format(options)
    with session.opened(sources, sql, options.version) as query:
        for note in query.notes:
            say(f"note: {note}")
        if kind == "table":
            _print_table(query.batches(), options.rows)
            return ALL_ACCEPTED
        with _output(options.out) as output:
            notes = write_result(query.batches(), kind, output)
    for note in notes:
        say(f"note: {note}")
    if options.out is not None:
        say(f"written to {options.out}")
    return ALL_ACCEPTED


def _sql(options: QueryOptions) -> str | None:
    given = [one for one in (options.sql, options.file, options.example) if one is not None]
    if len(given) > 1:
        raise QueryError("give one query: as SQL, with --file, or with --example")
    if options.example is not None:
        return EXAMPLES[options.example].sql
    if options.file is None:
        return options.sql
    with storage_errors(f"reading {options.file}"):
        try:
            return options.file.read_text("utf-8-sig")
        except UnicodeDecodeError:
            raise QueryError(f"{options.file} is not UTF-8 text") from None


def _format(options: QueryOptions) -> str:
    if options.out is None:
        if options.output == "parquet":
            raise QueryError("Parquet is written to a file: name it with --out FILE")
        return options.output or "table"
    kind = options.output or options.out.suffix[1:].lower()
    if kind not in FORMATS:
        raise QueryError(
            f"{options.out} does not say how it is written: end it with "
            f"{', '.join(f'.{one}' for one in FORMATS)}, or give --format"
        )
    return kind


@contextmanager
def _output(out: Path | None) -> Iterator[IO[bytes]]:
    if out is not None:
        with storage_errors(f"writing {out}"), replacing_file(out) as output:
            yield output
        return
    sys.stdout.flush()
    try:
        yield _Terminal() if sys.stdout.isatty() else sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"the output cannot be written: {error.strerror or error}") from None


class _Terminal(io.BytesIO):
    """Standard output where a person reads it: what a terminal obeys is escaped."""

    def write(self, data: Any) -> int:
        """Print lines."""
        put_lines(bytes(data).decode("utf-8", "replace").rstrip("\n"))
        return len(data)


def _print_table(batches: Iterator[pa.RecordBatch], most: int) -> None:
    names: list[str] = []
    shown: list[list[Any]] = []
    cells = _ShortCells()
    more = 0
    for batch in batches:
        names = batch.schema.names
        if names == _EXPLAINED:
            put_lines("\n".join(str(row[1]) for row in rows_of(batch)))
            continue
        kept = batch.slice(0, most - len(shown))
        shown += [list(map(cells.of, row)) for row in rows_of(kept)]
        more += batch.num_rows - kept.num_rows
        if more:
            break
    if names == _EXPLAINED:
        return
    put_lines(text_table([printable(name) for name in names], shown))
    all_counted = True
    if more:
        end = time.monotonic() + _SECONDS_TO_COUNT
        for batch in batches:
            more += batch.num_rows
            if time.monotonic() > end:
                all_counted = False
                break
    if not shown:
        say("no rows")
    if more:
        least = "" if all_counted else "at least "
        say(f"{least}{more:,} more rows are not shown: --rows N, or --out FILE for all")
    if cells.cut:
        say(f"{cells.cut:,} cells are cut, and end in ...: --format json has them whole")


class _ShortCells:
    """Cells of a printed table; counts those that are cut."""

    def __init__(self) -> None:
        self._cells = Cells()
        self.cut = 0

    def of(self, value: Any) -> Any:
        """A cell: numbers as they are, other values as text, cut where it is long."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
        text = printable(self._cells.text(value))
        if len(text) <= _WIDTH:
            return text
        self.cut += 1
        return f"{text[: _WIDTH - 3]}..."


def _list_views(root: str, views: dict[str, list[tuple[str, str]]]) -> None:
    for name, columns in views.items():
        put(f"{name}: {VIEWS[name]}")
        width = max(len(printable(column)) for column, _ in columns)
        for column, kind in columns:
            put(f"    {printable(column):<{width}}  {kind}")
        put()
    put("ready queries:")
    for name, example in EXAMPLES.items():
        put(f"    segpipe query --root {shlex.quote(root)} --example {name}")
        put(f"        {example.meaning}")
