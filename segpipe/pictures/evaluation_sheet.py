"""Contact sheets of an evaluation: prediction, ground truth, and where they differ."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from segpipe.errors import SegpipeError, StorageError
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.schemas import EVALUATED, FP, PREDICTION
from segpipe.masks.decoding import decode_mask
from segpipe.masks.fast_path import expecting
from segpipe.masks.refusal import MaskRefused
from segpipe.pictures.blending import pixels_by_value
from segpipe.pictures.contact_sheet import Cell, draw_sheet
from segpipe.pictures.images import image_of
from segpipe.pictures.label_colours import is_plain
from segpipe.pictures.palette import Colour
from segpipe.predictions.prediction import Segment
from segpipe.settings import Settings
from segpipe.validation.ground_truth import GroundTruth, Truth
from segpipe.validation.rules.labels import is_ignored
from segpipe.validation.validated import ValidatedPredictions

#: What a pixel of the difference is, by its value, with its colour: none that a class has, as the
#: legend names both.
DIFFERENCES: Mapping[str, Colour] = {
    "difference: right": (225.0, 225.0, 220.0),
    "difference: missed": (225.0, 15.0, 30.0),
    "difference: hallucinated": (20.0, 40.0, 255.0),
    "difference: confused": (255.0, 0.0, 220.0),
    "difference: void, not judged": (60.0, 60.0, 60.0),
}
_RIGHT, _MISSED, _HALLUCINATED, _CONFUSED, _VOID = range(len(DIFFERENCES))
_ITEMS = 4
_ROWS_AT_ONCE = 500
# Of a row no more: what it carries may have no value in Python.
_COLUMNS_READ = ("reference_id", "mask_sha256", "image_url", "manifest")


@dataclass(frozen=True)
class EvaluationSheets:
    """JPEGs of some items of an evaluation, three pictures an item.

    Attributes:
        worst: the items with the lowest mIoU; None if all are perfect.
        confident: the most confident predicted segments that match none, outlined; None if there
            are none with a confidence.
        problems: why items are not shown, a sentence each.
    """

    worst: bytes | None
    confident: bytes | None
    problems: Sequence[str]


@dataclass(frozen=True)
class _Wrong:
    """A predicted segment that matches none, and by how much it is believed in."""

    reference_id: str
    index: int
    label: str
    confidence: float


def evaluation_sheets(
    evaluation: Evaluation,
    predictions: ValidatedPredictions,
    truth: GroundTruth,
    settings: Settings,
    colours: Mapping[str, Colour],
) -> EvaluationSheets:
    """Draw the sheets; only the masks that are shown are read.

    Args:
        predictions: that were evaluated.
        truth: that they were compared with.
        colours: label -> colour.
    """
    worst, errors = _worst(evaluation), _confident(evaluation)
    ids = list(dict.fromkeys([*worst, *(one.reference_id for one in errors)]))
    problems: list[str] = []
    with expecting(2 * len(ids)):
        found = dict(_rows(predictions, ids, truth, settings, problems))
    rows = [
        [replace(found[id][0], title=f"mIoU {100 * value:.1f} %: {id}"), *found[id][1:]]
        for id, value in worst.items()
        if id in found
    ]
    marked = [
        [
            replace(
                found[one.reference_id][0],
                title=f"{100 * one.confidence:.0f} % {one.label}: {one.reference_id}",
                outlined=one.index,
            ),
            *found[one.reference_id][1:],
        ]
        for one in errors
        if one.reference_id in found
    ]
    colours = {**colours, **DIFFERENCES}
    return EvaluationSheets(_sheet(rows, colours), _sheet(marked, colours), problems)


def _sheet(rows: Sequence[Sequence[Cell]], colours: Mapping[str, Colour]) -> bytes | None:
    cells = [cell for row in rows for cell in row]
    return draw_sheet(cells, colours) if cells else None


def _worst(evaluation: Evaluation) -> dict[str, float]:
    """Reference id -> mIoU of the items with the lowest ones."""
    items = evaluation.items
    judged = items.filter(
        pc.and_kleene(pc.equal(items["outcome"], EVALUATED), pc.less(items["mIoU"], 1.0))
    )
    first = judged.sort_by([("mIoU", "ascending"), ("reference_id", "ascending")]).slice(0, _ITEMS)
    return dict(zip(first["reference_id"].to_pylist(), first["mIoU"].to_pylist(), strict=True))


def _confident(evaluation: Evaluation) -> list[_Wrong]:
    """The most confident predicted segments that match none, one an item."""
    segments = evaluation.segments
    wrong = pc.and_(pc.equal(segments["side"], PREDICTION), pc.equal(segments["outcome"], FP))
    told = pc.is_finite(pc.fill_null(segments["confidence"], float("nan")))
    ordered = segments.filter(pc.and_(wrong, told)).sort_by(
        [("confidence", "descending"), ("reference_id", "ascending"), ("index", "ascending")]
    )
    columns = ["reference_id", "index", "label", "confidence"]
    found: dict[str, _Wrong] = {}
    for one in ordered.select(columns).slice(0, 100 * _ITEMS).to_pylist():
        found.setdefault(one["reference_id"], _Wrong(**one))
    return [*found.values()][:_ITEMS]


def _rows(
    predictions: ValidatedPredictions,
    ids: Sequence[str],
    truth: GroundTruth,
    settings: Settings,
    problems: list[str],
) -> Iterator[tuple[str, list[Cell]]]:
    """Reference id and pictures of items: prediction, ground truth, difference.

    Args:
        problems: filled with why items are left out.
    """
    truths = truth.of(ids)
    for batch in predictions.batches(_ROWS_AT_ONCE):
        wanted = pc.is_in(batch.rows["reference_id"], value_set=pa.array(ids, pa.string()))
        cells = batch.segments.filter(wanted.combine_chunks())
        rows = batch.rows.select([*_COLUMNS_READ]).filter(wanted)
        for row, own in zip(rows.to_pylist(), cells.to_pylist(), strict=True):
            id = row["reference_id"]
            try:
                if id not in truths:
                    raise StorageError("its ground truth is not published any more")
                png = settings.mask_store().read(row["mask_sha256"])
                image = image_of(row["image_url"], row["manifest"], settings)
                segments = [
                    Segment(one["label"], one["index"], json.loads(one["metadata"])) for one in own
                ]
                yield id, _pictures(png, segments, truths[id][1], image)
            except (SegpipeError, MaskRefused) as error:
                problems.append(f"no picture of {id!r}: {error}")


def _pictures(
    png: bytes, segments: Sequence[Segment], truth: Truth, image: Image.Image | None
) -> list[Cell]:
    if truth.png is None:
        raise StorageError("the mask of its ground truth is not in the store any more")
    predicted, true = decode_mask(png).pixels, decode_mask(truth.png).pixels
    differing = difference(true, truth.segments, predicted, segments)
    drawn = _cell("difference", differing, dict(enumerate(DIFFERENCES)), image)
    # In the legend, which has the labels with most pixels first, these follow the classes.
    return [
        _of_segments("prediction", predicted, segments, image),
        _of_segments("ground truth", true, truth.segments, image),
        replace(drawn, pixels={name: -place for place, name in enumerate(DIFFERENCES, 1)
                               if name in drawn.pixels}),
    ]  # fmt: skip


def _of_segments(
    title: str, mask: NDArray[np.uint8], segments: Sequence[Segment], image: Image.Image | None
) -> Cell:
    cell = _cell(title, mask, {one.index: one.label for one in segments}, image)
    return replace(cell, ignored=[one.index for one in segments if is_ignored(one)])


def _cell(
    title: str, mask: NDArray[np.uint8], labels: Mapping[int, str], image: Image.Image | None
) -> Cell:
    counts = pixels_by_value(mask)
    pixels: Counter[str] = Counter()
    for index, label in labels.items():
        pixels[label] += int(counts[index])
    return Cell(
        title, mask, labels, {label: count for label, count in pixels.items() if count}, image
    )


def difference(
    true: NDArray[np.uint8],
    truth: Sequence[Segment],
    predicted: NDArray[np.uint8],
    segments: Sequence[Segment],
) -> NDArray[np.uint8]:
    """What every pixel of a prediction is, beside the ground truth: a place in ``DIFFERENCES``.

    A pixel whose classes differ is missed if the prediction has void or background there,
    hallucinated if the ground truth has background, and confused otherwise.

    Args:
        true, predicted: H x W uint8.
        truth, segments: what their values stand for.

    Returns:
        H x W uint8.
    """
    table = np.full((256, 256), _CONFUSED, np.uint8)
    for one in truth:
        for other in segments:
            if one.label == other.label and not is_ignored(other):
                table[one.index, other.index] = _RIGHT
            elif is_ignored(other) or is_plain(other.label):
                table[one.index, other.index] = _MISSED
            elif is_plain(one.label):
                table[one.index, other.index] = _HALLUCINATED
        if is_ignored(one):
            table[one.index] = _VOID
    found: NDArray[np.uint8] = table[true, predicted]
    return found
