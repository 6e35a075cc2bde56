"""Items that occur twice: equal rows are kept once, differing ones all rejected."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.manifests.manifest import Manifest
from segpipe.validation.duplicates import repeated_reference_ids
from tests.fixtures.inbox import Inbox, Outcome, new_inbox, segments_for
from tests.fixtures.png import PALETTE, png

ONE = np.array([[0, 1], [1, 1]], np.uint8)
OTHER = np.array([[0, 1], [1, 0]], np.uint8)


def twice(inbox: Inbox, first: dict[str, Any], second: dict[str, Any]) -> Outcome:
    """The outcome where item ``x`` has these two rows among others."""
    rows = [inbox.row("before", ONE), first, inbox.row("between", ONE), second]
    return inbox.run([{key: row.get(key) for key in first | second} for row in rows])


def the_row(inbox: Inbox, name: str, pixels: Any, **more: Any) -> dict[str, Any]:
    return inbox.row(name, pixels, **more) | {"reference_id": "x"}


def test_equal_rows_are_kept_once_and_counted(inbox: Inbox) -> None:
    row = the_row(inbox, "x", ONE)
    outcome = twice(inbox, row, row)
    assert sorted(outcome.accepted_ids) == ["before", "between", "x"]
    summary = outcome.summary
    assert (summary.rows, summary.accepted, summary.rejected, summary.repeated) == (4, 3, 0, 1)
    assert len(outcome.segments) == 6
    assert outcome.rejected == []


def test_the_first_of_equal_rows_is_the_one_kept(inbox: Inbox) -> None:
    row = the_row(inbox, "x", ONE)
    outcome = twice(inbox, row | {"camera": "first"}, row | {"camera": "second"})
    (kept,) = [row for row in outcome.validated if row["reference_id"] == "x"]
    assert (kept["manifest_row"], kept["camera"]) == (1, "first")


def test_rows_are_equal_when_they_mean_the_same(inbox: Inbox) -> None:
    first = the_row(inbox, "x", ONE, segments=json.dumps(segments_for([0, 1], k=1)))
    second = first | {
        "mask_url": inbox.file("y.png", png(ONE, colour=PALETTE, depth=2)),
        "segments": json.dumps(segments_for([1, 0], k=1.0, none=None)),
    }
    assert twice(inbox, first, second).summary.repeated == 1


@pytest.mark.parametrize(
    "change",
    [
        {"mask_url": "other.png"},
        {"segments": json.dumps(segments_for([0, 1], k=2))},
        {"segments": json.dumps(segments_for([0, 1, 2], k=1))},
        {"annotation_id": "b"},
    ],
    ids=["pixels", "metadata", "Segments", "annotation_id"],
)
def test_rows_that_differ_are_all_rejected(inbox: Inbox, change: dict[str, Any]) -> None:
    inbox.mask("other.png", OTHER)
    cell = json.dumps(segments_for([0, 1], k=1))
    first = the_row(inbox, "x", ONE, segments=cell, annotation_id="a")
    outcome = twice(inbox, first, first | change)
    assert outcome.accepted_ids == ["before", "between"]
    assert outcome.rejections == {"x": ["REF-DUPLICATE", "REF-DUPLICATE"]}
    assert [row["manifest_row"] for row in outcome.rejected] == [1, 3]
    assert (outcome.summary.rejected, outcome.summary.repeated) == (2, 0)
    assert outcome.summary.findings["REF-DUPLICATE"] == 2
    assert {row["reference_id"] for row in outcome.segments} == {"before", "between"}
    for row in outcome.rejected:
        assert "2 rows predict 'x' with different content" in row["message"]
        assert "part-0.parquet rows 1 and 3" in row["message"]


def test_one_row_that_differs_rejects_the_equal_ones_with_it(inbox: Inbox) -> None:
    row = the_row(inbox, "x", ONE)
    rows = [row, row, row | {"mask_url": inbox.mask("other.png", OTHER)}, row]
    outcome = inbox.run(rows)
    assert outcome.accepted_ids == []
    assert (outcome.summary.rejected, outcome.summary.repeated) == (4, 0)


def test_rows_of_several_files_are_compared(inbox: Inbox) -> None:
    inbox.mask("other.png", OTHER)
    same, differs = the_row(inbox, "x", ONE), the_row(inbox, "y", ONE) | {"reference_id": "y"}
    inbox.manifest([same, differs], "a.parquet")
    inbox.manifest([differs | {"mask_url": "other.png"}, same], "b.parquet")
    outcome = inbox.run()
    assert outcome.accepted_ids == ["x"]
    assert outcome.validated[0]["manifest"] == "a.parquet"
    assert {(r["manifest"], r["manifest_row"]) for r in outcome.rejected} == {
        ("a.parquet", 1),
        ("b.parquet", 0),
    }
    assert "a.parquet" in outcome.rejected[0]["message"]
    assert "b.parquet" in outcome.rejected[0]["message"]


def test_a_row_rejected_for_another_reason_does_not_take_the_good_one_with_it(
    inbox: Inbox,
) -> None:
    good = the_row(inbox, "x", ONE)
    outcome = inbox.run([good | {"mask_url": "none.png"}, good])
    assert outcome.accepted_ids == ["x"]
    assert outcome.rejections == {"x": ["FILE-MISSING"]}


def test_nulls_and_blanks_are_not_the_same_item(inbox: Inbox) -> None:
    rows = [inbox.row(str(i), ONE) | {"reference_id": id} for i, id in enumerate((None, None, ""))]
    outcome = inbox.run([*rows, rows[2], inbox.row("a", ONE), inbox.row("a ", ONE)])
    assert outcome.accepted_ids == ["a", "a "]
    assert outcome.rejections == {None: ["REF-EMPTY"] * 2, "": ["REF-EMPTY"] * 2}


def ids_manifest(inbox: Inbox, ids: list[str | None], kind: pa.DataType | None = None) -> Manifest:
    half = len(ids) // 2
    for name, some in (("a.parquet", ids[:half]), ("b.parquet", ids[half:])):
        column = pa.array(some, pa.string())
        blank = pa.nulls(len(some), pa.string())
        table = {"reference_id": column.cast(kind or pa.string()), "mask_url": blank}
        inbox.manifest(pa.table(table | {"segments": blank}), name)
    return inbox.open()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("ids")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.none() | st.text("ab", max_size=3) | st.text(max_size=3), min_size=1, max_size=30),
    st.sampled_from([1, 2, 3, 7, 1000]),
)
def test_repeated_ids_are_those_that_counting_finds_in_however_many_passes(
    folder: Any, ids: list[str | None], hashes_at_once: int
) -> None:
    manifest = ids_manifest(new_inbox(folder), ids)
    counted = Counter(id for id in ids if id is not None)
    expected = {id for id, count in counted.items() if count > 1}
    repeated = repeated_reference_ids(manifest, hashes_at_once)
    assert repeated.type == pa.string()
    assert sorted(repeated.to_pylist()) == sorted(expected)


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_repeated_ids_are_found_in_any_text_type(inbox: Inbox, kind: pa.DataType) -> None:
    manifest = ids_manifest(inbox, ["a", "b", "c", "a"], kind)
    assert repeated_reference_ids(manifest, 2).to_pylist() == ["a"]


def test_many_ids_in_several_passes(inbox: Inbox) -> None:
    ids: list[str | None] = [f"item-{i % 19_997}" for i in range(20_000)]
    for hashes_at_once in (20_000, 3_000):
        repeated = repeated_reference_ids(ids_manifest(inbox, ids), hashes_at_once)
        assert sorted(repeated.to_pylist()) == ["item-0", "item-1", "item-2"]
