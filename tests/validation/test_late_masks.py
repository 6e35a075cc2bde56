"""A partition whose masks arrive after it was validated is known to be worth another look."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from segpipe.root import Root
from segpipe.validation.late_masks import LateMasks, late_masks, misses_masks
from tests.fixtures.landing import PARTITION, LandingWriter, striped_mask
from tests.fixtures.s3_buckets import upload
from tests.fixtures.s3_server import Bucket

LATE = ["late-0", "late-1", "late-2"]


def late(root: Root, now: datetime | None = None, most: int = 500) -> LateMasks | None:
    manifest, sources = root.manifest(PARTITION), root.settings.sources()
    tables = root.tables(PARTITION)
    return late_masks(tables, manifest, sources, now or datetime.now(UTC), most)


def mask_of(landing: LandingWriter, name: str) -> Path:
    return landing.folder(PARTITION) / "masks" / f"{name}.png"


def arrive(landing: LandingWriter, name: str, ago: timedelta = timedelta()) -> None:
    """Write a mask, some time ago."""
    Image.fromarray(striped_mask((0, 1, 2))).save(mask_of(landing, name))
    when = (datetime.now(UTC) - ago).timestamp()
    os.utime(mask_of(landing, name), (when, when))


@pytest.fixture
def early(landing: LandingWriter) -> LandingWriter:
    """A manifest of one mask that is there and three that are not yet."""
    landing.manifest([landing.row(name) for name in ("there", *LATE)])
    for name in LATE:
        mask_of(landing, name).unlink()
    return landing


def test_a_partition_that_was_not_validated_misses_nothing_known(
    early: LandingWriter, root: Root
) -> None:
    assert misses_masks(root.tables(PARTITION)) is None
    assert late(root) is None


def test_of_masks_in_rows_only_the_files_that_images_name_can_arrive(
    early: LandingWriter, root: Root
) -> None:
    damaged = mask_of(early, "there").read_bytes()[:-20]
    given = [
        {"bytes": damaged, "path": "masks/there.png"},
        {"bytes": None, "path": "p" * 20_000},  # rejected, too
        *({"bytes": None, "path": f"masks/{name}.png"} for name in LATE),
    ]
    names = ("damaged", "long", *LATE)
    rows = [
        {**early.row("there"), "reference_id": name, "mask_url": None, "mask": mask}
        for name, mask in zip(names, given, strict=True)
    ]
    early.manifest(rows)
    assert root.materialize(PARTITION).rejected == 5
    assert late(root) is None
    for name in LATE[:2]:
        arrive(early, name, timedelta(minutes=2))
    found = late(root)
    assert found is not None
    assert found.masks == 2
    assert root.materialize(PARTITION).rejected == 3


def test_masks_that_arrive_are_found_and_a_rerun_takes_them(
    early: LandingWriter, root: Root
) -> None:
    assert root.materialize(PARTITION).rejected == 3
    assert misses_masks(root.tables(PARTITION))
    assert late(root) is None
    for name in LATE:
        arrive(early, name)
    found = late(root)
    assert found is not None
    assert found.masks == 3
    again = root.materialize(PARTITION)
    assert (again.accepted, again.reused) == (4, False)
    assert not misses_masks(root.tables(PARTITION))


def test_a_mask_that_was_cut_and_is_whole_now_is_found(early: LandingWriter, root: Root) -> None:
    for name in LATE:
        arrive(early, name, timedelta(hours=1))
    whole = mask_of(early, "late-0").read_bytes()
    mask_of(early, "late-0").write_bytes(whole[:-20])
    assert root.materialize(PARTITION).rejected == 1
    assert late(root) is None
    mask_of(early, "late-0").write_bytes(whole)
    assert late(root) is not None
    assert root.materialize(PARTITION).rejected == 0


def test_while_masks_are_arriving_the_run_waits_but_not_for_ever(
    early: LandingWriter, root: Root
) -> None:
    root.materialize(PARTITION)
    now = datetime.now(UTC)
    arrive(early, "late-0")
    assert late(root, now + timedelta(seconds=5)) is None
    assert late(root, now + timedelta(seconds=90)) is not None
    arrive(early, "late-0", timedelta(minutes=11))
    arrive(early, "late-1")
    assert late(root, now + timedelta(seconds=5)) is not None
    arrive(early, "late-2")
    arrive(early, "late-0")
    assert late(root, now + timedelta(seconds=5)) is not None  # all are there


def test_the_state_changes_with_the_tables_and_with_what_arrived(
    early: LandingWriter, root: Root
) -> None:
    root.materialize(PARTITION)
    later = datetime.now(UTC) + timedelta(minutes=2)
    states = []
    for name in LATE[:2]:
        arrive(early, name)
        for _ in range(2):
            found = late(root, later)
            assert found is not None
            states.append(found.state)
    assert states[0] == states[1] != states[2] == states[3]
    root.materialize(PARTITION)
    assert late(root, later) is None
    mask_of(early, "late-2").mkdir()  # there, and still no mask
    assert late(root, later) is None


def test_where_many_are_missing_all_take_their_turn(early: LandingWriter, root: Root) -> None:
    root.materialize(PARTITION)
    now = datetime.now(UTC)
    arrive(early, "late-2", timedelta(hours=1))
    looks = [late(root, now + n * timedelta(seconds=30), most=1) for n in range(3)]
    assert sum(found is not None for found in looks) == 1


def test_in_a_bucket_late_masks_are_found(early: LandingWriter, s3: Bucket) -> None:
    upload(s3, early.root)
    root = Root.open(f"{s3.url}/root")
    assert misses_masks(root.tables(PARTITION)) is None
    root.materialize(PARTITION)
    assert misses_masks(root.tables(PARTITION))
    assert late(root) is None
    for name in LATE:
        arrive(early, name)
    upload(s3, early.root)
    found = late(root)
    assert found is not None
    assert found.masks == 3
    assert root.materialize(PARTITION).accepted == 4
