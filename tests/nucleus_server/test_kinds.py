"""Every kind of annotation and prediction: counted, read back, ignored and updated as the client's
own tests expect it, with an annotation id or without; and the taxonomies that categories name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.nucleus_world import World, ended, nucleus, world

__all__ = ["world"]  # a fixture

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ITEM, TAXONOMY = "img01", "time of day"
_POINTS = [nucleus.Point(float(n), float(n * n)) for n in range(4)]
_KEYPOINTS = [nucleus.Keypoint(1.0, 2.0, True), nucleus.Keypoint(3.0, 4.0, False)]
_SEEN = {"keypoints": _KEYPOINTS, "names": ["eye", "ear"], "skeleton": [[0, 1]]}


def _id(kind: str) -> dict[str, Any]:
    return {"reference_id": ITEM, "annotation_id": f"my {kind}"}


#: Kind -> one of a label, for an item that has another of the same identity.
ANNOTATIONS: dict[str, Callable[[str], Any]] = {
    "box": lambda label: nucleus.BoxAnnotation(label, 1, 2, 3, 4, **_id("box")),
    "line": lambda label: nucleus.LineAnnotation(label, _POINTS, **_id("line")),
    "polygon": lambda label: nucleus.PolygonAnnotation(label, _POINTS, **_id("polygon")),
    "keypoints": lambda label: nucleus.KeypointsAnnotation(label, **_SEEN, **_id("keypoints")),
    "category": lambda label: nucleus.CategoryAnnotation(label, ITEM, TAXONOMY),
    "category of none": lambda label: nucleus.CategoryAnnotation(label, ITEM),
    "multicategory": lambda label: nucleus.MultiCategoryAnnotation([label], ITEM, TAXONOMY),
    "multicategory of none": lambda label: nucleus.MultiCategoryAnnotation([label], ITEM),
}
_SURE = {"confidence": 0.25, "class_pdf": {"day": 0.25, "night": 0.75}}
PREDICTIONS: dict[str, Callable[[str], Any]] = {
    "box": lambda label: nucleus.BoxPrediction(label, 1, 2, 3, 4, **_id("box"), **_SURE),
    "line": lambda label: nucleus.LinePrediction(label, _POINTS, **_id("line"), **_SURE),
    "polygon": lambda label: nucleus.PolygonPrediction(label, _POINTS, **_id("polygon"), **_SURE),
    "keypoints": lambda label: nucleus.KeypointsPrediction(
        label, **_SEEN, **_id("keypoints"), **_SURE
    ),
    "category": lambda label: nucleus.CategoryPrediction(label, ITEM, TAXONOMY, **_SURE),
    "category of none": lambda label: nucleus.CategoryPrediction(label, ITEM, **_SURE),
}


@pytest.fixture
def labelled(world: World) -> World:
    """A dataset with a taxonomy."""
    world.dataset.add_taxonomy(TAXONOMY, "category", ["day", "night"])
    return world


def test_an_annotation_of_any_kind_is_ignored_or_updated_by_its_identity(labelled: World) -> None:
    def counts(label: str, **options: Any) -> tuple[str, int, int]:
        answer = labelled.dataset.annotate(
            [make(label) for make in ANNOTATIONS.values()], **options
        )
        told = (answer["annotations_processed"], answer["annotations_ignored"])
        assert "errors" not in answer
        return answer["dataset_id"], *told

    def read() -> list[dict[str, Any]]:
        found = labelled.dataset.refloc(ITEM)["annotations"]
        ones = [_sent(one) for kind in found.values() for one in kind]
        return sorted(ones, key=str)

    def of(label: str) -> list[dict[str, Any]]:
        return sorted((_sent(make(label)) for make in ANNOTATIONS.values()), key=str)

    dataset, number = labelled.dataset.id, len(ANNOTATIONS)
    assert counts("day") == (dataset, number, 0)
    assert read() == of("day")
    assert counts("night") == (dataset, 0, number)
    assert read() == of("day")
    assert counts("night", update=True) == (dataset, number, 0)
    assert read() == of("night")
    assert _sent(labelled.dataset.ground_truth_loc(ITEM, "my box")) in of("night")
    job = labelled.dataset.delete_annotations(reference_ids=[ITEM])
    assert ended(job)["status"] == "Completed"
    assert read() == []


def test_a_prediction_of_any_kind_is_ignored_or_updated_by_its_identity(labelled: World) -> None:
    def counts(label: str, **options: Any) -> tuple[int, int]:
        answer = labelled.upload([make(label) for make in PREDICTIONS.values()], **options)
        return answer["predictions_processed"], answer["predictions_ignored"]

    def read(found: dict[str, list[Any]]) -> list[dict[str, Any]]:
        return sorted((_sent(one) for kind in found.values() for one in kind), key=str)

    def of(label: str) -> list[dict[str, Any]]:
        return sorted((_sent(make(label)) for make in PREDICTIONS.values()), key=str)

    dataset, model, number = labelled.dataset, labelled.model, len(PREDICTIONS)
    assert counts("day") == (number, 0)
    assert counts("night") == (0, number)
    assert read(dataset.predictions_refloc(model, ITEM)) == of("day")
    assert counts("night", update=True) == (number, 0)
    found = (dataset.predictions_iloc(model, 1), dataset.export_predictions(model))
    assert [read(one) for one in found] == [of("night")] * 2
    assert _sent(dataset.prediction_loc(model, ITEM, "my box")) in of("night")


def test_without_an_annotation_id_label_and_geometry_tell_what_is_there_already(
    world: World,
) -> None:
    """Boxes and keypoints get ids from the client; others have none, and must not pile up."""
    item_of = {"line": "img01", "polygon": "img02"}

    def counts(*, seen: int, x: float = 3, **options: Any) -> tuple[int, int]:
        line, polygon = (
            {"reference_id": id, "metadata": {"seen": seen}} for id in item_of.values()
        )
        sent = [
            nucleus.LineAnnotation("car", [nucleus.Point(x, 2), nucleus.Point(3, 4)], **line),
            nucleus.PolygonAnnotation("car", [*_POINTS, nucleus.Point(x, 9)], **polygon),
        ]
        answer = world.dataset.annotate(sent, **options)
        return answer["annotations_processed"], answer["annotations_ignored"]

    def read(kind: str) -> list[Any]:
        found: list[Any] = world.dataset.refloc(item_of[kind])["annotations"][kind]
        return found

    assert counts(seen=1) == (2, 0)
    assert counts(seen=2) == (0, 2)
    (before,) = read("line")
    assert counts(seen=3, update=True) == (2, 0)
    assert [[one.metadata for one in read(kind)] for kind in item_of] == [[{"seen": 3}]] * 2
    (line,) = read("line")
    assert line.annotation_id == before.annotation_id
    assert world.dataset.ground_truth_loc("img01", line.annotation_id) == line
    assert world.dataset.annotate([line])["annotations_ignored"] == 1  # as it is read back
    assert counts(seen=1, x=5) == (2, 0)  # others
    assert len(read("line")) == 2


def test_one_is_found_whatever_slashes_its_ids_have(world: World) -> None:
    ids = [("scene/1/img", "box/1"), ("scene", "1/img/box/1"), ("scene/1", "box/2")]
    items = [nucleus.DatasetItem("https://e.com/a.jpg", one) for one, _ in ids]
    ended(world.dataset.append(items))
    boxes = [nucleus.BoxAnnotation(f"{n}", 1, 2, 3, 4, *of) for n, of in enumerate(ids)]
    world.dataset.annotate(boxes)
    found = [world.dataset.ground_truth_loc(*of).label for of in ids]
    assert found == ["0", "0", "2"]  # the first two have one URL: the client quotes neither id
    with pytest.raises(nucleus.errors.NucleusAPIError, match=r"no annotation 'scene/1/box/9'"):
        world.dataset.ground_truth_loc("scene/1", "box/9")


def _sent(one: Any) -> dict[str, Any]:
    """What is said of an annotation, without the id that the endpoint gave it."""
    payload = one.to_payload()
    if type(one).__name__.startswith(("Category", "Multi")):
        payload.pop("annotation_id", None)
    return {name: value for name, value in payload.items() if value not in (None, {}, [])}


def test_a_category_has_to_be_of_the_taxonomy_it_names(labelled: World) -> None:
    wrong = [
        nucleus.CategoryAnnotation("day", ITEM, "weather"),
        nucleus.CategoryAnnotation("dusk", ITEM, TAXONOMY),
        nucleus.MultiCategoryAnnotation(["day", "dusk"], "img02", TAXONOMY),
    ]
    answer = labelled.dataset.annotate([*wrong, ANNOTATIONS["category"]("day")])
    assert (answer["annotations_processed"], answer["annotations_ignored"]) == (1, 0)
    assert [words.partition(", or ")[2] for words in answer["errors"]] == [
        "label day does not exist in the taxonomy weather.",
        f"label dusk does not exist in the taxonomy {TAXONOMY}.",
        f"label dusk does not exist in the taxonomy {TAXONOMY}.",
    ]
    here = f"Taxonomy weather does not exist in dataset {labelled.dataset.id}"
    assert here in answer["errors"][0]
    assert labelled.dataset.refloc("img02")["annotations"] == {}

    predicted = [PREDICTIONS["box"]("day"), nucleus.CategoryPrediction("day", ITEM, "weather")]
    job = labelled.upload(predicted, asynchronous=True)
    status = ended(job)
    assert (status["status"], status["job_progress"]) == ("Errored", "0.00")
    assert here in status["message"]["final_error"]
    assert here in job.errors()[-1]
    assert "box" not in labelled.dataset.predictions_refloc(labelled.model, ITEM)  # all or nothing


def test_a_taxonomy_is_created_updated_and_deleted(labelled: World) -> None:
    def put(labels: list[str], **options: Any) -> tuple[str, str, str]:
        told = labelled.dataset.add_taxonomy(TAXONOMY, "category", labels, **options)
        return told["dataset_id"], told["taxonomy_name"], told["status"]

    named = labelled.dataset.id, TAXONOMY
    dusk = [nucleus.CategoryAnnotation("dusk", ITEM, TAXONOMY)]
    assert put(["dusk"]) == (*named, "Taxonomy already exists")
    assert labelled.dataset.annotate(dusk)["annotations_processed"] == 0
    assert put(["dusk"], update=True) == (*named, "Taxonomy updated")
    assert labelled.dataset.annotate(dusk)["annotations_processed"] == 1
    told = labelled.dataset.delete_taxonomy(TAXONOMY)
    done = "Taxonomy successfully deleted"
    assert told == {"dataset_id": named[0], "taxonomy_name": TAXONOMY, "status": done}
    with pytest.raises(nucleus.errors.NucleusAPIError, match="there is no taxonomy"):
        labelled.dataset.delete_taxonomy(TAXONOMY)
    assert put(["day"]) == (*named, "Taxonomy created")
