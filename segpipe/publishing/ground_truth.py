"""Ground truth as the catalog holds it: the published predictions of the model runs named so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from segpipe.errors import StorageError
from segpipe.predictions.prediction import Segment
from segpipe.publishing.stored_predictions import StoredPredictions
from segpipe.publishing.table_format import of_model_run
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.ground_truth import Truth

_FINGERPRINTS = ["reference_id", "fingerprint"]
# What is held of Segments that are read together, about, and of how many items they are read while
# it is not known yet how large they are.
_HELD_BYTES, _ITEMS_AT_FIRST = 64 << 20, 256
_COLUMNS = [*_FINGERPRINTS, "height", "width", "mask_sha256", "segments"]


class PublishedTruth:
    """Published ground truth at one version of a catalog; see
    :class:`segpipe.validation.ground_truth.GroundTruth`.

    Args:
        folder, masks: of the catalog.
        dataset: whose items are asked for.
        model_runs: whose predictions are the truth.
        version: of the catalog; None if nothing was published yet.
    """

    def __init__(
        self,
        folder: Folder,
        masks: MaskStore,
        dataset: str,
        model_runs: Sequence[str],
        version: int | None,
    ) -> None:
        self._given = (folder, masks, dataset, tuple(model_runs), version)
        self._stored = StoredPredictions(folder, masks)

    def __reduce__(self) -> tuple[Any, ...]:
        return PublishedTruth, self._given

    @classmethod
    def now(
        cls, stored: StoredPredictions, dataset: str, model_runs: Sequence[str]
    ) -> PublishedTruth:
        """What is published at this moment, whatever is published while it is used.

        Raises:
            CatalogError: if the catalog cannot be opened.
        """
        return cls(stored.folder, stored.masks, dataset, model_runs, stored.version())

    @property
    def model_runs(self) -> Sequence[str]:
        """Whose predictions are the truth; the first that has one for an item counts."""
        return self._given[3]

    @property
    def version(self) -> int | None:
        """Of the catalog; None if nothing was published yet."""
        return self._given[4]

    @cached_property
    def state(self) -> str:
        """A digest (hex) of the files that hold the truth: the same, and the truth is the same.

        Raises:
            CatalogError: if the catalog cannot be opened.
        """
        dataset = self._given[2]
        files = [
            (run, file["path"])
            for run, table in self._of_runs
            for file in pa.table(table.get_add_actions(flatten=True)).to_pylist()
            if (file["partition.dataset"], file["partition.model_run"]) == (dataset, run)
        ]
        return hashlib.sha256(repr(sorted(files)).encode()).hexdigest()

    def fingerprints(self, reference_ids: Sequence[str | None]) -> Sequence[str | None]:
        """The fingerprint of each item's truth, in order; None where there is none.

        Raises:
            CatalogError: if the catalog cannot be read.
        """
        found: dict[str, str] = {}
        for _, rows in self._rows(reference_ids, _FINGERPRINTS):
            for row in rows.to_pylist():
                found.setdefault(row["reference_id"], row["fingerprint"])
        return [None if id is None else found.get(id) for id in reference_ids]

    def of(self, reference_ids: Sequence[str | None]) -> Mapping[str, tuple[str, Truth]]:
        """The fingerprint and the truth of those items that have one, by reference id.

        Raises:
            CatalogError: if the catalog cannot be read.
            StorageError: if the storage of the masks does not answer.
        """
        rows: dict[str, tuple[str, dict[str, Any]]] = {}
        for model_run, table in self._rows(reference_ids, _COLUMNS):
            for row in table.to_pylist():
                rows.setdefault(row["reference_id"], (model_run, row))
        sha256s = [row["mask_sha256"] for _, row in rows.values()]
        masks = self._stored.masks.folder.each(self._png, sha256s)
        return {
            id: (row["fingerprint"], _truth(model_run, row, png))
            for (id, (model_run, row)), png in zip(rows.items(), masks, strict=True)
        }

    def read_together(self, reference_ids: Callable[[], Collection[str]]) -> PublishedTruth:
        """The same truth, which reads that of some items at once where all that is asked for is
        among them: all fingerprints, and Segments of as many items as 64 MiB hold, about.

        Args:
            reference_ids: those items, in the order in which they are asked for; called when they
                are first needed.
        """
        return _ReadTogether(self, reference_ids)

    @cached_property
    def _of_runs(self) -> list[tuple[str, DeltaTable]]:
        """The model runs of which something is published, each with the opened table."""
        table, there = self._opened, self.published_model_runs
        if table is None:
            return []
        return [(model_run, table) for model_run in self.model_runs if model_run in there]

    @cached_property
    def _opened(self) -> DeltaTable | None:
        version = self.version
        return None if version is None else self._stored.table.open(version)

    @cached_property
    def published_model_runs(self) -> Sequence[str]:
        """All model runs of the dataset of which something is published, sorted.

        Raises:
            CatalogError: if the catalog cannot be opened.
        """
        dataset = self._given[2]
        found = [] if self._opened is None else self._opened.partitions()
        return sorted({one["model_run"] for one in found if one["dataset"] == dataset})

    def _rows(
        self, reference_ids: Sequence[str | None], columns: list[str]
    ) -> list[tuple[str, pa.Table]]:
        ids = pa.array([id for id in reference_ids if id is not None], pa.string())
        dataset = self._given[2]
        return [
            (run, self._stored.read_from(table, columns, of_model_run(dataset, run), ids))
            for run, table in self._of_runs
        ]

    def _png(self, sha256: str) -> bytes | None:
        """A mask's bytes; None if its file is gone."""
        try:
            return self._stored.masks.read(sha256)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise


class _ReadTogether(PublishedTruth):
    """See :meth:`PublishedTruth.read_together`; in another process it is as the whole one.

    Reference ids may say nothing of the day, and then each reading goes through all files.
    """

    def __init__(self, whole: PublishedTruth, reference_ids: Callable[[], Collection[str]]) -> None:
        super().__init__(*whole._given)
        self._whole, self._reference_ids = whole, reference_ids
        self._read: dict[tuple[str, ...], _Read] = {}
        self._items_at_once = _ITEMS_AT_FIRST

    @property
    def state(self) -> str:
        """As of the whole."""
        return self._whole.state

    @property
    def _opened(self) -> DeltaTable | None:
        return self._whole._opened

    @cached_property
    def _places(self) -> Mapping[str, int]:
        """The items, each with its place in their order."""
        return {id: place for place, id in enumerate(dict.fromkeys(self._reference_ids()))}

    def _rows(
        self, reference_ids: Sequence[str | None], columns: list[str]
    ) -> list[tuple[str, pa.Table]]:
        asked = {id for id in reference_ids if id is not None}
        if not asked or not asked <= self._places.keys():
            return self._whole._rows(reference_ids, columns)
        key = tuple(columns)
        read = self._read.get(key)
        if read is None or not asked <= read.ids:
            self._read.pop(key, None)  # before the next is read
            self._read[key] = read = self._read_from(asked, columns)
        ids = pa.array(asked, pa.string())
        return [
            (run, rows.filter(pc.is_in(rows["reference_id"], value_set=ids)))
            for run, rows in read.of_runs
        ]

    def _read_from(self, asked: Set[str], columns: list[str]) -> _Read:
        """The truth of some of the items, and of those after them that are read with them."""
        if columns == _FINGERPRINTS:
            ids = frozenset(self._places)
            return _Read(ids, self._whole._rows(sorted(ids), columns))
        first = min(self._places[id] for id in asked)
        ids = frozenset([*asked, *islice(self._places, first, first + self._items_at_once)])
        read = _Read(ids, self._whole._rows(sorted(ids), columns))
        size = sum(rows.nbytes for _, rows in read.of_runs)
        self._items_at_once = max(1, _HELD_BYTES * len(ids) // max(1, size))
        return read


@dataclass(frozen=True)
class _Read:
    """The rows of some items, of each model run."""

    ids: frozenset[str]
    of_runs: list[tuple[str, pa.Table]]


def _truth(model_run: str, row: Mapping[str, Any], png: bytes | None) -> Truth:
    segments = tuple(
        Segment(one["label"], one["index"], json.loads(one["metadata"] or "{}"))
        for one in row["segments"] or ()
    )
    return Truth(model_run, row["height"], row["width"], segments, png)
