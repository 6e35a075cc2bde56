"""Pictures for Dagster's pages: small enough to travel inside the metadata."""

from __future__ import annotations

import base64

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from segpipe.contact_sheet import contact_sheet
from segpipe.errors import SegpipeError
from segpipe.images import image_of
from segpipe.mask import MaskRefused, decode_mask
from segpipe.overlay import LegendEntry, encoded, overlay
from segpipe.settings import Settings
from segpipe.validated import PredictionBatch, ValidatedPredictions


def sheet(predictions: ValidatedPredictions, settings: Settings) -> dg.MarkdownMetadataValue:
    """A contact sheet of the partition's predictions."""
    try:
        data = contact_sheet(predictions, settings)
    except SegpipeError as error:
        return dg.MetadataValue.md(f"no picture: {error}")
    if data is None:
        return dg.MetadataValue.md("no prediction was accepted")
    inline = base64.b64encode(data).decode()
    return dg.MetadataValue.md(f"![predictions of the partition](data:image/jpeg;base64,{inline})")


def preview(predictions: ValidatedPredictions, settings: Settings) -> dg.MarkdownMetadataValue:
    """One overlay: of the prediction with the most segments among the partition's first."""
    for batch in predictions.batches(200):
        counts = batch.rows["n_segments"]
        place = pc.index(counts, pc.max(counts)).as_py()
        try:
            picture = _picture(batch, place, settings)
        except (SegpipeError, MaskRefused) as error:
            return dg.MetadataValue.md(f"no picture: {error}")
        data = base64.b64encode(encoded(picture, "JPEG")).decode()
        title = batch.rows["reference_id"][place].as_py()
        return dg.MetadataValue.md(f"![prediction for {title}](data:image/jpeg;base64,{data})")
    return dg.MetadataValue.md("no prediction was accepted")


def _picture(batch: PredictionBatch, place: int, settings: Settings) -> Image.Image:
    row = {name: batch.rows[name][place].as_py() for name in batch.rows.column_names}
    mask = decode_mask(settings.mask_store().read(row["mask_sha256"])).pixels
    legend = [
        LegendEntry(s["index"], s["label"], s["confidence"], s["area_fraction"])
        for s in batch.segments[place].as_py()
    ]
    image = image_of(row["image_url"], row["manifest"], settings)
    return overlay(np.asarray(mask), legend, image, title=row["reference_id"])


def first_rejections(table: pa.Table) -> dg.TableMetadataValue | None:
    """A table of findings with their messages; None where there are none."""
    columns = ["reference_id", "rule", "message", "manifest_row"]
    records = [
        dg.TableRecord({name: _cell(row[name]) for name in columns}) for row in table.to_pylist()
    ]
    return dg.MetadataValue.table(records) if records else None


def _cell(value: object) -> str | int:
    return value if isinstance(value, int) else str(value)
