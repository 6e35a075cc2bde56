"""Freshness: how old the newest published day of each model run is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from segpipe.validation.rules.policy import Policies


@dataclass(frozen=True)
class Age:
    """The age of a model run's newest published day.

    Attributes:
        newest: the newest published day; None if none is published.
        hours: since the end of that day; None if none is published.
        limit: the policy's ``max_age_hours``.
    """

    model_run: str
    newest: date | None
    hours: float | None
    limit: float

    @property
    def late(self) -> bool:
        """Whether it is older than the policy allows, or nothing is published."""
        return self.hours is None or self.hours > self.limit

    def __str__(self) -> str:
        if self.newest is None or self.hours is None:
            return f"{self.model_run}: nothing is published"
        return (
            f"{self.model_run}: {self.newest} is the newest day published, {self.hours:.0f} h old "
            f"(limit: {self.limit:g})"
        )


def ages(
    newest: Mapping[str, date | None], policies: Policies, time_zone: str, now: datetime
) -> list[Age]:
    """The ages of model runs whose policy sets a limit, oldest first; retired ones are left out.

    Args:
        newest: model run -> its newest published day.
        time_zone: IANA name of the zone in which days begin and end.
        now: with a time zone.
    """
    zone = ZoneInfo(time_zone)
    found = []
    for model_run, day in newest.items():
        policy = policies.of(model_run)
        if policy.max_age_hours is None or policy.retired:
            continue
        hours = None
        if day is not None:
            ended = datetime.combine(day + timedelta(days=1), time(), zone)
            hours = (now - ended).total_seconds() / 3600
        found.append(Age(model_run, day, hours, policy.max_age_hours))
    unpublished = float("inf")
    return sorted(
        found, key=lambda age: (-(unpublished if age.hours is None else age.hours), age.model_run)
    )
