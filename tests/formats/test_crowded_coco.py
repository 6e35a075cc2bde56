"""COCO images of more instances or ids than a mask has values: nothing is lost that is not said."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segpipe.errors import SettingsError
from segpipe.formats.coco_panoptic import CocoPanoptic
from segpipe.formats.coco_results import CocoResults
from segpipe.formats.identifiers import Over256
from segpipe.formats.imported import Imported
from segpipe.formats.overlaps import Overlaps

CATEGORIES = [{"id": 1, "name": "cell"}, {"id": 2, "name": "nucleus"}]
HEIGHT, WIDTH = 20, 40


def square(number: int, side: int = 1) -> dict[str, Any]:
    """The number-th pixel, reading order, and those right of it and below, as runs."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    y, x = divmod(number, WIDTH)
    mask[y : y + side, x : x + side] = True
    flat = np.concatenate([[False], mask.T.ravel(), [not mask[-1, -1]]])
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1])])
    return {"size": [HEIGHT, WIDTH], "counts": np.diff(edges).tolist()}


def imported(place: Path, records: Sequence[Any], over: Over256) -> Imported:
    path, truth = place / "results.json", place / "truth.json"
    path.write_text(json.dumps(records))
    truth.write_text(json.dumps({"categories": CATEGORIES}))
    source = CocoResults.open(path, truth, None, Overlaps.SCORE, over, empty=False)
    (one,) = source.predictions()
    return one


def apart(count: int) -> list[dict[str, Any]]:
    """Instances of one pixel each; the later the better."""
    return [
        {"image_id": 1, "category_id": 1 + n % 2, "score": n / count, "segmentation": square(n)}
        for n in range(count)
    ]


def test_255_instances_and_background_fill_a_mask(tmp_path: Path) -> None:
    one = imported(tmp_path, apart(255), Over256.REFUSE)
    assert one.findings == ()
    assert one.pixels is not None
    assert [s.index for s in one.segments] == list(range(256))
    assert np.bincount(one.pixels.ravel())[1:].tolist() == 255 * [1]


def test_more_instances_are_refused_with_the_numbers_and_the_options(tmp_path: Path) -> None:
    one = imported(tmp_path, apart(400), Over256.REFUSE)
    assert one.mask is None
    (finding,) = one.findings
    assert (finding.rule, finding.found) == ("INDEX-OVERFLOW", "401 ids")
    assert "keep-best" in finding.message
    assert "semantic (3 labels)" in finding.message


def test_the_best_are_kept_and_every_other_instance_is_in_a_crowd(tmp_path: Path) -> None:
    one = imported(tmp_path, apart(400), Over256.KEEP_BEST)
    assert one.pixels is not None
    assert [finding.rule for finding in one.findings] == ["INSTANCES-MERGED"]
    crowds = [s for s in one.segments if s.metadata.get("iscrowd")]
    kept = [s for s in one.segments if "instance" in s.metadata]
    assert (len(one.segments), len(kept), len(crowds)) == (256, 253, 2)
    merged = [id for crowd in crowds for id in crowd.metadata["source_ids"]]
    instances = [s.metadata["instance"] for s in kept]
    assert sorted(merged + instances) == list(range(1, 401))
    assert max(merged) < min(instances)  # the later are the better
    counts = np.bincount(one.pixels.ravel(), minlength=256)
    assert counts.sum() == HEIGHT * WIDTH
    for crowd in crowds:
        assert counts[crowd.index] == crowd.metadata["n_merged"]


def test_semantic_makes_one_segment_of_each_label(tmp_path: Path) -> None:
    one = imported(tmp_path, apart(400), Over256.SEMANTIC)
    assert one.pixels is not None
    assert [s.label for s in one.segments] == ["background", "cell", "nucleus"]
    assert np.bincount(one.pixels.ravel()).tolist() == [HEIGHT * WIDTH - 400, 200, 200]


def test_instances_that_others_hide_are_counted_where_they_get_no_segment(tmp_path: Path) -> None:
    hidden = [{**record, "score": 0.0} for record in apart(100)]
    one = imported(tmp_path, [*apart(200), *hidden], Over256.REFUSE)
    assert one.pixels is not None
    assert len(one.segments) == 201
    messages = [finding.message for finding in one.findings]
    assert any("100 of 300 instances have no visible pixel" in message for message in messages)
    assert {finding.rule for finding in one.findings} == {"OVERLAP-HIDDEN"}


@pytest.mark.parametrize("over", Over256)
def test_a_panoptic_picture_of_300_ids(tmp_path: Path, over: Over256) -> None:
    ids = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 300) * 1000 + 1
    channels = np.dstack([ids & 255, ids >> 8 & 255, ids >> 16]).astype(np.uint8)
    Image.fromarray(channels).save(tmp_path / "a.png")
    infos = [
        {"id": id, "category_id": 1 + place % 2, "area": int((ids == id).sum())}
        for place, id in enumerate(np.unique(ids).tolist())
    ]
    annotation = {"image_id": 1, "file_name": "a.png", "segments_info": infos}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"annotations": [annotation], "categories": CATEGORIES}))
    (one,) = CocoPanoptic.open(tmp_path, path, None, over).predictions()
    if over is Over256.REFUSE:
        assert one.mask is None
        assert "300 ids" in one.findings[0].message
        return
    assert one.pixels is not None
    assert len(one.segments) == (256 if over is Over256.KEEP_BEST else 2)
    alone = [s.metadata["source_id"] for s in one.segments if "source_id" in s.metadata]
    merged = [id for s in one.segments for id in s.metadata.get("source_ids", [])]
    assert sorted(alone + merged) == [info["id"] for info in infos]
    for segment in one.segments:
        own = segment.metadata.get("source_ids") or [segment.metadata["source_id"]]
        np.testing.assert_array_equal(one.pixels == segment.index, np.isin(ids, own))


def test_polygons_say_what_to_install_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = tmp_path / "truth.json"
    image = {"id": 1, "height": HEIGHT, "width": WIDTH}
    truth.write_text(json.dumps({"categories": CATEGORIES, "images": [image]}))
    polygons = [{"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]}]
    (tmp_path / "polygons.json").write_text(json.dumps(polygons))
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    source = CocoResults.open(
        tmp_path / "polygons.json", truth, truth, Overlaps.SCORE, Over256.REFUSE, empty=False
    )
    with pytest.raises(SettingsError, match=r"pip install 'segpipe\[coco\]'"):
        list(source.predictions())
    assert imported(tmp_path, apart(3), Over256.REFUSE).mask is not None  # runs need nothing
