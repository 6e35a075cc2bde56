"""The picture of one prediction for an item, whatever became of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.errors import CatalogError, SegpipeError
from segpipe.masks.decoding import decode_mask
from segpipe.masks.refusal import MaskRefused
from segpipe.pictures.blending import MARK, drawn_size, scaled_marks
from segpipe.pictures.images import image_of
from segpipe.pictures.item_versions import REFUSED, ItemFinding, ItemVersion, ReadEvidence
from segpipe.pictures.label_colours import colours_of
from segpipe.pictures.legend import PAPER
from segpipe.pictures.notes import with_notes
from segpipe.pictures.offending import ABOUT_SEGMENTS, MARKED, offending_pixels, undecoded
from segpipe.pictures.overlay import LegendEntry, framed, likeliest, overlay
from segpipe.pictures.palette import Colour
from segpipe.pictures.size_picture import size_picture
from segpipe.pictures.text import text_size
from segpipe.predictions.prediction import Segment
from segpipe.settings import Settings
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.rules import Evidence
from segpipe.validation.rules.labels import is_ignored

# What a legend calls values that no label is known of; they are no labels, and get no colours.
_UNNAMED = _NO_LABEL, _NO_SEGMENT = ("(no label)", "(no Segment)")

Mask = NDArray[np.uint8]
Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Marked:
    """What a picture marks of a mask.

    Attributes:
        filled, outlined: H x W bool, pixels to draw in red, and to draw a red line around; None
            where nothing is to be marked.
    """

    filled: Marks | None = None
    outlined: Marks | None = None

    @classmethod
    def of(cls, rules: list[str], evidence: Evidence, data: bytes) -> Marked:
        """The pixels that violate any of the rules."""
        found: dict[bool, Marks] = {}
        for rule in rules:
            marks = offending_pixels(rule, evidence, data)
            if marks is not None and marks.any():
                around = rule in ABOUT_SEGMENTS
                found[around] = found[around] | marks if around in found else marks
        return cls(found.get(False), found.get(True))

    @property
    def words(self) -> str:
        """What a title says of it; empty where nothing is marked."""
        if self.filled is not None:
            return ": offending pixels in red"
        return "" if self.outlined is None else ": offending segments outlined in red"


@dataclass(frozen=True)
class VersionPictures:
    """Draws predictions.

    Attributes:
        settings: of the root, for images and colours.
        masks: the catalog's mask store.
        evidence: reads a manifest's row again.
        longest_side: of a picture without legend, in pixels.
    """

    settings: Settings
    masks: MaskStore
    evidence: ReadEvidence
    longest_side: int

    def of(self, version: ItemVersion) -> Image.Image:
        """The picture, with the findings in words under it.

        Raises:
            CatalogError: if a stored mask is damaged.
            StorageError: if it cannot be read.
        """
        title = f"{version.row['reference_id']}  {version.name}"
        notes = [_note(found) for found in version.findings]
        if version.outcome == REFUSED:
            picture = Image.new("RGB", (self.longest_side, 1), PAPER)
            try:
                drawn = self._refused(version, title)
            except SegpipeError as error:
                notes = [title, *notes, f"no picture: {error}"]
            else:
                picture = drawn or picture
                notes = notes if drawn else [title, *notes, "no picture: nothing can be decoded"]
        else:
            picture, unmarked = self._accepted(version, title)
            notes += unmarked
        return with_notes(picture, notes, text_size(self.longest_side))

    def mask(self, row: Mapping[str, Any]) -> Mask:
        """The stored mask of a row of the catalog or of a validated table.

        Raises:
            CatalogError: if it is damaged.
            StorageError: if it cannot be read.
        """
        try:
            return decode_mask(self.masks.read(row["mask_sha256"]), max_pixels=2**31).pixels
        except MaskRefused as refusal:
            raise CatalogError(
                f"the stored mask of {row['reference_id']!r} is damaged: {refusal.message}"
            ) from None

    def _read(self, version: ItemVersion) -> tuple[Evidence, bytes]:
        number = version.manifest_row
        if number is None:
            raise CatalogError("it is not known which row of which manifest it came from")
        evidence, data = self.evidence(version.partition, version.row["manifest"], number)
        if evidence.row.reference_id != version.row["reference_id"]:
            raise CatalogError(
                f"row {number} of {version.row['manifest']} is of another item by now: the "
                "manifest was written again; materialize the partition"
            )
        return evidence, data

    def _refused(self, version: ItemVersion, title: str) -> Image.Image | None:
        evidence, data = self._read(version)
        return evidence_picture(
            evidence,
            data,
            [found.rule for found in version.findings],
            lambda labels: colours_of(self.settings, labels),
            title=title,
            longest_side=self.longest_side,
            image=image_of(evidence.row.image_url, evidence.row.manifest, self.settings),
        )

    def _accepted(self, version: ItemVersion, title: str) -> tuple[Image.Image, list[str]]:
        """The picture, and why something is not marked in it."""
        row, marked, notes = version.row, Marked(), []
        mask = self.mask(row)
        rules = [found.rule for found in version.findings if found.rule in MARKED]
        if rules:
            try:
                marked = Marked.of(rules, *self._read(version))
            except SegpipeError as error:
                notes.append(f"nothing is marked: {error}")
        fits = [one is None or one.shape == mask.shape for one in (marked.filled, marked.outlined)]
        if not all(fits):
            marked = Marked()
            notes.append("nothing is marked: the mask's file was changed since")
        legend = legend_of(row["segments"])
        picture = overlay(
            mask,
            legend,
            image_of(row["image_url"], row["manifest"], self.settings),
            title=title + marked.words,
            longest_side=self.longest_side,
            marked=marked.filled,
            outlined=marked.outlined,
            colours=colours_of(self.settings, (entry.label for entry in legend)),
        )
        return picture, notes


def legend_of(segments: list[dict[str, Any]]) -> list[LegendEntry]:
    """The legend of Segments as tables have them."""
    return [
        LegendEntry(
            s["index"],
            s["label"],
            s["confidence"],
            s["area_fraction"],
            likeliest(s["class_pdf"]),
            is_ignored(Segment(s["label"], s["index"], json.loads(s["metadata"]))),
        )
        for s in segments
    ]


def evidence_picture(
    evidence: Evidence,
    data: bytes,
    rules: list[str],
    colours: Callable[[Iterable[str]], Mapping[str, Colour]],
    *,
    title: str,
    longest_side: int,
    image: Image.Image | None,
) -> Image.Image | None:
    """The picture of a manifest's row, with what violates rules marked; sizes to scale where they
    are what is wrong; None where there is nothing to see.

    Args:
        data: bytes of the mask's file.
        colours: of labels.
        image: drawn under the mask.
    """
    marked, size = Marked.of(rules, evidence, data), text_size(longest_side)
    if evidence.mask is None:
        refused = _of_refused(data, marked, evidence.policy.max_pixels, longest_side)
        return None if refused is None else framed(refused, [], title + marked.words, size)
    mask = evidence.mask.pixels
    height, width = evidence.size
    about_size = any(one.startswith("SIZE") for one in rules)
    if about_size and height and width and (height, width) != mask.shape:
        sizes = size_picture((mask.shape[1], mask.shape[0]), (width, height), longest_side)
        return framed(sizes, [], title, size)
    legend = _declared_legend(evidence)
    return overlay(
        mask,
        legend,
        image,
        title=title + marked.words,
        longest_side=longest_side,
        marked=marked.filled,
        outlined=marked.outlined,
        colours=colours([entry.label for entry in legend if entry.label not in _UNNAMED]),
    )


def _declared_legend(evidence: Evidence) -> list[LegendEntry]:
    areas = {}
    if evidence.measures is not None and evidence.mask is not None:
        measures = evidence.measures
        total = evidence.mask.pixels.size
        areas = dict(zip(measures.values.tolist(), (measures.area / total).tolist(), strict=True))
    declared = {
        one.index: one
        for one in reversed(evidence.declaration.segments)
        if one.index is not None and 0 <= one.index <= 255
    }
    legend = [
        LegendEntry(
            index,
            one.label if one.label and one.label.strip() else _NO_LABEL,
            one.confidence,
            areas.get(index, 0.0),
            one.class_pdf.top(3) if one.class_pdf is not None else (),
            is_ignored(one),
        )
        for index, one in declared.items()
    ]
    legend += [
        LegendEntry(value, _NO_SEGMENT, area_fraction=areas[value])
        for value in areas
        if value not in declared
    ]
    return sorted(legend, key=lambda entry: entry.index)


def _of_refused(
    data: bytes, marked: Marked, max_pixels: int, longest_side: int
) -> Image.Image | None:
    """The picture in a file that is no index mask; None where it is none."""
    image = undecoded(data, max_pixels)
    if image is None:
        return None
    rgb = image.convert("RGB")
    size = drawn_size(*rgb.size, longest_side)
    drawn = np.array(rgb.resize(size, Image.Resampling.NEAREST))
    if marked.filled is not None and not marked.filled.all():
        drawn[scaled_marks(marked.filled, drawn.shape[:2])] = MARK
    return Image.fromarray(drawn)


def _note(found: ItemFinding) -> str:
    remedy = f" -> {found.remedy}" if found.remedy else ""
    return f"{found.rule} ({found.severity}): {found.message}{remedy}"
