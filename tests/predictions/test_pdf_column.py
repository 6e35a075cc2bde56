"""Class PDFs that are read together are what each of them is when it is read on its own."""

from __future__ import annotations

import json
import random
import struct
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segpipe.errors import MetadataError
from segpipe.masks.fast_path import disabled, load_fast_path
from segpipe.predictions.class_pdf import class_pdf_of, read_class_pdf
from segpipe.predictions.declarations import DeclaredSegment, read_declarations
from segpipe.predictions.json_text import noting_repeated_keys
from segpipe.predictions.metadata import canonical_metadata, confidence_of, metadata_json
from segpipe.predictions.pdf_column import PdfColumn
from tests.fixtures.pdf_metadata import CLASSES, as_json, metadata_of, mutated


@pytest.fixture(params=["fast", "without fast"], scope="module")
def path(request: pytest.FixtureRequest) -> Any:
    """The fast path of this process is loaded, or not used."""
    if request.param == "fast" and not load_fast_path():
        pytest.skip("the extra `fast` is not installed")
    context: AbstractContextManager[None] = nullcontext() if request.param == "fast" else disabled()
    with context:
        yield request.param


def declared(metadata: list[Any], label: str = "Car") -> list[DeclaredSegment]:
    members = [{"label": label, "index": 1, "metadata": one} for one in metadata]
    return [
        segment for one in read_declarations([[m] for m in members]) for segment in one.segments
    ]


def check_as_alone(segment: DeclaredSegment, given: Any) -> None:
    """Hold what was read against what Python's json and the rules for single metadata make."""
    try:
        value = given
        if isinstance(given, str):
            value = json.loads(given, object_pairs_hook=noting_repeated_keys)
        canonical = canonical_metadata(value)
    except (ValueError, MetadataError):
        assert segment.metadata_error is not None
        return
    assert segment.metadata_error is None
    assert segment.metadata_text == metadata_json(canonical)
    assert segment.metadata == canonical
    assert segment.confidence == confidence_of(canonical)
    assert segment.odd_confidence == ("confidence" in canonical and segment.confidence is None)
    expected = read_class_pdf(value)
    assert segment.class_pdf == class_pdf_of(value)
    assert (None if segment.pdf is None else segment.pdf.words) == (expected and expected.words)
    assert segment.has_pdf == (expected is not None)
    if segment.pdf is not None and expected is not None:
        assert segment.pdf.key == expected.key
        assert segment.pdf.total == expected.total or expected.total != expected.total
        if segment.agrees:
            assert expected.pdf is not None
            assert abs(expected.total - 1) < 1e-3
            assert expected.pdf.of(segment.label) == max(expected.pdf.probabilities)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**64))
def test_whatever_metadata_holds_it_is_read_as_alone(path: str, seed: int) -> None:
    rng = random.Random(seed)
    values: list[Any] = [metadata_of(rng) for _ in range(20)]
    kind = rng.randrange(3)
    if kind:
        values = [as_json(rng, one) for one in values]
    if kind == 2:
        values = [mutated(rng, one) if rng.random() < 0.5 else one for one in values]
    for segment, value in zip(declared(values), values, strict=True):
        check_as_alone(segment, value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**62), min_size=30, max_size=30))
def test_floats_of_any_bits_are_written_as_python_writes_them(path: str, bits: list[int]) -> None:
    floats = [struct.unpack("<d", one.to_bytes(8, "little"))[0] for one in bits]
    small = [one for one in floats if one < 1e-2]
    pdf = {f"class {place}": one for place, one in enumerate(small)}
    pdf["rest"] = 1 - sum(small)
    text = json.dumps({"class_pdf": pdf})
    column = PdfColumn()
    assert column.add(text, "rest")
    (read,) = column.read()
    assert read is not None
    whole = {name: int(one) if one in (0, 1) else one for name, one in pdf.items()}
    assert read[0] == json.dumps({"class_pdf": whole}, sort_keys=True, separators=(",", ":"))
    assert read[2].as_metadata() == pdf


TINY = [1e-4, 9.9999e-5, 1e-5, 1.25e-5, 9.999e-6, 1e-6, 1e-7, 1.5e-9, 1e-10, 1.5e-11, 5e-324]


def test_small_numbers_and_whole_ones_have_pythons_form(path: str) -> None:
    for numbers in ([*TINY, 1 - sum(TINY)], [0.0, 1.0], [1, 0, 0]):
        pdf = {f"{place}e-5": one for place, one in enumerate(numbers)}
        (segment,) = declared([json.dumps({"class_pdf": pdf, "confidence": 2.5e-05})])
        assert segment.agrees is False
        assert segment.metadata_text == metadata_json(canonical_metadata(segment.metadata))
        assert segment.metadata["class_pdf"] == pdf


def test_plain_pdfs_are_read_together_and_not_one_by_one(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = np.random.default_rng(1).dirichlet(np.full(9, 0.2), 40).tolist()
    texts = [json.dumps({"class_pdf": dict(zip(CLASSES, one, strict=True))}) for one in numbers]
    monkeypatch.delattr("segpipe.predictions.declarations.read_class_pdf")
    if path == "fast":
        monkeypatch.delattr("segpipe.predictions.pdf_column.read_mappings")
    assert sum(segment.agrees for segment in declared(texts)) > 0
    as_mappings = [json.loads(text) for text in texts]
    if path != "fast":
        assert declared(as_mappings) == declared(texts)
