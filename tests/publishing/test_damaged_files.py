"""Data files of confirmed versions that are missing or damaged: told, and brought back."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segpipe.errors import CatalogError, SegpipeError, StorageError
from segpipe.manifests.partition import Partition
from segpipe.publishing.catalog import open_catalog
from segpipe.publishing.maintenance import optimize, restore, unpublish
from segpipe.root import Root
from tests.fixtures.command_line import segpipe
from tests.fixtures.damaged_tables import (
    DATA,
    FIRST,
    SECOND,
    Damage,
    added,
    again,
    files,
    half,
    log,
    lost,
    zeroed_in_the_middle,
)
from tests.fixtures.landing import PARTITION, LandingWriter, MakeProvenance
from tests.fixtures.published import outcomes, published
from tests.fixtures.published_days import NEXT_DAY, Made, Publish, rows_of, version_of
from tests.fixtures.s3_buckets import upload
from tests.fixtures.s3_server import Bucket
from tests.fixtures.thoroughness import slow_after

WHOLE = {"a", "b", "c", "d"}
EVERY = pytest.mark.parametrize("damage", slow_after(1, DATA))


def commands(words: str) -> list[list[str]]:
    """The arguments of the commands that a message ends with."""
    return [shlex.split(one)[1:] for one in words.rpartition("with: ")[2].split("; ")]


def follow(words: str) -> list[str]:
    """Run what a message advises; what was said of files that were taken out."""
    said = []
    for command in commands(words):
        done = segpipe(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        said += [line for line in done.stderr.splitlines() if "taken out" in line]
    return said


def meaning(root: Root) -> list[dict[str, Any]]:
    """Everything the catalog holds, but when which run published it."""
    return [
        {key: value for key, value in row.items() if key not in ("run_id", "published_at")}
        for row in rows_of(root)
    ]


def _two(root: Root, publish: Publish) -> None:
    publish(FIRST, run_id="first")
    publish(SECOND, NEXT_DAY, run_id="second")


@pytest.fixture
def two(begin_with: Callable[[Made], Root]) -> Root:
    """A day in version 1 and the next in version 2, both confirmed."""
    return again(begin_with(_two))


def segments(root: Root) -> None:
    root.catalog.predictions()


READING: dict[str, Callable[[Root], object]] = {
    "predictions": segments,
    "show": lambda root: root.show("a"),
    "open_catalog": lambda root: open_catalog(root.settings.root).predictions(),
    "optimize": lambda root: optimize(root.catalog, "o"),
    "unpublish": lambda root: unpublish(
        root.catalog, "default", "unet", "u", reference_ids=["a", "c"]
    ),
}


@EVERY
def test_who_reads_is_told_file_model_run_partition_and_what_brings_it_back(
    two: Root, damage: Damage
) -> None:
    before = meaning(two)
    (file,) = added(two, 1)
    damage(file)
    two = again(two)
    with pytest.raises(CatalogError) as told:
        segments(two)
    words = str(told.value)
    assert file.name in words
    assert f"2 predictions of model run 'unet', partition {PARTITION.date}" in words
    assert NEXT_DAY.date not in words
    (said,) = follow(words)
    assert f"{file.name} " in said
    assert said.endswith("this run publishes again what was of its partition")
    assert meaning(again(two)) == before
    assert [v.operation for v in two.catalog.history(3)] == ["publish", "mend", "publish"]


@pytest.mark.parametrize("damage", [lost, zeroed_in_the_middle], ids=["missing", "zeroed within"])
@pytest.mark.parametrize("reading", READING.values(), ids=READING)
def test_whatever_meets_a_damaged_file_says_the_same(
    two: Root, reading: Callable[[Root], object], damage: Damage
) -> None:
    (file,) = added(two, 1)
    damage(file)
    with pytest.raises(CatalogError) as told:
        reading(again(two))
    assert file.name in str(told.value)
    (command,) = commands(str(told.value))
    assert command[:2] == ["run", "--root"]
    assert command[3:] == ["--model-run", "unet", "--date", PARTITION.date, "--verify", "all"]


def test_a_run_that_cannot_plan_beside_a_damaged_file_of_its_own_mends_it_unasked(
    two: Root, provenance: MakeProvenance
) -> None:
    before = meaning(two)
    lost(added(two, 1)[0])
    done = again(two).publish(PARTITION, provenance=provenance())
    assert outcomes(done) == {"inserted": 2}
    assert len(done.remarks) == 1
    assert meaning(again(two)) == before


def test_a_dry_run_beside_a_damaged_file_changes_nothing(two: Root) -> None:
    lost(added(two, 1)[0])
    before = files(two)
    with pytest.raises(CatalogError, match="is missing"):
        again(two).publish(PARTITION, dry_run=True)
    assert files(two) == before


def test_a_run_of_another_partition_takes_nothing_out(
    two: Root, publish: Any, landing: Any, provenance: MakeProvenance
) -> None:
    (file,) = added(two, 1)
    lost(file)
    partition = Partition("unet", "2026-01-07")
    landing.manifest([landing.row("a", (0, 5), partition)], partition)
    two = again(two)
    two.materialize(partition)
    before = files(two)
    with pytest.raises(CatalogError, match=PARTITION.date) as told:
        two.publish(partition, provenance=provenance(partition=partition.date, update=True))
    assert files(two) == before
    follow(str(told.value))
    two.publish(partition, provenance=provenance(partition=partition.date, update=True))
    assert set(published(again(two))) == WHOLE


@pytest.mark.parametrize(
    "damage", slow_after(1, {"missing": lost, "zeroed within": zeroed_in_the_middle})
)
def test_of_a_file_with_several_partitions_all_are_named_the_last_published_first(
    two: Root, publish: Any, damage: Damage
) -> None:
    # replaces what the first day published
    publish({**SECOND, "a": (0, 7)}, NEXT_DAY, update=True)
    optimize(two.catalog, "o")
    before = published(two)
    (file,) = added(two, version_of(two))
    damage(file)
    with pytest.raises(CatalogError) as told:
        segments(again(two))
    dates = [command[command.index("--date") + 1] for command in commands(str(told.value))]
    assert dates == [NEXT_DAY.date, PARTITION.date]
    said = follow(str(told.value))
    assert commands(said[0])[0][-3] == PARTITION.date  # what the first run leaves to be done
    assert published(again(two)) == before


@pytest.mark.slow
def test_two_damaged_files_are_both_told_and_mended(two: Root) -> None:
    before = meaning(two)
    for version in (1, 2):
        lost(added(two, version)[0])
    with pytest.raises(CatalogError) as told:
        segments(again(two))
    assert len(commands(str(told.value))) == 2
    follow(str(told.value))
    assert meaning(again(two)) == before


def test_a_damaged_file_of_another_model_run_disturbs_nobody(
    two_days: Root, provenance: MakeProvenance
) -> None:
    lost(added(two_days, 3)[0])
    done = again(two_days).publish(PARTITION, provenance=provenance())
    assert outcomes(done) == {"unchanged": 2}
    with pytest.raises(CatalogError, match="'another'"):
        segments(two_days)


@EVERY
def test_restoring_a_version_whose_file_is_damaged_names_what_brings_it_back(
    two: Root, damage: Damage
) -> None:
    before = meaning(two)
    unpublish(two.catalog, "default", "unet", "u", partition=PARTITION.date)
    damage(added(two, 1)[0])
    two = again(two)
    with pytest.raises(CatalogError, match="version 2 cannot be restored") as told:
        restore(two.catalog, 2, "r")
    assert version_of(two) == 3
    follow(str(told.value))
    assert meaning(again(two)) == before


@EVERY
def test_restoring_a_version_without_the_damaged_file_works(two: Root, damage: Damage) -> None:
    damage(added(two, 2)[0])
    restore(again(two).catalog, 1, "r")
    assert set(published(again(two))) == {"a", "b"}


def test_restoring_a_version_with_a_file_that_is_lost_all_the_time_says_so(two: Root) -> None:
    before = published(two)
    lost(added(two, 1)[0])
    done = segpipe("restore", "--root", two.settings.root, 1)
    assert done.returncode == 0
    assert "is missing" in done.stderr
    follow(done.stderr.strip())
    assert published(again(two)) == {id: before[id] for id in ("a", "b")}


def test_a_file_that_comes_back_is_there_again_with_the_version_before(
    two: Root, provenance: MakeProvenance
) -> None:
    before = meaning(two)
    (file,) = added(two, 1)
    file.rename(file.with_suffix(".away"))
    again(two).publish(PARTITION, provenance=provenance())
    file.with_suffix(".away").rename(file)
    restore(again(two).catalog, 2, "r")
    assert meaning(again(two)) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="may read everything")
def test_a_file_that_may_not_be_read_is_not_taken_for_damaged(
    two: Root, provenance: MakeProvenance
) -> None:
    (file,) = added(two, 1)
    file.chmod(0)
    with pytest.raises(SegpipeError):
        again(two).publish(PARTITION, provenance=provenance(), verify_masks=None)
    file.chmod(0o600)
    assert version_of(two) == 2


def test_a_disk_that_fails_to_read_is_not_taken_for_damage(
    unconfirmed: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.suffix == ".parquet":
            raise OSError(5, "Input/output error")
        return opened(self, *args, **kwargs)

    opened = Path.open
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", failing)
        with pytest.raises(StorageError):
            unconfirmed.catalog.optimize()
    assert set(published(unconfirmed)) == WHOLE
    assert not list(log(unconfirmed).glob("*.torn"))


@EVERY
def test_vacuum_passes_over_what_a_torn_version_left(unconfirmed: Root, damage: Damage) -> None:
    damage(added(unconfirmed, 2)[0])
    restore(unconfirmed.catalog, 1, "r")
    unconfirmed.vacuum(dry_run=False)
    assert set(published(again(unconfirmed))) == {"a", "b"}


@pytest.mark.parametrize(
    "damage", slow_after(1, {"cut": half, "zeroed within": zeroed_in_the_middle})
)
def test_vacuum_deletes_nothing_beside_a_damaged_file(two: Root, damage: Damage) -> None:
    (file,) = added(two, 1)
    damage(file)
    before = files(two)
    with pytest.raises(CatalogError, match=file.name) as told:
        again(two).vacuum(dry_run=False)
    assert files(two) == before
    follow(str(told.value))
    again(two).vacuum(dry_run=False)


def test_in_a_bucket_a_lost_object_is_told_and_brought_back(
    s3: Bucket, landing: LandingWriter, provenance: MakeProvenance
) -> None:
    landing.manifest([landing.row(id, values) for id, values in FIRST.items()])
    upload(s3, landing.root)
    root = Root.open(f"{s3.url}/root")
    root.materialize(PARTITION)
    root.publish(PARTITION, provenance=provenance())
    before = meaning(root)
    (file,) = (
        file.path for file in root.catalog.folder.files() if "/predictions/dataset=" in file.path
    )
    root.catalog.folder.filesystem.rm_file(file)
    root = again(root)
    with pytest.raises(CatalogError) as told:
        segments(root)
    assert f"{Path(file).name} is missing" in str(told.value)
    (command,) = commands(str(told.value))
    assert command[:3] == ["run", "--root", f"{s3.url}/root"]
    done = root.publish(PARTITION, provenance=provenance(), verify_masks=None)
    assert outcomes(done) == {"inserted": 2}
    assert "is missing" in done.remarks[0]
    assert meaning(again(root)) == before
