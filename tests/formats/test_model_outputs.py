"""What models return goes in as docs/model-outputs.md says, and comes out as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segpipe
from segpipe import ManifestWriter
from segpipe.errors import ManifestError
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from tests.docs.blocks import blocks_of
from tests.fixtures import model_outputs as outputs
from tests.fixtures.model_outputs import CASES, ID2LABEL, INSTANCES, MASKS, PAINTED, SCORES
from tests.fixtures.places import PROJECT
from tests.fixtures.tensors import tensor

PARTITION = Partition("m", "2026-01-05")
#: Heading -> the block of Python below it.
BLOCKS = {
    block.heading: block.text
    for block in blocks_of(PROJECT / "docs" / "model-outputs.md")
    if block.language == "python"
}


def writer(root: Path, **how: Any) -> ManifestWriter:
    return ManifestWriter(root, PARTITION.model_run, PARTITION.date, **how)


def published(root: Path) -> dict[str, dict[str, Any]]:
    """Item -> its row in the catalog, after a run that accepted every row."""
    opened = Root.open(str(root))
    summary = opened.materialize(PARTITION)
    assert summary.rejected == 0, opened.report(PARTITION)
    opened.publish(PARTITION.model_run, PARTITION.date)
    rows = opened.catalog.predictions().to_pylist()
    for row in rows:
        with Image.open(root / row["mask_path"]) as image:
            row["pixels"] = np.asarray(image)
    return {row["reference_id"]: row for row in rows}


def described(row: dict[str, Any]) -> list[tuple[str, int, float | None]]:
    return [(one["label"], one["index"], one["confidence"]) for one in row["segments"]]


def test_every_block_of_the_page_publishes_the_framework_s_pixels_and_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = {heading: make() for heading, make in CASES.items()}
    made["Cellpose"] = outputs.cellpose(tmp_path)
    assert BLOCKS.keys() == {*made, "Several processes"}
    with writer(tmp_path) as manifest:
        for heading, (names, _, _) in made.items():
            given = {"writer": manifest, "frame": heading, "np": np, "segpipe": segpipe, **names}
            exec(BLOCKS[heading], given)
    others = {"masks": MASKS, "frame": "worker", "rank": 3, "segpipe": segpipe}
    code = BLOCKS["Several processes"].replace('"ROOT"', repr(str(tmp_path)))
    exec(code.replace("maskrcnn", PARTITION.model_run), others)
    made["worker"] = ({}, PAINTED, INSTANCES)
    rows = published(tmp_path)
    assert rows.keys() == made.keys()
    for heading, (_, mask, segments) in made.items():
        assert np.array_equal(rows[heading]["pixels"], mask), heading
        found = described(rows[heading])
        assert [one[:2] for one in found] == [one[:2] for one in segments], heading
        wanted = [None if one[2] is None else pytest.approx(one[2], abs=1e-7) for one in segments]
        assert [one[2] for one in found] == wanted, heading


def metadata(root: Path, item: str = "a") -> list[dict[str, Any]]:
    return [json.loads(one["metadata"]) for one in published(root)[item]["segments"]]


def test_what_is_known_of_an_instance_is_in_its_metadata(tmp_path: Path) -> None:
    with writer(tmp_path) as manifest:
        names, *_ = outputs.supervision()
        manifest.add_instances("a", names["detections"])
        pairs = zip(outputs.run_lengths()[0]["rles"], (0.98, 0.7), (1, 2), strict=True)
        records = [{"segmentation": a, "score": b, "category_id": c} for a, b, c in pairs]
        manifest.add_instances("coco", records, names=outputs.NAMES)
        generated = outputs.Generator().generate(None)
        manifest.add_instances("sam", generated, "object", [0.1, 0.9])  # told: the surer on top
        ids, info = outputs.detectron2_panoptic()[0]["outputs"]["panoptic_seg"]
        classes = {"thing_classes": ["person", "car"], "stuff_classes": ["things", "road"]}
        manifest.add_panoptic("b", ids, info, classes)
    background, person, car = metadata(tmp_path)
    assert background == {"isthing": False}
    assert person == {
        "area": 9, "box": [1, 1, 4, 4], "category_id": 1, "confidence": pytest.approx(0.98),
        "instance": 1, "isthing": True, "track_id": 7, "visible_area": 9,
    }  # fmt: skip
    assert (car["area"], car["visible_area"], car["track_id"]) == (20, 18, 9)
    rows = published(tmp_path)
    assert rows["sam"]["pixels"][2, 3] == 2
    assert described(rows["coco"]) == INSTANCES
    assert metadata(tmp_path, "sam")[2]["predicted_iou"] == 1.004
    assert metadata(tmp_path, "b")[1:] == [
        {"category_id": 0, "confidence": 0.98, "instance_id": 0, "isthing": True, "source_id": 1},
        {"category_id": 1, "confidence": 0.7, "instance_id": 1, "isthing": True, "source_id": 2},
        {"category_id": 1, "isthing": False, "source_id": 3},
    ]


def test_policies_decide_overlaps_background_and_thresholds(tmp_path: Path) -> None:
    with writer(tmp_path) as manifest:
        manifest.add_instances("area", MASKS[::-1], ["car", "person"], overlaps="area")
        manifest.add_instances("none", MASKS, ["person", "car"], background=None)
        manifest.add_instances("255", MASKS.astype(np.uint8) * 255, ["person", "car"], SCORES)
        logits = np.where(MASKS, 3.0, -3.0)
        manifest.add_instances("logits", logits, ["person", "car"], SCORES, threshold=0.0)
        manifest.add_instances("list", [*MASKS], ["person", "car"], SCORES)
        message = '2 pixels.*overlaps="score", overlaps="area" or overlaps="last" says'
        with pytest.raises(ManifestError, match=message):
            manifest.add_instances("error", MASKS, ["person", "car"], SCORES, overlaps="error")
        apart = MASKS.copy()
        apart[1] &= ~apart[0]
        manifest.add_instances("error", apart, ["person", "car"], SCORES, overlaps="error")
    rows = published(tmp_path)
    assert np.array_equal(rows["area"]["pixels"], np.choose(PAINTED, [0, 2, 1]))
    for item in ("none", "255", "logits", "list", "error"):
        assert np.array_equal(rows[item]["pixels"], PAINTED), item
    assert rows["none"]["segments"][0]["label"] == "void"


def test_an_empty_result_is_a_prediction_of_background(tmp_path: Path) -> None:
    nothing = {"segmentation": tensor(np.zeros((6, 8), np.int32) - 1), "segments_info": []}
    with writer(tmp_path) as manifest:
        manifest.add_instances("array", np.zeros((0, 1, 6, 8), np.float32), [], [])
        manifest.add_instances("list", [], [], [], height=6, width=8)
        result = outputs._results(data=None)
        result.masks, result.boxes.cls = None, tensor(np.zeros(0))
        result.boxes.conf, result.boxes.xyxy = tensor(np.zeros(0)), tensor(np.zeros((0, 4)))
        manifest.add_instances("ultralytics", result)
        manifest.add_huggingface("huggingface", nothing, ID2LABEL)
        with pytest.raises(ManifestError, match=r"'size'.*height=\.\.\. and width=\.\.\."):
            manifest.add_instances("size", [], [])
    rows = published(tmp_path)
    assert {item: described(row) for item, row in rows.items()} == {
        "array": [("background", 0, None)],
        "list": [("background", 0, None)],
        "ultralytics": [("background", 0, None)],
        "huggingface": [("void", 0, None)],
    }
    assert all(row["pixels"].shape == (6, 8) and not row["pixels"].any() for row in rows.values())


def test_instances_that_vanish_are_told(tmp_path: Path) -> None:
    square, speck = [[1, 1], [3, 1], [3, 3], [1, 3]], np.array([[2, 2], [3, 2]], np.float32)
    covered = np.stack([MASKS[0], MASKS[0], np.zeros_like(MASKS[0])])
    ids = np.where(MASKS[0], 1.0, -1.0)
    info = [{"id": id, "label_id": 1, "was_fused": False, "score": 0.9} for id in (0, 1)]
    with writer(tmp_path) as manifest:
        manifest.add_instances("a", covered, ["cat", "dog", "cow"], [0.9, 0.5, 0.4])
        manifest.add_huggingface("b", {"segmentation": ids, "segments_info": info}, ID2LABEL)
        manifest.add_instances("c", [square, speck], "cell", height=6, width=8)
    root = Root.open(str(tmp_path))
    assert root.materialize(PARTITION).findings["OVERLAP-HIDDEN"] == 3
    told = "\n".join(
        one["message"]
        for batch in root.validated(PARTITION).batches(9)
        for row in batch.rows["findings"].to_pylist()
        for one in row
    )
    assert "1 of 3 instances have no pixel in their own mask, such as instance 2 (cow)" in told
    assert "1 of 3 instances lost over half" in told and 'overlaps="score"' in told
    assert "1 of 2 instances have no pixel in their own mask, such as instance 1 (cell)" in told
    assert "1 of 2 segments have no pixels, and get no Segment: 0 (person)" in told


def test_more_instances_than_a_mask_has_values_follow_the_policy_that_is_named(
    tmp_path: Path,
) -> None:
    masks = np.eye(300, dtype=np.bool_).reshape(300, 15, 20)
    labels = ["cell"] * 200 + ["nucleus"] * 100
    certain = np.linspace(1, 0.5, 300)
    with writer(tmp_path) as manifest:
        words = r'300 ids.*over_256="keep-best".*over_256="semantic" \(2 labels\)'
        with pytest.raises(ManifestError, match=words):
            manifest.add_instances("a", masks, labels, certain)
        for policy in ("keep-best", "semantic"):
            manifest.add_instances(policy, masks, labels, certain, over_256=policy)
    rows = published(tmp_path)
    assert len(rows["keep-best"]["segments"]) == 256
    assert rows["keep-best"]["pixels"].reshape(-1)[:255].tolist() == [*range(255)]
    assert described(rows["semantic"]) == [
        ("cell", 0, pytest.approx(certain[:200].mean())),
        ("nucleus", 1, pytest.approx(certain[200:].mean())),
    ]


def test_parts_that_transformers_fused_are_one_segment_and_colliding_ids_are_refused(
    tmp_path: Path,
) -> None:
    info = [
        {"id": 1, "label_id": 0, "was_fused": True, "score": 0.8},
        {"id": 2, "label_id": 1, "was_fused": False, "score": 0.9},
        {"id": 1, "label_id": 0, "was_fused": True, "score": 0.6},
    ]
    ids = np.where(PAINTED == 2, 2, 1).astype(np.int32)
    with writer(tmp_path) as manifest:
        manifest.add_huggingface("a", {"segmentation": ids, "segments_info": info}, ID2LABEL)
        colliding = [*info, {"id": 2, "label_id": 2, "was_fused": False, "score": 0.7}]
        with pytest.raises(ManifestError, match=r"id 2 of 'b'.*person, car.*label_ids_to_fuse"):
            manifest.add_huggingface(
                "b", {"segmentation": ids, "segments_info": colliding}, ID2LABEL
            )
    road, _ = metadata(tmp_path)
    assert road["confidence"] == pytest.approx(0.7)
    assert (road["confidence_min"], road["n_merged"], road["was_fused"]) == (0.6, 2, True)


def test_class_numbers_of_any_size_are_kept_or_renumbered(tmp_path: Path) -> None:
    with writer(tmp_path) as manifest:
        far = np.choose(PAINTED, [0, 1000, -1])
        manifest.add_semantic("far", far, {"0": "road", 1000: "person"}, ignore=[-1])
        manifest.add_semantic("float", PAINTED.astype(np.float32), ["road", "person", "car"])
        manifest.add_semantic("void", PAINTED, ["road", "person"], ignore={2: "unlabelled"})
    rows = published(tmp_path)
    assert np.array_equal(rows["far"]["pixels"], np.choose(PAINTED, [1, 2, 0]))
    assert [one[:2] for one in described(rows["far"])] == [("void", 0), ("road", 1), ("person", 2)]
    assert np.array_equal(rows["float"]["pixels"], PAINTED)
    assert rows["void"]["segments"][2]["label"] == "unlabelled"


TWO = ["person", "car"]
_IDS = PAINTED.astype(np.int32)
_INFO = [{"id": place, "category_id": place, "score": 0.5} for place in (1, 2)]
_WRONG = [{**_INFO[0], "area": 8}, _INFO[1]]
_NAMES = ["road", "person", "car"]
Adding = Callable[[ManifestWriter], None]


@pytest.mark.parametrize(
    ("add", "words"),
    [
        (lambda w: w.add_instances("a", MASKS, ["person"]), "2 masks and 1 labels.*names="),
        (lambda w: w.add_instances("a", MASKS, TWO, [0.5]), "2 masks and 1 scores"),
        (lambda w: w.add_instances("a", MASKS, TWO, None, np.zeros((2, 3))), r"\(2, 3\).*N x 4"),
        (lambda w: w.add_instances("a", MASKS), "2 instances and no labels"),
        (lambda w: w.add_instances("a", MASKS, np.array([1, 2])), "number 1: give names="),
        (lambda w: w.add_instances("a", MASKS, [1, 7], names=_NAMES), "7, which has no name"),
        (lambda w: w.add_instances("a", [MASKS[0], MASKS[1, 1:]], TWO), "several sizes.*6 x 8.*5"),
        (lambda w: w.add_instances("a", MASKS * 9.0 - 3, TWO), "-3 to 6.*logits.*threshold="),
        (lambda w: w.add_instances("a", MASKS * np.nan, TWO), "NaN"),
        (lambda w: w.add_instances("a", MASKS * np.uint8(7), TWO), "from 0 to 7.*threshold="),
        (lambda w: w.add_instances("a", MASKS, TWO, [0.9, np.nan]), "instance 1.*nan"),
        (lambda w: w.add_instances("a", MASKS, TWO, [98.0, 70.0]), "98.*percent"),
        (lambda w: w.add_instances("a", MASKS, TWO, [0.9, -2.5]), "-2.5.*logit"),
        (lambda w: w.add_instances("a", MASKS[0], "person"), r"masks\[None\]"),
        (lambda w: w.add_instances("a", np.zeros((2, 3, 6, 8)), TWO), "a mask for each class"),
        (lambda w: w.add_instances("a", MASKS, TWO, overlaps="scores"), "did you mean 'score'"),
        (lambda w: w.add_instances("a", MASKS, TWO, over_256="best"), "over_256 is 'best'"),
        (lambda w: w.add_instances("a", [[1.0, 1, 4, 1, 4, 4]], "person"), "height=... and width"),
        (lambda w: w.add_instances("a", [{"size": [6, 8], "counts": "12"}], "p"), "mask 0.*counts"),
        (lambda w: w.add_instances("a", {"segmentation": 1}, "p"), "add_huggingface"),
        (lambda w: w.add_panoptic("a", _IDS, _INFO[:1], _NAMES), r"2 \(18 px\).*void_id="),
        (lambda w: w.add_panoptic("a", _IDS, [*_INFO, _INFO[0]], _NAMES), "id 1.*given 2 times"),
        (lambda w: w.add_panoptic("a", _IDS, _WRONG, _NAMES), "8 said, 9 counted"),
        (lambda w: w.add_panoptic("a", _IDS, _INFO, ["road", "person"]), "class 2.*no name"),
        (lambda w: w.add_panoptic("a", _IDS + 0.5, _INFO, _NAMES), "holds 0.5, expected whole"),
        (lambda w: w.add_panoptic("a", _IDS * np.nan, _INFO, _NAMES), "NaN"),
        (lambda w: w.add_panoptic("a", _IDS, None, _NAMES), "give add_instances"),  # type: ignore[arg-type]
        (lambda w: w.add_panoptic("a", _IDS, [{"id": 1}], _NAMES), "category_id or label_id"),
        (lambda w: w.add_semantic("a", _IDS, ["road", "person"]), r"2 \(18 px\).*ignore=\{2:"),
        (lambda w: w.add_semantic("a", MASKS.astype(int), TWO), "expected H x W"),
        (lambda w: w.add_semantic("a", _IDS, "road"), "'road'.*names of the classes"),
        (lambda w: w.add_semantic("a", MASKS[0], ["road"]), "1 classes of 'a' have no name"),
        (lambda w: w.add_huggingface("a", [{}], ID2LABEL), r"list of 1.*result\[0\]"),
        (lambda w: w.add_huggingface("a", {"masks": MASKS}, ID2LABEL), "has masks, expected"),
        (lambda w: w.add_huggingface("a", {"segmentation": [[1, 2]], "segments_info": []}, {}),
         "return_coco_annotation"),
        (lambda w: w.add_scores("a", np.stack([PAINTED - 1.0, PAINTED]), TWO), "logits"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_in_words(tmp_path: Path, add: Adding, words: str) -> None:
    manifest = writer(tmp_path)
    with pytest.raises(ManifestError, match=rf"(?s)^(?=.*{words})"):
        add(manifest)
    assert not manifest.rows


def test_records_of_coco_results_are_the_prediction_that_their_import_makes(tmp_path: Path) -> None:
    rles = [{**one, "counts": one["counts"].decode()} for one in outputs.run_lengths()[0]["rles"]]
    records = [
        {"image_id": 1, "segmentation": rle, "score": score, "category_id": number}
        for rle, score, number in zip(rles, SCORES, (1, 2), strict=True)
    ]
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
    }
    for name, content in (("results", records), ("truth", truth)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    described = {"categories": tmp_path / "truth.json", "images": tmp_path / "truth.json"}
    segpipe.import_masks(
        "coco-results",
        tmp_path / "results.json",
        root=tmp_path / "imported",
        model_run=PARTITION.model_run,
        date=PARTITION.date,
        **described,
    )
    with writer(tmp_path / "added") as manifest:
        manifest.add_instances("a", records, names=outputs.NAMES)
    imported, added = (published(tmp_path / name)["a"] for name in ("imported", "added"))
    assert imported["fingerprint"] == added["fingerprint"]
