"""An evaluation as it is stored: Parquet tables named by their content, and a summary of them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.errors import SegpipeError
from segpipe.evaluation.block import Conventions
from segpipe.evaluation.result import CONVENTIONS_VERSION, Evaluation
from segpipe.evaluation.schemas import (
    CLASSES,
    CONFUSION,
    ITEM_CLASSES,
    ITEM_CONFUSION,
    ITEMS,
    SEGMENTS,
)
from segpipe.evaluation.uncertainty import CALIBRATION
from segpipe.storage.files import Folder
from segpipe.tables.schemas import FORMAT, FORMAT_KEY

SUMMARY_FILE = "_evaluation.json"
#: What an evaluation consists of; the other tables follow from these.
_PARTS = {
    "items": ITEMS,
    "item_classes": ITEM_CLASSES,
    "item_confusion": ITEM_CONFUSION,
    "segments": SEGMENTS,
}
_DERIVED = {"classes": CLASSES, "confusion": CONFUSION, "calibration": CALIBRATION}
#: All tables of an evaluation: name -> schema.
TABLES = {**_PARTS, **_DERIVED}


@dataclass(frozen=True)
class EvaluationStore:
    """Where the evaluation of a partition is, and what it is of.

    Attributes:
        folder: of the partition's evaluations.
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

    def read(self) -> Evaluation | None:
        """The stored evaluation; None if there is none, or it is damaged."""
        place = self.place
        try:
            if not place.exists(SUMMARY_FILE):
                return None
            summary = json.loads(place.read(SUMMARY_FILE))
            tables = {name: _table(place, summary["tables"][name]) for name in _PARTS}
            if any(not tables[name].schema.equals(of) for name, of in _PARTS.items()):
                return None
            return Evaluation(
                **tables,
                undecided=summary["undecided"],
                boundary=self.conventions.boundary,
            )
        except (SegpipeError, pa.ArrowException, ValueError, KeyError, TypeError, OSError):
            return None

    def digest(self) -> str:
        """SHA-256 (hex) of the stored tables.

        Raises:
            StorageError: if the summary cannot be read.
        """
        summary = json.loads(self.place.read(SUMMARY_FILE))
        return hashlib.sha256(json.dumps(summary["tables"], sort_keys=True).encode()).hexdigest()

    def write(self, evaluation: Evaluation, catalog_version: int | None) -> None:
        """Store an evaluation: its tables first, then the summary that names them. Tables that are
        there already are not written again; those of an earlier evaluation are removed.

        Args:
            catalog_version: in which the ground truth was read.

        Raises:
            StorageError: if it cannot be written; the one before is then untouched.
        """
        place = self.place
        names: dict[str, str] = {}
        for name in TABLES:
            data = _parquet(getattr(evaluation, name))
            names[name] = f"{name}-{hashlib.sha256(data).hexdigest()[:32]}.parquet"
            if not place.exists(names[name]):
                place.write(names[name], data)
        summary = {
            "dataset": self.dataset,
            "model_run": self.model_run,
            "against": list(self.against),
            "conventions": CONVENTIONS_VERSION,
            "boundary": self.conventions.boundary,
            "catalog_version": catalog_version,
            "items": dict(evaluation.outcomes),
            "numbers": dict(evaluation.numbers),
            "uncertainty": dict(evaluation.uncertainty),
            "undecided": list(evaluation.undecided),
            "tables": names,
        }
        place.write(SUMMARY_FILE, _json(summary))
        for file in [*place.files()]:
            name = file.path.rpartition("/")[2]
            if name.endswith(".parquet") and name not in names.values():
                place.remove(name)


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _parquet(table: pa.Table) -> bytes:
    table = table.combine_chunks().replace_schema_metadata({FORMAT_KEY: str(FORMAT)})
    written = io.BytesIO()
    pq.write_table(table, written, compression="zstd")
    return written.getvalue()


def _table(place: Folder, name: str) -> pa.Table:
    return pq.read_table(io.BytesIO(place.read(name))).replace_schema_metadata()
