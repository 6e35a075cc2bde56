"""Reading and writing JSON fast gives what Python's json gives."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segpipe.predictions.json_text import (
    RepeatedKeys,
    json_value,
    noting_repeated_keys,
    numbers_text,
)
from segpipe.predictions.metadata import canonical_form, canonical_metadata, metadata_json

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
NAMES = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["class_pdf", "pdf", "type-5", "e-5,", "a:0.00001", "type-", 'quote"', "back\\slash"]
)
PROBABILITIES = st.dictionaries(NAMES, st.floats(0, 1), min_size=1, max_size=6)


def by_python(text: str) -> Any:
    return json.loads(text, object_pairs_hook=noting_repeated_keys)


def same(one: Any, other: Any) -> bool:
    """Equal, with integers told from floats and repeated keys from others."""
    repeated = [getattr(value, "repeated", None) for value in (one, other)]
    if repeated[0] != repeated[1]:
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


@given(
    st.dictionaries(
        NAMES,
        NUMBERS
        | st.text(max_size=5)
        | st.booleans()
        | st.none()
        | PROBABILITIES
        | st.lists(NUMBERS, max_size=4)
        | st.dictionaries(NAMES, NUMBERS, max_size=4),
        max_size=5,
    ),
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")]),
)
def test_any_metadata_is_read_as_python_reads_it(
    metadata: dict[str, Any], ascii: bool, separators: tuple[str, str]
) -> None:
    text = json.dumps(metadata, ensure_ascii=ascii, separators=separators)
    assert same(json_value(text), by_python(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a" :1, "a": 2}',
        '{"a": "x", "a" : "y"}',
        '{"pdf": {"a": 0.5, "a": 0.5}}',
        '{"pdf": {"a" :0.5, "a": 0.25, "b": 0.25}, "c": "\\":"}',
        '{"\\u0061": 1, "a": 2}',
        '{"a": 18446744073709551616}',
        '{"a": -9223372036854775809, "b": [123456789012345678901234567890]}',
        '{"a": {"b": 123456789012345678901234567890}}',
        '{"a": -0, "b": -0.0, "c": 1E5, "d": 1e-400}',
        '{"a": NaN, "b": -Infinity}',
        '{"a": 1e400}',
        '{"a": "\\ud800"}',
        '{"a": [{"b": 1, "b": 2}]}',
        '{"a": {"b": {"c": 1, "c": 2}}}',
        "[1, 2.5]",
        '"text"',
        " null ",
        "{}",
        '{"pdf": {}, "list": []}',
    ],
)
def test_what_the_fast_way_would_lose_is_read_as_python_reads_it(text: str) -> None:
    assert same(json_value(text), by_python(text))


@pytest.mark.parametrize(
    "text", ["", "{", "\ufeff{}", '{"a": 01}', '{"a": 1.}', "{'a': 1}", '{"a": "\n"}']
)
def test_what_is_no_json_is_told_in_pythons_words(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)
    with pytest.raises(json.JSONDecodeError) as raised:
        json_value(text)
    assert str(raised.value) == str(expected.value)


def test_keys_that_are_there_twice_are_known() -> None:
    value = json_value('{"pdf": {"a": 0.5, "a": 0.25}, "b": 1}')
    assert isinstance(value["pdf"], RepeatedKeys)
    assert value["pdf"].repeated == {"a"}


def test_only_objects_with_repeated_keys_are_marked() -> None:
    assert type(json_value('{"a": 1}')) is dict
    assert type(by_python('{"a": 1}')) is dict


@given(PROBABILITIES)
@example(
    {"a": 1e-4, "b": 9.9999e-5, "c": 1e-5, "d": 1.25e-5, "e": 9.999e-6, "f": 1e-6, "g": 5e-324}
)
@example({"type-5": 1e-5, "e-6": 1e-6, "a": 1.5e-10, "b": 1e-9})
@example({"a": 0.0, "b": -0.0, "c": 1.0})
@example({'e-5,"x': 1e-5, "a:0.00001,": 1e-6})
def test_class_pdfs_are_written_as_python_writes_them(pdf: dict[str, float]) -> None:
    metadata = {"class_pdf": pdf, "confidence": 0.5}
    assert canonical_form(metadata)[1] == metadata_json(canonical_metadata(metadata))
    fast = numbers_text(pdf)
    plain = all(
        name.isascii() and name.isprintable() and not {*name} & {*':,{}[]"\\'} for name in pdf
    )
    assert (fast is not None) == plain
    if fast is not None:
        assert fast == json.dumps(pdf, sort_keys=True, separators=(",", ":"))


def test_names_of_another_kind_of_text_are_written_whatever_was_written_before() -> None:
    plain = {"Road": 0.75, "Sky": 0.25}
    written = canonical_form({"class_pdf": plain})[1]
    by_numpy = {np.str_(name): number for name, number in plain.items()}
    assert canonical_form({"class_pdf": by_numpy})[1] == written


@given(st.dictionaries(st.text(max_size=3), NUMBERS, min_size=1, max_size=5))
def test_any_numbers_are_written_as_python_writes_them(numbers: dict[str, float]) -> None:
    metadata = {"logits": numbers}
    assert canonical_form(metadata)[1] == metadata_json(canonical_metadata(metadata))


@given(st.lists(st.integers(0, 2**62 - 1), min_size=20, max_size=20))
def test_floats_of_any_bits_are_written_as_python_writes_them(bits: list[int]) -> None:
    floats = [struct.unpack("<d", one.to_bytes(8, "little"))[0] for one in bits]
    numbers = {f"class {place}": one for place, one in enumerate(floats) if one < 1e15}
    if numbers:
        written = numbers_text(numbers)
        assert written == json.dumps(numbers, sort_keys=True, separators=(",", ":"))
