"""A contact sheet: some predictions of a partition at a glance, in one small picture."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segpipe.errors import SegpipeError
from segpipe.masks.decoding import decode_mask
from segpipe.masks.refusal import MaskRefused
from segpipe.pictures.confidences import least_sure
from segpipe.pictures.images import image_of
from segpipe.pictures.label_colours import PLAIN_COLOUR, Colour, is_plain, label_colours
from segpipe.pictures.overlay import blend
from segpipe.settings import Settings
from segpipe.storage.files import Folder
from segpipe.validation.validated import PredictionBatch, ValidatedPredictions

#: Where sheets are kept, beside the tables.
SHEETS_FILE = "_sheets.json"
# Bump it when the same predictions look different.
_DRAWING = 1
#: A sheet travels inside Dagster's metadata, as text a third longer than this.
MOST_BYTES = 140_000
_CELLS, _COLUMNS, _CELL = 9, 3, 280
_LINES, _LINE, _LEGEND = 40, 17, 190
_PAPER, _INK = (250, 250, 248), (30, 30, 30)
_ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class Cell:
    """One prediction to show.

    Attributes:
        labels: value -> label of its Segments.
        pixels: label -> pixels, by which the legend is ranked.
        outlined: the value of a Segment to point at.
    """

    title: str
    mask: NDArray[np.uint8]
    labels: Mapping[int, str]
    pixels: Mapping[str, int]
    image: Image.Image | None
    outlined: int | None = None


@dataclass(frozen=True)
class ContactSheets:
    """JPEGs of some of a partition's predictions.

    Attributes:
        spread: at even distances over the partition; None where it has no predictions.
        unsure: those that are least sure of a segment, which is outlined, the least sure first;
            None where no segment has a confidence.
    """

    spread: bytes | None
    unsure: bytes | None


def kept_sheets(
    predictions: ValidatedPredictions,
    settings: Settings,
    colours: Mapping[str, Colour],
    *,
    anew: bool,
) -> ContactSheets:
    """The sheets kept beside the partition's tables; drawn where those are others, or ``anew``.

    Raises:
        StorageError: if they cannot be kept.
    """
    shown = [_DRAWING, predictions.summary.validated_digest, sorted(colours.items())]
    digest = hashlib.sha256(repr(shown).encode()).hexdigest()
    sheets = None if anew else _kept(predictions.folder, digest)
    if sheets is None:
        sheets = contact_sheets(predictions, settings, colours)
        encoded = [
            None if sheet is None else base64.b64encode(sheet).decode()
            for sheet in (sheets.spread, sheets.unsure)
        ]
        predictions.folder.write(SHEETS_FILE, json.dumps([digest, *encoded]).encode())
    return sheets


def _kept(folder: Folder, digest: str) -> ContactSheets | None:
    if not folder.exists(SHEETS_FILE):
        return None
    try:
        of, *sheets = json.loads(folder.read(SHEETS_FILE))
        spread, unsure = (None if one is None else base64.b64decode(one) for one in sheets)
    except (ValueError, TypeError):
        return None  # damaged: drawn anew
    return ContactSheets(spread, unsure) if of == digest else None


def contact_sheets(
    predictions: ValidatedPredictions,
    settings: Settings,
    colours: Mapping[str, Colour] | None = None,
) -> ContactSheets:
    """Draw them, in one pass over the partition's tables.

    Args:
        colours: label -> colour, where other pictures have the same labels.
    """
    unsure = {one.reference_id: one for one in least_sure(predictions.folder, _CELLS)}
    cells: list[Cell] = []
    doubtful: dict[str, Cell] = {}
    for cell, place in _chosen(predictions, settings, unsure.keys()):
        if place is not None:
            cells.append(cell)
        if cell.title in unsure:
            one = unsure[cell.title]
            title = f"{one.confidence:.2f} {one.label}: {cell.title}"
            doubtful[cell.title] = replace(cell, title=title, outlined=one.index)
    ranked = [doubtful[reference_id] for reference_id in unsure if reference_id in doubtful]
    return ContactSheets(
        drawn(cells, colours) if cells else None, drawn(ranked, colours) if ranked else None
    )


def drawn(cells: Sequence[Cell], colours: Mapping[str, Colour] | None = None) -> bytes:
    """The sheet as a JPEG of at most ``MOST_BYTES``.

    The same label has the same colour in every cell and in the legend.
    """
    ranked = _ranked_colours(cells, colours)
    side, quality = _CELL, 85
    while True:
        buffer = io.BytesIO()
        _sheet(cells, ranked, side).save(buffer, format="JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MOST_BYTES or side < 60:
            return buffer.getvalue()
        quality, side = (quality - 15, side) if quality > 55 else (85, round(side * 0.75))


def _chosen(
    predictions: ValidatedPredictions, settings: Settings, also: Set[str]
) -> Iterator[tuple[Cell, int | None]]:
    """Predictions at even distances, with their place, and those with these reference ids.

    Of each batch only the masks that are shown are read.
    """
    wanted = {place * len(predictions) // _CELLS for place in range(_CELLS)}
    ids = pa.array(sorted(also), pa.string())
    first = 0
    for batch in predictions.batches(_ROWS_AT_ONCE):
        end = first + batch.rows.num_rows
        named = pc.indices_nonzero(pc.is_in(batch.rows["reference_id"], value_set=ids))
        even = {one - first for one in wanted if first <= one < end}
        for place in sorted(even | set(named.to_pylist())):
            try:
                yield _cell(batch, place, settings), first + place if place in even else None
            except (SegpipeError, MaskRefused):
                continue  # a picture less; reading back says what is wrong with a mask
        first = end


def _cell(batch: PredictionBatch, place: int, settings: Settings) -> Cell:
    row = {name: batch.rows[name][place].as_py() for name in batch.rows.column_names}
    segments = batch.segments[place].as_py()
    pixels: Counter[str] = Counter()
    for segment in segments:
        pixels[segment["label"]] += segment["area_px"]
    return Cell(
        row["reference_id"],
        decode_mask(settings.mask_store().read(row["mask_sha256"])).pixels,
        {segment["index"]: segment["label"] for segment in segments},
        pixels,
        image_of(row["image_url"], row["manifest"], settings),
    )


def _ranked_colours(
    cells: Sequence[Cell], colours: Mapping[str, Colour] | None
) -> dict[str, Colour]:
    """Label -> colour, the labels with most pixels first, plain ones last."""
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
    sheet = Image.new("RGB", (columns * side + _LEGEND, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)
    for place, (cell, picture) in enumerate(zip(cells, pictures, strict=True)):
        row, column = divmod(place, columns)
        x, y = column * side, sum(heights[:row])
        draw.text((x + 3, y + 1), _fitted(cell.title, font, side - 6), fill=_INK, font=font)
        sheet.paste(picture, (x, y + _LINE))
    _draw_legend(draw, font, colours, columns * side + 8, height)
    return sheet


def _picture(cell: Cell, colours: Mapping[str, Colour], side: int) -> Image.Image:
    table = np.zeros((256, 3), np.float32)
    for index, label in cell.labels.items():
        table[index] = colours.get(label, (90.0, 90.0, 90.0))
    plain = [index for index, label in cell.labels.items() if is_plain(label)]
    blended = blend(cell.mask, table, plain, cell.image, side, cell.outlined)
    return Image.fromarray(blended.astype(np.uint8))


def _draw_legend(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    colours: Mapping[str, Colour],
    x: int,
    height: int,
) -> None:
    lines = min(_LINES, (height - 8) // _LINE)
    shown = list(colours.items())[: lines if len(colours) <= lines else lines - 1]
    y = 4
    for label, colour in shown:
        red, green, blue = (int(part) for part in colour)
        draw.rectangle((x, y + 2, x + 11, y + 13), fill=(red, green, blue), outline=_INK)
        draw.text((x + 17, y), _fitted(label, font, _LEGEND - 30), fill=_INK, font=font)
        y += _LINE
    if len(shown) < len(colours):
        draw.text((x, y), f"and {len(colours) - len(shown)} more", fill=_INK, font=font)


def _fitted(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """The text, its end cut where it is too long for its place."""
    text = " ".join(text.split())[:200]
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
