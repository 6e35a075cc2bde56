"""What a prediction means, and the fingerprint of that meaning."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import struct
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from segpipe.errors import MetadataError
from segpipe.masks.decoding import decode_mask
from segpipe.predictions.fingerprint import fingerprint
from segpipe.predictions.metadata import canonical_form, canonical_metadata, metadata_json
from segpipe.predictions.prediction import Segment
from tests.fixtures.png import PALETTE, png
from tests.fixtures.strategies import METADATA, SEGMENTS, masks

FEW = settings(max_examples=60, deadline=None)

MASK = np.array([[0, 0, 1], [1, 1, 5]], np.uint8)
SEGMENT_LIST = [
    Segment("sky", 0),
    Segment("road", 1, {"confidence": 0.5, "lane": 2}),
    Segment("car", 5, {"id": "a"}),
]


def as_floats(value: Any) -> Any:
    """The same JSON value with every integer as a float, as a Parquet column may hold it."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, dict):
        return {key: as_floats(member) for key, member in value.items()}
    if isinstance(value, list):
        return [as_floats(member) for member in value]
    return value


def with_nulls(value: Any) -> Any:
    """The same JSON value with a null member more in every object."""
    if isinstance(value, dict):
        return {key: with_nulls(member) for key, member in value.items()} | {"no such key": None}
    if isinstance(value, list):
        return [with_nulls(member) for member in value]
    return value


def test_a_fingerprint_published_once_stays_the_same_for_ever() -> None:
    pixels = hashlib.sha256(b"pixels\n" + bytes([0, 0, 1, 1, 1, 5])).hexdigest()
    described = (
        f'["segpipe-prediction-2",2,3,"{pixels}","ann-1",[[0,"sky","{{}}"],'
        '[1,"road","{\\"confidence\\":0.5,\\"lane\\":2}"],[5,"car","{\\"id\\":\\"a\\"}"]]]'
    )
    expected = hashlib.sha256(described.encode()).hexdigest()
    assert fingerprint(MASK, SEGMENT_LIST, "ann-1") == expected


def test_pixels_whose_runs_are_shorter_than_they_are_digested_by_their_runs_within_rows() -> None:
    mask = np.array([[0] * 30, [0] * 10 + [7] * 20], np.uint8)
    starts = struct.pack("<3I", 0, 30, 40)
    pixels = hashlib.sha256(b"runs\n" + starts + bytes([0, 0, 7])).hexdigest()
    described = f'["segpipe-prediction-2",2,30,"{pixels}",null,[]]'
    assert fingerprint(mask, []) == hashlib.sha256(described.encode()).hexdigest()


@FEW
@given(masks(), SEGMENTS, st.randoms(use_true_random=False), st.none() | st.text(max_size=5))
def test_the_order_of_segments_is_not_part_of_the_meaning(
    mask: np.ndarray, segments: list[Segment], random: Any, annotation_id: str | None
) -> None:
    shuffled = random.sample(segments, len(segments))
    assert fingerprint(mask, shuffled, annotation_id) == fingerprint(mask, segments, annotation_id)


@FEW
@given(masks(), SEGMENTS)
def test_null_members_whole_floats_and_key_order_are_not_part_of_the_meaning(
    mask: np.ndarray, segments: list[Segment]
) -> None:
    expected = fingerprint(mask, segments)
    for change in (
        as_floats,
        with_nulls,
        lambda metadata: dict(reversed(metadata.items())),
        lambda metadata: json.loads(json.dumps(metadata)),
    ):
        changed = [dataclasses.replace(s, metadata=change(s.metadata)) for s in segments]
        assert fingerprint(mask, changed) == expected


@FEW
@given(
    masks(most=15),
    st.sampled_from([4, 8]),
    st.booleans(),
    st.booleans(),
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
    st.integers(0, 9),
    st.integers(1, 4),
)
def test_the_encoding_of_the_png_is_not_part_of_the_meaning(
    mask: np.ndarray,
    depth: int,
    palette: bool,
    interlaced: bool,
    filters: list[int],
    level: int,
    pieces: int,
) -> None:
    encoded = png(
        mask,
        depth=depth,
        colour=PALETTE if palette else 0,
        interlaced=interlaced,
        filters=filters,
        level=level,
        pieces=pieces,
    )
    decoded = decode_mask(encoded).pixels
    assert fingerprint(decoded, SEGMENT_LIST) == fingerprint(mask, SEGMENT_LIST)


def test_the_memory_layout_of_the_array_is_not_part_of_the_meaning() -> None:
    expected = fingerprint(MASK, SEGMENT_LIST)
    wide = np.zeros((2, 6), np.uint8)
    wide[:, ::2] = MASK
    assert fingerprint(np.asfortranarray(MASK), SEGMENT_LIST) == expected
    assert fingerprint(wide[:, ::2], SEGMENT_LIST) == expected


@FEW
@given(masks(), st.data())
def test_changing_any_pixel_changes_the_fingerprint(mask: np.ndarray, data: st.DataObject) -> None:
    y = data.draw(st.integers(0, mask.shape[0] - 1))
    x = data.draw(st.integers(0, mask.shape[1] - 1))
    changed = mask.copy()
    changed[y, x] = (int(changed[y, x]) + data.draw(st.integers(1, 255))) % 256
    assert fingerprint(changed, SEGMENT_LIST) != fingerprint(mask, SEGMENT_LIST)


def _changed_segment(**change: Any) -> list[Segment]:
    return [*SEGMENT_LIST[:2], dataclasses.replace(SEGMENT_LIST[2], **change)]


@pytest.mark.parametrize(
    ("mask", "segments", "annotation_id"),
    [
        pytest.param(MASK.reshape(3, 2), SEGMENT_LIST, None, id="shape, the bytes being equal"),
        pytest.param(MASK.reshape(1, 6), SEGMENT_LIST, None, id="a single row"),
        pytest.param(MASK, SEGMENT_LIST[:2], None, id="a Segment less"),
        pytest.param(MASK, [*SEGMENT_LIST, Segment("tree", 9)], None, id="a Segment more"),
        pytest.param(MASK, _changed_segment(label="Car"), None, id="label"),
        pytest.param(MASK, _changed_segment(label="car "), None, id="a space in a label"),
        pytest.param(MASK, _changed_segment(index=6), None, id="index"),
        pytest.param(MASK, _changed_segment(metadata={"id": "b"}), None, id="metadata value"),
        pytest.param(MASK, _changed_segment(metadata={"ID": "a"}), None, id="metadata key"),
        pytest.param(MASK, _changed_segment(metadata={}), None, id="metadata gone"),
        pytest.param(MASK, _changed_segment(metadata={"id": ["a"]}), None, id="metadata shape"),
        pytest.param(MASK, SEGMENT_LIST, "ann-1", id="annotation id"),
        pytest.param(MASK, SEGMENT_LIST, "", id="an empty annotation id is not none"),
    ],
)
def test_a_change_of_meaning_changes_the_fingerprint(
    mask: np.ndarray, segments: list[Segment], annotation_id: str | None
) -> None:
    assert fingerprint(mask, segments, annotation_id) != fingerprint(MASK, SEGMENT_LIST)


@FEW
@given(masks(), SEGMENTS, SEGMENTS)
def test_segments_that_differ_have_different_fingerprints(
    mask: np.ndarray, one: list[Segment], other: list[Segment]
) -> None:
    def meaning(segments: list[Segment]) -> list[Any]:
        kept = [(s.index, s.label, without_nulls(s.metadata)) for s in segments]
        return sorted(kept, key=lambda segment: segment[0])

    def without_nulls(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without_nulls(v) for k, v in value.items() if v is not None}
        if isinstance(value, list):
            return [without_nulls(v) for v in value]
        return (type(value) is bool, value)

    assume(meaning(one) != meaning(other))
    assert fingerprint(mask, one) != fingerprint(mask, other)


def test_labels_swapped_between_two_values_change_the_fingerprint() -> None:
    one = [Segment("a", 0), Segment("b", 1)]
    other = [Segment("b", 0), Segment("a", 1)]
    assert fingerprint(MASK, one) != fingerprint(MASK, other)


def test_true_and_one_are_different_metadata() -> None:
    one, other = Segment("a", 0, {"crowd": True}), Segment("a", 0, {"crowd": 1})
    assert fingerprint(MASK, [one]) != fingerprint(MASK, [other])


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        (1.0, 1),
        (-0.0, 0),
        (0.5, 0.5),
        (2.0**53, 2**53),
        (np.float32(0.5), 0.5),
        (np.int16(-3), -3),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        ((1, 2), [1, 2]),
        ([1, None], [1, None]),
        ({"a": {"b": None}}, {"a": {}}),
        (Decimal("2.50"), 2.5),
        (date(2026, 1, 5), "2026-01-05"),
        (time(3, 4, 5), "03:04:05"),
        (datetime(2026, 1, 5, 3, 4, 5, tzinfo=UTC), "2026-01-05T03:04:05+00:00"),
        ("größe", "größe"),
    ],
)
def test_values_have_one_canonical_form(value: Any, canonical: Any) -> None:
    result = canonical_metadata({"key": value})["key"]
    assert result == canonical
    assert type(result) is type(canonical)


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"score": math.nan}, "metadata.score"),
        ({"score": math.inf}, "metadata.score"),
        ({"score": np.float64("nan")}, "metadata.score"),
        ({"score": Decimal("Infinity")}, "metadata.score"),
        ({"a": {"b": [1, -math.inf]}}, "metadata.a.b[1]"),
        ({"blob": b"\x00"}, "metadata.blob is bytes"),
        ({"thing": object()}, "metadata.thing"),
        ({1: "one"}, "key 1"),
        ({"text": "\ud800"}, "metadata.text"),
        ({"\ud800": 1}, "Unicode"),
    ],
)
def test_what_json_cannot_hold_is_refused_naming_the_key(
    metadata: dict[Any, Any], named: str
) -> None:
    for canonical in (canonical_metadata, canonical_form):
        with pytest.raises(MetadataError) as refused:
            canonical(metadata)
        assert named in str(refused.value)


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = {"in": value}
    return value  # type: ignore[no-any-return]


def test_metadata_may_be_nested_sixteen_deep_and_no_deeper() -> None:
    assert canonical_metadata(nested(16)) == nested(16)
    for levels in (17, 100_000):
        with pytest.raises(MetadataError, match="nested deeper than 16"):
            canonical_metadata(nested(levels))


@FEW
@given(METADATA)
def test_canonical_metadata_is_canonical_and_survives_its_json(metadata: dict[str, Any]) -> None:
    canonical = canonical_metadata(metadata)
    assert canonical_metadata(canonical) == canonical
    text = metadata_json(canonical)
    assert metadata_json(canonical_metadata(json.loads(text))) == text


@FEW
@given(
    st.one_of(
        METADATA, st.dictionaries(st.text(max_size=3), st.floats() | st.integers(), max_size=3)
    )
)
def test_the_canonical_form_is_canonical_metadata_and_its_json(metadata: dict[str, Any]) -> None:
    try:
        canonical = canonical_metadata(metadata)
    except MetadataError as expected:
        with pytest.raises(MetadataError, match=re.escape(str(expected))):
            canonical_form(metadata)
        return
    found, text = canonical_form(metadata)
    assert (found, text) == (canonical, metadata_json(canonical))
    assert [type(value) for value in found.values()] == [type(v) for v in canonical.values()]


def test_metadata_json_sorts_keys_and_keeps_unicode() -> None:
    assert metadata_json({"ß": [1], "a": {"d": 1, "c": None}}) == '{"a":{"c":null,"d":1},"ß":[1]}'
    assert metadata_json({}) == "{}"


@pytest.mark.parametrize(
    ("metadata", "confidence"),
    [
        ({"confidence": 0.25}, 0.25),
        ({"confidence": 1}, 1.0),
        ({"confidence": 97.0}, 97.0),
        ({}, None),
        ({"confidence": None}, None),
        ({"confidence": True}, None),
        ({"confidence": "high"}, None),
        ({"confidence": [0.5]}, None),
        ({"confidence": 10**400}, None),
    ],
)
def test_confidence_is_read_from_the_metadata(
    metadata: dict[str, Any], confidence: float | None
) -> None:
    assert Segment("a", 0, metadata).confidence == confidence
