"""The bytes of a PNG differ between versions of zlib and of segpipe: nothing else may, and what was
made or published with other bytes counts as unchanged.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from segpipe.predictions.view import View
from segpipe.root import Root
from segpipe.tables.schemas import ENCODED
from segpipe.validation import chunk as validating
from segpipe.views import chunk as viewing
from tests.fixtures.landing import PARTITION, LandingWriter, MakeProvenance, striped_mask
from tests.fixtures.png import PALETTE, png
from tests.fixtures.published import outcomes, published
from tests.fixtures.streets import MADE, STREET, TAXONOMY


def by_pillow(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()


@pytest.fixture
def other_encoder(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has everything encoded from then on by Pillow, not compressed."""

    def change() -> None:
        monkeypatch.setattr(validating, "canonical_png", by_pillow)
        monkeypatch.setattr(viewing, "canonical_png", by_pillow)

    return change


@pytest.fixture
def streets(landing: LandingWriter) -> Root:
    """Masks in 16 bits, which are encoded anew; two items have the same, a third is damaged."""
    rows = []
    for name, first in (("a", 1), ("b", 2), ("same as b", 2), ("damaged", 3)):
        mask = striped_mask([4, 5, 6, 7, 4, 5])
        mask[0, :first] = 7
        row = landing.row(name, segments=STREET)
        file = landing.folder(PARTITION) / row["mask_url"]
        file.write_bytes(png(mask, depth=16)[: 60 if name == "damaged" else None])
        rows.append(row)
    landing.manifest(rows)
    (landing.root / "segpipe.toml").write_text(TAXONOMY)
    return Root.open(str(landing.root))


def tables(root: Root, view: View | None = None) -> dict[str, pa.Table]:
    opened = root.validated(PARTITION) if view is None else root.view(PARTITION, view)
    batches = list(opened.batches(100))
    return {
        "validated": pa.concat_tables(batch.rows for batch in batches),
        "segments": pa.concat_tables(
            pa.table({"segments": batch.segments.combine_chunks()})
            if isinstance(batch.segments, pa.ChunkedArray)
            else pa.table({"segments": batch.segments})
            for batch in batches
        ),
    }


def test_tables_of_other_bytes_have_the_same_digests_and_differ_in_bytes_alone(
    streets: Root, other_encoder: Callable[[], None]
) -> None:
    first, before = streets.materialize(PARTITION), tables(streets)
    rejected = Path(streets.tables(PARTITION).path, "rejected.parquet").read_bytes()
    other_encoder()
    again, after = streets.materialize(PARTITION, force=True), tables(streets)
    assert again == first
    assert first.findings["DUPLICATE-MASK"] == 1
    assert Path(streets.tables(PARTITION).path, "rejected.parquet").read_bytes() == rejected
    assert after["segments"] == before["segments"]
    for name in before["validated"].column_names:
        same = after["validated"][name] == before["validated"][name]
        assert same == (name not in ENCODED), name


def test_what_was_made_with_another_encoder_is_not_made_again(
    streets: Root, other_encoder: Callable[[], None]
) -> None:
    other_encoder()
    streets.materialize(PARTITION)
    streets.materialize_view(PARTITION, view=View.SEMANTIC)
    views = Path(streets.view(PARTITION, View.SEMANTIC).folder.path)
    before = {path: path.read_bytes() for path in views.iterdir()}
    later = Root.open(streets.settings.root)
    assert later.materialize(PARTITION).reused
    later.materialize(PARTITION, force=True)
    later.materialize_view(PARTITION, view=View.SEMANTIC)
    assert {path: path.read_bytes() for path in views.iterdir()} == before


@pytest.mark.parametrize("view", MADE)
def test_a_view_of_other_bytes_has_the_same_digest(
    streets: Root, other_encoder: Callable[[], None], view: View
) -> None:
    streets.materialize(PARTITION)
    first = streets.materialize_view(PARTITION, view=view)
    before = tables(streets, view)
    other_encoder()
    streets.materialize(PARTITION, force=True)
    assert streets.materialize_view(PARTITION, view=view, force=True) == first
    after = tables(streets, view)
    assert after["segments"] == before["segments"]
    assert after["validated"].drop_columns(list(ENCODED)) == before["validated"].drop_columns(
        list(ENCODED)
    )
    assert after["validated"]["mask_sha256"] != before["validated"]["mask_sha256"]


@pytest.mark.parametrize("update", [False, True])
def test_what_was_published_with_other_bytes_is_published_already(
    streets: Root,
    other_encoder: Callable[[], None],
    provenance: MakeProvenance,
    update: bool,
) -> None:
    streets.materialize(PARTITION)
    streets.publish(PARTITION, provenance=provenance())
    held = published(streets)
    other_encoder()
    streets.materialize(PARTITION, force=True)
    again = streets.publish(PARTITION, provenance=provenance(update=update))
    assert outcomes(again) == {"unchanged": 3}
    assert again.verification is not None
    assert again.verification.mismatches == ()
    assert published(streets) == held


@pytest.mark.parametrize(
    "other",
    [{"colour": PALETTE}, {"depth": 16}, {"filters": (4,)}, {"level": 0}, {"pieces": 2}],
    ids=["palette", "16-bit", "other filter", "not compressed", "two IDAT"],
)
def test_the_same_mask_for_two_items_is_found_however_either_is_encoded(
    landing: LandingWriter, root: Root, other: dict[str, Any]
) -> None:
    rows = [landing.row("a", (0, 1)), landing.row("b", (0, 1)), landing.row("c", (1, 0))]
    file = landing.folder(PARTITION) / rows[1]["mask_url"]
    file.write_bytes(png(striped_mask((0, 1)), **other))
    landing.manifest(rows)
    assert root.materialize(PARTITION).findings["DUPLICATE-MASK"] == 1
