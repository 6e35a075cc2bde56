"""Contact sheets: some predictions of a partition in one small picture."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segpipe.errors import SegpipeError
from segpipe.masks.decoding import decode_mask
from segpipe.masks.fast_path import expecting
from segpipe.masks.refusal import MaskRefused
from segpipe.pictures.blending import as_drawn, blend
from segpipe.pictures.confidences import least_sure
from segpipe.pictures.images import image_of
from segpipe.pictures.label_colours import PLAIN_COLOUR, is_plain, is_void, label_colours
from segpipe.pictures.legend import INK, PAPER, Legend, Line
from segpipe.pictures.overlay import LegendEntry, looks_of
from segpipe.pictures.palette import Colour
from segpipe.pictures.text import Text
from segpipe.pictures.version_picture import legend_of
from segpipe.settings import Settings
from segpipe.storage.files import Folder
from segpipe.validation.validated import PredictionBatch, ValidatedPredictions

#: The cache of the sheets, beside the partition's tables.
SHEETS_FILE = "_sheets.json"
# Version of the drawing: raise it when the same predictions look different.
_DRAWING = 3
#: Limit of a sheet's size: Dagster's metadata holds it as base64, a third longer.
MOST_BYTES = 140_000
_CELLS, _COLUMNS, _CELL = 9, 3, 280
# Pixels, and JPEG's qualities, tried in turn until a sheet fits.
_LEAST_CELL, _QUALITIES = 60, (85, 70, 55)
_LINES, _LEGEND = 40, 190
# Size and line height of the text.
_TEXT, _LINE = 12, 17
_ROWS_AT_ONCE = 500
# Of a row no more: what it carries may have no value in Python.
_COLUMNS_READ = ("reference_id", "mask_sha256", "image_url", "manifest")


@dataclass(frozen=True)
class Cell:
    """One prediction to show.

    Attributes:
        mask: H x W uint8.
        labels: value -> label of its Segments.
        pixels: label -> number of pixels, by which the legend is sorted.
        image: of any size; plain grey where None.
        outlined: the value of a Segment to highlight.
        ignored: values of Segments that are marked as ignored.
    """

    title: str
    mask: NDArray[np.uint8]
    labels: Mapping[int, str]
    pixels: Mapping[str, int]
    image: Image.Image | None
    outlined: int | None = None
    ignored: Collection[int] = ()


@dataclass(frozen=True)
class ContactSheets:
    """JPEGs of some of a partition's predictions.

    Attributes:
        spread: predictions at even distances over the partition; None where it has none.
        unsure: the predictions with the least sure segments, which are outlined, the least sure
            first: by entropy, else by confidence; None where no segment has either.
    """

    spread: bytes | None
    unsure: bytes | None


def cached_sheets(
    predictions: ValidatedPredictions,
    settings: Settings,
    colours: Mapping[str, Colour],
    *,
    redraw: bool,
) -> ContactSheets:
    """The partition's sheets, from the cache beside its tables where that is up to date.

    Args:
        colours: label -> colour.
        redraw: draw them even if the cache is up to date.

    Raises:
        StorageError: if they cannot be written to the cache.
    """
    shown = [_DRAWING, predictions.summary.validated_digest, sorted(colours.items())]
    digest = hashlib.sha256(repr(shown).encode()).hexdigest()
    sheets = None if redraw else _cached(predictions.folder, digest)
    if sheets is None:
        sheets = contact_sheets(predictions, settings, colours)
        encoded = [
            None if sheet is None else base64.b64encode(sheet).decode()
            for sheet in (sheets.spread, sheets.unsure)
        ]
        predictions.folder.write(SHEETS_FILE, json.dumps([digest, *encoded]).encode())
    return sheets


def _cached(folder: Folder, digest: str) -> ContactSheets | None:
    if not folder.exists(SHEETS_FILE):
        return None
    try:
        of, *sheets = json.loads(folder.read(SHEETS_FILE))
        spread, unsure = (None if one is None else base64.b64decode(one) for one in sheets)
    except (ValueError, TypeError):
        return None  # damaged: drawn again
    return ContactSheets(spread, unsure) if of == digest else None


def contact_sheets(
    predictions: ValidatedPredictions,
    settings: Settings,
    colours: Mapping[str, Colour] | None = None,
) -> ContactSheets:
    """Draw the sheets, in one pass over the partition's tables.

    Args:
        colours: label -> colour, the same as in related pictures; None for these sheets only.
    """
    unsure = {one.reference_id: one for one in least_sure(predictions.folder, _CELLS)}
    cells: list[Cell] = []
    highlighted: dict[str, Cell] = {}
    with expecting(min(len(predictions), _CELLS + len(unsure))):
        for cell, position in _chosen(predictions, settings, unsure.keys()):
            if position is not None:
                cells.append(cell)
            if cell.title in unsure:
                one = unsure[cell.title]
                # The item's name stays visible beside a long label.
                label = one.label if len(one.label) <= 16 else one.label[:15] + "…"
                title = f"{one.words} {label}: {cell.title}"
                highlighted[cell.title] = replace(cell, title=title, outlined=one.index)
    ranked = [highlighted[reference_id] for reference_id in unsure if reference_id in highlighted]
    return ContactSheets(
        draw_sheet(cells, colours) if cells else None,
        draw_sheet(ranked, colours) if ranked else None,
    )


def draw_sheet(cells: Sequence[Cell], colours: Mapping[str, Colour] | None = None) -> bytes:
    """Draw a sheet, as a JPEG of at most ``MOST_BYTES``.

    Quality and size are reduced until it fits. The same label has the same colour in every cell and
    in the legend.

    Args:
        cells: at least one.
        colours: label -> colour; None for this sheet only.
    """
    ranked = _ranked_colours(cells, colours)
    side = _CELL
    while True:
        sheet = _sheet(cells, ranked, side)
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            sheet.save(buffer, format="JPEG", quality=quality)
            if buffer.tell() <= MOST_BYTES:
                return buffer.getvalue()
        if side < _LEAST_CELL:
            return buffer.getvalue()
        side = round(side * 0.75)


def _chosen(
    predictions: ValidatedPredictions, settings: Settings, also: Set[str]
) -> Iterator[tuple[Cell, int | None]]:
    """Predictions at even distances, with their position, and those with the ids ``also``.

    Only the masks that are shown are read.
    """
    wanted = {position * len(predictions) // _CELLS for position in range(_CELLS)}
    ids = pa.array(sorted(also), pa.string())
    first = 0
    for batch in predictions.batches(_ROWS_AT_ONCE):
        end = first + batch.rows.num_rows
        named = pc.indices_nonzero(pc.is_in(batch.rows["reference_id"], value_set=ids))
        even = {one - first for one in wanted if first <= one < end}
        for position in sorted(even | set(named.to_pylist())):
            try:
                yield (
                    _cell(batch, position, settings),
                    first + position if position in even else None,
                )
            except (SegpipeError, MaskRefused):
                continue  # a picture less; reading the mask back reports what is wrong
        first = end


def _cell(batch: PredictionBatch, position: int, settings: Settings) -> Cell:
    row = {name: batch.rows[name][position].as_py() for name in _COLUMNS_READ}
    segments = batch.segments[position].as_py()
    pixels: Counter[str] = Counter()
    for segment in segments:
        pixels[segment["label"]] += segment["area_px"]
    return Cell(
        row["reference_id"],
        decode_mask(settings.mask_store().read(row["mask_sha256"])).pixels,
        {segment["index"]: segment["label"] for segment in segments},
        pixels,
        image_of(row["image_url"], row["manifest"], settings),
        ignored=[entry.index for entry in legend_of(segments) if entry.ignored],
    )


def _ranked_colours(
    cells: Sequence[Cell], colours: Mapping[str, Colour] | None
) -> dict[str, Colour]:
    """Label -> colour; labels with most pixels first, plain ones last."""
    pixels: Counter[str] = Counter()
    for cell in cells:
        pixels.update(cell.pixels)
    ranked = sorted(pixels, key=lambda label: (is_plain(label), -pixels[label], label))
    given = label_colours(ranked) if colours is None else colours
    return {label: given.get(label, PLAIN_COLOUR) for label in ranked}


def _sheet(cells: Sequence[Cell], colours: Mapping[str, Colour], side: int) -> Image.Image:
    columns = min(_COLUMNS, len(cells))
    pictures = [_picture(cell, colours, side - 4) for cell in cells]
    heights = [
        max(one.height for one in pictures[start : start + columns]) + _LINE + 4
        for start in range(0, len(cells), columns)
    ]
    height = max(sum(heights), min(len(colours), _LINES) * _LINE + 8)
    sheet = Image.new("RGB", (columns * side + _LEGEND, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for position, (cell, picture) in enumerate(zip(cells, pictures, strict=True)):
        row, column = divmod(position, columns)
        x, y = column * side, sum(heights[:row])
        Text.of(cell.title, _TEXT, side - 6).draw(draw, (x + 3, y + 1), INK)
        sheet.paste(picture, (x, y + _LINE))
    lines = [
        Line(PLAIN_COLOUR if is_plain(label) else as_drawn(colour), label, "", is_void(label))
        for label, colour in colours.items()
    ]
    rows = min(_LINES, (height - 8) // _LINE)
    Legend(lines, _TEXT, rows, _LEGEND - 8).draw(sheet, (columns * side + 8, 4))
    return sheet


def _picture(cell: Cell, colours: Mapping[str, Colour], side: int) -> Image.Image:
    legend = [
        LegendEntry(index, label, ignored=index in cell.ignored)
        for index, label in cell.labels.items()
    ]
    looks = looks_of(legend, colours)
    outlined = None if cell.outlined is None else cell.mask == cell.outlined
    blended = blend(cell.mask, looks, cell.image, side, outlined=outlined)
    return Image.fromarray(blended.pixels.astype(np.uint8))
