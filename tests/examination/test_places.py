"""Places of storage that do not do what segpipe needs of them."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from segpipe.examination.check import Level
from segpipe.examination.patience import Patience
from segpipe.examination.probing import probed
from segpipe.examination.storage import places
from segpipe.settings import Settings
from segpipe.storage.files import Folder, StoredFile
from tests.fixtures.gcs_server import Door, GcsServer
from tests.fixtures.stores import forget_clients, lead_to


class AheadFolder(Folder):
    """A folder on a server whose clock is an hour ahead."""

    def stored(self, name: str) -> StoredFile | None:
        found = super().stored(name)
        if found is None:
            return None
        return StoredFile(found.path, found.size, found.modified + timedelta(hours=1))


class ForgetfulFolder(Folder):
    """A folder that keeps half of what is written to it."""

    def read(self, name: str) -> bytes:
        return super().read(name)[:7]


def test_a_clock_that_is_an_hour_ahead_is_seen(tmp_path: Path) -> None:
    ahead = probed(AheadFolder(str(tmp_path))).behind
    assert ahead is not None
    assert -3600 <= ahead < -3590
    assert probed(Folder(str(tmp_path))).behind == pytest.approx(0, abs=5)


def test_a_place_that_loses_bytes_is_not_taken_for_written(tmp_path: Path) -> None:
    probe = probed(ForgetfulFolder(str(tmp_path)))
    assert not probe.written
    assert "does not keep what is written" in probe.failure
    assert os.listdir(tmp_path) == []


def test_a_store_that_does_not_keep_two_publishers_apart_is_a_problem_unless_one_is_alone(
    gcs_server: GcsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Door(gcs_server.inside, conditional=False) as door:
        bucket = gcs_server.new_bucket().at(door.endpoint)
        lead_to(bucket, monkeypatch)
        (check,) = places(Settings(f"{bucket.url}/root"), Patience())
        assert check.level is Level.PROBLEM
        assert "single_publisher = true" in check.next_step
        alone = Settings(f"{bucket.url}/root", single_publisher=True)
        (check,) = places(alone, Patience())
        assert check.level is Level.OK
        assert bucket.keys() == []
    forget_clients()
