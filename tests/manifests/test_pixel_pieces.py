"""Batches in pieces of bounded pixels."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from segpipe.manifests.pixel_pieces import by_pixels
from segpipe.manifests.row_sizes import TooLarge
from segpipe.manifests.rows import ManifestBatch
from segpipe.root import Root
from segpipe.validation import materialization
from tests.fixtures.landing import PARTITION, LandingWriter


def batch(**columns: Any) -> ManifestBatch:
    rows = pa.RecordBatch.from_pydict({"segments": [None] * 6, **columns})
    why = TooLarge("segments", 9, 1)
    return ManifestBatch("f", "m", 10, rows, "segments", pa.schema([]), too_large={4: why})


def cuts(given: ManifestBatch, most: int) -> list[tuple[int, int, list[int]]]:
    """First row, number of rows, and places of rows that are too large, of each piece."""
    pieces = by_pixels([given, given], most)
    found = [(one.first, one.rows.num_rows, [*one.too_large]) for one in pieces]
    assert found[: len(found) // 2] == found[len(found) // 2 :]
    return found[: len(found) // 2]


def test_a_piece_ends_with_the_mask_that_fills_it() -> None:
    sizes = {"height": [10, 10, 30, 10, 10, 10], "width": [10] * 6}
    assert cuts(batch(**sizes), 200) == [(10, 2, []), (12, 1, []), (13, 2, [1]), (15, 1, [])]
    assert cuts(batch(**sizes), 10_000) == [(10, 6, [4])]


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"height": [1000] * 6},
        {"height": [None] * 6, "width": [None] * 6},
        {"height": [-1] * 6, "width": [float("nan")] * 6},
        {"height": ["tall"] * 6, "width": [9] * 6},
    ],
)
def test_rows_whose_size_is_not_known_stay_together(columns: dict[str, Any]) -> None:
    assert cuts(batch(**columns), 200) == [(10, 6, [4])]


def test_sizes_beyond_reason_are_a_piece_each() -> None:
    sizes = {"height": [2**62] * 6, "width": [2**62] * 6}
    assert [rows for _, rows, _ in cuts(batch(**sizes), 200)] == [1] * 6


def test_tables_do_not_depend_on_the_pieces(
    landing: LandingWriter, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [landing.row(f"{n:02}", (0, n % 5 + 1)) for n in range(12)]
    landing.manifest([*rows, rows[3], {**rows[4], "width": 9}])

    def tables() -> dict[str, bytes]:
        root.materialize(PARTITION, force=True)
        folder = Path(root.tables(PARTITION).path)
        return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}

    whole = tables()
    assert len(whole) == 3
    monkeypatch.setattr(materialization, "by_pixels", partial(by_pixels, most=100))
    assert tables() == whole
