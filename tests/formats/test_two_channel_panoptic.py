"""The two-channel form of COCO panoptic: category in red, instance in green."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segpipe.errors import SettingsError
from segpipe.formats.opening import open_source
from tests.fixtures.imports import areas, imported, judged, read, rules, save, write

CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 7, "name": "sky", "isthing": 0},
]


@pytest.fixture
def categories(tmp_path: Path) -> Path:
    return write(tmp_path / "categories.json", CATEGORIES)


def channels(*regions: tuple[int, int, int]) -> np.ndarray:
    """A row of four pixels for each red, green, blue."""
    return np.repeat(np.array(regions, np.uint8)[:, None], 4, axis=1)


def test_a_category_and_an_instance_are_a_segment_and_category_0_is_void(
    tmp_path: Path, categories: Path
) -> None:
    source = tmp_path / "source"
    save(source / "a.png", channels((0, 0, 0), (0, 9, 0), (1, 0, 0), (1, 1, 0), (7, 0, 0)))
    save(source / "ids.png", channels((1, 0, 3), (7, 0, 0)))
    save(source / "bgr.png", channels((0, 0, 1), (0, 0, 7)))
    save(source / "other.png", channels((2, 0, 0), (7, 0, 0)))
    done = imported(
        "coco-panoptic", source, tmp_path / "root", "--two-channel", "--categories", categories
    )
    assert done.return_value == 1
    accepted, rejected = judged(tmp_path / "root")
    assert accepted == {"a": {"0 void": 8, "1 person": 4, "2 sky": 4, "3 person": 4}}
    assert set(map(tuple, rules(rejected).values())) == {("IMPORT-UNREADABLE",)}
    assert "leave --two-channel out" in rejected["ids"][0][1]
    assert "red holds 2, none of the categories" in rejected["other"][0][1]
    (one,) = [one for one in read(
        "coco-panoptic", source, two_channel=True, categories=categories
    ).values() if one.mask is not None]  # fmt: skip
    assert one.segments[3].metadata == {"category_id": 1, "instance": 1, "isthing": True}
    assert one.segments[0].metadata["ignore"] is True


def test_what_a_form_does_not_take_is_told(tmp_path: Path, categories: Path) -> None:
    save(tmp_path / "a.png", channels((1, 0, 0)))
    with pytest.raises(SettingsError, match="needs --categories FILE"):
        open_source("coco-panoptic", tmp_path, two_channel=True)
    with pytest.raises(SettingsError, match="--two-channel --categories FILE"):
        open_source("coco-panoptic", tmp_path)
    with pytest.raises(SettingsError, match="strip_suffix"):
        open_source("coco-panoptic", tmp_path, annotations=categories, strip_suffix="_x")


def test_both_forms_of_a_sample_have_the_same_regions(data_sets: Path) -> None:
    sample = data_sets / "coco_panoptic" / "sample_data"
    categories = data_sets / "coco_panoptic" / "panoptic_coco_categories.json"
    two = read(
        "coco-panoptic", sample / "panoptic_examples_2ch_format",
        two_channel=True, categories=categories,
    )  # fmt: skip
    one = read(
        "coco-panoptic", sample / "panoptic_examples",
        annotations=sample / "panoptic_examples.json", categories=categories,
    )  # fmt: skip
    assert len(two) == 2
    for item, given in two.items():
        other = one[item]
        assert sorted([*k.split(" ", 1)[1:], v] for k, v in areas(given).items()) == sorted(
            [*k.split(" ", 1)[1:], v] for k, v in areas(other).items()
        )
        assert given.pixels is not None and other.pixels is not None
        pairs = np.unique(given.pixels.astype(int) * 256 + other.pixels)
        assert len(pairs) == len(given.segments) == len(other.segments)  # one to one, by pixel
