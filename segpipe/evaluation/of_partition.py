"""Evaluating the validated predictions of a partition against published ground truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.errors import (
    EvaluationError,
    SegpipeError,
    SettingsError,
    StorageError,
    TableError,
    listed,
)
from segpipe.evaluation.block import Conventions
from segpipe.evaluation.items import Item, Missing, evaluate_items
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.schemas import EVALUATED, ITEMS, NO_PREDICTION
from segpipe.evaluation.side import Side
from segpipe.manifests.partition import Partition
from segpipe.masks.decoding import decode_mask
from segpipe.masks.fast_path import expecting
from segpipe.masks.refusal import MaskRefused
from segpipe.names import shown
from segpipe.predictions.prediction import Segment
from segpipe.storage.failures import storage_errors
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.ground_truth import GroundTruth, Truth
from segpipe.validation.materialization import Progress
from segpipe.validation.summary import REJECTED_FILE, VALIDATED_FILE, Summary
from segpipe.validation.validated import PredictionBatch, ValidatedPredictions
from segpipe.workers.chunks import Workers, seldom_collected

#: The reason of items whose mask has to come back before they can be evaluated.
GONE = "its mask in the store is missing or was changed: run its partition again"
_REJECTED_AT_ONCE = 100_000


@dataclass(frozen=True)
class Evaluating:
    """How the predictions of a partition are evaluated.

    Attributes:
        truth: published ground truth.
        masks: holds the predictions' masks.
        conventions: how they are judged.
        max_pixels: limit on a mask's width times height.
    """

    truth: GroundTruth
    masks: MaskStore
    conventions: Conventions
    max_pixels: int


def check_against(model_run: str, truth: Sequence[str]) -> None:
    """Check which model runs are to be true.

    Raises:
        SettingsError: if there are none, or the model run itself is one.
    """
    if not truth:
        raise SettingsError(
            "no ground truth is named: publish it as a model run, and name it with --against, "
            'against= in Python, or in segpipe.toml as [evaluation] ground_truth = "NAME"'
        )
    if model_run in truth:
        raise SettingsError(
            f"{shown(model_run)} would be compared with itself: name another model run as the "
            "ground truth"
        )


def evaluate_partition(
    predictions: ValidatedPredictions,
    evaluating: Evaluating,
    known: Evaluation | None = None,
    *,
    workers: Workers,
    rows_per_chunk: int,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a partition's predictions, those that were rejected as missing.

    Args:
        known: an earlier evaluation by the same conventions: items of which neither ground truth
            nor prediction changed are taken from it, and no mask of them is read.

    Raises:
        EvaluationError: if none of its items has ground truth.
        TableError: if the tables do not belong together.
        CatalogError, StorageError: if the ground truth or a mask cannot be read.
    """
    kept: list[str] = []
    parts: list[Evaluation] = []
    ids: set[str] = set()

    def changed() -> Iterator[PredictionBatch]:
        before = {} if known is None else _fingerprints(known)
        for batch in predictions.batches(rows_per_chunk):
            own = batch.rows["reference_id"].to_pylist()
            ids.update(own)
            fingerprints = batch.rows["fingerprint"].to_pylist()
            true = evaluating.truth.fingerprints(own)
            pairs = zip(own, zip(true, fingerprints, strict=True), strict=True)
            anew = [before.get(id) != pair for id, pair in pairs]
            kept.extend(id for id, new in zip(own, anew, strict=True) if not new)
            if any(anew):
                yield PredictionBatch(
                    batch.rows.filter(pa.array(anew)), batch.segments.filter(pa.array(anew))
                )

    work = partial(_evaluate_batch, evaluating=evaluating)
    done = 0
    with expecting(evaluating.conventions.masks_worth * len(predictions)):
        for part in workers.map(work, changed(), -(-len(predictions) // rows_per_chunk)):
            parts.append(part)
            done += part.items.num_rows
            if progress is not None:
                progress(len(kept) + done, len(predictions))
    parts.append(_rejected(predictions, evaluating, ids))
    if known is not None:
        parts.append(known.of_items(kept))
    result = Evaluation.together(parts).in_order()
    if not pc.any(pc.equal(result.items["outcome"], EVALUATED)).as_py():
        named = listed([shown(run) for run in evaluating.truth.model_runs])
        raise EvaluationError(
            f"nothing could be evaluated: none of {result.items.num_rows} items can be compared "
            f"with published ground truth of {named}. {' '.join(result.remarks)}"
        )
    return replace(result, reused=len(kept))


def inputs_of(summary: Summary, truth_state: str) -> dict[str, str]:
    """What an evaluation is made of, beside the conventions: the same, and it is the same.

    Args:
        summary: of the validation.
        truth_state: a digest of the ground truth.
    """
    own = f"{summary.validated_digest} {summary.rejected_digest}"
    return {"predictions": own, "truth": truth_state}


def is_settled(evaluation: Evaluation) -> bool:
    """Whether the same predictions and truths give the same again: no mask was gone."""
    return not pc.any(pc.equal(evaluation.items["reason"], GONE)).as_py()


def validated_ids(folder: Folder) -> list[str]:
    """The items of a partition whose predictions were accepted; only ids are read.

    Raises:
        TableError: if the table is damaged.
        StorageError: if it cannot be read.
    """
    return _ids(folder, VALIDATED_FILE)


def rejected_ids(folder: Folder) -> list[str]:
    """The items of those rejected rows that an evaluation looks at.

    Raises:
        TableError: if the table is damaged.
        StorageError: if it cannot be read.
    """
    return list(dict.fromkeys(filter(None, _ids(folder, REJECTED_FILE, _REJECTED_AT_ONCE))))


def _ids(folder: Folder, name: str, most: int | None = None) -> list[str]:
    with storage_errors(f"reading {folder.shown}/{name}"), folder.open_input(name) as handle:
        try:
            table = pq.read_table(handle, columns=["reference_id"])
        except pa.ArrowException as error:
            raise TableError(
                f"{folder.shown}/{name} is damaged ({error}): run its partition again with --force"
            ) from None
    found: list[str] = table["reference_id"][:most].to_pylist()
    return found


def evaluate_days(
    days: Sequence[Partition], evaluate: Callable[[Partition], Evaluation]
) -> Evaluation:
    """Evaluate several days; those that cannot be are told in the notes.

    Args:
        days: the newest first: of an item on several of them, it counts.

    Raises:
        EvaluationError, TableError: if none can be evaluated.
    """
    parts: list[Evaluation] = []
    failed: list[SegpipeError] = []
    notes: list[str] = []
    for day in days:
        try:
            parts.append(evaluate(day))
        except (EvaluationError, TableError) as error:
            failed.append(error)
            notes.append(f"{day.date} is left out: {error}")
    if not parts:
        raise failed[0]
    whole = Evaluation.of_days(parts)
    return replace(whole, notes=[*notes, *whole.notes])


def _fingerprints(known: Evaluation) -> dict[str, tuple[str | None, str | None]]:
    """Those of ground truth and prediction of each item that was evaluated."""
    items = known.items.filter(pc.equal(known.items["outcome"], EVALUATED))
    columns = (items[name].to_pylist() for name in ("truth_fingerprint", "fingerprint"))
    return dict(zip(items["reference_id"].to_pylist(), zip(*columns, strict=True), strict=True))


@seldom_collected()
def _evaluate_batch(batch: PredictionBatch, evaluating: Evaluating) -> Evaluation:
    return evaluate_items(_items(batch, evaluating), evaluating.conventions, Missing.LEAVE_OUT)


def _items(batch: PredictionBatch, evaluating: Evaluating) -> Iterator[Item]:
    columns = ["reference_id", "fingerprint", "height", "width", "mask_sha256"]
    rows = batch.rows.select(columns).to_pylist()
    truths = evaluating.truth.of([row["reference_id"] for row in rows])
    for row, cell in zip(rows, batch.segments, strict=True):
        id = row["reference_id"]
        if id not in truths:  # then there is nothing to read its mask for
            yield Item(id, _NO_TRUTH, Side(None, fingerprint=row["fingerprint"]))
            continue
        fingerprint, truth = truths[id]
        yield Item(
            id, _of_truth(truth, fingerprint, evaluating), _of_row(row, cell.as_py(), evaluating)
        )


_NO_TRUTH = Side(None, problem="none is published")


def _of_truth(truth: Truth, fingerprint: str, evaluating: Evaluating) -> Side:
    segments = sorted(truth.segments, key=lambda one: one.index)
    taxonomy = evaluating.conventions.taxonomy
    lists = bool(taxonomy) and {one.label for one in segments} >= taxonomy.keys()
    size = (truth.height, truth.width)
    return _decoded(truth.png, size, segments, fingerprint, evaluating.max_pixels, lists)


def _of_row(row: Mapping[str, Any], cells: list[dict[str, Any]], evaluating: Evaluating) -> Side:
    try:
        png = evaluating.masks.read(row["mask_sha256"])
    except StorageError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        png = None
    segments = [Segment(one["label"], one["index"], json.loads(one["metadata"])) for one in cells]
    size = (row["height"], row["width"])
    return _decoded(png, size, segments, row["fingerprint"], evaluating.max_pixels)


def _decoded(
    png: bytes | None,
    size: tuple[int, int],
    segments: list[Segment],
    fingerprint: str,
    max_pixels: int,
    lists_classes: bool = False,
) -> Side:
    """A side whose mask is stored.

    Args:
        png: None if the file is gone.
        size: height and width in pixels that it was validated with.
    """
    if png is not None:
        try:
            mask = decode_mask(png, max_pixels)
        except MaskRefused:
            return Side(None, problem=GONE, fingerprint=fingerprint)
        if (mask.header.height, mask.header.width) == size:
            return Side(mask, segments, fingerprint, lists_classes)
    return Side(None, problem=GONE, fingerprint=fingerprint)


def _rejected(
    predictions: ValidatedPredictions, evaluating: Evaluating, accepted: set[str]
) -> Evaluation:
    """Items that have ground truth, and whose predictions were all rejected."""
    rows = predictions.rejected(_REJECTED_AT_ONCE).select(["reference_id", "rule", "message"])
    reasons: dict[str, str] = {}
    for row in rows.to_pylist():
        id = row["reference_id"]
        if id and id not in accepted:
            reasons.setdefault(id, f"rejected, {row['rule']}: {row['message']}")
    ids = [*reasons]
    there = [
        {
            "reference_id": id,
            "outcome": NO_PREDICTION,
            "reason": reasons[id],
            "truth_fingerprint": fingerprint,
        }
        for id, fingerprint in zip(ids, evaluating.truth.fingerprints(ids), strict=True)
        if fingerprint is not None
    ]
    none = evaluate_items([], evaluating.conventions, Missing.LEAVE_OUT)
    return replace(none, items=pa.Table.from_pylist(there, schema=ITEMS))
