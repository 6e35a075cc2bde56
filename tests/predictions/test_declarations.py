"""What a row's cell of Segments declares, in any of the forms a manifest may write it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.predictions.declarations import read_declaration
from segpipe.predictions.prediction import Segment
from tests.fixtures.strategies import JSON
from tests.fixtures.thoroughness import at_most


def only(cell: object) -> Any:
    """The one Segment a cell declares."""
    declaration = read_declaration(cell)
    assert declaration.problem is None
    (segment,) = declaration.segments
    return segment


@pytest.mark.parametrize(
    "metadata",
    [
        {"score": 0.5, "id": 7},
        {"score": 0.5, "id": 7.0},
        {"score": 0.5, "id": 7, "unused": None},
        '{"id": 7, "score": 5e-1}',
        [("id", 7), ("score", 0.5)],
    ],
    ids=["struct", "whole float", "null member", "JSON text", "map"],
)
def test_metadata_means_the_same_in_every_form(metadata: object) -> None:
    segment = only([{"label": "car", "index": 3, "metadata": metadata}])
    assert segment.metadata_text == '{"id":7,"score":0.5}'
    assert segment.metadata_error is None


@pytest.mark.parametrize("metadata", [None, "", "  ", {}, "{}", "null", []])
def test_no_metadata_is_empty_metadata(metadata: object) -> None:
    segment = only([{"label": "car", "index": 3, "metadata": metadata}])
    assert (segment.metadata_text, segment.metadata_error) == ("{}", None)
    assert only([{"label": "car", "index": 3}]).metadata_text == "{}"


def test_the_list_may_be_written_as_json_text() -> None:
    members = [{"label": "car", "index": 3, "metadata": {"a": [1, None]}}]
    assert read_declaration(json.dumps(members)) == read_declaration(members)


def test_segments_are_sorted_by_index() -> None:
    cell = [{"label": "b", "index": 9}, {"label": "a", "index": 200}, {"label": "c", "index": 0}]
    assert [s.index for s in read_declaration(cell).segments] == [0, 9, 200]
    assert read_declaration(cell) == read_declaration(cell[::-1])
    assert read_declaration(cell).indexes == {0, 9, 200}


def test_members_beside_label_and_index_are_metadata() -> None:
    beside = only([{"label": "car", "index": 3, "score": 0.5, "none": None}])
    assert beside.metadata_text == '{"score":0.5}'
    both = only([{"label": "car", "index": 3, "score": 0.5, "metadata": {"id": 1, "score": 0.5}}])
    assert both.metadata_text == '{"id":1,"score":0.5}'


def test_a_member_that_contradicts_the_metadata_is_an_error_not_a_guess() -> None:
    segment = only([{"label": "car", "index": 3, "score": 0.5, "metadata": {"score": 0.6}}])
    assert segment.metadata_error == "metadata.score is given twice, with different values"


@pytest.mark.parametrize(
    ("raw", "index"),
    [
        (0, 0),
        (255, 255),
        (300, 300),
        (-1, -1),
        (7.0, 7),
        ("7", 7),
        (" 7 ", 7),
        (7.5, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ("", None),
        ("-1", None),
        ("seven", None),
        ("٧", None),
        ("7.0", None),
        ("9" * 5000, None),
        ([7], None),
        ({"index": 7}, None),
    ],
)
def test_an_index_is_a_whole_number_or_none_and_keeps_its_raw_form(raw: Any, index: Any) -> None:
    segment = only([{"label": "car", "index": raw}])
    assert segment.index == index
    assert segment.raw_index is raw


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        (None, "segments is null"),
        ("", "segments is not valid JSON"),
        ("[", "segments is not valid JSON"),
        ("[" * 100_000, "segments is not valid JSON"),
        ("null", "segments is null"),
        ('"text"', "segments is text, expected a list"),
        ("3", "segments is int, expected a list"),
        ("true", "segments is true/false, expected a list"),
        ('{"label": "car", "index": 3}', "segments is an object, expected a list"),
        ([{"label": "car", "index": 3}, None], "segments[1] is null, expected an object"),
        (["car"], "segments[0] is text, expected an object"),
        ([["car", 3]], "segments[0] is a list, expected an object"),
    ],
)
def test_a_cell_that_is_no_list_of_objects_says_why(cell: object, problem: str) -> None:
    declaration = read_declaration(cell)
    assert declaration.problem is not None
    assert declaration.problem.startswith(problem)
    assert declaration.segments == ()


def test_no_segments_is_a_declaration_without_problem() -> None:
    assert read_declaration([]).problem is None
    assert read_declaration("[]").indexes == frozenset()


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"score": float("nan")}, "metadata.score is nan"),
        ('{"score": NaN}', "metadata.score is nan"),
        ('{"score": 1e999}', "metadata.score is inf"),
        ("{score: 1}", "metadata is not valid JSON"),
        ("[1, 2]", "metadata is a list, expected an object"),
        ([1, 2], "metadata is a list, expected an object"),
        ('"text"', "metadata is text, expected an object"),
        (7, "metadata is int, expected an object"),
        (b"{}", "metadata is bytes, expected an object"),
        ({"blob": b"x"}, "metadata.blob is bytes"),
        ('{"a":' * 500 + "1" + "}" * 500, "metadata"),
        ("[" * 100_000, "metadata"),
    ],
)
def test_metadata_that_json_cannot_hold_is_an_error_of_its_segment(
    metadata: object, error: str
) -> None:
    segment = only([{"label": "car", "index": 3, "metadata": metadata}])
    assert segment.metadata_error is not None
    assert segment.metadata_error.startswith(error)
    assert segment.metadata == {}


@pytest.mark.parametrize("label", [None, 3, ["car"], "\ud800", {"name": "car"}])
def test_a_label_that_is_no_text_is_none(label: object) -> None:
    assert only([{"label": label, "index": 3}]).label is None
    assert only([{"index": 3}]).label is None


def test_confidence_is_read_from_the_metadata() -> None:
    assert only([{"label": "a", "index": 1, "metadata": '{"confidence": 1}'}]).confidence == 1.0
    assert only([{"label": "a", "index": 1, "confidence": 0.5}]).confidence == 0.5
    assert only([{"label": "a", "index": 1}]).confidence is None


def test_what_is_declared_becomes_segments() -> None:
    cell = '[{"label": "b", "index": "2", "metadata": {"k": 1.0}}, {"label": "a", "index": 1.0}]'
    assert read_declaration(cell).as_segments() == (Segment("a", 1), Segment("b", 2, {"k": 1}))


ANYTHING = st.recursive(
    st.one_of(JSON, st.floats(), st.binary(max_size=3), st.just(np.float32(0.5))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["label", "index", "metadata", "x"]), inner, max_size=4),
        st.lists(st.tuples(st.text(max_size=2), inner), max_size=2),
    ),
    max_leaves=10,
)


@settings(max_examples=at_most(60, 150), deadline=None)
@given(ANYTHING | st.text(max_size=30) | ANYTHING.map(lambda value: json.dumps(value, default=str)))
def test_no_cell_whatever_it_holds_raises(cell: object) -> None:
    declaration = read_declaration(cell)
    assert declaration.problem is None or declaration.segments == ()
    for segment in declaration.segments:
        assert json.loads(segment.metadata_text) == segment.metadata
        segment.name.encode()
        (segment.metadata_error or "").encode()


def test_messages_about_invalid_unicode_are_valid_unicode_themselves() -> None:
    cell = '[{"label": "a", "index": 7, "\\ud800": 1, "metadata": {"\\ud800": 2}}]'
    error = only(cell).metadata_error
    assert error is not None
    error.encode("utf-8")


def test_a_metadata_list_and_a_key_given_twice_are_told() -> None:
    list_in_json = read_declaration('[{"label": "a", "index": 0, "metadata": "[]"}]')
    assert list_in_json.segments[0].metadata_error == "metadata is a list, expected an object"
    twice = read_declaration([{"label": "a", "index": 0, "metadata": [("k", 1), ("k", 2)]}])
    assert twice.segments[0].metadata_error == "metadata has a key twice"
