"""A watcher finds every manifest that is new or another, once, and reads no other."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from segpipe.manifests.arrivals import Look, Seen, look
from segpipe.manifests.landing import Landing
from segpipe.storage.files import Folder

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)


class Place:
    """A landing folder; its files are an hour old, unless told otherwise."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen = Seen()

    def land(
        self, model_run: str, day: str, content: bytes = b"x", written: datetime = LONG_AGO
    ) -> Path:
        path = self.path / f"model_run={model_run}" / f"date={day}" / "a.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (written.timestamp(), written.timestamp()))
        return path

    def look(self, **how: Any) -> Look:
        """Look again, through a cursor as a restarted watcher would."""
        seen = Seen.from_text(self.seen.to_text())
        found = look(Landing(Folder(str(self.path))), seen, **{"now": NOW, **how})
        self.seen = found.seen
        return found

    def arrived(self, **how: Any) -> list[tuple[str, str]]:
        return [(a.partition.model_run, a.partition.date) for a in self.look(**how).arrivals]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_new_partition_arrives_once(place: Place) -> None:
    place.land("unet", "2026-03-19")
    assert place.arrived() == [("unet", "2026-03-19")]
    assert place.arrived() == []


def test_partitions_arrive_by_day(place: Place) -> None:
    for model_run, day in (("b", "2026-03-18"), ("a", "2026-03-19"), ("a", "2026-03-17")):
        place.land(model_run, day)
    assert place.arrived() == [("a", "2026-03-17"), ("b", "2026-03-18"), ("a", "2026-03-19")]


def test_nothing_landed_is_nothing(place: Place) -> None:
    assert place.look() == Look((), Seen(), 0, 0, 0)


def test_a_folder_without_manifests_has_not_arrived(place: Place) -> None:
    place.land("unet", "2026-03-19").unlink()
    assert place.arrived() == []
    place.land("unet", "2026-03-19")
    assert place.arrived() == [("unet", "2026-03-19")]


def rewritten(place: Place) -> None:
    place.land("unet", "2026-03-19", b"y")


def rewritten_and_set_back(place: Place) -> None:
    path = place.land("unet", "2026-03-19")
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"y")
    other.replace(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def joined_by_another_file(place: Place) -> None:
    path = place.land("unet", "2026-03-19")
    other = path.with_name("b.parquet")
    other.write_bytes(b"z")
    os.utime(other, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))


@pytest.mark.parametrize("change", [rewritten, rewritten_and_set_back, joined_by_another_file])
def test_a_changed_manifest_arrives_again(place: Place, change: Callable[[Place], None]) -> None:
    place.land("unet", "2026-03-19")
    (first,) = place.look().arrivals
    change(place)
    (second,) = place.look().arrivals
    assert second.key != first.key
    assert place.arrived() == []


def test_a_manifest_that_was_only_touched_does_not_arrive(place: Place) -> None:
    place.land("unet", "2026-03-19")
    place.look()
    place.land("unet", "2026-03-19", written=LONG_AGO + timedelta(minutes=5))
    assert place.arrived() == []


def test_content_that_comes_back_is_a_run_of_its_own(place: Place) -> None:
    """Run keys are used once: the same content again must still lead to a run."""
    keys = []
    for number, content in enumerate((b"one", b"two", b"one")):
        place.land("unet", "2026-03-19", content, LONG_AGO + timedelta(minutes=number))
        (arrival,) = place.look().arrivals
        keys.append(arrival.key)
    assert len(set(keys)) == 3


def test_a_partition_that_went_and_came_back_arrives_again(place: Place) -> None:
    path = place.land("unet", "2026-03-19")
    place.look()
    path.unlink()
    path.parent.rmdir()
    assert place.arrived() == []
    place.land("unet", "2026-03-19")
    assert place.arrived() == [("unet", "2026-03-19")]


def test_a_file_that_is_still_being_written_waits(place: Place) -> None:
    place.land("unet", "2026-03-19", written=NOW - timedelta(seconds=1))
    found = place.look()
    assert (found.arrivals, found.waiting) == ((), 1)
    assert place.arrived(now=NOW + timedelta(seconds=30)) == [("unet", "2026-03-19")]


def test_a_file_from_a_clock_ahead_of_ours_does_not_wait_for_ever(place: Place) -> None:
    place.land("unet", "2026-03-19", written=NOW + timedelta(days=400))
    assert place.arrived() == [("unet", "2026-03-19")]


def test_more_arrivals_than_can_be_run_wait_their_turn_and_none_is_lost(place: Place) -> None:
    for day in range(1, 21):
        place.land("unet", f"2026-03-{day:02d}")
    got = [day for _ in range(5) for _, day in place.arrived(most_arrivals=6)]
    assert got == [f"2026-03-{day:02d}" for day in range(1, 21)]


def test_a_retired_model_run_is_left_alone(place: Place) -> None:
    place.land("old", "2026-03-19")
    place.land("new", "2026-03-19")
    assert place.arrived(retired=lambda model_run: model_run == "old") == [("new", "2026-03-19")]


def test_old_days_are_looked_at_in_turn_and_a_late_change_is_found(place: Place) -> None:
    days = [f"2025-{month:02d}-{day:02d}" for month in range(1, 5) for day in range(1, 26)]
    for day in days:
        place.land("unet", day)
    place.land("unet", "2026-03-19")
    assert len(place.arrived(most_arrivals=1000)) == 101
    place.land("unet", days[70], b"late")
    looks = [place.look(most_old=30) for _ in range(4)]
    assert [one.listed for one in looks] == [31] * 4
    late = [arrival.partition.date for one in looks for arrival in one.arrivals]
    assert late == [days[70]]


def test_only_changed_manifests_are_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 11):
        place.land("unet", f"2026-03-{day + 10:02d}")
    place.look()
    place.land("unet", "2026-03-15", b"changed")
    read: list[str] = []
    opened = Folder.open_input

    def noting(folder: Folder, name: str) -> Any:
        read.append(folder.url.rpartition("=")[2])
        return opened(folder, name)

    monkeypatch.setattr(Folder, "open_input", noting)
    assert place.arrived() == [("unet", "2026-03-15")]
    assert read == ["2026-03-15"]


@pytest.mark.parametrize("text", [None, "", "not a cursor", "{}", Seen().to_text()[:-3]])
def test_a_cursor_that_cannot_be_read_is_a_first_look(text: str | None) -> None:
    assert Seen.from_text(text) == Seen()


def test_a_cursor_of_ten_thousand_partitions_is_small(place: Place) -> None:
    many = {
        f"run-{n}": {
            f"2026-{d // 28 + 1:02d}-{d % 28 + 1:02d}": f"{n * d:016x}" for d in range(300)
        }
        for n in range(34)
    }
    text = Seen(many, ("run-3", "2026-01-01")).to_text()
    assert Seen.from_text(text) == Seen(many, ("run-3", "2026-01-01"))
    assert len(text) < 25 * 34 * 300


def test_a_manifest_delivered_again_with_equal_content_is_told_apart(place: Place) -> None:
    place.land("unet", "2026-03-19")
    (first,) = place.look().arrivals
    place.land("unet", "2026-03-19", written=LONG_AGO + timedelta(minutes=5))
    found = place.look()
    (again,) = found.redelivered
    assert found.arrivals == ()
    assert again.partition == first.partition
    assert again.key != first.key
    assert place.look().redelivered == ()


def test_no_more_manifests_are_read_at_a_look_than_it_may(place: Place) -> None:
    for day in range(11, 19):
        place.land("unet", f"2026-03-{day}")
    place.look()
    for day in range(11, 19):
        place.land("unet", f"2026-03-{day}", written=LONG_AGO + timedelta(minutes=5))
    looks = [place.look(most_arrivals=3) for _ in range(4)]
    assert [len(one.redelivered) for one in looks] == [3, 3, 2, 0]
    assert [one.waiting for one in looks] == [5, 2, 0, 0]


def test_folders_that_are_not_read_are_found_at_every_look(place: Place) -> None:
    place.land("unet", "2026-03-19").with_name("b.csv").write_text("x")
    (place.path / "model-run=other" / "date=2026-03-19").mkdir(parents=True)
    for _ in range(2):
        assert [str(one) for one in place.look().unread] == [
            "model-run=other (expected model_run=other)",
            "model_run=unet/date=2026-03-19/b.csv (expected *.parquet)",
        ]


def test_part_files_that_are_still_being_written_wait(place: Place) -> None:
    path = place.land("unet", "2026-03-19")
    temporary = path.parent / "p.parquet" / "_temporary"
    temporary.mkdir(parents=True)
    found = place.look()
    assert (found.arrivals, found.waiting) == ((), 1)
    assert found.unfinished == ("model_run=unet/date=2026-03-19/p.parquet",)
    temporary.rmdir()
    assert place.arrived() == [("unet", "2026-03-19")]


def test_a_cursor_of_an_earlier_release_is_read() -> None:
    content = json.dumps([1, ["unet", "2026-03-18"], {"unet": {"2026-03-19": "0123456789abcdef"}}])
    text = base64.b85encode(zlib.compress(content.encode(), 6)).decode()
    seen = Seen({"unet": {"2026-03-19": "0123456789abcdef"}}, ("unet", "2026-03-18"))
    assert Seen.from_text(text) == seen
    more = replace(seen, masks_turn=("a", "b"), masks_requested={"unet": {"2026-03-19": "0"}})
    assert Seen.from_text(more.to_text()) == more
