"""Grey TIFFs, as Cellpose and ilastik write masks: read as they are, or refused with a way in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.imports import imported, judged, rules, save, write

CLASSES = np.repeat(np.array([0, 1, 2], np.uint8), 12).reshape(6, 6)
IDS = np.repeat(np.array([0, 300, 70], np.uint16), 12).reshape(6, 6)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_8_bit_tiffs_are_class_masks(source: Path, tmp_path: Path, compression: str | None) -> None:
    Image.fromarray(CLASSES).save(source / "a.tif", compression=compression)
    labels = write(tmp_path / "labels.csv", "index,label\n0,sky\n1,tree\n2,road\n")
    imported("mask-folder", source, tmp_path / "root", "--labels", labels)
    assert judged(tmp_path / "root") == ({"a": {"0 sky": 12, "1 tree": 12, "2 road": 12}}, {})


@pytest.mark.parametrize("kind", [np.uint16, ">u2", np.int32])
def test_larger_ids_are_renumbered_as_those_of_16_bit_pngs(
    source: Path, tmp_path: Path, kind: str
) -> None:
    ids = IDS.astype(kind)
    if ids.dtype == np.dtype(">u2"):
        Image.frombytes("I;16B", (6, 6), ids.tobytes()).save(source / "cell_masks.tiff")
    else:
        Image.fromarray(ids).save(source / "cell_masks.tiff")
    options = ("--objects", "cell", "--strip-suffix", "_masks")
    imported("mask-folder", source, tmp_path / "root", *options)
    areas = {"0 background": 12, "1 cell": 12, "2 cell": 12}
    assert judged(tmp_path / "root") == ({"cell": areas}, {})


def test_tiffs_beside_pngs_are_left_out_with_the_way_in(source: Path, tmp_path: Path) -> None:
    save(source / "a.png", CLASSES)
    Image.fromarray(CLASSES).save(source / "b.tif")
    done = imported("mask-folder", source, tmp_path / "root", "--objects", "cell")
    assert "1 .tif or .tiff, which are read from a folder without .png (b.tif)" in done.output
    (source / "a.png").unlink()
    imported("mask-folder", source, tmp_path / "root", "--objects", "cell")
    assert list(judged(tmp_path / "root")[0]) == ["b"]


def test_tiffs_that_would_not_be_read_as_they_are_are_refused_each_with_the_reason(
    source: Path, tmp_path: Path
) -> None:
    grey = Image.fromarray(CLASSES)
    grey.save(source / "pages.tif", save_all=True, append_images=[grey])
    grey.save(source / "turned.tif", tiffinfo={274: 6})
    grey.save(source / "white.tif", tiffinfo={262: 0})
    grey.convert("RGB").save(source / "colours.tif")
    Image.fromarray(CLASSES.astype(np.float32)).save(source / "floats.tif")
    Image.fromarray(CLASSES.astype(np.int32) - 1).save(source / "negative.tif")
    grey.save(source / "cut.tif")
    (source / "cut.tif").write_bytes((source / "cut.tif").read_bytes()[:40])
    (source / "text.tif").write_text("no TIFF")
    imported("mask-folder", source, tmp_path / "root", "--objects", "cell")
    accepted, rejected = judged(tmp_path / "root")
    assert accepted == {}
    unreadable = ("pages", "turned", "white", "negative", "cut", "text")
    assert rules(rejected) == {
        "colours": ["MASK-COLOUR"],
        "floats": ["PROBABILITY-MAP"],
        **{name: ["IMPORT-UNREADABLE"] for name in unreadable},
    }
    for name in unreadable:
        assert "and import with segpipe import arrays" in rejected[name][0][1]
