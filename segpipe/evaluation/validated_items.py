"""A model run's validated predictions, looked up by item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.errors import StorageError, TableError
from segpipe.predictions.prediction import Segment
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.ground_truth import Truth
from segpipe.validation.summary import SEGMENTS_FILE, VALIDATED_FILE
from segpipe.validation.validated import ValidatedPredictions

_ROW = ["reference_id", "fingerprint", "height", "width", "mask_sha256"]
_IMAGE = ["reference_id", "image_url", "manifest"]
_SEGMENT = ["reference_id", "label", "index", "metadata"]


class ValidatedItems:
    """What a model run predicts for items, published or not, in the form of ground truth; see
    :class:`segpipe.validation.ground_truth.GroundTruth`.

    Memory holds the reference ids, and a row group of each table of a day.

    Args:
        model_run: its name.
        folders: of its days' tables, the newest first: of an item on several, that one counts.
        masks: where its masks are.

    Attributes:
        notes: which days are left out, and why.

    Raises:
        TableError: if no day was materialized completely.
    """

    def __init__(self, model_run: str, folders: Sequence[Folder], masks: MaskStore) -> None:
        self.notes: list[str] = []
        usable: list[Folder] = []
        for folder in folders:
            try:
                ValidatedPredictions(folder)
                usable.append(folder)
            except TableError as error:
                if len(folders) == 1:
                    raise
                self.notes.append(f"{model_run}: a day is left out: {error}")
        if not usable:
            raise TableError(f"no day of {model_run} can be used. {' '.join(self.notes)}")
        self._given = (model_run, tuple(usable), masks)

    def __reduce__(self) -> tuple[Any, ...]:
        return ValidatedItems, self._given

    @property
    def model_run(self) -> str:
        """Its name."""
        return self._given[0]

    @property
    def model_runs(self) -> Sequence[str]:
        """Its name alone."""
        return self._given[:1]

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """Reference id of each item -> the day whose prediction counts."""
        found: dict[str, int] = {}
        for day, (rows, _) in enumerate(self._days):
            for id in rows.groups:
                found.setdefault(id, day)
        return found

    def fingerprints(self, reference_ids: Sequence[str | None]) -> Sequence[str | None]:
        """The fingerprint of each item's prediction, in order; None where there is none."""
        rows = self._rows(reference_ids, ["reference_id", "fingerprint"])
        return [None if id is None or id not in rows else rows[id]["fingerprint"]
                for id in reference_ids]  # fmt: skip

    def of(self, reference_ids: Sequence[str | None]) -> Mapping[str, tuple[str, Truth]]:
        """The fingerprint and the prediction of those items that have one, by reference id.

        Raises:
            StorageError: if the storage of the masks does not answer.
        """
        rows = self._rows(reference_ids, _ROW)
        segments: dict[str, list[Segment]] = {id: [] for id in rows}
        for day, ids in self._by_day(reference_ids).items():
            for one in self._days[day][1].of(ids, _SEGMENT).to_pylist():
                metadata = json.loads(one["metadata"] or "{}")
                segments[one["reference_id"]].append(Segment(one["label"], one["index"], metadata))
        model_run, _, masks = self._given
        pngs = masks.folder.each(self._png, [row["mask_sha256"] for row in rows.values()])
        return {
            id: (
                row["fingerprint"],
                Truth(model_run, row["height"], row["width"], tuple(segments[id]), png),
            )
            for (id, row), png in zip(rows.items(), pngs, strict=True)
        }

    def images(self, reference_ids: Sequence[str]) -> Mapping[str, tuple[str | None, str]]:
        """The URL of the image of each item, and the manifest it may be relative to."""
        rows = self._rows(reference_ids, _IMAGE)
        return {id: (row["image_url"], row["manifest"]) for id, row in rows.items()}

    @cached_property
    def _days(self) -> list[tuple[_RowsById, _RowsById]]:
        return [
            (_RowsById(folder, VALIDATED_FILE), _RowsById(folder, SEGMENTS_FILE))
            for folder in self._given[1]
        ]

    def _by_day(self, reference_ids: Sequence[str | None]) -> dict[int, list[str]]:
        days: dict[int, list[str]] = {}
        for id in reference_ids:
            if id is not None and id in self.ids:
                days.setdefault(self.ids[id], []).append(id)
        return days

    def _rows(
        self, reference_ids: Sequence[str | None], columns: list[str]
    ) -> dict[str, dict[str, Any]]:
        return {
            row["reference_id"]: row
            for day, ids in self._by_day(reference_ids).items()
            for row in self._days[day][0].of(ids, columns).to_pylist()
        }

    def _png(self, sha256: str) -> bytes | None:
        """A mask's bytes; None if its file is gone."""
        try:
            return self._given[2].read(sha256)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise


class _RowsById:
    """The rows of a Parquet file by reference id. Manifests of the same items mostly have them in
    the same order, so that asked for one after the other a row group is read once."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder, self._name = folder, name
        self._last: tuple[tuple[int, tuple[str, ...]], pa.Table] | None = None

    @cached_property
    def groups(self) -> Mapping[str, tuple[int, ...]]:
        """Reference id -> the row groups that have rows of it."""
        found: dict[str, tuple[int, ...]] = {}
        with self._folder.open_input(self._name) as handle:
            file = pq.ParquetFile(handle)
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, ["reference_id"])["reference_id"]
                for id in pc.unique(column).to_pylist():
                    found[id] = (*found.get(id, ()), group)
        return found

    def of(self, ids: Sequence[str], columns: list[str]) -> pa.Table:
        """The rows of some items, in the file's order."""
        wanted = pa.array(ids, pa.string())
        groups = sorted({group for id in ids for group in self.groups.get(id, ())})
        tables = (self._group(group, tuple(columns)) for group in groups)
        parts = [one.filter(pc.is_in(one["reference_id"], wanted)) for one in tables]
        return pa.concat_tables(parts) if parts else pa.table({})

    def _group(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        if self._last is None or self._last[0] != (group, columns):
            with self._folder.open_input(self._name) as handle:
                table = pq.ParquetFile(handle).read_row_group(group, list(columns))
            self._last = ((group, columns), table)
        return self._last[1]
