"""Manifests that arrived, or changed, since they were last looked at.

What was seen is a few bytes per partition, so that a watcher survives restarts: a digest of how the
folder listed the partition's files, and one of their content. Files are read only where the
listing changed. Days long past are looked at in turn, a bounded number each time, so that
thousands of partitions cost little and a late change is still found.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from segpipe.partition import Landing, ManifestEntry, Partition

#: Days whose partitions are looked at every time.
RECENT = timedelta(days=7)
# On a disk a file that grows is seen before it is whole.
_SETTLED = timedelta(seconds=5)
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Arrival:
    """A partition whose manifest is new or another.

    Attributes:
        key: the same for the same content at the same place and time, for telling runs apart.
    """

    partition: Partition
    key: str


@dataclass
class Seen:
    """What was seen of each partition, and where the turn of old ones has come to.

    Attributes:
        partitions: model run -> day -> digests of listing and content, 8 hex digits each.
        turn: the last old partition looked at.
    """

    partitions: dict[str, dict[str, str]] = field(default_factory=dict)
    turn: tuple[str, str] = ("", "")

    def to_text(self) -> str:
        """As a cursor: printable, about a dozen bytes per partition."""
        content = json.dumps([_VERSION, self.turn, self.partitions], separators=(",", ":"))
        return base64.b85encode(zlib.compress(content.encode(), 6)).decode()

    @classmethod
    def from_text(cls, text: str | None) -> Seen:
        """From a cursor; nothing seen where there is none, or it is another version's."""
        if not text:
            return cls()
        try:
            version, turn, partitions = json.loads(zlib.decompress(base64.b85decode(text)))
        except (ValueError, zlib.error):
            return cls()
        return cls(partitions, (turn[0], turn[1])) if version == _VERSION else cls()


@dataclass(frozen=True)
class Look:
    """What a look at the landing folder found.

    Attributes:
        arrivals: partitions to run, oldest day first.
        seen: for the next look.
        partitions: how many there are.
        listed: how many of them were looked at this time.
        waiting: arrivals left for the next look: too many at once, or still being written.
    """

    arrivals: tuple[Arrival, ...]
    seen: Seen
    partitions: int
    listed: int
    waiting: int


def look(
    landing: Landing,
    seen: Seen,
    *,
    now: datetime,
    retired: Sequence[str] = (),
    most_arrivals: int = 50,
    most_old: int = 1000,
) -> Look:
    """Find partitions that are new or changed.

    Args:
        retired: model runs that are left alone.
        most_arrivals: the others wait for the next look.
        most_old: partitions of days long past that are looked at this time.

    Raises:
        StorageError: if the landing folder cannot be listed or read.
    """
    landed = [one for one in landing.landed() if one[0].model_run not in retired]
    chosen, turn = _chosen(landed, seen, now.date(), most_old)
    listings = landing.folder.each(lambda one: landing.files(one[1], one[0].date), chosen)
    found: dict[str, dict[str, str]] = {}
    for partition, _ in landed:  # what is there no more is forgotten, and new when it comes back
        known = seen.partitions.get(partition.model_run, {}).get(partition.date)
        if known is not None:
            found.setdefault(partition.model_run, {})[partition.date] = known
    arrivals: list[Arrival] = []
    waiting = 0
    for (partition, _), files in sorted(zip(chosen, listings, strict=True), key=_by_day):
        known = found.get(partition.model_run, {}).get(partition.date, "")
        listing = _digest(_listing(files))
        if not files or known[:8] == listing:
            continue
        if len(arrivals) >= most_arrivals or _is_growing(files, landing.folder.is_local, now):
            waiting += 1
            continue
        content = _digest(_content(files))
        found.setdefault(partition.model_run, {})[partition.date] = listing + content
        if known[8:] != content:  # else it was only touched
            arrivals.append(Arrival(partition, f"{partition} {listing}{content}"))
    return Look(tuple(arrivals), Seen(found, turn), len(landed), len(chosen), waiting)


_Landed = tuple[Partition, list[str]]


def _chosen(
    landed: Sequence[_Landed], seen: Seen, today: date, most_old: int
) -> tuple[list[_Landed], tuple[str, str]]:
    """New and recent partitions, and the next of the old ones."""
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


def _by_day(one: tuple[_Landed, list[ManifestEntry]]) -> tuple[str, str]:
    partition = one[0][0]
    return partition.date, partition.model_run


def _listing(files: Sequence[ManifestEntry]) -> Iterator[bytes]:
    for file in files:
        # On a disk "created" is when the entry last changed, which cannot be set back.
        told = [file.shown, *map(file.stored.get, ("size", "ino", "created"))]
        yield repr([*told, file.stored.get("ETag") or str(_written(file.stored))]).encode()


def _content(files: Sequence[ManifestEntry]) -> Iterator[bytes]:
    for file in files:
        yield file.shown.encode("utf-8", "backslashreplace")
        with file.folder.open_input(file.name) as handle:
            while block := handle.read(2**20):
                yield block


def _digest(parts: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:8]


def _is_growing(files: Sequence[ManifestEntry], is_local: bool, now: datetime) -> bool:
    if not is_local:  # an object appears whole
        return False
    newest = max((_written(file.stored) for file in files), default=None)
    return newest is not None and timedelta() <= now - newest < _SETTLED


def _written(stored: Mapping[str, Any]) -> datetime:
    value = stored.get("mtime") or stored.get("LastModified") or stored.get("created")
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.fromtimestamp(0, UTC)
