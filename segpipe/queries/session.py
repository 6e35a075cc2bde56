"""Runs one query: an engine that can read the views and nothing else.

DuckDB is told to touch no files, no network and no extensions, and its settings are locked, before
it sees the query. Arrow reads the files of the views; it gets only those that are the root's.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from segpipe.errors import QueryError, nearest
from segpipe.extras import require
from segpipe.publishing.table_format import quoted
from segpipe.queries.views import EVALUATIONS, VERSIONED, VIEWS, Sources, Views, identifier
from segpipe.storage.redaction import SECRETS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# In this order. The folder for what does not fit into memory stays usable to the engine itself.
_LOCKED = (
    ("enable_external_access", "false"),
    ("autoinstall_known_extensions", "false"),
    ("autoload_known_extensions", "false"),
    ("allow_community_extensions", "false"),
    ("allow_extension_repositories", "'forbidden'"),
    ("allow_persistent_secrets", "false"),
    ("TimeZone", "'UTC'"),
    ("lock_configuration", "true"),
)
_READING = frozenset({"SELECT", "MULTI"})  # PIVOT is several statements
_EXPLAIN = re.compile(r"\s*explain\s+(?:analyze\s+)?", re.IGNORECASE)
_NO_COLUMN = re.compile(
    r'Referenced column "(.+?)" not found|not have a column named "(.+?)"|find key "(.+?)" in'
)
_NO_TABLE = re.compile(r"Table with name (.+?) does not exist")
_NO_FILES = f"reading files and addresses is refused: a query reads the views {', '.join(VIEWS)}"
_ROWS_AT_ONCE = 10_000


class Query:
    """A query that was understood, on one version of a root.

    Attributes:
        notes: what is to be said of the views it reads: columns renamed, read as text or left out.
        schema: of its result.
    """

    def __init__(self, connection: DuckDBPyConnection, sql: str, version: int | None) -> None:
        self._connection, self._sql = connection, sql
        self._views: Views
        self._version = version
        self.notes: Sequence[str] = ()
        self.schema: pa.Schema

    def prepare(self, sources: Sources) -> None:
        """Check the query, make the views it names, and see what columns it gives.

        Raises:
            QueryError: if it cannot be run.
            CatalogError, StorageError: if a view cannot be read.
        """
        self._check()
        self._views = Views(sources, self._version, self._takes)
        named = {name for name in VIEWS if re.search(rf"\b{name}\b", self._sql, re.IGNORECASE)}
        make_views(self._connection, self._views, named)
        self.notes = list(self._views.notes)
        if self._version is not None and named.difference(VERSIONED):
            others = ", ".join(name for name in VIEWS if name in named.difference(VERSIONED))
            self.notes.append(f"{others}: as of now; versions are of {' and '.join(VERSIONED)}")

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The result, a batch at a time; the first may be empty, and tells the schema.

        Raises:
            QueryError: if it cannot be computed, or a file cannot be read.
        """
        with self._failures():
            relation: Any = self._connection.sql(self._sql)
            if relation is None:
                raise QueryError("the query has no result")
            reader = self._interruptible(lambda: relation.to_arrow_reader(_ROWS_AT_ONCE))
            schema = reader.schema
        yield pa.RecordBatch.from_pylist([], schema)
        while True:
            with self._failures():
                batch = self._interruptible(lambda: next(reader, None))
            if batch is None:
                return
            yield batch

    def table(self) -> pa.Table:
        """The whole result."""
        return pa.Table.from_batches(self.batches())

    def _interruptible(self, work: Callable[[], Any]) -> Any:
        """What the work gives, done in a thread: the engine does not see signals, this one does."""
        with ThreadPoolExecutor(1, thread_name_prefix="segpipe-query") as thread:
            done = thread.submit(work)
            try:
                return done.result()
            except BaseException:
                self._connection.interrupt()  # nothing, where the work has ended
                raise

    def _takes(self, kind: pa.DataType) -> bool:
        return takes(self._connection, kind)

    def _check(self) -> None:
        with self._failures():
            statements = self._connection.extract_statements(self._sql)
            kinds = list(map(_kind, statements))
            if kinds == ["EXPLAIN"]:
                inner = _EXPLAIN.sub("", self._sql, count=1)
                kinds = list(map(_kind, self._connection.extract_statements(inner)))
        if len(kinds) != 1:
            words = "holds no statement" if not kinds else f"holds {len(kinds)} statements"
            raise QueryError(f"the query {words}: one SELECT was expected")
        if kinds[0] not in _READING:
            raise QueryError(
                f"{kinds[0]} is refused: a query only reads, with SELECT, from "
                f"the views {', '.join(VIEWS)}. Its result is written with --out FILE"
            )

    @contextmanager
    def _failures(self) -> Iterator[None]:
        import duckdb

        try:
            yield
        except duckdb.PermissionException:
            raise QueryError(_NO_FILES) from None
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise QueryError(self._words(str(error))) from None

    def _words(self, text: str) -> str:
        table, column = _NO_TABLE.search(text), _NO_COLUMN.search(text)
        if table is not None and re.search(r"[/.]", table[1]):
            return _NO_FILES
        if table is not None:
            return f"there is no view {table[1]!r}{nearest(table[1], list(VIEWS))}"
        if column is not None:
            name = next(filter(None, column.groups()))
            return f"there is no column {name!r}{nearest(name, self._columns())}"
        if "No such file" in text or ("does not exist" in text and ".parquet" in text):
            return (
                f"a file of the tables is not there any more: {_first(text)}. Was it vacuumed, or "
                "replaced meanwhile? Query a newer version, or again"
            )
        return f"the query cannot be answered: {_first(text)}"

    def _columns(self) -> list[str]:
        rows = self._connection.execute(
            "SELECT DISTINCT column_name FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
        ).fetchall()
        return [name for (name,) in rows]


def _kind(statement: Any) -> str:
    try:
        return str(statement.type.name).replace("_", " ")
    except ValueError:  # a kind that DuckDB's Python does not know, such as UPDATE EXTENSIONS
        return "this statement"


def _first(text: str) -> str:
    """The message of a library without the excerpt of the query below it."""
    return SECRETS.sub("...", " ".join(text.partition("\nLINE ")[0].split()))


def make_views(connection: DuckDBPyConnection, views: Views, names: set[str]) -> None:
    """Make views; note what columns have other names there than in their tables."""
    made: dict[str, Any] = {}
    if names & {*VERSIONED}:
        made["predictions"] = views.predictions
    for name in ("validated", "rejected", "history"):
        if name in names:
            made[name] = getattr(views, name)()
    for name in names & {*EVALUATIONS}:
        table, of_dataset = EVALUATIONS[name]
        made[name] = views.evaluation(table, of_dataset=of_dataset)
    if "receipts" in names:
        parts = {f"receipts of {place}": part for place, part in enumerate(views.receipts())}
        made.update(parts)
    for name, data in made.items():
        connection.register(name, data)
        for given, column in zip(data.schema.names, connection.view(name).columns, strict=True):
            if given != column:
                views.notes.append(f"{name}: the column {given!r} is named {column!r} here")
    if "receipts" in names:
        union = " UNION ALL ".join(f"SELECT * FROM {identifier(part)}" for part in parts)
        connection.execute(f"CREATE VIEW receipts AS {union}")
    if "segments" in names:
        connection.execute(f"CREATE VIEW segments AS {views.segments_sql()}")


def takes(connection: DuckDBPyConnection, kind: pa.DataType) -> bool:
    """Whether the engine can read a type of Arrow's."""
    import duckdb

    connection.register("probe", pa.schema([("value", kind)]).empty_table())
    try:
        connection.execute("SELECT value FROM probe").fetchall()
    except duckdb.Error:
        return False
    finally:
        connection.unregister("probe")
    return True


@contextmanager
def engine() -> Iterator[DuckDBPyConnection]:
    """DuckDB in memory, locked.

    Raises:
        NotInstalledError: with the extra that brings it.
    """
    require("query", "queries need")
    import duckdb

    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="segpipe-query-"))
        connection = stack.enter_context(
            duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
        )
        connection.execute(f"SET temp_directory = {quoted(place)}")
        for name, value in _LOCKED:
            connection.execute(f"SET {name} = {value}")
        yield connection


@contextmanager
def opened(sources: Sources, sql: str, version: int | None = None) -> Iterator[Query]:
    """A query, ready to be run.

    Args:
        version: of the catalog, for ``predictions`` and ``segments``; the newest if None.

    Raises:
        QueryError: if it is not one SELECT, or names what is not there.
        NotInstalledError: if DuckDB is not.
        CatalogError, StorageError: if a view cannot be read.
    """
    with engine() as connection:
        query = Query(connection, sql, version)
        query.prepare(sources)
        yield query


def answer(sources: Sources, sql: str, version: int | None = None) -> pa.Table:
    """The whole result of a query; what is to be said of its views is warned of.

    Raises:
        as :func:`opened`
    """
    with opened(sources, sql, version) as query:
        for note in query.notes:
            warnings.warn(note, stacklevel=3)
        return query.table()


def columns(sources: Sources, version: int | None = None) -> dict[str, list[tuple[str, str]]]:
    """View -> its columns and their types, in SQL's words.

    Raises:
        NotInstalledError: if DuckDB is not.
        CatalogError, StorageError: if a view cannot be read.
    """
    with engine() as connection:
        views = Views(sources, version, lambda kind: takes(connection, kind))
        make_views(connection, views, set(VIEWS))
        found = {}
        for name in VIEWS:
            relation = connection.sql(f"SELECT * FROM {name}")
            found[name] = list(zip(relation.columns, map(str, relation.types), strict=True))
        return found
