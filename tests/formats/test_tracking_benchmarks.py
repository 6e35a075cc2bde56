"""BDD100K's bitmasks, MOTS and KITTI-STEP, in the structures of their toolkits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pycocotools import mask as coco

from segpipe.errors import SettingsError
from segpipe.formats.opening import open_source
from tests.fixtures.imports import areas, imported, judged, read, rules, save, write


def rows(*samples: tuple[int, ...]) -> np.ndarray:
    """A row of four pixels for each."""
    return np.repeat(np.array(samples, np.uint8)[:, None], 4, axis=1)


def test_a_bitmask_has_category_attributes_and_instance_and_its_scores(tmp_path: Path) -> None:
    source = tmp_path / "masks"
    save(source / "a.png", rows((0, 0, 0, 0), (3, 8, 1, 2), (3, 6, 0, 7), (8, 1, 0, 9)))
    save(source / "pan.png", rows((3, 0, 0, 1), (31, 0, 0, 31)))
    save(source / "torn.png", rows((3, 0, 0, 1), (4, 0, 0, 1)))
    save(source / "grey.png", np.zeros((2, 2), np.uint8))
    labels = [{"id": "258", "score": 0.5}, {"index": 7, "score": 0.25}, {"id": 77, "score": 0.1}]
    scores = write(tmp_path / "scores.json", {"frames": [{"name": "a.jpg", "labels": labels}]})
    done = imported("bdd100k", source, tmp_path / "root", "--task", "ins-seg", "--scores", scores)
    assert "1 imported, 3 refused" in done.output
    accepted, rejected = judged(tmp_path / "root")
    assert accepted == {"a": {"0 background": 4, "1 car": 4, "2 car": 4, "3 bicycle": 4}}
    assert rules(rejected) == {
        "pan": ["IMPORT-UNREADABLE"], "torn": ["IMPORT-UNREADABLE"], "grey": ["MASK-COLOUR"],
    }  # fmt: skip
    assert "--task pan-seg" in rejected["pan"][0][1]
    one = read("bdd100k", source, task="ins-seg", scores=scores)["a"]
    by_label = [(s.confidence, s.metadata.get("source_id")) for s in one.segments]
    assert by_label == [(None, None), (0.25, 7), (0.5, 258), (None, 9)]
    assert {"occluded", "iscrowd"} < one.segments[1].metadata.keys()
    assert one.segments[3].metadata["ignore"] is True
    assert "1 scores of instances without pixels" in one.findings[0].message
    panoptic = read("bdd100k", source, task="pan-seg")["pan"]
    assert areas(panoptic) == {"0 ground": 4, "1 person": 4}
    assert [s.metadata["isthing"] for s in panoptic.segments] == [False, True]


def test_scores_that_cannot_be_read_name_the_frame(tmp_path: Path) -> None:
    save(tmp_path / "a.png", rows((0, 0, 0, 0)))
    scores = write(tmp_path / "s.json", [{"name": "a.png", "labels": [{"id": 1}]}])
    with pytest.raises(SettingsError, match=r"a\.png has .*expected id and score"):
        open_source("bdd100k", tmp_path, task="ins-seg", scores=scores)


def rle(mask: np.ndarray) -> str:
    return str(coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode())


IDS = np.repeat(np.array([0, 1005, 2001, 10000], np.uint16)[:, None], 4, axis=1)


def line(frame: int, id: int, kind: int) -> str:
    return f"{frame} {id} {kind} 4 4 {rle(id == IDS)}"


def test_pngs_and_text_files_of_mots_are_the_same_predictions(tmp_path: Path) -> None:
    save(tmp_path / "png" / "0002" / "000007.png", IDS)
    (tmp_path / "txt").mkdir()
    objects = [line(7, 10000, 10), line(7, 1005, 1), line(7, 2001, 2)]
    write(tmp_path / "txt" / "0002.txt", "\n".join(objects))
    (masks,) = read("mots", tmp_path / "png").values()
    (text,) = read("mots", tmp_path / "txt").values()
    assert masks.reference_id == text.reference_id == "0002/000007"
    assert masks.carried == text.carried == {"sequence": "0002", "frame": 7}
    assert areas(masks) == {"0 background": 4, "1 car": 4, "2 pedestrian": 4, "3 ignored": 4}
    assert areas(text) == {"0 background": 4, "1 ignored": 4, "2 car": 4, "3 pedestrian": 4}
    assert [s.metadata for s in sorted(masks.segments, key=lambda s: s.label)] == [
        s.metadata for s in sorted(text.segments, key=lambda s: s.label)
    ]
    save(tmp_path / "png" / "0002" / "000008.png", IDS + 4000)
    assert "no class of MOTS" in read("mots", tmp_path / "png")["0002/000008"].findings[0].message


def test_what_is_wrong_with_a_line_is_told_of_its_frame(tmp_path: Path) -> None:
    source = tmp_path / "txt"
    source.mkdir()
    whole = f"5 1006 1 4 4 {rle(IDS >= 0)}"
    bad = [
        f"x {line(1, 1005, 1)}", line(2, 1005, 1)[:-2], line(3, 1005, 5), line(4, 1005, 1),
        line(4, 1005, 1), line(5, 1005, 1), whole,
        line(6, 2001, 2), "7 1 1 4 4",
    ]  # fmt: skip
    write(source / "a.txt", "\n".join(bad))
    found = read("mots", source)
    assert areas(found["a/000006"]) == {"0 background": 12, "1 pedestrian": 4}
    told = {name: one.findings[0].message for name, one in found.items() if one.mask is None}
    assert "a.txt, line 1: it begins with 'x'" in told[""]
    assert "line 2: " in told["a/000002"] and "the class is 5" in told["a/000003"]
    assert "an id occurs twice" in told["a/000004"]
    assert found["a/000005"].findings[0].rule == "OVERLAP-REFUSED"
    assert "expected frame, id, class, height, width and rle" in told["a/000007"]


def test_kitti_step_has_class_and_instance_and_crowds_without_one(tmp_path: Path) -> None:
    source = tmp_path / "maps"
    save(
        source / "0006" / "000001.png",
        rows((255, 3, 4), (255, 0, 0), (13, 1, 2), (13, 0, 0), (0, 0, 0)),
    )
    save(source / "0006" / "000002.png", rows((19, 0, 0)))
    found = read("kitti-step", source)
    one = found["0006/000001"]
    assert areas(one) == {"0 road": 4, "1 car": 4, "2 void": 8, "3 car": 4}
    assert one.segments[3].metadata["track_id"] == 258
    assert one.segments[1].metadata["iscrowd"] is True
    assert "--labels FILE" in found["0006/000002"].findings[0].message
    labels = write(tmp_path / "mine.csv", "index,label,isthing\n19,boat,thing\n")
    other = read("kitti-step", source, labels=labels)["0006/000002"]
    assert other.segments[0].label == "boat"


def test_tracks_come_back_from_all_three_forms(data_sets: Path, tmp_path: Path) -> None:
    """A frame's objects (of research data: BDD100K's), written as each toolkit writes them."""
    pairs = data_sets.parent / "evaluation"
    data = next(pairs / name for name in ("bdd_mots", "street") if (pairs / name).is_dir())
    said = {
        row["reference_id"]: json.loads(row["segments"])
        for row in pq.read_table(data / "pred.parquet").to_pylist()
    }
    names = ("pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
    whole = {}
    for item in sorted(said)[:1]:
        mask = np.asarray(Image.open(data / "pred" / f"{item}.png"))
        kinds = {s["index"]: s["label"] for s in said[item] if s["label"] in names}
        bits, ids = np.zeros((*mask.shape, 4), np.uint8), np.zeros(mask.shape, np.uint16)
        step = np.zeros((*mask.shape, 3), np.uint8)
        for index, label in kinds.items():
            where = mask == index
            bits[where] = (names.index(label) + 1, 0, index >> 8, index & 255)
            ids[where] = (1000 if label == "car" else 2000) + index
            step[where] = (13, 0, index)
        save(tmp_path / "bits" / f"{item}.png", bits)
        save(tmp_path / "ids" / f"{item}.png", ids)
        save(tmp_path / "step" / f"{item}.png", step)
        whole[item] = {i: int((mask == i).sum()) for i in kinds if (mask == i).any()}
    assert any(whole.values())
    for kind, folder, options in (
        ("bdd100k", "bits", {"task": "seg-track"}), ("mots", "ids", {}), ("kitti-step", "step", {}),
    ):  # fmt: skip
        for item, one in read(kind, tmp_path / folder, **options).items():
            pixels = areas(one)
            back = {
                s.metadata["source_id"] % 1000: pixels[f"{s.index} {s.label}"]
                for s in one.segments if "source_id" in s.metadata
            }  # fmt: skip
            assert back == whole[item]
