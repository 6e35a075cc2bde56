"""What a destination holds of a partition, according to the receipts."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.publishing.outcomes import Outcome

# No array: the first one that is made of Python's values imports pandas.
_LEFT_ALONE = (Outcome.IGNORED.value, Outcome.FAILED.value)
_BYTES = hashlib.sha256().digest_size


class PublishedContent:
    """A digest of receipts, added a batch at a time; memory is constant.

    Attributes:
        predictions: number of predictions the destination holds.
    """

    def __init__(self) -> None:
        self.predictions = 0
        self._sum = 0

    def add(self, receipts: pa.Table) -> None:
        """Add a batch's receipts; for ignored and failed ones the previous prediction counts."""
        outcomes = receipts["outcome"]
        left_alone = pc.or_(*(pc.equal(outcomes, one) for one in _LEFT_ALONE))
        held = pc.if_else(left_alone, receipts["previous_fingerprint"], receipts["fingerprint"])
        ids = receipts["reference_id"].to_pylist()
        for pair in zip(ids, held.to_pylist(), strict=True):
            if pair[1] is not None:
                self.predictions += 1
                self._sum += int.from_bytes(hashlib.sha256(repr(pair).encode()).digest())

    @property
    def digest(self) -> str:
        """Digest (hex) of reference ids and fingerprints.

        Equal if the same predictions are published, by whichever runs and in whatever order: it is
        a sum of hashes.
        """
        return f"{self._sum % 2 ** (8 * _BYTES):0{2 * _BYTES}x}"
