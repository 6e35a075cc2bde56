"""The protocol of destinations that predictions are published to."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import pyarrow as pa

from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.verification import Verification
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.validated import PredictionBatch


class Destination(Protocol):
    """A destination that predictions are published to.

    Publishing is idempotent by content. Even if it is interrupted, repeated, or run concurrently
    with another publisher, the destination ends up with exactly one prediction per item, and a
    batch without ``update`` never changes a prediction that is already there.
    """

    def publish(
        self,
        batch: PredictionBatch,
        masks: MaskStore,
        provenance: Provenance,
        *,
        dry_run: bool = False,
    ) -> pa.Table:
        """Publish a batch of a model run's predictions, one per item.

        Args:
            masks: where the batch's mask files are.
            dry_run: only determine what would happen.

        Returns:
            RECEIPTS, one per prediction.

        Raises:
            CatalogError, DestinationError: if the batch has two predictions for one item, or the
                destination as a whole cannot be used.
            StorageError: if storage fails; a rerun completes the batch.
        """
        ...

    def verify(self, receipts: pa.Table, provenance: Provenance, masks: int | None) -> Verification:
        """Read the last batch back and compare it with its receipts.

        Args:
            receipts: RECEIPTS, as :meth:`publish` returned them.
            masks: how many masks to decode; all if None. A destination that does not return masks
                decodes none.

        Raises:
            CatalogError, DestinationError, StorageError: if it cannot be read.
        """
        ...


@runtime_checkable
class Healing(Protocol):
    """A destination that keeps files of its own, which may be found damaged."""

    def mend(self, provenance: Provenance) -> None:
        """Look closely at what it holds of a partition, before the partition is published.

        Raises:
            CatalogError, DestinationError, StorageError: if it cannot be read or mended.
        """
        ...

    def take_remarks(self) -> list[str]:
        """What it did besides since it was asked last, a sentence each."""
        ...
