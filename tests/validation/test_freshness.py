"""How old what is published may become."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from segpipe.errors import SettingsError
from segpipe.validation.freshness import ages
from segpipe.validation.rules.policy import Policies

NOON = datetime(2026, 1, 7, 12, tzinfo=UTC)


def policies(**by_model_run: dict[str, Any]) -> Policies:
    return Policies.read({"policy": {"max_age_hours": 30}, "model_runs": by_model_run}, "x.toml")


def test_a_day_may_be_published_until_its_limit_after_its_end() -> None:
    # The 5th ended on the 6th at 00:00; 30 hours later it is the 7th, 06:00.
    published = {"unet": date(2026, 1, 5)}
    six = datetime(2026, 1, 7, 6, tzinfo=UTC)
    assert [age.late for age in ages(published, policies(), "UTC", six)] == [False]
    late = ages(published, policies(), "UTC", six + timedelta(minutes=1))
    assert [age.late for age in late] == [True]
    assert str(late[0]) == "unet: 2026-01-05 is the newest day published, 30 h old (limit: 30)"


def test_days_end_at_midnight_of_the_time_zone_of_the_settings() -> None:
    (age,) = ages({"unet": date(2026, 1, 5)}, policies(), "Asia/Tokyo", NOON)
    # Midnight in Tokyo was the 5th, 15:00 UTC.
    assert age.hours == 45


def test_a_model_run_that_never_published_is_late_and_named_first() -> None:
    found = ages({"old": date(2025, 1, 1), "new": None}, policies(), "UTC", NOON)
    assert [(age.model_run, age.late) for age in found] == [("new", True), ("old", True)]
    assert str(found[0]) == "new: nothing is published"


def test_model_runs_without_a_limit_and_retired_ones_are_left_out() -> None:
    given = policies(weekly={"max_age_hours": 200}, over={"retired": True})
    newest = dict.fromkeys(["daily", "weekly", "over"], date(2026, 1, 1))
    found = ages(newest, given, "UTC", NOON)
    assert {age.model_run: age.late for age in found} == {"daily": True, "weekly": False}
    assert ages(newest, Policies(), "UTC", NOON) == []


@pytest.mark.parametrize("hours", [0, -1, "30", True, float("inf"), float("nan")])
def test_a_limit_that_is_no_number_of_hours_is_refused(hours: object) -> None:
    with pytest.raises(SettingsError, match="max_age_hours"):
        Policies.read({"policy": {"max_age_hours": hours}}, "x.toml")
