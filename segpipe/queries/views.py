"""The views of a root that SQL can read, each made when a query names it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.dataset as pds

from segpipe.evaluation.stored import ALL_DAYS, SUMMARY_FILE, TABLES, TABLES_OF_DATASET
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.table_format import PREDICTIONS, TABLE
from segpipe.queries.stored_tables import (
    TableFile,
    carried_columns,
    data_set,
    files_below,
    published_files,
)
from segpipe.storage.files import Folder
from segpipe.tables.schemas import MEASURED, RECEIPTS, REJECTED, VALIDATED
from segpipe.validation.summary import REJECTED_FILE, VALIDATED_FILE

#: View -> what a row of it is.
VIEWS = {
    "predictions": "published predictions, their Segments nested",
    "segments": "Segments of published predictions",
    "validated": "accepted predictions, published or not",
    "rejected": "findings of rejected rows, with what to do",
    "receipts": "what happened to each prediction whenever it was published",
    "history": "versions of the catalog",
    "evaluation_items": "items of evaluations: what became of them, and their numbers",
    "evaluation_classes": "classes of evaluated partitions: counts and numbers",
    "evaluation_item_classes": "classes of evaluated items",
    "evaluation_segments": "segments of both sides: matched, missed, wrong or ignored, and why",
    "evaluation_confusion": "pixels by true and predicted class",
    "evaluation_item_confusion": "the same of each item",
    "evaluation_calibration": "bins of confidence beside the share that is right",
    "evaluation_summary": "evaluated partitions: their numbers",
    "evaluation_of_dataset_items": "the same of model runs over all their days: items",
    "evaluation_of_dataset_classes": "classes of model runs",
    "evaluation_of_dataset_segments": "segments of both sides",
    "evaluation_of_dataset_confusion": "pixels by true and predicted class",
    "evaluation_of_dataset_calibration": "bins of confidence",
    "evaluation_of_dataset_summary": "model runs: their numbers",
}
#: The tables of evaluations, each a view: view -> the name of the table, and whether it is of model
#: runs over all their days.
EVALUATIONS = {
    **{f"evaluation_{name}": (name, False) for name in TABLES},
    **{f"evaluation_of_dataset_{name}": (name, True) for name in TABLES_OF_DATASET},
}
#: The views that --version is about.
VERSIONED = ("predictions", "segments")

# The manifest's day, named as in the catalog's table.
_DAY = pa.field("partition", pa.string())
_PARTITION = r"model_run=(?P<model_run>[^/]+)/date=(?P<partition>[^/]+)"
_RECEIPTS = re.compile(rf"dataset=(?P<dataset>[^/]+)/{_PARTITION}/[^/]+\.parquet")
_SUMMARY = rf"/(?P<evaluation>[^/]+)/{re.escape(SUMMARY_FILE)}"
_EVALUATION = re.compile(_PARTITION + _SUMMARY)
_OF_DATASET = re.compile(rf"model_run=(?P<model_run>[^/]+)/{ALL_DAYS}{_SUMMARY}")
# Which evaluation a row is of; ``evaluation`` tells those of a partition apart.
_EVALUATED = [
    pa.field(name, pa.string())
    for name in ("model_run", _DAY.name, "evaluation", "against", "conventions")
]
_HISTORY = pa.schema(
    [
        pa.field("version", pa.int64()),
        pa.field("time", pa.timestamp("us", tz="UTC")),
        *(
            pa.field(name, pa.string())
            for name in ("operation", "model_run", "partition", "run_id")
        ),
        pa.field("notes", pa.map_(pa.string(), pa.string())),
    ]
)


# The folder of an evaluation, what is known of all its rows, and its tables' files.
_Evaluated = tuple[str, Mapping[str, str], Mapping[str, str]]


@dataclass(frozen=True)
class Sources:
    """Where a root keeps what its views show.

    Attributes:
        validated: the folder of the partitions' tables.
        receipts: destination -> the folder of its receipts.
        evaluations: the folder of the partitions' evaluations.
    """

    catalog: Catalog
    validated: Folder
    evaluations: Folder
    receipts: Mapping[str, Folder]


@dataclass
class Views:
    """The views of a root, at a version of its catalog.

    Args:
        version: of the catalog; the newest if None.
        takes: whether the engine can read a type.

    Attributes:
        notes: what is to be said of the views that were made.
    """

    sources: Sources
    version: int | None
    takes: Callable[[pa.DataType], bool]
    notes: list[str] = field(default_factory=list)

    @cached_property
    def predictions(self) -> pds.Dataset:
        """The catalog's table: a row is a published prediction.

        Raises:
            CatalogError: if the version does not exist, or is none that can be read.
        """
        catalog = self.sources.catalog
        table = catalog.table.open(self.version, any_columns=True)
        folder = catalog.folder.folder(TABLE)
        if table is None:
            return data_set(folder, [], PREDICTIONS)
        schema = _completed(PREDICTIONS, pa.schema(table.schema().to_arrow()))
        return data_set(folder, published_files(table, catalog.table.shown), schema)

    def segments_sql(self) -> str:
        """The Segments of ``predictions``, as SQL: a row each, their columns typed."""
        nested = self.predictions.schema.field("segments").type.value_type
        own = ["dataset", "model_run", "reference_id", "partition"]
        names = _distinct([*own, *(member.name for member in nested)])[len(own) :]
        self.notes += [
            f"segments: the column {member.name!r} is named {name!r} here"
            for member, name in zip(nested, names, strict=True)
            if member.name != name
        ]
        columns = [
            f"segment.{identifier(member.name)} AS {identifier(name)}"
            for member, name in zip(nested, names, strict=True)
        ]
        return (
            f"SELECT {', '.join([*own, *columns])} FROM "
            f"(SELECT {', '.join(own)}, unnest(segments) AS segment FROM predictions)"
        )

    def validated(self) -> pds.Dataset:
        """The validated tables of all partitions, with the columns that manifests carry.

        Raises:
            StorageError: if they cannot be read.
        """
        folder = self.sources.validated
        pattern = re.compile(f"{_PARTITION}/{re.escape(VALIDATED_FILE)}")
        files = list(files_below(folder, pattern))
        own = pa.schema([*VALIDATED, _DAY])
        carried, notes = carried_columns(folder, files, VALIDATED.names, self.takes)
        self.notes += [f"validated: {note}" for note in notes]
        if _DAY.name in (column.name for column in carried):
            self.notes.append(
                f"validated: the column {_DAY.name!r} is the manifest's day; the one of that name "
                "that manifests carry is left out"
            )
        added = [column for column in carried if column.name not in own.names]
        return data_set(folder, files, pa.schema([*own, *added]))

    def rejected(self) -> pds.Dataset:
        """The rejected tables of all partitions.

        Raises:
            StorageError: if they cannot be listed.
        """
        folder = self.sources.validated
        pattern = re.compile(f"{_PARTITION}/{re.escape(REJECTED_FILE)}")
        return data_set(folder, list(files_below(folder, pattern)), pa.schema([*REJECTED, _DAY]))

    def receipts(self) -> list[pds.Dataset]:
        """The receipts of each destination.

        Raises:
            StorageError: if they cannot be listed.
        """
        schema = pa.schema([*RECEIPTS, _DAY, pa.field("destination", pa.string())])
        return [
            data_set(folder, list(files_below(folder, _RECEIPTS, {"destination": name})), schema)
            for name, folder in self.sources.receipts.items()
        ]

    def evaluation(self, name: str, *, of_dataset: bool) -> pds.Dataset:
        """A table of all evaluations, those that a summary names.

        Args:
            name: as in :data:`segpipe.evaluation.stored.TABLES`.
            of_dataset: of model runs over all their days, and not of partitions.

        Raises:
            StorageError: if they cannot be listed or read.
        """
        found = self._of_datasets if of_dataset else self._of_partitions
        files = [TableFile(f"{place}/{tables[name]}", values) for place, values, tables in found]
        own = [field for field in _EVALUATED if field.name != _DAY.name or not of_dataset]
        schema = pa.schema([*own, *TABLES[name]])
        return data_set(self.sources.evaluations, files, schema)

    @cached_property
    def _of_partitions(self) -> Sequence[_Evaluated]:
        return self._evaluations(_EVALUATION, TABLES, "partition")

    @cached_property
    def _of_datasets(self) -> Sequence[_Evaluated]:
        return self._evaluations(_OF_DATASET, TABLES_OF_DATASET, "model run")

    def _evaluations(
        self, pattern: re.Pattern[str], names: Iterable[str], whose: str
    ) -> Sequence[_Evaluated]:
        """The evaluations whose summaries have such a path."""
        folder = self.sources.evaluations
        summaries = list(files_below(folder, pattern))
        found = []
        texts = folder.each(lambda file: folder.read(file.path), summaries)
        for file, text in zip(summaries, texts, strict=True):
            try:
                told = json.loads(text)
                values = {
                    **file.values,
                    "against": ", ".join(told["against"]),
                    "conventions": told["conventions"],
                }
                tables = {name: str(told["tables"][name]) for name in names}
            except (ValueError, KeyError, TypeError):
                self.notes.append(
                    f"{folder.shown}/{file.path} is damaged and left out: evaluate the {whose} "
                    "again"
                )
                continue
            found.append((file.path.rpartition("/")[0], values, tables))
        return found

    def history(self) -> pa.Table:
        """The catalog's versions.

        Raises:
            CatalogError: if the table cannot be read.
        """
        rows = [
            {
                "version": one.version,
                "time": one.time,
                "operation": one.operation,
                **{name: one.notes.get(name) for name in ("model_run", "partition", "run_id")},
                "notes": list(one.notes.items()),
            }
            for one in self.sources.catalog.history()
        ]
        return pa.Table.from_pylist(rows, _HISTORY)


def _completed(expected: pa.Schema, found: pa.Schema) -> pa.Schema:
    """The columns and nested columns of a table, and those of this version that it lacks."""
    members = [*MEASURED]
    if "segments" in found.names:
        members = _united(MEASURED, found.field("segments").type.value_type)
    place = expected.get_field_index("segments")
    wanted = expected.set(place, pa.field("segments", pa.list_(pa.struct(members))))
    others = [column for column in found if column.name != "segments"]
    return pa.schema(_united(wanted, others))


def _united(expected: Iterable[pa.Field], found: Iterable[pa.Field]) -> list[pa.Field]:
    """By name; what is there has its own type."""
    there = {column.name: column for column in found}
    own = [there.pop(column.name, column) for column in expected]
    return [column.with_nullable(True) for column in [*own, *there.values()]]


def _distinct(names: Iterable[str]) -> list[str]:
    """Names that differ in more than case, as SQL needs them: of two, the later gets a number."""
    taken: set[str] = set()
    made = []
    for given in names:
        name, number = given, 0
        while name.casefold() in taken:
            number += 1
            name = f"{given}_{number}"
        taken.add(name.casefold())
        made.append(name)
    return made


def identifier(name: str) -> str:
    """A name as SQL's identifier."""
    return '"' + name.replace('"', '""') + '"'
