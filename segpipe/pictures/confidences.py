"""The predictions of a partition with the least confident segments."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.pictures.label_colours import is_plain
from segpipe.storage.files import Folder
from segpipe.validation.summary import SEGMENTS_FILE

_COLUMNS = ["reference_id", "label", "index", "confidence"]


@dataclass(frozen=True, slots=True)
class Unsure:
    """A prediction, and its segment with the lowest confidence, 0 to 1."""

    reference_id: str
    label: str
    index: int
    confidence: float


def least_sure(tables: Folder, most: int) -> list[Unsure]:
    """The predictions with the least confident segments, by ascending confidence.

    Segments without a confidence from 0 to 1 and plain ones (``background``, ``void``) are skipped.
    The segment table is streamed; no mask is read.

    Args:
        tables: folder of the partition's tables.
        most: number of predictions.

    Raises:
        StorageError: if the table cannot be read.
    """
    lowest: dict[str, Unsure] = {}
    with tables.open_input(SEGMENTS_FILE) as handle:
        for batch in pq.ParquetFile(handle).iter_batches(columns=_COLUMNS):
            for one in _candidates(pa.Table.from_batches([batch]), lowest, most):
                before = lowest.get(one.reference_id)
                if before is None or one.confidence < before.confidence:
                    lowest[one.reference_id] = one
            lowest = {one.reference_id: one for one in _ranked(lowest)[:most]}
    return _ranked(lowest)


def _ranked(lowest: dict[str, Unsure]) -> list[Unsure]:
    return sorted(lowest.values(), key=lambda one: (one.confidence, one.reference_id, one.index))


def _candidates(rows: pa.Table, lowest: dict[str, Unsure], most: int) -> list[Unsure]:
    """The least confident segments of the batch, of predictions that may be among the lowest."""
    confidence = rows["confidence"]
    kept = pc.and_(pc.greater_equal(confidence, 0.0), pc.less_equal(confidence, 1.0))
    if len(lowest) == most:
        kept = pc.and_(kept, pc.less_equal(confidence, max(u.confidence for u in lowest.values())))
    labels = pc.unique(rows["label"])
    plain = pa.array([label for label in labels.to_pylist() if is_plain(label)], pa.string())
    kept = pc.and_(kept, pc.invert(pc.is_in(rows["label"], value_set=plain)))
    rows = rows.filter(pc.fill_null(kept, False))
    least = rows.group_by("reference_id").aggregate([("confidence", "min")])
    least = least.sort_by([("confidence_min", "ascending"), ("reference_id", "ascending")])
    rows = rows.filter(pc.is_in(rows["reference_id"], value_set=least["reference_id"][:most]))
    return [Unsure(*row.values()) for row in rows.select(_COLUMNS).to_pylist()]
