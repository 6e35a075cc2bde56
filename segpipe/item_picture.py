"""What is published for one dataset item, as rows and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from segpipe.errors import CatalogError
from segpipe.images import image_of
from segpipe.mask import MaskRefused, decode_mask
from segpipe.overlay import LegendEntry, overlay
from segpipe.publishing.table import of_model_run, quoted
from segpipe.root import Root

_LONGEST_SIDE = 640


def published_for(
    root: Root, reference_id: str, model_run: str | None = None
) -> list[dict[str, Any]]:
    """The catalog's rows of an item, one per model run, sorted by its name.

    Raises:
        CatalogError: if nothing is published for it.
    """
    dataset = root.settings.dataset
    of_item = f"reference_id = {quoted(reference_id)}"
    where = f"dataset = {quoted(dataset)} AND {of_item}"
    if model_run is not None:
        where = f"{of_model_run(dataset, model_run)} AND {of_item}"
    rows: list[dict[str, Any]] = root.catalog.read(where=where).sort_by("model_run").to_pylist()
    if not rows:
        whose = "" if model_run is None else f" by model run {model_run!r}"
        raise CatalogError(f"no prediction for {reference_id!r}{whose} is published")
    return rows


def item_picture(root: Root, rows: Sequence[dict[str, Any]]) -> Image.Image:
    """Published rows as overlays below each other.

    Raises:
        CatalogError: if a stored mask is damaged.
        StorageError: if it cannot be read.
    """
    pictures = [_overlay(root, row) for row in rows]
    sheet = Image.new(
        "RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), (250, 250, 248)
    )
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def _overlay(root: Root, row: dict[str, Any]) -> Image.Image:
    try:
        mask = decode_mask(root.masks.read(row["mask_sha256"]), max_pixels=2**31).pixels
    except MaskRefused as refusal:
        raise CatalogError(
            f"the stored mask of {row['reference_id']!r} is damaged: {refusal.message}"
        ) from None
    legend = [
        LegendEntry(s["index"], s["label"], s["confidence"], s["area_fraction"])
        for s in row["segments"]
    ]
    image = image_of(row["image_url"], row["manifest"], root.settings)
    title = f"{row['reference_id']}  {row['model_run']}"
    colours = root.label_colours(row["model_run"], (entry.label for entry in legend))
    return overlay(mask, legend, image, title=title, longest_side=_LONGEST_SIDE, colours=colours)
