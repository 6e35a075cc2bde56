"""What a destination holds of a partition, by the receipts of publishing it."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.publishing.outcomes import Outcome

_STANDS = pa.array([Outcome.IGNORED.value, Outcome.FAILED.value])
_BYTES = hashlib.sha256().digest_size


class PublishedContent:
    """Gathers receipts, a batch at a time; nothing of them is held.

    Attributes:
        predictions: how many the destination holds.
    """

    def __init__(self) -> None:
        self.predictions = 0
        self._sum = 0

    def add(self, receipts: pa.Table) -> None:
        """Take a batch's: where a prediction was left alone, what was there before counts."""
        stands = pc.is_in(receipts["outcome"], value_set=_STANDS)
        there = pc.if_else(stands, receipts["previous_fingerprint"], receipts["fingerprint"])
        ids = receipts["reference_id"].to_pylist()
        for pair in zip(ids, there.to_pylist(), strict=True):
            if pair[1] is not None:
                self.predictions += 1
                self._sum += int.from_bytes(hashlib.sha256(repr(pair).encode()).digest())

    @property
    def digest(self) -> str:
        """Hex digest of reference ids and fingerprints: equal where the same is published,
        whichever runs brought it there, in whatever order: a sum has none."""
        return f"{self._sum % 2 ** (8 * _BYTES):0{2 * _BYTES}x}"
