"""Views of panoptic masks, against the class and instance maps their makers publish."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segpipe.masks.decoding import decode_mask
from segpipe.predictions.view import View
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter

#: Label ids of the Cityscapes classes that have instances.
CITYSCAPES_THINGS = range(24, 34)


def dense(ids: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Ids as uint8 values 0, 1, ... in their order, and the id of each value."""
    present, values = np.unique(ids, return_inverse=True)
    assert present.size <= 256
    return values.reshape(ids.shape).astype(np.uint8), present.tolist()


def land(
    landing: LandingWriter, name: str, mask: np.ndarray, segments: list[Any]
) -> dict[str, Any]:
    """A manifest row with this mask, written."""
    return {
        "reference_id": name,
        "mask_url": landing.mask(name, mask),
        "height": mask.shape[0],
        "width": mask.shape[1],
        "segments": [
            {"label": label, "index": index, "metadata": json.dumps(metadata)}
            for label, index, metadata in segments
        ],
    }


def derived(root: Root, view: View) -> Iterator[tuple[str, np.ndarray, list[dict[str, Any]]]]:
    """Item, pixels and segments of every prediction of a view, made and read back."""
    root.materialize_view(PARTITION, view=view)
    for batch in root.view(PARTITION, view).batches(4):
        for row, segments in zip(batch.rows.to_pylist(), batch.segments.to_pylist(), strict=True):
            data = (Path(root.settings.root) / row["mask_path"]).read_bytes()
            yield row["reference_id"], decode_mask(data).pixels, segments


def one_to_one(here: np.ndarray, there: np.ndarray) -> bool:
    """Whether two maps divide the same pixels in the same way."""
    pairs = np.unique(here.astype(np.int64) * 10**6 + there)
    return pairs.size == np.unique(here).size == np.unique(there).size


# --- Cityscapes: labelIds is the class map of instanceIds


@pytest.fixture
def cityscapes(
    landing: LandingWriter, data_sets: Path, all_facts: Mapping[str, Any]
) -> tuple[Root, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """All pairs: the root with the instance maps landed; item -> its instance and label ids."""
    base = data_sets / "cityscapes" / "datasets" / "cityscapes"
    names = all_facts["cityscapes_train_labelIds"]["labelmap"]
    pairs, rows = {}, []
    for path in sorted(base.rglob("*_instanceIds.png")):
        labels = base / "train_label" / path.name.replace("instanceIds", "labelIds")
        ids = np.asarray(Image.open(path)).astype(np.int64)
        pairs[path.stem] = ids, np.asarray(Image.open(labels))
        mask, present = dense(ids)
        segments = []
        for value, source in enumerate(present):
            label_id = source if source < 1000 else source // 1000
            crowd = source < 1000 and label_id in CITYSCAPES_THINGS
            metadata = {"source_id": source, **({"iscrowd": True} if crowd else {})}
            segments.append((names[str(label_id)], value, metadata))
        rows.append(land(landing, path.stem, mask, segments))
    assert len(rows) == all_facts["cityscapes_train_instanceIds"]["n"]
    landing.manifest(rows)
    kinds = {
        name: "thing" if int(number) in CITYSCAPES_THINGS else "stuff"
        for number, name in sorted(names.items(), key=lambda entry: int(entry[0]))
    }
    listed = "\n".join(f'"{name}" = "{kind}"' for name, kind in kinds.items())
    (landing.root / "segpipe.toml").write_text(f"[policy.taxonomy]\n{listed}\n")
    root = Root.open(str(landing.root))
    assert root.materialize(PARTITION).accepted == len(rows)
    return root, pairs


def test_classes_of_cityscapes_instances_are_its_label_maps_pixel_for_pixel(
    cityscapes: tuple[Root, dict[str, tuple[np.ndarray, np.ndarray]]],
    all_facts: Mapping[str, Any],
) -> None:
    root, pairs = cityscapes
    totals: dict[str, int] = {}
    for name, pixels, segments in derived(root, View.SEMANTIC):
        # The taxonomy lists the classes in the order of their ids: a class has its id as index.
        assert (pixels == pairs[name][1]).all()
        for segment in segments:
            label_id = str(segment["index"])
            totals[label_id] = totals.get(label_id, 0) + segment["area_px"]
    facts = all_facts["cityscapes_train_labelIds"]["totals"]
    assert totals == {label_id: pixels for label_id, (pixels, _) in facts.items()}


def test_the_instance_view_of_cityscapes_keeps_each_instance_and_nothing_else(
    cityscapes: tuple[Root, dict[str, tuple[np.ndarray, np.ndarray]]],
) -> None:
    root, pairs = cityscapes
    seen = 0
    for name, pixels, segments in derived(root, View.INSTANCE):
        ids = pairs[name][0]
        assert ((pixels != 0) == (ids >= 1000)).all()
        assert one_to_one(pixels, np.where(ids >= 1000, ids, 0))
        sources = {s["index"]: json.loads(s["metadata"])["source_id"] for s in segments[1:]}
        assert all((ids[pixels == index] == source).all() for index, source in sources.items())
        assert segments[0]["label"] == "background"
        seen += len(sources)
    assert seen == sum(len(np.unique(ids[ids >= 1000])) for ids, _ in pairs.values())


# --- COCO panoptic: the two-channel PNGs hold category and instance number


CROWD = 255  # in the second channel


@pytest.fixture
def coco(
    landing: LandingWriter, data_sets: Path
) -> tuple[Root, dict[str, np.ndarray], dict[str, int]]:
    """The root with both images landed; item -> its two channels; label -> category id."""
    base = data_sets / "coco_panoptic"
    listed = json.loads((base / "panoptic_coco_categories.json").read_text())
    categories = {category["id"]: category for category in listed}
    described = json.loads((base / "sample_data" / "panoptic_examples.json").read_text())
    truth, rows = {}, []
    for annotation in described["annotations"]:
        file = annotation["file_name"]
        name = file.removesuffix(".png")
        colours = np.asarray(Image.open(base / "sample_data" / "panoptic_examples" / file))
        mask, present = dense(colours.astype(np.int64) @ np.array([1, 256, 65536]))
        infos = {info["id"]: info for info in annotation["segments_info"]}
        segments: list[tuple[str, int, dict[str, Any]]] = []
        for value, source in enumerate(present):
            if source == 0:
                segments.append(("void", value, {"ignore": True}))
                continue
            category = categories[infos[source]["category_id"]]
            flags = {"isthing": category["isthing"], "iscrowd": infos[source]["iscrowd"]}
            segments.append((category["name"], value, {"source_id": source, **flags}))
        rows.append(land(landing, name, mask, segments))
        channels = base / "sample_data" / "panoptic_examples_2ch_format" / file
        truth[name] = np.asarray(Image.open(channels))
    assert len(truth) == 2
    landing.manifest(rows)
    root = Root.open(str(landing.root))
    assert root.materialize(PARTITION).accepted == 2
    return root, truth, {"void": 0, **{category["name"]: category["id"] for category in listed}}


def test_classes_of_coco_panoptic_are_the_first_channel(
    coco: tuple[Root, dict[str, np.ndarray], dict[str, int]],
) -> None:
    root, truth, category_of = coco
    for name, pixels, segments in derived(root, View.SEMANTIC):
        to_category = np.zeros(256, np.uint8)
        for segment in segments:
            to_category[segment["index"]] = category_of[segment["label"]]
        assert (to_category[pixels] == truth[name][..., 0]).all()
        (void,) = (s for s in segments if json.loads(s["metadata"]).get("ignore"))
        assert (void["label"], void["area_px"]) == ("void", int((truth[name][..., 0] == 0).sum()))


def test_instances_of_coco_panoptic_are_the_second_channel(
    coco: tuple[Root, dict[str, np.ndarray], dict[str, int]], data_sets: Path
) -> None:
    root, truth, category_of = coco
    listed = json.loads((data_sets / "coco_panoptic" / "panoptic_coco_categories.json").read_text())
    things = [category["id"] for category in listed if category["isthing"]]
    for name, pixels, segments in derived(root, View.INSTANCE):
        category, number = (truth[name][..., channel].astype(np.int64) for channel in (0, 1))
        is_instance = np.isin(category, things) & (number != CROWD)
        void = next(s["index"] for s in segments if json.loads(s["metadata"]).get("ignore"))
        assert ((pixels == void) == (category == 0)).all()
        assert void != 0
        background = ~is_instance & (category != 0)
        assert ((pixels == 0) == background).all()
        own = np.where(is_instance, 1000 * category + number, np.where(background, -1, -2))
        assert one_to_one(pixels, own)
        for segment in segments:
            if segment["index"] not in (0, void):
                expected = category_of[segment["label"]]
                assert (category[pixels == segment["index"]] == expected).all()
