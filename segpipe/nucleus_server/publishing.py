"""Publishes to the catalog what the journal holds."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.nucleus_server.journal import Entry, Journal
from segpipe.nucleus_server.judging import joined
from segpipe.nucleus_server.reconciliation import Reconciliation
from segpipe.nucleus_server.registry import Registry
from segpipe.publishing.history import history
from segpipe.publishing.maintenance import unpublish, withdraw
from segpipe.publishing.outcomes import Outcome, Provenance
from segpipe.root import Root
from segpipe.validation.validated import PredictionBatch

_logger = logging.getLogger("segpipe.nucleus_server")


class CatalogPublisher:
    """Makes the catalog hold what was stored, and no more."""

    def __init__(
        self, root: Root, registry: Registry, journal: Journal, reconciliation: Reconciliation
    ) -> None:
        self._root, self._registry, self._journal = root, registry, journal
        self._reconciliation = reconciliation

    def resume(self) -> None:
        """Publish what a process that was ended left behind.

        What it had published and somebody has undone since is not published again.

        Raises:
            SegpipeError: if the root's storage fails.
        """
        for dataset, owner in self._journal.owners():
            entries = self._journal.entries(dataset, owner)
            undone = [one for one in entries if one.run is not None and self._is_undone(one.run)]
            with self._reconciliation.overtaken():
                self._journal.remove(undone)
            self.settle(dataset, owner)

    def sync_masks(self, batch: PredictionBatch) -> None:
        """Make the masks of a batch survive a cut of the power."""
        self._root.masks.sync(batch.rows["mask_sha256"].to_pylist())

    def settle(self, dataset: str, owner: str) -> None:
        """Publish the journal's entries of an owner: in one version of the catalog, and in one more
        where something is withdrawn from it.

        Raises:
            SegpipeError: if the root's storage fails; the entries stay in the journal.
        """
        with self._reconciliation.changing():
            entries = self._journal.entries(dataset, owner)
            for update, group in groupby(entries, lambda one: one.update):
                self._publish(dataset, owner, list(group), update=update)

    def remove(self, dataset: str, owner: str, reference_ids: list[str]) -> None:
        """Unpublish an owner's segmentations of some items.

        Raises:
            SegpipeError: if the root's storage fails.
        """
        if reference_ids:
            name, model_run = self._registry.catalog_identity(dataset, owner)
            run = self._reconciliation.run_id()
            unpublish(self._root.catalog, name, model_run, run, reference_ids=reference_ids)
            self._log_remarks()

    def _publish(self, dataset: str, owner: str, entries: list[Entry], *, update: bool) -> None:
        name, model_run = self._registry.catalog_identity(dataset, owner)
        run, now = self._reconciliation.run_id(), datetime.now(UTC)
        self._journal.name_run(entries, run)
        batch, unfit = _newest(entries)
        lost: list[str] = []
        if batch is not None:
            provenance = Provenance(name, model_run, now.date().isoformat(), run, now, update)
            receipts = self._root.catalog.publish(batch, self._root.masks, provenance)
            lost = self._lost(receipts)
        if unfit:
            withdraw(self._root.catalog, name, model_run, run, unfit)
        self._registry.delete_segmentations(dataset, owner, lost)
        with self._registry.transaction():
            self._journal.remove(entries)
        self._log_remarks()

    def _lost(self, receipts: pa.Table) -> list[str]:
        """Items whose predictions the catalog did not take after all."""
        wrong = (Outcome.FAILED.value, Outcome.IGNORED.value)
        rows = receipts.filter(pc.is_in(receipts["outcome"], pa.array(wrong))).to_pylist()
        for row in rows:
            words = row["message"] or "a run of segpipe published another one at the same moment"
            _logger.error("%s of %s is lost: %s", row["reference_id"], row["model_run"], words)
        if rows:
            self._reconciliation.doubt()
        return [row["reference_id"] for row in rows]

    def _is_undone(self, run: str) -> bool:
        """Whether something was published under a run id, and undone or overwritten since."""
        commits = history(self._root.catalog)
        mine = [place for place, one in enumerate(commits) if one.notes.get("run_id") == run]
        return bool(mine) and any(
            one.operation in ("restore", "unpublish") for one in commits[: mine[0]]
        )

    def _log_remarks(self) -> None:
        for remark in self._root.catalog.take_remarks():
            _logger.warning(remark)


def _newest(entries: list[Entry]) -> tuple[PredictionBatch | None, dict[str, str]]:
    """The last that entries say of each item: a prediction, or why there is none."""
    unfit: dict[str, str] = {}
    for one in entries:
        if one.fit is not None:
            for id in one.fit.rows["reference_id"].to_pylist():
                unfit.pop(id, None)
        unfit |= one.unfit
    batches = [one.fit for one in entries if one.fit is not None]
    if not batches:
        return None, unfit
    whole = joined(batches)
    last: dict[str, int] = {}
    for place, id in enumerate(whole.rows["reference_id"].to_pylist()):
        last[id] = place
    places = pa.array(np.sort([place for id, place in last.items() if id not in unfit]), pa.int64())
    if not len(places):
        return None, unfit
    return PredictionBatch(whole.rows.take(places), whole.segments.take(places)), unfit
