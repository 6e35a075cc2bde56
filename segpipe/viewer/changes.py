"""How much a prediction differs from the one it replaced: by the areas of its labels.

No mask is read: half the sum of the differences of the labels' shares, from 0 to 1, is the least
part of the picture whose label has changed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import SegpipeError
from segpipe.publishing.history import Version
from segpipe.root import Root
from segpipe.viewer.blocks import fingerprint_key
from segpipe.viewer.rows import REPLACED
from segpipe.viewer.snapshot import Snapshot

# Versions of the catalog that are looked at, the newest first, and replaced rows of each.
_MOST_VERSIONS, _MOST_ROWS = 60, 20_000
_Identity = tuple[str, str, str]


class Changes:
    """The changes of a root's replaced predictions, each looked up once."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._known: dict[tuple[_Identity, int], float] = {}
        self._looked: set[int] = set()
        self._lock = threading.Lock()
        self.notes: list[str] = []

    def of(self, snapshot: Snapshot) -> NDArray[np.float32]:
        """Of each row, how much it differs from what it replaced; NaN where nothing is known."""
        rows = snapshot.rows
        found = np.full(len(rows), np.nan, np.float32)
        replaced = np.flatnonzero(rows.outcome == REPLACED)
        if not replaced.size:
            return found
        whose = {self._identity(snapshot, int(row)): int(row) for row in replaced}
        with self._lock:
            waiting = {
                one: row for one, row in whose.items()
                if (one, int(rows.key[row])) not in self._known
            }  # fmt: skip
            if waiting:
                self._look(snapshot, waiting)
            for one, row in whose.items():
                found[row] = self._known.get((one, int(rows.key[row])), np.nan)
        return found

    @staticmethod
    def _identity(snapshot: Snapshot, row: int) -> _Identity:
        group = snapshot.group_of(row)
        return group.dataset, group.model_run, snapshot.rows.ids[row].as_py()

    def _look(self, snapshot: Snapshot, waiting: dict[_Identity, int]) -> None:
        versions = [one for one in self._root.catalog.history() if _replaces(one)]
        self.notes = []
        if len(versions) > _MOST_VERSIONS:
            self.notes.append(f"changes are those of the newest {_MOST_VERSIONS} publications")
        for one in versions[:_MOST_VERSIONS]:
            run = one.notes.get("dataset"), one.notes.get("model_run")
            ids = [identity for identity in waiting if identity[:2] == run][:_MOST_ROWS]
            if not ids or one.version < 1:
                continue
            try:
                before = self._areas(ids, one.version - 1)
                after = self._areas(ids, one.version)
            except SegpipeError as error:
                self.notes.append(f"changes of version {one.version} are not known: {error}")
                continue
            for identity in ids:
                old, new = before.get(identity[2]), after.get(identity[2])
                key = int(snapshot.rows.key[waiting[identity]])
                if old is None or new is None or old[0] == new[0] or new[0] != key:
                    continue
                self._known[identity, key] = _difference(old[1], new[1])
                del waiting[identity]

    def _areas(
        self, ids: list[_Identity], version: int
    ) -> dict[str, tuple[int, Mapping[str, float]]]:
        """Reference id -> start of the fingerprint, and the share of each label."""
        rows = self._root.catalog.read_items(
            ids[0][0], ids[0][1], [one[2] for one in ids],
            ["reference_id", "fingerprint", "segments"], version=version,
        ).to_pylist()  # fmt: skip
        found: dict[str, tuple[int, Mapping[str, float]]] = {}
        for row in rows:
            areas: dict[str, float] = {}
            for one in row["segments"]:
                areas[one["label"]] = areas.get(one["label"], 0.0) + (one["area_fraction"] or 0.0)
            found[row["reference_id"]] = fingerprint_key(row["fingerprint"]), areas
        return found


def _replaces(version: Version) -> bool:
    return version.operation == "publish" and version.notes.get("replaced", "0") != "0"


def _difference(old: Mapping[str, float], new: Mapping[str, float]) -> float:
    labels: Iterator[str] = iter({*old, *new})
    return sum(abs(old.get(label, 0.0) - new.get(label, 0.0)) for label in labels) / 2
