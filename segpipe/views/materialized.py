"""Materializing a view: a partition's validated tables and masks in, consolidated ones out.

The tables have the form of the validated ones and are read by the same ``ValidatedPredictions``;
identity, provenance and carried columns stay, what depends on the pixels is computed anew. Beside
them a note says which pass over the manifest the view was made of and by which rules, so that a
view that is out of date is noticed instead of published.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from segpipe.errors import SegpipeError, StorageError, TableError
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.fast_path import FAST_PATH_MASKS, load_fast_path
from segpipe.masks.measures import Measures, measure
from segpipe.masks.refusal import MaskRefused
from segpipe.predictions.fingerprint import fingerprint_of_parts
from segpipe.predictions.metadata import canonical_form, confidence_of
from segpipe.predictions.prediction import Segment
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.tables.digest import TableDigest
from segpipe.tables.schemas import REJECTED, SEGMENTS
from segpipe.tables.segments import SegmentRows
from segpipe.tables.writing import TableWriter, table_writer
from segpipe.validation.inputs import masks_are_there
from segpipe.validation.materialization import Progress
from segpipe.validation.pass_tables import DIGEST_KEY
from segpipe.validation.summary import (
    REJECTED_FILE,
    SEGMENTS_FILE,
    SUMMARY_FILE,
    VALIDATED_FILE,
    Summary,
)
from segpipe.validation.validated import PredictionBatch, ValidatedPredictions
from segpipe.views.consolidation import Consolidation
from segpipe.workers.chunks import Workers, seldom_collected

#: Part of every digest: bump it when the same predictions may lead to another view.
CODE_VERSION = "2"
NOTE_FILE = "_view.json"
_LABELS_TOLD = 10
_DEFAULT_WORKERS = Workers()


@dataclass(frozen=True)
class ViewSummary:
    """What materializing a view came to.

    Attributes:
        view: which one.
        predictions: rows of the view's table; as many as were validated.
        changed: predictions whose pixels the view renamed or merged.
        segments: rows of the view's segment table.
        given_segments: Segments before.
        undecided: Segments kept as things because nothing says thing or stuff.
        undecided_labels: their labels, the first ten.
        digest: of the view's content.
        source_digest: of the validated tables it was made of.
        rules_digest: of what decided: the view and the taxonomy.
    """

    view: str
    predictions: int
    changed: int
    segments: int
    given_segments: int
    undecided: int
    undecided_labels: tuple[str, ...]
    digest: str
    source_digest: str
    rules_digest: str

    def to_json(self) -> str:
        """As stored beside the tables."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def read(cls, folder: Folder) -> ViewSummary:
        """The note stored beside the tables of a view.

        Raises:
            TableError: if there is none, or it is damaged.
        """
        if not folder.exists(NOTE_FILE):
            raise TableError(f"{folder.shown} holds no finished view: materialize it first")
        try:
            note = json.loads(folder.read(NOTE_FILE))
            note["undecided_labels"] = tuple(note["undecided_labels"])
            return cls(**note)
        except (ValueError, TypeError, KeyError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise TableError(
                f"{folder.shown}/{NOTE_FILE} is damaged ({error}; expected {names}): materialize "
                "the view again"
            ) from None


def rules_digest(consolidation: Consolidation) -> str:
    """SHA-256 (hex) of what decides how predictions are consolidated."""
    decides = [CODE_VERSION, consolidation.view, list(consolidation.taxonomy.items())]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def materialize_view(
    predictions: ValidatedPredictions,
    consolidation: Consolidation,
    masks: MaskStore,
    out: Folder,
    *,
    workers: Workers = _DEFAULT_WORKERS,
    rows_per_chunk: int = 256,
    force: bool = False,
    progress: Progress | None = None,
) -> ViewSummary:
    """Write the masks and tables of a view of validated predictions.

    Equal input gives byte-identical tables, whatever the number of workers. A view that was made of
    these predictions by these rules, and whose masks are all there, is left as it is.

    Args:
        masks: holds the predictions' masks, and gets the view's.
        out: folder of the view's tables; what an earlier pass left there is replaced.
        workers: who works on the masks.
        force: make the view anew even so.

    Raises:
        TableError: if the tables do not belong together, or a mask in the store is missing or
            damaged; the view of an earlier pass is then untouched.
        StorageError: if storage fails.
    """
    unchanged = None if force else _unchanged(out, predictions, consolidation, masks)
    if unchanged is not None:
        if progress is not None:
            progress(unchanged.predictions, unchanged.predictions)
        return unchanged
    if len(predictions) >= FAST_PATH_MASKS:
        load_fast_path()
    work = partial(_consolidate, consolidation=consolidation, masks=masks)
    batches = predictions.batches(rows_per_chunk)
    schema = predictions.schema
    with ExitStack() as stack:
        tables = _Tables(
            stack.enter_context(table_writer(out, VALIDATED_FILE, schema)),
            stack.enter_context(table_writer(out, SEGMENTS_FILE, SEGMENTS)),
            stack.enter_context(table_writer(out, REJECTED_FILE, REJECTED)),
        )
        for chunk in workers.map(work, batches, -(-len(predictions) // rows_per_chunk)):
            tables.add(chunk)
            if progress is not None:
                progress(tables.validated.rows, len(predictions))
        summary, note = tables.finish(predictions, consolidation)
        masks.folder.sync()
    out.write(NOTE_FILE, note.to_json().encode())
    out.write(SUMMARY_FILE, summary.to_json().encode())
    return note


def _unchanged(
    out: Folder, predictions: ValidatedPredictions, consolidation: Consolidation, masks: MaskStore
) -> ViewSummary | None:
    """The summary of a view that need not be made again."""
    try:
        open_view(out, predictions, consolidation)
        if masks_are_there(out, VALIDATED_FILE, masks):
            return ViewSummary.read(out)
    except (SegpipeError, OSError, pa.ArrowException):
        pass  # lost, damaged or out of date: made anew
    return None


def open_view(
    folder: Folder, predictions: ValidatedPredictions, consolidation: Consolidation
) -> ValidatedPredictions:
    """The materialized view of these predictions.

    Raises:
        TableError: if there is none, it is incomplete, or it was made of other tables or by
            another taxonomy than there are now.
    """
    note = ViewSummary.read(folder)
    if note.source_digest != predictions.summary.validated_digest:
        raise TableError(
            f"{folder.shown} was made of an earlier pass over the manifest: materialize the "
            f"{consolidation.view} view again"
        )
    if note.rules_digest != rules_digest(consolidation):
        raise TableError(
            f"{folder.shown} was made with another taxonomy than the policy has now: materialize "
            f"the {consolidation.view} view again"
        )
    view = ValidatedPredictions(folder)
    if view.summary.validated_digest != note.digest:
        raise TableError(
            f"{folder.shown}: tables and {NOTE_FILE} come from different passes, as after a "
            f"crash: materialize the {consolidation.view} view again"
        )
    return view


@dataclass(frozen=True)
class _Chunk:
    validated: pa.Table
    segments: pa.Table
    changed: int
    given_segments: int
    undecided: Sequence[str]


class _Tables:
    """The three tables of a view being written; nothing is ever rejected from one."""

    def __init__(
        self, validated: TableWriter, segments: TableWriter, rejected: TableWriter
    ) -> None:
        self.validated, self._segments, self._rejected = validated, segments, rejected
        self._digest = TableDigest(CODE_VERSION)
        self._changed = self._given_segments = self._undecided = 0
        self._labels: set[str] = set()

    def add(self, chunk: _Chunk) -> None:
        """Append a chunk."""
        self.validated.write(chunk.validated)
        self._segments.write(chunk.segments)
        self._digest.add(chunk.validated)
        self._changed += chunk.changed
        self._given_segments += chunk.given_segments
        self._undecided += len(chunk.undecided)
        self._labels = set(sorted(self._labels.union(chunk.undecided))[:_LABELS_TOLD])

    def finish(
        self, predictions: ValidatedPredictions, consolidation: Consolidation
    ) -> tuple[Summary, ViewSummary]:
        """Sum up, in the tables' footers as well."""
        digest = self._digest.hexdigest()
        nothing = TableDigest(CODE_VERSION).hexdigest()
        self.validated.add_metadata(DIGEST_KEY, digest)
        self._segments.add_metadata(DIGEST_KEY, digest)
        self._rejected.add_metadata(DIGEST_KEY, nothing)
        summary = Summary(
            rows=self.validated.rows,
            accepted=self.validated.rows,
            rejected=0,
            repeated=0,
            segments=self._segments.rows,
            taxonomy_size=0,
            findings={},
            validated_digest=digest,
            rejected_digest=nothing,
        )
        note = ViewSummary(
            view=consolidation.view,
            predictions=self.validated.rows,
            changed=self._changed,
            segments=self._segments.rows,
            given_segments=self._given_segments,
            undecided=self._undecided,
            undecided_labels=tuple(sorted(self._labels)),
            digest=digest,
            source_digest=predictions.summary.validated_digest,
            rules_digest=rules_digest(consolidation),
        )
        return summary, note


@dataclass(frozen=True, slots=True)
class _Described:
    """A Segment of a view, with its metadata as canonical JSON."""

    label: str
    index: int
    metadata_text: str
    confidence: float | None

    @classmethod
    def of(cls, segment: Segment) -> _Described:
        metadata, text = canonical_form(segment.metadata)
        return cls(segment.label, segment.index, text, confidence_of(metadata))


@seldom_collected()
def _consolidate(batch: PredictionBatch, consolidation: Consolidation, masks: MaskStore) -> _Chunk:
    """A batch's view, its masks stored."""
    whose = ("dataset", "model_run", "reference_id", "annotation_id", "mask_sha256", "bytes")
    given = batch.rows.select([*whose, "height", "width"]).to_pylist()
    made: list[_Made] = []
    segments = SegmentRows()
    for row, cell in zip(given, batch.segments, strict=True):
        one = _consolidate_one(row, cell.as_py(), consolidation, masks)
        segments.add(row["reference_id"], one.segments, one.measures)
        made.append(one)
    first = given[0]
    return _Chunk(
        validated=_replaced(
            batch.rows,
            {
                "mask_path": [masks.path_of(one.mask_sha256) for one in made],
                "mask_sha256": [one.mask_sha256 for one in made],
                "fingerprint": [one.fingerprint for one in made],
                "n_segments": [len(one.segments) for one in made],
                "bytes": [one.bytes for one in made],
            },
        ),
        segments=segments.table(first["dataset"], first["model_run"]),
        changed=sum(one.changed for one in made),
        given_segments=len(batch.segments.flatten()),
        undecided=[label for one in made for label in one.undecided],
    )


@dataclass(frozen=True, slots=True)
class _Made:
    """One prediction's view."""

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
) -> _Made:
    pixels = _stored_pixels(row, masks)
    # A third of the time of numpy's bincount, which widens every pixel first.
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
    segments = [_Described.of(segment) for segment in consolidated.segments]
    measures = measure(pixels)
    described = [[one.index, one.label, one.metadata_text] for one in segments]
    return _Made(
        mask_sha256,
        size,
        fingerprint_of_parts(measures, described, row["annotation_id"]),
        segments,
        measures,
        changed,
        consolidated.undecided,
    )


def _stored_pixels(row: Mapping[str, Any], masks: MaskStore) -> NDArray[np.uint8]:
    """H x W uint8 of a prediction's mask, exactly as it was validated."""
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
