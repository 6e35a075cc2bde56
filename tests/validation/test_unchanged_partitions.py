"""A rerun reads no mask when nothing changed, and every mask when anything did."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from segpipe.pictures.contact_sheet import SHEETS_FILE
from segpipe.pipeline.instance import open_instance
from segpipe.pipeline.runs import run_partition
from segpipe.root import Root
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.sources import AllowedRoots
from segpipe.validation.inputs import inputs_digest
from segpipe.validation.summary import Summary
from tests.fixtures.landing import PARTITION, LandingWriter, striped_mask
from tests.fixtures.s3_buckets import FlakyBucket, upload


class Reads:
    """Counts the masks that are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, where: type = AllowedRoots) -> None:
        self.count = 0
        name = "fetch" if where is AllowedRoots else "read"
        read = getattr(where, name)

        def counting(*given: Any, **named: Any) -> Any:
            self.count += 1
            return read(*given, **named)

        monkeypatch.setattr(where, name, counting)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@pytest.fixture
def landed(landing: LandingWriter) -> LandingWriter:
    """Two good rows, one whose size its image tells, one without a mask, one undeclared value."""
    landing.root.mkdir(parents=True)
    image = landing.root / "image.png"
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(image)
    sized = landing.row("sized", (0, 1), image_url=str(image))
    rows = [
        landing.row("a", (0, 1), image_url=None),  # the first row names the columns
        landing.row("b", (0, 2)),
        {**sized, "height": None, "width": None},
        {**landing.row("missing"), "mask_url": "masks/nowhere.png"},
        {**landing.row("undeclared", (0, 3)), "segments": landing.row("c", (0, 4))["segments"]},
    ]
    landing.manifest(rows)
    (landing.root / "items.txt").write_text("a\nb\nsized\nmissing\nundeclared\n")
    (landing.root / "segpipe.toml").write_text("[policy]\nitems = 'items.txt'\n")
    return landing


def materialized(landing: LandingWriter, **how: Any) -> Summary:
    return Root.open(str(landing.root)).materialize(PARTITION, **how)


def tables(landing: LandingWriter) -> dict[str, bytes]:
    folder = Path(Root.open(str(landing.root)).tables(PARTITION).path)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_unchanged_partition_is_not_read_again(landed: LandingWriter, reads: Reads) -> None:
    first = materialized(landed)
    assert (first.accepted, first.rejected, first.reused) == (3, 2, False)
    before, reads.count = tables(landed), 0
    told: list[tuple[int, int]] = []
    again = materialized(landed, progress=lambda *rows: told.append(rows))
    assert (again, again.reused, reads.count) == (first, True, 0)
    assert tables(landed) == before
    assert told == [(5, 5)]


def test_force_reads_every_mask(landed: LandingWriter, reads: Reads) -> None:
    first = materialized(landed)
    reads.count = 0
    again = materialized(landed, force=True)
    assert (again, again.reused) == (first, False)
    assert reads.count >= 4


def mask_of(landed: LandingWriter, name: str) -> Path:
    return landed.folder(PARTITION) / "masks" / f"{name}.png"


def mask_is_rewritten_with_as_many_bytes(landed: LandingWriter) -> None:
    path = mask_of(landed, "a")
    size = path.stat().st_size
    Image.fromarray(striped_mask((0, 5))).save(path)
    assert path.stat().st_size == size


def mask_is_rewritten_and_its_time_set_back(landed: LandingWriter) -> None:
    path = mask_of(landed, "a")
    status = path.stat()
    Image.fromarray(striped_mask((1, 0))).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def missing_mask_arrives(landed: LandingWriter) -> None:
    Image.fromarray(striped_mask((0, 1, 2))).save(mask_of(landed, "nowhere"))


def mask_is_lost(landed: LandingWriter) -> None:
    mask_of(landed, "b").unlink()


def image_has_another_size(landed: LandingWriter) -> None:
    Image.fromarray(np.zeros((7, 8, 3), np.uint8)).save(landed.root / "image.png")


def an_item_is_taken_off_the_list(landed: LandingWriter) -> None:
    (landed.root / "items.txt").write_text("a\nsized\nmissing\nundeclared\n")


def a_policy_is_set(landed: LandingWriter) -> None:
    with (landed.root / "segpipe.toml").open("a") as settings:
        settings.write("ignore_values = {3 = 'void'}\n")


def the_manifest_says_more(landed: LandingWriter) -> None:
    landed.manifest([landed.row("b", (0, 2))], name="more.parquet")


def a_stored_mask_is_lost(landed: LandingWriter) -> None:
    next((landed.root / "masks").rglob("*.png")).unlink()


def a_table_is_lost(landed: LandingWriter) -> None:
    (Path(Root.open(str(landed.root)).tables(PARTITION).path) / "segments.parquet").unlink()


def a_table_is_damaged(landed: LandingWriter) -> None:
    table = Path(Root.open(str(landed.root)).tables(PARTITION).path) / "validated.parquet"
    table.write_bytes(table.read_bytes()[:-20])


def a_table_is_of_another_pass(landed: LandingWriter) -> None:
    folder = Path(Root.open(str(landed.root)).tables(PARTITION).path)
    summary = json.loads((folder / "_summary.json").read_text())
    (folder / "_summary.json").write_text(json.dumps({**summary, "validated_digest": "0" * 64}))


def the_note_of_inputs_is_damaged(landed: LandingWriter) -> None:
    note = Path(Root.open(str(landed.root)).tables(PARTITION).path) / "_inputs.json"
    note.write_text("{")


CHANGES = [
    mask_is_rewritten_with_as_many_bytes,
    mask_is_rewritten_and_its_time_set_back,
    missing_mask_arrives,
    mask_is_lost,
    image_has_another_size,
    an_item_is_taken_off_the_list,
    a_policy_is_set,
    the_manifest_says_more,
    a_stored_mask_is_lost,
    a_table_is_lost,
    a_table_is_damaged,
    a_table_is_of_another_pass,
    the_note_of_inputs_is_damaged,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_whatever_changes_is_seen(
    landed: LandingWriter, reads: Reads, change: Callable[[LandingWriter], None]
) -> None:
    materialized(landed)
    change(landed)
    reads.count = 0
    again = materialized(landed)
    assert not again.reused
    assert reads.count >= 3
    # And what comes out is what a pass from nothing gives.
    found = {name: data for name, data in tables(landed).items() if name != "_inputs.json"}
    for path in Path(Root.open(str(landed.root)).tables(PARTITION).path).iterdir():
        path.unlink()
    materialized(landed)
    assert {n: data for n, data in tables(landed).items() if n != "_inputs.json"} == found


def test_another_version_of_the_rules_reads_again(
    landed: LandingWriter, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialized(landed)
    monkeypatch.setattr("segpipe.validation.materialization.CODE_VERSION", "another")
    assert not materialized(landed).reused


def test_what_the_web_holds_is_never_known_to_be_unchanged(landed: LandingWriter) -> None:
    with (landed.root / "segpipe.toml").open("r+") as settings:
        text = settings.read()
        settings.seek(0)
        settings.write("allowed_roots = ['http://127.0.0.1:9/masks']\n" + text)
    landed.manifest([{**landed.row("a"), "mask_url": "http://127.0.0.1:9/masks/a.png"}])
    root = Root.open(str(landed.root))
    validation = root.validation(PARTITION.model_run)
    assert inputs_digest(root.manifest(PARTITION), validation, "1") is None


def test_in_a_bucket_an_unchanged_partition_fetches_no_mask(
    flaky_s3: FlakyBucket, landing: LandingWriter
) -> None:
    landing.manifest([landing.row(f"item-{number}", (0, number)) for number in range(1, 9)])
    upload(flaky_s3, landing.root)
    url = f"{flaky_s3.url}/root"
    first = Root.open(url).materialize(PARTITION)
    flaky_s3.proxy.forget()
    again = Root.open(url).materialize(PARTITION)
    assert (again, again.reused) == (first, True)
    assert not [p for p in flaky_s3.proxy.log if p.method == "GET" and p.path.endswith(".png")]
    landing.mask("item-3", striped_mask((3, 0)))
    upload(flaky_s3, landing.root)
    changed = Root.open(url).materialize(PARTITION)
    assert not changed.reused
    assert changed.validated_digest != first.validated_digest


def test_a_run_of_an_unchanged_partition_opens_no_mask_and_draws_no_picture(
    landed: LandingWriter, reads: Reads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Reads(monkeypatch, MaskStore)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    settings = Root.open(str(landed.root)).settings
    sheets = Path(Root(settings).tables(PARTITION).path) / SHEETS_FILE
    with open_instance(str(tmp_path)) as instance:

        def run(**how: bool) -> tuple[bool, int, Any]:
            """Whether tables were reused, how many masks were read, the picture shown."""
            reads.count = stored.count = 0
            # What is published is read back; a dry run publishes nothing.
            report = run_partition(
                Root(settings), PARTITION, instance=instance, dry_run=True, **how
            )
            event = instance.get_latest_materialization_event(dg.AssetKey("validated_masks"))
            assert report.failure is None
            assert report.summary is not None
            assert event is not None
            assert event.asset_materialization is not None
            shown = event.asset_materialization.metadata["preview"]
            return report.summary.reused, reads.count + stored.count, shown

        reused, count, picture = run()
        assert (reused, count > 0) == (False, True)
        assert run() == (True, 0, picture)
        reused, count, forced = run(force=True)
        assert (reused, count > 0, forced) == (False, True, picture)
        sheets.write_text("[")
        reused, count, mended = run()
        assert (reused, count > 0, mended) == (True, True, picture)
        assert run() == (True, 0, picture)
