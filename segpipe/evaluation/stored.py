"""An evaluation as it is stored: Parquet tables named by their content, and a summary of them."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.errors import SegpipeError, TableError
from segpipe.evaluation.block import Conventions
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.schemas import (
    CLASSES,
    CONFUSION,
    ITEM_CLASSES,
    ITEM_CONFUSION,
    ITEMS,
    SEGMENTS,
    SUMMARY,
)
from segpipe.evaluation.scores import CONVENTIONS_VERSION, Scores
from segpipe.evaluation.uncertainty import CALIBRATION
from segpipe.storage.files import Folder
from segpipe.tables.schemas import FORMAT, FORMAT_KEY

Result = TypeVar("Result")
SUMMARY_FILE = "_evaluation.json"
# Tables that no summary names are not removed before: another run may be about to name them.
_ABOUT_TO_BE_NAMED = timedelta(hours=1)
#: The folder, beside those of days, of a model run's evaluation over all of them.
ALL_DAYS = "all-days"
#: What an evaluation consists of; the other tables follow from these.
_PARTS = {
    "items": ITEMS,
    "item_classes": ITEM_CLASSES,
    "item_confusion": ITEM_CONFUSION,
    "segments": SEGMENTS,
}
_DERIVED = {
    "classes": CLASSES, "confusion": CONFUSION, "calibration": CALIBRATION, "summary": SUMMARY,
}  # fmt: skip
#: All tables of a partition's evaluation: name -> schema.
TABLES = {**_PARTS, **_DERIVED}
#: Those of a model run's, over all its days.
TABLES_OF_DATASET = {
    name: TABLES[name]
    for name in ("items", "classes", "segments", "confusion", "calibration", "summary")
}
_UNDECIDED = "undecided"
_DAMAGED = (SegpipeError, pa.ArrowException, ValueError, KeyError, TypeError, OSError)


class StoredEvaluation:
    """A stored evaluation, read a table at a time.

    Args:
        place: its folder.
        summary: what its summary says.
    """

    def __init__(self, place: Folder, summary: Mapping[str, Any]) -> None:
        self._place, self.summary = place, summary

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A table, or some of its columns; ``undecided`` with ``label``.

        Raises:
            TableError: if it is damaged, or gone.
        """
        schema = TABLES[name]
        wanted = schema if columns is None else pa.schema([schema.field(one) for one in columns])
        try:
            data = self._place.read(self.summary["tables"][name])
            # Less dear than `pq.read_table`, which makes a data set of every small file.
            file = pq.ParquetFile(pa.BufferReader(data))
            found = file.read(columns, use_threads=False).replace_schema_metadata()
            if _UNDECIDED in wanted.names and _UNDECIDED not in found.column_names:
                # Written before the items had this column: of no item it is known, so of none it
                # is ruled out.
                told = pc.is_in(found["label"], pa.array(self.undecided, pa.string()))
                found = found.append_column(_UNDECIDED, told)
        except _DAMAGED as error:
            raise TableError(self._words(name, str(error))) from error
        if not found.schema.equals(wanted):
            raise TableError(self._words(name, "its columns are others"))
        return found

    def _words(self, name: str, why: str) -> str:
        return (
            f"the table {name} in {self._place.shown} cannot be read ({why}): evaluate the "
            "partition again, with --force; if it was just being evaluated, ask again"
        )

    @property
    def undecided(self) -> Sequence[str]:
        """Labels of which nothing says thing or stuff."""
        found: Sequence[str] = self.summary["undecided"]
        return found

    @property
    def inputs(self) -> object:
        """What it was made of; None if it has to be looked at again in any case."""
        return self.summary.get("inputs")

    def whole(self) -> Evaluation | None:
        """All of a partition's evaluation; None if it is damaged."""
        try:
            tables = {name: self.table(name) for name in _PARTS}
        except TableError:
            return None
        boundary = self.summary.get("boundary") is True
        return Evaluation(**tables, boundary=boundary)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the tables but ``summary``, which has the version of the catalog."""
        tables = {name: file for name, file in self.summary["tables"].items() if name != "summary"}
        return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()


def once_more(work: Callable[[], Result]) -> Result:
    """What reads stored evaluations; again where a table is missing, since a day may have been
    evaluated again meanwhile, and its tables have other names then.

    Raises:
        TableError: if it is missing the second time.
    """
    try:
        return work()
    except TableError:
        return work()


@dataclass(frozen=True)
class EvaluationStore:
    """Where an evaluation is, of a partition or of a model run, and what it is of.

    Attributes:
        folder: of the partition's evaluations, or of the model run's.
        dataset, model_run: of the predictions.
        against: model runs of the ground truth.
        conventions: how the predictions are judged.
    """

    folder: Folder
    dataset: str
    model_run: str
    against: Sequence[str]
    conventions: Conventions

    @property
    def place(self) -> Folder:
        """The folder of evaluations against this ground truth by these conventions."""
        return self.folder.folder(self._decides[:16])

    @property
    def _decides(self) -> str:
        """SHA-256 (hex) of everything that decides the tables, but the predictions."""
        conventions = self.conventions
        decides = [
            CONVENTIONS_VERSION,
            list(self.against),
            list(conventions.taxonomy.items()),
            conventions.merge_stuff,
            conventions.boundary,
            conventions.contours,
        ]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    def stored(self) -> StoredEvaluation | None:
        """What is stored; None if there is nothing, or its summary is damaged."""
        place = self.place
        try:
            if not place.exists(SUMMARY_FILE):
                return None
            summary = json.loads(place.read(SUMMARY_FILE))
            if not {"tables", "undecided"} <= summary.keys():
                return None
        except (*_DAMAGED, AttributeError):
            return None
        return StoredEvaluation(place, summary)

    def read(self) -> Evaluation | None:
        """The stored evaluation; None if there is none, or it is damaged."""
        stored = self.stored()
        return None if stored is None else stored.whole()

    def digest(self) -> str:
        """SHA-256 (hex) of the stored tables.

        Raises:
            TableError: if there are none.
        """
        stored = self.stored()
        if stored is None:
            raise TableError(f"{self.place.shown}/{SUMMARY_FILE} is missing: evaluate it again")
        return stored.digest

    def write(
        self,
        evaluation: Evaluation,
        catalog_version: int | None,
        inputs: Mapping[str, str] | None = None,
        *,
        anew: bool = True,
    ) -> None:
        """Store an evaluation: its tables first, then the summary that names them. Those of an
        earlier evaluation are removed.

        Args:
            catalog_version: in which the ground truth was read.
            inputs: what it was made of; None if it has to be looked at again in any case.
            anew: write tables again that are there already, as they may be damaged.

        Raises:
            StorageError: if it cannot be written; the one before is then untouched.
        """
        tables = {name: [getattr(evaluation, name)] for name in TABLES if name != "summary"}
        self._write(evaluation, catalog_version, tables, {"inputs": inputs}, anew=anew)

    def forget(self) -> None:
        """Have nothing stored any more.

        Raises:
            StorageError: if it cannot be removed.
        """
        self.place.remove(SUMMARY_FILE)

    def note_inputs(self, stored: StoredEvaluation, inputs: Mapping[str, str]) -> None:
        """Note that what is stored would be made of these inputs as well.

        Raises:
            StorageError: if it cannot be written.
        """
        self.place.write(SUMMARY_FILE, _json({**stored.summary, "inputs": inputs}))

    def write_dataset(
        self, found: Scores, catalog_version: int | None, segments: Iterable[pa.Table]
    ) -> None:
        """The same of a model run, over all its days.

        Args:
            segments: SEGMENTS, some at a time.
        """
        tables = {
            name: segments if name == "segments" else [getattr(found, name)]
            for name in TABLES_OF_DATASET
            if name != "summary"
        }
        self._write(found, catalog_version, tables, {}, anew=True)

    def _write(
        self,
        found: Scores,
        catalog_version: int | None,
        tables: Mapping[str, Iterable[pa.Table]],
        more: Mapping[str, Any],
        *,
        anew: bool,
    ) -> None:
        place, before = self.place, self.stored()
        replaced = set() if before is None else {*dict(before.summary["tables"]).values()}
        names: dict[str, str] = {}
        for name, parts in {**tables, "summary": [found.summary(catalog_version)]}.items():
            data = _parquet(parts, TABLES[name])
            names[name] = f"{name}-{hashlib.sha256(data).hexdigest()[:32]}.parquet"
            if anew or not place.exists(names[name]):
                place.write(names[name], data)
        summary = {
            "dataset": self.dataset,
            "model_run": self.model_run,
            "against": list(self.against),
            "conventions": CONVENTIONS_VERSION,
            "boundary": self.conventions.boundary,
            "catalog_version": catalog_version,
            "items": dict(found.outcomes),
            "numbers": dict(found.numbers),
            "uncertainty": dict(found.uncertainty),
            "undecided": list(found.undecided),
            "tables": names,
            **more,
        }
        place.write(SUMMARY_FILE, _json(summary))
        lately = datetime.now(UTC) - _ABOUT_TO_BE_NAMED
        for file in [*place.files()]:
            name = file.path.rpartition("/")[2]
            unnamed = name.endswith(".parquet") and name not in names.values()
            if unnamed and (name in replaced or file.modified < lately):
                place.remove(name)


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _parquet(parts: Iterable[pa.Table], schema: pa.Schema) -> bytes:
    """The bytes of a Parquet file; of the tables, one is held at a time."""
    stamped = schema.with_metadata({FORMAT_KEY: str(FORMAT)})
    with tempfile.SpooledTemporaryFile(1 << 24) as written:
        with pq.ParquetWriter(written, stamped, compression="zstd") as writer:
            for part in parts:
                writer.write_table(part.combine_chunks().cast(stamped))
        written.seek(0)
        return written.read()
