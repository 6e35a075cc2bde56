"""Class PDFs: what is read of metadata, and what is computed of them."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.predictions.class_pdf import (
    ClassPdf,
    PdfReading,
    Unread,
    class_pdf_of,
    mixture,
    read_class_pdf,
)
from segpipe.predictions.declarations import read_declaration

PDF = ClassPdf(("Car", "Road", "Sky"), (0.2, 0.7, 0.1))
CLASSES = ["Road", "Car", "Sky"]


def reading(value: object, taxonomy: list[str] | None = None, key: str = "class_pdf") -> Any:
    return read_class_pdf({key: value}, taxonomy or ())


def unread(value: object, taxonomy: list[str] | None = None) -> PdfReading:
    """The reading of what holds no PDF."""
    found = reading(value, taxonomy)
    assert found.pdf is None
    assert isinstance(found, PdfReading)
    return found


def declared(cell: object, taxonomy: list[str] | None = None) -> Any:
    """The one Segment of a manifest's cell."""
    (segment,) = read_declaration(cell, taxonomy or ()).segments
    return segment


# --- forms


@pytest.mark.parametrize(
    "value",
    [
        {"Road": 0.7, "Car": 0.2, "Sky": 0.1},
        {"Road": "0.7", "Car": Decimal("0.2"), "Sky": np.float64(0.1)},
        {"Road": 0.7, "Car": 0.2, "Sky": 0.1, "Tree": None},
        '{"Road": 0.7, "Car": 0.2, "Sky": 0.1}',
        [("Road", 0.7), ("Car", 0.2), ("Sky", 0.1)],
        [["Road", 0.7], ["Car", 0.2], ["Sky", 0.1]],
    ],
    ids=["struct", "numbers of other types", "null member", "JSON text", "map", "canonical map"],
)
def test_a_pdf_means_the_same_in_every_form_of_a_mapping(value: object) -> None:
    assert reading(value).pdf == PDF
    assert reading(value, key="pdf").pdf == PDF


@pytest.mark.parametrize("value", [[0.7, 0.2, 0.1], "[0.7, 0.2, 0.1]", np.array([0.7, 0.2, 0.1])])
def test_a_list_is_in_the_order_of_the_taxonomy(value: object) -> None:
    assert reading(value, CLASSES).pdf == PDF
    assert unread(value).unread is Unread.CLASSES
    assert "list of 3 numbers, and the policy has no taxonomy" in unread(value).words


def test_a_list_of_another_length_is_told_with_both_lengths() -> None:
    found = unread([0.5, 0.5], CLASSES)
    assert (found.unread, found.words) == (
        Unread.CLASSES,
        "it is a list of 2 numbers, and the policy's taxonomy has 3 classes",
    )


def test_class_pdf_is_read_before_pdf() -> None:
    both = {"pdf": {"Sky": 1.0}, "class_pdf": {"Road": 1}}
    assert class_pdf_of(both) == ClassPdf(("Road",), (1.0,))
    assert class_pdf_of({"pdf": {"Sky": 1.0}, "class_pdf": None}) == ClassPdf(("Sky",), (1.0,))


@pytest.mark.parametrize("metadata", [
    {}, {"class_pdf": None}, {"class_pdf": {}}, {"class_pdf": {"Road": None}}, {"class_pdf": ""},
    {"pdf": "report.pdf"}, {"confidence": 0.5},
])  # fmt: skip
def test_what_says_nothing_of_classes_is_no_pdf_and_no_fault(metadata: dict[str, Any]) -> None:
    assert read_class_pdf(metadata) is None


@pytest.mark.parametrize("nothing", [None, {}, {"Road": None}, "", " "])
def test_where_class_pdf_is_nothing_pdf_is_read(nothing: Any) -> None:
    found = read_class_pdf({"class_pdf": nothing, "pdf": {"Road": 1.0}})
    assert found is not None
    assert (found.key, found.pdf) == ("pdf", of({"Road": 1}))


def test_negative_zeros_are_zeros() -> None:
    pdf = reading({"a": -0.0, "b": 1}).pdf
    assert [math.copysign(1, one) for one in pdf.probabilities] == [1, 1]
    assert math.copysign(1, pdf.entropy) == 1


# --- what is no PDF


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("Road", "it is text, but not JSON"),
        (0.7, "it is 0.7, no mapping of class to probability"),
        (True, "it is True"),
        ({"Road": {"score": 0.7}}, "of 'Road' it has an object, no number"),
        ({"Road": "high"}, "of 'Road' it has 'high', no number"),
        ({"Road": True}, "of 'Road' it has True, no number"),
        ({3: 0.7}, "it names a class 3, expected text"),
        ('{"Road": 0.7, "Car": 0.3, "Road": 0.1}', "it has 'Road' twice"),
        ([("Road", 0.7), ("Road", 0.3)], "it has 'Road' twice"),
        ([(1, 0.7)], "it names a class 1, expected text"),
    ],
)
def test_what_is_no_mapping_of_class_to_number_is_told(value: object, words: str) -> None:
    found = unread(value)
    assert found.unread is Unread.FORM
    assert words in found.words


def test_a_null_in_a_list_is_no_probability() -> None:
    assert "no number for 'Car'" in unread([0.7, None, 0.1], CLASSES).words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"Road": 1.5}, "'Road' has 1.5"),
        ({"Road": -0.1, "Car": 0.5}, "'Road' has -0.1"),
        ('{"Road": NaN, "Car": 0.5}', "'Road' has nan"),
        ({"Car": 0.5, "Road": "NaN"}, "'Road' has nan"),
        ('{"Road": 1e999}', "'Road' has inf"),
        ({"Road": 10**400}, "'Road' has inf"),
        ({"Road": math.inf, "Car": -math.inf}, "'Road' has inf, 'Car' has -inf"),
    ],
)
def test_numbers_that_are_no_probabilities_are_told(value: object, words: str) -> None:
    found = unread(value)
    assert (found.unread, found.words) == (Unread.RANGE, words)
    assert found.numbers


def test_ten_thousand_classes_are_read_and_their_faults_told_shortly() -> None:
    names = [f"class {n:05}" for n in range(10_000)]
    assert len(reading(dict.fromkeys(names, 1e-4)).pdf.classes) == 10_000
    assert len(unread(dict.fromkeys(names, 2.0)).words) < 200


# --- in a manifest's cell


@pytest.mark.parametrize("cell", [
    [{"label": "Road", "index": 1, "metadata": {"class_pdf": {"Road": 0.75, "Car": 0.25}}}],
    [{"label": "Road", "index": 1, "metadata": '{"class_pdf": {"Road": 0.75, "Car": 0.25}}'}],
    [{"label": "Road", "index": 1, "class_pdf": {"Road": 0.75, "Car": 0.25}}],
    '[{"label": "Road", "index": 1, "metadata": {"pdf": {"Road": 0.75, "Car": 0.25}}}]',
    [{"label": "Road", "index": 1, "metadata": [("pdf", [("Road", 0.75), ("Car", 0.25)])]}],
])  # fmt: skip
def test_a_declared_segment_has_its_pdf_in_every_form_of_metadata(cell: object) -> None:
    assert declared(cell).class_pdf == ClassPdf(("Car", "Road"), (0.25, 0.75))


@pytest.mark.parametrize("cell", [
    '[{"label": "a", "index": 1, "metadata": {"class_pdf": {"a": 0.7, "a": 0.3}}}]',
    '[{"label": "a", "index": 1, "class_pdf": {"a": 0.7, "a": 0.3}}]',
    [{"label": "a", "index": 1, "metadata": '{"class_pdf": {"a": 0.7, "a": 0.3}}'}],
])  # fmt: skip
def test_a_class_that_json_names_twice_is_told_and_the_metadata_stay_as_they_were(
    cell: object,
) -> None:
    segment = declared(cell)
    assert segment.class_pdf is None
    assert "it has 'a' twice" in segment.pdf.words
    assert segment.metadata_text == '{"class_pdf":{"a":0.3}}'


@pytest.mark.parametrize("cell", [
    '[{"label": "a", "index": 1, "class_pdf": {"a": 1}, "class_pdf": {"a": 1}, "x": 1}]',
    '[{"label": "a", "index": 1, "metadata": {"class_pdf": {"a": 1}, "class_pdf": {"a": 1}}}]',
])  # fmt: skip
def test_a_pdf_that_json_gives_twice_is_told(cell: object) -> None:
    assert "the metadata has class_pdf twice" in declared(cell).pdf.words


def test_metadata_with_a_pdf_are_stored_and_digested_as_before() -> None:
    given = {"class_pdf": {"Road": 0.75, "Car": 0.25}, "confidence": 0.75}
    text = '{"class_pdf":{"Car":0.25,"Road":0.75},"confidence":0.75}'
    assert declared([{"label": "Road", "index": 1, "metadata": given}]).metadata_text == text


# --- what is computed

PDFS = st.dictionaries(
    st.sampled_from(["Car", "Road", "Sky", "Tree", "Person"]), st.floats(0, 1), min_size=1
)


def of(numbers: dict[str, float]) -> ClassPdf:
    pdf = class_pdf_of({"class_pdf": numbers})
    assert pdf is not None
    return pdf


def normal(numbers: dict[str, float]) -> ClassPdf:
    """The numbers as a distribution; certain of the first where they are all 0."""
    total = math.fsum(numbers.values())
    if total < 1e-6:
        return of({name: float(place == 0) for place, name in enumerate(numbers)})
    return of({name: min(1.0, value / total) for name, value in numbers.items()})


def test_entropy_is_in_nats_and_margin_is_between_the_two_highest() -> None:
    assert PDF.entropy == pytest.approx(-(0.7 * math.log(0.7) + 0.2 * math.log(0.2)
                                          + 0.1 * math.log(0.1)), abs=1e-12)  # fmt: skip
    assert PDF.margin == pytest.approx(0.5)
    assert of({"a": 1}).entropy == 0
    assert of({"a": 0.4}).margin == 0.4
    assert of({"a": 0.5, "b": 0.5}).margin == 0
    assert of({"a": 0, "b": 0}).entropy is None


def test_the_highest_classes_come_first_and_equal_ones_by_name() -> None:
    pdf = of({"c": 0.25, "a": 0.5, "b": 0.25})
    assert pdf.top(2) == [("a", 0.5), ("b", 0.25)]
    assert (pdf.of("c"), pdf.of("d"), pdf.of(None)) == (0.25, None, None)


@given(PDFS)
def test_entropy_is_at_most_that_of_equal_probabilities(numbers: dict[str, float]) -> None:
    pdf = normal(numbers)
    assert pdf.entropy is not None
    assert 0 <= pdf.entropy <= math.log(len(pdf.classes)) + 1e-9
    assert 0 <= pdf.margin <= 1


@given(st.lists(st.tuples(PDFS, st.integers(0, 1000)), min_size=1, max_size=6), st.randoms())
def test_a_mixture_of_distributions_is_one_in_whatever_order(
    weighted: list[tuple[dict[str, float], int]], random: Any
) -> None:
    pdfs = [(normal(numbers), weight) for numbers, weight in weighted]
    mixed = mixture(pdfs)
    assert mixed.total == pytest.approx(1, abs=1e-9)
    random.shuffle(pdfs)
    assert mixture(pdfs) == mixed


def test_a_mixture_is_weighted_and_a_class_not_named_has_nothing() -> None:
    assert mixture([(of({"a": 1}), 3), (of({"b": 1}), 1)]) == of({"a": 0.75, "b": 0.25})
    assert mixture([(of({"a": 1}), 0), (of({"b": 1}), 0)]) == of({"a": 0.5, "b": 0.5})


@given(PDFS)
def test_groups_of_classes_have_the_sum_of_their_probabilities(numbers: dict[str, float]) -> None:
    pdf = normal(numbers)
    grouped = pdf.grouped({"Road": "stuff", "Sky": "stuff", "Tree": "stuff"})
    assert grouped.total == pytest.approx(1, abs=1e-9)
    assert grouped.classes == tuple(sorted(grouped.classes))
    assert (grouped.of("Car"), grouped.of("Road")) == (pdf.of("Car"), None)
    assert grouped.grouped({"Road": "stuff"}) == grouped
