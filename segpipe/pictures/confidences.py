"""The predictions of a partition with the least sure segments."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.pictures.label_colours import is_plain
from segpipe.storage.files import Folder
from segpipe.validation.summary import SEGMENTS_FILE

_COLUMNS = ["reference_id", "label", "index", "confidence", "entropy"]


@dataclass(frozen=True, slots=True)
class Unsure:
    """A prediction, and its least sure segment.

    Attributes:
        confidence: 0 to 1; None where it has none.
        entropy: of its class PDF, in nats; None where it has none.
    """

    reference_id: str
    label: str
    index: int
    confidence: float | None
    entropy: float | None = None

    @property
    def words(self) -> str:
        """How sure it is: the entropy, else the confidence."""
        return f"{self.confidence:.2f}" if self.entropy is None else f"{self.entropy:.2f} nats"

    @property
    def sureness(self) -> float:
        """What orders segments, as ``_sureness`` does for columns."""
        return -1 - self.entropy if self.entropy is not None else self.confidence or 0.0


def least_sure(tables: Folder, most: int) -> list[Unsure]:
    """The predictions with the least sure segments, the least sure first.

    Segments with a class PDF come first, by descending entropy; the others, by ascending
    confidence, take the places that are left. Segments with neither, with a confidence outside 0 to
    1 and no PDF, and plain ones (``background``, ``void``) are skipped. The segment table is
    streamed; no mask is read.

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
                if before is None or one.sureness < before.sureness:
                    lowest[one.reference_id] = one
            lowest = {one.reference_id: one for one in _ranked(lowest)[:most]}
    return _ranked(lowest)


def _ranked(lowest: dict[str, Unsure]) -> list[Unsure]:
    return sorted(lowest.values(), key=lambda one: (one.sureness, one.reference_id, one.index))


def _sureness(rows: pa.Table) -> pa.ChunkedArray:
    """Confidences from 0 to 1, or -1 minus the entropy; null where there is neither.

    They are not comparable, so every entropy comes before every confidence.
    """
    confidence = rows["confidence"]
    within = pc.and_(pc.greater_equal(confidence, 0.0), pc.less_equal(confidence, 1.0))
    usable = pc.if_else(within, confidence, pa.scalar(None, pa.float64()))
    return pc.coalesce(pc.subtract(-1.0, rows["entropy"]), usable)


def _candidates(rows: pa.Table, lowest: dict[str, Unsure], most: int) -> list[Unsure]:
    """The least sure segments of the batch, of predictions that may be among the lowest."""
    rows = rows.append_column("sureness", _sureness(rows))
    kept = pc.is_valid(rows["sureness"])
    if len(lowest) == most:
        bound = max(one.sureness for one in lowest.values())
        kept = pc.and_(kept, pc.less_equal(rows["sureness"], bound))
    labels = pc.unique(rows["label"])
    plain = pa.array([label for label in labels.to_pylist() if is_plain(label)], pa.string())
    kept = pc.and_(kept, pc.invert(pc.is_in(rows["label"], value_set=plain)))
    rows = rows.filter(pc.fill_null(kept, False))
    least = rows.group_by("reference_id").aggregate([("sureness", "min")])
    least = least.sort_by([("sureness_min", "ascending"), ("reference_id", "ascending")])
    rows = rows.filter(pc.is_in(rows["reference_id"], value_set=least["reference_id"][:most]))
    return [Unsure(*row.values()) for row in rows.select(_COLUMNS).to_pylist()]
