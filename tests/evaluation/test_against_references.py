"""Every number of a set, an item, a class or a segment is that of the reference implementations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from segpipe.evaluation.comparison import Comparison
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.summaries import cityscapes_json
from tests.fixtures.references import categories, evaluated, references, runs

RUNS = runs()
NO_CITYSCAPES = pytest.param(
    "cityscapes",
    "",
    marks=pytest.mark.skip(reason="the research data are not beside this checkout"),
)

CLASS_MAPS = ("mIoU", "mDice", "mean_accuracy", "pixel_accuracy", "fwIoU")
OF_CLASS = ("IoU", "Dice", "recall", "precision")
PANOPTIC = {"tp": "TP", "fp": "FP", "fn": "FN", "iou_sum": "IoU_sum", "pq": "PQ", "sq": "SQ",
            "rq": "RQ"}  # fmt: skip
# panopticapi keeps one crowd of a class, so that a car on two crowds is a false positive to it.
SEES_ONE_CROWD = ("tiny_panoptic", "two_crowds_one_class")


def approx(value: float | None, within: float = 1e-9) -> Any:
    return None if value is None else pytest.approx(value, abs=within)


class Found:
    """What segpipe found of an item or a set, in the words of the references."""

    def __init__(
        self,
        numbers: Mapping[str, Any],
        classes: list[dict[str, Any]],
        confusion: list[dict[str, Any]],
        ids: Mapping[str, str],
    ) -> None:
        self.numbers = numbers
        self.classes = {ids[one["label"]]: one for one in classes}
        self.confusion = {
            (ids[one["label"]], ids.get(one["predicted_label"])): one["pixels"] for one in confusion
        }


def rows_by_item(table: Any) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        rows.setdefault(row["reference_id"], []).append(row)
    return rows


def compared(name: str, run: str, result: Evaluation) -> Iterator[tuple[str, Found, Any]]:
    """The set and its items: their name, what was found, and what the references say."""
    ids, said = categories(name), references()[name]["runs"][run]
    yield (
        "the set",
        Found(result.numbers, result.classes.to_pylist(), result.confusion.to_pylist(), ids),
        said["set"],
    )
    classes, confusions = rows_by_item(result.item_classes), rows_by_item(result.item_confusion)
    items = {one["reference_id"]: one for one in result.items.to_pylist()}
    assert items.keys() == said["items"].keys()
    for id, reference in said["items"].items():
        found = Found(items[id], classes[id], confusions.get(id, []), ids)
        yield id, found, reference


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_class_maps_are_those_of_scikit_learn_and_mmsegmentation(name: str, run: str) -> None:
    for id, found, said in compared(name, run, evaluated(name, run)):
        reference, others = said["scikit_learn"], said["mmseg"]
        confusion = {
            (str(one), None if other is None else str(other)): pixels
            for one, other, pixels in reference.get("confusion", ())
        }
        assert found.confusion == confusion, id
        assert sum(found.confusion.values()) == reference["valid_pixels"], id
        for number in CLASS_MAPS:
            assert found.numbers[number] == approx(reference.get(number)), (id, number)
        for number in OF_CLASS:
            of_classes = {
                c: one[number] for c, one in found.classes.items() if one["IoU"] is not None
            }
            expected = {c: approx(value) for c, value in reference.get(number, {}).items()}
            assert of_classes == expected, (id, number)
        for number, other in (("mIoU", "mIoU"), ("mDice", "mDice"), ("pixel_accuracy", "aAcc")):
            assert found.numbers[number] == approx(others[other], 1e-6), (id, other)


@pytest.mark.parametrize("merge_stuff", [True, False])
@pytest.mark.parametrize(("name", "run"), RUNS)
def test_panoptic_quality_is_that_of_panopticapi(name: str, run: str, merge_stuff: bool) -> None:
    key = "panopticapi_merged" if merge_stuff else "panopticapi"
    result = evaluated(name, run, merge_stuff=merge_stuff)
    segments = rows_by_item(result.segments)
    for id, found, said in compared(name, run, result):
        if key not in said or (not merge_stuff and (name, id) == SEES_ONE_CROWD):
            continue
        if not merge_stuff and name == SEES_ONE_CROWD[0] and id == "the set":
            assert found.classes["3"]["FP"] == said[key]["per_class"]["3"]["fp"] - 1
            continue
        for of, suffix in (("all", ""), ("things", "_things"), ("stuff", "_stuff")):
            for number in ("pq", "sq", "rq"):
                own = found.numbers[number.upper() + suffix]
                assert own == approx(said[key][of][number]), (id, of, number)
        counted = {c: one for c, one in found.classes.items() if one["TP"] + one["FP"] + one["FN"]}
        assert counted.keys() == said[key]["per_class"].keys(), id
        for c, one in counted.items():
            for number, own in PANOPTIC.items():
                assert one[own] == approx(said[key]["per_class"][c][number]), (id, c, number)
        if id != "the set":
            check_segments(id, segments[id], said[key])


def check_segments(id: str, rows: list[dict[str, Any]], said: Mapping[str, Any]) -> None:
    """Matched, missed, wrong and ignored segments are those that the reference named."""

    def indexes(side: str, outcome: str) -> list[int]:
        return sorted(
            one["index"] for one in rows if (one["side"], one["outcome"]) == (side, outcome)
        )

    matched = {
        (one["index"], one["matched_index"]): [one["IoU"], one["mask_IoU"]]
        for one in rows
        if one["side"] == "truth" and one["outcome"] == "TP"
    }
    expected = {(g, p): [approx(iou) for iou in ious] for g, p, *ious in said["matched"]}
    assert matched.keys() == expected.keys(), id
    for pair, ious in expected.items():
        assert matched[pair][: len(ious)] == ious, (id, pair)
    assert indexes("truth", "FN") == sorted(said["fn_segments"]), id
    assert indexes("prediction", "FP") == sorted(said["fp_segments"]), id
    if "ignored_predictions" in said:
        assert indexes("prediction", "ignored") == sorted(said["ignored_predictions"]), id


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_boundary_iou_is_that_of_boundary_iou_api(name: str, run: str) -> None:
    for id, found, said in compared(name, run, evaluated(name, run)):
        boundaries = {
            c: [one["boundary_intersection"], one["boundary_union"], approx(one["boundary_IoU"])]
            for c, one in found.classes.items()
            if one["boundary_union"]
        }
        assert boundaries == said["boundary_iou_per_class"], id
    headline = references()[name]["runs"][run]["headline"]
    assert evaluated(name, run).headline["boundary_IoU"] == approx(headline["mean_boundary_IoU"])


def mixed_up_by_boundary_iou_api(result: Evaluation, name: str) -> set[str]:
    """Items with a segment whose id is the largest category's plus 1.

    With that number boundary-iou-api marks the insides of the segments it has been through
    (``BOUNDARY_ID`` of its ``pq_compute_single_core``), and takes them for that segment's when it
    comes to it. In the references a segment's id is its index plus 1.
    """
    largest = max(map(int, categories(name).values()))
    rows = result.segments.select(["reference_id", "index"]).to_pylist()
    return {row["reference_id"] for row in rows if row["index"] == largest}


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_panoptic_quality_by_boundaries_is_that_of_boundary_iou_api(name: str, run: str) -> None:
    result = evaluated(name, run, merge_stuff=False)
    mixed_up = mixed_up_by_boundary_iou_api(result, name)
    for id, found, said in compared(name, run, result):
        if "boundary_pq" not in said or id in ("the set", SEES_ONE_CROWD[1]):
            continue
        for c, reference in said["boundary_pq"]["per_class"].items():
            one = found.classes[c]
            counts = [one[f"boundary_{of}"] for of in ("TP", "FP", "FN", "IoU_sum", "PQ")]
            expected = [approx(reference[of]) for of in ("tp", "fp", "fn", "iou_sum", "pq")]
            if id in mixed_up and counts != expected:
                assert reference["tp"] < counts[0] <= reference["tp"] + 2
            else:
                assert counts == expected, (id, c)


@pytest.mark.parametrize(("name", "run"), [one for one in RUNS if one.marks] or [NO_CITYSCAPES])
def test_other_references_agree_where_they_count_alike(name: str, run: str) -> None:
    ids = categories(name)
    for id, found, said in compared(name, run, evaluated(name, run)):
        floats = said["torchmetrics"]
        for number, other in (("mIoU", "jaccard_macro"), ("fwIoU", "jaccard_weighted"),
                              ("pixel_accuracy", "accuracy_micro")):  # fmt: skip
            assert found.numbers[number] == approx(floats.get(other), 1e-6), (id, other)
        bdd100k = said["bdd100k_seg"]
        assert found.numbers["fwIoU"] == approx(bdd100k["fIoU"]), id
        assert found.numbers["pixel_accuracy"] == approx(bdd100k["pAcc"]), id
        for c, value in bdd100k["IoU"].items():  # there, 0 where nothing is of the class
            assert (found.classes.get(c, {}).get("IoU") or 0) == approx(value), (id, c)
        for label, value in said.get("cityscapesScripts", {"IoU": {}})["IoU"].items():
            assert found.classes[ids[label]]["IoU"] == approx(value), (id, label)
        of_deeplab = said.get("deeplab2_pq_counts") or said.get("deeplab2_pq", {}).get("per_class")
        for c, (tp, fp, fn, iou_sum) in (of_deeplab or {}).items():
            one = found.classes[c]
            assert (one["TP"], one["FN"]) == (tp, fn), (id, c)
            assert one["FP"] <= fp, (id, c)  # which forgives what is on void, not on a crowd
            assert one["IoU_sum"] == approx(iou_sum, 1e-5), (id, c)


def comparisons() -> list[Any]:
    """Sets with two runs, as parameters: name, ``B minus A``."""
    return [
        pytest.param(name, words, marks=pytest.mark.realdata)
        for name, one in references().items()
        for words in one.get("comparison_by_subtraction", ())
    ]


@pytest.mark.parametrize(("name", "words"), comparisons() or [NO_CITYSCAPES])
def test_the_differences_of_two_runs_are_those_of_the_references(name: str, words: str) -> None:
    b, a = words.split(" minus ")
    said = references()[name]["comparison_by_subtraction"][words]

    def beside(metric: str, *, merge_stuff: bool = True) -> Comparison:
        first, second = (evaluated(name, run, merge_stuff=merge_stuff) for run in (a, b))
        return Comparison.of((a, first), (b, second), metric=metric, resamples=10)

    found = beside("mIoU")
    metrics = {one["metric"]: one for one in found.metrics.to_pylist()}
    named = {**dict(zip(CLASS_MAPS, CLASS_MAPS, strict=True)), "boundary_IoU": "mean_boundary_IoU"}
    if "PQ_all_merged" in said["delta_headline"]:
        named |= {"PQ": "PQ_all_merged"}
        named |= {one: f"{one}_merged" for one in ("PQ_things", "PQ_stuff")}
    for number, there in named.items():
        assert metrics[number]["difference"] == approx(said["delta_headline"][there]), number
    counts = [metrics["mIoU"][one] for one in ("won", "tied", "lost")]
    assert counts == said["items_better_equal_worse_by_mIoU"]
    for metric, merge_stuff in (("mIoU", True), ("PQ", False)):
        rows = beside(metric, merge_stuff=merge_stuff).items.to_pylist()
        differences = {one["reference_id"]: one["difference"] for one in rows}
        for id, of_item in said["delta_per_item"].items():
            if metric in of_item:
                assert differences[id] == approx(of_item[metric]), (id, metric)


@pytest.mark.parametrize(("name", "run"), runs("cityscapes") or [NO_CITYSCAPES])
def test_the_cityscapes_summary_is_that_of_cityscapesscripts(name: str, run: str) -> None:
    told = json.loads(cityscapes_json(evaluated(name, run)))
    said = references()[name]["runs"][run]["set"]["cityscapesScripts"]
    for of, scores, mean in (("class", "IoU", "mIoU"), ("category", "category_IoU",
                                                        "mean_category_IoU")):  # fmt: skip
        found = {label: value for label, value in told[f"{of}Scores"].items() if value is not None}
        assert found == {label: approx(value) for label, value in said[scores].items()}
        plural = {"class": "Classes", "category": "Categories"}[of]
        assert told[f"averageScore{plural}"] == approx(said[mean])
        assert {*told[f"{of}InstScores"].values()} == {None}


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_the_headline_is_that_of_the_references(name: str, run: str) -> None:
    said = references()[name]["runs"][run]["headline"]
    found = evaluated(name, run).headline
    for number in CLASS_MAPS:
        assert found[number] == approx(said[number]), number
    if "PQ_all_merged" in said:
        of = {"PQ": "PQ_all_merged", "PQ_things": "PQ_things_merged", "PQ_stuff": "PQ_stuff_merged"}
        for number, name_there in of.items():
            assert found[number] == approx(said[name_there]), number
