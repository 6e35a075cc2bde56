"""What the rules say of class PDFs, and that their advice is right."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.manifests.rows import ManifestRow
from segpipe.predictions.declarations import read_declaration
from segpipe.validation.rules import CATALOGUE, Evidence, Policy, Severity, judge
from tests.fixtures.inbox import Inbox, Outcome
from tests.fixtures.pdf_metadata import CLASSES, metadata_of

MASK = np.array([[0, 1], [1, 1]], np.uint8)
TAXONOMY = {"Road": "stuff", "Car": "thing", "Sky": "stuff"}
RIGHT = {"Road": 0.7, "Car": 0.2, "Sky": 0.1}


def judged(
    inbox: Inbox,
    pdf: object,
    /,
    policy: Policy | None = None,
    label: str = "Road",
    **metadata: Any,
) -> Outcome:
    """The outcome of a row ``a`` whose Segment 1 has this PDF; Segment 0 has none."""
    segments = [
        {"label": "Sky", "index": 0},
        {"label": label, "index": 1, "metadata": {"class_pdf": pdf, **metadata}},
    ]
    row = inbox.row("a", MASK, segments=json.dumps(segments))
    return inbox.run([row], validation=inbox.validation(policy=policy), force=True)


def said(inbox: Inbox, pdf: object, /, policy: Policy | None = None, **more: Any) -> dict[str, str]:
    """rule -> message, of an accepted row."""
    outcome = judged(inbox, pdf, policy, **more)
    assert outcome.rejected == []
    return {one["rule"]: one["message"] for one in outcome.validated[0]["findings"]}


def refused(inbox: Inbox, pdf: object, policy: Policy | None = None) -> tuple[str, str]:
    """Message and remedy of the only finding, which is PDF-RANGE."""
    (one,) = judged(inbox, pdf, policy).rejected
    assert (one["rule"], one["severity"]) == ("PDF-RANGE", "reject")
    return one["message"], one["remedy"]


def typed(outcome: Outcome) -> tuple[Any, Any]:
    """Class PDF and entropy of Segment 1 in the table."""
    segment = outcome.segments[1]
    pdf = segment["class_pdf"]
    return None if pdf is None else dict(pdf), segment["entropy"]


def with_taxonomy(**more: Any) -> Policy:
    return Policy(taxonomy=TAXONOMY, **more)


@pytest.mark.parametrize("policy", [Policy(), with_taxonomy()])
def test_a_distribution_whose_highest_class_is_the_label_has_no_finding(
    inbox: Inbox, policy: Policy
) -> None:
    assert said(inbox, RIGHT, policy, confidence=0.7) == {}
    assert said(inbox, json.dumps(RIGHT), policy) == {}
    assert said(inbox, {**RIGHT, "Sky": 0.1005}, policy) == {}


# --- out of range


def softmax(logits: dict[str, float]) -> dict[str, float]:
    total = sum(map(math.exp, logits.values()))
    return {name: math.exp(value) / total for name, value in logits.items()}


def test_percentages_are_refused_and_divided_by_100_they_are_right(inbox: Inbox) -> None:
    percent = {"Road": 70, "Car": 20, "Sky": 10}
    message, remedy = refused(inbox, percent)
    assert "Segment 1 ('Road'): class_pdf: 'Road' has 70.0" in message
    assert "they sum to 100: percent?" in message
    assert remedy == "Divide the numbers by 100."
    assert said(inbox, {name: value / 100 for name, value in percent.items()}) == {}


def test_logits_are_refused_by_their_name_and_their_softmax_is_right(inbox: Inbox) -> None:
    logits = {"Road": 4.1, "Car": -2.3, "Sky": 0.5}
    message, remedy = refused(inbox, logits)
    assert "'Road' has 4.1, 'Car' has -2.3; logits?" in message
    assert "percent" not in message
    assert remedy == "Take the softmax of the logits over all classes."
    assert said(inbox, softmax(logits)) == {}


def test_log_probabilities_are_refused_and_their_exponentials_are_right(inbox: Inbox) -> None:
    logs = {name: math.log(value) for name, value in RIGHT.items()}
    message, remedy = refused(inbox, logs)
    assert "log-probabilities?" in message
    assert remedy == "Take the exponential of each number."
    assert said(inbox, {name: math.exp(value) for name, value in logs.items()}) == {}


@pytest.mark.parametrize(
    ("pdf", "words"),
    [
        ({"Road": 3.5, "Car": 1.0}, "they sum to 4.5: logits, counts or percent?"),
        ({"Road": 1.0000002, "Car": 0}, "rounding?"),
        ({"Road": 1, "Car": -1e-7}, "rounding?"),
        ('{"Road": NaN, "Car": 1}', "'Road' has nan"),
        ({"Road": "NaN", "Car": 1}, "'Road' has nan"),
        ('{"Road": -1e999, "Car": 1}', "'Road' has -inf"),
    ],
)
def test_numbers_that_are_no_probabilities_are_refused(
    inbox: Inbox, pdf: object, words: str
) -> None:
    assert words in refused(inbox, pdf)[0]


def test_a_nan_that_json_cannot_hold_is_told_by_the_rule_of_metadata(inbox: Inbox) -> None:
    findings = judged(inbox, {"Road": math.nan}).findings("a")
    assert findings.keys() == {"METADATA-INVALID"}
    assert "metadata.class_pdf.Road is nan" in findings["METADATA-INVALID"]


def test_numbers_out_of_range_that_a_policy_accepts_are_in_no_typed_column(inbox: Inbox) -> None:
    accepting = Policy(severities={"PDF-RANGE": Severity.WARN})
    outcome = judged(inbox, {"Road": 70, "Car": 30}, accepting)
    assert typed(outcome) == (None, None)
    assert [one["rule"] for one in outcome.validated[0]["findings"]] == ["PDF-RANGE"]
    off = Policy(severities={"PDF-RANGE": Severity.OFF})
    assert (
        "sums to 100; they sum to 100: percent?"
        in said(inbox, {"Road": 70, "Car": 30}, off)["PDF-SUM"]
    )


# --- what is no PDF


@pytest.mark.parametrize(
    ("pdf", "words"),
    [
        ("very sure", "it is text, but not JSON"),
        (0.7, "it is 0.7, no mapping"),
        ({"Road": {"score": 0.7}}, "of 'Road' it has an object, no number"),
        ({"Road": [0.7]}, "of 'Road' it has [0.7], no number"),
        ('{"Road": 0.7, "Road": 0.3}', "it has 'Road' twice"),
    ],
)
def test_what_is_no_pdf_stays_in_the_metadata_and_is_told(
    inbox: Inbox, pdf: object, words: str
) -> None:
    findings = said(inbox, pdf)
    assert findings.keys() == {"PDF-RANGE"}
    assert words in findings["PDF-RANGE"]
    assert "stays in the metadata as it is, without entropy" in findings["PDF-RANGE"]
    outcome = judged(inbox, pdf)
    assert typed(outcome) == (None, None)
    assert json.loads(outcome.segments[1]["metadata"]) == {"class_pdf": pdf}


def test_a_class_that_is_there_twice_in_the_json_of_the_row_is_told(inbox: Inbox) -> None:
    cell = '[{"label": "Sky", "index": 0}, {"label": "Road", "index": 1, "metadata": '
    cell += '{"class_pdf": {"Road": 0.7, "Road": 0.3}}}]'
    outcome = inbox.run([inbox.row("a", MASK, segments=cell)])
    (finding,) = outcome.validated[0]["findings"]
    assert "it has 'Road' twice, and only one can be meant" in finding["message"]
    assert typed(outcome) == (None, None)


def test_a_document_under_pdf_is_no_fault(inbox: Inbox) -> None:
    assert said(inbox, None, pdf="report.pdf") == {}


def test_nulls_are_classes_that_are_not_there(inbox: Inbox) -> None:
    assert said(inbox, {**RIGHT, "Tree": None}) == {}
    assert typed(judged(inbox, {**RIGHT, "Tree": None}))[0] == RIGHT
    assert said(inbox, {"Tree": None}) == {}


def test_a_pdf_of_ten_thousand_classes_is_told_its_size_or_read_where_the_policy_allows_it(
    inbox: Inbox,
) -> None:
    names = ["Road", *(f"class {number:05}" for number in range(9_999))]
    pdf = {name: 0.5 if name == "Road" else 0.5 / 9_999 for name in names}
    (finding,) = judged(inbox, pdf).rejected
    assert finding["rule"] == "METADATA-INVALID"
    assert "over the limit of 65,536 (max_metadata_bytes in the policy)" in finding["message"]
    assert said(inbox, pdf, Policy(max_metadata_bytes=1_000_000)) == {}
    unknown = said(inbox, pdf, with_taxonomy(max_metadata_bytes=1_000_000))
    assert "and 9989 more" in unknown["PDF-LABEL-UNKNOWN"]
    assert len(unknown["PDF-LABEL-UNKNOWN"]) < 1000


# --- sums


@pytest.mark.parametrize(
    ("pdf", "words"),
    [
        ({"Road": 0.7, "Car": 0.2}, "sums to 0.9: are classes left out"),
        ({"Road": 0.9, "Car": 0.8}, "sums to 1.7: a score of its own for each class (sigmoid)?"),
        ({"Road": 0, "Car": 0.0}, "sums to 0, which is no distribution and has no entropy"),
        ({"Road": -0.0}, "sums to 0, which is no distribution"),
        ({"Road": 0.007, "Car": 0.003}, "sums to 0.01: divided by 100 twice?"),
    ],
)
def test_a_sum_that_is_not_1_is_told_with_what_it_looks_like(
    inbox: Inbox, pdf: object, words: str
) -> None:
    findings = said(inbox, pdf)
    assert findings.keys() == {"PDF-SUM"}
    assert words in findings["PDF-SUM"]


def test_dividing_by_the_sum_as_advised_is_right(inbox: Inbox) -> None:
    pdf = {"Road": 0.9, "Car": 0.8}
    assert "or divide them by their sum" in CATALOGUE["PDF-SUM"].remedy
    assert said(inbox, {name: value / 1.7 for name, value in pdf.items()}) == {}


def test_an_entropy_is_that_of_the_shares(inbox: Inbox) -> None:
    assert typed(judged(inbox, {"Road": 0.25, "Car": 0.25}))[1] == round(math.log(2), 12)
    assert typed(judged(inbox, {"Road": 0, "Car": 0})) == ({"Road": 0, "Car": 0}, None)


# --- classes


def test_classes_outside_the_taxonomy_are_told_with_the_nearest(inbox: Inbox) -> None:
    pdf = {"road": 0.7, "Car": 0.2, "Tree": 0.1}
    findings = said(inbox, pdf, with_taxonomy())
    assert findings.keys() == {"PDF-LABEL-UNKNOWN"}  # that 'road' is not 'Road' is the same cause
    assert "not in the taxonomy: 'Tree', 'road' ('Road'?)" in findings["PDF-LABEL-UNKNOWN"]
    assert said(inbox, RIGHT, with_taxonomy()) == {}  # corrected as advised


def test_ignore_values_and_background_may_have_probabilities(inbox: Inbox) -> None:
    pdf = {"Road": 0.8, "void": 0.1, "background": 0.1}
    assert said(inbox, pdf, with_taxonomy(ignore_values={255: "void"})) == {}


def test_a_list_is_read_in_the_order_of_the_taxonomy(inbox: Inbox) -> None:
    assert said(inbox, [0.7, 0.2, 0.1], with_taxonomy()) == {}
    assert typed(judged(inbox, [0.7, 0.2, 0.1], with_taxonomy()))[0] == RIGHT


@pytest.mark.parametrize(
    ("numbers", "policy", "words"),
    [
        ([0.7, 0.3], with_taxonomy(), "a list of 2 numbers, and the policy's taxonomy has 3 class"),
        ([0.7, 0.2, 0.1], Policy(), "a list of 3 numbers, and the policy has no taxonomy"),
        ([], Policy(), "a list of 0 numbers"),
    ],
)
def test_a_list_that_cannot_be_assigned_stays_in_the_metadata_and_is_told(
    inbox: Inbox, numbers: list[float], policy: Policy, words: str
) -> None:
    findings = said(inbox, numbers, policy)
    assert findings.keys() == {"PDF-LABEL-UNKNOWN"}
    assert words in findings["PDF-LABEL-UNKNOWN"]
    assert "Write a mapping of class to probability" in findings["PDF-LABEL-UNKNOWN"]
    outcome = judged(inbox, numbers, policy)
    assert typed(outcome) == (None, None)
    assert json.loads(outcome.segments[1]["metadata"]) == {"class_pdf": numbers}


# --- the label, and the confidence


def test_a_label_that_is_not_the_highest_class_is_told_with_both(inbox: Inbox) -> None:
    findings = said(inbox, RIGHT, label="Car", confidence=0.7)
    assert findings.keys() == {"PDF-ARGMAX"}  # the confidence of another class: the same cause
    assert "Segment 1 ('Car'): 'Road' is highest with 0.7, its label has 0.2" in findings[
        "PDF-ARGMAX"
    ]  # fmt: skip
    assert "its label is not in it" in said(inbox, RIGHT, label="Tree")["PDF-ARGMAX"]


def test_equal_probabilities_are_all_the_highest(inbox: Inbox) -> None:
    assert said(inbox, {"Road": 0.5, "Car": 0.5}, label="Car") == {}


def test_ignored_segments_are_not_compared_with_their_pdf(inbox: Inbox) -> None:
    assert said(inbox, RIGHT, label="void", ignore=True) == {}
    assert said(inbox, RIGHT, Policy(ignore_values={1: "void"}), label="void") == {}


@pytest.mark.parametrize(("confidence", "told"), [(0.7, False), (0.71, False), (0.72, True)])
def test_a_confidence_that_differs_from_the_probability_of_the_label_is_told(
    inbox: Inbox, confidence: float, told: bool
) -> None:
    findings = said(inbox, RIGHT, confidence=confidence)
    assert findings.keys() == ({"PDF-CONFIDENCE"} if told else set())
    if told:
        assert "confidence 0.72, class_pdf 0.7" in findings["PDF-CONFIDENCE"]


def test_a_confidence_in_percent_is_one_finding(inbox: Inbox) -> None:
    assert said(inbox, RIGHT, confidence=70).keys() == {"CONFIDENCE-RANGE"}
    assert said(inbox, {"Road": 0.4}, confidence=0.9).keys() == {"PDF-SUM"}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**64))
def test_no_rule_objects_to_what_is_known_to_agree(seed: int) -> None:
    rng = random.Random(seed)
    values = [metadata_of(rng) for _ in range(20)]
    members = [
        {"label": rng.choice(CLASSES[:3]), "index": place, "metadata": json.dumps(one)}
        for place, one in enumerate(values)
    ]
    row = ManifestRow("a.parquet", 0, "item", "mask.png", members)
    declaration = read_declaration(members)
    findings = judge(Evidence(row, declaration, Policy()))
    for segment in declaration.segments:
        segment.agrees = False
    assert judge(Evidence(row, declaration, Policy())) == findings
