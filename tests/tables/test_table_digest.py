"""A table's digest follows from its content, not from how it was cut or held."""

from __future__ import annotations

import datetime as dt
import decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.tables.digest import TableDigest


def digest_of(*tables: pa.Table, version: str = "1") -> str:
    digest = TableDigest(version)
    for table in tables:
        digest.add(table)
    return digest.hexdigest()


#: Columns of every kind a manifest may carry; the last value is another one than the first.
COLUMNS = {
    "text": pa.array(["a", None, "", "bc", "d"]),
    "large text": pa.array(["a", None, "", "bc", "d"], pa.large_string()),
    "text view": pa.array(["a", None, "", "bc", "d"], pa.string_view()),
    "dictionary": pa.array(["a", None, "", "bc", "d"]).dictionary_encode(),
    "bytes": pa.array([b"a", None, b"", b"bc", b"d"]),
    "fixed bytes": pa.array([b"ab", None, b"cd", b"ef", b"gh"], pa.binary(2)),
    "whole": pa.array([1, None, 3, 4, 5], pa.int16()),
    "float": pa.array([1.5, None, float("inf"), 4.0, 5.0]),
    "half": pa.array([1.5, None, 3.0, 4.0, 5.0], pa.float16()),
    "flag": pa.array([True, None, False, True, False]),
    "time": pa.array([dt.datetime(2026, 1, 5), None, None, None, dt.datetime(2026, 1, 6)]),
    "beyond Python": pa.array([2**62, None, 1, 2, 3], pa.timestamp("s")),
    "day": pa.array([dt.date(2026, 1, 5), None, None, None, dt.date(2026, 1, 6)]),
    "duration": pa.array([dt.timedelta(1), None, None, None, dt.timedelta(2)]),
    "decimal": pa.array([decimal.Decimal("1.5"), None, None, None, decimal.Decimal("2.5")]),
    "list": pa.array([[1], None, [], [None, 2], [3]]),
    "fixed list": pa.array([[1, 2], None, [3, 4], [5, 6], [7, 8]], pa.list_(pa.int8(), 2)),
    "map": pa.array([[("k", 1)], None, [], [("l", None)], [("k", 2)]], pa.map_("string", "int8")),
    "struct": pa.array([{"a": 1}, None, {"a": None}, {"a": 2}, {"a": 3}]),
    "nested": pa.array([[{"r": ["x"]}], None, [], [{"r": None}, None], [{"r": ["y"]}]]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_chunks_do_not_count(name: str) -> None:
    table = pa.table({"c": COLUMNS[name]})
    whole = digest_of(table)
    for rows in (1, 2, 3):
        pieces = [table.slice(place, rows) for place in range(0, table.num_rows, rows)]
        assert digest_of(*pieces) == whole
        assert digest_of(pa.concat_tables(pieces)) == whole


@pytest.mark.parametrize("name", COLUMNS)
def test_another_value_another_order_or_a_row_less_count(name: str) -> None:
    orders = ([0, 1, 2, 3, 4], [4, 1, 2, 3, 4], [0, 1, 2, 3], [1, 0, 2, 3, 4], [1, 1, 2, 3, 4])
    column = COLUMNS[name]
    tables = [
        pa.table({"c": pa.concat_arrays([column.slice(place, 1) for place in places])})
        for places in orders
    ]
    assert len({*map(digest_of, tables)}) == len(orders)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.none() | st.text(max_size=3), min_size=1, max_size=6), st.data())
def test_texts_are_told_apart_by_where_they_end(
    texts: list[str | None], data: st.DataObject
) -> None:
    other = data.draw(st.lists(st.none() | st.text(max_size=3), min_size=1, max_size=6))
    one, two = (digest_of(pa.table({"c": pa.array(t, pa.string())})) for t in (texts, other))
    assert (one == two) == (texts == other)


def test_what_lies_under_nulls_does_not_count() -> None:
    values = pa.array([1, 2, 3])
    hidden = pa.Array.from_buffers(
        pa.int64(), 3, [pa.py_buffer(bytes([0b101])), values.buffers()[1]]
    )
    assert hidden.to_pylist() == [1, None, 3]
    assert digest_of(pa.table({"c": hidden})) == digest_of(pa.table({"c": [1, None, 3]}))


def test_names_and_the_version_count() -> None:
    table = pa.table({"a": [1], "b": [2]})
    assert digest_of(table) != digest_of(table.rename_columns(["a", "c"]))
    assert digest_of(table) != digest_of(table, version="2")
    assert digest_of(pa.table({"a": [1]})) != digest_of(pa.table({"a": [1]}).slice(0, 0))
