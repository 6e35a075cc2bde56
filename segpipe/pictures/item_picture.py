"""The predictions for one dataset item, as text and as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import Image

from segpipe.errors import CatalogError, SettingsError, printable
from segpipe.pictures.comparison_pictures import Side, difference_words, side_by_side
from segpipe.pictures.images import image_of
from segpipe.pictures.item_versions import REFUSED, ItemVersion, ReadEvidence, versions_of
from segpipe.pictures.legend import PAPER
from segpipe.pictures.notes import with_notes
from segpipe.pictures.overlay import encoded, likeliest
from segpipe.pictures.text import text_size
from segpipe.pictures.version_picture import VersionPictures
from segpipe.predictions.class_pdf import KEYS
from segpipe.predictions.metadata import metadata_json
from segpipe.predictions.prediction import Segment
from segpipe.publishing.catalog import Catalog
from segpipe.settings import Settings
from segpipe.storage.files import Folder

#: Of the picture of each prediction, in pixels.
LONGEST_SIDE = 640
# Of all pictures together: those after that are counted.
_MOST_PIXELS = 100_000_000


@dataclass(frozen=True)
class ShownItem:
    """The predictions for one dataset item: published, validated, rejected.

    Printed, it lists Segments and findings; in a notebook it is the picture.

    Attributes:
        versions: the predictions, by model run.
        against: two model runs that are compared; None for none.
        longest_side: of each prediction's picture without legend, in pixels.
    """

    versions: tuple[ItemVersion, ...]
    against: tuple[str, str] | None
    longest_side: int
    _pictures: VersionPictures = field(repr=False)

    @classmethod
    def find(
        cls,
        catalog: Catalog,
        settings: Settings,
        evidence: ReadEvidence,
        reference_id: str,
        model_run: str | None = None,
        *,
        date: str | None = None,
        against: str | None = None,
        longest_side: int = LONGEST_SIDE,
    ) -> ShownItem:
        """Look up an item in the catalog and in the partitions' tables.

        Args:
            evidence: reads a manifest's row again, for pictures of what was rejected.
            model_run, date: only of these; all where None.
            against: another model run, that ``model_run`` is compared with.
            longest_side: of each prediction's picture without legend, in pixels.

        Raises:
            CatalogError: if there is nothing of it, or nothing that can be compared.
            SettingsError: if there is no first model run to compare with another.
        """
        if against is not None and model_run is None:
            raise SettingsError("--against compares two model runs: name the first, --model-run")
        wanted = (model_run,) if against is None else (model_run, against)
        found = [
            one
            for name in wanted
            for one in versions_of(settings, catalog, reference_id, name, date)
        ]
        for name in wanted:
            of_it = [one for one in found if name in (None, one.model_run)]
            usable = against is None or any(one.outcome != REFUSED for one in of_it)
            if not of_it or not usable:
                whose = "" if name is None else f" by model run {name!r}"
                when = "" if date is None else f" of {date}"
                what = "that was accepted" if of_it else "is published, validated or rejected"
                raise CatalogError(
                    f"no prediction for {reference_id!r}{whose}{when} {what}"
                    if not of_it
                    else f"no prediction for {reference_id!r}{whose}{when} {what} can be compared"
                )
        pair = None if against is None or model_run is None else (model_run, against)
        pictures = VersionPictures(settings, catalog.masks, evidence, longest_side)
        return cls(tuple(found), pair, longest_side, pictures)

    @property
    def rows(self) -> tuple[Mapping[str, Any], ...]:
        """Rows of the catalog: what is published, one per model run, sorted by its name."""
        return tuple(one.row for one in self.versions if one.outcome == "published")

    def lines(self) -> Iterator[str]:
        """Segments and findings as text: a line per prediction, and below it a line of each.

        Control characters are escaped: names and metadata come from data.
        """
        return map(printable, self._lines())

    def _lines(self) -> Iterator[str]:
        for one in self.versions:
            size = f"  {one.row['width']} x {one.row['height']}" if "width" in one.row else ""
            yield f"{one.row['reference_id']}  {one.name}{size}"
            for segment in one.row.get("segments", ()):
                yield from _segment_lines(segment)
            for found in one.findings:
                yield f"  {found.rule} ({found.severity}): {found.message}"
                if found.remedy:
                    yield f"    -> {found.remedy}"
        if self.against is not None:
            yield f"{self.against[0]} against {self.against[1]}:"
            yield from self._compared[1]

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    @cached_property
    def picture(self) -> Image.Image:
        """The predictions as overlays on the image, one below the other, RGB; of two model runs
        that are compared, side by side with their difference.

        Raises:
            CatalogError: if a stored mask is damaged.
            StorageError: if it cannot be read.
        """
        if self.against is not None:
            return self._compared[0]
        drawn: list[Image.Image] = []
        for number, one in enumerate(self.versions):
            if sum(picture.width * picture.height for picture in drawn) > _MOST_PIXELS:
                more = f"and {len(self.versions) - number} more: name a model run or a date"
                drawn[-1] = with_notes(drawn[-1], [more], text_size(self.longest_side))
                break
            drawn.append(self._pictures.of(one))
        return stacked(drawn)

    @cached_property
    def _compared(self) -> tuple[Image.Image, list[str]]:
        pictures, names = self._pictures, self.against or ("", "")
        chosen = [
            next(v for v in self.versions if v.model_run == name and v.outcome != REFUSED)
            for name in names
        ]
        sides = [
            Side(
                f"{letter}: {one.name}",
                pictures.mask(one.row),
                _segments(one.row),
                tuple(pictures.settings.policies.of(one.model_run).taxonomy),
            )
            for letter, one in zip("AB", chosen, strict=True)
        ]
        shapes = [side.mask.shape for side in sides]
        if shapes[0] != shapes[1]:
            (tall, wide), (other_tall, other_wide) = shapes
            words = f"  not comparable: {wide} x {tall} and {other_wide} x {other_tall} pixels"
            return stacked([pictures.of(one) for one in chosen]), [words]
        image = image_of(chosen[0].row["image_url"], chosen[0].row["manifest"], pictures.settings)
        title = f"{chosen[0].row['reference_id']}: where A and B differ"
        drawn = side_by_side(title, sides, image, pictures.settings, self.longest_side)
        return drawn, [f"  {line}" for line in difference_words(*sides)]

    def save(self, file: str | PathLike[str], *, force: bool = False) -> None:
        """Write the picture as PNG.

        Args:
            force: replace a file that is there.

        Raises:
            CatalogError: if a stored mask is damaged.
            StorageError: if it cannot be read, or the file cannot be written.
            SettingsError: if the file is there, and is not to be replaced.
        """
        target = Path(file).absolute()
        folder = Folder(str(target.parent))
        if force:
            folder.write(target.name, encoded(self.picture))
            return
        if target.exists() or not folder.write_new(target.name, encoded(self.picture)):
            raise SettingsError(
                f"{file} is there already: name another file, or replace it with force=True "
                "(--force)"
            )

    def _repr_png_(self) -> bytes:
        return encoded(self.picture)


def _segments(row: Mapping[str, Any]) -> list[Segment]:
    return [Segment(s["label"], s["index"], json.loads(s["metadata"])) for s in row["segments"]]


def _segment_lines(segment: Mapping[str, Any]) -> Iterator[str]:
    sure = "" if segment["confidence"] is None else f"{segment['confidence']:.2f}"
    yield (
        f"  {segment['index']:>3}  {segment['label']:<24} {sure:>5} "
        f"{100 * segment['area_fraction']:6.1f} %  {_metadata(segment)}"
    )
    if segment["class_pdf"] is not None:
        yield f"       {_pdf_words(segment)}"


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


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures one below the other, RGB."""
    width = max(one.width for one in pictures)
    sheet = Image.new("RGB", (width, sum(one.height for one in pictures)), PAPER)
    top = 0
    for one in pictures:
        sheet.paste(one, (0, top))
        top += one.height
    return sheet
