"""Looking at the table's log: which versions count, and which a cut of the power has damaged.

Versions after the confirmed one (:mod:`segpipe.publishing.confirmed_versions`) are looked at: is
the log entry whole, are the data files it adds there, of the logged size, can they be decoded? The
first that is not, and all after it, do not count.

A publisher's commit appears whole, with all its files: what is in flight beside a look is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segpipe.publishing.confirmed_versions import ConfirmedVersions
from segpipe.publishing.log_entries import (
    LOG,
    DataFile,
    LogEntry,
    TornError,
    check_file,
    check_parquet,
    checkpoint_version,
    checkpoints_in,
    entry_name,
    read_entry,
    versions_in,
)

#: The file of the log that names its newest checkpoint.
HINT = "_last_checkpoint"


@dataclass(frozen=True)
class Torn:
    """Versions that do not count, since the first of them is damaged and was not confirmed.

    Attributes:
        versions: those that have an entry in the log, ascending.
        file: the damaged file, below the table's folder.
        words: how it is damaged, to follow its name.
    """

    versions: tuple[int, ...]
    file: str
    words: str


@dataclass(frozen=True)
class Look:
    """What a look at the log found.

    Attributes:
        newest: the newest version that counts; -1 if none does; None for what the library finds.
        torn: what does not count.
    """

    newest: int | None = None
    torn: Torn | None = None


class LogLook:
    """Looks at the log of a table in a local folder, and changes nothing.

    Args:
        table: path of the table's folder.
    """

    def __init__(self, table: str) -> None:
        self._table = table
        self.path = f"{table}/{LOG}"
        self.confirmed = ConfirmedVersions(self.path)
        # Data files that were decoded, as they were then.
        self._sound: set[tuple[str, int, int]] = set()

    def look(self, *, closely: bool = False) -> Look:
        """The newest version that counts; where all are confirmed, this costs two small looks.

        Args:
            closely: also find versions that do not follow the confirmed ones without a gap, as the
                library refuses them.
        """
        confirmed = self.confirmed.newest()
        if (
            confirmed is not None
            and not closely
            and not os.path.exists(f"{self.path}/{entry_name(confirmed + 1)}")
            and self.confirmed.newest_is_there()
        ):
            return Look()
        versions = versions_in(self.path)
        if confirmed is None:
            return self._look_back(versions)
        return self._look_ahead(confirmed, [one for one in versions if one > confirmed])

    def damaged_confirmed(self) -> Torn | None:
        """The confirmed versions from the first on whose entry is damaged, of those still read."""
        confirmed = self.confirmed.newest()
        if confirmed is None:
            return None
        damaged = set(self.damaged_checkpoints())
        held = [checkpoint_version(n) for n in checkpoints_in(self.path) if n not in damaged]
        for version in range(max([-1, *(one for one in held if one <= confirmed)]) + 1, confirmed):
            if (found := self._damaged_entry(version)) is not None:
                break
        else:
            version, found = confirmed, None
            if confirmed not in held:
                found = self._damaged_entry(confirmed)
        if found is None:
            return None
        return Torn(tuple(range(version, confirmed + 1)), f"{LOG}/{entry_name(version)}", found)

    def _damaged_entry(self, version: int) -> str | None:
        try:
            read_entry(self.path, version)
        except TornError as error:
            return str(error)
        return None

    def hinted(self) -> int | None:
        """The version of the checkpoint that the log's hint names; -1 where it is damaged."""
        try:
            return int(json.loads(Path(f"{self.path}/{HINT}").read_bytes())["version"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError):
            return -1

    def damaged_checkpoints(self) -> list[str]:
        """Names of the checkpoints that cannot be decoded."""
        damaged = []
        for name in checkpoints_in(self.path):
            try:
                with Path(f"{self.path}/{name}").open("rb") as handle:
                    check_parquet(handle)
            except TornError:
                damaged.append(name)
            except FileNotFoundError:
                continue  # another process has set it aside meanwhile
        return damaged

    def _look_back(self, versions: Sequence[int]) -> Look:
        """In a table that was never confirmed, versions count up to the newest whole one."""
        torn = None
        for version in reversed(versions):
            found = self._first_damage([version])
            if found is None:
                return Look(version, torn)
            torn = Torn((version, *(torn.versions if torn else ())), *found[1:])
        if torn is None or versions[0] > 0:
            return Look()
        return Look(-1, torn)

    def _look_ahead(self, confirmed: int, later: Sequence[int]) -> Look:
        there: list[int] = []
        for version in later:
            if version != confirmed + 1 + len(there):
                break
            there.append(version)
        found = self._first_damage(there)
        if found is None and len(there) == len(later):
            return Look(later[-1] if later else confirmed)
        if found is None:
            missing = confirmed + 1 + len(there)
            found = missing, f"{LOG}/{entry_name(missing)}", "is missing"
        first, file, words = found
        return Look(first - 1, Torn(tuple(one for one in later if one >= first), file, words))

    def _first_damage(self, versions: Sequence[int]) -> tuple[int, str, str] | None:
        """The first damaged one of consecutive versions, its damaged file, and how it is."""
        entries: list[LogEntry] = []
        damage = None
        for version in versions:
            try:
                entries.append(read_entry(self.path, version))
            except TornError as error:
                damage = version, f"{LOG}/{entry_name(version)}", str(error)
                break
        while found := self._damaged_file(entries):
            damage = found
            # What a version that does not count removes has to be there after all.
            entries = [entry for entry in entries if entry.version < found[0]]
        return damage

    def _damaged_file(self, entries: Sequence[LogEntry]) -> tuple[int, str, str] | None:
        removed: set[str] = set()
        found = None
        for entry in reversed(entries):
            for file in entry.added:
                # One that a later version removed may have been vacuumed.
                words = None if file.path in removed else self._damage_of(file)
                if words is not None:
                    found = entry.version, file.path, words
            removed |= entry.removed
        return found

    def _damage_of(self, file: DataFile) -> str | None:
        try:
            status = os.stat(f"{self._table}/{file.path}")
            seen = file.path, file.size, status.st_mtime_ns
            if status.st_size == file.size and seen in self._sound:
                return None
            check_file(self._table, file)
        except FileNotFoundError:
            return "is missing"
        except TornError as error:
            return str(error)
        self._sound.add(seen)
        return None
