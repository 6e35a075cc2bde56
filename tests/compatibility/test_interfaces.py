"""What others rely on stays: a name that is gone, or means something else, is seen here."""

from __future__ import annotations

import pytest

from tests.compatibility.interfaces import RENEW, Interfaces, interfaces, listed, missing

_GONE = (
    "this is an interface: see docs/compatibility.md for what it takes to change one. What is gone "
    "on purpose is taken out of tests/compatibility/interfaces.json by hand"
)
_NEW = f"these are interfaces from now on: enter them with `{RENEW}`"


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Interfaces:
    return interfaces(tmp_path_factory.mktemp("interfaces") / "root")


def test_no_interface_is_removed_or_changed_unseen(now: Interfaces) -> None:
    assert missing(listed(), now) == {}, _GONE


def test_every_interface_is_on_the_list(now: Interfaces) -> None:
    assert missing(now, listed()) == {}, _NEW


def test_a_removal_is_told_by_its_name(now: Interfaces) -> None:
    kept = [name for name in now["Python"] if not name.startswith("segpipe.Root.publish")]
    gone = missing(listed(), {**now, "Python": kept, "rules": now["rules"][1:]})
    assert set(gone) == {"Python", "rules"}
    assert "segpipe.Root.publish(update)" in gone["Python"]


def test_the_list_has_something_of_every_kind(now: Interfaces) -> None:
    for group, name in {
        "asset keys": "published_predictions",
        "asset checks, jobs, sensors, schedules": "check rejection_rate of validated_masks",
        "columns": "catalog.segments.label: string",
        "commands": "segpipe run --update",
        "environment variables": "SEGPIPE_ROOT",
        "exit statuses": "1: SOME_REJECTED",
        "files of a root": "validated/model_run=<M>/date=<YYYY-MM-DD>/segments.parquet",
        "partition key": "2026-01-05|unet",
        "rules": "OFF-BY-ONE: reject",
        "settings": "[policy] max_rejection_rate",
    }.items():
        assert name in now[group], group
