"""The grid of partitions: no larger than what can have landed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from dagster._core.test_utils import freeze_time
from dagster._time import parse_time_string

from segpipe.errors import SettingsError
from segpipe.manifests.partition import Partition
from segpipe.pipeline.partitions import DATE
from segpipe.pipeline.prefixed_root import PrefixedRoot
from segpipe.root import Root
from segpipe.settings import Settings
from tests.fixtures.landing import LandingWriter


def days(root: Root, now: str = "2026-01-08T12:00:00+00:00") -> list[str]:
    with freeze_time(parse_time_string(now)):
        grid = PrefixedRoot(root).partitions
        return list(grid.get_partitions_def_for_dimension(DATE).get_partition_keys())


@pytest.fixture
def landed(landing: LandingWriter, root: Root) -> Root:
    for day, model_run in (("2026-01-06", "unet"), ("2026-01-05", "segformer")):
        partition = Partition(model_run, day)
        landing.manifest([landing.row("a", partition=partition)], partition)
    return root


def test_the_grid_begins_with_what_landed_first_and_ends_today(landed: Root) -> None:
    assert days(landed) == ["2026-01-05", "2026-01-06", "2026-01-07", "2026-01-08"]


@pytest.mark.parametrize(("zone", "last"), [("Pacific/Kiritimati", "09"), ("America/Adak", "08")])
def test_today_is_the_day_of_the_configured_zone(landed: Root, zone: str, last: str) -> None:
    root = Root(replace(landed.settings, time_zone=zone))
    assert days(root)[-1] == f"2026-01-{last}"


def test_the_settings_may_fix_both_ends(landed: Root) -> None:
    fixed = replace(landed.settings, first_date=date(2026, 1, 1), last_date=date(2026, 1, 3))
    assert days(Root(fixed)) == ["2026-01-01", "2026-01-02", "2026-01-03"]


def test_before_anything_landed_whatever_lands_first_has_a_partition(root: Root) -> None:
    prefixed = PrefixedRoot(root)
    assert prefixed.days == (date(2025, 1, 1), root.settings.today())


def test_a_last_date_before_the_first_is_refused(tmp_path: Path) -> None:
    (tmp_path / "segpipe.toml").write_text("first_date = 2026-01-05\nlast_date = 2026-01-04\n")
    with pytest.raises(SettingsError, match="last_date is 2026-01-04, expected first_date"):
        Settings.load(str(tmp_path))
