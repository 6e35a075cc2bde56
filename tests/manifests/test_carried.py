"""Carried columns: whatever their types, and however they differ between files, all rows arrive."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.manifests.common_types import Inexact, as_text, common_types, fitted
from segpipe.storage.files import Folder
from segpipe.validation.report import ValidationReport
from tests.fixtures.inbox import Inbox, Outcome
from tests.fixtures.thoroughness import at_most

PIXELS = [[0, 1], [1, 5]]


def part(inbox: Inbox, name: str, **columns: pa.Array) -> None:
    """A manifest file of one row, or more, with these carried columns."""
    rows = len(next(iter(columns.values())))
    known = [inbox.row(f"{name}-{i}", PIXELS) for i in range(rows)]
    table = pa.table({key: [row[key] for row in known] for key in known[0]})
    for column, values in columns.items():
        table = table.append_column(column, values)
    inbox.manifest(table, f"{name}.parquet")


def carried(outcome: Outcome, name: str = "extra") -> pa.Array:
    return pq.read_table(outcome.out / "validated.parquet")[name].combine_chunks()


def both(inbox: Inbox, one: pa.Array, other: pa.Array) -> tuple[pa.Array, list[str]]:
    """A column of two files in the table, and the warnings about it."""
    part(inbox, "a", extra=one)
    part(inbox, "b", extra=other)
    outcome = inbox.run()
    assert outcome.summary.accepted == len(one) + len(other)
    return carried(outcome), list(outcome.summary.warnings)


def decimals(kind: pa.DataType, *values: str) -> pa.Array:
    return pa.array([Decimal(value) for value in values], kind)


UNITED: dict[str, tuple[pa.Array, pa.Array, pa.DataType, list[Any]]] = {
    "int64 and exact float64": (
        pa.array([1, 2**53, 2**60]),
        pa.array([0.5, None]),
        pa.float64(),
        [1.0, 2.0**53, 2.0**60, 0.5, None],
    ),
    "uint64 and int64": (pa.array([5], pa.uint64()), pa.array([-5]), pa.int64(), [5, -5]),
    "large uint64 and int64": (
        pa.array([2**64 - 1], pa.uint64()),
        pa.array([7]),
        pa.uint64(),
        [2**64 - 1, 7],
    ),
    "large uint64 and negative": (
        pa.array([2**64 - 1], pa.uint64()),
        pa.array([-7]),
        pa.decimal128(20, 0),
        [Decimal(2**64 - 1), Decimal(-7)],
    ),
    "decimals": (
        decimals(pa.decimal128(5, 2), "1.25"),
        decimals(pa.decimal128(12, 7), "1.1234567"),
        pa.decimal128(12, 7),
        [Decimal("1.25"), Decimal("1.1234567")],
    ),
    "nulls and structs": (
        pa.nulls(1),
        pa.array([{"x": 1}]),
        pa.struct([("x", pa.int64())]),
        [None, {"x": 1}],
    ),
    "structs of other members": (
        pa.array([{"a": 1}]),
        pa.array([{"b": "x", "a": 2.5}]),
        pa.struct([("a", pa.float64()), ("b", pa.string())]),
        [{"a": 1.0, "b": None}, {"a": 2.5, "b": "x"}],
    ),
    "an empty list and lists of structs": (
        pa.array([[]], pa.list_(pa.null())),
        pa.array([[{"x": 1}], None]),
        pa.list_(pa.struct([("x", pa.int64())])),
        [[], [{"x": 1}], None],
    ),
    "fixed_size_list and list_view": (
        pa.array([[1, 2], None], pa.list_(pa.int64(), 2)),
        pa.array([[3], None, []], pa.list_view(pa.int64())),
        pa.list_(pa.int64()),
        [[1, 2], None, [3], None, []],
    ),
    "text of three kinds": (
        pa.array(["a", None]).dictionary_encode(),
        pa.array(["b"], pa.string_view()),
        pa.string(),
        ["a", None, "b"],
    ),
    "text written as bytes": (pa.array([b"\xc3\xa9"]), pa.array(["x"]), pa.string(), ["é", "x"]),
    "maps": (
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([[("k", 1.5)], None], pa.map_(pa.string(), pa.float64())),
        pa.map_(pa.string(), pa.float64()),
        [[("k", 1.0)], [("k", 1.5)], None],
    ),
}


@pytest.mark.parametrize("case", UNITED)
def test_types_that_differ_between_files_become_one_that_holds_all_values(
    inbox: Inbox, case: str
) -> None:
    one, other, kind, values = UNITED[case]
    column, warnings = both(inbox, one, other)
    assert column.type.equals(kind) or str(column.type).replace("element", "item") == str(
        pa.array([], kind).type
    )
    assert column.to_pylist() == values
    assert warnings == []


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (pa.timestamp("ms"), pa.timestamp("ns"), pa.timestamp("ns")),
        (pa.timestamp("us", "Europe/Berlin"), pa.timestamp("us", "UTC"), pa.timestamp("us", "UTC")),
        (
            pa.timestamp("ms", "Asia/Tokyo"),
            pa.timestamp("us", "No/Such_Zone"),
            pa.timestamp("us", "UTC"),
        ),
        (pa.duration("ms"), pa.duration("us"), pa.duration("us")),
    ],
    ids=str,
)
def test_times_of_other_units_and_zones_stay_the_same_instants(
    inbox: Inbox, one: pa.DataType, other: pa.DataType, kind: pa.DataType
) -> None:
    given = [pa.array([1_767_603_600_123, None], pa.int64()).cast(t) for t in (one, other)]
    column, warnings = both(inbox, *given)
    assert column.type == kind
    per_second = {"ms": 10**3, "us": 10**6, "ns": 10**9}
    factors = [per_second[kind.unit] // per_second[t.unit] for t in (one, other)]
    numbers = column.cast(pa.int64()).to_pylist()
    assert numbers == [v for f in factors for v in (1_767_603_600_123 * f, None)]
    assert warnings == []


def test_far_milliseconds_and_whole_nanoseconds_meet_in_microseconds(inbox: Inbox) -> None:
    far = pa.array([253_402_300_799_000], pa.timestamp("ms"))  # year 9999, beyond nanoseconds
    column, warnings = both(inbox, far, pa.array([5_000], pa.timestamp("ns")))
    assert column.type == pa.timestamp("us")
    assert column.cast(pa.int64()).to_pylist() == [253_402_300_799_000_000, 5]
    assert warnings == []


ID = 1_767_603_600_123_456_789
AS_TEXT: dict[str, tuple[pa.Array, pa.Array, list[str | None]]] = {
    "int64 that floats do not hold": (
        pa.array([ID]),
        pa.array([0.1, None]),
        [str(ID), "0.1", None],
    ),
    "numbers and text": (pa.array([1]), pa.array(["fast"]), ["1", "fast"]),
    "true and numbers": (pa.array([True]), pa.array([3]), ["true", "3"]),
    "times with a zone and without": (
        pa.array([1], pa.timestamp("ms", "Europe/Berlin")),
        pa.array([1], pa.timestamp("ms")),
        ["1970-01-01 00:00:00.001Z", "1970-01-01 00:00:00.001"],
    ),
    "a number and a list": (pa.array([1]), pa.array([[1, 2], None]), ["1", "[1, 2]", None]),
    "lists of numbers and of text": (
        pa.array([[{"a": 1}]]),
        pa.array([[{"a": "é"}]]),
        ['[{"a": 1}]', '[{"a": "é"}]'],
    ),
    "bytes that are no text": (pa.array([b"\xff"]), pa.array(["x"]), ["\\xff", "x"]),
}


@pytest.mark.parametrize("case", AS_TEXT)
def test_types_without_a_common_one_are_carried_as_text_with_a_warning(
    inbox: Inbox, case: str
) -> None:
    one, other, values = AS_TEXT[case]
    column, warnings = both(inbox, one, other)
    assert column.type == pa.string()
    assert column.to_pylist() == values
    (warning,) = warnings
    assert "'extra' is carried as text" in warning
    assert f"{one.type} in a.parquet".replace("item: ", "") in warning
    assert "in b.parquet" in warning


def test_the_warning_is_told_in_the_report_in_its_json_and_in_the_summary(inbox: Inbox) -> None:
    both(inbox, pa.array([1]), pa.array(["fast"]))
    outcome = inbox.run()  # again: the tables are reused
    assert outcome.summary.reused
    report = ValidationReport.read(Folder(str(outcome.out)))
    (warning,) = outcome.summary.warnings
    assert f"warning: {warning}" in list(report.lines())
    assert warning in repr(outcome.summary)
    assert json.loads(report.to_json())["summary"]["warnings"] == [warning]


def test_the_warnings_advice_is_right_one_type_keeps_its_numbers(inbox: Inbox) -> None:
    column, warnings = both(inbox, pa.array([1]), pa.array([None], pa.int64()))
    assert (column.to_pylist(), column.type, warnings) == ([1, None], pa.int64(), [])


def test_index_columns_of_pandas_and_dask_are_left_out(inbox: Inbox) -> None:
    index = "__index_level_0__"
    part(inbox, "a", **{index: pa.array([3]), "extra": pa.array([1])})
    part(inbox, "b", **{index: pa.array(["x.png"]), "__null_dask_index__": pa.array([0])})
    outcome = inbox.run()
    assert outcome.summary.accepted == 2
    assert outcome.summary.warnings == []
    assert not [name for name in outcome.validated[0] if name.startswith("__")]


def uuids(*cells: bytes | None) -> pa.Array:
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array(cells, pa.binary(16)))


UUID, UUID_TEXT = b"0123456789abcdef", "30313233-3435-3637-3839-616263646566"
ONE_TYPE: dict[str, tuple[pa.Array, Any]] = {
    "UUID": (uuids(UUID), UUID_TEXT),
    "list of UUID": (pa.ListArray.from_arrays([0, 2], uuids(UUID, None)), [UUID_TEXT, None]),
    "struct with UUID": (pa.StructArray.from_arrays([uuids(UUID)], ["u"]), {"u": UUID_TEXT}),
    "JSON": (pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}'])), '{"a":1}'),
    "bool8": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8())), True),
    "tensor": (
        pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2]], pa.list_(pa.int32(), 2))
        ),
        [1, 2],
    ),
    "string_view": (pa.array(["a"], pa.string_view()), "a"),
    "binary_view": (pa.array([b"\xff"], pa.binary_view()), b"\xff"),
    "list_view": (pa.array([[1, 2]], pa.list_view(pa.int64())), [1, 2]),
    "large_list_view": (pa.array([["x"]], pa.large_list_view(pa.string_view())), ["x"]),
    "fixed-size bytes": (pa.array([b"\xff\xfe"], pa.binary(2)), b"\xff\xfe"),
    "dictionary in a list": (
        pa.ListArray.from_arrays([0, 1], pa.array(["a"]).dictionary_encode()),
        ["a"],
    ),
    "decimal32": (decimals(pa.decimal32(5, 2), "1.25"), Decimal("1.25")),
    "decimal256": (decimals(pa.decimal256(60, 2), "1.25"), Decimal("1.25")),
    "half float": (pa.array([1.5], pa.float16()), 1.5),
    "time": (pa.array([1000], pa.time32("ms")), pa.scalar(1000, pa.time32("ms")).as_py()),
    "map of UUID": (
        pa.MapArray.from_arrays([0, 1], pa.array(["k"]), uuids(UUID)),
        [("k", UUID_TEXT)],
    ),
}


@pytest.mark.parametrize("case", ONE_TYPE)
def test_every_type_that_parquet_holds_is_carried(inbox: Inbox, case: str) -> None:
    values, meant = ONE_TYPE[case]
    part(inbox, "a", extra=values)
    outcome = inbox.run()
    assert outcome.summary.warnings == []
    assert carried(outcome).to_pylist() == [meant]


def test_an_unknown_time_zone_costs_nothing(inbox: Inbox) -> None:
    part(inbox, "a", extra=pa.array([7], pa.timestamp("us", "No/Such_Zone")))
    assert carried(inbox.run()).cast(pa.int64()).to_pylist() == [7]


def test_a_carried_column_whose_prefixed_name_is_taken_gets_a_free_one_and_it_is_said(
    inbox: Inbox,
) -> None:
    part(inbox, "a", dataset=pa.array(["1"]), manifest_dataset=pa.array(["2"]))
    part(inbox, "b", dataset=pa.array(["3"]))
    outcome = inbox.run()
    found = [(r["manifest_dataset"], r["manifest_manifest_dataset"]) for r in outcome.validated]
    assert found == [("2", "1"), (None, "3")]
    assert "'dataset' is carried as 'manifest_manifest_dataset'" in outcome.summary.warnings[0]


def test_two_carried_columns_of_one_name_both_arrive(inbox: Inbox) -> None:
    row = inbox.row("a", PIXELS)
    names, cells = [*row, "x", "x"], [*row.values(), 1, "one"]
    rows = pa.Table.from_arrays([pa.array([cell]) for cell in cells], names=names)
    outcome = inbox.run(rows)
    assert (outcome.validated[0]["x"], outcome.validated[0]["x_2"]) == (1, "one")
    assert "'x' is carried as 'x_2'" in outcome.summary.warnings[0]


# --- any types, any values

INTEGERS = (pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64())


def leaf() -> st.SearchStrategy[pa.Array]:
    """An array of up to three values of some type."""

    def of(kind: pa.DataType, values: st.SearchStrategy[Any]) -> st.SearchStrategy[pa.Array]:
        return st.lists(st.none() | values, max_size=3).map(lambda cells: pa.array(cells, kind))

    def integers(kind: pa.DataType) -> st.SearchStrategy[pa.Array]:
        low = 0 if pa.types.is_unsigned_integer(kind) else -(2 ** (kind.bit_width - 1))
        return of(kind, st.integers(low, low + 2**kind.bit_width - 1))

    times = [pa.timestamp(u, z) for u in ("ms", "ns") for z in (None, "UTC", "Asia/Tokyo")]
    return st.one_of(
        st.sampled_from(INTEGERS).flatmap(integers),
        of(pa.float64(), st.floats(allow_nan=False)),
        of(pa.float32(), st.floats(allow_nan=False, width=32)),
        of(pa.bool_(), st.booleans()),
        of(pa.string(), st.text(max_size=3)),
        of(pa.string_view(), st.text(max_size=3)),
        of(pa.binary(), st.binary(max_size=3)),
        of(pa.decimal128(9, 3), st.integers(-(10**8), 10**8).map(lambda n: Decimal(n) / 1000)),
        st.sampled_from(times).flatmap(lambda kind: of(kind, st.integers(-(2**62), 2**62))),
        of(pa.date32(), st.dates()),
    )


def nested(members: st.SearchStrategy[pa.Array]) -> st.SearchStrategy[pa.Array]:
    return members.flatmap(
        lambda array: st.sampled_from(
            [
                pa.ListArray.from_arrays([0, len(array)], array),
                pa.LargeListArray.from_arrays([0, 0, len(array)], array),
                pa.StructArray.from_arrays([array, array], ["m", "n"]),
            ]
        )
    )


@settings(max_examples=at_most(100, 300), deadline=None)
@given(st.lists(st.recursive(leaf(), nested, max_leaves=3), min_size=2, max_size=3))
def test_a_common_type_loses_no_value_and_text_takes_what_is_left(arrays: list[pa.Array]) -> None:
    for kind in common_types([array.type for array in arrays]):
        for array in arrays:
            try:
                made = fitted(array, kind)
            except Inexact:
                continue
            made.validate(full=True)
            assert made.type == kind
            assert same(made, array)
    for array in arrays:
        text = as_text(array)
        text.validate(full=True)
        assert text.is_null().equals(array.is_null())


def same(made: pa.Array, given: pa.Array) -> bool:
    """Whether two arrays of any types have the same values, as Python compares them."""
    if pa.types.is_timestamp(made.type):
        factor = {"ms": 10**6, "us": 10**3, "ns": 1}
        one, other = (
            [v if v is None else v * factor[a.type.unit] for v in a.cast(pa.int64()).to_pylist()]
            for a in (made, given)
        )
        return one == other
    if pa.types.is_struct(made.type):
        members = dict(zip((f.name for f in given.type), given.flatten(), strict=True))
        return made.is_null().equals(given.is_null()) and all(
            same(member, members[field.name]) if field.name in members else member.null_count
            for field, member in zip(made.type, made.flatten(), strict=True)
        )
    if pa.types.is_list(made.type) or pa.types.is_large_list(made.type):
        return made.is_null().equals(given.is_null()) and same(made.flatten(), given.flatten())
    one, other = made.to_pylist(), given.to_pylist()
    decoded = [
        v.decode() if isinstance(v, bytes) and pa.types.is_string(made.type) else v for v in other
    ]
    return bool(one == decoded)
