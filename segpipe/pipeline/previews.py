"""Pictures and tables shown in the Dagster UI, small enough to be stored in asset metadata."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from segpipe.errors import SegpipeError
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.scores import Scores
from segpipe.manifests.partition import Partition
from segpipe.masks.decoding import decode_mask
from segpipe.masks.refusal import MaskRefused
from segpipe.pictures.charts import confidence_histogram, entropy_histogram, label_areas
from segpipe.pictures.contact_sheet import cached_sheets
from segpipe.pictures.evaluation_charts import class_bars, confusion_matrix, reliability
from segpipe.pictures.images import image_of
from segpipe.pictures.overlay import encoded, overlay
from segpipe.pictures.palette import Colour
from segpipe.pictures.version_picture import legend_of
from segpipe.pipeline.file_links import file_link
from segpipe.root import Root
from segpipe.settings import Settings
from segpipe.validation.distributions import Distribution
from segpipe.validation.validated import PredictionBatch, ValidatedPredictions

#: A partition's contact sheet as a file, and the newest of all partitions, where links lead there.
PICTURE_FILE = "_predictions.jpg"
# Of a row no more: what it carries may have no value in Python.
_COLUMNS_READ = ("reference_id", "mask_sha256", "image_url", "manifest")


def sheets(
    predictions: ValidatedPredictions,
    settings: Settings,
    colours: Mapping[str, Colour],
    *,
    redraw: bool,
) -> dict[str, dg.MetadataValue[Any]]:
    """Contact sheets: a sample of the partition's predictions, and the least sure ones.

    Args:
        redraw: draw them again, even if they are stored.
    """
    try:
        drawn = cached_sheets(predictions, settings, colours, redraw=redraw)
    except SegpipeError as error:
        return {"preview": dg.MetadataValue.md(f"no picture: {error}")}
    if drawn.spread is None:
        return {"preview": dg.MetadataValue.md("no prediction was accepted")}
    found: dict[str, dg.MetadataValue[Any]] = {
        "preview": _picture_of("predictions of the partition", "jpeg", drawn.spread)
    }
    if drawn.unsure is not None:
        found["least_sure"] = _picture_of("the least sure predictions", "jpeg", drawn.unsure)
    if settings.links:  # then a file is a click away, and the browser zooms in it
        predictions.folder.write(PICTURE_FILE, drawn.spread)
        settings.folder("validated").write(PICTURE_FILE, drawn.spread)
        found["picture"] = file_link(settings, f"{predictions.folder.url}/{PICTURE_FILE}")
    return found


def newest_picture(settings: Settings) -> str:
    """Markdown that shows the newest contact sheet; empty where no address leads to it."""
    place = file_link(settings, f"{settings.folder('validated').url}/{PICTURE_FILE}")
    if not isinstance(place, dg.UrlMetadataValue):
        return ""
    return f"\n\n[![the newest predictions]({place.url})]({place.url})"


def charts(
    distribution: Distribution, colours: Mapping[str, Colour], before: Distribution | None
) -> dict[str, dg.MarkdownMetadataValue]:
    """Charts of label areas, confidences and entropies; only those that have data."""
    drawn = {
        "label_areas": label_areas(distribution, colours, before),
        "confidences": confidence_histogram(distribution),
        "entropies": entropy_histogram(distribution),
    }
    return {
        name: _picture_of(name.replace("_", " "), "svg+xml", svg.encode())
        for name, svg in drawn.items()
        if svg is not None
    }


def _picture_of(words: str, kind: str, data: bytes) -> dg.MarkdownMetadataValue:
    inline = base64.b64encode(data).decode()
    return dg.MetadataValue.md(f"![{words}](data:image/{kind};base64,{inline})")


def evaluation_charts(
    evaluation: Scores, colours: Mapping[str, Colour], before: Scores | None = None
) -> dict[str, dg.MarkdownMetadataValue]:
    """Charts of an evaluation's classes, confusion and calibration; only those that have data.

    Args:
        before: that of the partition before.
    """
    classes = None if before is None else before.classes
    drawn = {
        "classes": class_bars(evaluation.classes, colours, classes),
        "confusion": confusion_matrix(evaluation.confusion),
        "calibration": reliability(
            evaluation.calibration, evaluation.uncertainty["calibration_error"]
        ),
    }
    return {
        name: _picture_of(name, "svg+xml", svg.encode())
        for name, svg in drawn.items()
        if svg is not None
    }


def evaluation_sheets(
    root: Root, partition: Partition, evaluation: Evaluation, colours: Mapping[str, Colour]
) -> dict[str, dg.MetadataValue[Any]]:
    """Contact sheets of an evaluation's worst items and most confident errors."""
    try:
        drawn = root.evaluation_sheets(partition, evaluation, colours)
    except SegpipeError as error:
        return {"worst_items": dg.MetadataValue.md(f"no picture: {error}")}
    found: dict[str, dg.MetadataValue[Any]] = {}
    for name, sheet in (
        ("worst_items", drawn.worst),
        ("most_confident_errors", drawn.confident),
    ):
        if sheet is not None:
            found[name] = _picture_of(name.replace("_", " "), "jpeg", sheet)
    if drawn.problems:
        found["without_picture"] = dg.MetadataValue.text("\n".join(drawn.problems))
    return found


def preview(
    predictions: ValidatedPredictions, settings: Settings, colours: Mapping[str, Colour]
) -> dg.MarkdownMetadataValue:
    """One overlay: the prediction with the most Segments among the partition's first 200."""
    for batch in predictions.batches(200):
        counts = batch.rows["n_segments"]
        place = pc.index(counts, pc.max(counts)).as_py()
        try:
            picture = _picture(batch, place, settings, colours)
        except (SegpipeError, MaskRefused) as error:
            return dg.MetadataValue.md(f"no picture: {error}")
        return _picture_of("a prediction of the partition", "jpeg", encoded(picture, "JPEG"))
    return dg.MetadataValue.md("no prediction was accepted")


def _picture(
    batch: PredictionBatch, place: int, settings: Settings, colours: Mapping[str, Colour]
) -> Image.Image:
    row = {name: batch.rows[name][place].as_py() for name in _COLUMNS_READ}
    mask = decode_mask(settings.mask_store().read(row["mask_sha256"])).pixels
    legend = legend_of(batch.segments[place].as_py())
    image = image_of(row["image_url"], row["manifest"], settings)
    return overlay(np.asarray(mask), legend, image, title=row["reference_id"], colours=colours)


def first_rejections(table: pa.Table) -> dg.TableMetadataValue | None:
    """A table of findings with their messages and remedies; None if there are none."""
    columns = ["reference_id", "rule", "message", "remedy", "manifest_row"]
    records = [
        dg.TableRecord({name: _cell(row[name]) for name in columns}) for row in table.to_pylist()
    ]
    return dg.MetadataValue.table(records) if records else None


def _cell(value: object) -> str | int:
    return value if isinstance(value, int) else str(value)
