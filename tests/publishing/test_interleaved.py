"""What other runs do in the middle of a publishing, and publishing in several commits."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from segpipe.errors import StorageError
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.maintenance import restore, unpublish
from segpipe.publishing.outcomes import Provenance, counts
from segpipe.publishing.vacuum import vacuum
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from tests.fixtures.prediction_batches import prediction_batch

MakeProvenance = Callable[..., Provenance]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    masks = MaskStore(Folder(str(tmp_path / "masks")))
    return Catalog(Folder(str(tmp_path / "catalog")), masks)


def did(receipts: Any) -> dict[str, int]:
    return {outcome: count for outcome, count in counts(receipts).items() if count}


def between_planning_and_commit(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]
) -> None:
    """Let something happen once, after a publishing planned and before it commits."""
    commit = catalog._commit
    left = [act]

    def acting(*given: Any) -> Any:
        if left:
            left.pop()()
        return commit(*given)

    monkeypatch.setattr(catalog, "_commit", acting)


def held(catalog: Catalog) -> list[str]:
    return sorted(catalog.read(["reference_id"])["reference_id"].to_pylist())


def test_an_item_that_is_unpublished_while_a_run_plans_is_published_again(
    catalog: Catalog, provenance: MakeProvenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.publish(prediction_batch({"a": 0}, catalog.masks), catalog.masks, provenance())
    between_planning_and_commit(
        catalog,
        monkeypatch,
        lambda: unpublish(catalog, "default", "unet", "u", reference_ids=["a"]),
    )
    batch = prediction_batch({"a": 0, "b": 4}, catalog.masks)
    told = catalog.publish(batch, catalog.masks, provenance())
    assert did(told) == {"inserted": 2}
    assert held(catalog) == ["a", "b"]


def test_a_version_that_is_restored_while_a_run_plans_is_planned_on_anew(
    catalog: Catalog, provenance: MakeProvenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.publish(prediction_batch({"a": 0}, catalog.masks), catalog.masks, provenance())
    before = catalog.version()
    catalog.publish(prediction_batch({"b": 0}, catalog.masks), catalog.masks, provenance())
    assert before is not None
    between_planning_and_commit(catalog, monkeypatch, lambda: restore(catalog, before, "r"))
    batch = prediction_batch({"b": 0, "c": 4}, catalog.masks)
    told = catalog.publish(batch, catalog.masks, provenance())
    assert did(told) == {"inserted": 2}
    assert held(catalog) == ["a", "b", "c"]


def test_a_receipt_stays_true_when_its_item_is_unpublished_before_the_read_back(
    catalog: Catalog, provenance: MakeProvenance
) -> None:
    by = provenance()
    batch = prediction_batch({"a": 0, "b": 4}, catalog.masks)
    told = catalog.publish(batch, catalog.masks, by)
    unpublish(catalog, "default", "unet", "u", reference_ids=["a"])
    found = catalog.verify(told, by, masks=None)
    assert (found.receipts, found.masks, found.mismatches) == (2, 2, ())


def test_an_item_that_vanished_without_being_unpublished_is_a_mismatch(
    catalog: Catalog, provenance: MakeProvenance
) -> None:
    by = provenance()
    batch = prediction_batch({"a": 0, "b": 4}, catalog.masks)
    told = catalog.publish(batch, catalog.masks, by)
    DeltaTable(catalog.uri).delete("reference_id = 'a'")  # as somebody's notebook might
    found = catalog.verify(told, by, masks=None)
    assert [mismatch.reference_id for mismatch in found.mismatches] == ["a"]
    assert "holds 0 predictions" in found.mismatches[0].words


@pytest.fixture
def three_files(
    catalog: Catalog, provenance: MakeProvenance, monkeypatch: pytest.MonkeyPatch
) -> Catalog:
    """A catalog whose items lie in files of their own, of which one is written anew at a time."""
    monkeypatch.setattr("segpipe.publishing.catalog_destination._REWRITTEN_ROWS", 1)
    for id in ("a", "b", "c"):
        catalog.publish(prediction_batch({id: 0}, catalog.masks), catalog.masks, provenance())
    return catalog


CHANGED = {"a": 1, "b": 2, "c": 3, "d": 4}


def test_replacing_in_many_files_is_several_commits_and_one_result(
    three_files: Catalog, provenance: MakeProvenance
) -> None:
    version = three_files.version()
    by = provenance(update=True)
    batch = prediction_batch(CHANGED, three_files.masks)
    told = three_files.publish(batch, three_files.masks, by)
    assert did(told) == {"replaced": 3, "inserted": 1}
    assert three_files.version() == (version or 0) + 3
    assert three_files.verify(told, by, masks=None).mismatches == ()
    assert held(three_files) == ["a", "b", "c", "d"]


def test_a_crash_between_those_commits_is_completed_by_a_rerun_with_true_receipts(
    three_files: Catalog, provenance: MakeProvenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = provenance(update=True)
    batch = prediction_batch(CHANGED, three_files.masks)
    merge = three_files.table.merge
    merged: list[int] = []

    def failing(*given: Any) -> None:
        if merged:
            raise StorageError("the disk is full")
        merged.append(1)
        merge(*given)

    monkeypatch.setattr(three_files.table, "merge", failing)
    with pytest.raises(StorageError):
        three_files.publish(batch, three_files.masks, by)
    monkeypatch.setattr(three_files.table, "merge", merge)
    told = three_files.publish(batch, three_files.masks, by)
    assert did(told) == {"replaced": 3, "inserted": 1}
    assert three_files.verify(told, by, masks=None).mismatches == ()
    again = three_files.publish(batch, three_files.masks, provenance(update=True))
    assert did(again) == {"unchanged": 4}


def test_another_run_between_those_commits_is_seen(
    three_files: Catalog, provenance: MakeProvenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run replaces an item whose turn has not come: it must be looked at anew."""
    merge = three_files.table.merge
    other = [provenance(update=True)]

    def interrupted(*given: Any) -> None:
        merge(*given)
        if other:
            by = other.pop()
            twin = Catalog(three_files.folder, three_files.masks)
            twin.publish(prediction_batch({"c": 4}, twin.masks), twin.masks, by)

    monkeypatch.setattr(three_files.table, "merge", interrupted)
    by = provenance(update=True)
    told = three_files.publish(prediction_batch(CHANGED, three_files.masks), three_files.masks, by)
    assert did(told) == {"replaced": 3, "inserted": 1}
    assert three_files.verify(told, by, masks=None).mismatches == ()
    row = three_files.read(["previous_fingerprint", "run_id"], "reference_id = 'c'").to_pylist()
    (before,) = prediction_batch({"c": 4}, three_files.masks).rows["fingerprint"].to_pylist()
    assert row == [{"previous_fingerprint": before, "run_id": by.run_id}]


def test_vacuum_takes_what_a_crashed_commit_left_once_it_is_old(
    catalog: Catalog, provenance: MakeProvenance, tmp_path: Path
) -> None:
    catalog.publish(prediction_batch({"a": 0}, catalog.masks), catalog.masks, provenance())
    (there,) = Path(catalog.uri).rglob("*.parquet")
    young, old = (there.with_name(f"part-{name}.zstd.parquet") for name in ("young", "old"))
    for path in (young, old):
        path.write_bytes(there.read_bytes())
    os.utime(old, (1_000_000_000, 1_000_000_000))
    swept = vacuum(catalog, Folder(str(tmp_path / "validated")), dry_run=False)
    assert swept.table_files == 1
    assert (young.exists(), old.exists(), there.exists()) == (True, False, True)
    assert held(catalog) == ["a"]
