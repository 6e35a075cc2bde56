"""Keeps the registry consistent with the catalog, whoever changed the catalog.

The registry has every segmentation as it was sent, with the fingerprint of the catalog's row. Where
the catalog has moved on without the endpoint (``segpipe restore``, ``unpublish``, a run that
publishes), the registry is updated before it is read: rows removed from the catalog are removed,
and new or changed rows are taken over. Masks that the catalog does not accept exist in the registry
only, and stay; so does what the journal holds, which is on its way to the catalog.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from segpipe.nucleus_server.database import new_id
from segpipe.nucleus_server.journal import Journal
from segpipe.nucleus_server.registry import GROUND_TRUTH, SEGMENTATION, Annotation, Registry
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.history import history
from segpipe.publishing.table_format import quoted

_COLUMNS = ["reference_id", "annotation_id", "mask_path", "fingerprint", "segments"]
_ITEMS_AT_ONCE = 1000


class Reconciliation:
    """Keeps a registry in agreement with a catalog."""

    def __init__(self, catalog: Catalog, registry: Registry, journal: Journal) -> None:
        self._catalog, self._registry, self._journal = catalog, registry, journal
        self._lock = threading.RLock()
        self._mark = new_id("request")
        self._commits = 0
        self._seen: int | None = None  # the catalog's version that the registry agrees with

    def run_id(self) -> str:
        """A run id for a commit of the endpoint itself, which updates the registry on its own."""
        self._commits += 1
        return f"{self._mark}-{self._commits}"

    @contextmanager
    def changing(self) -> Iterator[None]:
        """To change the catalog and then the registry, with nobody else in between.

        Commits are made with a ``run_id`` of this object's.

        Raises:
            CatalogError, StorageError: if the catalog cannot be read.
        """
        with self._lock:
            self.catch_up()
            try:
                yield
            except BaseException:
                self.doubt()  # the registry may not have been told
                raise

    @contextmanager
    def overtaken(self) -> Iterator[None]:
        """To give up what the registry has and the catalog does not: it is read anew next time."""
        with self._lock:
            yield
            self.doubt()

    def doubt(self) -> None:
        """Have all of the catalog looked at again before the registry is read."""
        self._seen = None

    def catch_up(self) -> None:
        """Make the registry agree with the catalog's newest version.

        Raises:
            CatalogError, StorageError: if the catalog cannot be read.
        """
        seen = self._seen
        if seen is not None and not self._catalog.table.is_newer_than(seen):
            return
        with self._lock:
            version = self._catalog.version()
            if version is None or version == self._seen:
                return
            if not self._is_own(version):
                self._adopt(version)
            self._seen = version

    def _is_own(self, version: int) -> bool:
        """Whether every commit since is one the registry knows of."""
        if self._seen is None:
            return False
        commits = history(self._catalog, version - self._seen)
        return all(one.notes.get("run_id", "").startswith(self._mark) for one in commits)

    def _adopt(self, version: int) -> None:
        datasets = [dataset for dataset, _ in self._registry.datasets()]
        owners = [GROUND_TRUTH, *(str(model["id"]) for model in self._registry.models())]
        held = self._held(datasets, version)
        for dataset in datasets:
            for owner in owners:
                identity = self._registry.catalog_identity(dataset, owner)
                self._agree(dataset, owner, held.get(identity, {}), version)

    def _held(self, datasets: Sequence[str], version: int) -> dict[tuple[str, str], dict[str, str]]:
        """Reference id -> fingerprint of what the catalog holds, by its dataset and model run."""
        names = {self._registry.catalog_identity(one, GROUND_TRUTH)[0] for one in datasets}
        if not names:
            return {}
        rows = self._catalog.read(
            ["dataset", "model_run", "reference_id", "fingerprint"],
            f"dataset IN ({', '.join(map(quoted, sorted(names)))})",
            version=version,
        )
        held: dict[tuple[str, str], dict[str, str]] = {}
        for *identity, reference_id, fingerprint in zip(*rows.to_pydict().values(), strict=True):
            held.setdefault((identity[0], identity[1]), {})[reference_id] = fingerprint
        return held

    def _agree(self, dataset: str, owner: str, held: Mapping[str, str], version: int) -> None:
        ahead = self._journal.reference_ids(dataset, owner)
        known = self._registry.fingerprints(dataset, owner)
        known = {id: one for id, one in known.items() if id not in ahead}
        held = {id: one for id, one in held.items() if id not in ahead}
        gone = [id for id, fingerprint in known.items() if fingerprint and id not in held]
        other = [id for id, fingerprint in held.items() if known.get(id) != fingerprint]
        there = self._registry.items_of(dataset, other)
        changed = [id for id in other if id in there]
        name, model_run = self._registry.catalog_identity(dataset, owner)
        if gone:
            self._registry.delete_segmentations(dataset, owner, gone)
        for start in range(0, len(changed), _ITEMS_AT_ONCE):
            part = changed[start : start + _ITEMS_AT_ONCE]
            rows = self._catalog.read_items(name, model_run, part, _COLUMNS, version=version)
            with self._registry.transaction():
                for row in rows.to_pylist():
                    self._registry.put(_annotation(dataset, owner, row))


def _annotation(dataset: str, owner: str, row: Mapping[str, Any]) -> Annotation:
    """A row of the catalog as the API has it. Where its mask once came from is not kept: its name
    is that of the file it is in now."""
    segments = [
        {
            "label": one["label"],
            "index": one["index"],
            **({"metadata": json.loads(one["metadata"])} if one["metadata"] != "{}" else {}),
        }
        for one in row["segments"]
    ]
    body = {
        "type": "mask",
        "mask_url": row["mask_path"],
        "annotations": segments,
        "reference_id": row["reference_id"],
        "annotation_id": row["annotation_id"],
    }
    return Annotation(
        dataset, owner, row["reference_id"], SEGMENTATION, "", body, fingerprint=row["fingerprint"]
    )
