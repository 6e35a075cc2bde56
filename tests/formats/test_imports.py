"""Importing other formats, exporting, and importing again: through the commands, as users do."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays
from PIL import Image

from segpipe import ManifestWriter, Segment
from segpipe.errors import SegpipeError
from segpipe.formats.clashes import Clashes
from segpipe.formats.imported import Imported
from segpipe.formats.stored_records import stored
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
from tests.fixtures.command_line import invoked
from tests.fixtures.imports import PARTITION, imported, judged, rules, save, write

STRIPES = np.repeat(np.arange(3, dtype=np.uint8), 4)[:, None].repeat(8, axis=1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write(tmp_path / "labels.csv", "index,label\n0,Sky\n1,Road\n2,Car\n")


# --- folders of masks


def test_a_folder_of_masks_keeps_every_value(source: Path, root: Path, labels: Path) -> None:
    save(source / "a_mask.png", STRIPES)
    save(source / "b_mask.png", STRIPES // 2)
    done = imported("mask-folder", source, root, "--labels", labels, "--strip-suffix", "_mask")
    assert done.return_value == 0
    assert "2 imported, 0 refused" in done.output
    accepted, rejected = judged(root)
    assert rejected == {}
    assert accepted == {
        "a": {"0 Sky": 32, "1 Road": 32, "2 Car": 32},
        "b": {"0 Sky": 64, "1 Road": 32},
    }


def test_importing_again_changes_no_byte(source: Path, root: Path, labels: Path) -> None:
    save(source / "deep" / "a.png", STRIPES)
    written = []
    for _ in range(2):
        imported("mask-folder", source, root, "--labels", labels)
        written.append({p: p.read_bytes() for p in root.rglob("*") if p.is_file()})
    assert written[0] == written[1]


def test_frames_of_videos_say_their_sequence_and_number(source: Path, root: Path) -> None:
    for name in ("swan/00000.png", "swan/00012.png", "bike/00003.png", "cover.png"):
        save(source / name, STRIPES)
    imported("mask-folder", source, root, "--objects", "object")
    accepted, _ = judged(root)
    assert accepted["swan/00012"] == {"0 background": 32, "1 object": 32, "2 object": 32}
    batch = next(Root.open(str(root)).validated(PARTITION).batches(10)).rows
    frames = dict(
        zip(
            batch["reference_id"].to_pylist(),
            zip(batch["sequence"].to_pylist(), batch["frame"].to_pylist(), strict=True),
            strict=True,
        )
    )
    assert frames == {
        "bike/00003": ("bike", 3), "cover": (None, None),
        "swan/00000": ("swan", 0), "swan/00012": ("swan", 12),
    }  # fmt: skip


def test_ignored_values_become_visible_segments(source: Path, root: Path, labels: Path) -> None:
    mask = STRIPES.copy()
    mask[0] = 255
    save(source / "a.png", mask)
    imported("mask-folder", source, root, "--labels", labels, "--ignore", "255=void")
    accepted, _ = judged(root)
    assert accepted["a"]["255 void"] == 8
    (batch,) = Root.open(str(root)).validated(PARTITION).batches(10)
    assert '"ignore":true' in batch.segments[0][3]["metadata"].as_py()


def test_what_is_wrong_with_a_file_is_told_of_that_file_and_the_others_go_through(
    source: Path, root: Path, labels: Path
) -> None:
    save(source / "good.png", STRIPES)
    save(source / "unknown.png", STRIPES + 7)
    save(source / "colours.png", np.dstack([STRIPES, STRIPES * 2, STRIPES]))
    save(source / "deep.png", STRIPES.astype(np.uint16) * 300)
    (source / "page.png").write_text("<!DOCTYPE html><html></html>")
    (source / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    (source / "cut.png").write_bytes((source / "good.png").read_bytes()[:50])
    (source / "empty.png").write_bytes(b"")
    done = imported("mask-folder", source, root, "--labels", labels)
    assert done.return_value == 1
    assert "1 imported, 7 refused" in done.output
    accepted, rejected = judged(root)
    assert list(accepted) == ["good"]
    assert rules(rejected) == {
        "unknown": ["VALUE-NO-SEGMENT"],
        "colours": ["MASK-COLOUR"],
        "deep": ["MASK-16BIT"],
        "page": ["FILE-NOT-PNG"],
        "pointer": ["FILE-NOT-PNG"],
        "cut": ["PNG-UNREADABLE"],
        "empty": ["PNG-UNREADABLE"],
    }
    assert "7 (32 px), 8 (32 px), 9 (32 px)" in rejected["unknown"][0][1]
    assert "unknown.png" in rejected["unknown"][0][1]


def test_two_files_of_one_item_are_found_by_validation(
    source: Path, root: Path, labels: Path
) -> None:
    save(source / "a_mask.png", STRIPES)
    save(source / "a.png", STRIPES[::-1])
    imported("mask-folder", source, root, "--labels", labels, "--strip-suffix", "_mask")
    accepted, rejected = judged(root)
    assert (accepted, rules(rejected)) == ({}, {"a": ["REF-DUPLICATE"] * 2})


def test_names_with_odd_characters_stay_what_they_are(
    source: Path, root: Path, labels: Path
) -> None:
    names = ["a b", "ä#?%2F", "b..", "quote'\"", "tab\there", "日本"]
    for name in names:
        save(source / f"{name}.png", STRIPES)
    imported("mask-folder", source, root, "--labels", labels)
    assert sorted(judged(root)[0]) == sorted(names)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("index,label\n0,Sky\n0,Road\n", "index 0 stands for 'Sky' and for 'Road'"),
        ("index,label\nx,Sky\n", "line 2: the index is 'x'"),
        ("index,nothing\n0,Sky\n", "there is no label"),
        ("label\nSky\n", "'Sky' has no index"),
        ("index,label\n", "holds no labels"),
    ],
)
def test_a_label_map_that_cannot_be_used_says_where(
    source: Path, root: Path, tmp_path: Path, content: str, words: str
) -> None:
    save(source / "a.png", STRIPES)
    labels = write(tmp_path / "wrong.csv", content)
    with pytest.raises(SegpipeError, match=words):
        imported("mask-folder", source, root, "--labels", labels)
    assert not root.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("map.json", {"0": "Sky", "1": "Road", "2": "Car"}),
        ("map.json", {"labels": {"0": "Sky", "1": "Road", "2": "Car"}}),
        ("map.json", [{"id": i, "name": n} for i, n in enumerate(("Sky", "Road", "Car"))]),
        ("map.toml", '0 = "Sky"\n1 = "Road"\n2 = "Car"\n'),
        ("map.toml", '[labels]\n0 = "Sky"\n1 = "Road"\n2 = {label = "Car", isthing = true}\n'),
        ("map.csv", "\ufeffID, Name\n0, Sky\n1, Road\n2, Car\n"),
    ],
)
def test_label_maps_are_read_in_the_forms_they_have(
    source: Path, root: Path, tmp_path: Path, name: str, content: object
) -> None:
    save(source / "a.png", STRIPES)
    imported("mask-folder", source, root, "--labels", write(tmp_path / name, content))
    assert judged(root)[0]["a"] == {"0 Sky": 32, "1 Road": 32, "2 Car": 32}


def test_a_source_that_is_not_there_or_empty_is_one_sentence(
    source: Path, root: Path, labels: Path
) -> None:
    with pytest.raises(SegpipeError, match=r"no \.png file"):
        imported("mask-folder", source, root, "--labels", labels)
    with pytest.raises(SegpipeError, match="no folder"):
        imported("mask-folder", source / "nowhere", root, "--labels", labels)
    save(source / "a.png", STRIPES)
    with pytest.raises(SegpipeError, match="either --labels FILE or --objects"):
        imported("mask-folder", source, root)
    with pytest.raises(SegpipeError, match="expected VALUE=LABEL"):
        imported("mask-folder", source, root, "--labels", labels, "--ignore", "void")
    assert not root.exists()


# --- colours

COLOURS = "r,g,b,label\n0,0,0,soil\n0,255,0,crop\n255,0,0,weed\n"


def test_colours_of_the_table_become_its_entries(source: Path, root: Path, tmp_path: Path) -> None:
    table = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], np.uint8)
    save(source / "rgb.png", table[STRIPES])
    image = Image.fromarray(STRIPES)
    image.putpalette(table.ravel().tolist())
    image.save(source / "palette.png")
    Image.fromarray(table[STRIPES]).convert("RGBA").save(source / "rgba.png")
    imported("colour-map", source, root, "--colours", write(tmp_path / "c.csv", COLOURS))
    accepted, rejected = judged(root)
    assert rejected == {}
    same = {"0 soil": 32, "1 crop": 32, "2 weed": 32}
    assert accepted == {"rgb": same, "palette": same, "rgba": same}


def test_a_colour_one_off_is_an_error_that_names_the_nearest(
    source: Path, root: Path, tmp_path: Path
) -> None:
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[0] = (0, 254, 0)
    colours[1, :2] = (250, 3, 0)
    save(source / "a.png", colours)
    done = imported("colour-map", source, root, "--colours", write(tmp_path / "c.csv", COLOURS))
    assert done.return_value == 1
    ((rule, message),) = judged(root)[1]["a"]
    assert rule == "MASK-COLOUR"
    assert "#00fe00 4 px (nearest: #00ff00 crop)" in message
    assert "#fa0300 2 px (nearest: #ff0000 weed)" in message


def test_a_colour_table_with_one_colour_twice_is_refused(
    source: Path, root: Path, tmp_path: Path
) -> None:
    save(source / "a.png", np.zeros((4, 4, 3), np.uint8))
    table = write(tmp_path / "c.csv", "colour,label\n#000000,soil\n#000000,crop\n")
    with pytest.raises(SegpipeError, match="#000000 stands for 'soil' and for 'crop'"):
        imported("colour-map", source, root, "--colours", table)


# --- arrays


def test_arrays_are_taken_as_they_are_and_scores_are_refused(
    source: Path, root: Path, labels: Path
) -> None:
    np.save(source / "a.npy", STRIPES.astype(np.int64))
    np.savez(source / "many.npz", one=STRIPES, two=STRIPES[:8])
    np.save(source / "scores.npy", np.random.default_rng(0).random((4, 4)))
    np.save(source / "logits.npy", np.zeros((3, 4, 4), np.int32))
    np.save(source / "negative.npy", STRIPES.astype(np.int16) - 1)
    np.save(source / "objects.npy", np.array([{}, None]), allow_pickle=True)
    (source / "pickle.npy").write_bytes(pickle.dumps([1, 2]))
    (source / "cut.npz").write_bytes((source / "many.npz").read_bytes()[:100])
    np.save(source / "text.npy", np.array([["a", "b"]]))
    done = imported("arrays", source, root, "--labels", labels)
    assert done.return_value == 1
    accepted, rejected = judged(root)
    assert accepted == {
        "a": {"0 Sky": 32, "1 Road": 32, "2 Car": 32},
        "many/one": {"0 Sky": 32, "1 Road": 32, "2 Car": 32},
        "many/two": {"0 Sky": 32, "1 Road": 32},
    }
    assert rules(rejected) == {
        "scores": ["PROBABILITY-MAP"],
        **{name: ["IMPORT-UNREADABLE"] for name in ("logits", "negative", "objects", "pickle")},
        "cut": ["IMPORT-UNREADABLE"],
        "text": ["IMPORT-UNREADABLE"],
    }
    assert "argmax" in rejected["scores"][0][1]
    assert "argmax" in rejected["logits"][0][1]


@pytest.mark.parametrize(("over", "outcome"), [("refuse", 0), ("keep-best", 256), ("semantic", 2)])
def test_an_array_of_300_instances_is_what_the_named_option_makes_of_it(
    source: Path, root: Path, over: str, outcome: int
) -> None:
    ids = np.arange(301, dtype=np.int32).repeat(10).reshape(-1, 70) * 100
    np.save(source / "a.npy", ids)
    imported("arrays", source, root, "--objects", "cell", "--over-256", over)
    accepted, rejected = judged(root)
    assert len(accepted.get("a", {})) == outcome
    if outcome:
        assert sum(accepted["a"].values()) == ids.size
    else:
        ((rule, message),) = rejected["a"]
        assert rule == "INDEX-OVERFLOW"
        assert "301 ids" in message


def test_what_an_import_merges_is_counted_at_the_import_and_in_the_tables(
    source: Path, root: Path
) -> None:
    np.save(source / "a.npy", np.arange(401, dtype=np.int32)[None])
    options = ("--objects", "cell", "--over-256", "keep-best")
    done = imported("arrays", source, root, *options)
    assert "a.npy: 146 of 401 ids were merged into 1 Segment, one per label" in done.output
    assert "1 imported, 0 refused" in done.output
    Root.open(str(root)).materialize(PARTITION)
    validated = Path(Root.open(str(root)).tables(PARTITION).path) / "validated.parquet"
    (row,) = pq.read_table(validated, partitioning=None).to_pylist()
    assert [finding["rule"] for finding in row["findings"]] == ["INSTANCES-MERGED"]


def test_the_end_of_an_import_counts_the_warnings_of_all_records(source: Path, root: Path) -> None:
    for number in range(12):
        np.save(source / f"{number}.npy", np.arange(300 + number, dtype=np.int32)[None])
    done = imported("arrays", source, root, "--objects", "cell", "--over-256", "semantic")
    assert "12 imported, 0 refused" in done.output
    assert "with warnings: 12 INSTANCES-MERGED\n" in done.output


# --- two files of one item


@pytest.mark.parametrize(
    ("kind", "names"), [("mask-folder", ("a.PNG", "a.png")), ("arrays", ("a.npy", "a.npz"))]
)
def test_two_files_of_one_item_are_both_named_and_one_taken_away_leaves_the_other(
    source: Path, root: Path, kind: str, names: tuple[str, str]
) -> None:
    for value, name in enumerate(names):
        array = np.full((4, 4), value, np.uint8)
        with (source / name).open("wb") as file:
            if kind == "mask-folder":
                Image.fromarray(array).save(file, "PNG")
            elif name.endswith(".npy"):
                np.save(file, array)
            else:
                np.savez(file, array)
    done = imported(kind, source, root, "--objects", "cell")
    assert done.return_value == 1
    assert f"{names[0]} and {names[1]} are all predictions of the item 'a'" in done.output
    assert "take one away or rename it, and import again" in done.output
    assert "0 imported, 2 refused" in done.output
    assert judged(root)[0] == {}  # as was said
    (source / names[0]).unlink()
    assert imported(kind, source, root, "--objects", "cell").return_value == 0
    assert judged(root) == ({"a": {"1 cell": 16}}, {})


def test_a_name_that_an_option_shortens_to_another_is_named_as_well(
    source: Path, root: Path
) -> None:
    for value, name in enumerate(("a", "a_mask", "b")):
        save(source / f"{name}.png", np.full((4, 4), value, np.uint8))
    done = imported("mask-folder", source, root, "--objects", "cell", "--strip-suffix", "_mask")
    assert "a.png and a_mask.png are all predictions of the item 'a'" in done.output
    assert "1 imported, 2 refused" in done.output


def test_two_files_of_one_item_that_say_the_same_are_no_clash(source: Path, root: Path) -> None:
    for name in ("a.npy", "a.npz"):
        with (source / name).open("wb") as file:
            save_as = np.save if name.endswith("y") else np.savez
            save_as(file, np.ones((4, 4), np.uint8))
    assert imported("arrays", source, root, "--objects", "cell").return_value == 0
    assert judged(root) == ({"a": {"1 cell": 16}}, {})


def test_two_records_that_list_the_same_segments_otherwise_are_no_clash() -> None:
    one, other = Segment("a", 0, {"x": 1, "y": 2}), Segment("b", 1)
    turned = Segment("a", 0, {"y": 2, "x": 1})
    mask = np.array([[0, 1]], np.uint8)
    clashes = Clashes()
    for segments in ((one, other), (other, turned)):
        record = Imported("item", f"{len(segments)}.png", mask, segments)
        assert clashes.noted(stored(record, str)) == (None, 0)
    differing = Imported("item", "c.png", mask, (one, Segment("c", 1)))
    assert clashes.noted(stored(differing, str))[1] == 3


# --- COCO


CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 7, "name": "road", "isthing": 0},
]
IDS = np.array([[0, 70000], [300, 300]], np.uint32).repeat(3, axis=0).repeat(3, axis=1)


def panoptic_png(path: Path, ids: np.ndarray, *, bgr: bool = False) -> Path:
    channels = [ids & 255, ids >> 8 & 255, ids >> 16]
    return save(path, np.dstack(channels[::-1] if bgr else channels).astype(np.uint8))


def info(id: int, category: int = 1, area: int | None = None, **other: Any) -> dict[str, Any]:
    given = {"id": id, "category_id": category, "iscrowd": 0, **other}
    return given if area is None else {**given, "area": area}


def panoptic_json(path: Path, *annotations: Mapping[str, Any], **other: Any) -> Path:
    images = [
        {"id": a.get("image_id"), "file_name": f"{a.get('image_id')}.jpg"} for a in annotations
    ]
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES, **other}
    return write(path, content)


def annotation(id: int, *infos: Mapping[str, Any], file: str | None = None) -> dict[str, Any]:
    return {"image_id": id, "file_name": file or f"{id}.png", "segments_info": list(infos)}


GOOD = (info(70000, 1, 9, score=0.75), info(300, 7, 18))


def test_panoptic_pngs_keep_ids_scores_and_void(source: Path, root: Path, tmp_path: Path) -> None:
    panoptic_png(source / "1.png", IDS)
    done = imported(
        "coco-panoptic", source, root, "--annotations",
        panoptic_json(tmp_path / "p.json", annotation(1, *GOOD)),
    )  # fmt: skip
    assert done.return_value == 0
    assert judged(root)[0] == {"1": {"0 void": 9, "1 road": 18, "2 person": 9}}
    (batch,) = Root.open(str(root)).validated(PARTITION).batches(10)
    void, road, person = (json.loads(s["metadata"]) for s in batch.segments[0].as_py())
    assert void["ignore"] is True
    assert (road["source_id"], road["isthing"]) == (300, False)
    assert (person["source_id"], person["confidence"], person["isthing"]) == (70000, 0.75, True)


def test_what_does_not_belong_together_is_told_per_image(
    source: Path, root: Path, tmp_path: Path
) -> None:
    for number in (1, 2, 3, 4, 6, 7):
        panoptic_png(source / f"{number}.png", IDS, bgr=number == 2)
    annotations = panoptic_json(
        tmp_path / "p.json",
        annotation(1, *GOOD),
        annotation(2, *GOOD),
        annotation(3, info(70000, 1, 9), info(300, 7, 18), info(5, 1, 4)),
        annotation(4, info(70000, 1, 9)),
        annotation(5, *GOOD),
        annotation(6, info(70000, 1, 8), info(300, 7, 18)),
        annotation(7, info(70000, 99), info(300, 7, score="0.5")),
        {"image_id": 8, "segments_info": []},
    )
    imported("coco-panoptic", source, root, "--annotations", annotations)
    accepted, rejected = judged(root)
    assert list(accepted) == ["1"]
    assert rules(rejected) == {
        "2": ["ID-NOT-IN-PNG"],
        "3": ["ID-NOT-IN-PNG"],
        "4": ["VALUE-NO-SEGMENT"],
        "5": ["FILE-MISSING"],
        "6": ["AREA-MISMATCH"],
        "7": ["IMPORT-UNREADABLE"],
        "8": ["IMPORT-UNREADABLE"],
    }
    assert "all 2 ids match when channels are swapped" in rejected["2"][0][1]
    assert "70000: 8 said, 9 counted" in rejected["6"][0][1]
    assert "300 (18 px)" in rejected["4"][0][1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ([], "no list 'annotations'"),
        ({"annotations": [], "images": []}, "no list 'categories'"),
        ({"annotations": [], "images": [], "categories": [{"id": 1}]}, "expected id and name"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_says_what_was_found(
    source: Path, root: Path, tmp_path: Path, content: object, words: str
) -> None:
    with pytest.raises(SegpipeError, match=words):
        imported(
            "coco-panoptic", source, root, "--annotations", write(tmp_path / "p.json", content)
        )
    assert not root.exists()


def box(x: int, y: int, w: int, h: int) -> dict[str, Any]:
    """A rectangle as uncompressed runs of a 6 x 8 image."""
    mask = np.zeros((6, 8), np.bool_)
    mask[y : y + h, x : x + w] = True
    flat = np.concatenate([[False], mask.T.ravel(), [not mask[-1, -1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return {"size": [6, 8], "counts": np.diff(np.concatenate([[0], edges])).tolist()}


def result(image: int, segmentation: object, score: object = 0.5, category: int = 1) -> Any:
    return {
        "image_id": image, "category_id": category, "segmentation": segmentation, "score": score,
    }  # fmt: skip


def test_results_are_painted_by_score_and_what_is_wrong_refuses_its_image(
    root: Path, tmp_path: Path
) -> None:
    results = [
        result(1, box(0, 0, 4, 4), 0.2),
        result(1, box(2, 2, 4, 4), 0.9),
        result(2, box(0, 0, 8, 6)),
        result(3, box(0, 0, 2, 2), "0.5"),
        result(4, box(0, 0, 2, 2), category=5),
        result(5, {"size": [6, 8], "counts": [3]}),
        result(6, {"size": [7, 8], "counts": [56]}),
        result(7, [[0, 0, 4, 0, 4, 4]]),
        result(99, box(0, 0, 2, 2)),
    ]
    truth = {
        "images": [
            {"id": n, "file_name": f"img-{n}.jpg", "height": 6, "width": 8} for n in range(1, 9)
        ],
        "categories": CATEGORIES,
    }
    path, known = write(tmp_path / "r.json", results), write(tmp_path / "gt.json", truth)
    imported("coco-results", path, root, "--categories", known, "--images", known, "--empty-images")
    accepted, rejected = judged(root)
    assert accepted["img-1"] == {"0 background": 20, "1 person": 12, "2 person": 16}
    assert accepted["img-2"] == {"1 person": 48}
    assert accepted["img-7"].keys() == {"0 background", "1 person"}
    assert accepted["img-8"] == {"0 background": 48}
    assert rules(rejected) == {
        "img-3": ["IMPORT-UNREADABLE"],
        "img-4": ["IMPORT-UNREADABLE"],
        "img-5": ["IMPORT-UNREADABLE"],
        "img-6": ["SIZE-MISMATCH"],
        "99": ["IMPORT-UNREADABLE"],
    }
    assert "score is '0.5'" in rejected["img-3"][0][1]
    assert "fill 3 pixels of 48" in rejected["img-5"][0][1]


def test_ground_truth_given_as_results_is_recognised(root: Path, tmp_path: Path) -> None:
    truth = write(tmp_path / "gt.json", {"images": [], "categories": CATEGORIES})
    with pytest.raises(SegpipeError, match="is it the ground truth"):
        imported("coco-results", truth, root, "--categories", truth)


# --- there and back


def publish(root: Path) -> dict[str, str]:
    """Publish the partition; item -> fingerprint."""
    from datetime import UTC, datetime

    opened = Root.open(str(root))
    assert opened.materialize(PARTITION).rejected == 0
    by = Provenance("default", "unet", PARTITION.date, "run", datetime.now(UTC))
    opened.publish(PARTITION, provenance=by)
    rows = opened.catalog.read(["reference_id", "fingerprint"]).to_pylist()
    return {row["reference_id"]: row["fingerprint"] for row in rows}


def export_and_import(root: Path, kind: str, place: Path) -> dict[str, str]:
    """Export what is published and publish it from there; item -> fingerprint."""
    out, other = place / "out", place / "other"
    invoked("export", "--root", root, "--model-run", "unet", "--as", kind, out)
    if kind == "mask-folder":
        imported(kind, out / "masks", other, "--labels", out / "labels.json")
    else:
        imported(kind, out / "panoptic", other, "--annotations", out / "panoptic.json")
    return publish(other)


METADATA = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=6),
    st.one_of(st.booleans(), st.integers(-9, 9), st.text(st.characters(codec="utf-8"), max_size=5)),
    max_size=2,
)


@pytest.mark.parametrize("kind", ["coco-panoptic", "mask-folder"])
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_what_is_exported_and_imported_is_the_same_prediction(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("there-and-back")
    ids = data.draw(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
            .filter(str.strip),
            min_size=1, max_size=3, unique_by=str.casefold,
        )
    )  # fmt: skip
    with ManifestWriter(place / "root", "unet", PARTITION.date) as writer:
        for id in ids:
            mask = data.draw(numpy_arrays(np.uint8, (3, 4)))
            present = sorted({*np.unique(mask).tolist(), data.draw(st.integers(0, 255))})
            segments = [
                Segment(
                    data.draw(st.sampled_from(["Car", "Road", "ä'\""])), value, data.draw(METADATA)
                )
                for value in present
            ]
            annotation_id = data.draw(st.none() | st.just(f"a-{id}"))
            writer.add(id, mask, segments, annotation_id=annotation_id, check=False)
    before = publish(place / "root")
    assert export_and_import(place / "root", kind, place) == before


def test_exporting_what_is_not_published_names_what_is(root: Path, tmp_path: Path) -> None:
    with ManifestWriter(root, "unet", PARTITION.date) as writer:
        writer.add("a", STRIPES, [Segment("x", value) for value in range(3)])
    publish(root)
    with pytest.raises(SegpipeError, match="model runs: unet"):
        invoked("export", "--root", root, "--model-run", "u", "--as", "mask-folder", tmp_path / "o")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    with pytest.raises(SegpipeError, match="not an empty folder"):
        invoked(
            "export", "--root", root, "--model-run", "unet", "--as", "mask-folder",
            tmp_path / "full",
        )  # fmt: skip
    assert (tmp_path / "full" / "x").read_text() == "mine"


def test_arrays_of_python_objects_say_what_they_are_and_what_to_save(
    source: Path, root: Path, labels: Path
) -> None:
    np.save(source / "objects.npy", np.array([1, None], object))
    np.save(source / "img_seg.npy", np.array({"masks": STRIPES}, object), allow_pickle=True)
    imported("arrays", source, root, "--labels", labels)
    for found in judged(root)[1].values():
        ((_, message),) = found
        assert "it holds Python objects, which are not opened: save an array of whole" in message
