"""Publishing to Nucleus with the same guarantees as to the catalog.

Every batch is planned before anything is sent: the dataset's predictions are read and compared by
content. Chunks are sent once. If an answer leaves it open what was stored, the items are read back
and missing ones are sent again. Sending is safe to repeat: new predictions are sent with
``update=False``, and a replacement replaces itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.publishing.nucleus.content import Content, contents, held_fingerprint
from segpipe.publishing.nucleus.delivery import Delivery
from segpipe.publishing.nucleus.ledger import Entry, Ledger
from segpipe.publishing.nucleus.outgoing import OutgoingPredictions
from segpipe.publishing.nucleus.service import NucleusService
from segpipe.publishing.nucleus.settings import NucleusSettings
from segpipe.publishing.outcomes import (
    Outcome,
    Plan,
    Provenance,
    check_distinct_items,
    plan,
    receipts,
)
from segpipe.publishing.verification import Mismatch, Verification
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.validated import PredictionBatch

# Up to this many items are read one by one; for more, all of the model's are exported at once.
_READ_ONE_BY_ONE = 50


class NucleusDestination:
    """A dataset at Nucleus, as a :class:`segpipe.publishing.destination.Destination`.

    Args:
        ledger: folder of the ledgers that record what was sent.
        service: the dataset's API; made from the settings if None.
    """

    def __init__(
        self, settings: NucleusSettings, ledger: Folder, service: NucleusService | None = None
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._service = service or NucleusService(settings)
        self._wanted: dict[str, Content] = {}
        self._masks: MaskStore | None = None

    def __repr__(self) -> str:
        return f"NucleusDestination({self._settings.dataset_id!r})"

    def publish(
        self,
        batch: PredictionBatch,
        masks: MaskStore,
        provenance: Provenance,
        *,
        dry_run: bool = False,
    ) -> pa.Table:
        """See :meth:`segpipe.publishing.destination.Destination.publish`.

        Raises:
            CatalogError: if the batch has two predictions for one item.
            DestinationError: if the service does not answer for ``retry_seconds``, or refuses the
                model or the dataset. A rerun completes the batch.
        """
        check_distinct_items(batch.rows)
        self._wanted = {one.reference_id: one for one in contents(batch)}
        self._masks = masks
        model = self._model(provenance, create=not dry_run)
        held = {} if model is None else self._held(model, list(self._wanted))
        planned = plan(batch.rows, _present(held), update=provenance.update)
        failures: dict[str, str] = {}
        if model is not None and not dry_run:
            ledger = Ledger(self._ledger, provenance)
            planned = planned.resumed(_written(ledger.entries()))
            outgoing = OutgoingPredictions(self._wanted, masks, self._settings)
            delivery = Delivery(
                self._service,
                outgoing,
                ledger,
                lambda some: self._held(model, some),
                model,
                self._settings.retry_seconds,
            )
            planned, failures = self._delivered(delivery, planned, update=provenance.update)
        return receipts(planned, provenance, failures)

    def verify(self, receipts: pa.Table, provenance: Provenance, masks: int | None) -> Verification:
        """See :meth:`segpipe.publishing.destination.Destination.verify`.

        Segments, annotation ids and the digests in the masks' file names are compared. Masks are
        not decoded, since Nucleus returns no address they could be fetched from.
        """
        claims = receipts.filter(pc.not_equal(receipts["outcome"], Outcome.FAILED.value))
        model = self._model(provenance, create=False)
        claimed = claims.to_pylist()
        held = {} if model is None else self._held(model, [row["reference_id"] for row in claimed])
        mismatches = []
        for row in claimed:
            expected = row["previous_fingerprint" if row["outcome"] == "ignored" else "fingerprint"]
            found = held.get(row["reference_id"])
            if found != expected:
                words = "holds nothing for it" if found is None else "holds another prediction"
                words = f"the receipt says {row['outcome']}, but Nucleus {words}"
                mismatches.append(Mismatch(row["reference_id"], words))
        return Verification(receipts.num_rows, 0, tuple(mismatches))

    def _model(self, provenance: Provenance, *, create: bool) -> str | None:
        reference = self._settings.model_reference(provenance.model_run)
        found = self._service.find_model(reference)
        if found is None and create:
            self._service.check_dataset()
            title = self._settings.model_title(provenance.model_run)
            return self._service.create_model(reference, title)
        return found

    def _held(self, model: str, ids: Sequence[str]) -> dict[str, str]:
        """Reference id -> fingerprint of the prediction at Nucleus, for these items if any."""
        if len(ids) <= _READ_ONE_BY_ONE:
            found = {id: self._service.item(model, id) for id in ids}
        else:
            exported = self._service.export(model)
            found = {id: exported.get(id) for id in ids}
        return {
            id: held_fingerprint(held, self._wanted.get(id), self._masks)
            for id, held in found.items()
            if held is not None
        }

    def _delivered(
        self, delivery: Delivery, planned: Plan, *, update: bool
    ) -> tuple[Plan, dict[str, str]]:
        """Send what is new and what is replaced.

        Returns:
            The plan as carried out, and reference id -> the service's message, of what failed.
        """
        order = planned.reference_ids.to_pylist()
        outcomes = dict(zip(order, planned.outcomes.to_pylist(), strict=True))
        previous = dict(zip(order, planned.previous.to_pylist(), strict=True))
        failures: dict[str, str] = {}
        for outcome in (Outcome.INSERTED, Outcome.REPLACED):
            waiting = [id for id in order if outcomes[id] == outcome]
            for start in range(0, len(waiting), self._settings.masks_per_call):
                chunk = waiting[start : start + self._settings.masks_per_call]
                entries = {
                    id: Entry(outcome.value, self._wanted[id].fingerprint, previous[id])
                    for id in chunk
                }
                result = delivery.chunk(entries, update=outcome is Outcome.REPLACED)
                failures.update(result.failures)
                for id, fingerprint in result.others.items():
                    # Another run sent another prediction first: plan this item again.
                    previous[id] = fingerprint
                    outcomes[id] = Outcome.REPLACED if update else Outcome.IGNORED
        carried_out = replace(
            planned,
            outcomes=pa.array([str(outcomes[id]) for id in order], pa.string()),
            previous=pa.array([previous[id] for id in order], pa.string()),
        )
        return carried_out, failures


def _present(held: Mapping[str, str]) -> pa.Table:
    """``reference_id`` and ``fingerprint`` as :func:`segpipe.publishing.outcomes.plan` takes it."""
    return pa.table(
        {
            "reference_id": pa.array(list(held), pa.string()),
            "fingerprint": pa.array(list(held.values()), pa.string()),
        }
    )


def _written(entries: Mapping[str, Entry]) -> pa.Table:
    """What a run sent before it was interrupted, as :meth:`Plan.resumed` takes it."""
    return pa.table(
        {
            "reference_id": pa.array(list(entries), pa.string()),
            "fingerprint": pa.array([one.fingerprint for one in entries.values()], pa.string()),
            "previous_fingerprint": pa.array(
                [one.previous for one in entries.values()], pa.string()
            ),
        }
    )
