"""Looking back, undoing, tidying and clearing away."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable

import segpipe.publishing.vacuum as vacuum_module
from segpipe.errors import CatalogError, SegpipeError
from segpipe.manifests.partition import Partition
from segpipe.masks.encoding import canonical_png
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.history import diff, history
from segpipe.publishing.maintenance import optimize, restore, unpublish
from segpipe.publishing.vacuum import vacuum
from segpipe.root import Root
from segpipe.storage.files import Folder, StoredFile
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.removal import elapsed_clock
from tests.fixtures.command_line import assert_plain_error, segpipe
from tests.fixtures.landing import PARTITION, LandingWriter, MakeProvenance, segment_cells
from tests.fixtures.prediction_batches import prediction_batch
from tests.fixtures.published import outcomes, published
from tests.fixtures.published_days import LONG_AGO, NEXT_DAY, age, masks_in, rows_of, version_of
from tests.fixtures.publishing_process import Child


def shas(root: Root, version: int | None = None) -> set[str]:
    return {row["mask_sha256"] for row in rows_of(root, version)}


def cleared(root: Root, hours: int, *, dry_run: bool = False) -> tuple[int, int]:
    """Vacuum; table files and masks removed."""
    done = vacuum(
        root.catalog, root.settings.folder("validated"), retention_hours=hours, dry_run=dry_run
    )
    assert done.dry_run == dry_run
    assert (done.mask_bytes > 0) == (done.mask_files > 0)
    return done.table_files, done.mask_files


# --- history -------------------------------------------------------------------------------------


def test_the_history_of_nothing_is_empty(root: Root) -> None:
    assert history(root.catalog) == []


def test_the_history_says_who_when_what_and_how_many(root: Root, publish: Any) -> None:
    started = datetime.now(UTC) - timedelta(seconds=1)
    publish({"a": (0, 1), "b": (0, 2)}, run_id="first")
    publish({"a": (0, 3), "b": (0, 2), "c": (0, 4)}, NEXT_DAY, run_id="second", update=True)
    unpublish(root.catalog, "default", "unet", "third", reference_ids=["a", "b"])
    restore(root.catalog, 1, "fourth")
    versions = history(root.catalog)
    assert [(v.version, v.operation) for v in versions] == [
        (4, "restore"),
        (3, "unpublish"),
        (2, "publish"),
        (1, "publish"),
        (0, "create"),
    ]
    assert versions[3].notes == {
        "dataset": "default",
        "model_run": "unet",
        "partition": "2026-01-05",
        "run_id": "first",
        "update": "false",
        "inserted": "2",
        "replaced": "0",
    }
    second = versions[2].notes
    assert (second["run_id"], second["update"], second["partition"]) == (
        "second",
        "true",
        "2026-01-06",
    )
    assert (second["inserted"], second["replaced"]) == ("1", "1")
    assert (versions[1].notes["run_id"], versions[1].notes["removed"]) == ("third", "2")
    assert (versions[0].notes["run_id"], versions[0].notes["restored"]) == ("fourth", "1")
    times = [version.time for version in versions]
    assert times == sorted(times, reverse=True)
    assert all(started <= time <= datetime.now(UTC) + timedelta(seconds=1) for time in times)


def test_the_history_gives_only_the_newest_where_asked(root: Root, publish: Any) -> None:
    for value in (1, 2, 3):
        publish({"a": (0, value)}, update=True)
    assert [version.version for version in history(root.catalog, 2)] == [3, 2]


def test_publishing_that_changed_nothing_is_not_in_the_history(root: Root, publish: Any) -> None:
    publish({"a": (0, 1)})
    before = history(root.catalog)
    publish({"a": (0, 1)}, update=True)
    publish({"a": (0, 2)})
    assert history(root.catalog) == before


# --- diff ----------------------------------------------------------------------------------------


def test_diff_names_what_was_added_replaced_and_removed_and_nothing_else(
    root: Root, publish: Any
) -> None:
    before = publish({"stays": (0, 1), "changes": (0, 2), "it's gone": (0, 3)})
    old = published(root)
    publish({"changes": (0, 5), "new": (0, 4)}, update=True)
    unpublish(root.catalog, "default", "unet", "u", reference_ids=["it's gone"])
    new = published(root)
    rows = {r["reference_id"]: r for r in diff(root.catalog, before, version_of(root)).to_pylist()}
    assert {id: row["change"] for id, row in rows.items()} == {
        "changes": "replaced",
        "it's gone": "removed",
        "new": "added",
    }
    for id, row in rows.items():
        assert (row["fingerprint_before"], row["fingerprint_after"]) == (old.get(id), new.get(id))
    backwards = diff(root.catalog, version_of(root), before).to_pylist()
    assert {row["reference_id"]: row["change"] for row in backwards} == {
        "changes": "replaced",
        "it's gone": "added",
        "new": "removed",
    }
    assert diff(root.catalog, before, before).num_rows == 0


def test_diff_names_the_segments_that_were_added_removed_and_changed(
    landing: LandingWriter, root: Root, provenance: MakeProvenance
) -> None:
    surer = [{**cell, "metadata": '{"confidence": 0.9}'} for cell in segment_cells((1,))]
    for values, segments in (
        ((0, 1, 2), segment_cells((0, 1, 2))),
        ((0, 1, 3), [*segment_cells((0,)), *surer, *segment_cells((3,))]),
    ):
        landing.manifest([landing.row("a", values, segments=segments)])
        root.materialize(PARTITION)
        root.publish(PARTITION, provenance=provenance(update=True))
    (row,) = diff(root.catalog, 1, 2).to_pylist()
    assert row["segments_added"] == ["3 class 3"]
    assert row["segments_removed"] == ["2 class 2"]
    assert row["segments_changed"] == ["1 class 1"]


def test_diff_tells_the_same_item_of_two_model_runs_apart(root: Root, publish: Any) -> None:
    before = publish({"a": (0, 1)})
    publish({"a": (0, 2)}, Partition("another", PARTITION.date), model_run="another")
    (row,) = diff(root.catalog, before, version_of(root)).to_pylist()
    assert (row["model_run"], row["change"]) == ("another", "added")


def test_diff_of_a_version_that_does_not_exist_names_it(root: Root, publish: Any) -> None:
    publish({"a": (0, 1)})
    with pytest.raises(CatalogError, match="version 99"):
        diff(root.catalog, 0, 99)


# --- restore and unpublish -----------------------------------------------------------------------


def test_restoring_brings_every_column_back_and_can_itself_be_undone(
    root: Root, publish: Any
) -> None:
    first = publish({"a": (0, 1), "b": (0, 2)})
    second = publish({"a": (0, 3), "c": (0, 4)}, update=True)
    states = {version: rows_of(root, version) for version in (first, second)}
    third = restore(root.catalog, first, "undo")
    assert third == version_of(root) == second + 1
    assert rows_of(root) == states[first]
    fourth = restore(root.catalog, second, "redo")
    assert rows_of(root) == states[second]
    assert restore(root.catalog, third, "undo the redo") == fourth + 1
    assert rows_of(root) == states[first]


def test_after_restoring_publishing_goes_on_from_what_was_restored(
    root: Root, publish: Any, provenance: MakeProvenance
) -> None:
    first = publish({"a": (0, 1)})
    publish({"a": (0, 3), "c": (0, 4)}, update=True)
    restore(root.catalog, first, "undo")
    assert outcomes(root.publish(PARTITION, provenance=provenance())) == {
        "ignored": 1,
        "inserted": 1,
    }
    assert outcomes(root.publish(PARTITION, provenance=provenance(update=True))) == {
        "replaced": 1,
        "unchanged": 1,
    }


def test_restoring_the_version_before_the_first_publishing_empties_the_catalog(
    root: Root, publish: Any
) -> None:
    publish({"a": (0, 1)})
    restore(root.catalog, 0, "undo")
    assert rows_of(root) == []


def test_restoring_the_newest_version_changes_nothing(root: Root, publish: Any) -> None:
    newest = publish({"a": (0, 1)})
    before = rows_of(root)
    restore(root.catalog, newest, "undo")
    assert rows_of(root) == before


@pytest.mark.parametrize("version", [-1, 99])
def test_restoring_a_version_that_does_not_exist_is_refused(
    root: Root, publish: Any, version: int
) -> None:
    newest = publish({"a": (0, 1)})
    with pytest.raises(CatalogError, match=f"no version {version}: the catalog is at {newest}"):
        restore(root.catalog, version, "undo")
    assert version_of(root) == newest


def test_restoring_a_version_whose_files_were_vacuumed_is_refused_in_words(
    root: Root, publish: Any
) -> None:
    first = publish({"a": (0, 1)})
    publish({"a": (0, 2)}, update=True)
    cleared(root, 0)
    before = rows_of(root)
    with pytest.raises(CatalogError, match=r"cannot be restored.*vacuumed"):
        restore(root.catalog, first, "undo")
    assert rows_of(root) == before


def test_reading_and_comparing_a_version_whose_files_were_vacuumed_are_refused_in_words(
    landing: LandingWriter, root: Root, publish: Any
) -> None:
    first = publish({"a": (0, 1)})
    second = publish({"a": (0, 2)}, update=True)
    cleared(root, 0)
    assert_plain_error(segpipe("diff", "--root", landing.root, first, second), "vacuumed")
    with pytest.raises(CatalogError, match="vacuumed"):
        root.catalog.read(version=first)
    with pytest.raises(CatalogError, match="vacuumed"):
        diff(root.catalog, first, second)


def test_a_data_file_that_is_lost_is_one_sentence_and_not_a_trace(
    root: Root, publish: Any, provenance: MakeProvenance
) -> None:
    publish({"a": (0, 1)})
    for path in Path(root.catalog.uri).rglob("part-*.parquet"):
        path.unlink()
    with pytest.raises(SegpipeError, match="cannot be read"):
        root.catalog.read()
    done = root.publish(PARTITION, provenance=provenance())  # its partition's run brings it back
    assert done.outcomes["inserted"] == 1


def test_restoring_and_unpublishing_what_was_never_published_say_so(root: Root) -> None:
    with pytest.raises(CatalogError, match="holds nothing yet"):
        restore(root.catalog, 0, "undo")
    assert unpublish(root.catalog, "default", "unet", "u", reference_ids=["a"]) == 0


@pytest.mark.parametrize(
    ("named", "left"),
    [
        ({"reference_ids": ["a", "c", "not there"]}, ["b", "d"]),
        ({"reference_ids": ["a", "a"]}, ["b", "c", "d"]),
        ({"partition": "2026-01-06"}, ["a", "b"]),
        ({"reference_ids": ["a", "c"], "partition": "2026-01-06"}, ["a", "b", "d"]),
        ({"reference_ids": ["' OR true --"]}, ["a", "b", "c", "d"]),
        ({"partition": "2026-01-07"}, ["a", "b", "c", "d"]),
    ],
)
def test_unpublishing_removes_exactly_what_is_named_and_is_undone_by_restoring(
    two_days: Root, named: dict[str, Any], left: list[str]
) -> None:
    before, version = rows_of(two_days), version_of(two_days)
    removed = unpublish(two_days.catalog, "default", "unet", "u", **named)
    assert removed == 4 - len(left)
    after = rows_of(two_days)
    assert [row for row in before if row["model_run"] == "another"] == after[:1]
    assert [row["reference_id"] for row in after[1:]] == left
    assert all(row in before for row in after)
    if not removed:
        assert version_of(two_days) == version, "a commit that removed nothing"
        return
    restore(two_days.catalog, version, "undo")
    assert rows_of(two_days) == before


@pytest.mark.parametrize("named", [{}, {"reference_ids": []}, {"partition": ""}])
def test_unpublishing_nothing_in_particular_is_refused(
    two_days: Root, named: dict[str, Any]
) -> None:
    before = rows_of(two_days)
    with pytest.raises(CatalogError, match="nothing says what to unpublish"):
        unpublish(two_days.catalog, "default", "unet", "u", **named)
    assert rows_of(two_days) == before


def test_what_was_unpublished_is_inserted_again(two_days: Root, provenance: MakeProvenance) -> None:
    unpublish(two_days.catalog, "default", "unet", "u", reference_ids=["a"])
    publication = two_days.publish(PARTITION, provenance=provenance())
    assert outcomes(publication) == {"inserted": 1, "unchanged": 1}


def test_unpublishing_more_items_than_go_into_one_predicate(
    root: Root, provenance: MakeProvenance
) -> None:
    ids = [f"item {n:04d}" for n in range(1100)]
    batch = prediction_batch(dict.fromkeys(ids, 0), root.masks)
    root.catalog.publish(batch, root.masks, provenance())
    removed = unpublish(root.catalog, "default", "unet", "u", reference_ids=ids[:1050])
    assert removed == 1050
    assert sorted(published(root)) == ids[1050:]
    restore(root.catalog, 1, "undo")
    assert sorted(published(root)) == ids


# --- optimize ------------------------------------------------------------------------------------


def test_optimizing_writes_few_files_and_changes_no_row(root: Root, publish: Any) -> None:
    for n in range(8):
        publish({f"item {n}": (0, n + 1)}, replace(PARTITION, date=f"2026-01-1{n}"))
    before, version = rows_of(root), version_of(root)
    figures = optimize(root.catalog, "tidy")
    assert (figures["removed"], figures["added"]) == (8, 1)
    assert len(DeltaTable(root.catalog.uri).file_uris()) == 1
    assert rows_of(root) == before == rows_of(root, version)
    newest = history(root.catalog, 1)[0]
    assert (newest.operation, newest.notes["run_id"]) == ("optimize", "tidy")
    assert optimize(root.catalog, "again") == {"added": 0, "removed": 0}
    assert rows_of(root) == before


def test_optimizing_keeps_publishing_idempotent(
    root: Root, publish: Any, provenance: MakeProvenance
) -> None:
    publish({"a": (0, 1)}, NEXT_DAY)
    publish({"b": (0, 1), "c": (0, 2)})
    optimize(root.catalog, "tidy")
    assert outcomes(root.publish(PARTITION, provenance=provenance())) == {"unchanged": 2}


# --- vacuum --------------------------------------------------------------------------------------


def test_a_dry_run_of_vacuum_touches_nothing_and_says_what_it_would_do(
    landing: LandingWriter, replaced_once: Root
) -> None:
    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in landing.root.rglob("*")}

    before = files()
    would = cleared(replaced_once, 0, dry_run=True)
    assert would == (1, 1)
    assert files() == before
    assert cleared(replaced_once, 0) == would


def test_vacuuming_again_does_not_count_what_is_gone_already(replaced_once: Root) -> None:
    assert cleared(replaced_once, 0) == (1, 1)
    assert cleared(replaced_once, 0, dry_run=True) == (0, 0)
    assert cleared(replaced_once, 0) == (0, 0)


def test_vacuum_within_the_retention_keeps_every_version_restorable_with_its_masks(
    replaced_once: Root,
) -> None:
    orphan = replaced_once.masks.put(canonical_png(np.full((2, 2), 9, np.uint8)))
    age(Path(replaced_once.masks.folder.path))
    first, second = shas(replaced_once, 1), shas(replaced_once, 2)
    assert cleared(replaced_once, 168) == (0, 1)
    assert orphan not in masks_in(replaced_once)
    assert masks_in(replaced_once) == first | second
    restore(replaced_once.catalog, 1, "undo")
    assert shas(replaced_once) == first


def test_vacuum_without_retention_keeps_just_what_is_published_now(replaced_once: Root) -> None:
    assert cleared(replaced_once, 0) == (1, 1)
    assert masks_in(replaced_once) == shas(replaced_once)


def test_vacuum_keeps_the_masks_of_a_partition_that_is_not_published_yet(
    landing: LandingWriter, root: Root
) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 5))])
    root.materialize(PARTITION)
    age(Path(root.masks.folder.path))
    before = masks_in(root)
    assert len(before) == 2
    assert cleared(root, 0) == (0, 0)
    assert masks_in(root) == before


def test_vacuum_keeps_young_masks_whatever_the_retention(replaced_once: Root) -> None:
    """They may belong to a run that has not written its tables yet."""
    age(Path(replaced_once.masks.folder.path), time.time() - 47 * 3600)
    young = masks_in(replaced_once)
    assert cleared(replaced_once, 0) == (1, 0)
    assert masks_in(replaced_once) == young


def test_vacuum_works_after_the_log_was_checkpointed(replaced_once: Root) -> None:
    """Every hundredth commit writes a checkpoint: a Parquet file among the log's."""
    before = rows_of(replaced_once)
    DeltaTable(replaced_once.catalog.uri).create_checkpoint()
    assert cleared(replaced_once, 0, dry_run=True) == (1, 1)
    assert cleared(replaced_once, 0) == (1, 1)
    assert rows_of(replaced_once) == before


def test_vacuum_works_where_names_need_escapes_in_paths(
    root: Root, provenance: MakeProvenance, publish: Any
) -> None:
    awkward = {"model_run": "it's/..; 100% é", "dataset": "d'\\x"}
    publish({"a": (0, 1), "b": (0, 2)}, **awkward)
    publish({"a": (0, 3), "b": (0, 2)}, update=True, **awkward)
    shutil.rmtree(root.settings.folder("validated").path)
    age(Path(root.masks.folder.path))
    assert cleared(root, 0, dry_run=True) == (1, 1)
    assert cleared(root, 0) == (1, 1)
    assert masks_in(root) == shas(root)


def test_vacuum_of_nothing_removes_nothing(root: Root) -> None:
    assert cleared(root, 0) == (0, 0)


def test_vacuum_does_not_take_a_mask_that_is_about_to_be_committed(
    tmp_path: Path, provenance: MakeProvenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old relic of a mask is in the store; a run publishes that mask, and vacuum comes between
    the storing of masks and the commit. Storing must have renewed the mask's age."""
    inbox = MaskStore(Folder(str(tmp_path / "inbox")))
    catalog = Catalog(Folder(str(tmp_path / "catalog")), MaskStore(Folder(str(tmp_path / "masks"))))
    prediction_batch({"a": 0, "b": 4}, catalog.masks)
    age(tmp_path / "masks")
    commit = catalog._commit

    def after_vacuum(*given: Any) -> Any:
        vacuum(catalog, Folder(str(tmp_path / "validated")), dry_run=False)
        return commit(*given)

    monkeypatch.setattr(catalog, "_commit", after_vacuum)
    by = provenance()
    told = catalog.publish(prediction_batch({"a": 0, "b": 4}, inbox), inbox, by)
    assert catalog.verify(told, by, masks=None).mismatches == ()


def test_vacuum_does_not_take_a_mask_that_was_renewed_after_it_looked(
    landing: LandingWriter, root: Root, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vacuum has listed an old orphan; a run stores it again and publishes it; vacuum goes on."""
    publish({"a": (0, 1)})
    relic = shas(root)
    unpublish(root.catalog, "default", "unet", "u", reference_ids=["a"])
    cleared(root, 0)
    shutil.rmtree(root.settings.folder("validated").path)
    age(Path(root.masks.folder.path))
    listed = root.masks.folder.files

    def files() -> Iterator[StoredFile]:
        found = list(listed())
        looking.undo()
        publish({"a": (0, 1)})
        yield from found

    with monkeypatch.context() as looking:
        looking.setattr(root.masks.folder, "files", files)
        cleared(root, 0)
    assert shas(root) == relic
    assert relic <= masks_in(root)


def test_vacuum_does_not_take_the_masks_of_a_version_restored_while_it_looked(
    replaced_once: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vacuum has seen what is needed; an earlier version is restored; vacuum goes on."""
    referenced = vacuum_module._referenced
    restored: list[int] = []

    def then_restore(*given: Any) -> set[str]:
        needed = referenced(*given)
        if not restored:
            restored.append(restore(replaced_once.catalog, 1, "undo"))
        return needed

    monkeypatch.setattr(vacuum_module, "_referenced", then_restore)
    cleared(replaced_once, 0)
    assert restored
    assert shas(replaced_once) <= masks_in(replaced_once)


def test_vacuum_beside_a_publishing_process_takes_nothing_that_is_needed(
    landing: LandingWriter, root: Root
) -> None:
    """The store holds old relics of the very masks that another process is publishing."""
    landing.manifest([landing.row(f"item {n:02d}", (0, n + 1)) for n in range(60)])
    root.materialize(PARTITION)
    catalog = Catalog(root.catalog.folder, MaskStore(root.catalog.folder.folder("masks")))
    shutil.copytree(root.masks.folder.path, catalog.masks.folder.path)
    age(Path(catalog.masks.folder.path))
    child = Child()
    try:
        child.wait_until_ready()
        child.tell(
            root=root.settings.root,
            date=PARTITION.date,
            catalog=root.catalog.folder.path,
            run_id="beside",
            rows=2,
        )
        rounds, began, answer = 0, time.monotonic(), None
        while catalog.read(["reference_id"]).num_rows < 60 and time.monotonic() - began < 60:
            vacuum(catalog, root.settings.folder("validated"), retention_hours=0, dry_run=False)
            rounds += 1
        answer = child.answer()
    finally:
        child.end()
    assert rounds > 1
    assert answer["outcomes"]["inserted"] == 60, answer
    assert answer["mismatches"] == []
    rows = catalog.read(["mask_sha256"])["mask_sha256"].to_pylist()
    assert len(rows) == 60
    assert all(catalog.masks.has(sha256) for sha256 in rows)


def test_a_version_that_a_killed_vacuum_gave_up_is_refused_though_its_files_are_there(
    replaced_once: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was not killed could delete the files any moment; the next vacuum does."""

    class Killed(BaseException):
        pass

    def killed(*given: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "remove", killed)
        with pytest.raises(Killed):
            cleared(replaced_once, 0)
    newest = history(replaced_once.catalog, 1)[0]
    assert (newest.operation, newest.notes) == ("vacuum", {"removed_files": "1"})
    before = rows_of(replaced_once)
    with pytest.raises(
        CatalogError, match=r"version 1 cannot be restored.*given some of its files"
    ):
        restore(replaced_once.catalog, 1, "undo")
    assert rows_of(replaced_once) == before
    assert cleared(replaced_once, 0) == (1, 1)
    assert rows_of(replaced_once) == before


def test_versions_whose_files_no_vacuum_gave_up_are_restored_after_a_vacuum(
    replaced_once: Root, publish: Any
) -> None:
    cleared(replaced_once, 0)
    kept = version_of(replaced_once)
    before = rows_of(replaced_once)
    publish({"a": (0, 7)}, update=True)
    assert restore(replaced_once.catalog, kept, "undo") == kept + 2
    assert rows_of(replaced_once) == before


def test_a_vacuum_that_looked_before_a_restore_looks_again(
    replaced_once: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has listed the files of version 1; they are published again; it must not delete them."""
    give_up = vacuum_module.give_up
    restored: list[int] = []

    def after_restore(*given: Any) -> None:
        if not restored:
            restored.append(restore(replaced_once.catalog, 1, "undo"))
        give_up(*given)

    monkeypatch.setattr(vacuum_module, "give_up", after_restore)
    before = rows_of(replaced_once, 1)
    assert cleared(replaced_once, 0)[0] == 1  # that of version 2, which is the old one now
    assert restored
    assert rows_of(replaced_once) == before
    assert shas(replaced_once) <= masks_in(replaced_once)


def test_a_restore_says_so_where_another_tool_takes_files_of_its_version(
    replaced_once: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = rows_of(replaced_once)
    restoring = DeltaTable.restore

    def meanwhile(table: DeltaTable, *given: Any, **named: Any) -> Any:
        done = restoring(table, *given, **named)
        there = {
            uri.rsplit("/", 1)[1] for uri in DeltaTable(table.table_uri, version=2).file_uris()
        }
        for uri in DeltaTable(table.table_uri, version=1).file_uris():
            if uri.rsplit("/", 1)[1] not in there:
                Path(uri).unlink()
        return done

    monkeypatch.setattr(DeltaTable, "restore", meanwhile)
    with pytest.raises(CatalogError, match=r"was not restored.* as it was, at version 2"):
        restore(replaced_once.catalog, 1, "undo")
    monkeypatch.undo()
    assert rows_of(replaced_once) == current
    unpublish(replaced_once.catalog, "default", "unet", "later", reference_ids=["b"])
    assert rows_of(replaced_once) == [row for row in current if row["reference_id"] != "b"]


def test_vacuum_counts_and_takes_temporary_files_of_killed_runs_that_are_a_day_old(
    replaced_once: Root, publish: Any
) -> None:
    folders = {
        name: Path(replaced_once.settings.folder(name).path)
        for name in ("masks", "catalog", "validated", "views", "manifests")
    }
    temporary = [
        folders["masks"] / "ab" / f".{'a' * 32}.tmp",
        folders["catalog"] / "predictions" / "_delta_log" / "00000000000000000003.json#1",
        folders["catalog"] / "predictions" / "dataset=default" / "part-1.zstd.parquet#12",
        folders["catalog"] / "receipts" / "dataset=default" / f".{'b' * 32}.tmp",
        folders["validated"] / f".{'c' * 32}.tmp",
        folders["views"] / "deep" / "down" / f".{'d' * 32}.tmp",
        folders["manifests"] / f".{'e' * 32}.tmp",
    ]
    others = [folders["manifests"] / "mine.tmp", folders["manifests"] / ".hidden"]
    young = folders["masks"] / f".{'f' * 32}.tmp"
    now = time.time()
    for path in [*temporary, *others, young]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half of a file")
        os.utime(path, (now - 25 * 3600,) * 2)
    os.utime(young, (now - 23 * 3600,) * 2)
    would = replaced_once.vacuum()
    assert all(path.exists() for path in [*temporary, *others, young])
    did = replaced_once.vacuum(dry_run=False)
    assert replace(would, dry_run=False) == did
    assert (did.temporary_files, did.temporary_bytes) == (len(temporary), 14 * len(temporary))
    assert not any(path.exists() for path in temporary)
    assert all(path.exists() for path in [*others, young])


def test_a_dry_run_of_vacuum_counts_the_bytes_that_it_would_free(replaced_once: Root) -> None:
    def size() -> int:
        return sum(path.stat().st_size for path in Path(replaced_once.settings.root).rglob("*")
                   if path.is_file() and "_delta_log" not in path.parts)  # fmt: skip

    left = Path(replaced_once.masks.folder.path) / f".{'a' * 32}.tmp"
    left.write_bytes(b"half of a mask")
    os.utime(left, (LONG_AGO, LONG_AGO))
    before, would = size(), replaced_once.vacuum(0)
    assert min(would.table_bytes, would.mask_bytes, would.temporary_bytes) > 0
    assert size() == before
    did = replaced_once.vacuum(0, dry_run=False)
    assert before - size() == would.bytes == did.bytes


def test_a_run_that_stood_still_for_days_before_its_commit_stores_its_masks_again(
    tmp_path: Path, provenance: MakeProvenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine slept between the look at the masks and the commit; a vacuum took them."""
    inbox = MaskStore(Folder(str(tmp_path / "inbox")))
    catalog = Catalog(Folder(str(tmp_path / "catalog")), MaskStore(Folder(str(tmp_path / "masks"))))
    commit, slept = catalog._commit, [0.0]

    def after_days(*given: Any) -> Any:
        slept[0] = 3 * 24 * 3600.0
        age(tmp_path / "masks")
        assert vacuum(catalog, Folder(str(tmp_path / "none")), dry_run=False).mask_files == 1
        return commit(*given)

    monkeypatch.setattr(catalog, "_commit", after_days)
    monkeypatch.setattr(
        "segpipe.publishing.catalog_destination.elapsed_clock", lambda: elapsed_clock() + slept[0]
    )
    by = provenance()
    told = catalog.publish(prediction_batch({"a": 0}, inbox), inbox, by)
    assert catalog.verify(told, by, masks=None).mismatches == ()
    slept[0] = 0.0
    with pytest.raises(CatalogError, match="stood still for hours"):
        batch = prediction_batch({"b": 4}, catalog.masks)
        catalog.publish(batch, catalog.masks, by)
