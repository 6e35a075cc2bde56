"""Exports, judged by what other tools read from them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from segpipe import ManifestWriter, Segment
from segpipe.cli.main import cli
from segpipe.errors import SegpipeError, SettingsError, StorageError
from segpipe.formats.coco_panoptic import CocoPanoptic
from segpipe.formats.exporting import Published, export_mask_folder, published
from segpipe.formats.exporting_coco import export_coco_panoptic
from segpipe.formats.exports import ExportFormat
from segpipe.formats.files import Naming
from segpipe.formats.identifiers import Over256
from segpipe.formats.labels import Labels
from segpipe.formats.mask_folder import MaskFolder
from segpipe.masks.encoding import canonical_png
from segpipe.predictions.fingerprint import fingerprint
from segpipe.predictions.view import View
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
from segpipe.views.consolidation import Consolidation
from tests.fixtures.landing import PARTITION

AS_THEY_SAY = Consolidation(View.GIVEN, {})
STRIPES = np.repeat(np.arange(4, dtype=np.uint8), 3)[:, None].repeat(5, axis=1)
SCENE = (
    Segment("road", 0, {"isthing": False}),
    Segment("car", 1, {"isthing": True, "confidence": 0.5}),
    Segment("car", 2, {"isthing": True, "iscrowd": True}),
    Segment("void", 3, {"ignore": True}),
)


def prediction(
    reference_id: str,
    mask: np.ndarray,
    segments: Sequence[Segment],
    *,
    annotation_id: str | None = None,
    name: str | None = None,
) -> Published:
    """As the catalog holds it; areas and boxes counted pixel by pixel."""
    measured = []
    for one in sorted(segments, key=lambda segment: segment.index):
        rows, columns = np.nonzero(mask == one.index)
        box = (
            [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            if rows.size
            else 4 * [None]
        )
        measured.append(
            {
                "label": one.label,
                "index": one.index,
                "metadata": json.dumps(one.metadata),
                "area_px": int(rows.size),
                **{
                    f"bbox_{side}": None if v is None else int(v)
                    for side, v in zip("xywh", box, strict=True)
                },
            }
        )
    return Published(
        name or reference_id,
        reference_id,
        annotation_id,
        None,
        mask,
        canonical_png(mask),
        tuple(measured),
    )


def write_panoptic(
    out: Path, *predictions: Published, like: Path | None = None, by: Consolidation = AS_THEY_SAY
) -> dict[str, Any]:
    """Export; the JSON file's content."""
    assert export_coco_panoptic(iter(predictions), out, by, like) == len(predictions)
    content: dict[str, Any] = json.loads((out / "panoptic.json").read_text())
    return content


def ids_of(path: Path) -> np.ndarray:
    """As COCO defines them: R + 256 G + 65536 B."""
    ids: np.ndarray = np.asarray(Image.open(path)).astype(np.int64) @ [1, 256, 65536]
    return ids


def read_back(out: Path) -> Iterator[Any]:
    """What segpipe imports from an export."""
    path = out / "panoptic.json"
    return CocoPanoptic.open(out / "panoptic", path, None, Over256.REFUSE).predictions()


# --- COCO panoptic


def test_an_export_is_what_coco_describes(tmp_path: Path) -> None:
    content = write_panoptic(tmp_path / "out", prediction("a", STRIPES, SCENE))
    assert content["categories"] == [
        {"id": 1, "name": "road", "isthing": 0},
        {"id": 2, "name": "car", "isthing": 1},
    ]
    assert content["images"] == [{"id": 1, "file_name": "a", "height": 12, "width": 5}]
    (annotation,) = content["annotations"]
    assert annotation["segments_info"] == [
        {"id": 1, "category_id": 1, "area": 15, "bbox": [0, 0, 5, 3], "iscrowd": 0},
        {"id": 2, "category_id": 2, "area": 15, "bbox": [0, 3, 5, 3], "iscrowd": 0, "score": 0.5},
        {"id": 3, "category_id": 2, "area": 15, "bbox": [0, 6, 5, 3], "iscrowd": 1},
    ]
    ids = ids_of(tmp_path / "out" / "panoptic" / annotation["file_name"])
    np.testing.assert_array_equal(ids, np.array([1, 2, 3, 0])[STRIPES])


def test_void_has_the_id_0_and_other_ignored_segments_are_segments(tmp_path: Path) -> None:
    segments = (
        Segment("ego vehicle", 0, {"ignore": True}),
        Segment("void", 1, {"ignore": "true"}),
        Segment("void", 2),  # a class that happens to be called so
        Segment("void", 3, {"ignore": True}),
    )
    one = prediction("a", STRIPES, segments)
    (annotation,) = write_panoptic(tmp_path / "out", one)["annotations"]
    assert [info["id"] for info in annotation["segments_info"]] == [1, 3, 4]
    ids = ids_of(tmp_path / "out" / "panoptic" / "a.png")
    np.testing.assert_array_equal(ids, np.array([1, 0, 3, 4])[STRIPES])
    (again,) = read_back(tmp_path / "out")
    assert again.segments == one.segments
    np.testing.assert_array_equal(again.pixels, STRIPES)


def test_a_label_is_a_thing_as_the_taxonomy_says_else_as_its_segments_say(tmp_path: Path) -> None:
    segments = (
        Segment("road", 0, {"isthing": True}),
        Segment("car", 1),
        Segment("Background", 2),
        Segment("tree", 3, {"isthing": 0}),
    )
    one = prediction("a", STRIPES, segments)

    def things(place: str, taxonomy: dict[str, str]) -> list[str]:
        by = Consolidation(View.GIVEN, taxonomy)
        content = write_panoptic(tmp_path / place, one, by=by)
        return [entry["name"] for entry in content["categories"] if entry["isthing"]]

    assert things("without", {}) == ["road", "car"]
    assert things("with", {"road": "stuff", "tree": "thing"}) == ["car", "tree"]


LABELS = st.sampled_from(["Car", "Road", "void", "ä'\"\\", "日本", " "]).filter(str.strip)
TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "ignore": st.sampled_from([True, False, 1, "true", "no"]),
        "iscrowd": st.sampled_from([True, False, 0, "1", None, []]),
        "isthing": st.booleans(),
        "confidence": st.sampled_from([0, 0.1, 1, 97.5, "0.25", "high", None, True]),
        "other": st.recursive(
            st.none() | st.booleans() | st.integers() | TEXT
            | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
            max_leaves=4,
        ),
    },
)  # fmt: skip


@st.composite
def predictions(draw: st.DrawFn) -> Published:
    value = st.integers(0, 255) | st.sampled_from([0, 255])  # 255 has an id beyond one byte
    values = draw(st.lists(value, min_size=1, max_size=6, unique=True))
    mask = draw(arrays(np.uint8, (5, 4), elements=st.sampled_from(values)))
    segments = [Segment(draw(LABELS), value, draw(METADATA)) for value in values]
    return prediction("a", mask, segments, annotation_id=draw(st.none() | st.just("x-1")))


@settings(max_examples=60, deadline=None)
@given(predictions())
def test_whatever_is_exported_is_whole_for_others_and_the_same_for_segpipe(
    tmp_path_factory: pytest.TempPathFactory, one: Published
) -> None:
    out = tmp_path_factory.mktemp("export") / "out"
    content = write_panoptic(out, one)
    (annotation,) = content["annotations"]
    known = {entry["id"]: entry["name"] for entry in content["categories"]}
    ids = ids_of(out / "panoptic" / annotation["file_name"])
    values, counts = np.unique(ids, return_counts=True)
    counted = dict(zip(values.tolist(), counts.tolist(), strict=True))
    # What the panoptic API demands: ids in the PNG and the JSON are the same, areas are counts.
    assert {s["id"]: s["area"] for s in annotation["segments_info"]} == {
        id: count for id, count in counted.items() if id
    }
    for info in annotation["segments_info"]:
        (index,) = np.unique(one.mask[ids == info["id"]]).tolist()
        assert known[info["category_id"]] == {s.index: s.label for s in one.segments}[index]
    for index in np.unique(one.mask[ids == 0]).tolist():
        assert {s.index: s.label for s in one.segments}[index] == "void"

    before = fingerprint(one.mask, one.segments, one.annotation_id)
    (again,) = read_back(out)
    assert again.findings == ()
    assert fingerprint(again.pixels, again.segments, again.annotation_id) == before
    folder = out.parent / "folder"
    export_mask_folder(iter([one]), folder)
    (again,) = MaskFolder.open(folder / "masks", Labels(), Naming()).predictions()
    assert fingerprint(again.pixels, again.segments, again.annotation_id) == before


def test_other_tools_find_plain_panoptic_annotations_without_segpipes_part(tmp_path: Path) -> None:
    content = write_panoptic(tmp_path / "out", prediction("a", STRIPES, SCENE))
    del content["annotations"][0]["segpipe"]
    (tmp_path / "out" / "panoptic.json").write_text(json.dumps(content))
    (again,) = read_back(tmp_path / "out")
    assert [s.label for s in again.segments] == ["void", "road", "car", "car"]
    assert again.segments[2].confidence == 0.5
    assert again.segments[3].metadata["iscrowd"] is True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["categories"][1].update(name="lorry"), "different things of id 2"),
        (lambda c: c["annotations"][0]["segments_info"][1].update(score=0.9), "things of id 2"),
        (lambda c: c["annotations"][0]["segments_info"][0].update(iscrowd=1), "things of id 1"),
        (lambda c: c["annotations"][0]["segpipe"]["segments"].pop(3), "what the ids 0 are"),
        (lambda c: c["annotations"][0]["segpipe"]["segments"].pop(0), "things of id 1"),
        (lambda c: c["annotations"][0]["segpipe"].update(reference_id=7), "reference_id is 7"),
        (
            lambda c: c["annotations"][0]["segpipe"]["segments"][0].update(index=300),
            "index of 'road' is 300",
        ),
        (
            lambda c: c["annotations"][0]["segpipe"]["segments"][0].update(
                metadata={"x": float("nan")}
            ),
            "metadata.x is nan",
        ),
        (lambda c: c["annotations"][0].update(segpipe=[1]), "a list of 1"),
    ],
)  # fmt: skip
def test_an_export_that_was_changed_by_hand_is_not_half_believed(
    tmp_path: Path, change: Any, words: str
) -> None:
    content = write_panoptic(tmp_path / "out", prediction("a", STRIPES, SCENE))
    change(content)
    (tmp_path / "out" / "panoptic.json").write_text(json.dumps(content))
    (again,) = read_back(tmp_path / "out")
    assert again.mask is None
    assert words in again.findings[0].message


def test_numbers_are_those_of_the_file_it_is_to_be_like(tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    truth.write_text(
        json.dumps(
            {
                "images": [{"id": 90, "file_name": "a.jpg"}, {"id": "x", "file_name": "b.jpg"}],
                "categories": [
                    {"id": 5, "name": "car", "isthing": 0},
                    {"id": 40, "name": "tree", "isthing": 1},
                ],
            }
        )
    )
    three = [prediction(item, STRIPES, SCENE) for item in ("a", "b", "c")]
    content = write_panoptic(tmp_path / "out", *three, like=truth)
    assert [(one["id"], one["file_name"]) for one in content["images"]] == [
        (90, "a.jpg"), ("x", "b.jpg"), (91, "c"),
    ]  # fmt: skip
    assert content["categories"] == [
        {"id": 5, "name": "car", "isthing": 0},
        {"id": 40, "name": "tree", "isthing": 1},
        {"id": 41, "name": "road", "isthing": 0},
    ]
    assert {one["image_id"] for one in content["annotations"]} == {90, "x", 91}


@pytest.mark.parametrize("content", ["{", "5", '{"images": []}', '{"categories": [{"id": 1}]}'])
def test_a_file_it_cannot_be_like_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "truth.json").write_text(content)
    one = prediction("a", STRIPES, SCENE)
    with pytest.raises(SettingsError, match=r"truth\.json"):
        write_panoptic(tmp_path / "out", one, like=tmp_path / "truth.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["truth.json"]


# --- folders


@pytest.mark.parametrize("kind", ["coco-panoptic", "mask-folder"])
def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, kind: str) -> None:
    def failing() -> Iterator[Published]:
        yield prediction("a", STRIPES, SCENE)
        raise RuntimeError("the disk is gone")

    out = tmp_path / "out"
    with pytest.raises(RuntimeError):
        if kind == "mask-folder":
            export_mask_folder(failing(), out)
        else:
            export_coco_panoptic(failing(), out, AS_THEY_SAY)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_used_and_another_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert export_mask_folder(iter([prediction("a", STRIPES, SCENE)]), tmp_path / "empty") == 1
    for there in (tmp_path / "empty", tmp_path / "empty" / "labels.json"):
        with pytest.raises(StorageError, match="choose another"):
            export_mask_folder(iter([prediction("b", STRIPES, SCENE)]), there)
    names = sorted(path.name for path in (tmp_path / "empty" / "masks").iterdir())
    assert names == ["a.json", "a.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_masks_whose_indexes_mean_different_things_need_no_label_map(tmp_path: Path) -> None:
    ones = [prediction("a", STRIPES // 4, [Segment("road", 0)])]
    ones.append(prediction("b", STRIPES // 4, [Segment("sky", 0)]))
    export_mask_folder(iter(ones), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "labels.json").read_text()) == {}
    where = ["--root", str(tmp_path / "root"), "--model-run", "m", "--date", "2026-01-05"]
    done = CliRunner().invoke(
        cli, ["import", "mask-folder", str(tmp_path / "out" / "masks"), *where],
        standalone_mode=False,
    )  # fmt: skip
    assert done.exception is None
    assert "2 imported, 0 refused" in done.output


# --- what is published


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """A root with two items published on one day and one on another."""
    place = tmp_path_factory.mktemp("two-days") / "root"
    root = Root.open(str(place))
    for day, items in (("2026-01-05", ["a", "A"]), ("2026-01-06", ["../b" + 300 * "x"])):
        with ManifestWriter(place, PARTITION.model_run, day) as writer:
            for item in items:
                writer.add(item, STRIPES + 4 * len(item) % 250, segments_for(item))
        partition = type(PARTITION)(PARTITION.model_run, day)
        assert root.materialize(partition).rejected == 0
        by = Provenance("default", PARTITION.model_run, day, f"run {day}", datetime.now(UTC))
        root.publish(partition, provenance=by)
    return root


def segments_for(item: str) -> list[Segment]:
    first = 4 * len(item) % 250
    return [Segment(f"class {value}", value) for value in range(first, first + 4)]


def test_one_day_or_all_of_a_model_run(two_days: Root) -> None:
    catalog = two_days.catalog
    all_days = [one.reference_id for one in published(catalog, "default", PARTITION.model_run)]
    assert all_days == ["../b" + 300 * "x", "A", "a"]
    one_day = published(catalog, "default", PARTITION.model_run, "2026-01-05")
    assert [one.reference_id for one in one_day] == ["A", "a"]
    with pytest.raises(SegpipeError, match="of 2026-01-07 is published"):
        next(published(catalog, "default", PARTITION.model_run, "2026-01-07"))


def test_names_of_files_stay_in_the_folder_and_apart_on_every_disk(
    two_days: Root, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_mask_folder(published(two_days.catalog, "default", PARTITION.model_run), out)
    names = [path.name for path in (out / "masks").glob("*.png")]
    assert len({name.casefold() for name in names}) == len(names) == 3
    assert max(map(len, names)) < 255
    again = {one.reference_id for one in MaskFolder.open(out, Labels(), Naming()).predictions()}
    assert again == {"../b" + 300 * "x", "A", "a"}


def test_progress_is_told_of_every_prediction(two_days: Root) -> None:
    told: list[tuple[int, int]] = []
    run = published(
        two_days.catalog, "default", PARTITION.model_run,
        progress=lambda *done: told.append(done),
    )  # fmt: skip
    assert len(list(run)) == 3
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("kind", [one.value for one in ExportFormat])
def test_the_command_an_export_names_imports_it_again(
    two_days: Root, tmp_path: Path, kind: str
) -> None:
    where = ["--root", str(two_days.settings.root), "--model-run", PARTITION.model_run]
    out = str(tmp_path / "two words")
    done = CliRunner().invoke(cli, ["export", *where, "--as", kind, out], standalone_mode=False)
    named = done.output.split("segpipe ")[-1].partition(" --root")[0]
    again = ["--root", str(tmp_path / "again"), "--model-run", "m", "--date", "2026-01-05"]
    done = CliRunner().invoke(cli, [*shlex.split(named), *again], standalone_mode=False)
    assert done.exception is None
    assert "3 imported, 0 refused" in done.output
