"""The protocol of a place predictions are published to."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.verification import Verification
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.validated import PredictionBatch


class Destination(Protocol):
    """A place predictions are published to.

    Publishing is idempotent by content: whatever is interrupted, repeated or run beside another
    publisher, a destination ends with exactly one prediction per item, and a batch without
    ``update`` never changes what is there.
    """

    def publish(
        self,
        batch: PredictionBatch,
        masks: MaskStore,
        provenance: Provenance,
        *,
        dry_run: bool = False,
    ) -> pa.Table:
        """Publish a batch of one model run, of distinct items.

        Args:
            masks: where the batch's mask files are.
            dry_run: say what would happen and touch nothing.

        Returns:
            Receipts, one per prediction.

        Raises:
            CatalogError, DestinationError: when the destination as a whole cannot be used.
            StorageError: when storage fails; a rerun completes what was begun.
        """
        ...

    def verify(self, receipts: pa.Table, provenance: Provenance, masks: int | None) -> Verification:
        """Read back what the receipts of the last batch claim.

        Args:
            masks: how many masks to decode; all where None. A destination that does not give masks
                back decodes none.
        """
        ...
