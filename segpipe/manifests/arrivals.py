"""Finding manifests that arrived or changed since the last look at the landing folder.

The state between looks is a few bytes per partition, so that it fits a cursor that survives
restarts: a digest of the listing of the partition's files, and one of their content. Files are read
only if the listing changed. Older days are checked in rotation, a bounded number per look, so that
thousands of partitions cost little and a late change is still found.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from segpipe.errors import StorageError
from segpipe.manifests.landing import Delivered, Landing, ManifestEntry
from segpipe.manifests.layout import Unread
from segpipe.manifests.partition import Partition
from segpipe.storage.failures import storage_errors
from segpipe.storage.files import written_at

#: Partitions of the last days are checked at every look.
RECENT = timedelta(days=7)
# On a disk, a file can be listed before it is complete.
_SETTLED = timedelta(seconds=5)
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Arrival:
    """A partition whose manifest is new or has changed.

    Attributes:
        key: identifies content and listing of its files; equal keys need no second run.
    """

    partition: Partition
    key: str


@dataclass
class Seen:
    """What earlier looks saw of each partition, and the position in the rotation of old ones.

    Attributes:
        partitions: model run -> day -> digests of listing and content, 8 hex digits each.
        turn: model run and day of the old partition that was checked last.
        masks_turn: the same of the partition that was checked last for masks that arrived late.
        masks_requested: model run -> day -> what had arrived when a run was last requested for
            masks that arrived late.
    """

    partitions: dict[str, dict[str, str]] = field(default_factory=dict)
    turn: tuple[str, str] = ("", "")
    masks_turn: tuple[str, str] = ("", "")
    masks_requested: dict[str, dict[str, str]] = field(default_factory=dict)

    def to_text(self) -> str:
        """As a cursor: printable text, about a dozen bytes per partition."""
        state = [_VERSION, self.turn, self.partitions, self.masks_turn, self.masks_requested]
        content = json.dumps(state, separators=(",", ":"))
        return base64.b85encode(zlib.compress(content.encode(), 6)).decode()

    @classmethod
    def from_text(cls, text: str | None) -> Seen:
        """From a cursor; empty if there is none, or it cannot be read or has another version."""
        if not text:
            return cls()
        try:
            version, *state = json.loads(zlib.decompress(base64.b85decode(text)))
        except (ValueError, zlib.error):
            return cls()
        if version != _VERSION:
            return cls()
        # Cursors of earlier releases end after the partitions.
        turn, partitions, masks_turn, masks_requested = [*state, ("", ""), {}][:4]
        return cls(partitions, (turn[0], turn[1]), (masks_turn[0], masks_turn[1]), masks_requested)


@dataclass(frozen=True)
class Look:
    """The result of a look at the landing folder.

    Attributes:
        arrivals: partitions to run, oldest day first.
        seen: state for the next look.
        partitions: number of partitions within the days asked for.
        listed: how many of them were checked at this look.
        waiting: number of arrivals left for the next look: too many at once, or still being
            written.
        outside: partitions of other days; they count as not seen.
        unreadable: messages of partitions and model runs' folders that cannot be read; their state
            is kept, and they are checked again.
        redelivered: partitions whose manifest was delivered again with the content it had.
        unread: folders and files that are not read for their names; of those in days' folders, the
            ones checked at this look.
        unfinished: folders that a writer has not finished; their partitions wait.
        within: the partitions within the days asked for, sorted.
    """

    arrivals: tuple[Arrival, ...]
    seen: Seen
    partitions: int
    listed: int
    waiting: int
    outside: tuple[Partition, ...] = ()
    unreadable: tuple[str, ...] = ()
    redelivered: tuple[Arrival, ...] = ()
    unread: tuple[Unread, ...] = ()
    unfinished: tuple[str, ...] = ()
    within: tuple[Partition, ...] = ()


def look(
    landing: Landing,
    seen: Seen,
    *,
    now: datetime,
    retired: Callable[[str], bool] = lambda model_run: False,
    days: tuple[date, date] = (date.min, date.max),
    most_arrivals: int = 50,
    most_old: int = 1000,
) -> Look:
    """Find partitions that are new or changed. One that cannot be read does not affect others.

    Args:
        seen: state of the look before.
        now: with a time zone.
        retired: whether a model run is skipped.
        days: the first and the last day of interest.
        most_arrivals: limit on the manifests read per look; others wait for a later one.
        most_old: limit on the partitions of older days that are checked at this look.

    Raises:
        StorageError: if the landing folder cannot be listed.
    """
    unreadable: list[str] = []
    unlisted: set[str] = set()

    def note(model_run: str, error: StorageError) -> None:
        unlisted.add(model_run)
        unreadable.append(str(error))

    first, last = (day.isoformat() for day in days)
    unread: list[Unread] = []
    landed = [one for one in landing.landed(note, unread.append) if not retired(one[0].model_run)]
    outside = tuple(one[0] for one in landed if not first <= one[0].date <= last)
    landed = [one for one in landed if first <= one[0].date <= last]
    chosen, turn = _chosen(landed, seen, now.date(), most_old)
    found = _still_there(landed, seen, unlisted)
    listings = sorted(_listings(landing, chosen, unreadable), key=_by_day)
    for _, delivered in listings:
        unread.extend(delivered.unread)
    changes = _changes(
        listings, found, unreadable, now if landing.folder.is_local else None, most_arrivals
    )
    return Look(
        tuple(changes.arrivals),
        replace(seen, partitions=found, turn=turn),
        len(landed),
        len(chosen),
        changes.waiting,
        outside,
        tuple(unreadable),
        tuple(changes.redelivered),
        tuple(sorted(unread)),
        tuple(name for _, delivered in listings for name in delivered.unfinished),
        tuple(one[0] for one in landed),
    )


_Landed = tuple[Partition, list[str]]
_Listing = tuple[Partition, Delivered]


@dataclass
class _Changes:
    """See :class:`Look`."""

    arrivals: list[Arrival] = field(default_factory=list)
    redelivered: list[Arrival] = field(default_factory=list)
    waiting: int = 0


def _changes(
    listings: Sequence[_Listing],
    found: dict[str, dict[str, str]],
    unreadable: list[str],
    now: datetime | None,
    most: int,
) -> _Changes:
    """What arrived among listed partitions, and how many were left for a later look.

    Args:
        found: ``Seen.partitions``; updated with what is seen now.
        unreadable: messages are appended for partitions that cannot be read.
        now: None if files appear complete, as in an object store.
        most: limit on the partitions whose manifests are read.
    """
    changes = _Changes()
    read = 0
    for partition, delivered in listings:
        files = delivered.files
        known = found.get(partition.model_run, {}).get(partition.date, "")
        listing = _digest(_listing(files))
        if delivered.unfinished:
            changes.waiting += 1
            continue
        if not files or known[:8] == listing:
            continue
        if read >= most or (now is not None and _is_growing(files, now)):
            changes.waiting += 1
            continue
        read += 1
        try:
            content = _digest(_content(files))
        except StorageError as error:
            unreadable.append(f"{partition}: {error}")
            continue
        found.setdefault(partition.model_run, {})[partition.date] = listing + content
        change = Arrival(partition, f"{partition} {listing}{content}")
        (changes.redelivered if known[8:] == content else changes.arrivals).append(change)
    return changes


def _still_there(
    landed: Sequence[_Landed], seen: Seen, unlisted: Container[str]
) -> dict[str, dict[str, str]]:
    """The state of partitions that still exist; others count as new if they come back.

    Args:
        unlisted: model runs whose folders could not be listed; their state is kept.
    """
    found = {name: dict(days) for name, days in seen.partitions.items() if name in unlisted}
    for partition, _ in landed:
        known = seen.partitions.get(partition.model_run, {}).get(partition.date)
        if known is not None:
            found.setdefault(partition.model_run, {})[partition.date] = known
    return found


def _listings(
    landing: Landing, chosen: Sequence[_Landed], unreadable: list[str]
) -> Iterator[_Listing]:
    """The files of each partition; messages are appended for those that cannot be listed."""

    def listed(one: _Landed) -> Delivered | StorageError:
        try:
            return landing.delivered(one[1])
        except StorageError as error:
            return error

    found = landing.folder.each(listed, chosen)
    for (partition, _), delivered in zip(chosen, found, strict=True):
        if isinstance(delivered, StorageError):
            unreadable.append(f"{partition}: {delivered}")
        else:
            yield partition, delivered


def _chosen(
    landed: Sequence[_Landed], seen: Seen, today: date, most_old: int
) -> tuple[list[_Landed], tuple[str, str]]:
    """The partitions to check: new and recent ones, and the next old ones; and the new turn."""
    first = (today - RECENT).isoformat()
    chosen: list[_Landed] = []
    old: list[_Landed] = []
    for one in landed:
        partition = one[0]
        known = partition.date in seen.partitions.get(partition.model_run, {})
        (old if known and partition.date < first else chosen).append(one)
    after = [one for one in old if (one[0].model_run, one[0].date) > seen.turn]
    in_turn = [*after, *old[: len(old) - len(after)]][:most_old]
    turn = (in_turn[-1][0].model_run, in_turn[-1][0].date) if in_turn else ("", "")
    return chosen + in_turn, turn


def _by_day(one: _Listing) -> tuple[str, str]:
    partition = one[0]
    return partition.date, partition.model_run


def _listing(files: Sequence[ManifestEntry]) -> Iterator[bytes]:
    for file in files:
        # On a disk, "created" is when the entry last changed, which cannot be set back.
        entry = [file.shown, *map(file.stored.get, ("size", "ino", "created"))]
        # In an object store, equal content has an equal ETag, whenever it was delivered.
        tag = file.stored.get("ETag") or file.stored.get("etag")
        yield repr([*entry, *([tag] if tag else []), str(_written(file.stored))]).encode()


def _content(files: Sequence[ManifestEntry]) -> Iterator[bytes]:
    for file in files:
        yield file.shown.encode("utf-8", "backslashreplace")
        with (
            storage_errors(f"reading {file.shown}"),
            file.folder.open_input(file.name) as handle,
        ):
            while block := handle.read(2**20):
                yield block


def _digest(parts: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:8]


def _is_growing(files: Sequence[ManifestEntry], now: datetime) -> bool:
    """Whether a file was written so recently that it may be incomplete."""
    newest = max((_written(file.stored) for file in files), default=None)
    return newest is not None and timedelta() <= now - newest < _SETTLED


def _written(stored: Mapping[str, Any]) -> datetime:
    return written_at(stored) or datetime.fromtimestamp(0, UTC)
