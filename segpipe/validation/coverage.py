"""Coverage: how many of a dataset's items have an accepted prediction in a partition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from segpipe.manifests.items import ItemList, reference_id_hashes
from segpipe.storage.files import Folder
from segpipe.validation.summary import VALIDATED_FILE


@dataclass(frozen=True)
class Coverage:
    """How much of a list of items is predicted.

    Attributes:
        items: items of the list.
        predicted: those of them that have an accepted prediction.
    """

    items: int
    predicted: int

    @property
    def share(self) -> float:
        """Share of the items that are predicted, 0 to 1; 1 for an empty list."""
        return self.predicted / self.items if self.items else 1.0


def coverage_of(tables: Folder, items: ItemList) -> Coverage:
    """Compare a partition's accepted predictions with a list of items.

    Memory: 8 bytes per prediction.

    Args:
        tables: folder of the partition's tables.
    """
    found = [np.zeros(0, np.uint64)]
    with tables.open_input(VALIDATED_FILE) as handle:
        for batch in pq.ParquetFile(handle).iter_batches(columns=["reference_id"]):
            found.append(reference_id_hashes(batch.column(0)))
    return Coverage(len(items), items.count_of(np.concatenate(found)))
