"""Damaged COCO files: what is wrong is told of its record, and every other record goes through."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segpipe.errors import SegpipeError
from segpipe.formats.coco_panoptic import CocoPanoptic
from segpipe.formats.coco_results import CocoResults
from segpipe.formats.identifiers import Over256
from segpipe.formats.imported import Imported
from segpipe.formats.importing import import_format
from segpipe.formats.manifest_writer import ManifestWriter
from segpipe.formats.overlaps import Overlaps
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from tests.fixtures.thoroughness import at_most

CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 7, "name": "road", "isthing": 0},
]
IMAGES = [
    {"id": number, "file_name": f"img-{number}.jpg", "height": 6, "width": 6} for number in (1, 2)
]
IDS = np.array([[0, 70000], [300, 300]]).repeat(3, axis=0).repeat(3, axis=1)
RUNS = {"size": [6, 6], "counts": [6, 12, 18]}
POLYGON = [[1, 1, 5, 1, 5, 5]]


def panoptic_content() -> dict[str, Any]:
    return {
        "images": copy.deepcopy(IMAGES),
        "annotations": [
            {
                "image_id": number,
                "file_name": "a.png",
                "segments_info": [
                    {"id": 70000, "category_id": 1, "area": 9, "score": 0.5, "iscrowd": 0},
                    {"id": 300, "category_id": 7, "area": 18, "iscrowd": 0},
                ],
            }
            for number in (1, 2)
        ],
        "categories": copy.deepcopy(CATEGORIES),
    }


def results_content() -> list[dict[str, Any]]:
    return [
        {"image_id": number, "category_id": 1, "score": score, "segmentation": copy.deepcopy(shape)}
        for number in (1, 2)
        for score, shape in ((0.5, RUNS), (0.75, POLYGON))
    ]


@pytest.fixture(scope="session")
def pngs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one panoptic PNG."""
    folder = tmp_path_factory.mktemp("pngs")
    channels = np.dstack([IDS & 255, IDS >> 8 & 255, IDS >> 16]).astype(np.uint8)
    Image.fromarray(channels).save(folder / "a.png")
    (folder.parent / "outside.png").write_bytes((folder / "a.png").read_bytes())
    return folder


def panoptic(folder: Path, place: Path, content: object) -> list[Imported]:
    path = place / "panoptic.json"
    path.write_text(json.dumps(content))
    return list(CocoPanoptic.open(folder, path, None, Over256.REFUSE).predictions())


def results(place: Path, content: object, lists: object = None) -> list[Imported]:
    path, truth = place / "results.json", place / "truth.json"
    path.write_text(json.dumps(content))
    truth.write_text(json.dumps(lists or {"images": IMAGES, "categories": CATEGORIES}))
    source = CocoResults.open(path, truth, truth, Overlaps.SCORE, Over256.REFUSE, empty=False)
    found = list(source.predictions())
    assert len(source) == len(found)
    return found


def told(found: list[Imported]) -> list[tuple[str, str]]:
    """Rule and message of what was refused."""
    return [(f.rule, f.message) for one in found if one.mask is None for f in one.findings]


UNREADABLE, HUGE = "IMPORT-UNREADABLE", 10**400


@pytest.mark.parametrize(
    ("change", "rule", "words"),
    [
        ({"file_name": "../outside.png"}, "URL-REFUSED", "'../outside.png' is no name of a file"),
        ({"file_name": "/etc/hostname"}, "URL-REFUSED", "no name of a file"),
        ({"file_name": "a\0.png"}, "URL-REFUSED", "no name of a file"),
        ({"file_name": 300 * "a"}, "URL-REFUSED", "no name of a file"),
        ({"file_name": "b.png"}, "FILE-MISSING", "b.png"),
        ({"file_name": 5}, UNREADABLE, "file_name 5"),
        ({"file_name": ""}, UNREADABLE, "file_name ''"),
        ({"image_id": [1]}, UNREADABLE, "image_id is [1]"),
        ({"image_id": True}, UNREADABLE, "image_id is True"),
        ({"image_id": 9}, UNREADABLE, "image 9 is not in the list of images"),
        ({"image_id": "2"}, UNREADABLE, "2 as a number is"),
        ({"segments_info": {"id": 1}}, UNREADABLE, "expected a list"),
        ({"segments_info": [5]}, UNREADABLE, "an entry of segments_info is 5"),
        ({"segpipe": "mine"}, UNREADABLE, "'segpipe' cannot be read"),
    ],
)
def test_a_damaged_annotation_is_refused_and_the_other_goes_through(
    pngs: Path, tmp_path: Path, change: Mapping[str, Any], rule: str, words: str
) -> None:
    content = panoptic_content()
    content["annotations"][1].update(change)
    found = panoptic(pngs, tmp_path, content)
    assert (found[0].reference_id, found[0].findings) == ("img-1", ())
    assert found[0].mask is not None
    ((found_rule, message),) = told(found)
    assert found_rule == rule
    assert words in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": 70000.7}, "the id 70000.7, expected a whole number"),
        ({"id": "70000"}, "the id '70000', expected a whole number"),
        ({"id": None}, "the id None"),
        ({"category_id": [1]}, "category [1] of id 70000 is none of the categories"),
        ({"category_id": True}, "category True"),
        ({"category_id": 2}, "category 2"),
        ({"area": "9"}, "area of id 70000 is '9', expected a number"),
        ({"score": "0.5"}, "score of id 70000 is '0.5', expected a number"),
        ({"score": math.nan}, "score of id 70000 is nan"),
        ({"score": HUGE}, "score of id 70000 is int 1000"),
        ({"iscrowd": "yes"}, "iscrowd of id 70000 is 'yes', expected 0 or 1"),
    ],
)
def test_a_damaged_segment_is_named_with_its_value(
    pngs: Path, tmp_path: Path, change: Mapping[str, Any], words: str
) -> None:
    content = panoptic_content()
    content["annotations"][1]["segments_info"][0].update(change)
    found = panoptic(pngs, tmp_path, content)
    assert found[0].mask is not None
    ((rule, message),) = told(found)
    assert rule == UNREADABLE
    assert message.startswith("a.png: ")
    assert words in message


def test_values_with_one_lossless_reading_are_read(pngs: Path, tmp_path: Path) -> None:
    """As tools write them that keep all numbers as floats, or flags as text."""
    content = panoptic_content()
    content["images"][0]["id"] = 1.0
    content["annotations"][0]["image_id"] = 1.0
    content["annotations"][0]["segments_info"][0].update(id=70000.0, area=9.0, iscrowd="1")
    content["categories"][1]["isthing"] = "0"
    one, other = panoptic(pngs, tmp_path, content)
    assert one.carried == {"image_id": "1"}
    assert one.segments[1].metadata["isthing"] is False
    assert one.segments[2].metadata["iscrowd"] is True
    assert "iscrowd" not in other.segments[2].metadata


def test_an_id_0_that_the_file_explains_is_what_the_file_says(pngs: Path, tmp_path: Path) -> None:
    content = panoptic_content()
    content["annotations"][0]["segments_info"].append({"id": 0, "category_id": 7, "area": 9})
    one, other = panoptic(pngs, tmp_path, content)
    assert [s.label for s in one.segments] == ["road", "road", "person"]
    assert [s.label for s in other.segments] == ["void", "road", "person"]


def test_two_images_of_one_id_refuse_what_names_them(pngs: Path, tmp_path: Path) -> None:
    again = {"id": 2, "file_name": "other.jpg"}
    content = {**panoptic_content(), "images": [*IMAGES, again, IMAGES[0]]}
    found = panoptic(pngs, tmp_path, content)
    found += results(tmp_path, results_content(), {**content, "images": [*IMAGES, again]})
    assert [one.mask is None for one in found] == [False, True, False, True]
    words = "the image id 2 stands for 'img-2.jpg' (6 x 6) and for 'other.jpg'"
    assert told(found) == [(UNREADABLE, words)] * 2


@pytest.mark.parametrize("name", ["/", ".", "..", None, 7])
def test_an_image_without_a_usable_name_is_named_by_its_id(tmp_path: Path, name: object) -> None:
    images = [{**IMAGES[0], "file_name": name}, IMAGES[1]]
    one, _ = results(tmp_path, results_content(), {"images": images, "categories": CATEGORIES})
    assert one.reference_id == ("..", "1")[name != ".."]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_id": None}, "result 2 has no image_id"),
        ({"image_id": [1]}, "result 2 has no image_id"),
        ({"image_id": 9}, "image 9 is not in the list of images"),
        ({"category_id": [1]}, "the category [1] is none of the categories"),
        ({"category_id": "1"}, "the category '1' is none"),
        ({"score": HUGE}, "the score is int 1000"),
        ({"score": math.inf}, "the score is inf"),
        ({"segmentation": None}, "the segmentation is None"),
        ({"segmentation": {"size": [6, 6], "counts": [10**30]}}, "runs fill 1,000,"),
        ({"segmentation": {"size": [6, True], "counts": [6]}}, "size is [6, True]"),
        ({"segmentation": [1, 1, 5, 1, 5, 5]}, "not a list of three or more"),
        ({"segmentation": [[0, 0, 1e6, 0, 1e6, 1e6]]}, "made for another size?"),
        ({"segmentation": [[0, 0, 1, HUGE, 1, 1]]}, "coordinate int 1000"),
        ({"segmentation": [[0, 0, 12, 12] * 50_000]}, "pixels long"),
    ],
)
def test_a_damaged_result_is_named_by_its_place_and_the_other_image_goes_through(
    tmp_path: Path, change: Mapping[str, Any], words: str
) -> None:
    content = results_content()
    content[2].update(change)
    found = results(tmp_path, content)
    assert (found[0].reference_id, found[0].findings) == ("img-1", ())
    assert found[0].mask is not None
    assert words in told(found)[0][1]


def test_an_entry_that_is_no_object_is_a_row_of_the_rejected_table(tmp_path: Path) -> None:
    path, truth = tmp_path / "results.json", tmp_path / "truth.json"
    path.write_text(json.dumps([*results_content(), 5]))
    truth.write_text(json.dumps({"images": IMAGES, "categories": CATEGORIES}))
    source = CocoResults.open(path, truth, truth, Overlaps.SCORE, Over256.REFUSE, empty=False)
    partition = Partition("unet", "2026-01-05")
    writer = ManifestWriter(
        tmp_path / "root", "unet", "2026-01-05", carried=source.carried, importing=True
    )
    with writer:
        import_format(source, writer)
    root = Root.open(str(tmp_path / "root"))
    assert (root.materialize(partition).accepted, root.materialize(partition).rejected) == (2, 1)
    messages = [row["message"] for row in root.validated(partition).rejected(10).to_pylist()]
    assert "result 4 has no image_id: 5" in messages


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"image_id": 1}], "found: a list of 1; for a list of results: coco-results"),
        ({"annotations": [{"image_id": 1, "bbox": []}]}, "found: image_id, bbox.*not panoptic"),
        (5, "found: int"),
        ({**panoptic_content(), "categories": []}, "holds no categories"),
        ({**panoptic_content(), "images": [{"id": None}]}, "an image has the id None"),
        ({**panoptic_content(), "images": 5}, "no list 'images'"),
    ],
)
def test_a_file_of_another_kind_is_said_to_be_one(
    pngs: Path, tmp_path: Path, content: object, words: str
) -> None:
    with pytest.raises(SegpipeError, match=words):
        panoptic(pngs, tmp_path, content)


def test_half_a_surrogate_pair_is_spelled_out_and_whole_ones_are_characters(
    pngs: Path, tmp_path: Path
) -> None:
    content = panoptic_content()
    content["categories"][0]["name"] = "p\ud800"
    content["categories"][1]["name"] = "\U0001f6e3"
    one, _ = panoptic(pngs, tmp_path, content)
    assert [s.label for s in one.segments] == ["void", "\U0001f6e3", "p\\ud800"]


# --- any damage at all


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value of some JSON is."""
    yield path
    inner = content.items() if isinstance(content, dict) else ()
    inner = enumerate(content) if isinstance(content, list) else inner
    for key, value in inner:
        yield from places(value, (*path, key))


TEXT = st.text(max_size=4) | st.sampled_from(["../x", "1", "a.png", "\ud800", "\0"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.just(HUGE) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def damaged(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    content = copy.deepcopy(content)
    holder = content
    for key in path[:-1]:
        holder = holder[key]
    if not path:
        return value
    holder[path[-1]] = value
    return content


@settings(max_examples=at_most(60, 150), deadline=None)
@given(data=st.data())
def test_no_damage_to_the_json_is_more_than_a_finding_or_a_sentence(
    pngs: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Nothing but what a user can act on; and what is in one record stays in that record."""
    place = tmp_path_factory.mktemp("damage")
    kind = data.draw(st.sampled_from(["panoptic", "results"]))
    whole: Any = panoptic_content() if kind == "panoptic" else results_content()
    path = data.draw(st.sampled_from(list(places(whole))))
    content = damaged(whole, path, data.draw(VALUES))
    of_the_second = path[:2] == ("annotations", 1) or path[:1] in ((2,), (3,))
    try:
        found = panoptic(pngs, place, content) if kind == "panoptic" else results(place, content)
    except SegpipeError as error:
        assert "\n" not in str(error)
        # A whole file is refused for what is not in a record of its own.
        assert not of_the_second or path == ("annotations", 1)
        return
    for one in found:
        assert one.mask is not None or one.findings
    if of_the_second and path[-1] != "image_id":  # which may make it a result of the first
        assert (found[0].reference_id, found[0].findings) == ("img-1", ())
        assert found[0].mask is not None
    with ManifestWriter(place / "root", "m", "2026-01-05", importing=True) as writer:
        for one in found:
            if one.mask is None:
                writer.refuse(one.reference_id, one.findings)
            else:
                writer.add(one.reference_id, one.pixels, one.segments)
