"""Publishing to Nucleus with the guarantees of the catalog.

Every batch is planned before anything is sent: what is there is read and compared by content.
Chunks are sent once; where the answer leaves a doubt, the items are read back and what is missing
is sent again. Sending is safe to repeat: new predictions go out with ``update=False``, and what is
replaced is replaced by the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import CatalogError
from segpipe.publishing.nucleus.content import Content, contents, held_fingerprint
from segpipe.publishing.nucleus.delivery import Delivery
from segpipe.publishing.nucleus.ledger import Entry, Ledger
from segpipe.publishing.nucleus.parcels import Parcels
from segpipe.publishing.nucleus.service import NucleusService
from segpipe.publishing.nucleus.settings import NucleusSettings
from segpipe.publishing.outcomes import Outcome, Plan, Provenance, plan, receipts
from segpipe.publishing.verification import Mismatch, Verification
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.tables.writing import column_array
from segpipe.validation.validated import PredictionBatch

#: Items that are read one by one; for more, everything the model predicted is read at once.
_READ_ONE_BY_ONE = 50


class NucleusDestination:
    """A dataset at Nucleus, as a :class:`segpipe.publishing.destination.Destination`.

    Args:
        ledger: where it is kept what was sent.
    """

    def __init__(
        self, settings: NucleusSettings, ledger: Folder, service: NucleusService | None = None
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._service = service or NucleusService(settings)
        self._wanted: dict[str, Content] = {}

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
            DestinationError: if nobody answers for longer than ``retry_seconds``, or the service
                refuses the model or the dataset. A rerun completes what was begun.
        """
        self._wanted = {one.reference_id: one for one in contents(batch)}
        if len(self._wanted) != batch.rows.num_rows:
            raise CatalogError("a batch holds two predictions for one item; validate it first")
        ids = column_array(batch.rows, "reference_id")
        prints = column_array(batch.rows, "fingerprint")
        model = self._model(provenance, create=not dry_run)
        held = {} if model is None else self._held(model, list(self._wanted))
        planned = plan(ids, prints, _present(held), update=provenance.update)
        failures: dict[str, str] = {}
        if model is not None and not dry_run:
            ledger = Ledger(self._ledger, provenance)
            planned = _with_own(planned, ids, prints, ledger.entries())
            parcels = Parcels(self._wanted, masks, self._settings)
            delivery = Delivery(
                self._service,
                parcels,
                ledger,
                lambda some: self._held(model, some),
                model,
                self._settings.retry_seconds,
            )
            planned, failures = self._delivered(delivery, ids, planned, provenance)
        return receipts(ids, prints, planned, provenance, failures)

    def verify(self, receipts: pa.Table, provenance: Provenance, masks: int | None) -> Verification:
        """Read back what the receipts of the last batch claim.

        Segments, annotation ids and the digests in the masks' names are compared; masks are not
        fetched, since Nucleus gives back no address they could be fetched from.
        """
        claims = receipts.filter(pc.not_equal(receipts["outcome"], Outcome.FAILED.value))
        model = self._model(provenance, create=False)
        told = claims.to_pylist()
        held = {} if model is None else self._held(model, [row["reference_id"] for row in told])
        mismatches = []
        for row in told:
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
        """Reference id -> fingerprint of what is there for these items, by reading them."""
        if len(ids) <= _READ_ONE_BY_ONE:
            found = {id: self._service.item(model, id) for id in ids}
        else:
            exported = self._service.export(model)
            found = {id: exported.get(id) for id in ids}
        return {
            id: held_fingerprint(held, self._wanted.get(id))
            for id, held in found.items()
            if held is not None
        }

    def _delivered(
        self,
        delivery: Delivery,
        ids: pa.Array,
        planned: Plan,
        provenance: Provenance,
    ) -> tuple[Plan, dict[str, str]]:
        """Send what is new and what is replaced; the plan as it came out, and who failed."""
        order = ids.to_pylist()
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
                came = delivery.chunk(entries, update=outcome is Outcome.REPLACED)
                failures.update(came.failures)
                for id, fingerprint in came.others.items():
                    # Another run was faster, with another prediction: planned anew.
                    previous[id] = fingerprint
                    outcomes[id] = Outcome.REPLACED if provenance.update else Outcome.IGNORED
        return Plan(
            pa.array([str(outcomes[id]) for id in order], pa.string()),
            pa.array([previous[id] for id in order], pa.string()),
        ), failures


def _present(held: Mapping[str, str]) -> pa.Table:
    return pa.table(
        {
            "reference_id": pa.array(list(held), pa.string()),
            "fingerprint": pa.array(list(held.values()), pa.string()),
        }
    )


def _with_own(planned: Plan, ids: pa.Array, prints: pa.Array, earlier: Mapping[str, Entry]) -> Plan:
    """The plan, where what this very run sent before an interruption counts as its doing."""
    if not earlier:
        return planned
    outcomes, previous = planned.outcomes.to_pylist(), planned.previous.to_pylist()
    for place, (id, fingerprint) in enumerate(
        zip(ids.to_pylist(), prints.to_pylist(), strict=True)
    ):
        entry = earlier.get(id)
        if (
            entry is not None
            and entry.fingerprint == fingerprint
            and outcomes[place] == Outcome.UNCHANGED
        ):
            outcomes[place], previous[place] = entry.outcome, entry.previous
    return Plan(pa.array(outcomes, pa.string()), pa.array(previous, pa.string()))
