"""A table as a cut of the power leaves it: what was not confirmed never happened.

Each state is made of a table that was really published to: files are damaged, and the note of what
is confirmed is the one from before the last publication.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from segpipe.errors import CatalogError
from segpipe.manifests.partition import Partition
from segpipe.publishing.catalog import open_catalog
from segpipe.publishing.confirmed_versions import MARKER
from segpipe.publishing.history import history
from segpipe.publishing.maintenance import optimize, restore, unpublish
from segpipe.root import Root
from tests.fixtures.command_line import segpipe
from tests.fixtures.damaged_tables import (
    DATA,
    ENTRY,
    FIRST,
    SECOND,
    Damage,
    added,
    again,
    emptied,
    entry,
    files,
    half,
    log,
    lost,
    zeroed,
)
from tests.fixtures.landing import PARTITION, MakeProvenance
from tests.fixtures.published import outcomes, published
from tests.fixtures.published_days import NEXT_DAY, version_of
from tests.fixtures.thoroughness import slow_after


def states() -> Iterator[Any]:
    for name, damage in ENTRY.items():
        yield pytest.param(lambda r, d=damage: d(entry(r, 2)), id=f"entry {name}")
    for name, damage in DATA.items():
        yield pytest.param(lambda r, d=damage: d(added(r, 2)[0]), id=f"data {name}")


STATES = list(states())
WHOLE = {"a", "b", "c", "d"}


@pytest.mark.parametrize("damage", STATES)
def test_who_reads_a_torn_newest_version_sees_the_one_before_and_writes_nothing(
    unconfirmed: Root, damage: Callable[[Root], None]
) -> None:
    damage(unconfirmed)
    before = files(unconfirmed)
    assert set(published(unconfirmed)) == {"a", "b"}
    assert open_catalog(unconfirmed.settings.root).predictions().num_rows == 2
    assert unconfirmed.show("a").rows
    told = unconfirmed.catalog.history()
    assert [(v.version, v.operation) for v in told] == [
        (2, "torn"),
        (1, "publish"),
        (0, "create"),
    ]
    assert version_of(unconfirmed) == 1
    assert files(unconfirmed) == before


@pytest.mark.parametrize("damage", STATES)
@pytest.mark.parametrize("noted", [True, False], ids=["noted", "never noted"])
def test_a_rerun_sets_a_torn_newest_version_aside_and_publishes_again(
    unconfirmed: Root, damage: Callable[[Root], None], noted: bool, provenance: MakeProvenance
) -> None:
    if not noted:
        (log(unconfirmed) / MARKER).unlink()
    torn = entry(unconfirmed, 2).read_bytes()
    damage(unconfirmed)
    left = entry(unconfirmed, 2).read_bytes()
    if not noted and left != torn and left.count(b"\n") == torn.count(b"\n") - 1:
        assert left.startswith(b'{"commitInfo"')
    done = unconfirmed.publish(
        NEXT_DAY, provenance=provenance(partition=NEXT_DAY.date, run_id="third")
    )
    assert outcomes(done) == {"inserted": 2}
    assert set(published(unconfirmed)) == WHOLE
    kept = entry(unconfirmed, 2).with_suffix(".json.torn")
    assert kept.read_bytes() == left
    (said,) = done.remarks
    assert kept.name in said
    told = history(again(unconfirmed).catalog)
    assert [(v.version, v.operation) for v in told] == [
        (2, "publish"),
        (2, "torn"),
        (1, "publish"),
        (0, "create"),
    ]
    assert told[0].notes["run_id"] == "third"
    assert kept.name in told[1].notes["torn"]


@pytest.mark.parametrize("damage", STATES)
@pytest.mark.parametrize("version", [0, 1])
def test_restore_works_beside_a_torn_newest_version(
    unconfirmed: Root, damage: Callable[[Root], None], version: int
) -> None:
    damage(unconfirmed)
    restore(unconfirmed.catalog, version, "restoring")
    assert set(published(again(unconfirmed))) == ({"a", "b"} if version else set())
    assert (log(unconfirmed) / f"{2:020d}.json.torn").exists()


def test_a_whole_version_that_is_not_confirmed_yet_counts_and_is_confirmed_by_who_writes(
    unconfirmed: Root, publish: Any
) -> None:
    before = files(unconfirmed)
    assert set(published(unconfirmed)) == WHOLE
    assert files(unconfirmed) == before
    publish({"e": (0, 5)}, Partition("unet", "2026-01-07"))
    assert set(published(unconfirmed)) == {*WHOLE, "e"}
    assert json.loads((log(unconfirmed) / MARKER).read_text())["version"] == 3
    assert not list(log(unconfirmed).glob("*.torn"))


@pytest.mark.parametrize(("earlier", "damage"), [*pairwise([*ENTRY.values(), half])])
def test_two_torn_newest_versions_are_set_aside_together(
    root: Root, publish: Any, damage: Damage, earlier: Damage, provenance: MakeProvenance
) -> None:
    publish(FIRST)
    note = (log(root) / MARKER).read_bytes()
    publish(SECOND, NEXT_DAY)
    publish({"a": (0, 5)}, update=True)
    (log(root) / MARKER).write_bytes(note)
    earlier(entry(root, 2))
    damage(entry(root, 3))
    root = again(root)
    assert set(published(root)) == {"a", "b"}
    root.publish(NEXT_DAY, provenance=provenance(partition=NEXT_DAY.date))
    assert set(published(root)) == WHOLE
    assert [v.version for v in history(root.catalog) if v.operation == "torn"] == [3, 2]


def test_a_version_upon_a_torn_one_does_not_count_either(
    root: Root, publish: Any, provenance: MakeProvenance
) -> None:
    publish(FIRST)
    note = (log(root) / MARKER).read_bytes()
    publish(SECOND, NEXT_DAY)
    publish({"c": (0, 5), "e": (0, 6)}, NEXT_DAY, update=True)
    (log(root) / MARKER).write_bytes(note)
    lost(entry(root, 2))
    root = again(root)
    assert set(published(root)) == {"a", "b"}
    root.publish(NEXT_DAY, provenance=provenance(partition=NEXT_DAY.date))
    assert set(published(root)) == {"a", "b", "c", "e"}
    assert [p.name[:20] for p in log(root).glob("*.torn")] == [f"{3:020d}"]


def test_a_file_that_a_later_version_removed_is_not_missed(root: Root, publish: Any) -> None:
    publish(FIRST)
    note = (log(root) / MARKER).read_bytes()
    publish(SECOND, NEXT_DAY)
    (gone,) = added(root, 2)
    optimize(root.catalog, "o")
    (log(root) / MARKER).write_bytes(note)
    lost(gone)
    root = again(root)
    assert set(published(root)) == WHOLE
    unpublish(root.catalog, "default", "unet", "u", reference_ids=["a"])
    assert set(published(root)) == WHOLE - {"a"}
    assert not list(log(root).glob("*.torn"))


@pytest.mark.parametrize("damage", ENTRY.values(), ids=ENTRY)
def test_a_table_whose_creation_was_torn_is_created_again(
    root: Root, publish: Any, damage: Damage, provenance: MakeProvenance
) -> None:
    publish(FIRST)
    entry(root, 1).unlink()
    (log(root) / MARKER).unlink()
    damage(entry(root, 0))
    root = again(root)
    before = files(root)
    assert published(root) == {}
    assert [v.operation for v in history(root.catalog)] == ["torn"]
    assert files(root) == before
    root.publish(PARTITION, provenance=provenance())
    assert set(published(root)) == {"a", "b"}
    assert [(v.version, v.operation) for v in history(root.catalog)] == [
        (1, "publish"),
        (0, "create"),
        (0, "torn"),
    ]


@pytest.mark.parametrize("damage", slow_after(1, {**ENTRY, "missing": lost}))
def test_a_damaged_confirmed_version_names_file_model_run_partition_and_the_command_that_mends_it(
    root: Root, publish: Any, damage: Damage
) -> None:
    publish(FIRST)
    publish(SECOND, NEXT_DAY)
    damage(entry(root, 2))
    root = again(root)
    for reading in (published, lambda r: r.catalog.history(), lambda r: r.publish(PARTITION)):
        with pytest.raises(CatalogError) as told:
            reading(root)
        assert f"{2:020d}.json" in str(told.value)
        assert "Kernel" not in str(told.value)
        assert "'unet'" in str(told.value)
        assert NEXT_DAY.date in str(told.value)
    command = str(told.value).partition("with: segpipe ")[2]
    done = segpipe(*shlex.split(command))
    assert done.returncode == 0, done.stderr
    assert set(published(root)) == WHOLE


@pytest.mark.parametrize("damage", [*ENTRY.values(), lost], ids=[*ENTRY, "missing"])
def test_restore_works_beside_a_damaged_confirmed_version(
    root: Root, publish: Any, damage: Damage
) -> None:
    publish(FIRST)
    publish(SECOND, NEXT_DAY)
    damage(entry(root, 2))
    root = again(root)
    restore(root.catalog, 1, "restoring")
    assert set(published(again(root))) == {"a", "b"}


@pytest.mark.parametrize("damage", [half, emptied, zeroed], ids=["half", "empty", "zeroed"])
@pytest.mark.parametrize("file", ["*.checkpoint.parquet", "_last_checkpoint"])
def test_a_torn_checkpoint_is_set_aside_by_the_next_run(
    root: Root, publish: Any, damage: Damage, file: str
) -> None:
    publish(FIRST)
    DeltaTable(root.catalog.uri).create_checkpoint()
    (found,) = log(root).glob(file)
    damage(found)
    publish(SECOND, NEXT_DAY)
    assert set(published(again(root))) == WHOLE


def test_what_is_confirmed_never_goes_backwards(root: Root, publish: Any) -> None:
    publish(FIRST)
    publish(SECOND, NEXT_DAY)
    confirmed = root.catalog.table.log.confirmed  # type: ignore[union-attr]
    confirmed.confirm(1)
    assert confirmed.newest() == 2
    assert confirmed.whose(2)["segpipe.partition"] == NEXT_DAY.date


def test_a_copied_catalog_takes_what_is_confirmed_with_it(
    unconfirmed: Root, tmp_path: Path
) -> None:
    half(entry(unconfirmed, 2))
    shutil.copytree(unconfirmed.settings.root, tmp_path / "copy")
    assert set(published(Root.open(str(tmp_path / "copy")))) == {"a", "b"}
