"""A contact sheet is small, whole, and means the same by the same colour."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segpipe.pictures.confidences import Unsure, least_sure
from segpipe.pictures.contact_sheet import (
    MOST_BYTES,
    Cell,
    ContactSheets,
    contact_sheets,
    draw_sheet,
)
from segpipe.root import Root
from segpipe.storage.files import Folder
from segpipe.tables.schemas import SEGMENTS
from tests.fixtures.landing import PARTITION, LandingWriter


def cell(mask: np.ndarray, labels: dict[int, str], title: str = "item") -> Cell:
    counts = np.bincount(mask.ravel(), minlength=256)
    pixels: dict[str, int] = {}
    for index, label in labels.items():
        pixels[label] = pixels.get(label, 0) + int(counts[index])
    return Cell(title, mask, labels, pixels, None)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width)).astype(np.uint8)


MANY = {index: f"class {index}" for index in range(256)}
ODD: dict[str, Callable[[], list[Cell]]] = {
    "noise of 4k": lambda: [cell(noise(2160, 3840), MANY)] * 9,
    "one pixel": lambda: [cell(np.zeros((1, 1), np.uint8), {0: "x"})],
    "very wide": lambda: [cell(np.zeros((2, 5000), np.uint8), {0: "x"})],
    "very tall": lambda: [cell(np.zeros((5000, 2), np.uint8), {0: "x"})] * 4,
    "long names": lambda: [
        cell(noise(8, 8), {i: f"{i}" + "W" * 200 for i in range(256)}, "W" * 400)
    ],
    "no script of ours": lambda: [cell(np.zeros((9, 9), np.uint8), {0: "日本\n\x00"}, "ä\nb")],
    "no labels": lambda: [cell(np.zeros((9, 9), np.uint8), {})],
}


@pytest.mark.parametrize(
    "what", [pytest.param(one, marks=[pytest.mark.slow] * (one == "long names")) for one in ODD]
)
def test_whatever_it_shows_it_fits_into_a_page(what: str) -> None:
    data = draw_sheet(ODD[what]())
    assert len(data) <= MOST_BYTES
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert picture.width <= 1100


def test_a_label_has_the_colour_it_is_given_whatever_its_index() -> None:
    red, blue = (200.0, 30.0, 30.0), (30.0, 30.0, 200.0)
    mask = np.zeros((60, 60), np.uint8)
    mask[:, 30:] = 7
    left = cell(mask, {0: "road", 7: "car"})
    right = cell(7 - mask, {0: "car", 7: "road"})
    data = draw_sheet([left, right], {"road": red, "car": blue})
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int)
    # Both cells show the road, red, on the left and the car, blue, on the right.
    for x in (0, 280):
        assert picture[40, x + 10, 0] > picture[40, x + 10, 2] + 50
        assert picture[40, x + 150, 2] > picture[40, x + 150, 0] + 50


def test_predictions_are_chosen_evenly_and_the_same_every_time(
    landing: LandingWriter, root: Root
) -> None:
    landing.manifest(
        [landing.row(f"item-{number:02d}", (0, number % 9 + 1)) for number in range(30)]
    )
    root.materialize(PARTITION)
    validated = root.validated(PARTITION)
    once = contact_sheets(validated, root.settings)
    assert once.spread is not None
    assert contact_sheets(validated, root.settings) == once


def test_a_partition_without_predictions_has_no_sheet(landing: LandingWriter, root: Root) -> None:
    landing.manifest([{**landing.row("a"), "mask_url": "masks/nowhere.png"}])
    root.materialize(PARTITION)
    assert contact_sheets(root.validated(PARTITION), root.settings) == ContactSheets(None, None)


def test_a_lost_mask_costs_its_own_cell_only(landing: LandingWriter, root: Root) -> None:
    landing.manifest([landing.row("a", (0, 1)), landing.row("b", (0, 2))])
    root.materialize(PARTITION)
    next(Path(root.masks.folder.path).rglob("*.png")).unlink()
    assert contact_sheets(root.validated(PARTITION), root.settings).spread is not None


def sure(values: tuple[int, ...], confidences: dict[int, float | None]) -> list[dict[str, object]]:
    return [
        {
            "label": "void" if value == 9 else f"class {value}",
            "index": value,
            "metadata": json.dumps({"confidence": confidences.get(value)}),
        }
        for value in values
    ]


def test_the_least_sure_predictions_come_with_the_least_sure_first_and_it_outlined(
    landing: LandingWriter, root: Root
) -> None:
    told: dict[str, dict[int, float | None]] = {
        "sure": {0: 0.9, 1: 0.8},
        "unsure": {0: 0.9, 1: 0.1},
        "void is never sure": {0: 0.7, 9: 0.01},
        "says nothing": {},
        "between": {0: 0.4, 1: 0.5},
    }
    rows = []
    for name, confidences in told.items():
        values = tuple(confidences) or (0, 1)
        row = landing.row(name, values)
        rows.append({**row, "segments": sure(values, confidences)})
    landing.manifest(rows)
    root.materialize(PARTITION)
    found = least_sure(root.tables(PARTITION), 3)
    assert found == [
        Unsure("unsure", "class 1", 1, 0.1),
        Unsure("between", "class 0", 0, 0.4),
        Unsure("void is never sure", "class 0", 0, 0.7),
    ]
    sheets = contact_sheets(root.validated(PARTITION), root.settings)
    assert sheets.unsure is not None
    assert sheets.unsure != sheets.spread


def test_where_nothing_has_a_confidence_nothing_is_least_sure(
    landing: LandingWriter, root: Root
) -> None:
    landing.manifest([{**landing.row("a"), "segments": sure((0, 1, 2), {})}])
    root.materialize(PARTITION)
    assert least_sure(root.tables(PARTITION), 9) == []
    assert contact_sheets(root.validated(PARTITION), root.settings).unsure is None


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.one_of(st.none(), st.floats(-1, 2), st.just(math.nan)),
                st.one_of(st.none(), st.integers(0, 900).map(lambda one: one / 100)),
            ),
            min_size=1,
            max_size=4,
        ),
        max_size=30,
    ),
    st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_the_least_sure_are_those_an_exhaustive_search_finds(
    told: list[list[tuple[float | None, float | None]]], most: int
) -> None:
    """Read in row groups of two rows, so that every prediction spans several."""
    names = ["reference_id", "label", "index", "confidence", "entropy"]
    rows = [
        dict(zip(names, (f"item {n:02d}", "class", place, *values), strict=True))
        for n, segments in enumerate(told)
        for place, values in enumerate(segments)
    ]
    schema = pa.schema([SEGMENTS.field(name) for name in names])
    lowest = sorted(
        min(keys)
        for n, segments in enumerate(told)
        if (keys := [(*key, f"item {n:02d}") for one in segments if (key := _key(*one))])
    )
    with TemporaryDirectory() as folder:
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, Path(folder) / "segments.parquet", row_group_size=2)
        found = least_sure(Folder(folder), most)
    keys = [(*_key(one.confidence, one.entropy), one.reference_id) for one in found]
    assert keys == lowest[:most]


def _key(confidence: float | None, entropy: float | None) -> tuple[int, float] | tuple[()]:
    """By entropy, the highest first, before by confidence; nothing where there is neither."""
    if entropy is not None:
        return 0, -entropy
    return (1, confidence) if confidence is not None and 0 <= confidence <= 1 else ()
