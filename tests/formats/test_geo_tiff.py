"""GeoTIFFs: the values of one band, and where they lie on the ground."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from segpipe.root import Root
from tests.fixtures.imports import PARTITION, areas, imported, judged, read, rules, write

# 20 x 24 of uint16 in tiles of 16 x 16, compressed, with an overview and a georeference: written by
# tifffile 2026.3.3. The left half is 0, the right 1, the last four rows 700.
TILED = base64.b64decode(
    "SUkqAAgAAAARAAABBAABAAAAGAAAAAEBBAABAAAAFAAAAAIBAwABAAAAEAAAAAMBAwABAAAACAAAAAYBAwABAAAA"
    "AQAAABUBAwABAAAAAQAAABoBBQABAAAA2gAAABsBBQABAAAA4gAAACgBAwABAAAAAQAAAEIBBAABAAAAEAAAAEMB"
    "BAABAAAAEAAAAEQBBAAEAAAA6gAAAEUBAwAEAAAA+gAAAA6DDAADAAAAAgEAAIKEDAAGAAAAGgEAAK+HAwAQAAAA"
    "SgEAAIGkAgAEAAAAMjU1AMABAAABAAAAAQAAAAEAAAABAAAAcAEAAIQBAACYAQAAqgEAABQAFAASABYAAAAAAAAA"
    "4D8AAAAAAADQPwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAICEHkEAAAAA0EdPQQAAAAAAAAAA"
    "AQABAAAAAwAABAAAAQABAAEEAAABAAEAAAwAAAEAeX8AAAAAAAB4nGNgwA4YoRAXGJUfHvIAP0AAQXicY2RgRIHo"
    "gHFUfljLAwCGgACBeJzbw7RnQCHDKBhQAABV3S+BeJzbw7QHBTKggT00lh8FAwsAafYXwQ4A/gAEAAEAAAABAAAA"
    "AAEEAAEAAAAMAAAAAQEEAAEAAAAKAAAAAgEDAAEAAAAQAAAAAwEDAAEAAAAIAAAABgEDAAEAAAABAAAAFQEDAAEA"
    "AAABAAAAGgEFAAEAAABuAgAAGwEFAAEAAAB2AgAAKAEDAAEAAAABAAAAQgEEAAEAAAAQAAAAQwEEAAEAAAAQAAAA"
    "RAEEAAEAAACAAgAARQEEAAEAAAAbAAAAAAAAAAEAAAABAAAAAQAAAAEAAAAAAHicY2BAAEYkiA0MR/k9TNghsfJD"
    "HQAAOaASAQ=="
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def geo(path: Path, mask: np.ndarray, **tags: Any) -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, (kind, value) in tags.items():
        info.tagtype[int(name[1:])] = kind
        info[int(name[1:])] = value
    Image.fromarray(mask).save(path, tiffinfo=info)


def test_tiles_are_read_and_their_place_is_a_column_of_the_tables(
    source: Path, tmp_path: Path
) -> None:
    (source / "tile.tif").write_bytes(TILED)
    bands = np.zeros((4, 4, 3), np.uint8)
    Image.fromarray(bands).save(source / "bands.tif")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(source / "floats.tiff")
    labels = write(tmp_path / "labels.csv", "index,label\n0,water\n1,land\n700,town\n")
    done = imported("tiff", source, tmp_path / "root", "--labels", labels)
    assert "1 imported, 2 refused" in done.output
    accepted, rejected = judged(tmp_path / "root")
    assert accepted == {"tile": {"0 water": 192, "1 land": 192, "2 town": 96}}
    assert rules(rejected) == {"bands": ["MASK-COLOUR"], "floats": ["PROBABILITY-MAP"]}
    (batch,) = Root.open(str(tmp_path / "root")).validated(PARTITION).batches(10)
    (row,) = batch.rows.to_pylist()
    assert json.loads(row["geo_transform"]) == [500000.0, 0.5, 0.0, 4100000.0, 0.0, -0.25]
    assert (row["geo_crs"], row["geo_nodata"]) == ("EPSG:32633", "255")


def test_a_place_said_otherwise_is_the_same_or_is_none(source: Path) -> None:
    mask = np.zeros((4, 6), np.uint8)
    double, short = 12, 3
    matrix = (2.0, 0.5, 0.0, 10.0, 0.25, -2.0, 0.0, 20.0, *(0.0,) * 7, 1.0)
    geo(source / "matrix.tif", mask, t34264=(double, matrix))
    keys = (1, 1, 0, 2, 1025, 0, 1, 2, 2048, 0, 1, 4326)
    tie = (1.0, 2.0, 0.0, 10.0, 20.0, 0.0)
    geo(source / "point.tif", mask, t33550=(double, (2.0, 4.0, 0.0)), t33922=(double, tie),
        t34735=(short, keys))  # fmt: skip
    geo(source / "many.tif", mask, t33550=(double, (2.0, 4.0, 0.0)), t33922=(double, tie * 2))
    found = {name: one.carried for name, one in read("tiff", source, objects="x").items()}
    assert json.loads(found["matrix"]["geo_transform"]) == [10.0, 2.0, 0.5, 20.0, 0.25, -2.0]
    # The corner of the first pixel: a column and two rows off, and half a pixel.
    assert json.loads(found["point"]["geo_transform"]) == [7.0, 2.0, 0.0, 30.0, 0.0, -4.0]
    assert found["point"]["geo_crs"] == "EPSG:4326"
    assert found["many"] == {}


def test_a_stack_of_pages_is_no_mask(source: Path) -> None:
    page = Image.fromarray(np.zeros((4, 6), np.uint8))
    page.save(source / "stack.tif", save_all=True, append_images=[page])
    (one,) = read("tiff", source, objects="x").values()
    assert "has 2 pages" in one.findings[0].message
    assert areas(read("mask-folder", tiled(source), objects="x")["tile"]) == {
        "0 background": 192, "1 x": 192, "2 x": 96,
    }  # fmt: skip


def tiled(source: Path) -> Path:
    (source / "tile.tif").write_bytes(TILED)
    return source
