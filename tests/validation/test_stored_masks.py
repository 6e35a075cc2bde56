"""What validation puts into the mask store, and what becomes of a partition whose store or tables
were harmed."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from segpipe.root import Root
from tests.fixtures.landing import HEIGHT, PARTITION, WIDTH, LandingWriter
from tests.fixtures.png import SIGNATURE, chunk, ihdr

LINES = (b"\0" + bytes(WIDTH)) * HEIGHT


@pytest.mark.parametrize("max_bytes", [100_000_000, 10_000])
def test_the_store_never_holds_a_mask_that_inflates_beyond_its_pixels(
    landing: LandingWriter, root: Root, max_bytes: int
) -> None:
    (landing.root / "segpipe.toml").write_text(f"[policy]\nmax_bytes = {max_bytes}\n")
    landing.manifest([landing.row("bomb", (0,))])
    image_data = zlib.compress(LINES + bytes(50_000_000), 9)
    (landing.folder(PARTITION) / "masks" / "bomb.png").write_bytes(
        SIGNATURE + ihdr(WIDTH, HEIGHT) + chunk(b"IDAT", image_data) + chunk(b"IEND")
    )
    summary = Root.open(str(landing.root)).materialize(PARTITION)
    stored = list(Path(root.masks.folder.path).rglob("*.png"))
    if max_bytes < len(image_data):
        assert (summary.findings, stored) == ({"TOO-LARGE": 1}, [])
    else:
        assert (summary.accepted, summary.findings["PNG-TRAILING"]) == (1, 1)
        assert [path.stat().st_size < 200 for path in stored] == [True]
