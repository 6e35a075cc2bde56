"""A contact sheet is small, whole, and means the same by the same colour."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from segpipe.contact_sheet import MOST_BYTES, Cell, colours_of, contact_sheet, drawn
from segpipe.root import Root
from tests.conftest import PARTITION, LandingWriter


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


@pytest.mark.parametrize("what", ODD)
def test_whatever_it_shows_it_fits_into_a_page(what: str) -> None:
    data = drawn(ODD[what]())
    assert len(data) <= MOST_BYTES
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert picture.width <= 1100


def test_a_label_has_one_colour_whatever_its_index() -> None:
    left = cell(np.array([[0, 1]], np.uint8), {0: "road", 1: "car"})
    right = cell(np.array([[7, 9]], np.uint8), {7: "car", 9: "background"})
    colours = colours_of([left, right])
    assert colours.keys() == {"road", "car", "background"}
    assert len(set(colours.values())) == 3
    assert colours_of([right, left]) == colours


def test_predictions_are_chosen_evenly_and_the_same_every_time(
    landing: LandingWriter, root: Root
) -> None:
    landing.manifest(
        [landing.row(f"item-{number:02d}", (0, number % 9 + 1)) for number in range(30)]
    )
    root.materialize(PARTITION)
    validated = root.validated(PARTITION)
    once = contact_sheet(validated, root.settings)
    assert once is not None
    assert contact_sheet(validated, root.settings) == once


def test_a_partition_without_predictions_has_no_sheet(landing: LandingWriter, root: Root) -> None:
    landing.manifest([{**landing.row("a"), "mask_url": "masks/nowhere.png"}])
    root.materialize(PARTITION)
    assert contact_sheet(root.validated(PARTITION), root.settings) is None


def test_a_lost_mask_costs_its_own_cell_only(landing: LandingWriter, root: Root) -> None:
    from pathlib import Path

    landing.manifest([landing.row("a", (0, 1)), landing.row("b", (0, 2))])
    root.materialize(PARTITION)
    next(Path(root.masks.folder.path).rglob("*.png")).unlink()
    assert contact_sheet(root.validated(PARTITION), root.settings) is not None
