"""Whole rows of one item: from the catalog, the partitions' tables, receipts and history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa

from segpipe.errors import CatalogError, SegpipeError
from segpipe.manifests.common_types import cells_or_text
from segpipe.manifests.partition import Partition
from segpipe.pictures.overlay import LegendEntry, looks_of
from segpipe.pictures.palette import Colour, hex_colour
from segpipe.publishing.table_format import TABLE
from segpipe.root import Root
from segpipe.storage.files import Folder, folder_name
from segpipe.storage.sources import recorded
from segpipe.tables.item_rows import rows_of_item
from segpipe.tables.schemas import RECEIPTS, SEGMENTS, VALIDATED
from segpipe.validation.summary import REJECTED_FILE, SEGMENTS_FILE, VALIDATED_FILE
from segpipe.viewer.blocks import catalog_row
from segpipe.viewer.sources import Source

_MOST_VERSIONS = 200
_MOST_CELL = 2_000
_TOP = 5
_UNREADABLE = (SegpipeError, OSError, pa.ArrowException)
_URLS = ("mask_url", "image_url")
Row = dict[str, Any]


class LookedUp:
    """What the tables of a root say of one item."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._table = root.settings.folder("catalog").folder(TABLE)

    def published(self, source: Source, place: int) -> Row:
        """A row of the catalog.

        Args:
            source: the data file that it is in.
            place: where in it.

        Raises:
            CatalogError: if the file is not there any more, or cannot be read.
        """
        try:
            row = catalog_row(self._table, source.path, place)
        except (OSError, pa.ArrowException, IndexError) as error:
            raise CatalogError(
                f"a data file of the catalog cannot be read ({type(error).__name__}): it may have "
                "been replaced meanwhile; look again in a moment"
            ) from None
        return {**row, "dataset": source.dataset, "model_run": source.model_run}

    def accepted(self, model_run: str, date: str, reference_id: str) -> Row | None:
        """A row of a partition's validated table, with its Segments; None where there is none, or
        the tables cannot be read, which the index tells."""
        folder = self._tables(model_run, date)
        try:
            rows = _rows_of_item(folder, VALIDATED_FILE, reference_id)
            if not rows:
                return None
            row: Row = rows[0]
            row["segments"] = _rows_of_item(folder, SEGMENTS_FILE, reference_id, SEGMENTS.names[3:])
        except _UNREADABLE:
            return None
        return row

    def rejected(self, model_run: str, date: str, reference_id: str) -> list[Row]:
        """The findings of a partition's rejected rows of an item; none if they cannot be read."""
        try:
            return _rows_of_item(self._tables(model_run, date), REJECTED_FILE, reference_id or None)
        except _UNREADABLE:
            return []

    def receipt(self, dataset: str, row: Mapping[str, Any]) -> Row | None:
        """The receipt of the run that published a row; None where it is not there any more."""
        if not row.get("run_id"):
            return None
        try:
            partition = Partition(row["model_run"], row["partition"])
            folder = self._root.receipts().folder(
                f"dataset={folder_name(dataset)}", *partition.folders
            )
            name = f"{folder_name(row['run_id'])}.parquet"
            found = _rows_of_item(folder, name, row["reference_id"], RECEIPTS.names)
        except _UNREADABLE:
            return None
        return found[0] if found else None

    def history(self, dataset: str, reference_id: str, runs: Sequence[str]) -> list[Row]:
        """What happened to an item's predictions, as receipts and the catalog's log say it."""
        versions = self._root.catalog.history(_MOST_VERSIONS)
        found = []
        for one in versions:
            run = one.notes.get("model_run")
            if one.notes.get("dataset", dataset) != dataset or (run and run not in runs):
                continue
            entry: Row = {
                "version": one.version, "time": _time(one.time), "operation": one.operation,
                "model_run": run, "outcome": None, "fingerprint": None,
                "previous_fingerprint": None,
            }  # fmt: skip
            if one.operation == "publish" and run and {"partition", "run_id"} <= {*one.notes}:
                whose = {"model_run": run, "reference_id": reference_id, **one.notes}
                receipt = self.receipt(dataset, whose)
                if receipt is None:
                    continue
                entry |= {name: receipt[name] for name in (
                    "outcome", "fingerprint", "previous_fingerprint",
                )}  # fmt: skip
            found.append(entry)
        return found

    def _tables(self, model_run: str, date: str) -> Folder:
        return self._root.tables(Partition(model_run, date))


def _rows_of_item(
    folder: Folder, name: str, reference_id: str | None, columns: Sequence[str] | None = None
) -> list[Row]:
    """The rows of a table about an item; a carried value that Python cannot represent is text."""
    return [
        dict(zip(batch.schema.names, cells, strict=True))
        for batch in rows_of_item(folder, name, reference_id, columns).to_batches()
        for cells in zip(*map(cells_or_text, batch.columns), strict=True)
    ]


def segments_of(row: Mapping[str, Any], colours: Mapping[str, Colour]) -> list[Row]:
    """A row's Segments as the item page shows them, each in the shade that pictures give it."""
    given = row.get("segments") or ()
    legend = [LegendEntry(one["index"], one["label"]) for one in given if _is_value(one["index"])]
    table = looks_of(legend, colours).colours
    return [
        {
            "index": one["index"],
            "label": one["label"],
            "colour": hex_colour(table[one["index"] if _is_value(one["index"]) else 0].tolist()),
            "confidence": one.get("confidence"),
            "entropy": one.get("entropy"),
            "margin": one.get("margin"),
            "class_pdf": _likeliest(one.get("class_pdf")),
            "pixels": one.get("area_px"),
            "area_fraction": one.get("area_fraction"),
            "metadata": one.get("metadata") or "{}",
        }
        for one in given
    ]


def _is_value(index: int | None) -> bool:
    return index is not None and 0 <= index <= 255


def _likeliest(pdf: Any) -> list[list[Any]]:
    pairs = sorted(pdf or (), key=lambda pair: (-pair[1], pair[0]))
    return [[name, share] for name, share in pairs[:_TOP]]


def manifest_row(row: Mapping[str, Any], root: str) -> dict[str, str]:
    """What the validated table has of a row of the manifest, as text: URL, carried columns.

    Args:
        row: of a table; of a rejected one the manifest's, whose URLs may hold a secret.
        root: URL of the root.
    """
    hidden = {*VALIDATED.names, "segments"} - {"annotation_id", "mask_url", "image_url", "bytes"}
    return {
        name: _text(recorded(value, root) if name in _URLS else value)
        for name, value in row.items()
        if name not in hidden and value is not None
    }


def _text(value: Any) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, (bytes, bytearray)):
        text = f"{len(value)} bytes"
    elif isinstance(value, (dict, list)):
        text = orjson.dumps(value, default=str).decode()
    else:
        text = str(value)
    return text if len(text) <= _MOST_CELL else f"{text[:_MOST_CELL]}... ({len(text)} characters)"


def _time(value: datetime) -> str:
    return value.isoformat(timespec="seconds")


def receipt_text(receipt: Mapping[str, Any] | None) -> Row | None:
    """A receipt for JSON."""
    if receipt is None:
        return None
    return {
        name: _time(value) if isinstance(value, datetime) else value
        for name, value in receipt.items()
        if name not in ("dataset", "model_run", "reference_id")
    }
