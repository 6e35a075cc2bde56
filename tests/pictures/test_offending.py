"""The pixels that violate a rule, as pictures mark them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from segpipe.errors import ManifestError
from segpipe.pictures.offending import MARKED, offending_pixels
from segpipe.root import Root
from segpipe.validation.rules import CATALOGUE
from tests.fixtures.landing import PARTITION, LandingWriter, striped_mask

STRIPES = striped_mask((0, 1, 2))


def marks(root: Root, rule: str, row: int = 0) -> np.ndarray | None:
    evidence, data = root.evidence(PARTITION, manifest=manifest_of(root), row=row)
    return offending_pixels(rule, evidence, data)


def manifest_of(root: Root) -> str:
    rejected = root.validated(PARTITION).rejected(1)
    assert rejected.num_rows
    return str(rejected["manifest"][0])


def one(label: object, index: object, **metadata: Any) -> dict[str, Any]:
    return {"label": label, "index": index, "metadata": json.dumps(metadata)}


A, B, C = one("road", 0), one("car", 1), one("sky", 2)


@pytest.mark.parametrize(
    ("rule", "segments", "values"),
    [
        ("VALUE-NO-SEGMENT", [A, B], {2}),
        ("LABEL-EMPTY", [A, one(" ", 1), C], {1}),
        ("LABEL-UNKNOWN", [A, one("cra", 1), C, one("", 3)], {1}),
        ("CONFIDENCE-RANGE", [A, B, one("sky", 2, confidence=1.5), one("", 3)], {2}),
        ("PDF-RANGE", [A, one("car", 1, class_pdf={"car": 4.2, "sky": -1.0}), C], {1}),
        ("INDEX-DUPLICATE", [A, B, one("bus", 1), C], {1}),
    ],
)
def test_the_pixels_of_what_offends_are_marked(
    rule: str, segments: list[dict[str, Any]], values: set[int], landing: LandingWriter, root: Root
) -> None:
    settings = '[policy.taxonomy]\nroad = "stuff"\ncar = "thing"\nsky = "stuff"\nbus = "thing"\n'
    Path(root.settings.root, "segpipe.toml").write_text(settings)
    root = Root.open(root.settings.root)
    landing.manifest([{**landing.row("a"), "segments": segments}])
    assert rule in root.materialize(PARTITION).findings
    found = marks(root, rule)
    assert found is not None
    assert np.array_equal(found, np.isin(STRIPES, list(values)))
    assert marks(root, "EMPTY-MASK") is None
    assert marks(root, "SEGMENT-NO-PIXELS") is None


def test_pixels_of_refused_masks_are_marked_too(landing: LandingWriter, root: Root) -> None:
    colour = np.repeat(STRIPES[:, :, None], 3, axis=2)
    colour[1, 2] = (9, 8, 7)
    alpha = np.stack([STRIPES, np.full_like(STRIPES, 255)], 2)
    alpha[3, 4, 1] = 10
    deep = STRIPES.astype(np.uint16)
    deep[5, 6] = 999
    rows = [landing.row(name) for name in ("colour", "alpha", "deep")]
    for name, picture in zip(("colour", "alpha", "deep"), (colour, alpha, deep), strict=True):
        Image.fromarray(picture).save(landing.folder(PARTITION) / "masks" / f"{name}.png")
    landing.manifest(rows)
    findings = root.materialize(PARTITION).findings
    given = {"MASK-COLOUR": (1, 2), "MASK-ALPHA": (3, 4), "MASK-16BIT": (5, 6)}
    assert findings.keys() >= given.keys()
    for row, (rule, place) in enumerate(given.items()):
        found = marks(root, rule, row)
        assert found is not None
        assert np.argwhere(found).tolist() == [list(place)]


def test_interpolated_pixels_are_marked_along_both_axes(landing: LandingWriter, root: Root) -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[3:6, 3:6], mask[2, 3:6], mask[3:6, 6] = 200, 90, 91
    landing.row("a")
    Image.fromarray(mask).save(landing.folder(PARTITION) / "masks" / "a.png")
    segments = [one("road", 0), one("car", 200)]
    landing.manifest([{**landing.row("b"), "mask_url": "masks/a.png", "segments": segments,
                       "height": 9, "width": 9}])  # fmt: skip
    root.materialize(PARTITION)
    found = marks(root, "VALUES-INTERPOLATED")
    assert found is not None
    assert np.array_equal(found, np.isin(mask, (90, 91)))


def test_a_row_is_found_in_any_row_group_and_a_row_that_is_not_there_is_told(
    landing: LandingWriter, root: Root
) -> None:
    rows = [landing.row(f"item {n}", values=(0, 1, n)) for n in range(2, 9)]
    path = landing.folder(PARTITION) / "predictions.parquet"
    pq.write_table(pa.Table.from_pylist([{**row, "segments": [A, B]} for row in rows]), path,
                   row_group_size=3)  # fmt: skip
    root.materialize(PARTITION)
    for number in range(7):
        evidence, _ = root.evidence(PARTITION, manifest=manifest_of(root), row=number)
        assert (evidence.row.reference_id, evidence.row.number) == (f"item {number + 2}", number)
        assert evidence.unexplained == {number + 2}
    with pytest.raises(ManifestError, match="no row 7 in a manifest"):
        root.evidence(PARTITION, manifest=manifest_of(root), row=7)


def test_every_rule_that_is_marked_exists() -> None:
    assert CATALOGUE.keys() >= MARKED
