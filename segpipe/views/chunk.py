"""Consolidating a batch of validated predictions: one chunk of a view's tables, and its masks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from segpipe.errors import StorageError, TableError
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.measures import Measures, measure
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.class_pdf import ClassPdf, class_pdf_of
from segpipe.predictions.fingerprint import fingerprint_of_parts
from segpipe.predictions.metadata import canonical_form, confidence_of
from segpipe.predictions.prediction import Segment
from segpipe.storage.mask_store import MaskStore
from segpipe.tables.segments import SegmentRows
from segpipe.validation.validated import PredictionBatch
from segpipe.views.consolidation import Consolidation
from segpipe.workers.chunks import seldom_collected


@dataclass(frozen=True)
class ViewChunk:
    """The view of a batch of predictions.

    Attributes:
        validated: in the schema of the batch.
        segments: SEGMENTS and declared metadata, in the order of ``validated``.
        changed: predictions whose pixel values the view changed.
        given_segments: Segments of the batch.
        undecided: labels of Segments kept as things because nothing says thing or stuff.
    """

    validated: pa.Table
    segments: pa.Table
    changed: int
    given_segments: int
    undecided: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Described:
    """A Segment of a view, with its metadata, canonical, and as JSON."""

    label: str
    index: int
    metadata: Mapping[str, Any]
    metadata_text: str
    confidence: float | None
    class_pdf: ClassPdf | None

    @classmethod
    def of(cls, segment: Segment, taxonomy: Sequence[str]) -> _Described:
        metadata, text = canonical_form(segment.metadata)
        return cls(
            segment.label,
            segment.index,
            metadata,
            text,
            confidence_of(metadata),
            class_pdf_of(metadata, taxonomy),
        )


@seldom_collected()
def consolidate_batch(
    batch: PredictionBatch, consolidation: Consolidation, masks: MaskStore
) -> ViewChunk:
    """Make the view of a batch of predictions and store its masks.

    Raises:
        TableError: if a mask in the store is missing or damaged.
        StorageError: if storage fails.
    """
    columns = ("dataset", "model_run", "reference_id", "annotation_id", "mask_sha256", "bytes")
    given = batch.rows.select([*columns, "height", "width"]).to_pylist()
    views: list[_PredictionView] = []
    segments = SegmentRows(consolidation.metadata)
    for row, cell in zip(given, batch.segments, strict=True):
        one = _consolidate_one(row, cell.as_py(), consolidation, masks)
        segments.add(row["reference_id"], one.segments, one.measures)
        views.append(one)
    first = given[0]
    return ViewChunk(
        validated=_replaced(
            batch.rows,
            {
                "mask_path": [masks.path_of(one.mask_sha256) for one in views],
                "mask_sha256": [one.mask_sha256 for one in views],
                "fingerprint": [one.fingerprint for one in views],
                "n_segments": [len(one.segments) for one in views],
                "bytes": [one.bytes for one in views],
            },
        ),
        segments=segments.table(first["dataset"], first["model_run"]),
        changed=sum(one.changed for one in views),
        given_segments=len(batch.segments.flatten()),
        undecided=[label for one in views for label in one.undecided],
    )


@dataclass(frozen=True, slots=True)
class _PredictionView:
    """The view of one prediction."""

    mask_sha256: str
    bytes: int
    fingerprint: str
    segments: Sequence[_Described]
    measures: Measures
    changed: bool
    undecided: Sequence[str]


def _consolidate_one(
    row: Mapping[str, Any],
    cells: Sequence[Mapping[str, Any]],
    consolidation: Consolidation,
    masks: MaskStore,
) -> _PredictionView:
    pixels = _stored_pixels(row, masks)
    # Three times as fast as numpy's bincount, which widens every pixel first.
    areas = np.array(Image.fromarray(pixels).histogram(), np.int64)
    given = [Segment(one["label"], one["index"], json.loads(one["metadata"])) for one in cells]
    consolidated = consolidation.of(given, areas)
    present = np.flatnonzero(areas)
    changed = bool((consolidated.lookup[present] != present).any())
    mask_sha256, size = row["mask_sha256"], row["bytes"]
    if changed:
        pixels = consolidated.lookup.take(pixels)
        data = canonical_png(pixels)
        mask_sha256, size = masks.put(data), len(data)
    taxonomy = tuple(consolidation.taxonomy)
    segments = [_Described.of(segment, taxonomy) for segment in consolidated.segments]
    measures = measure(pixels)
    described = [[one.index, one.label, one.metadata_text] for one in segments]
    return _PredictionView(
        mask_sha256,
        size,
        fingerprint_of_parts(measures, described, row["annotation_id"]),
        segments,
        measures,
        changed,
        consolidated.undecided,
    )


def _stored_pixels(row: Mapping[str, Any], masks: MaskStore) -> NDArray[np.uint8]:
    """H x W uint8 pixels of a prediction's mask, checked to be the file that was validated."""
    sha256, shape = row["mask_sha256"], (row["height"], row["width"])
    where = f"the mask of {row['reference_id']!r}, {masks.path_of(sha256)},"
    try:
        data = masks.read(sha256)
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise TableError(
                f"{where} is not in the store: materialize the partition again"
            ) from None
        raise
    try:
        pixels = decode_mask(data, max_pixels=max(1, shape[0] * shape[1])).pixels
        intact = hashlib.sha256(data).hexdigest() == sha256 and pixels.shape == shape
    except MaskRefused:
        intact = False
    if not intact:
        raise TableError(
            f"{where} is not the file that was validated: remove it and materialize the "
            "partition again"
        )
    return pixels


def _replaced(table: pa.Table, columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, pa.array(values, field.type))
    return table
