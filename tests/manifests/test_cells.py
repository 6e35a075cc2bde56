"""Cells of manifest columns as Python values: what pyarrow gives, sooner."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.manifests.cells import cells_of
from segpipe.manifests.common_types import cells_or_text
from tests.fixtures.thoroughness import at_most

METADATA = pa.struct([("confidence", pa.float64()), ("crowd", pa.bool_()), ("note", pa.string())])
SEGMENTS = pa.list_(
    pa.struct([("label", pa.string()), ("index", pa.int32()), ("metadata", METADATA)])
)


def segment() -> st.SearchStrategy[Any]:
    metadata = st.fixed_dictionaries(
        {
            "confidence": st.none() | st.floats(allow_nan=False),
            "crowd": st.none() | st.booleans(),
            "note": st.none() | st.text(max_size=4),
        }
    )
    return st.none() | st.fixed_dictionaries(
        {
            "label": st.none() | st.text(max_size=4),
            "index": st.none() | st.integers(-5, 300),
            "metadata": st.none() | metadata,
        }
    )


@settings(max_examples=at_most(60, 150), deadline=None)
@given(st.lists(st.none() | st.lists(segment(), max_size=4), max_size=6), st.data())
def test_segments_are_what_they_are_in_arrow_also_in_a_part_of_a_column(
    cells: list[Any], data: st.DataObject
) -> None:
    column = pa.array(cells, SEGMENTS)
    first = data.draw(st.integers(0, len(cells)))
    rows = data.draw(st.integers(0, len(cells)))
    assert cells_of(column) == column.to_pylist() == cells
    assert cells_of(column.slice(first, rows)) == cells[first : first + rows]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_times_in_nanoseconds_are_whole_whether_pandas_is_installed_or_not(
    zone: str | None,
) -> None:
    numbers = [0, 1, -1, 1767614400123456789, None, 1767614400123456000]
    column = pa.array(numbers, pa.int64()).cast(pa.timestamp("ns", zone))
    made = cells_of(column)
    with_pandas = [None if one is None else one.isoformat() for one in column.to_pylist()]
    assert [None if one is None else one.isoformat() for one in made] == with_pandas
    assert made[3].isoformat()[:29] in (
        "2026-01-05T12:00:00.123456789", "2026-01-05T13:00:00.123456789",
    )  # fmt: skip
    copied = pickle.loads(pickle.dumps(made))
    assert [str(one) for one in copied] == [str(one) for one in made]


def test_what_is_made_of_a_time_in_nanoseconds_is_a_time_as_well() -> None:
    (made,) = cells_of(pa.array([1001], pa.timestamp("ns", "UTC")))
    assert (made + timedelta(1)).isoformat() == "1970-01-02T00:00:00.000001+00:00"
    assert str(made.replace(year=2000)) == "2000-01-01 00:00:00.000001+00:00"
    assert str(made.astimezone(ZoneInfo("Asia/Tokyo"))) == "1970-01-01 09:00:00.000001+09:00"


def test_a_cell_that_python_cannot_represent_takes_no_other_with_it() -> None:
    far = pa.array([0, 10**15, None], pa.timestamp("s"))
    taken = pa.array([1001, 1001, 1001], pa.timestamp("ns"))
    made = cells_of(pa.StructArray.from_arrays([far, taken], ["far", "taken"]))
    assert [cell and cell["taken"].isoformat() for cell in made] == [
        "1970-01-01T00:00:00.000001001", None, "1970-01-01T00:00:00.000001001",
    ]  # fmt: skip
    assert cells_or_text(far) == [datetime(1970, 1, 1), str(10**15), None]
    zoned = pa.array([10**15], pa.timestamp("s", "Asia/Tokyo"))
    assert cells_or_text(pa.ListArray.from_arrays([0, 1], zoned)) == [f'["{10**15}"]']


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2], pa.uint8()),
        pa.array([1, None], pa.int64()),
        pa.array([1.5, 2.0], pa.float32()),
        pa.array([[1, 2], None, []], pa.large_list(pa.int16())),
        pa.array([[("k", 1.5)], None, []], pa.map_(pa.string(), pa.float64())),
        pa.array([{}, None], pa.struct([])),
        pa.array(["a", None], pa.large_string()),
        pa.array(["a", None, "a"]).dictionary_encode(),
        pa.nulls(3),
        pa.array([], pa.string()),
    ],
    ids=lambda column: str(column.type),
)
def test_other_types_too(column: pa.Array) -> None:
    assert cells_of(column) == column.to_pylist()
    assert [type(value) for value in cells_of(column)] == [type(v) for v in column.to_pylist()]
