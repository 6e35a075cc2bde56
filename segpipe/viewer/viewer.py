"""What the page asks of a root: facts, lists of cards, counts, items, pictures."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
from numpy.typing import NDArray

from segpipe import __version__
from segpipe.errors import SegpipeError
from segpipe.pictures.label_colours import PLAIN_COLOUR, colours_of, is_plain
from segpipe.pictures.offending import offending_pixels
from segpipe.pictures.palette import Colour, hex_colour
from segpipe.root import Root
from segpipe.storage.redaction import redacted
from segpipe.validation.rules import CATALOGUE
from segpipe.viewer.blocks import drawn_of, looked_up
from segpipe.viewer.filters import Filters, selected
from segpipe.viewer.index import Index
from segpipe.viewer.item import Items
from segpipe.viewer.kept_files import KeptFiles, cache_place
from segpipe.viewer.keys import key_of, row_of
from segpipe.viewer.listing import Listed, after, cursor_of, listed
from segpipe.viewer.pictures import Pictures, grey_png
from segpipe.viewer.refusal import RequestRefused
from segpipe.viewer.rows import OUTCOMES
from segpipe.viewer.snapshot import KIND_OF, Snapshot
from segpipe.viewer.thumbnails import Shown, Thumbnails

#: Bounds of what is kept: of the index and of the thumbnails, in bytes.
INDEX_BYTES, THUMBNAIL_BYTES = 4 * 2**30, 512 * 2**20
_MOST_LABELS = 6
# Seconds that a request waits for rows that are still being read.
_PATIENCE = 20.0
Json = dict[str, Any]


class Viewer:
    """A root, as the page shows it. Its methods are called from several threads."""

    def __init__(self, root: Root) -> None:
        self.root = root
        place, self._words = cache_place(root.settings)
        self.index = Index(root, KeptFiles(place / "index", INDEX_BYTES))
        self.pictures = Pictures(root)
        self.thumbnails = Thumbnails(
            self.pictures, KeptFiles(place / "thumbnails", THUMBNAIL_BYTES)
        )
        self._items = Items(root, self.pictures)
        self._colours: tuple[int, dict[str, Colour]] = (-1, {})

    def dataset(self, snapshot: Snapshot) -> str:
        """The dataset that is shown where a request names none: that of the settings, or the only
        one there is."""
        there = sorted({group.dataset for group in snapshot.groups})
        own = self.root.settings.dataset
        return there[0] if own not in there and len(there) == 1 else own

    def colours(self, snapshot: Snapshot) -> dict[str, Colour]:
        """Label -> colour, as in every picture of the root."""
        names = snapshot.names.labels.names
        known, table = self._colours
        if known != len(names):
            known = len(names)
            table = colours_of(self.root.settings, names[:known])
            self._colours = known, table
        return table

    def facts(self) -> Json:
        """What is in the root: model runs, days, labels with colours, rules, columns."""
        snapshot = self.index.snapshot()
        colours = self.colours(snapshot)
        runs: dict[str, Json] = {}
        for group in snapshot.groups:
            kinds = np.bincount(KIND_OF[group.rows.outcome], minlength=3)
            days = [snapshot.names.dates.names[n] for n in np.unique(group.rows.date)]
            runs[group.model_run] = {
                "name": group.model_run,
                "dataset": group.dataset,
                "published": int(kinds[0]),
                "validated": 0,
                "rejected": int(kinds[2]),
                "days": days,
            }
        for one in snapshot.partitions:
            if one.model_run in runs:
                runs[one.model_run]["validated"] += one.summary.accepted
        for run in runs.values():
            run["days"] = sorted(run["days"])
        return {
            "root": redacted(self.root.settings.root),
            "segpipe": __version__,
            "version": snapshot.version,
            "catalog_version": snapshot.version,
            "datasets": sorted({group.dataset for group in snapshot.groups}),
            "dataset": self.dataset(snapshot),
            "model_runs": sorted(runs.values(), key=lambda run: str(run["name"])),
            "labels": [
                {"name": name, "colour": hex_colour(colours[name]), "plain": is_plain(name)}
                for name in sorted(colours)
            ],
            "ignored": {"colour": hex_colour(PLAIN_COLOUR)},
            "rules": [
                {
                    "id": rule.id, "severity": rule.severity.value, "meaning": rule.meaning,
                    "remedy": rule.remedy,
                }
                for rule in CATALOGUE.values()
            ],
            "columns": [],
            "days": sorted({day for run in runs.values() for day in run["days"]}),
            "notes": self.notes(snapshot),
        }  # fmt: skip

    def notes(self, snapshot: Snapshot) -> list[str]:
        """What is to be said of all that is shown."""
        return [*([self._words] if self._words else []), *snapshot.notes]

    def _snapshot(self, filters: Filters) -> Snapshot:
        return self.index.snapshot(whole=_PATIENCE if filters.needs_partitions else 0.0)

    def select(self, snapshot: Snapshot, filters: Filters) -> NDArray[np.bool_]:
        """Of each row whether it is asked for."""
        return selected(snapshot, filters, self.dataset(snapshot))

    def _listed(self, snapshot: Snapshot, filters: Filters) -> Listed:
        return listed(snapshot, filters, self.select, self.changes)

    def changes(self, snapshot: Snapshot) -> NDArray[np.float32]:
        """Of each row, how much it differs from the version before."""
        return np.full(len(snapshot), np.nan, np.float32)

    def items(self, filters: Filters, limit: int, cursor: str | None) -> Json:
        """A page of cards.

        Raises:
            RequestRefused: if the cursor is none.
        """
        started = time.perf_counter()
        snapshot = self._snapshot(filters)
        found = self._listed(snapshot, filters)
        start = after(snapshot, found, cursor)
        stop = min(start + limit, len(found.rows))
        version = self._colours_version(snapshot)
        return {
            "total": len(found.rows),
            "items": [self.card(snapshot, int(row), version) for row in found.rows[start:stop]],
            "next": cursor_of(snapshot, found, stop - 1)
            if start < stop < len(found.rows)
            else None,
            "took_ms": round(1000 * (time.perf_counter() - started), 1),
            "notes": self.notes(snapshot),
        }

    def _colours_version(self, snapshot: Snapshot) -> str:
        given = orjson.dumps(self.colours(snapshot))
        return hashlib.sha256(given).hexdigest()[:8]

    def card(self, snapshot: Snapshot, row: int, version: str) -> Json:
        """A row as the gallery shows it.

        Args:
            version: of the colours, part of the thumbnail's address.
        """
        rows, key = snapshot.rows, key_of(snapshot, row)
        kind = int(KIND_OF[rows.outcome[row]])
        return {
            "key": key,
            "id": rows.ids[row].as_py(),
            "model_run": snapshot.group_of(row).model_run,
            "date": snapshot.date_of(row),
            "outcome": snapshot.outcome_of(row),
            "width": None if kind == 2 else int(rows.width[row]),
            "height": None if kind == 2 else int(rows.height[row]),
            "segments": int(rows.n_segments[row]),
            "labels": snapshot.labels_of(row)[:_MOST_LABELS],
            "confidence": _number(rows.confidence[row]),
            "entropy": _number(rows.entropy[row]),
            "rules": snapshot.rules_of(row),
            "thumb": f"/thumb?v={version}&key={quote(key)}&size=",
        }

    def item(self, key: str | None, whose: Mapping[str, str], filters: Filters) -> Json:
        """One item, with its neighbours in a list where filters are given.

        Args:
            whose: ``dataset``, ``id``, ``run`` and ``date`` where there is no key.

        Raises:
            RequestRefused: if there is none.
            SegpipeError: if a table cannot be read.
        """
        snapshot = self.index.snapshot()
        dataset, reference_id, row = self._named(snapshot, key, whose)
        found = self._items.of(snapshot, dataset, reference_id)
        if found is None:
            raise RequestRefused(f"there is nothing of {reference_id!r}", 404)
        found["key"] = None if row is None else key_of(snapshot, row)
        found["neighbours"] = self._neighbours(snapshot, row, filters)
        return found

    def _named(
        self, snapshot: Snapshot, key: str | None, whose: Mapping[str, str]
    ) -> tuple[str, str, int | None]:
        if key:
            row, _ = row_of(snapshot, key)
            return snapshot.group_of(row).dataset, snapshot.rows.ids[row].as_py(), row
        if not whose.get("id"):
            raise RequestRefused("which item? give its key, or id, run and date")
        dataset, reference_id = whose.get("dataset") or self.dataset(snapshot), whose["id"]
        for row in snapshot.of_item(dataset, reference_id):
            fits = whose.get("run") in (None, "", snapshot.group_of(row).model_run)
            if fits and whose.get("date") in (None, "", snapshot.date_of(row)):
                return dataset, reference_id, row
        return dataset, reference_id, None

    def _neighbours(self, snapshot: Snapshot, row: int | None, filters: Filters) -> Json:
        found = self._listed(snapshot, filters)
        at = np.flatnonzero(found.rows == row) if row is not None else np.zeros(0, np.int64)
        if not at.size:
            return {"previous": None, "next": None}
        place = int(at[0])

        def key(position: int) -> str | None:
            there = 0 <= position < len(found.rows)
            return key_of(snapshot, int(found.rows[position])) if there else None

        return {"previous": key(place - 1), "next": key(place + 1)}

    def shown(self, snapshot: Snapshot, row: int) -> Shown:
        """What a row's thumbnail shows.

        Raises:
            SegpipeError, OSError: if its block cannot be read any more.
        """
        block = self.index.blocks.of(snapshot.source_of(row))
        place = int(snapshot.rows.place[row])
        found = looked_up(block, place)
        return Shown(
            found["mask_sha256"], found["image_url"], found["manifest"], drawn_of(block, place)
        )

    def row(self, key: str) -> tuple[Snapshot, int]:
        """The row that a key names.

        Raises:
            RequestRefused: if there is none.
        """
        snapshot = self.index.snapshot()
        return snapshot, row_of(snapshot, key)[0]

    def thumbnail(self, key: str, size: int) -> tuple[str, Shown, Mapping[str, Colour]]:
        """The name of a row's thumbnail, and what it is made of.

        Raises:
            RequestRefused: if there is no such row.
        """
        snapshot, row = self.row(key)
        shown = self.shown(snapshot, row)
        colours = self.colours(snapshot)
        return shown.name(size, colours), shown, colours

    def mask(self, key: str) -> bytes:
        """A row's mask as a PNG file; of a rejected one as it was read, where it could be.

        Raises:
            RequestRefused: if there is none.
        """
        snapshot, row = self.row(key)
        if KIND_OF[snapshot.rows.outcome[row]] == 2:
            evidence, _ = self._evidence(snapshot, row)
            if evidence.mask is None:
                raise RequestRefused("the mask could not be decoded", 404)
            return grey_png(np.ascontiguousarray(evidence.mask.pixels))
        return self.pictures.mask(self.shown(snapshot, row).mask or "")

    def _evidence(self, snapshot: Snapshot, row: int) -> Any:
        place = self._place(snapshot, row)
        try:
            return self.root.evidence(
                snapshot.group_of(row).model_run, snapshot.date_of(row),
                manifest=str(place["manifest"]), row=int(place["manifest_row"] or 0),
            )  # fmt: skip
        except SegpipeError as error:
            raise RequestRefused(str(error), 404) from None

    def _place(self, snapshot: Snapshot, row: int) -> Mapping[str, Any]:
        block = self.index.blocks.of(snapshot.source_of(row))
        return looked_up(block, int(snapshot.rows.place[row]))

    def image(self, key: str) -> tuple[bytes, str]:
        """The image under a row's mask, and its media type.

        Raises:
            RequestRefused: if there is none, with the reason.
        """
        snapshot, row = self.row(key)
        place = dict(self._place(snapshot, row))
        if KIND_OF[snapshot.rows.outcome[row]] == 2:
            place["image_url"] = self._evidence(snapshot, row)[0].row.image_url
        return self.pictures.shown_image(place["image_url"], place["manifest"])

    def offending(self, key: str, rule: str) -> bytes:
        """The pixels that a row's mask violates a rule with, as a PNG of 0 and 255.

        Raises:
            RequestRefused: if they cannot be shown.
        """
        snapshot, row = self.row(key)
        if rule not in CATALOGUE:
            raise RequestRefused("there is no such rule")
        evidence, data = self._evidence(snapshot, row)
        marks = offending_pixels(rule, evidence, data)
        if marks is None:
            raise RequestRefused(f"{rule} is not about pixels that can be shown", 404)
        return grey_png(marks.astype(np.uint8) * 255)


def _number(value: np.floating[Any]) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def facet(names: Sequence[str], counts: NDArray[np.int64]) -> dict[str, int]:
    """Name -> count, where there is any."""
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}


_ = OUTCOMES
