"""COCO files, imported and exported, against facts computed independently of segpipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from segpipe.formats.coco_panoptic import CocoPanoptic
from segpipe.formats.coco_results import CocoResults
from segpipe.formats.exporting import export_mask_folder, published
from segpipe.formats.files import Naming
from segpipe.formats.identifiers import Over256
from segpipe.formats.importing import import_format
from segpipe.formats.label_map import read_label_map
from segpipe.formats.labels import Labels
from segpipe.formats.manifest_writer import ManifestWriter
from segpipe.formats.mask_folder import MaskFolder
from segpipe.formats.overlaps import Overlaps
from segpipe.masks.decoding import decode_mask
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
from tests.fixtures.command_line import export_panoptic
from tests.fixtures.landing import PARTITION

Accepted = dict[str, tuple[dict[str, Any], np.ndarray, list[dict[str, Any]]]]


def land(root: Path, source: Any) -> None:
    """Write a source's manifest."""
    writer = ManifestWriter(
        root, PARTITION.model_run, PARTITION.date, carried=source.carried, importing=True
    )
    with writer:
        import_format(source, writer)


def accepted(place: Path) -> Accepted:
    """Item -> row, pixels and segments (metadata read), all of them accepted."""
    root = Root.open(str(place))
    assert root.materialize(PARTITION).rejected == 0
    found = {}
    for batch in root.validated(PARTITION).batches(100):
        for row, segments in zip(batch.rows.to_pylist(), batch.segments.to_pylist(), strict=True):
            pixels = decode_mask((place / row["mask_path"]).read_bytes()).pixels
            read = [{**one, "metadata": json.loads(one["metadata"])} for one in segments]
            found[row["reference_id"]] = (row, pixels, read)
    return found


def publish(place: Path) -> dict[str, str]:
    """Publish what is validated; item -> fingerprint."""
    root = Root.open(str(place))
    by = Provenance("default", PARTITION.model_run, PARTITION.date, "run", datetime.now(UTC))
    root.publish(PARTITION, provenance=by)
    rows = root.catalog.read(["reference_id", "fingerprint"]).to_pylist()
    return {row["reference_id"]: row["fingerprint"] for row in rows}


# --- panoptic


@pytest.fixture
def samples(data_sets: Path) -> Path:
    return data_sets / "coco_panoptic" / "sample_data"


def panoptic(samples: Path) -> CocoPanoptic:
    annotations = samples / "panoptic_examples.json"
    return CocoPanoptic.open(samples / "panoptic_examples", annotations, None, Over256.REFUSE)


def test_panoptic_images_match_the_facts_value_for_value(
    samples: Path, all_facts: Mapping[str, Any], tmp_path: Path
) -> None:
    land(tmp_path, panoptic(samples))
    found = accepted(tmp_path)
    assert {f"panoptic_{item}" for item in found} == {
        one for one in all_facts if "panoptic_" in one
    }
    for item, (row, pixels, segments) in found.items():
        facts = all_facts[f"panoptic_{item}"]
        source = {one["metadata"]["source_id"]: one for one in segments}
        assert {str(id): one["area_px"] for id, one in source.items()} == facts["facts"]["values"]
        assert [id for id, one in source.items() if one["metadata"].get("iscrowd")] == sorted(
            facts["crowd"]
        )
        assert (source[0]["label"], source[0]["metadata"]["ignore"]) == ("void", True)
        by_category: dict[str, int] = {}
        for one in segments:
            category = one["metadata"].get("category_id")
            if category is not None:
                by_category[str(category)] = by_category.get(str(category), 0) + one["area_px"]
        assert by_category == facts["semantic_pixels"]
        picture = np.asarray(Image.open(samples / "panoptic_examples" / f"{item}.png"))
        ids = picture.astype(np.int64) @ [1, 256, 65536]
        id_of = np.array([one["metadata"]["source_id"] for one in segments])
        np.testing.assert_array_equal(id_of[pixels], ids)
        assert (row["height"], row["width"], row["image_id"]) == (*ids.shape, str(int(item)))


def test_panoptic_images_agree_with_their_two_channel_pictures(
    samples: Path, tmp_path: Path
) -> None:
    """Channel 0 is the category, channel 1 numbers the instances of a category."""
    land(tmp_path, panoptic(samples))
    for item, (_, pixels, segments) in accepted(tmp_path).items():
        channels = np.asarray(Image.open(samples / "panoptic_examples_2ch_format" / f"{item}.png"))
        category_of = np.array([one["metadata"].get("category_id", 0) for one in segments])
        np.testing.assert_array_equal(category_of[pixels], channels[..., 0])
        pairs = np.unique(channels[..., :2].astype(int) @ [1, 1000] + pixels.astype(int) * 10**6)
        assert pairs.size == len(segments)


def test_an_export_numbered_like_the_ground_truth_says_what_the_ground_truth_says(
    samples: Path, tmp_path: Path
) -> None:
    truth = json.loads((samples / "panoptic_examples.json").read_text())
    land(tmp_path / "one", panoptic(samples))
    accepted(tmp_path / "one")
    before = publish(tmp_path / "one")
    written = export_panoptic(
        tmp_path / "one", tmp_path / "out", samples / "panoptic_examples.json"
    )
    assert [written["categories"]] == [
        [{key: one[key] for key in ("id", "name", "isthing")} for one in truth["categories"]]
    ]

    def said(content: Mapping[str, Any]) -> dict[int, Any]:
        return {
            one["image_id"]: (
                one["file_name"],
                sorted(
                    (s["category_id"], s["area"], tuple(s["bbox"]), s["iscrowd"])
                    for s in one["segments_info"]
                ),
            )
            for one in content["annotations"]
        }

    assert said(written) == said(truth)
    for annotation in truth["annotations"]:
        name = annotation["file_name"]
        there = np.asarray(Image.open(samples / "panoptic_examples" / name)).astype(np.int64)
        here = np.asarray(Image.open(tmp_path / "out" / "panoptic" / name)).astype(np.int64)
        np.testing.assert_array_equal(there.any(axis=-1), here.any(axis=-1))  # void is void
        both = np.unique(there @ [1, 256, 65536] * 1000 + here @ [1, 256, 65536])
        assert both.size == len(annotation["segments_info"]) + 1

    again = CocoPanoptic.open(
        tmp_path / "out" / "panoptic", tmp_path / "out" / "panoptic.json", None, Over256.REFUSE
    )
    land(tmp_path / "two", again)
    accepted(tmp_path / "two")
    assert publish(tmp_path / "two") == before


# --- results


def results(data_sets: Path, overlaps: Overlaps, path: Path | None = None) -> CocoResults:
    truth = data_sets / "coco_rle" / "gt_20.json"
    source = path or data_sets / "coco_rle" / "results_20.json"
    return CocoResults.open(source, truth, truth, overlaps, Over256.REFUSE, empty=False)


@pytest.mark.parametrize("overlaps", [Overlaps.SCORE, Overlaps.AREA])
def test_visible_pixels_of_every_instance_match_the_facts(
    data_sets: Path, all_facts: Mapping[str, Any], tmp_path: Path, overlaps: Overlaps
) -> None:
    facts = all_facts["coco_rle_dev"]
    land(tmp_path, results(data_sets, overlaps))
    found = accepted(tmp_path)
    assert len(found) == facts["n"]
    instances = hidden = 0
    for row, pixels, segments in found.values():
        image = facts["images"][row["image_id"]]
        assert [row["width"], row["height"]] == image["size"]
        things = [one for one in segments if one["label"] != "background"]
        for place, (one, fact) in enumerate(zip(things, image["instances"], strict=True), 1):
            told = one["metadata"]
            visible = fact[f"visible_by_{overlaps}"]
            assert one["index"] == told["instance"] == place
            assert (told["category_id"], told["area"]) == (fact["category_id"], fact["area"])
            assert one["area_px"] == told["visible_area"] == visible
            assert int((pixels == place).sum()) == visible
            assert one["confidence"] == pytest.approx(fact["score"], abs=5e-4)
            instances += 1
            hidden += visible == 0
        assert int((pixels > 0).sum()) == image["union"]
    assert instances == facts["n_instances"]
    assert hidden == facts[f"instances_fully_hidden_by_{overlaps}"]


def test_images_that_overlap_are_refused_where_that_is_asked_for(
    data_sets: Path, all_facts: Mapping[str, Any]
) -> None:
    images = all_facts["coco_rle_dev"]["images"]
    refused = {
        one.carried["image_id"]: one.findings[0].found
        for one in results(data_sets, Overlaps.ERROR).predictions()
        if [finding.rule for finding in one.findings] == ["OVERLAP-REFUSED"]
    }
    assert refused == {
        id: f"{image['overlap_pixels']} pixels"
        for id, image in images.items()
        if image["overlap_pixels"]
    }


def test_polygons_and_crowds_cover_what_pycocotools_says(data_sets: Path, tmp_path: Path) -> None:
    """The ground truth, read as results: polygons, and crowds as uncompressed runs."""
    truth = json.loads((data_sets / "coco_rle" / "gt_20.json").read_text())
    sizes = {one["id"]: (one["height"], one["width"]) for one in truth["images"]}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(truth["annotations"]))
    read = list(results(data_sets, Overlaps.AREA, path).predictions())
    assert not [one for one in read if one.mask is None]
    areas = {one.carried["image_id"]: dict(told(one)) for one in read}
    places: dict[int, int] = {}
    for annotation in truth["annotations"]:
        id = annotation["image_id"]
        places[id] = places.get(id, 0) + 1
        runs = coco.frPyObjects(annotation["segmentation"], *sizes[id])
        expected = int(coco.area(coco.merge(runs) if isinstance(runs, list) else runs))
        assert areas[str(id)][places[id]] == expected
    assert sum(places.values()) == len(truth["annotations"]) > 30


def told(one: Any) -> Iterator[tuple[int, int]]:
    """Instance -> its area."""
    for segment in one.segments:
        if "instance" in segment.metadata:
            yield segment.metadata["instance"], segment.metadata["area"]


def test_the_run_lengths_of_the_panoptic_samples_are_their_panoptic_pictures(
    samples: Path, tmp_path: Path
) -> None:
    """COCO publishes the two images in both forms."""
    content = json.loads((samples / "panoptic_coco_detection_format.json").read_text())
    path, lists = tmp_path / "results.json", samples / "panoptic_examples.json"
    path.write_text(json.dumps(content["annotations"]))
    source = CocoResults.open(path, lists, lists, Overlaps.ERROR, Over256.REFUSE, empty=False)
    there = {one.reference_id: one for one in panoptic(samples).predictions()}
    for one in source.predictions():
        other = there[one.reference_id]
        assert one.pixels is not None
        assert other.pixels is not None
        pairs = np.unique(one.pixels.astype(int) * 256 + other.pixels)
        assert pairs.size == len(one.segments) == len(other.segments)
        for pair in pairs.tolist():
            here, yonder = one.segments[pair // 256], other.segments[pair % 256]
            expected = "background" if yonder.label == "void" else yonder.label
            assert here.label == expected
            if "isthing" in yonder.metadata:
                assert here.metadata["isthing"] == yonder.metadata["isthing"]


def test_results_come_back_from_a_folder_of_masks(data_sets: Path, tmp_path: Path) -> None:
    land(tmp_path / "one", results(data_sets, Overlaps.SCORE))
    accepted(tmp_path / "one")
    before = publish(tmp_path / "one")
    root = Root.open(str(tmp_path / "one"))
    out = tmp_path / "out"
    predictions = published(root.catalog, root.settings.dataset, PARTITION.model_run)
    assert export_mask_folder(predictions, out) == len(before) >= 5
    land(tmp_path / "two", MaskFolder.open(out / "masks", Labels(), Naming()))
    accepted(tmp_path / "two")
    assert publish(tmp_path / "two") == before
    assert read_label_map(out / "labels.json")[0].label == "background"
