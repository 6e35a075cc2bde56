"""What runs sent to Nucleus, chunk by chunk: kept where the root is, not on a machine.

A chunk is noted before it is sent, and again when the service answered. A run that is cut off and
started again finds what it had on its way, so that what it wrote itself counts as written by it.
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
        outcome: what it was planned to come to, inserted or replaced.
        previous: fingerprint of what was there before.
    """

    outcome: str
    fingerprint: str
    previous: str | None


class Ledger:
    """The chunks of one run of a model run's publication."""

    def __init__(self, folder: Folder, provenance: Provenance) -> None:
        self._folder = folder.folder(
            f"dataset={folder_name(provenance.dataset)}",
            f"model_run={folder_name(provenance.model_run)}",
            folder_name(provenance.run_id),
        )
        self._next = 0

    def entries(self) -> dict[str, Entry]:
        """Reference id -> what this run sent for it so far, also before it was started again.

        Raises:
            StorageError: if a note cannot be read.
        """
        found: dict[str, Entry] = {}
        while self._folder.exists(self._name(self._next)):
            name = self._name(self._next)
            try:
                told = json.loads(self._folder.read(name))
                found.update({id: Entry(**entry) for id, entry in told["sent"].items()})
            except (ValueError, KeyError, TypeError, AttributeError):
                raise StorageError(
                    f"{self._folder.shown}/{name} is damaged; delete it and run again"
                ) from None
            self._next += 1
        return found

    def note(self, sent: Mapping[str, Entry]) -> int:
        """Note a chunk that is about to be sent; its number."""
        number, self._next = self._next, self._next + 1
        self._write(number, sent, None)
        return number

    def acknowledge(self, number: int, sent: Mapping[str, Entry], answer: str) -> None:
        """Note what the service said to a chunk."""
        self._write(number, sent, answer)

    def _write(self, number: int, sent: Mapping[str, Entry], answer: str | None) -> None:
        told = {"sent": {id: asdict(entry) for id, entry in sent.items()}, "answer": answer}
        self._folder.write(self._name(number), json.dumps(told).encode())

    @staticmethod
    def _name(number: int) -> str:
        return f"{number:06d}.json"
