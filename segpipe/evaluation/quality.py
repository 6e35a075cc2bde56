"""Whether predictions are good enough: their numbers beside what ``[evaluation]`` requires."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

import pyarrow.compute as pc

from segpipe.errors import EvaluationError, NothingLandedError, TableError, listed
from segpipe.evaluation.days import EvaluatedDays
from segpipe.evaluation.requirements import NoRegression, Requirements
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.schemas import EVALUATED
from segpipe.evaluation.stored import once_more
from segpipe.evaluation.tally import Tally
from segpipe.names import shown

#: Names of the two questions, which are those of the checks in Dagster.
QUALITY, NO_REGRESSION = "quality", "no_regression"
# Classes named in a sentence.
_NAMED = 5
# Differences that only rounding makes.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Verdict:
    """The answer to one question.

    Attributes:
        passed: False, too, where there is not enough to judge by.
        words: the numbers, and the worst classes, for people.
        numbers: what was compared, by name.
        judged: False where there was nothing to judge by, or nothing to ask.
    """

    passed: bool
    words: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    judged: bool = True


@dataclass(frozen=True)
class Quality:
    """What came of judging a partition.

    Attributes:
        evaluation: None if nothing of it could be evaluated.
        problem: why not; empty if it was.
        verdicts: by ``QUALITY`` and ``NO_REGRESSION``.
    """

    evaluation: Evaluation | None
    problem: str
    verdicts: Mapping[str, Verdict]

    @property
    def missed(self) -> list[str]:
        """What is not good enough, a sentence each."""
        return list(dict.fromkeys(one.words for one in self.verdicts.values() if not one.passed))

    def check(self) -> None:
        """Raise an error unless all is good enough.

        Raises:
            EvaluationError: with the numbers and the worst classes.
        """
        if self.missed:
            raise EvaluationError(
                f"not good enough to be published: {'; '.join(self.missed)}. Publish it after a "
                "change of the predictions or of [evaluation], or take out gate = true"
            )


def judge_quality(
    model_run: str,
    evaluate: Callable[[], Evaluation],
    baseline: Callable[[NoRegression, Set[str]], EvaluatedDays],
    required: Requirements,
) -> Quality:
    """Judge a partition.

    Args:
        evaluate: evaluates it.
        baseline: evaluates what the model run to compare with has of the items with these ids.
    """
    compared = required.no_regression
    try:
        evaluation = evaluate()
    except EvaluationError as error:
        none = Verdict(False, f"it cannot be judged: {error}", judged=False)
        return Quality(None, str(error), {QUALITY: none, NO_REGRESSION: none})
    found = {QUALITY: _enough(evaluation, required)}
    if compared is None:
        found[NO_REGRESSION] = Verdict(True, "no_regression is not asked for", judged=False)
    elif compared.against == model_run:
        words = "it is of the model run that others are compared with"
        found[NO_REGRESSION] = Verdict(True, words, judged=False)
    else:
        ids, least = _evaluated(evaluation), required.min_items
        try:
            found[NO_REGRESSION] = once_more(
                lambda: _no_worse(evaluation, baseline(compared, ids), compared, least)
            )
        except (EvaluationError, NothingLandedError, TableError) as error:
            words = f"it cannot be compared with {shown(compared.against)}: {error}"
            found[NO_REGRESSION] = Verdict(False, words, judged=False)
    return Quality(evaluation, "", found)


def _evaluated(evaluation: Evaluation) -> set[str]:
    items = evaluation.items
    return {*items.filter(pc.equal(items["outcome"], EVALUATED))["reference_id"].to_pylist()}


def _enough(evaluation: Evaluation, required: Requirements) -> Verdict:
    """Whether enough items are evaluated, and every number is at least what ``min`` says."""
    items, of = evaluation.outcomes[EVALUATED], evaluation.items.num_rows
    if items < required.min_items:
        return Verdict(
            False,
            f"only {items} of {of} items could be evaluated, min_items is {required.min_items}. "
            + " ".join(evaluation.remarks),
            {"items_evaluated": items},
            judged=False,
        )
    told, numbers, failed = [], {"items_evaluated": float(items)}, []
    for name, least in required.least.items():
        value = evaluation.numbers[name]
        told.append(f"{name} {_number(value)} (at least {least:g})")
        if value is not None:
            numbers[name] = value
        if value is None or value < least - _ROUNDING:
            failed.append(name)
    words = f"{items} of {of} items evaluated" + (f": {', '.join(told)}" if told else "")
    return Verdict(not failed, words + _worst(evaluation, failed), numbers)


def _worst(evaluation: Evaluation, metrics: list[str]) -> str:
    """The worst classes by the numbers of a class that some metrics are made of."""
    words = ""
    for column in dict.fromkeys(_of_class(name) for name in metrics):
        rows = [(value, label) for label, value in _values(evaluation.tally, column).items()]
        if rows:
            named = [f"{shown(label)} {value:.3f}" for value, label in sorted(rows)[:_NAMED]]
            words += f"; worst classes by {column}: {', '.join(named)}"
    return words


def _no_worse(
    evaluation: Evaluation, before: EvaluatedDays, compared: NoRegression, min_items: int
) -> Verdict:
    """Whether a number is not lower than another model run's, on the items both have."""
    name, against = compared.metric, shown(compared.against)
    common = _evaluated(evaluation) & before.evaluated
    if len(common) < min_items:
        return Verdict(
            False,
            f"it cannot be compared with {against}: only {len(common)} items of both could be "
            f"evaluated, min_items is {min_items}",
            {"items_compared": len(common)},
            judged=False,
        )
    own, other = evaluation.of_items(sorted(common)).tally, before.tally(common)
    value, was = own.numbers[name], other.numbers[name]
    words = (
        f"{name} {_number(value)}, that of {against} {_number(was)} on {len(common)} items of both "
        f"(tolerance {compared.tolerance:g})"
    )
    if value is None or was is None:
        return Verdict(False, f"{words}: one is undefined", judged=False)
    numbers = {"items_compared": float(len(common)), name: value, f"{name}_of_baseline": was}
    passed = value >= was - compared.tolerance - _ROUNDING
    if not passed:
        words += _fallen(own, other, _of_class(name))
    return Verdict(passed, words, numbers)


def _fallen(own: Tally, other: Tally, column: str) -> str:
    before = _values(other, column)
    fallen = sorted(
        (value - before[label], label)
        for label, value in _values(own, column).items()
        if label in before and value < before[label]
    )
    named = [
        f"{shown(label)} {before[label]:.3f} to {before[label] + change:.3f}"
        for change, label in fallen[:_NAMED]
    ]
    return f"; classes that fell most by {column}: {listed(named)}" if named else ""


def _values(tally: Tally, column: str) -> dict[str, float]:
    """Label -> a number of the class, where it is defined."""
    classes = tally.classes
    pairs = zip(classes["label"].to_pylist(), classes[column].to_pylist(), strict=True)
    return {label: value for label, value in pairs if value is not None}


def _of_class(metric: str) -> str:
    """The number of a class that a metric is made of."""
    special = {"mDice": "Dice", "mean_accuracy": "recall", "pixel_accuracy": "recall"}
    return special.get(metric) or next(
        (
            name
            for name in ("boundary_IoU", "boundary_PQ", "PQ", "SQ", "RQ")
            if metric[: len(name)] == name
        ),
        "IoU",
    )


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
