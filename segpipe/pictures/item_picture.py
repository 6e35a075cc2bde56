"""The published predictions for one dataset item, as text and as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import Image

from segpipe.errors import CatalogError, printable
from segpipe.masks.decoding import decode_mask
from segpipe.masks.refusal import MaskRefused
from segpipe.pictures.images import image_of
from segpipe.pictures.label_colours import colours_of
from segpipe.pictures.overlay import LegendEntry, encoded, likeliest, overlay
from segpipe.predictions.class_pdf import KEYS
from segpipe.predictions.metadata import metadata_json
from segpipe.publishing.catalog import Catalog
from segpipe.settings import Settings
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore

_LONGEST_SIDE = 640


@dataclass(frozen=True)
class PublishedItem:
    """The published predictions for one dataset item, one per model run.

    Printed, it lists the Segments; in a notebook it is the picture.

    Attributes:
        rows: of the catalog, one per model run, sorted by its name.
        masks: the catalog's mask store.
        settings: of the root.
    """

    rows: tuple[Mapping[str, Any], ...]
    masks: MaskStore = field(repr=False)
    settings: Settings = field(repr=False)

    @classmethod
    def find(
        cls, catalog: Catalog, settings: Settings, reference_id: str, model_run: str | None = None
    ) -> PublishedItem:
        """Look up an item in the catalog.

        Args:
            model_run: only of this model run; all where None.

        Raises:
            CatalogError: if nothing is published for it.
        """
        found = catalog.predictions(model_run, [reference_id])
        if not found.num_rows:
            whose = "" if model_run is None else f" by model run {model_run!r}"
            raise CatalogError(f"no prediction for {reference_id!r}{whose} is published")
        return cls(tuple(found.sort_by("model_run").to_pylist()), catalog.masks, settings)

    def lines(self) -> Iterator[str]:
        """The Segments as text: a line per prediction, and below it a line per Segment.

        Control characters are escaped: names and metadata come from data.
        """
        return map(printable, self._lines())

    def _lines(self) -> Iterator[str]:
        for row in self.rows:
            yield f"{row['reference_id']}  {row['model_run']}  {row['width']} x {row['height']}"
            for s in row["segments"]:
                sure = "" if s["confidence"] is None else f"{s['confidence']:.2f}"
                yield (
                    f"  {s['index']:>3}  {s['label']:<24} {sure:>5} "
                    f"{100 * s['area_fraction']:6.1f} %  "
                    f"{_metadata(s)}"
                )
                if s["class_pdf"] is not None:
                    yield f"       {_pdf_words(s)}"

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    @cached_property
    def picture(self) -> Image.Image:
        """The predictions as overlays on the image, one below the other, RGB.

        Raises:
            CatalogError: if a stored mask is damaged.
            StorageError: if it cannot be read.
        """
        return item_picture(self.rows, self.masks, self.settings)

    def save(self, file: str | PathLike[str]) -> None:
        """Write the picture as PNG.

        Raises:
            CatalogError: if a stored mask is damaged.
            StorageError: if it cannot be read, or the file cannot be written.
        """
        target = Path(file).absolute()
        Folder(str(target.parent)).write(target.name, encoded(self.picture))

    def _repr_png_(self) -> bytes:
        return encoded(self.picture)


def _metadata(segment: Mapping[str, Any]) -> str:
    """The metadata, without the class PDF, which has a line of its own; empty where that is all."""
    if segment["class_pdf"] is None:
        return "" if segment["metadata"] == "{}" else str(segment["metadata"])
    members = json.loads(segment["metadata"])
    # The first of the keys is the PDF; another one is metadata as any.
    members.pop(next((key for key in KEYS if members.get(key) is not None), ""), None)
    return metadata_json(members) if members else ""


def _pdf_words(segment: Mapping[str, Any]) -> str:
    top = likeliest(segment["class_pdf"])
    words = ", ".join(f"{name} {one:.2f}" for name, one in top)
    more = len(segment["class_pdf"]) - len(top)
    entropy = "" if segment["entropy"] is None else f"; entropy {segment['entropy']:.2f} nats"
    return f"{words}{f' and {more} more' if more else ''}{entropy}"


def item_picture(
    rows: Sequence[Mapping[str, Any]], masks: MaskStore, settings: Settings
) -> Image.Image:
    """Published rows as overlays, one below the other, RGB.

    Args:
        rows: of the catalog; at least one.
        masks: the catalog's mask store.
        settings: of the root, for images and colours.

    Raises:
        CatalogError: if a stored mask is damaged.
        StorageError: if it cannot be read.
    """
    pictures = [_overlay(row, masks, settings) for row in rows]
    sheet = Image.new(
        "RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), (250, 250, 248)
    )
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def _overlay(row: Mapping[str, Any], masks: MaskStore, settings: Settings) -> Image.Image:
    try:
        mask = decode_mask(masks.read(row["mask_sha256"]), max_pixels=2**31).pixels
    except MaskRefused as refusal:
        raise CatalogError(
            f"the stored mask of {row['reference_id']!r} is damaged: {refusal.message}"
        ) from None
    legend = [
        LegendEntry(
            s["index"], s["label"], s["confidence"], s["area_fraction"], likeliest(s["class_pdf"])
        )
        for s in row["segments"]
    ]
    image = image_of(row["image_url"], row["manifest"], settings)
    title = f"{row['reference_id']}  {row['model_run']}"
    colours = colours_of(settings, (entry.label for entry in legend))
    return overlay(mask, legend, image, title=title, longest_side=_LONGEST_SIDE, colours=colours)
