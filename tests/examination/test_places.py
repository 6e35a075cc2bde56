"""Places of storage that do not do what segpipe needs of them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from segpipe.examination import storage
from segpipe.examination.check import Level
from segpipe.examination.patience import Patience, Result
from segpipe.examination.probing import probed
from segpipe.examination.room import file_system_of
from segpipe.examination.storage import places
from segpipe.settings import Settings
from segpipe.storage.files import Folder, StoredFile
from tests.fixtures.examined import examined, the
from tests.fixtures.gcs_server import Door, GcsServer
from tests.fixtures.stores import forget_clients, lead_to


class AheadFolder(Folder):
    """A folder on a server whose clock is an hour ahead."""

    def stored(self, name: str) -> StoredFile | None:
        found = super().stored(name)
        if found is None:
            return None
        return StoredFile(found.path, found.size, found.modified + timedelta(hours=1))


class Hasty(Patience):
    """Waits for a moment and no longer."""

    def within(self, seconds: float, work: Callable[[], Result]) -> Result:
        return super().within(min(seconds, 0.3), work)


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


def test_a_place_of_an_unknown_scheme_is_a_problem_and_the_others_are_looked_at(
    tmp_path: Path,
) -> None:
    (tmp_path / "segpipe.toml").write_text('catalog = "foo://bucket/x"\n')
    found = [*places(Settings.load(str(tmp_path)), Patience())]
    check = the(found, "catalog")
    assert check.level is Level.PROBLEM
    assert "cannot open foo://bucket/x" in check.found
    assert check.next_step == f"correct catalog in {tmp_path}/segpipe.toml, then look again"
    assert the(found, "root").level is Level.OK
    assert the(examined(tmp_path), "destinations").level is Level.OK


def test_a_place_whose_packages_are_not_installed_is_a_problem_with_what_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    check = the([*places(Settings(str(tmp_path), masks="s3://bucket/masks"), Patience())], "masks")
    assert check.level is Level.PROBLEM
    assert "s3fs" in check.found
    assert check.command == "pip install 'segpipe[s3]'"


def test_what_is_below_a_root_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "catalog").mkdir()
    ended = threading.Event()
    monkeypatch.setattr(storage, "check_reachable", lambda _: ended.wait(60))
    found = [*places(Settings(str(tmp_path)), Hasty())]
    ended.set()
    assert [one.name for one in found] == ["root"]
    assert "no answer" in found[0].found


def test_a_disk_that_stops_answering_while_folders_are_looked_at_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "catalog").mkdir()
    ended = threading.Event()
    monkeypatch.setattr(storage, "_folders_below", lambda _: ended.wait(60))
    check = the([*places(Settings(str(tmp_path)), Hasty())], "owners")
    ended.set()
    assert check.level is Level.PROBLEM
    assert "no answer" in check.found


def test_of_a_large_place_the_first_entries_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_ENTRIES_LOOKED_AT", 20)
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    assert [*storage._folders_below(str(tmp_path))] == [
        str(tmp_path / "deep"), str(tmp_path / "deep" / "deeper")
    ]  # fmt: skip
    for number in range(20):
        (tmp_path / "deep" / f"{number}.png").touch()
    assert str(tmp_path / "deep") in storage._folders_below(str(tmp_path))
    (tmp_path / "deep" / "deeper" / "deepest").mkdir()
    assert len([*storage._folders_below(str(tmp_path))]) < 3


def test_a_landing_of_its_own_is_listed_and_not_written_to(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    long_ago = 1_000_000_000 * 10**9
    os.utime(landing, ns=(long_ago, long_ago))
    (tmp_path / "root").mkdir()
    settings = Settings(str(tmp_path / "root"), manifests=str(landing))
    check = the([*places(settings, Patience())], "manifests")
    assert (check.level, check.found) == (Level.OK, f"{landing}: listed; not written to")
    assert landing.stat().st_mtime_ns == long_ago


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's list is Linux's")
@pytest.mark.parametrize("name", [b"donn\xc3\xa9es", b"donn\xe9es", b"two words", b"back\\slash"])
def test_a_network_disk_is_known_whatever_its_folder_is_called(tmp_path: Path, name: bytes) -> None:
    place = os.path.join(os.fsencode(tmp_path), name)
    os.mkdir(place)
    written = place.replace(b"\\", b"\\134").replace(b" ", b"\\040")
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(
        b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        b"40 22 0:35 / /mnt/\xff\xfe rw shared:7 - ext4 /dev/sdb1 rw\n"
        b"41 22 0:36 / " + written + b" rw,relatime - nfs4 server:/data rw\n"
    )
    assert file_system_of(os.fsdecode(place), mounts).is_remote
    assert file_system_of(str(tmp_path), mounts).kind == "ext4"
