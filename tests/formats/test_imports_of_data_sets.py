"""Data sets imported as their users would, against facts computed without segpipe."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segpipe.formats.arrays import Arrays
from segpipe.formats.cityscapes import Cityscapes
from segpipe.formats.colour_map import ColourMasks
from segpipe.formats.files import Naming
from segpipe.formats.identifiers import Over256
from segpipe.formats.imported import Format
from segpipe.formats.importing import import_format
from segpipe.formats.label_map import LabelEntry
from segpipe.formats.labels import Labels
from segpipe.formats.manifest_writer import ManifestWriter
from segpipe.formats.mask_folder import MaskFolder
from segpipe.manifests.partition import Partition
from segpipe.root import Root

PARTITION = Partition("imported", "2026-01-05")
Facts = Mapping[str, Any]


def labels(facts: Facts, ignored: Mapping[int, str] | None = None, count: int = 256) -> Labels:
    """The set's label map where the facts have one, else numbered classes."""
    named = {int(k): v for k, v in facts["labelmap"].items()} if "labelmap" in facts else {}
    names = named or {index: f"class {index}" for index in range(count)}
    ignored = ignored or {}
    entries = {i: LabelEntry(n, i) for i, n in names.items() if i not in ignored}
    return Labels(entries, "", ignored)


def folder(make: Callable[[Facts], Labels]) -> Callable[[Path, Facts], Format]:
    return lambda source, facts: MaskFolder.open(source, make(facts), Naming())


CWFID = [
    LabelEntry("soil", None, colour=(0, 0, 0)),
    LabelEntry("weed", None, colour=(255, 0, 0)),
    LabelEntry("crop", None, colour=(0, 255, 0)),
]

#: Facts -> the folder of the masks below the set's, and how it is imported.
SETS: dict[str, tuple[str, Callable[[Path, Facts], Format]]] = {
    "camvid_train": ("trainannot", folder(lambda facts: labels(facts, {11: "void"}))),
    "camvid_val": ("valannot", folder(labels)),
    "ade20k_annotations": ("annotations", folder(lambda facts: labels(facts, {0: "unlabelled"}))),
    "labelme_class": ("SegmentationClass", folder(lambda facts: labels(facts, {255: "void"}))),
    "labelme_object": ("SegmentationObject", folder(lambda _: Labels({}, "object"))),
    "davis17_osvos_dev": ("", folder(lambda _: Labels({}, "object"))),
    "ocular_dev": ("", folder(labels)),
    "membrane_label": (
        "train/label",
        folder(lambda _: Labels({0: LabelEntry("membrane", 0), 255: LabelEntry("cell", 255)})),
    ),
    "cocostuff_train_label": ("train_label", folder(lambda facts: labels(facts, {255: "void"}))),
    "cocostuff_train_inst": ("train_inst", folder(lambda facts: labels(facts, {255: "void"}))),
    "cityscapes_train_instanceIds": (
        "train_inst",
        lambda source, _: Cityscapes.open(
            source, Naming(), Over256.REFUSE, ignore_unevaluated=True
        ),
    ),
    "cwfid_dev": ("annotations", lambda source, _: ColourMasks.open(source, CWFID, Naming())),
}


def imported(source: Format, root: Path) -> Root:
    """Import and validate; nothing may be refused or rejected."""
    writer = ManifestWriter(
        root,
        PARTITION.model_run,
        PARTITION.date,
        carried=source.carried,
        importing=True,
        replace=True,
    )
    with writer:
        summary = import_format(source, writer)
    assert (summary.refused, summary.findings) == (0, {})
    opened = Root.open(str(root))
    done = opened.materialize(PARTITION)
    assert (done.accepted, done.rejected, done.repeated) == (len(source), 0, 0)
    return opened


def source_value(segment: Mapping[str, Any]) -> int:
    """The value of a Segment in the file it came from, as the facts count it."""
    metadata = json.loads(segment["metadata"])
    if "source_colour" in metadata:  # the facts say R + 256 G + 65536 B
        red, green, blue = bytes.fromhex(metadata["source_colour"][1:])
        return red + 256 * green + 65536 * blue
    return int(metadata.get("source_id", segment["index"]))


def counted(root: Root) -> dict[str, dict[int, int]]:
    """Item -> source value -> pixels, as the segment table says."""
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for batch in root.validated(PARTITION).batches(100):
        ids = batch.rows["reference_id"].to_pylist()
        for id, segments in zip(ids, batch.segments.to_pylist(), strict=True):
            for segment in segments:
                found[id][source_value(segment)] = segment["area_px"]
    return found


@pytest.mark.parametrize("name", SETS)
def test_every_value_of_every_mask_keeps_its_pixels(
    data_sets: Path, all_facts: dict[str, Any], tmp_path: Path, name: str
) -> None:
    facts = all_facts[name]
    below, make = SETS[name]
    root = imported(make(data_sets / facts["base"] / below, facts), tmp_path)
    found = counted(root)
    prefix = f"{below}/" if below else ""
    assert found == {
        mask.removeprefix(prefix).removesuffix(".png"): {
            int(value): pixels for value, pixels in told["values"].items()
        }
        for mask, told in facts["masks"].items()
    }
    pixels, masks = Counter[int](), Counter[int]()
    for values in found.values():
        pixels.update(values)
        masks.update(values.keys())
    assert {str(value): [pixels[value], masks[value]] for value in pixels} == facts["totals"]


def test_cityscapes_classes_are_the_label_maps_pixel_for_pixel(
    data_sets: Path, all_facts: dict[str, Any], tmp_path: Path
) -> None:
    base = data_sets / all_facts["cityscapes_train_instanceIds"]["base"]
    source = Cityscapes.open(
        base / "train_inst", Naming("", "_instanceIds"), Over256.REFUSE, ignore_unevaluated=False
    )
    for one in source.predictions():
        assert one.pixels is not None
        table = np.zeros(256, np.uint8)
        for segment in one.segments:
            id = segment.metadata["source_id"]
            table[segment.index] = id // 1000 if id >= 1000 else id
        expected = np.asarray(Image.open(base / "train_label" / f"{one.reference_id}_labelIds.png"))
        np.testing.assert_array_equal(table[one.pixels], expected)


@pytest.mark.parametrize("over", [Over256.KEEP_BEST, Over256.SEMANTIC])
def test_a_mosaic_of_scenes_is_merged_with_the_count_and_without_a_false_warning(
    data_sets: Path, all_facts: dict[str, Any], tmp_path: Path, over: Over256
) -> None:
    base = data_sets / all_facts["cityscapes_train_instanceIds"]["base"] / "train_inst"
    scenes = [np.asarray(Image.open(path)) for path in sorted(base.glob("*.png"))]
    step = max(1, scenes[0].shape[0] // 128)
    scenes = [one[::step, ::step] for one in scenes]
    scenes = [turned for one in scenes for turned in (one, one[::-1], one[:, ::-1])]
    ids = np.vstack([np.where(one >= 1000, one + 25 * k, one) for k, one in enumerate(scenes)])
    source = tmp_path / "source"
    source.mkdir()
    Image.fromarray(ids.astype(np.uint16)).save(source / "a.png")
    writer = ManifestWriter(tmp_path / "root", PARTITION.model_run, PARTITION.date, importing=True)
    with writer:
        opened = Cityscapes.open(source, Naming(), over, ignore_unevaluated=False)
        summary = import_format(opened, writer)
    assert (summary.imported, summary.findings) == (1, {"INSTANCES-MERGED": 1})
    root = Root.open(str(tmp_path / "root"))
    root.materialize(PARTITION)
    (batch,) = root.validated(PARTITION).batches(10)
    (segments,) = batch.segments.to_pylist()
    (findings,) = batch.rows["findings"].to_pylist()
    assert [one["rule"] for one in findings] == ["INSTANCES-MERGED"]
    described = [json.loads(one["metadata"]) for one in segments]
    kept = [one["source_id"] for one in described if "source_id" in one]
    merged = [id for one in described for id in one.get("source_ids", ())]
    assert sorted(kept + merged) == np.unique(ids).tolist()
    total = np.unique(ids).size
    assert f"{len(merged)} of {total} ids were merged" in findings[0]["message"]


def test_arrays_of_masks_are_those_masks(
    data_sets: Path, all_facts: dict[str, Any], tmp_path: Path
) -> None:
    facts = all_facts["cityscapes_train_instanceIds"]
    folder = data_sets / facts["base"]
    expected = {}
    (tmp_path / "arrays").mkdir()
    for mask, told in list(facts["masks"].items())[:3]:
        array = np.asarray(Image.open(folder / mask)).astype(np.int32)
        np.save(tmp_path / "arrays" / f"{Path(mask).stem}.npy", array)
        expected[Path(mask).stem] = {int(value): n for value, n in told["values"].items()}
    source = Arrays.open(tmp_path / "arrays", Labels({}, "id"), Naming(), Over256.REFUSE)
    assert counted(imported(source, tmp_path / "root")) == expected


def test_importing_masks_again_changes_no_byte(
    data_sets: Path, all_facts: dict[str, Any], tmp_path: Path
) -> None:
    facts = all_facts["davis17_osvos_dev"]
    source = MaskFolder.open(data_sets / facts["base"], Labels({}, "object"), Naming())
    written = []
    for _ in range(2):
        imported(source, tmp_path)
        manifests = tmp_path / "manifests"
        written.append({p: p.read_bytes() for p in manifests.rglob("*") if p.is_file()})
    assert written[0] == written[1]
    (batch,) = Root.open(str(tmp_path)).validated(PARTITION).batches(1000)
    sequences = {mask.split("/")[0] for mask in facts["masks"]}
    assert set(batch.rows["sequence"].to_pylist()) == sequences
    assert len(sequences) == 3
