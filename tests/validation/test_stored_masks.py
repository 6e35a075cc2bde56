"""What validation puts into the mask store, and what becomes of a partition whose store or tables
were harmed."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import pytest

from segpipe.publishing.catalog import Catalog
from segpipe.root import Root
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from tests.fixtures.landing import HEIGHT, PARTITION, WIDTH, LandingWriter, MakeProvenance
from tests.fixtures.png import SIGNATURE, chunk, ihdr
from tests.fixtures.published import outcomes

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


def zeroed(path: Path) -> None:
    """As after a power cut: the right length, and other bytes."""
    half = path.stat().st_size // 2
    path.write_bytes(path.read_bytes()[:half] + bytes(path.stat().st_size - half))


def test_a_mask_of_right_length_and_wrong_bytes_is_not_published_and_a_rerun_mends_it(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 5))])
    root.materialize(PARTITION)
    sha256 = next(root.validated(PARTITION).batches(10)).rows["mask_sha256"][0].as_py()
    path = Path(root.masks.folder.path_of(root.masks.name_of(sha256)))
    zeroed(path)
    later = Root.open(str(landing.root))
    told = later.publish(PARTITION, provenance=provenance())
    assert outcomes(told) == {"inserted": 1, "failed": 1}
    ((item, words),) = told.failures
    assert (item, path.name in words, "materialize the partition again" in words) == (
        "a",
        True,
        True,
    )
    assert not later.materialize(PARTITION).reused
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert outcomes(later.publish(PARTITION, provenance=provenance())) == {
        "inserted": 1,
        "unchanged": 1,
    }


@pytest.mark.parametrize("force", [False, True])
def test_a_published_mask_that_was_damaged_is_named_and_the_advice_mends_it(
    landing: LandingWriter, root: Root, provenance: MakeProvenance, force: bool
) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 5))])
    root.materialize(PARTITION)
    root.publish(PARTITION, provenance=provenance())
    path = landing.root / root.catalog.read(where="reference_id = 'a'")["mask_path"][0].as_py()
    zeroed(path)
    later = Root.open(str(landing.root))
    if not force:
        found = later.publish(PARTITION, provenance=provenance(), verify_masks=None).verification
        assert found is not None
        (mismatch,) = found.mismatches
        assert mismatch.reference_id == "a"
        assert path.name in mismatch.words
        assert "run the partition again" in mismatch.words
    later.materialize(PARTITION, force=force)
    mended = later.publish(PARTITION, provenance=provenance(), verify_masks=None).verification
    assert mended is not None
    assert mended.mismatches == ()


def test_reading_back_mends_a_mask_of_the_catalog_from_the_roots(
    landing: LandingWriter, root: Root, provenance: MakeProvenance, tmp_path: Path
) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 5))])
    root.materialize(PARTITION)
    own = MaskStore(Folder(str(tmp_path / "elsewhere" / "masks")))
    catalog = Catalog(Folder(str(tmp_path / "elsewhere")), own)
    batch = next(root.validated(PARTITION).batches(10))
    by = provenance()
    told = catalog.publish(batch, root.masks, by)
    sha256 = batch.rows["mask_sha256"][0].as_py()
    zeroed(Path(own.folder.path_of(own.name_of(sha256))))
    assert catalog.verify(told, by, masks=None).mismatches == ()
    assert own.read(sha256) == root.masks.read(sha256)


@pytest.mark.parametrize("name", ["validated.parquet", "segments.parquet", "rejected.parquet"])
def test_a_table_damaged_in_the_middle_is_made_anew_by_the_next_run(
    landing: LandingWriter, root: Root, name: str
) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 5))])
    root.materialize(PARTITION)
    path = Path(root.tables(PARTITION).path) / name
    right = path.read_bytes()
    path.write_bytes(right[:8] + bytes(64) + right[72:])
    assert not root.materialize(PARTITION).reused
    assert path.read_bytes() == right
    assert root.materialize(PARTITION).reused
    path.write_bytes(bytes(len(right)))
    assert not root.materialize(PARTITION).reused
    assert path.read_bytes() == right
