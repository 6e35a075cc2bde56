"""Which partitions a range of days has: those that have landed, for some model runs or for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from segpipe.errors import ManifestError, SettingsError
from segpipe.manifests.layout import Unread
from segpipe.manifests.partition import Partition
from segpipe.pipeline.partitions import days_in_words, has_partition, last_day
from segpipe.pipeline.runs import check_not_retired
from segpipe.root import Root
from segpipe.settings import Settings

_BETWEEN = ".."


@dataclass(frozen=True)
class Days:
    """A range of days, both ends included."""

    first: date
    last: date

    @classmethod
    def of(cls, text: str) -> Days:
        """The days of ``YYYY-MM-DD`` or ``YYYY-MM-DD..YYYY-MM-DD``.

        Raises:
            SettingsError: if it is neither, or goes backwards.
        """
        first, between, last = text.partition(_BETWEEN)
        days = cls(_day(first, text), _day(last if between else first, text))
        if days.last < days.first:
            raise SettingsError(
                f"date {text!r} goes backwards: the first day comes first, as in "
                f"{days.last}{_BETWEEN}{days.first}"
            )
        return days

    def __str__(self) -> str:
        return f"{self.first}{_BETWEEN}{self.last}" if self.last > self.first else f"{self.first}"

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def __contains__(self, day: str) -> bool:
        return self.first.isoformat() <= day <= self.last.isoformat()


def _day(day: str, text: str) -> date:
    try:
        found = date.fromisoformat(day)
    except ValueError:
        found = None
    if found is None or found.isoformat() != day:
        raise SettingsError(
            f"date {text!r}: expected a day as YYYY-MM-DD, or the first and the last of several "
            f"as YYYY-MM-DD{_BETWEEN}YYYY-MM-DD"
        )
    return found


@dataclass(frozen=True)
class Chosen:
    """The partitions of a range.

    Attributes:
        partitions: in the order in which they are run: model runs of the ground truth first,
            then that of ``no_regression``; each by day.
        nothing_landed: model run -> number of the range's days for which it has no manifest; for
            no range, of the days that have a folder.
        retired: model runs that are left out because they are over.
        without_partition: what landed for days that have no partition in Dagster.
        unread: folders and files that are not read.
    """

    partitions: tuple[Partition, ...]
    nothing_landed: Mapping[str, int]
    retired: tuple[str, ...]
    without_partition: tuple[Partition, ...]
    unread: tuple[Unread, ...]


def choose(root: Root, model_runs: Sequence[str], days: Days | None) -> Chosen:
    """The partitions that have landed.

    Args:
        model_runs: their names; empty for all that have landed and are not over.
        days: None for all.

    Raises:
        ManifestError: if nothing has landed, or there is no model run of a name.
        SettingsError: if a name is not valid, a model run that is named is over, or all of them
            landed for days without a partition.
        StorageError: if the landing folder cannot be listed.
    """
    landing, settings = root.landing, root.settings
    known = landing.model_runs()
    for name in model_runs:
        check_not_retired(settings, name)
        if name not in known:
            landing.manifest(Partition(name, str(last_day(settings))))  # says what is there
    retired = [name for name in known if settings.policies.retired(name)]
    wanted = set(model_runs or known).difference(retired)
    unread: list[Unread] = []
    landed: list[Partition] = []
    empty = dict.fromkeys(sorted(wanted), 0)
    found = dict.fromkeys(sorted(wanted), 0)
    for partition, folders in landing.landed(unread=unread.append):
        if partition.model_run not in wanted or not (days is None or partition.date in days):
            continue
        delivered = landing.delivered(folders)
        unread += delivered.unread
        if delivered.files or delivered.unfinished:
            landed.append(partition)
            found[partition.model_run] += 1
        else:
            empty[partition.model_run] += 1
    if days is not None:
        empty = {name: len(days) - number for name, number in found.items()}
    runnable, outside = _by_partition(settings, landed)
    if not landed:
        raise ManifestError(_nothing(root, wanted, days))
    if not runnable:
        raise SettingsError(outside_words(settings, outside))
    runnable.sort(key=lambda one: (_turn(settings, one.model_run), one.date, one.model_run))
    return Chosen(
        tuple(runnable),
        {name: number for name, number in empty.items() if number},
        () if model_runs else tuple(sorted(retired)),
        tuple(outside),
        tuple(sorted(set(unread))),
    )


def _turn(settings: Settings, model_run: str) -> int:
    """Whose partitions run first: what others are compared with, ground truth before the rest."""
    compared = settings.requirements.no_regression
    if model_run in settings.ground_truth:
        return 0
    return 1 if compared is not None and model_run == compared.against else 2


def _by_partition(
    settings: Settings, landed: Sequence[Partition]
) -> tuple[list[Partition], list[Partition]]:
    """Those of days that have a partition, and the others."""
    runnable = [one for one in landed if has_partition(settings, one.date)]
    return runnable, [one for one in landed if not has_partition(settings, one.date)]


def outside_words(settings: Settings, outside: Sequence[Partition]) -> str:
    """What is said of manifests that landed for days without a partition."""
    dates = sorted({one.date for one in outside})
    return (
        f"{len(outside)} landed for days that have no partition ({dates[0]} to {dates[-1]}): "
        f"partitions go {days_in_words(settings)}"
    )


def _nothing(root: Root, wanted: set[str], days: Days | None) -> str:
    whose = f"of {', '.join(sorted(wanted))} " if wanted else ""
    dates = sorted(one.date for one in root.partitions() if one.model_run in wanted)
    there = f"; what is there goes from {dates[0]} to {dates[-1]}" if days and dates else ""
    when = "" if days is None else f" for {days}"
    return f"nothing {whose}has landed{when} in {root.landing.folder.shown}{there}"
