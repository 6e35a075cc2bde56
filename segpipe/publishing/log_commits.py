"""What the table's log says of its commits: who committed what, torn ones among them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segpipe.publishing.confirmed_versions import ConfirmedVersions
from segpipe.publishing.log_entries import (
    TornError,
    entry_name,
    is_entry,
    known_of,
    names_in,
    read_commit,
)

#: Ends the name of a log entry that was set aside.
TORN = ".torn"
#: The operation of commits that do not count.
TORN_OPERATION = "TORN"


class LogCommits:
    """The commits of a table in a local folder.

    Args:
        log: path of the log's folder.
        confirmed: remembers whose the newest versions are.
    """

    def __init__(self, log: str, confirmed: ConfirmedVersions) -> None:
        self.path = log
        self.confirmed = confirmed

    def newest(self, newest: int, most: int | None) -> list[Mapping[str, Any]]:
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

    def owners(self, versions: Sequence[int]) -> set[tuple[str, str]]:
        """Model run and partition of what these versions published; empty texts for others."""
        found = set()
        for version in versions:
            commit = self.known(version)
            keys = ("segpipe.model_run", "segpipe.partition")
            undone = commit.get("segpipe.operation")
            found.add(("", "") if undone else tuple(str(commit.get(key, "")) for key in keys))
        return {(model_run, partition) for model_run, partition in found}

    def known(self, version: int, name: str | None = None) -> Mapping[str, Any]:
        """What a version's commit said of itself, as far as it is known.

        Args:
            name: of the entry's file, if it was renamed.
        """
        info = dict(self.confirmed.whose(version))
        try:
            data = Path(f"{self.path}/{name or entry_name(version)}").read_bytes()
            info.update(known_of(data))
        except OSError:
            pass
        return info

    def whose(self, version: int, name: str | None = None) -> str:
        """`` (publish, model run 'unet', partition 2026-01-05)``, as far as it is known.

        Args:
            name: of the entry's file, if it was renamed.
        """
        info = self.known(version, name)
        parts = [str(info.get("segpipe.operation", ""))]
        parts += [f"model run {info[key]!r}" for key in ("segpipe.model_run",) if info.get(key)]
        parts += [f"partition {info[key]}" for key in ("segpipe.partition",) if info.get(key)]
        words = ", ".join(filter(None, parts))
        return f" ({words})" if words else ""


def _is_torn(name: str, newest: int) -> bool:
    """Whether a file of the log is an entry that does not count."""
    entry, torn, _ = name.partition(TORN)
    return is_entry(entry) and (bool(torn) or int(entry[:20]) > newest)
