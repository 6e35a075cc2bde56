"""Opening a table that a cut of the power has damaged: what was not confirmed never happened.

Versions after the confirmed one (:mod:`segpipe.publishing.confirmed_versions`) are looked at: is
the log entry whole, are the data files it adds there, of the logged size, can they be decoded? The
first that is not, and all after it, do not count. Who reads is given the version before. Who is
about to write sets them aside: under the table's lock, after looking again, newest first, so that
no gap appears, each is renamed to ``N.json.torn`` and stays to be told. What is whole is synced and
confirmed.

A publisher's commit appears whole, with all its files: what is in flight beside a look is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segpipe.errors import StorageError
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
    is_entry,
    known_of,
    names_in,
    read_commit,
    read_entry,
    versions_in,
)
from segpipe.storage.failures import storage_errors

#: Ends the name of a log entry that was set aside.
TORN = ".torn"
#: The operation of commits that do not count.
TORN_OPERATION = "TORN"
_HINT = "_last_checkpoint"


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


class TableLog:
    """The log of a table in a local folder.

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

    def mend(self, sync: Callable[[int, int], None], *, closely: bool = False) -> list[str]:
        """Set aside what does not count and confirm the rest; what to say of it.

        Args:
            sync: makes versions, from the first to the last, survive a cut of the power.
            closely: see :meth:`look`.

        Raises:
            StorageError: if it cannot be done.
        """
        confirmed, look = self.confirmed.newest(), self.look(closely=closely)
        if look.newest is None or (look.newest == confirmed and look.torn is None):
            return []
        told = []
        with self.confirmed.lock():
            look = self.look(closely=closely)
            if look.torn is not None and look.newest is not None:
                told = self._set_aside(look.torn)
        if look.newest is not None and look.newest >= 0:
            sync(look.newest if confirmed is None else confirmed + 1, look.newest)
            self.confirmed.confirm(look.newest)
        return told

    def commits(self, newest: int, most: int | None) -> list[Mapping[str, Any]]:
        """What the log says of its versions, newest first, torn ones among them.

        Args:
            newest: the newest version that counts; -1 if none does.
            most: how many, not counting torn ones; all if None.
        """
        found = []
        oldest = newest + 1
        while oldest > 0 and (most is None or newest - oldest + 1 < most):
            commit = self._commit(entry_name(oldest - 1), oldest - 1)
            if commit is None:
                break  # tidied away, and all before it
            found.append(commit)
            oldest -= 1
        names = [name for name in sorted(names_in(self.path)) if _is_torn(name, newest)]
        torn = [self._commit(name, int(name[:20]), torn=True) for name in names]
        found += [commit for commit in torn if commit is not None and commit["version"] >= oldest]
        # The sort keeps the order: one that was torn follows what took its place.
        return sorted(found, key=lambda commit: -commit["version"])

    def _commit(self, name: str, version: int, *, torn: bool = False) -> dict[str, Any] | None:
        """What an entry says of itself, as far as it can be read; None if it is not there."""
        try:
            with Path(f"{self.path}/{name}").open("rb") as handle:
                data, modified = handle.read(), os.fstat(handle.fileno()).st_mtime
        except FileNotFoundError:
            return None
        try:
            info = dict(read_commit(data))
            damage = ""
        except TornError as error:
            info = dict(self.confirmed.whose(version)) | dict(known_of(data))
            damage = str(error)
        commit = {"timestamp": int(modified * 1000), "operation": "", **info, "version": version}
        if torn:
            commit["operation"] = TORN_OPERATION
            commit["segpipe.torn"] = f"{name} {damage or 'is whole, what it needs is not'}"
        elif damage:
            commit["segpipe.damaged"] = f"{name} {damage}"
        return commit

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

    def owners(self, versions: Sequence[int]) -> set[tuple[str, str]]:
        """Model run and partition of what these versions published; empty texts for others."""
        found = set()
        for version in versions:
            commit = self._commit(entry_name(version), version) or self.confirmed.whose(version)
            keys = ("segpipe.model_run", "segpipe.partition")
            undone = commit.get("segpipe.operation")
            found.add(("", "") if undone else tuple(str(commit.get(key, "")) for key in keys))
        return {(model_run, partition) for model_run, partition in found}

    def give_up(self, first: int) -> list[str]:
        """Set a damaged confirmed version aside with all after it; what to say of it.

        Raises:
            StorageError: if it cannot be done.
        """
        with self.confirmed.lock():
            torn = self.damaged_confirmed()
            if torn is None or torn.versions[0] != first:
                return []
            there = tuple(one for one in versions_in(self.path) if one >= first)
            told = self._set_aside(Torn(there, torn.file, torn.words), confirmed=True)
            self.confirmed.take_back(first - 1)
        return told

    def mend_checkpoints(self) -> list[str]:
        """Set aside checkpoints that cannot be decoded, and a hint at one that is not there.

        Checkpoints repeat what the log says: without one, opening reads more of the log. Nothing is
        set aside if the log does not reach back far enough.

        Raises:
            StorageError: if it cannot be done.
        """
        if not names_in(self.path):
            return []
        with self.confirmed.lock():
            damaged = self.damaged_checkpoints()
            whole = [n for n in checkpoints_in(self.path) if n not in damaged]
            needed = checkpoint_version(whole[-1]) + 1 if whole else 0
            hinted = self.hinted()
            if needed not in versions_in(self.path) and damaged:
                return []
            held = [checkpoint_version(name) for name in whole]
            names = [_HINT] if hinted is not None and hinted not in held else []
            names += damaged
            return [f"{self._rename(name)} was set aside: it was damaged" for name in names]

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

    def _set_aside(self, torn: Torn, *, confirmed: bool = False) -> list[str]:
        """Rename the entries, and what checkpoints there are of them; for who holds the lock."""
        self._set_checkpoints_aside(lambda version: version >= torn.versions[0])
        told = []
        for version in reversed(torn.versions):
            name = entry_name(version)
            kept = self._rename(name)
            if version > torn.versions[0] or not torn.file.endswith(name):
                words = f"{torn.file} {torn.words}"
            else:
                words = f"it {torn.words}"
            told.append(
                f"version {version} of the catalog{self.whose(version, kept)} was set aside as "
                f"{kept}: {words}"
                + (
                    "; what it published has to be published again"
                    if confirmed
                    else ", as a cut of the power leaves it, and it was never confirmed"
                )
            )
        return told[::-1]

    def whose(self, version: int, name: str | None = None) -> str:
        """`` (publish, model run 'unet', partition 2026-01-05)``, as far as it is known.

        Args:
            name: of the entry's file, if it was renamed.
        """
        info: dict[str, Any] = dict(self.confirmed.whose(version))
        try:
            data = Path(f"{self.path}/{name or entry_name(version)}").read_bytes()
            info.update(known_of(data))
        except OSError:
            pass
        parts = [str(info.get("segpipe.operation", ""))]
        parts += [f"model run {info[key]!r}" for key in ("segpipe.model_run",) if info.get(key)]
        parts += [f"partition {info[key]}" for key in ("segpipe.partition",) if info.get(key)]
        words = ", ".join(filter(None, parts))
        return f" ({words})" if words else ""

    def _set_checkpoints_aside(self, unwanted: Callable[[int], bool]) -> None:
        names = [name for name in checkpoints_in(self.path) if unwanted(checkpoint_version(name))]
        hinted = self.hinted()
        # First the hint: the library insists on the checkpoint it names.
        if hinted is not None and (hinted < 0 or unwanted(hinted)):
            self._rename(_HINT)
        for name in names:
            self._rename(name)

    def hinted(self) -> int | None:
        """The version of the checkpoint that the log's hint names; -1 where it is damaged."""
        try:
            return int(json.loads(Path(f"{self.path}/{_HINT}").read_bytes())["version"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError):
            return -1

    def damaged_checkpoints(self) -> list[str]:
        """Names of the checkpoints that cannot be decoded."""
        damaged = []
        for name in checkpoints_in(self.path):
            try:
                check_parquet(f"{self.path}/{name}")
            except TornError:
                damaged.append(name)
        return damaged

    def _rename(self, name: str) -> str:
        """Set a file of the log aside; its new name."""
        kept, number = f"{name}{TORN}", 1
        while os.path.lexists(f"{self.path}/{kept}"):
            number += 1
            kept = f"{name}{TORN}-{number}"
        with storage_errors(f"setting {self.path}/{name} aside"):
            try:
                os.rename(f"{self.path}/{name}", f"{self.path}/{kept}")
            except FileNotFoundError:
                raise StorageError(f"{self.path}/{name} was removed meanwhile: run again") from None
        return kept


def _is_torn(name: str, newest: int) -> bool:
    """Whether a file of the log is an entry that does not count."""
    entry, torn, _ = name.partition(TORN)
    return is_entry(entry) and (bool(torn) or int(entry[:20]) > newest)
