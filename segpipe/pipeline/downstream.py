"""For assets of one's own that depend on published predictions."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from segpipe.pipeline.partitions import partition_from_key
from segpipe.root import Root
from segpipe.settings import RootLike, Settings


def published_table(
    root: RootLike, partition_key: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """What is published of a partition, as an Arrow table, a row per prediction.

    Args:
        partition_key: Dagster's, as ``context.partition_key``.
        columns: names to read; all if None.

    Raises:
        SettingsError: if the key is none of segpipe's partitions.
        CatalogError: if the catalog cannot be read, or a column does not exist.
    """
    partition = partition_from_key(partition_key)
    catalog = Root(Settings.of(root)).catalog
    return catalog.predictions(partition.model_run, date=partition.date, columns=columns)
