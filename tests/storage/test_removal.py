"""Masks that a vacuum removes while others store and publish them."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from segpipe.errors import StorageError
from segpipe.storage import removal
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from tests.fixtures.fault_proxy import Fault
from tests.fixtures.s3_buckets import FlakyBucket
from tests.fixtures.s3_server import Bucket

ONE, TWO = b"a mask", b"another mask"
NAME, OTHER = (hashlib.sha256(data).hexdigest() for data in (ONE, TWO))
OLD = datetime.now(UTC) - timedelta(days=10)
BEFORE = datetime.now(UTC) - timedelta(days=2)


@pytest.fixture
def store(tmp_path: Path) -> MaskStore:
    """A store with two old masks."""
    store = MaskStore(Folder(str(tmp_path / "masks")))
    for data in (ONE, TWO):
        name = store.name_of(store.put(data))
        os.utime(store.folder.path_of(name), (OLD.timestamp(),) * 2)
    return store


def announce(store: MaskStore, *names: str, name: str = "list") -> Path:
    """A vacuum has said what it removes, and goes no further."""
    store.folder.write(f".removals/{name}.json", json.dumps(names).encode())
    return Path(store.folder.path_of(f".removals/{name}.json"))


def lists_in(store: MaskStore) -> list[Path]:
    return list(Path(store.folder.path_of(".removals")).glob("*"))


def test_old_masks_go_and_no_list_stays(store: MaskStore) -> None:
    assert list(store.remove_older([NAME], BEFORE)) == [NAME]
    assert (store.has(NAME), store.has(OTHER), lists_in(store)) == (False, True, [])


def test_a_mask_renewed_after_it_was_chosen_stays(store: MaskStore) -> None:
    chosen = [NAME, OTHER]
    assert store.kept([OTHER]) == [True]
    assert list(store.remove_older(chosen, BEFORE)) == [NAME]
    assert store.has(OTHER)


def test_who_needs_a_mask_that_is_being_removed_waits_and_stores_it_again(
    store: MaskStore,
) -> None:
    """The vacuum has looked at the age, and removes the mask after it was renewed."""
    announced = announce(store, NAME)
    path = Path(store.folder.path_of(store.name_of(NAME)))

    def vacuum() -> None:
        while path.stat().st_mtime < BEFORE.timestamp():
            time.sleep(0.01)
        path.unlink()
        announced.unlink()

    def keep_or_put(sha256: str) -> bool:
        return store.keep(sha256) or store.put(ONE) == sha256

    for needed in (lambda: store.put(ONE), lambda: store.kept([NAME], keep_or_put)):
        os.utime(path, (OLD.timestamp(),) * 2)
        announce(store, NAME)
        other = threading.Thread(target=vacuum)
        other.start()
        needed()
        other.join()
        assert store.read(NAME) == ONE


def test_a_mask_that_was_taken_and_is_nowhere_else_is_said_not_to_be_there(
    store: MaskStore,
) -> None:
    announced = announce(store, NAME)

    def vacuum() -> None:
        time.sleep(0.1)
        Path(store.folder.path_of(store.name_of(NAME))).unlink()
        announced.unlink()

    other = threading.Thread(target=vacuum)
    other.start()
    assert store.kept([NAME, OTHER]) == [False, True]
    other.join()


def test_a_list_of_other_masks_stops_nobody(store: MaskStore) -> None:
    announced = announce(store, OTHER)
    began = time.monotonic()
    assert store.kept([NAME]) == [True]
    assert time.monotonic() - began < 1
    assert announced.exists()


def test_the_list_of_a_killed_vacuum_stops_others_once_and_then_no_more(
    store: MaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_STANDING", 0.5)
    announced = announce(store, NAME)
    began = time.monotonic()
    assert store.kept([NAME]) == [True]
    assert 0.5 <= time.monotonic() - began < 5
    assert not announced.exists()


def test_a_list_that_is_a_day_old_or_torn_is_done_away_with(
    store: MaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = announce(store, NAME)
    os.utime(announced, (OLD.timestamp(),) * 2)
    assert store.kept([NAME]) == [True]
    assert not announced.exists()
    monkeypatch.setattr(removal, "_STANDING", 0.2)
    announced.write_bytes(b'["')
    assert store.kept([NAME]) == [True]
    assert not announced.exists()


def test_a_vacuum_does_away_with_the_dead_lists_of_others(store: MaskStore) -> None:
    dead, standing = announce(store, NAME, name="dead"), announce(store, NAME, name="standing")
    os.utime(dead, (OLD.timestamp(),) * 2)
    list(store.remove_older([OTHER], BEFORE))
    assert lists_in(store) == [standing]


def test_a_vacuum_that_takes_longer_than_its_list_counts_writes_another(
    store: MaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[list[str]] = []
    write = Folder.write

    def slowly(folder: Folder, name: str, data: bytes) -> None:
        write(folder, name, data)
        written.append(json.loads(data))
        if len(written) == 1:
            time.sleep(0.3)

    monkeypatch.setattr(Folder, "write", slowly)
    monkeypatch.setattr(removal, "_REMOVING", 0.2)
    assert list(store.remove_older([NAME, OTHER], BEFORE)) == [NAME, OTHER]
    assert written == [[NAME, OTHER]] * 2


def test_the_list_stands_where_a_removal_fails(
    store: MaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be carried out later, as a request that was given up may be."""

    def failing(folder: Folder, name: str) -> None:
        raise StorageError("no answer")

    monkeypatch.setattr(Folder, "remove_once", failing)
    with pytest.raises(StorageError):
        list(store.remove_older([NAME], BEFORE))
    (left,) = lists_in(store)
    assert json.loads(left.read_text()) == [NAME]


def test_masks_are_removed_and_waited_for_in_a_bucket(s3: Bucket) -> None:
    store = MaskStore(Folder(f"{s3.url}/masks"))
    name = store.put(ONE)
    later = datetime.now(UTC) + timedelta(hours=1)
    announced = f"masks/.removals/{'0' * 32}.json"
    s3.client().put_object(Bucket=s3.name, Key=announced, Body=json.dumps([name]).encode())
    other = threading.Timer(0.3, lambda: s3.client().delete_object(Bucket=s3.name, Key=announced))
    other.start()
    assert store.kept([name]) == [True]
    other.join()
    assert list(store.remove_older([name], later)) == [name]
    assert s3.keys() == []


def test_a_removal_in_a_bucket_that_failed_is_not_sent_again(flaky_s3: FlakyBucket) -> None:
    """Sent again later, it would remove what was stored in between."""
    store = MaskStore(Folder(f"{flaky_s3.url}/masks"))
    name = store.put(ONE)
    flaky_s3.proxy.fail(Fault.STORED_BUT_500, method="POST|DELETE", times=1)
    with pytest.raises(StorageError):
        list(store.remove_older([name], datetime.now(UTC) + timedelta(hours=1)))
    removals = [passed for passed in flaky_s3.proxy.log if passed.method in ("DELETE", "POST")]
    assert len(removals) == 1
    (left,) = flaky_s3.keys()
    assert left.startswith("masks/.removals/")
