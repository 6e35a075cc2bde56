"""Syncing: what file systems answer, and what becomes of it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from segpipe.errors import StorageError
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.log_entries import sync_version
from segpipe.storage import durability
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from tests.fixtures.landing import MakeProvenance
from tests.fixtures.prediction_batches import prediction_batch
from tests.fixtures.recording import Recorder


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_without_syncing_is_written_to_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _fsync_fails_with(number, monkeypatch)
    folder = Folder(str(tmp_path))
    folder.write("new/table", b"rows")
    folder.sync(["new/table"])
    assert folder.read("new/table") == b"rows"


def test_a_disk_that_fails_while_syncing_is_told_and_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(str(tmp_path))
    folder.write("table", b"old")
    _fsync_fails_with(errno.EIO, monkeypatch)
    with pytest.raises(StorageError, match=r"writing .*/table failed: Input/output error"):
        folder.write("table", b"new")
    with pytest.raises(StorageError, match=r"syncing .* failed: Input/output error"):
        folder.sync(["table"])
    assert folder.read("table") == b"old"
    assert os.listdir(tmp_path) == ["table"]


def _fsync_fails_with(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)


_STORES = """
import sys
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
masks = MaskStore(Folder(sys.argv[1] + "/masks"))
stored = [masks.put(b"mask %d" % number) for number in range(int(sys.argv[2]))]
masks.sync(stored)
"""


@pytest.mark.parametrize(
    ("masks", "whole"), [(durability.ONE_BY_ONE, 0), (durability.ONE_BY_ONE + 1, 1)]
)
def test_few_masks_are_synced_one_by_one_and_more_with_their_file_system(
    tmp_path: Path, recorder: Recorder, masks: int, whole: int
) -> None:
    done = recorder(tmp_path, [sys.executable, "-c", _STORES, str(tmp_path), str(masks)]).operations
    assert sum(one.kind == "sync-all" for one in done) == whole
    synced = [one.path for one in done if one.kind == "sync" and one.path.endswith(".png")]
    assert len(synced) == (0 if whole else masks)


def test_masks_are_synced_as_they_are_stored_where_file_systems_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with FUSE."""
    monkeypatch.setattr("segpipe.storage.mask_store.syncs_at_once", lambda folder: False)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(_name_of(descriptor)))
    masks = MaskStore(Folder(str(tmp_path / "masks")))
    stored = masks.put(b"mask")
    store = tmp_path / "masks"
    names, content, name = synced[-3:]
    assert (names, name) == (str(store), str(store / stored[:2]))
    assert content.endswith(".tmp")


def _name_of(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")


def test_a_place_that_is_not_there_yet_is_synced_as_the_one_it_will_be_in(tmp_path: Path) -> None:
    assert durability.syncs_at_once(str(tmp_path / "not" / "there"))
    Folder(str(tmp_path / "not" / "there")).sync()


def test_every_data_file_of_a_version_is_synced_whatever_the_names_of_its_folders(
    tmp_path: Path, provenance: MakeProvenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = MaskStore(Folder(str(tmp_path / "masks")))
    catalog = Catalog(Folder(str(tmp_path / "catalog %41#ü")), masks)
    by = provenance(dataset="50 % ü/x?", model_run="a=b")
    catalog.publish(prediction_batch({"a": 0, "b": 1}, masks), masks, by)
    table = Path(catalog.uri)
    (data,) = table.rglob("*.parquet")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(_name_of(descriptor)))
    sync_version(str(table), 1)
    assert {str(data), str(data.parent), str(table / "_delta_log")} <= {*synced}


def test_folders_are_made_where_they_were_removed_meanwhile(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "a" / "b"))
    for content in (b"1", b"2"):
        folder.write("file", content)
        assert folder.read("file") == content
        subprocess.run(["rm", "-r", str(tmp_path / "a")], check=True)
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StorageError, match="a file is where a folder is needed"):
        folder.write("file", b"3")
