"""A PNG for each object, told by its name or by a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segpipe.errors import SettingsError
from segpipe.formats.imported import ScannedFolder
from segpipe.formats.opening import open_source
from tests.fixtures.imports import areas, imported, judged, read, rules, save, write


def band(first: int, last: int, value: int = 255) -> np.ndarray:
    """Six rows of four pixels, some of which are of an object."""
    mask = np.zeros((6, 4), np.uint8)
    mask[first : last + 1] = value
    return mask


def test_names_of_files_say_item_label_and_order(tmp_path: Path) -> None:
    source = tmp_path / "source"
    save(source / "img_7_cat_10.png", band(2, 3))
    save(source / "img_7_cat_2.png", band(1, 2, 1))
    save(source / "img_7_dog_0.png", band(5, 5))
    save(source / "other_cat_0.png", band(0, 0, 0))
    save(source / "overview.png", band(0, 5))
    save(source / "two_cat_0.png", band(0, 0) + band(1, 1, 1))
    save(source / "sizes_cat_0.png", band(0, 0))
    save(source / "sizes_cat_1.png", band(0, 0).T)
    done = imported("mask-folder", source, tmp_path / "root", "--objects-apart")
    assert "2 imported, 2 refused" in done.output
    assert "1 not named as an object: ITEM_LABEL_K.png (overview.png)" in done.output
    accepted, rejected = judged(tmp_path / "root")
    assert accepted["img_7"] == {"0 background": 8, "1 dog": 4, "2 cat": 8, "3 cat": 4}
    assert rules(rejected) == {"two": ["IMPORT-UNREADABLE"], "sizes": ["SIZE-MISMATCH"]}
    assert "255 (4 px)" in rejected["two"][0][1]
    last = read("mask-folder", source, objects_apart=True, overlaps="last")["img_7"]
    assert areas(last) == {"0 background": 8, "1 dog": 4, "2 cat": 4, "3 cat": 8}
    assert last.segments[3].metadata["source_file"] == "img_7_cat_10.png"


def test_labels_with_underscores_and_one_label_for_all(tmp_path: Path) -> None:
    source = tmp_path / "source"
    save(source / "a" / "x_traffic_light_0.png", band(0, 1))
    labels = write(tmp_path / "labels.csv", "index,label,isthing\n1,traffic_light,0\n2,light,1\n")
    (one,) = read("mask-folder", source, objects_apart=True, labels=labels).values()
    assert (one.reference_id, one.segments[1].label) == ("a/x", "traffic_light")
    assert one.segments[1].metadata["isthing"] is False
    save(source / "a" / "x_3.png", band(4, 4))
    found = read("mask-folder", source, objects_apart=True, objects="lamp")
    assert [s.label for s in found["a/x"].segments] == ["background", "lamp"]


def test_a_table_says_what_each_file_is(tmp_path: Path) -> None:
    source = tmp_path / "source"
    save(source / "0.png", band(0, 2))
    save(source / "1.png", band(1, 2))
    save(source / "2.png", band(3, 3))
    table = write(
        tmp_path / "objects.csv",
        "file,item,label,score\n0.png,a,cat,0.5\n1.png,a,dog,0.9\ngone.png,b,cat,\n",
    )
    found = read("mask-folder", source, objects_apart=True, listed=table)
    assert areas(found["a"]) == {"0 background": 12, "1 cat": 4, "2 dog": 8}
    assert found["a"].segments[2].confidence == 0.9
    assert found["b"].findings[0].rule == "FILE-MISSING"
    opened = open_source("mask-folder", source, objects_apart=True, listed=table)
    assert isinstance(opened, ScannedFolder)
    assert [left.shown for left in opened.left_out] == ["2.png"]
    (source / "gone.png").symlink_to(save(tmp_path / "elsewhere.png", band(0, 2)))
    found = read("mask-folder", source, objects_apart=True, listed=table)
    assert found["b"].findings[0].rule == "URL-REFUSED"
    for text, words in (
        ("file,item\n0.png,a\n", "no label"),
        ("file,item,label\n../x,a,b\n", "not in"),
        ("file,item,label\n0.png,/a,b\n", "not in"),
    ):
        with pytest.raises(SettingsError, match=words):
            bad = write(tmp_path / "bad.csv", text)
            open_source("mask-folder", source, objects_apart=True, listed=bad)


def test_pngs_of_label_studio_are_the_strokes_of_a_task(tmp_path: Path) -> None:
    save(tmp_path / "task-1-annotation-2-by-ann@x.org-tag-Car-wheel-0.png", band(0, 1))
    save(tmp_path / "task-1-annotation-2-by-ann@x.org-tag-Car-wheel-1.png", band(1, 2))
    (one,) = read("label-studio", tmp_path, overlaps="last").values()
    assert one.reference_id == "task-1-annotation-2"
    assert areas(one) == {"0 background": 12, "1 Car-wheel": 4, "2 Car-wheel": 8}


def test_options_of_one_form_are_refused_with_the_other(tmp_path: Path) -> None:
    save(tmp_path / "plain.png", band(0, 1))
    for given, words in (
        ({"overlaps": "area", "objects": "x"}, "is for --objects-apart"),
        ({"objects_apart": True, "values": ["255=1"]}, "is for masks of values"),
        ({"objects_apart": True}, r"no PNG is named ITEM_LABEL_K\.png"),
    ):
        with pytest.raises(SettingsError, match=words):
            open_source("mask-folder", tmp_path, **given)
