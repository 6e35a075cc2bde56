"""A record of what runs sent to Nucleus, chunk by chunk, stored with the root.

A chunk is recorded before it is sent, and again when the service has answered. A run that is
interrupted and started again finds what it had sent, and can report it as its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from segpipe.errors import StorageError
from segpipe.publishing.outcomes import Provenance
from segpipe.storage.files import Folder, folder_name


@dataclass(frozen=True, slots=True)
class Entry:
    """One prediction that was sent.

    Attributes:
        outcome: the planned one, inserted or replaced.
        fingerprint: of the prediction (hex).
        previous: fingerprint of the prediction it replaces; None if there was none.
    """

    outcome: str
    fingerprint: str
    previous: str | None


class Ledger:
    """The chunks that one run sent for a model run.

    Args:
        folder: holds the ledgers of all runs.
    """

    def __init__(self, folder: Folder, provenance: Provenance) -> None:
        self._folder = folder.folder(
            f"dataset={folder_name(provenance.dataset)}",
            f"model_run={folder_name(provenance.model_run)}",
            folder_name(provenance.run_id),
        )
        self._next = 0

    def entries(self) -> dict[str, Entry]:
        """Reference id -> what this run sent for it so far, including before a restart.

        Raises:
            StorageError: if a record cannot be read.
        """
        found: dict[str, Entry] = {}
        while self._folder.exists(self._name(self._next)):
            name = self._name(self._next)
            try:
                chunk = json.loads(self._folder.read(name))
                found.update({id: Entry(**entry) for id, entry in chunk["sent"].items()})
            except (ValueError, KeyError, TypeError, AttributeError):
                raise StorageError(
                    f"{self._folder.shown}/{name} is damaged; delete it and run again"
                ) from None
            self._next += 1
        return found

    def note(self, sent: Mapping[str, Entry]) -> int:
        """Record a chunk that is about to be sent; returns its number."""
        number, self._next = self._next, self._next + 1
        self._write(number, sent, None)
        return number

    def acknowledge(self, number: int, sent: Mapping[str, Entry], answer: str) -> None:
        """Record the service's answer to a chunk."""
        self._write(number, sent, answer)

    def _write(self, number: int, sent: Mapping[str, Entry], answer: str | None) -> None:
        chunk = {"sent": {id: asdict(entry) for id, entry in sent.items()}, "answer": answer}
        self._folder.write(self._name(number), json.dumps(chunk).encode())

    @staticmethod
    def _name(number: int) -> str:
        return f"{number:06d}.json"
