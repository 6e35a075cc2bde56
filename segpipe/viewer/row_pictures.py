"""The pictures of rows: thumbnails, masks, images, offending pixels, differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import SegpipeError
from segpipe.pictures.offending import offending_pixels, undecoded
from segpipe.pictures.palette import Colour
from segpipe.root import Root
from segpipe.validation.rules import CATALOGUE, Evidence
from segpipe.viewer.blocks import drawn_of, looked_up
from segpipe.viewer.index import Index
from segpipe.viewer.keys import row_of
from segpipe.viewer.looked_up import LookedUp
from segpipe.viewer.pictures import Pictures, grey_png
from segpipe.viewer.refusal import RequestRefused
from segpipe.viewer.snapshot import KIND_OF, Snapshot
from segpipe.viewer.thumbnails import ReadAgain, Shown

_REJECTED = 2
_MOST_PAIRS = 200
_COUNTED_AT_ONCE = 1 << 20  # pixels; numpy counts a copy of eight bytes each
NO_LABEL = ""
#: Where a row of the tables is not in its place in the manifest any more.
WRITTEN_AGAIN = (
    "the manifest was written again since, and has another row there: materialize its partition"
)


class RowPictures:
    """The pictures of a root's rows, by their keys.

    All methods raise RequestRefused, with the reason, where there is none.
    """

    def __init__(self, root: Root, index: Index, pictures: Pictures) -> None:
        self._root, self._index, self._pictures = root, index, pictures

    def row(self, key: str) -> tuple[Snapshot, int]:
        """The row that a key names."""
        snapshot = self._index.snapshot()
        return snapshot, row_of(snapshot, key)[0]

    def shown(self, snapshot: Snapshot, row: int) -> Shown:
        """What a row's thumbnail shows."""
        block = self._index.blocks.of(snapshot.source_of(row))
        place = int(snapshot.rows.place[row])
        found = looked_up(block, place)
        again, state = None, tuple[str, ...]()
        if _is_rejected(snapshot, row):
            again = partial(self._read_again, snapshot, row)
            state = (snapshot.source_of(row).digest, str(found["manifest_row"]))
        return Shown(
            found["mask_sha256"], found["image_url"], found["manifest"], drawn_of(block, place),
            again, state,
        )  # fmt: skip

    def _read_again(self, snapshot: Snapshot, row: int) -> ReadAgain:
        """What there is to see of a rejected row."""
        evidence, data = self._evidence(snapshot, row)
        segments = evidence.declaration.segments
        drawn = [(one.index, one.label or "") for one in segments if _is_value(one.index)]
        marked: NDArray[np.bool_] | None = None
        for rule in snapshot.rules_of(row):
            marks = offending_pixels(rule, evidence, data)
            if marks is not None:
                marked = marks if marked is None else marked | marks
        if evidence.mask is not None:
            pixels = np.ascontiguousarray(evidence.mask.pixels)
            return ReadAgain(pixels, None, marked, evidence.row.image_url, drawn)
        picture = undecoded(data, evidence.policy.max_pixels)
        if picture is None:
            rules = ", ".join(snapshot.rules_of(row))
            raise RequestRefused(f"there is no mask to show: {rules}", 404)
        return ReadAgain(None, picture, marked, evidence.row.image_url, drawn)

    def thumbnail(self, key: str, size: int, colours: Mapping[str, Colour]) -> tuple[str, Shown]:
        """The name of a row's thumbnail, and what it shows."""
        snapshot = self._index.snapshot()
        row, same = row_of(snapshot, key)
        shown = self.shown(snapshot, row)
        shown = replace(shown, lasting=same and shown.read_again is None)
        return shown.name(size, colours), shown

    def mask(self, key: str) -> bytes:
        """A row's mask as a PNG file; of a rejected one as it was read, where it could be."""
        snapshot, row = self.row(key)
        if _is_rejected(snapshot, row):
            return grey_png(np.ascontiguousarray(self._read_pixels(snapshot, row)))
        return self._pictures.mask(self.shown(snapshot, row).mask or "")

    def image(self, key: str) -> tuple[bytes, str]:
        """The image under a row's mask, and its media type."""
        snapshot, row = self.row(key)
        place = self._place(snapshot, row)
        url = place["image_url"]
        if _is_rejected(snapshot, row):
            url = self._evidence(snapshot, row)[0].row.image_url
        return self._pictures.shown_image(url, place["manifest"])

    def offending(self, key: str, rule: str) -> bytes:
        """The pixels that a row's mask violates a rule with, as a PNG of 0 and 255."""
        if rule not in CATALOGUE:
            raise RequestRefused("there is no such rule")
        snapshot, row = self.row(key)
        if not _is_rejected(snapshot, row):
            place = self._accepted_place(snapshot, row)
        else:
            place = self._place(snapshot, row)
        evidence, data = self._evidence_at(snapshot, row, place)
        marks = offending_pixels(rule, evidence, data)
        if marks is None:
            raise RequestRefused(f"{rule} is not about pixels that can be shown", 404)
        return grey_png(marks.astype(np.uint8) * 255)

    def difference(self, key: str, other: str) -> dict[str, Any]:
        """Where the labels of two masks differ: the share of pixels, and which labels they are."""
        (labels, first), (others, second) = map(self._labelled, (key, other))
        if first.shape != second.shape:
            sizes = " and ".join(f"{one.shape[1]} x {one.shape[0]}" for one in (first, second))
            raise RequestRefused(f"masks of {sizes} pixels cannot be compared")
        height, width = first.shape
        both, lines = np.zeros(65536, np.int64), max(1, _COUNTED_AT_ONCE // width)
        for top in range(0, height, lines):
            pairs = first[top : top + lines].astype(np.uint16) << 8 | second[top : top + lines]
            both += np.bincount(pairs.ravel(), minlength=65536)
        shares: dict[tuple[str, str], int] = {}
        for value in np.flatnonzero(both).tolist():
            pair = labels.get(value >> 8, NO_LABEL), others.get(value & 255, NO_LABEL)
            if pair[0] != pair[1]:
                shares[pair] = shares.get(pair, 0) + int(both[value])
        ranked = sorted(shares.items(), key=lambda one: (-one[1], one[0]))
        total = height * width
        return {
            "width": width,
            "height": height,
            "changed_share": sum(shares.values()) / total,
            "pairs": [
                {"a": a, "b": b, "share": count / total} for (a, b), count in ranked[:_MOST_PAIRS]
            ],
        }

    def _labelled(self, key: str) -> tuple[dict[int, str], NDArray[np.uint8]]:
        """Value -> label of a mask, and its pixels."""
        snapshot, row = self.row(key)
        if _is_rejected(snapshot, row):
            evidence, _ = self._evidence(snapshot, row)
            segments = evidence.declaration.segments
            labels = {one.index: one.label or "" for one in segments if one.index is not None}
            return labels, self._read_pixels(snapshot, row)
        shown = self.shown(snapshot, row)
        return dict(shown.drawn), self._pictures.decoded(shown.mask or "").pixels

    def _read_pixels(self, snapshot: Snapshot, row: int) -> NDArray[np.uint8]:
        evidence, _ = self._evidence(snapshot, row)
        if evidence.mask is None:
            raise RequestRefused("the mask could not be decoded", 404)
        return evidence.mask.pixels

    def _place(self, snapshot: Snapshot, row: int) -> Mapping[str, Any]:
        block = self._index.blocks.of(snapshot.source_of(row))
        return looked_up(block, int(snapshot.rows.place[row]))

    def _accepted_place(self, snapshot: Snapshot, row: int) -> Mapping[str, Any]:
        """Where in its manifest a published or an accepted row stands."""
        group, date = snapshot.group_of(row), snapshot.date_of(row)
        found = LookedUp(self._root).accepted(group.model_run, date, snapshot.rows.ids[row].as_py())
        if found is None:
            raise RequestRefused("its manifest row is not known: its partition has no tables", 404)
        return found

    def _evidence(self, snapshot: Snapshot, row: int) -> tuple[Evidence, bytes]:
        return self._evidence_at(snapshot, row, self._place(snapshot, row))

    def _evidence_at(
        self, snapshot: Snapshot, row: int, place: Mapping[str, Any]
    ) -> tuple[Evidence, bytes]:
        try:
            evidence, data = self._root.evidence(
                snapshot.group_of(row).model_run, snapshot.date_of(row),
                manifest=str(place["manifest"]), row=int(place["manifest_row"] or 0),
            )  # fmt: skip
        except SegpipeError as error:
            raise RequestRefused(str(error), 404) from None
        if (evidence.row.reference_id or "") != (snapshot.rows.ids[row].as_py() or ""):
            raise RequestRefused(WRITTEN_AGAIN, 404)
        return evidence, data


def _is_value(index: int | None) -> TypeGuard[int]:
    return index is not None and 0 <= index <= 255


def _is_rejected(snapshot: Snapshot, row: int) -> bool:
    return bool(KIND_OF[snapshot.rows.outcome[row]] == _REJECTED)
