"""Two model runs beside the same ground truth, and beside each other."""

from __future__ import annotations

import tracemalloc
from time import process_time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import EvaluationError, SettingsError
from segpipe.evaluation.class_counts import ClassCounts, summaries
from segpipe.evaluation.comparison import Comparison
from segpipe.evaluation.numbers import class_columns
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.schemas import ITEM_CLASSES, ITEM_CONFUSION, ITEMS, SEGMENTS
from segpipe.evaluation.scores import HEADLINE
from segpipe.tables.writing import table_of
from tests.fixtures.scenes_of_pairs import evaluated, pairs, scene
from tests.fixtures.thoroughness import at_most

SEEDS = st.integers(0, 100_000)
few = settings(deadline=None, max_examples=at_most(3, 100))


def two(seed: int, count: int = 6) -> tuple[Evaluation, Evaluation]:
    """Two predictions of each item, evaluated."""
    random = np.random.default_rng(seed)
    given = pairs(seed, count)
    others = [(truth, scene(random, truth, void=True, crowds=False)) for truth, _ in given]
    return evaluated(given), evaluated(others)


def compared(one: Evaluation, other: Evaluation, **how: int | str) -> Comparison:
    return Comparison.of(("old", one), ("new", other), **{"resamples": 60, **how})


@few
@given(SEEDS)
def test_beside_itself_all_is_tied_and_no_number_differs(seed: int) -> None:
    one, _ = two(seed)
    found = compared(one, one)
    for row in found.metrics.to_pylist():
        assert {row["difference"], row["low"], row["high"]} <= {0.0, None}, row["metric"]
        assert (row["won"], row["lost"], row["tied"] + row["undefined"]) == (0, 0, 6)
    assert found.changes.num_rows == found.moved.num_rows == found.one_sided.num_rows == 0


@few
@given(SEEDS)
def test_swapping_the_model_runs_turns_every_difference(seed: int) -> None:
    one, other = two(seed)
    there, back = compared(one, other), compared(other, one)
    for row, turned in zip(there.metrics.to_pylist(), back.metrics.to_pylist(), strict=True):
        assert (row["a"], row["b"], row["won"]) == (turned["b"], turned["a"], turned["lost"])
        for name, of in (("difference", "difference"), ("low", "high"), ("high", "low")):
            value = None if row[name] is None else pytest.approx(-row[name], abs=1e-12)
            assert turned[of] == value
    assert there.items["reference_id"].equals(back.items["reference_id"])
    assert there.classes.select(["label", "moved"]).equals(back.classes.select(["label", "moved"]))


@few
@given(SEEDS, st.integers(2, 5))
def test_of_items_that_are_all_alike_every_interval_is_the_difference(seed: int, n: int) -> None:
    ((truth, before),) = pairs(seed)
    after = scene(np.random.default_rng(seed), truth, void=True, crowds=False)
    found = compared(evaluated([(truth, before)] * n), evaluated([(truth, after)] * n))
    for row in found.metrics.to_pylist():
        if row["difference"] is not None:
            bounds = (row["low"], row["high"])
            assert bounds == pytest.approx((row["difference"],) * 2, abs=1e-12), row["metric"]


def test_the_seed_decides_the_intervals_and_not_the_order_of_the_items() -> None:
    one, other = two(1)
    found = compared(one, other, seed=5)
    turned = one.of_items([f"item {n}" for n in range(6)])
    turned = Evaluation.together([turned.of_items([f"item {n}"]) for n in (3, 1, 0, 5, 4, 2)])
    assert compared(turned, other, seed=5).metrics.equals(found.metrics)
    assert not compared(one, other, seed=6).metrics["low"].equals(found.metrics["low"])


def test_an_interval_has_the_numbers_of_sets_in_which_items_are_repeated() -> None:
    """The bootstrap, in plain words: draw items, evaluate the set of them, and subtract."""
    sides = two(3, 4)
    found = compared(*sides, seed=9, resamples=40)
    random = np.random.default_rng(9)
    expected = []
    for drawn in random.integers(4, size=(40, 4)):
        numbers = [
            Evaluation.together([one.of_items([f"item {n}"]) for n in drawn]).numbers
            for one in sides
        ]
        expected.append([(numbers[1][n] or 0) - (numbers[0][n] or 0) for n in ("mIoU", "PQ")])
    for name, values in zip(("mIoU", "PQ"), np.array(expected).T, strict=True):
        (row,) = (one for one in found.metrics.to_pylist() if one["metric"] == name)
        bounds = np.quantile(values, (0.025, 0.975))
        assert (row["low"], row["high"]) == pytest.approx(tuple(bounds), abs=1e-12)


def test_items_of_one_model_run_are_told_and_change_no_number() -> None:
    one, other = two(7)
    less = other.of_items([f"item {n}" for n in (0, 1, 2, 3)])
    found = compared(one, less)
    assert found.items.num_rows == 4
    assert found.metrics.equals(
        compared(one.of_items([f"item {n}" for n in range(4)]), less).metrics
    )
    assert found.one_sided.to_pylist() == [
        {"reference_id": f"item {n}", "model_run": "old", "reason": "no row"} for n in (4, 5)
    ]
    assert "2 items only old has: 'item 4' (new: no row); 'item 5' (new: no row)" in repr(found)
    with pytest.raises(EvaluationError, match="no item with ground truth has a prediction of both"):
        compared(one.of_items(["item 5"]), less)
    with pytest.raises(SettingsError, match="did you mean 'PQ_stuff'"):
        compared(one, other, metric="PQ_stuf")


def of_random_counts(seed: int, items: int, classes: int) -> Evaluation:
    """The tables of an evaluation of many items, 10 classes in each."""
    random = np.random.default_rng(seed)
    per_item = 10
    size = items * per_item
    item = np.repeat(np.arange(items), per_item)
    label = np.argsort(random.random((items, classes)), 1)[:, :per_item].ravel()
    true = random.integers(1, 50_000, size)
    counts = ClassCounts.of_columns(
        {
            "true_pixels": true,
            "predicted_pixels": random.integers(1, 50_000, size),
            "correct_pixels": true // 2,
            "tp": random.integers(0, 5, size),
            "fp": random.integers(0, 5, size),
            "fn": random.integers(0, 5, size),
            "iou_sum": random.random(size),
            "true_things": random.integers(0, 2, size),
        },
        size,
    )
    ids = pa.array([f"item {n:06d}" for n in range(items)])
    names = pa.array([f"class {n}" for n in range(classes)])
    numbers = summaries(counts, item, items)
    nothing = {"reason": [None] * items, "height": [1] * items, "width": [1] * items}
    zeros = dict.fromkeys(("valid_pixels", "correct_pixels", "TP", "FP", "FN"), [1] * items)
    fingerprints = dict.fromkeys(("truth_fingerprint", "fingerprint"), ["f"] * items)
    return Evaluation(
        items=table_of(
            {"reference_id": ids, "outcome": ["evaluated"] * items, **nothing, **zeros,
             **{name: pa.array(values) for name, values in numbers.items()}, **fingerprints},
            ITEMS,
        ),
        item_classes=table_of(
            {"reference_id": ids.take(pa.array(item)), "label": names.take(pa.array(label)),
             **class_columns(counts), "undecided": [False] * size},
            ITEM_CLASSES,
        ),
        item_confusion=ITEM_CONFUSION.empty_table(),
        segments=SEGMENTS.empty_table(),
    )  # fmt: skip


@pytest.mark.slow
def test_a_thousand_resamples_of_ten_thousand_items_take_seconds_and_little_memory() -> None:
    sides = [of_random_counts(seed, 10_000, 19) for seed in (0, 1)]
    start = process_time()
    found = Comparison.of(("old", sides[0]), ("new", sides[1]))
    took = process_time() - start
    assert found.metrics["metric"].to_pylist() == list(HEADLINE)
    assert took < 8  # 2 here, with two slow cores
    tracemalloc.start()
    Comparison.of(("old", sides[0]), ("new", sides[1]), resamples=210)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6
