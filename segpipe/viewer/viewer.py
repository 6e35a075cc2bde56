"""What the page asks of a root: facts, lists of cards, counts, items, selections."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
from numpy.typing import NDArray

from segpipe import __version__
from segpipe.pictures.label_colours import PLAIN_COLOUR, colours_of, is_plain
from segpipe.pictures.palette import Colour, hex_colour
from segpipe.root import Root
from segpipe.storage.redaction import redacted
from segpipe.validation.rules import CATALOGUE
from segpipe.viewer.boards import counts, overview, rejects
from segpipe.viewer.carried import CarriedColumns
from segpipe.viewer.changes import Changes
from segpipe.viewer.filters import Filters, selected
from segpipe.viewer.index import Index
from segpipe.viewer.item import Items
from segpipe.viewer.kept_files import KeptFiles, cache_place
from segpipe.viewer.keys import key_of, parts_of, row_of
from segpipe.viewer.listing import Listed, after, cursor_of, listed
from segpipe.viewer.pictures import Pictures
from segpipe.viewer.refusal import RequestRefused
from segpipe.viewer.row_pictures import RowPictures
from segpipe.viewer.rows import OUTCOMES
from segpipe.viewer.selections import Chosen, Selections, chosen_of, of_selection
from segpipe.viewer.snapshot import KIND_OF, Snapshot
from segpipe.viewer.thumbnails import Shown, Thumbnails

#: Bounds of what is kept: of the index and of the thumbnails, in bytes.
INDEX_BYTES, THUMBNAIL_BYTES, SELECTION_BYTES = 4 * 2**30, 512 * 2**20, 64 * 2**20
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
        self.rows = RowPictures(root, self.index, self.pictures)
        self.selections = Selections(KeptFiles(place / "selections", SELECTION_BYTES))
        self._carried, self._changes = CarriedColumns(root), Changes(root)
        self._items = Items(root, self.pictures, self.index.blocks)
        self._colours: tuple[int, dict[str, Colour]] = (-1, {})

    def dataset(self, snapshot: Snapshot) -> str:
        """The dataset that is shown where a request names none: that of the settings or, if nothing
        is there of it, the first one by name."""
        there = sorted({group.dataset for group in snapshot.groups})
        own = self.root.settings.dataset
        return there[0] if there and own not in there else own

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
        runs: dict[tuple[str, str], Json] = {}
        for group in snapshot.groups:
            kinds = np.bincount(KIND_OF[group.rows.outcome], minlength=3)
            days = [snapshot.names.dates.names[n] for n in np.unique(group.rows.date)]
            runs[group.dataset, group.model_run] = {
                "name": group.model_run,
                "dataset": group.dataset,
                "published": int(kinds[0]),
                "validated": 0,
                "rejected": int(kinds[2]),
                "days": days,
            }
        for one in snapshot.partitions:
            run = runs.get((self.root.settings.dataset, one.model_run))
            if run is not None:
                run["validated"] += one.summary.accepted
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
            "columns": [
                {"name": name, "type": kind}
                for name, kind in self._carried.all(snapshot.partitions).items()
            ],
            "days": sorted({day for run in runs.values() for day in run["days"]}),
            "notes": self.notes(snapshot),
            "whole": snapshot.is_whole,
        }  # fmt: skip

    def notes(self, snapshot: Snapshot, filters: Filters | None = None) -> list[str]:
        """What is to be said of all that is shown, and of what filters leave out."""
        found = [*([self._words] if self._words else []), *snapshot.notes]
        if filters is not None and filters.sort == "largest-change":
            found += self._changes.notes
        if filters is not None and "rejected" in filters.outcomes and filters.of_accepted:
            missing = " or ".join(filters.of_accepted)
            found.append(f"of rejected rows no table has {missing}: they are left out")
        return found

    def _snapshot(self, filters: Filters) -> Snapshot:
        return self.index.snapshot(whole=_PATIENCE if filters.needs_partitions else 0.0)

    def select(self, snapshot: Snapshot, filters: Filters) -> NDArray[np.bool_]:
        """Of each row whether it is asked for."""
        mask = selected(snapshot, filters, self.dataset(snapshot))
        for name, value in filters.columns:
            mask &= self._carried.where(snapshot, name, value)
        if filters.ids is not None:
            mask &= of_selection(snapshot, self.selections.of(filters.ids))
        return mask

    def _listed(self, snapshot: Snapshot, filters: Filters) -> Listed:
        return listed(snapshot, filters, self.select, self._changes.of)

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
            "notes": self.notes(snapshot, filters),
            "whole": snapshot.is_whole,
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
        found = self._items.of(snapshot, dataset, reference_id, row)
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

    def counts(self, filters: Filters) -> Json:
        """How many rows each value of a filter would show."""
        return counts(self._snapshot(replace(filters, outcomes=OUTCOMES)), filters, self.select)

    def overview(self, filters: Filters) -> Json:
        """What became of the rows of each model run and day; areas and confidences."""
        snapshot = self._snapshot(replace(filters, outcomes=OUTCOMES))
        found = overview(snapshot, filters, self.select)
        return {**found, "notes": self.notes(snapshot)}

    def rejects(self, filters: Filters) -> Json:
        """The rejected rows by rule."""
        snapshot = self._snapshot(replace(filters, outcomes=OUTCOMES))
        version = self._colours_version(snapshot)
        found = rejects(
            snapshot, filters, self.select, lambda row: self.card(snapshot, row, version)
        )
        return {"rules": found, "notes": self.notes(snapshot)}

    def thumbnail(self, key: str, size: int) -> tuple[str, Shown, Mapping[str, Colour]]:
        """The name of a row's thumbnail, what it shows, and in which colours.

        Raises:
            RequestRefused: if there is no such row.
        """
        colours = self.colours(self.index.snapshot())
        return *self.rows.thumbnail(key, size, colours), colours

    def save_selection(self, given: Any) -> Json:
        """Keep a selection that the page sends.

        Raises:
            RequestRefused: if it is none.
        """

        def chosen(key: str) -> Chosen:
            _, _, run, date, id, _ = parts_of(key)
            return Chosen(id, run, date)

        name, found = chosen_of(given, chosen)
        self.selections.save(name, found)
        return {"name": name, "count": len(found)}

    def selection(self, name: str) -> Json:
        """A selection that was saved.

        Raises:
            RequestRefused: if there is none of that name.
        """
        found = self.selections.of(name)
        return {"name": name, "ids": [one._asdict() for one in found], "count": len(found)}


def _number(value: np.floating[Any]) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
