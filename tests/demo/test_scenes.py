"""The demo's drawings and files, read with Pillow and PyArrow alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from segpipe.demo.landing import DEFECTS, DemoLanding, write_demo_landing
from segpipe.demo.scenes import Scene, draw_scene, predicted, seed_example
from tests.fixtures.files import content

ITEMS = 4  # the fewest that hold all defects


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoLanding]:
    root = tmp_path_factory.mktemp("demo")
    return root, write_demo_landing(root, items_per_day=ITEMS)


def scene_of(seed: int, **size: int) -> Scene:
    return draw_scene(np.random.default_rng(seed), f"scene-{seed}", **size)


def values(mask: np.ndarray) -> list[int]:
    return np.unique(mask).tolist()


def folder_of(root: Path, model_run: str, date: str) -> Path:
    return root / "manifests" / f"model_run={model_run}" / f"date={date}"


def rows_of(root: Path, model_run: str, date: str) -> list[dict[str, Any]]:
    manifest = folder_of(root, model_run, date) / "predictions.parquet"
    rows: list[dict[str, Any]] = pq.read_table(manifest, partitioning=None).to_pylist()
    for row in rows:
        if isinstance(row["segments"], str):
            row["segments"] = json.loads(row["segments"])
    return rows


def test_equal_seeds_draw_equal_pixels_and_segments() -> None:
    first, second = scene_of(3), scene_of(3)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.mask, second.mask)
    assert first.segments == second.segments
    assert not np.array_equal(first.image, scene_of(4).image)


@pytest.mark.parametrize("seed", range(16))
def test_every_value_has_a_segment_and_every_segment_has_pixels(seed: int) -> None:
    scene = scene_of(seed)
    assert scene.mask.dtype == np.uint8
    assert scene.image.shape == (360, 480, 3)
    assert scene.image.dtype == np.uint8
    assert [s.index for s in scene.segments] == list(range(len(scene.segments)))
    assert values(scene.mask) == [s.index for s in scene.segments]
    for segment in scene.segments:
        assert segment.confidence == round(segment.confidence or 0, 2)
        assert (segment.label == "Person") == ("pose" in segment.metadata)


@pytest.mark.parametrize(("height", "width"), [(240, 320), (480, 360), (120, 120)])
def test_scenes_are_as_large_as_asked(height: int, width: int) -> None:
    for seed in range(4):
        scene = scene_of(seed, height=height, width=width)
        assert scene.mask.shape == (height, width)
        assert scene.image.shape == (height, width, 3)
        assert values(scene.mask) == [s.index for s in scene.segments]


def test_scenes_differ_and_show_what_streets_have() -> None:
    scenes = [scene_of(seed) for seed in range(16)]
    labels = {segment.label for scene in scenes for segment in scene.segments}
    assert labels >= {
        "Background", "Building", "Tree", "Wall", "Fence", "Pavement", "Road", "Person", "Car",
        "Bird",
    }  # fmt: skip
    assert {s.metadata.get("pose") for scene in scenes for s in scene.segments} == {
        None, "standing", "walking",
    }  # fmt: skip


def test_what_the_border_cuts_is_marked_truncated() -> None:
    marked = 0
    for seed in range(16):
        scene = scene_of(seed)
        edge = np.concatenate([scene.mask[0], scene.mask[-1], scene.mask[:, 0], scene.mask[:, -1]])
        for segment in scene.segments:
            if segment.metadata.get("truncated"):
                assert segment.index in edge
                marked += 1
            elif segment.label in {"Car", "Person"}:
                assert segment.index not in edge
    assert marked


def test_the_seed_example_has_its_documented_segments_and_each_can_be_seen() -> None:
    scene = seed_example()
    facts = [(s.index, s.label, s.metadata) for s in scene.segments]
    assert scene.reference_id == "seed-street"
    assert facts == [
        (0, "Background", {}),
        (1, "Building", {"confidence": 0.1}),
        (2, "Tree", {"confidence": 0.3}),
        (3, "Wall", {"confidence": 0.3}),
        (4, "Fence", {"confidence": 0.7}),
        (5, "Pavement", {"confidence": 0.42}),
        (6, "Person", {"confidence": 0.6, "pose": "standing"}),
        (7, "Handbag", {"confidence": 0.9}),
        (8, "Bird", {"confidence": 0.8}),
        (9, "Bird", {"confidence": 0.8}),
        (10, "Bird", {"confidence": 0.8}),
    ]
    areas = np.bincount(scene.mask.ravel(), minlength=11)
    assert len(areas) == 11
    assert areas.min() >= 50
    assert np.array_equal(scene.mask, seed_example().mask)
    assert np.array_equal(scene.image, seed_example().image)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("skill", [0.0, 0.55, 1.0])
def test_predictions_are_valid_and_leave_the_scene_as_it_is(seed: int, skill: float) -> None:
    scene = scene_of(seed)
    before = scene.mask.copy()
    said = predicted(scene, np.random.default_rng(seed), skill)
    assert np.array_equal(scene.mask, before)
    assert said.mask.dtype == np.uint8
    assert said.mask.shape == scene.mask.shape
    assert values(said.mask) == [s.index for s in said.segments]
    labels = {s.index: s.label for s in scene.segments}
    for segment in said.segments:
        assert segment.label == labels[segment.index]
        assert 0 <= (segment.confidence or 0) <= 1


def test_a_better_model_is_closer_to_the_scene_and_a_perfect_one_repeats_it() -> None:
    scene = scene_of(5)
    wrong = [
        float((predicted(scene, np.random.default_rng(1), skill).mask != scene.mask).mean())
        for skill in (0.2, 0.55, 0.85, 1.0)
    ]
    assert wrong == sorted(wrong, reverse=True)
    assert 0 < wrong[2] < wrong[1] < 0.15
    assert wrong[3] == 0


def test_nothing_wraps_around_the_border() -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, :6] = 1
    scene = Scene("edge", np.zeros((60, 80, 3), np.uint8), mask, ())
    for seed in range(20):
        said = predicted(scene, np.random.default_rng(seed), 0.0)
        assert not said.mask[:, 40:].any()


def test_equal_seeds_write_equal_bytes_also_over_what_is_there(
    written: tuple[Path, DemoLanding], tmp_path: Path
) -> None:
    root, landing = written
    expected = content(root)
    assert write_demo_landing(tmp_path, items_per_day=ITEMS) == landing
    assert content(tmp_path) == expected
    (tmp_path / "images" / "seed-street.jpg").write_bytes(b"damaged")
    (tmp_path / "images" / "mine.txt").write_text("not the demo's")
    assert write_demo_landing(tmp_path, items_per_day=ITEMS) == landing
    assert content(tmp_path) == {**expected, "images/mine.txt": b"not the demo's"}


def test_another_seed_writes_other_items(written: tuple[Path, DemoLanding], tmp_path: Path) -> None:
    root, _ = written
    write_demo_landing(tmp_path, seed=1, items_per_day=ITEMS)
    name = "images/street-2-001.jpg"
    assert (tmp_path / name).read_bytes() != (root / name).read_bytes()


def test_too_few_items_for_the_defects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 4"):
        write_demo_landing(tmp_path, items_per_day=ITEMS - 1)
    assert list(tmp_path.iterdir()) == []


def test_both_model_runs_predict_the_same_items_and_every_image_is_there(
    written: tuple[Path, DemoLanding],
) -> None:
    root, landing = written
    first, second = landing.model_runs
    total = 0
    seen: set[str] = set()
    for date in landing.dates:
        of_day = [{row["reference_id"] for row in rows_of(root, m, date)} for m in (first, second)]
        assert of_day[0] == of_day[1]
        assert len(of_day[0]) == ITEMS
        assert not seen & of_day[0]
        seen |= of_day[0]
        for model_run in landing.model_runs:
            rows = rows_of(root, model_run, date)
            total += len(rows)
            for row in rows:
                image = folder_of(root, model_run, date) / row["image_url"]
                assert Image.open(image).size == (row["width"], row["height"])
                assert row["camera"]
    assert total == landing.rows
    assert "seed-street" in {r["reference_id"] for r in rows_of(root, first, landing.dates[0])}


def test_manifests_have_both_forms_of_segments_and_some_annotation_ids(
    written: tuple[Path, DemoLanding],
) -> None:
    root, landing = written
    kinds = []
    for model_run in landing.model_runs:
        manifest = folder_of(root, model_run, landing.dates[0]) / "predictions.parquet"
        schema = pq.read_schema(manifest)
        kinds.append(str(schema.field("segments").type))
        assert str(schema.field("height").type) == str(schema.field("width").type) == "int32"
        named = [r["annotation_id"] is None for r in rows_of(root, model_run, landing.dates[0])]
        assert any(named)
        assert not all(named)
    assert kinds[0].startswith("list<")
    assert kinds[1] == "string"


def test_some_masks_are_palette_images_of_four_and_of_eight_bits(tmp_path: Path) -> None:
    write_demo_landing(tmp_path, items_per_day=6)
    # The PNG specification puts bit depth and colour type (3: palette) at bytes 24 and 25.
    forms = {tuple(p.read_bytes()[24:26]) for p in tmp_path.rglob("masks/*.png")}
    assert forms >= {(8, 0), (8, 3), (4, 3)}


def test_masks_without_a_defect_are_the_size_of_their_image_and_explained(
    written: tuple[Path, DemoLanding],
) -> None:
    root, landing = written
    spoilt = {(d.model_run, d.date, d.reference_id) for d in landing.defects}
    checked = 0
    for model_run in landing.model_runs:
        for date in landing.dates:
            for row in rows_of(root, model_run, date):
                if (model_run, date, row["reference_id"]) in spoilt:
                    continue
                mask = np.asarray(Image.open(folder_of(root, model_run, date) / row["mask_url"]))
                assert mask.shape == (row["height"], row["width"])
                assert values(mask) == sorted(s["index"] for s in row["segments"])
                checked += 1
    assert checked == len(landing.model_runs) * len(landing.dates) * ITEMS - len(landing.defects)


def test_every_kind_of_defect_occurs_once_and_is_described(
    written: tuple[Path, DemoLanding],
) -> None:
    _, landing = written
    assert sorted(d.kind for d in landing.defects) == sorted(DEFECTS)
    assert all(d.description for d in landing.defects)
    assert all(d.reference_id != "seed-street" for d in landing.defects)


@pytest.mark.parametrize("kind", sorted(DEFECTS))
def test_a_listed_defect_is_really_present(written: tuple[Path, DemoLanding], kind: str) -> None:
    root, landing = written
    (defect,) = (d for d in landing.defects if d.kind == kind)
    folder = folder_of(root, defect.model_run, defect.date)
    rows = [
        row
        for row in rows_of(root, defect.model_run, defect.date)
        if row["reference_id"] == defect.reference_id
    ]
    path = folder / rows[0]["mask_url"]
    if kind in {"contradicting_row", "repeated_row"}:
        assert len(rows) == 2
        assert (rows[0] == rows[1]) == (kind == "repeated_row")
        assert {**rows[0], "segments": 0} == {**rows[1], "segments": 0}
        return
    assert len(rows) == 1
    if kind == "lost_file":
        assert not path.exists()
        return
    image = Image.open(path)
    explained = {s["index"] for s in rows[0]["segments"]}
    if kind == "cut_upload":
        assert not path.read_bytes().endswith(b"IEND\xaeB`\x82")
        with pytest.raises(OSError, match="truncated"):
            image.load()
    elif kind == "network_size":
        assert (image.width, image.height) == (rows[0]["width"] // 2, rows[0]["height"] // 2)
    elif kind == "void_border":
        assert set(values(np.asarray(image))) - explained == {255}
    else:
        assert kind == "colour_export"
        assert image.mode == "RGB"
