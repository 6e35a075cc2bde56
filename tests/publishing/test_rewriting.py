"""Replaced rows are committed in parts that write few files anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segpipe.publishing.rewriting import FileSpan, parts


def span(first: str, last: str, rows: int = 100) -> FileSpan:
    return FileSpan(first, last, rows)


def test_ids_of_one_file_are_one_part() -> None:
    assert parts(["a1", "a2", "a3"], [span("a0", "a9"), span("b0", "b9")], 100) == [3]


def test_a_part_ends_where_the_next_file_would_be_too_many_rows() -> None:
    files = [span("a0", "a9"), span("b0", "b9"), span("c0", "c9"), span("d0", "d9")]
    assert parts(["a1", "b1", "b2", "c1", "d1"], files, 200) == [3, 2]


def test_a_file_larger_than_the_limit_is_a_part_of_its_own() -> None:
    files = [span("a0", "a9"), span("b0", "b9", 10_000), span("c0", "c9")]
    assert parts(["a1", "b1", "b2", "c1"], files, 200) == [1, 2, 1]


def test_where_every_file_spans_every_id_they_are_written_anew_once_and_not_once_per_id() -> None:
    files = [span("a", "z"), span("b", "y"), span("c", "x")]
    assert parts(["d", "e", "f", "g"], files, 150) == [4]


def test_ids_that_lie_in_no_file_need_no_part_of_their_own() -> None:
    assert parts(["a", "b"], [], 100) == [2]
    assert parts([], [span("a", "z")], 100) == []


@given(
    st.lists(st.integers(0, 40), unique=True, max_size=20).map(sorted),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10), st.integers(1, 50)), max_size=12),
    st.integers(1, 120),
)
def test_every_id_is_in_one_part_and_a_part_touches_no_more_rows_than_it_must(
    ids: list[int], spans: list[tuple[int, int, int]], limit: int
) -> None:
    named = [f"{id:03d}" for id in ids]
    files = [span(f"{a:03d}", f"{a + length:03d}", rows) for a, length, rows in spans]
    counts = parts(named, files, limit)
    assert sum(counts) == len(named)
    assert all(counts)
    start = 0
    for count in counts:
        part = named[start : start + count]
        start += count
        touched = {i for i, f in enumerate(files) if any(f.first <= id <= f.last for id in part)}
        first = {i for i, f in enumerate(files) if f.first <= part[0] <= f.last}
        rows = sum(files[i].rows for i in touched)
        assert rows <= limit or touched == first
