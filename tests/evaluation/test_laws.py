"""What has to hold for any ground truth and any prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.evaluation.result import Evaluation
from segpipe.masks.fast_path import disabled, load_fast_path
from tests.fixtures.scenes_of_pairs import VOID, Scene, evaluated, pairs
from tests.fixtures.thoroughness import at_most

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
SEEDS = st.integers(0, 100_000)
few = settings(deadline=None, max_examples=at_most(6, 300))
COUNTS = ("true_pixels", "predicted_pixels", "correct_pixels", "TP", "FP", "FN")


@pytest.fixture(autouse=True, scope="module")
def fast_path() -> Iterator[None]:
    load_fast_path()
    yield


def classes(result: Evaluation) -> dict[str, dict[str, Any]]:
    return {one["label"]: one for one in result.classes.to_pylist()}


def same(one: Evaluation, other: Evaluation) -> None:
    """Everything that is counted of the set is the same; sums of floats within rounding."""
    assert one.confusion.to_pylist() == other.confusion.to_pylist()
    first, second = classes(one), classes(other)
    assert first.keys() == second.keys()
    for label, counts in first.items():
        expected = {
            name: pytest.approx(value, abs=1e-12) if isinstance(value, float) else value
            for name, value in second[label].items()
            if not name.endswith(("_things", "_stuff"))
        }
        assert {name: counts[name] for name in expected} == expected, label


@few
@given(SEEDS)
def test_a_scene_beside_itself_is_perfect(seed: int) -> None:
    ((truth, _),) = pairs(seed, empty=True)
    result = evaluated([(truth, truth)], boundary=True)
    undefined = [name for name, value in result.numbers.items() if value is None]
    assert {value for value in result.numbers.values() if value is not None} <= {1.0}
    assert not {"mIoU", "boundary_IoU"} & set(undefined)
    assert {one["outcome"] for one in result.segments.to_pylist()} <= {"TP", "ignored"}


@few
@given(SEEDS)
def test_swapping_ground_truth_and_prediction_swaps_what_is_missed_and_what_is_wrong(
    seed: int,
) -> None:
    given = pairs(seed, void=False, crowds=False)
    one = evaluated(given, boundary=True)
    other = evaluated([(b, a) for a, b in given], boundary=True)
    turned = {
        (row["predicted_label"], row["label"]): row["pixels"] for row in other.confusion.to_pylist()
    }
    assert turned == {
        (row["label"], row["predicted_label"]): row["pixels"] for row in one.confusion.to_pylist()
    }
    swapped = classes(other)
    for label, counts in classes(one).items():
        back = swapped[label]
        assert (counts["TP"], counts["FP"], counts["FN"]) == (back["TP"], back["FN"], back["FP"])
        assert counts["PQ"] == pytest.approx(back["PQ"], abs=1e-12)
        assert counts["boundary_IoU"] == back["boundary_IoU"]


@few
@given(SEEDS, st.integers(1, 5))
def test_the_parts_of_a_set_add_up_to_the_whole(seed: int, size: int) -> None:
    given = pairs(seed, 6)
    parts = [evaluated(given[first : first + size], first) for first in range(0, 6, size)]
    whole = evaluated(given)
    same(Evaluation.together(parts), whole)
    assert Evaluation.together(parts).items.equals(whole.items)


@few
@given(SEEDS)
def test_other_numbers_of_the_segments_change_nothing(seed: int) -> None:
    given = pairs(seed)
    renumbered = [(a.renumbered(seed), b.renumbered(seed + 1)) for a, b in given]
    same(evaluated(renumbered, boundary=True), evaluated(given, boundary=True))


@few
@given(SEEDS)
def test_what_is_predicted_on_void_changes_no_class_map_and_no_match(seed: int) -> None:
    ((truth, predicted),) = pairs(seed)
    pixels = predicted.pixels.copy()
    void = truth.pixels == VOID
    present = np.unique(pixels)
    pixels[void] = np.random.default_rng(seed).choice(present, int(void.sum()))
    other = Scene(pixels, predicted.segments)
    one, two = evaluated([(truth, predicted)]), evaluated([(truth, other)])
    assert one.confusion.equals(two.confusion)
    for name in ("mIoU", "fwIoU", "pixel_accuracy", "mDice", "mean_accuracy"):
        assert one.headline[name] == two.headline[name]
    before, after = classes(one), classes(two)
    for label in before.keys() & after.keys():
        for name in ("TP", "FN", "IoU_sum"):
            assert before[label][name] == after[label][name]


@few
@given(SEEDS)
def test_stuff_that_is_merged_before_is_evaluated_the_same(seed: int) -> None:
    given = pairs(seed)
    merged = [(a.merged_stuff(), b.merged_stuff()) for a, b in given]
    same(evaluated(merged, boundary=True), evaluated(given, boundary=True))


@few
@given(SEEDS)
def test_without_the_compiled_kernel_every_table_is_the_same(seed: int) -> None:
    given = pairs(seed, 2)
    fast = evaluated(given, boundary=True)
    with disabled():
        plain = evaluated(given, boundary=True)
    for name in ("items", "item_classes", "item_confusion", "segments", "confusion", "classes"):
        assert getattr(fast, name).equals(getattr(plain, name)), name
