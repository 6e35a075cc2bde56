"""Materializing a view: validated tables and masks of a partition in, consolidated ones out.

A view's tables have the form of the validated ones, and ``ValidatedPredictions`` reads both.
Identity, provenance and carried columns stay the same; what depends on the pixels is computed
again. The view's summary records which pass over the manifest, and which rules, the view was made
from, so that an outdated view is detected instead of published.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from functools import partial

import pyarrow as pa

from segpipe.errors import SegpipeError, TableError
from segpipe.masks.fast_path import expecting
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.tables.schemas import segments_schema
from segpipe.validation.inputs import masks_are_there
from segpipe.validation.materialization import Progress
from segpipe.validation.partition_tables import PartitionTables
from segpipe.validation.summary import SUMMARY_FILE, VALIDATED_FILE, Summary
from segpipe.validation.validated import ValidatedPredictions
from segpipe.views.chunk import ViewChunk, consolidate_batch
from segpipe.views.consolidation import Consolidation
from segpipe.views.summary import NOTE_FILE, ViewSummary
from segpipe.workers.chunks import Workers

#: Part of every digest: increment it when the same predictions may give a different view.
CODE_VERSION = "4"
_MOST_LABELS = 10
_DEFAULT_WORKERS = Workers()


def rules_digest(consolidation: Consolidation) -> str:
    """SHA-256 (hex) of everything that decides how predictions are consolidated."""
    decides = [CODE_VERSION, consolidation.view, list(consolidation.taxonomy.items())]
    decides += [list(consolidation.metadata.items())] if consolidation.metadata else []
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

    Equal input gives byte-identical tables, whatever the number of workers. A view that is up to
    date, and whose masks all exist, is left as it is.

    Args:
        masks: holds the predictions' masks, and receives the view's.
        out: folder of the view's tables; tables of an earlier pass are replaced.
        workers: process the chunks of predictions.
        force: make the view again even if it is up to date.

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
    work = partial(consolidate_batch, consolidation=consolidation, masks=masks)
    batches = predictions.batches(rows_per_chunk)
    with ExitStack() as stack:
        stack.enter_context(expecting(len(predictions)))
        tables = _ViewTables(stack, out, predictions, consolidation)
        for chunk in workers.map(work, batches, -(-len(predictions) // rows_per_chunk)):
            tables.add(chunk)
            if progress is not None:
                progress(tables.rows, len(predictions))
        summary, note = tables.finish()
        masks.sync()
    out.write(NOTE_FILE, note.to_json().encode())
    out.write(SUMMARY_FILE, summary.to_json().encode())
    return note


def _unchanged(
    out: Folder, predictions: ValidatedPredictions, consolidation: Consolidation, masks: MaskStore
) -> ViewSummary | None:
    """The summary of a view that is up to date; None if it has to be made."""
    try:
        open_view(out, predictions, consolidation)
        if masks_are_there(out, VALIDATED_FILE, masks):
            return ViewSummary.read(out)
    except (SegpipeError, OSError, pa.ArrowException):
        pass  # lost, damaged or out of date: made again
    return None


def open_view(
    folder: Folder, predictions: ValidatedPredictions, consolidation: Consolidation
) -> ValidatedPredictions:
    """Open the materialized view of these predictions.

    Raises:
        TableError: if there is none, it is incomplete, or the validated tables or the taxonomy have
            changed since it was made.
    """
    note = ViewSummary.read(folder)
    if note.source_digest != predictions.summary.validated_digest:
        raise TableError(
            f"{folder.shown} was made of an earlier pass over the manifest: materialize the "
            f"{consolidation.view} view again"
        )
    if note.rules_digest != rules_digest(consolidation):
        raise TableError(
            f"{folder.shown} was made with another taxonomy, or other declared metadata, than "
            f"segpipe.toml has now: materialize the {consolidation.view} view again"
        )
    view = ValidatedPredictions(folder)
    if view.summary.validated_digest != note.digest:
        raise TableError(
            f"{folder.shown}: tables and {NOTE_FILE} come from different passes, as after a "
            f"crash: materialize the {consolidation.view} view again"
        )
    return view


class _ViewTables:
    """The tables of a view, open for writing; a view rejects nothing."""

    def __init__(
        self,
        stack: ExitStack,
        out: Folder,
        predictions: ValidatedPredictions,
        consolidation: Consolidation,
    ) -> None:
        self._predictions, self._consolidation = predictions, consolidation
        segments = segments_schema(consolidation.metadata)
        self._tables = PartitionTables(stack, out, predictions.schema, segments, CODE_VERSION)
        self._changed = self._given_segments = self._undecided = 0
        self._labels: set[str] = set()

    @property
    def rows(self) -> int:
        """Predictions written so far."""
        return self._tables.accepted

    def add(self, chunk: ViewChunk) -> None:
        """Append a chunk."""
        self._tables.accept(chunk.validated, chunk.segments)
        self._changed += chunk.changed
        self._given_segments += chunk.given_segments
        self._undecided += len(chunk.undecided)
        self._labels = set(sorted(self._labels.union(chunk.undecided))[:_MOST_LABELS])

    def finish(self) -> tuple[Summary, ViewSummary]:
        """Write the tables' footers, and summarize."""
        summary = self._tables.finish(self.rows)
        note = ViewSummary(
            view=self._consolidation.view,
            predictions=summary.accepted,
            changed=self._changed,
            segments=summary.segments,
            given_segments=self._given_segments,
            undecided=self._undecided,
            undecided_labels=tuple(sorted(self._labels)),
            digest=summary.validated_digest,
            source_digest=self._predictions.summary.validated_digest,
            rules_digest=rules_digest(self._consolidation),
        )
        return summary, note
