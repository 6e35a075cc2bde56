"""Checkpoints of the table's log, which repeat it, and what a cut of the power leaves of them.

segpipe writes them elsewhere, and they take their names once they are certain; other tools, and the
Delta library by itself, sync nothing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from segpipe.errors import CatalogError
from segpipe.publishing import checkpoints, table_opening
from segpipe.publishing.catalog import open_catalog
from segpipe.publishing.maintenance import optimize, restore, unpublish
from segpipe.root import Root
from tests.fixtures.command_line import segpipe
from tests.fixtures.damaged_tables import (
    FIRST,
    SECOND,
    Damage,
    again,
    checkpoint_of,
    emptied,
    half,
    log,
    zeroed,
    zeroed_in_the_middle,
)
from tests.fixtures.landing import LandingWriter
from tests.fixtures.power_cut import Disk
from tests.fixtures.published import published
from tests.fixtures.published_days import LONG_AGO, NEXT_DAY, version_of
from tests.fixtures.recording import Recorder

DAMAGE = {"half": half, "empty": emptied, "zeroed": zeroed, "zeroed within": zeroed_in_the_middle}
CHECKPOINT, HINT = "*.checkpoint.parquet", "_last_checkpoint"


def at_every_commit(root: Root) -> None:
    """Have the library make a checkpoint at each commit, not at each hundredth."""
    properties = {"delta.checkpointInterval": "1"}
    DeltaTable(root.catalog.uri).alter.set_table_properties(properties)


def aged(root: Root) -> None:
    """Make all of the log older than the library keeps it."""
    for path in log(root).iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))


def versions(root: Root) -> list[int]:
    return sorted(int(path.name[:20]) for path in log(root).glob("*.json") if path.name[0] != "_")


def test_publishing_writes_a_checkpoint_each_so_many_versions_that_reads_the_same(
    root: Root, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_opening, "APART", 2)
    publish(FIRST)
    assert list(log(root).glob(CHECKPOINT)) == []
    publish(SECOND, NEXT_DAY)
    (checkpoint,) = log(root).glob(CHECKPOINT)
    assert int(checkpoint.name[:20]) == version_of(root) == 2
    before = published(root)
    for version in versions(root):
        (log(root) / f"{version:020d}.json").unlink()
    assert published(Root.open(root.settings.root)) == before


def test_a_checkpoint_that_cannot_be_written_is_said_and_nothing_else_fails(
    root: Root, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_opening, "APART", 2)
    monkeypatch.setattr(checkpoints.tempfile, "gettempdir", lambda: "/dev/null/none")
    publish(FIRST)
    gone = next(iter(FIRST))
    unpublish(root.catalog, "default", "unet", "undo", reference_ids=[gone])
    (said,) = root.catalog.take_remarks()
    assert "tidying the log of" in said
    assert set(published(root)) == set(FIRST) - {gone}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_reader_beside_a_torn_checkpoint_is_told_what_sets_it_aside(
    root: Root, publish: Any, damage: Damage
) -> None:
    publish(FIRST)
    checkpoint_of(root)
    publish(SECOND, NEXT_DAY)
    (file,) = log(root).glob(CHECKPOINT)
    damage(file)
    reading: list[Callable[[Root], object]] = [
        published,
        lambda root: root.catalog.history(),
        lambda root: root.show("a"),
        lambda root: open_catalog(root.settings.root),
    ]
    for read in reading:
        with pytest.raises(CatalogError) as told:
            read(again(root))
        assert file.name in str(told.value)
        assert "Kernel" not in str(told.value)
    command = shlex.split(str(told.value).partition("does: ")[2])
    done = segpipe(*command[1:])
    assert done.returncode == 0, done.stderr
    assert f"set aside as {file.name}.torn" in done.stderr
    assert set(published(again(root))) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_reader_beside_a_torn_hint_at_a_checkpoint_reads(
    root: Root, publish: Any, damage: Damage
) -> None:
    publish(FIRST)
    checkpoint_of(root)
    publish(SECOND, NEXT_DAY)
    damage(log(root) / HINT)
    assert set(published(again(root))) == {"a", "b", "c", "d"}
    assert len(again(root).catalog.history()) == 3


WRITES: dict[str, Callable[[Root], object]] = {
    "unpublish": lambda r: unpublish(r.catalog, "default", "unet", "u", reference_ids=["a"]),
    "restore": lambda r: restore(r.catalog, 1, "r"),
}


@pytest.mark.parametrize("write", [*WRITES.values(), None], ids=[*WRITES, "publish"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_no_commit_removes_log_entries_that_only_an_unsynced_checkpoint_holds(
    root: Root, publish: Any, damage: Damage, write: Callable[[Root], object] | None
) -> None:
    publish(FIRST)
    at_every_commit(root)
    aged(root)
    if write is None:
        publish(SECOND, NEXT_DAY)
    else:
        write(again(root))
    newest = version_of(root)
    assert versions(root) == list(range(newest + 1))
    found = list(log(root).glob(CHECKPOINT))
    assert found
    for file in [*found, log(root) / HINT]:
        damage(file)
    publish({"e": (0, 6)}, NEXT_DAY)
    assert "e" in published(again(root))


@pytest.mark.parametrize("tidying", ["optimize", "vacuum"])
def test_what_tidies_the_log_leaves_a_table_that_reads_the_same(
    root: Root, publish: Any, tidying: str
) -> None:
    publish(FIRST)
    publish(SECOND, NEXT_DAY)
    before = published(root)
    aged(root)
    if tidying == "optimize":
        optimize(again(root).catalog, "o")
    else:
        again(root).vacuum(dry_run=False)
    assert 0 not in versions(root)
    assert published(again(root)) == before
    assert again(root).catalog.history()
    checkpoint_of(root)
    publish({"e": (0, 6)}, NEXT_DAY)
    assert published(again(root)).keys() == {*before, "e"}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_later_checkpoint_that_is_torn_leaves_the_synced_one(
    root: Root, publish: Any, damage: Damage
) -> None:
    publish(FIRST)
    aged(root)
    optimize(again(root).catalog, "o")
    (synced,) = log(root).glob(CHECKPOINT)
    publish(SECOND, NEXT_DAY)
    checkpoint_of(root)
    for file in {*log(root).glob(CHECKPOINT)} - {synced}:
        damage(file)
    publish({"e": (0, 6)}, NEXT_DAY)
    assert set(published(again(root))) == {"a", "b", "c", "d", "e"}


def test_no_log_entry_is_removed_before_the_checkpoint_that_holds_it_is_certain(
    root: Root, publish: Any, landing: LandingWriter, recorder: Recorder, tmp_path: Path
) -> None:
    publish(FIRST)
    publish(SECOND, NEXT_DAY)
    aged(root)
    before = tmp_path / "before"
    shutil.copytree(landing.root, before)
    command = [sys.executable, "-m", "segpipe", "optimize", "--root", str(landing.root)]
    operations = recorder(landing.root, command).operations
    disk, removals = Disk(before), 0
    for operation in operations:
        if operation.kind == "unlink" and operation.path.endswith("0.json"):
            removals += 1
            uncertain = [path for path in disk.uncertain() if "checkpoint" in path]
            assert uncertain == []
        disk.do(operation)
    assert removals
