"""Predictions that are not good enough are not published, and the words say why."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from segpipe.errors import EvaluationError
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from tests.evaluation.test_roots import GIVEN, PREDICTED, RUN, TRUE, TRUTH, land
from tests.fixtures.landing import LandingWriter
from tests.fixtures.scenes_of_pairs import Scene

PERFECT = Partition("perfect", "2026-01-06")
RootWith = Callable[..., Root]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with validated ground truth and predictions."""
    landing = LandingWriter(tmp_path_factory.mktemp("made") / "root")
    for partition, scenes in {TRUTH: TRUE, RUN: PREDICTED, PERFECT: TRUE}.items():
        land(landing, partition, scenes)
    _settings(landing, "min_items = 1")
    root = Root.open(landing.root)
    for partition in (TRUTH, RUN, PERFECT):
        root.materialize(partition)
    return landing.root


def _settings(landing: LandingWriter, requirements: str) -> None:
    text = f'[evaluation]\nground_truth = "labels"\ngate = true\n{requirements}\n'
    (landing.root / "segpipe.toml").write_text(text)


@pytest.fixture
def root_with(made: Path, landing: LandingWriter) -> RootWith:
    """Makes a copy of it with a gate and, but for an empty one, published ground truth."""

    def root_with(requirements: str, true: Mapping[str, Scene] = TRUE) -> Root:
        shutil.copytree(made, landing.root, dirs_exist_ok=True)
        _settings(landing, requirements)
        root = Root.open(landing.root)
        if true and true is not TRUE:
            land(landing, TRUTH, true)
            root.materialize(TRUTH)
        if true:
            root.publish(TRUTH)
        return root

    return root_with


def refusal(root: Root, partition: Partition) -> str:
    with pytest.raises(EvaluationError) as caught:
        root.publish(partition)
    assert root.catalog.predictions(partition.model_run).num_rows == 0
    return str(caught.value)


def test_a_gate_refuses_what_is_below_the_minimum_and_names_the_worst_classes(
    root_with: RootWith,
) -> None:
    root = root_with("min = {mIoU = 0.99, PQ = 0.0}")
    words = refusal(root, RUN)
    found = root.evaluate(RUN)
    rows = zip(found.classes["IoU"].to_pylist(), found.classes["label"].to_pylist(), strict=True)
    value, worst = min((value, label) for value, label in rows if value is not None)
    assert f"6 of 6 items evaluated: mIoU {found.headline['mIoU']:.4f} (at least 0.99), PQ" in words
    assert f"worst classes by IoU: '{worst}' {value:.3f}" in words
    assert "by PQ" not in words
    assert root.publish(PERFECT).outcomes["inserted"] == len(GIVEN)


def test_a_gate_refuses_what_falls_behind_another_model_run_on_items_of_both(
    root_with: RootWith,
) -> None:
    rule = 'no_regression = {{against = "perfect", metric = "PQ", tolerance = {}}}'
    root = root_with(rule.format(0.01))
    words = refusal(root, RUN)
    assert "that of 'perfect' 1.0000 on 6 items of both (tolerance 0.01)" in words
    assert "classes that fell most by PQ: " in words
    assert root.publish(PERFECT).outcomes["inserted"] == len(GIVEN)  # not compared with itself
    assert root_with(rule.format(1.0)).publish(RUN).outcomes["inserted"] == len(GIVEN)


def test_a_gate_without_enough_ground_truth_says_so_and_lets_nothing_through(
    root_with: RootWith,
) -> None:
    some = {id: TRUE[id] for id in [*TRUE][:2]}
    words = refusal(root_with("min_items = 3", some), RUN)
    assert "only 2 of 6 items could be evaluated, min_items is 3" in words
    assert "4 items are not evaluated, no ground truth" in words


def test_a_gate_without_any_ground_truth_lets_nothing_through_but_the_ground_truth(
    root_with: RootWith, landing: LandingWriter
) -> None:
    root = root_with('no_regression = {against = "v0"}\nmin = {mIoU = 0}', {})
    assert refusal(root, RUN).count("it cannot be judged: nothing could be evaluated") == 1
    land(landing, TRUTH, TRUE)
    root.materialize(TRUTH)
    assert root.publish(TRUTH).outcomes["inserted"] == len(GIVEN)
    assert "it cannot be compared with 'v0': nothing of the same items is" in refusal(root, RUN)
    _settings(landing, 'no_regression = {against = "perfet"}')
    words = refusal(Root.open(landing.root), RUN)
    assert "is validated of model run 'perfet'; did you mean 'perfect'?" in words
    _settings(landing, 'no_regression = {against = "later"}')
    land(landing, Partition("later", RUN.date), TRUE)
    root = Root.open(landing.root)
    assert "is validated of model run 'later': run its partitions first" in refusal(root, RUN)
    root.materialize("later", RUN.date)  # as advised
    assert "mIoU 0." in refusal(root, RUN)


def test_a_gate_beside_a_model_run_of_other_items_does_not_say_to_run_what_was_run(
    root_with: RootWith, landing: LandingWriter
) -> None:
    root = root_with('no_regression = {against = "others"}')
    first, second = (Partition("others", date) for date in (RUN.date, PERFECT.date))
    land(landing, first, {"elsewhere": TRUE["item 0"]})
    root.materialize(first)
    words = refusal(root, RUN)
    assert "none of its 1 validated days has them. Land its predictions of these items" in words
    land(landing, second, TRUE)  # as advised
    assert "of model run 'others': run its partitions first" in refusal(root, RUN)
    root.materialize(second)
    assert "that of 'others' 1.0000 on 6 items of both" in refusal(root, RUN)
