"""Opening a table that a cut of the power has damaged: what was not confirmed never happened.

Who reads is given the newest version that counts (:mod:`segpipe.publishing.log_damage`). Who is
about to write sets aside what does not count: under the table's lock, after looking again, newest
first, so that no gap appears, each entry is renamed to ``N.json.torn`` and stays to be told. What
is whole is synced and confirmed.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from segpipe.errors import StorageError
from segpipe.publishing.advised_commands import AdvisedCommands
from segpipe.publishing.log_commits import TORN, LogCommits
from segpipe.publishing.log_damage import HINT, LogLook, Torn
from segpipe.publishing.log_entries import (
    checkpoint_version,
    checkpoints_in,
    entry_name,
    names_in,
    versions_in,
)
from segpipe.storage.failures import storage_errors


class TableLog(LogLook):
    """The log of a table in a local folder, and its healing.

    Args:
        table: path of the table's folder.
        commands: what messages advise.
    """

    def __init__(self, table: str, commands: AdvisedCommands) -> None:
        super().__init__(table)
        self._commands = commands
        self.commits = LogCommits(self.path, self.confirmed)

    def mend(
        self,
        sync: Callable[[int, int], None],
        *,
        of: tuple[str, str] | None = None,
        closely: bool = False,
    ) -> list[str]:
        """Set aside what does not count and confirm the rest; what to say of it.

        Args:
            sync: makes versions, from the first to the last, survive a cut of the power.
            of: model run and partition that are going to be published.
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
                told = self._set_aside(look.torn, of)
        if look.newest is not None and look.newest >= 0:
            sync(look.newest if confirmed is None else confirmed + 1, look.newest)
            self.confirmed.confirm(look.newest)
        return told

    def give_up(self, first: int, of: tuple[str, str] | None) -> list[str]:
        """Set a damaged confirmed version aside with all after it; what to say of it.

        Args:
            of: model run and partition that are going to be published.

        Raises:
            StorageError: if it cannot be done.
        """
        with self.confirmed.lock():
            torn = self.damaged_confirmed()
            if torn is None or torn.versions[0] != first:
                return []
            there = tuple(one for one in versions_in(self.path) if one >= first)
            told = self._set_aside(Torn(there, torn.file, torn.words), of, confirmed=True)
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
            there = versions_in(self.path)
            if damaged and needed <= max(there, default=-1) and needed not in there:
                return []
            held = [checkpoint_version(name) for name in whole]
            names = [HINT] if hinted is not None and hinted not in held else []
            names += damaged
            return [
                f"{name} of the catalog's log was damaged, as a cut of the power leaves it; it was "
                f"set aside as {self._rename(name)}; the log holds all that it held"
                for name in names
            ]

    def _set_aside(
        self, torn: Torn, of: tuple[str, str] | None, *, confirmed: bool = False
    ) -> list[str]:
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
            if not confirmed:
                words += ", as a cut of the power leaves it, and no receipt tells of it"
            told.append(
                f"version {version} of the catalog{self.commits.whose(version, kept)} was set "
                f"aside as {kept}: {words}; {self._what_next(version, kept, of)}"
            )
        return told[::-1]

    def _what_next(self, version: int, kept: str, of: tuple[str, str] | None) -> str:
        info = self.commits.known(version, kept)
        if info.get("operation") == "CREATE TABLE":
            return "the next run makes the table again"
        if operation := info.get("segpipe.operation"):
            if operation in ("unpublish", "restore", "upgrade"):
                return f"it has not happened: {operation} again if that is still wanted"
            return "nothing is lost by that"
        whose = str(info.get("segpipe.model_run", "")), str(info.get("segpipe.partition", ""))
        if not all(whose):
            return "run the partitions again that were run at that time"
        if whose == of:
            return "this run publishes it again"
        return f"publish it again with: {self._commands.run(*whose)}"

    def _set_checkpoints_aside(self, unwanted: Callable[[int], bool]) -> None:
        names = [name for name in checkpoints_in(self.path) if unwanted(checkpoint_version(name))]
        hinted = self.hinted()
        # First the hint: the library insists on the checkpoint it names.
        if hinted is not None and (hinted < 0 or unwanted(hinted)):
            self._rename(HINT)
        for name in names:
            self._rename(name)

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
