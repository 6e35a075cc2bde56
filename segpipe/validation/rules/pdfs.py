"""Rules about class PDFs: what a Segment's metadata says of each class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from segpipe.errors import listed, shortened
from segpipe.names import Looks, shown
from segpipe.predictions.class_pdf import PdfReading, Unread
from segpipe.predictions.declarations import DeclaredSegment
from segpipe.validation.rules.catalogue import CATALOGUE, Found, Severity, rule
from segpipe.validation.rules.evidence import Evidence
from segpipe.validation.rules.labels import BACKGROUND, is_no_class

# How far a sum may be from 1, and a confidence from the probability of its label.
_SUM_TOLERANCE, _CONFIDENCE_TOLERANCE = 1e-3, 0.01
# Classes of a PDF that are compared with all of the taxonomy for the one that was meant.
_MOST_NEAREST = 10
# Sums of percentages, and of exponentials of log-probabilities, within rounding.
_PERCENT, _ROUNDING = 100.0, 0.02


@rule(
    "PDF-RANGE",
    Severity.REJECT,
    meaning="A number of a class PDF is no probability: below 0, above 1 or NaN. Of what is no PDF "
    "at all it warns: that stays in the metadata, and the columns of class PDFs are null.",
    remedy="Write probabilities from 0 to 1 as a mapping of class to number: divide percentages by "
    "100, take the softmax of logits and the exponential of log-probabilities.",
    example="class_pdf = {Road: 4.1, Car: -2.3}: logits",
    requires="unusual_pdfs",
)
def pdf_range(evidence: Evidence) -> Iterator[Found]:
    wrong, odd, remedy = [], [], ""
    for segment, reading in evidence.unusual_pdfs:
        if reading.unread is Unread.RANGE:
            said, advice = _scale(reading.numbers or {})
            wrong.append(f"Segment {segment.name}: {reading.key}: {reading.words}{said}")
            remedy = remedy or advice
        elif reading.unread is Unread.FORM:
            odd.append(f"Segment {segment.name}: {reading.key} is no class PDF: {reading.words}")
    if wrong:
        yield Found(
            f"{listed(wrong, most=3)}; expected probabilities from 0 to 1",
            found=wrong[0],
            expected="0..1",
            remedy=remedy,
        )
    if odd:
        yield Found(
            f"{listed(odd, most=3)}; expected a mapping of class to probability. It stays in the "
            "metadata as it is, without entropy and margin",
            found=odd[0],
            expected="{class: probability}",
            severity=Severity.WARN,
            remedy="Write a mapping of each class to one number, every class once; or name the key "
            "otherwise, if it is no class PDF.",
        )


def _scale(numbers: Mapping[str, float]) -> tuple[str, str]:
    """What numbers that are no probabilities look like, and what to do then."""
    values = list(numbers.values())
    if not all(map(math.isfinite, values)):
        return (
            "",
            "Find out where the model's output is not finite; write no PDF for such a Segment.",
        )
    total = math.fsum(values)
    if min(values) >= 0:
        if abs(total / _PERCENT - 1) <= _ROUNDING:
            return f"; they sum to {total:.6g}: percent?", "Divide the numbers by 100."
        if max(values) - 1 < _SUM_TOLERANCE:
            return "; rounding?", "Cut the numbers off at 1, as min(1.0, number)."
        return (
            f"; they sum to {total:.6g}: logits, counts or percent?",
            "Take the softmax of logits; divide counts by their sum, and percentages by 100.",
        )
    if max(values) <= 0 and abs(math.fsum(map(math.exp, values)) - 1) <= _ROUNDING:
        return "; log-probabilities?", "Take the exponential of each number."
    if min(values) > -_SUM_TOLERANCE and max(values) <= 1:
        return "; rounding?", "Cut the numbers off at 0, as max(0.0, number)."
    return "; logits?", "Take the softmax of the logits over all classes."


@rule(
    "PDF-SUM",
    Severity.WARN,
    meaning="The probabilities of a class PDF do not sum to 1, within 0.001.",
    remedy="Write the probabilities of all classes, or divide them by their sum.",
    example="class_pdf = {Road: 0.7, Car: 0.2}: sum 0.9",
    requires="unusual_pdfs",
)
def pdf_sum(evidence: Evidence) -> Iterator[Found]:
    wrong, remedy = [], ""
    # Of the same numbers that rule tells more. It does not explain the sums of other Segments.
    in_force = evidence.policy.severity_of(CATALOGUE["PDF-RANGE"]) is not Severity.OFF
    for segment, reading in evidence.unusual_pdfs:
        if reading.numbers is not None and in_force:
            continue
        total = reading.total
        if abs(total - 1) > _SUM_TOLERANCE:
            said, advice = _sum(reading)
            wrong.append(f"Segment {segment.name}: {reading.key} sums to {total:.6g}{said}")
            remedy = remedy or advice
    if wrong:
        yield Found(
            f"{listed(wrong, most=3)}; expected 1, within {_SUM_TOLERANCE}",
            found=wrong[0],
            expected="1",
            remedy=remedy,
        )


def _sum(reading: PdfReading) -> tuple[str, str]:
    if reading.numbers is not None:
        return _scale(reading.numbers)
    if not reading.total:
        return (
            ", which is no distribution and has no entropy: was nothing predicted?",
            "Leave the class PDF of such a Segment out.",
        )
    if abs(reading.total * _PERCENT - 1) <= _ROUNDING:
        return ": divided by 100 twice?", "Multiply the numbers by 100."
    if reading.total < 1:
        return (
            ": are classes left out, as where only the best are kept?",
            "Write all classes, or put what is left into one more class; or divide by the sum.",
        )
    return (
        ": a score of its own for each class (sigmoid)?",
        "A class PDF is one distribution over all classes: take the softmax, or divide by the sum.",
    )


@rule(
    "PDF-LABEL-UNKNOWN",
    Severity.WARN,
    meaning="A class PDF names classes that are not in the taxonomy, or is a list whose numbers "
    "cannot be assigned to the classes of one.",
    remedy="Correct the names, or add them to [policy.taxonomy]. Lists are read in its order and "
    "need one number for each of its classes; a mapping needs no taxonomy.",
    example="class_pdf = {road: 0.7, Car: 0.3} where the taxonomy has 'Road'",
    requires="has_pdfs",
)
def pdf_label_unknown(evidence: Evidence) -> Iterator[Found]:
    lists = [
        f"Segment {segment.name}: {reading.key}: {reading.words}"
        for segment, reading in evidence.unusual_pdfs
        if reading.unread is Unread.CLASSES
    ]
    if lists:
        yield Found(
            f"{listed(lists, most=3)}: which class each is for is not known. Write a mapping of "
            "class to probability, or let the taxonomy list the classes in that order; until then "
            "it stays in the metadata as it is, without entropy and margin",
            found=lists[0],
            expected="{class: probability}, or a list as long as the taxonomy",
        )
    taxonomy = evidence.policy.taxonomy
    if not taxonomy:
        return
    allowed = {*taxonomy, *evidence.policy.ignore_values.values(), BACKGROUND}
    unknown = sorted(set().union(*evidence.pdf_classes) - allowed)
    if unknown:
        looks = Looks(taxonomy)
        first = unknown[:_MOST_NEAREST]
        near = [looks.nearest(name[:200]) for name in first]
        described = [
            shown(name) if meant is None else f"{shown(name)} ({shown(meant)}?)"
            for name, meant in zip(first, near, strict=True)
        ]
        more = unknown[_MOST_NEAREST:]
        yield Found(
            f"classes of PDFs that are not in the taxonomy: {listed([*described, *more])}",
            found=listed([shown(name) for name in first] + more),
            expected=listed(sorted(taxonomy)),
        )


@rule(
    "PDF-ARGMAX",
    Severity.WARN,
    meaning="The class with the highest probability is not the Segment's label. Ignored Segments "
    "and the background that importers write are not compared.",
    remedy="Check that labels and PDFs have the same order of classes; if they have, the label was "
    "decided by something else than the PDF, and the warning can be switched off.",
    example="label 'Car' with class_pdf = {Road: 0.7, Car: 0.3}",
    yields_to=("PDF-LABEL-UNKNOWN",),
    requires="unusual_pdfs",
)
def pdf_argmax(evidence: Evidence) -> Iterator[Found]:
    wrong = []
    for segment, reading in _compared(evidence):
        pdf = reading.pdf
        if pdf is None or not reading.total:
            continue
        own, highest = pdf.of(segment.label), max(pdf.probabilities)
        if own is None or own < highest:
            name = pdf.classes[pdf.probabilities.index(highest)]
            has = "is not in it" if own is None else f"has {own:.4g}"
            top = shortened(shown(name), 120)
            wrong.append(
                f"Segment {segment.name}: {top} is highest with {highest:.4g}, its label {has}"
            )
    if wrong:
        yield Found(
            f"the highest class is not the label: {listed(wrong, most=3)}",
            found=wrong[0],
            expected="the label",
        )


@rule(
    "PDF-CONFIDENCE",
    Severity.WARN,
    meaning="A Segment's confidence differs from its PDF's probability of its label by more than "
    "0.01.",
    remedy="Write both from the same output of the model, or leave the confidence out; if they "
    "measure different things, switch the warning off or name one of them otherwise.",
    example="confidence = 0.9 with class_pdf = {Car: 0.6, Road: 0.4} and label 'Car'",
    yields_to=("CONFIDENCE-RANGE", "PDF-SUM", "PDF-ARGMAX"),
    requires="unusual_pdfs",
)
def pdf_confidence(evidence: Evidence) -> Iterator[Found]:
    wrong = []
    for segment, reading in _compared(evidence):
        own = None if reading.pdf is None else reading.pdf.of(segment.label)
        if own is None or segment.confidence is None:
            continue
        # Rounding of decimals must not decide: 0.71 and 0.7 differ by 0.01000000000000001.
        if abs(segment.confidence - own) > _CONFIDENCE_TOLERANCE + 1e-9:
            numbers = f"confidence {segment.confidence:.4g}, {reading.key} {own:.4g}"
            wrong.append(f"Segment {segment.name}: {numbers}")
    if wrong:
        yield Found(
            f"confidence and class PDF differ: {listed(wrong)}",
            found=wrong[0],
            expected=f"equal, within {_CONFIDENCE_TOLERANCE}",
        )


def _compared(evidence: Evidence) -> Iterator[tuple[DeclaredSegment, PdfReading]]:
    """Segments whose label is a class, with their PDFs."""
    ignored = evidence.policy.ignore_values.values()
    for segment, reading in evidence.unusual_pdfs:
        if segment.label not in ignored and not is_no_class(segment):
            yield segment, reading
