"""The demo data: drawn here, the same every time, with the defects it says."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from segpipe.demo.landing import DemoLanding, write_demo_landing
from segpipe.demo.scenes import draw_scene, predicted, seed_example
from segpipe.formats.importing import import_masks
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from tests.fixtures.command_line import segpipe


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoLanding]:
    """A small demo landing."""
    root = tmp_path_factory.mktemp("demo")
    return root, write_demo_landing(root, items_per_day=8, until=date(2026, 1, 7))


def test_the_seed_example_is_exactly_the_one_every_description_uses() -> None:
    scene = seed_example()
    assert [s.label for s in scene.segments] == [
        "Background", "Building", "Tree", "Wall", "Fence", "Pavement", "Person", "Handbag",
        "Bird", "Bird", "Bird",
    ]  # fmt: skip
    assert [s.index for s in scene.segments] == list(range(11))
    assert [s.confidence for s in scene.segments] == [
        None, 0.1, 0.3, 0.3, 0.7, 0.42, 0.6, 0.9, 0.8, 0.8, 0.8,
    ]  # fmt: skip
    assert scene.segments[6].metadata["pose"] == "standing"
    assert np.unique(scene.mask).tolist() == list(range(11))


@pytest.mark.parametrize("seed", range(12))
def test_drawn_and_predicted_masks_are_explained_pixel_for_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = draw_scene(rng, "scene")
    for said in (scene, predicted(scene, rng, 0.3)):
        assert np.unique(said.mask).tolist() == [s.index for s in said.segments]
        assert said.image.shape == (*said.mask.shape, 3)
        assert all(0 <= (s.confidence or 0) <= 1 for s in said.segments)


def test_two_model_runs_say_different_things_of_the_same_images() -> None:
    rng = np.random.default_rng(1)
    scene = draw_scene(rng, "scene")
    differing = [(predicted(scene, rng, skill).mask != scene.mask).mean() for skill in (0.2, 0.9)]
    assert differing[0] > differing[1]


@pytest.mark.slow
def test_equal_seeds_give_equal_files(demo: tuple[Path, DemoLanding], tmp_path: Path) -> None:
    first, landing = demo
    assert write_demo_landing(tmp_path, items_per_day=8, until=date(2026, 1, 7)) == landing

    def files(root: Path) -> dict[str, bytes]:
        return {
            str(p.relative_to(root)): p.read_bytes()
            for part in ("images", "manifests")
            for p in (root / part).rglob("*")
            if p.is_file()
        }

    assert files(first) == files(tmp_path)


def test_the_defects_are_there_and_each_is_found_for_what_it_is(
    demo: tuple[Path, DemoLanding],
) -> None:
    folder, landing = demo
    rules = {
        "cut_upload": "PNG-UNREADABLE",
        "contradicting_row": "REF-DUPLICATE",
        "network_size": "SIZE-MISMATCH",
        "void_border": "IGNORE-255",
        "colour_export": "MASK-COLOUR",
        "lost_file": "FILE-MISSING",
    }
    root = Root.open(str(folder))
    found: set[tuple[str, str, str, str]] = set()
    repeated = 0
    for partition in root.landing.partitions():
        summary = root.materialize(partition)
        repeated += summary.repeated
        rejected = Path(root.tables(partition).path) / "rejected.parquet"
        found |= {
            (partition.model_run, partition.date, row["reference_id"], row["rule"])
            for row in pq.read_table(rejected, partitioning=None).to_pylist()
            if row["severity"] == "reject"
        }
    expected = {
        (d.model_run, d.date, d.reference_id, rules[d.kind])
        for d in landing.defects
        if d.kind != "repeated_row"
    }
    assert found == expected
    assert repeated == 1


def test_both_forms_of_the_segments_column_and_palette_masks_occur(
    demo: tuple[Path, DemoLanding],
) -> None:
    folder, _ = demo
    forms = {
        model_run: pq.read_schema(
            folder / "manifests" / f"model_run={model_run}" / "date=2026-01-05/predictions.parquet"
        )
        .field("segments")
        .type
        for model_run in ("street-unet-v1", "street-unet-v2")
    }
    assert str(forms["street-unet-v1"]).startswith("list<")
    assert str(forms["street-unet-v2"]) == "string"
    modes = {Image.open(p).mode for p in (folder / "manifests").rglob("*3.png")}
    modes |= {Image.open(p).mode for p in (folder / "manifests").rglob("*5.png")}
    assert {"L", "P"} <= modes


@pytest.mark.slow
def test_the_demo_command_publishes_all_partitions_and_says_what_next(tmp_path: Path) -> None:
    done = segpipe("demo", "--root", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    assert "PNG-UNREADABLE" in done.stdout
    assert "segpipe dev --root" in done.stdout
    catalog = Root.open(str(tmp_path / "demo")).catalog.read(["model_run", "reference_id"])
    assert catalog.num_rows == 234
    again = segpipe("demo", "--root", tmp_path / "demo")
    assert again.returncode == 0
    assert Root.open(str(tmp_path / "demo")).catalog.read(["model_run"]).num_rows == 234
    report = json.dumps(again.stdout)
    assert "seed-street" not in report  # it is not among the rejected


def test_the_demo_refuses_a_root_with_other_settings(tmp_path: Path) -> None:
    (tmp_path / "segpipe.toml").write_text('dataset = "mine"\n')
    done = segpipe("demo", "--root", tmp_path)
    assert done.returncode == 2
    assert "choose another --root" in done.stderr
    assert (tmp_path / "segpipe.toml").read_text() == 'dataset = "mine"\n'


def test_the_labels_are_what_the_images_show_and_import_as_ground_truth(
    demo: tuple[Path, DemoLanding], tmp_path: Path
) -> None:
    folder, _ = demo
    done = import_masks(
        "coco-panoptic",
        folder / "labels",
        root=tmp_path,
        model_run="labels",
        date="2026-01-05",
        annotations=folder / "labels" / "panoptic.json",
    )
    assert (done.imported, done.refused) == (3 * 8, 0)
    root = Root.open(str(tmp_path))
    summary = root.materialize(Partition("labels", "2026-01-05"))
    assert (summary.accepted, summary.findings) == (3 * 8, {})
    table = pq.read_table(
        Path(root.tables(Partition("labels", "2026-01-05")).path) / "segments.parquet",
        columns=["label", "area_px"],
        filters=[("reference_id", "=", "seed-street")],
        partitioning=None,
    )
    scene = seed_example()
    areas = np.bincount(scene.mask.ravel()).tolist()
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        (segment.label, areas[segment.index]) for segment in scene.segments
    ]
