"""What of a partition is published, by its receipts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.publishing.outcomes import Outcome
from segpipe.storage import Folder, storage_errors

_STANDS = [Outcome.IGNORED.value, Outcome.FAILED.value]


@dataclass(frozen=True)
class Published:
    """What a destination holds of a partition after it was published there.

    Attributes:
        predictions: how many.
        digest: SHA-256 (hex) of their reference ids and fingerprints: equal where the same is
            published, whichever runs brought it there and in whatever order.
    """

    predictions: int
    digest: str

    @classmethod
    def read(cls, folder: Folder, name: str) -> Published:
        """By the receipts of one run: where a prediction was left alone, what was there before.

        Raises:
            StorageError: if the receipts cannot be read.
        """
        columns = ["reference_id", "outcome", "fingerprint", "previous_fingerprint"]
        with (
            storage_errors(f"reading {folder.shown}/{name}"),
            folder.open_input(name) as handle,
        ):
            receipts = pq.read_table(handle, columns=columns)
        stands = pc.is_in(receipts["outcome"], value_set=pa.array(_STANDS))
        there = pc.if_else(stands, receipts["previous_fingerprint"], receipts["fingerprint"])
        pairs = pa.table([receipts["reference_id"], there], ["reference_id", "fingerprint"])
        pairs = pairs.filter(pc.is_valid(pairs["fingerprint"])).sort_by("reference_id")
        digest = hashlib.sha256()
        for batch in pairs.to_batches(10_000):
            for pair in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                digest.update(repr(pair).encode())
        return cls(pairs.num_rows, digest.hexdigest())
