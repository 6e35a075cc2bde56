"""The form of the Delta table of published predictions: columns, files, names, predicates."""

from __future__ import annotations

import pyarrow as pa
from deltalake import DeltaTable, WriterProperties

from segpipe.tables.schemas import FORMAT_KEY, PREDICTION
from segpipe.validation.validated import SEGMENT_LIST

#: The column of nested Segments.
SEGMENTS_COLUMN = "segments"
#: The columns of the Delta table: one row per published prediction.
PREDICTIONS = pa.schema(
    [
        *PREDICTION,
        pa.field(SEGMENTS_COLUMN, SEGMENT_LIST),
        pa.field("image_url", pa.string()),
        pa.field("manifest", pa.string()),
        pa.field("partition", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("previous_fingerprint", pa.string()),
        pa.field("published_at", pa.timestamp("us", tz="UTC")),
    ]
)

#: The table's folder in the catalog.
TABLE = "predictions"
#: Where the mask files are, relative to the catalog's folder where that is possible.
MASKS_KEY = "segpipe.masks"
#: How the files of the table are written. A reader and a rewriter hold a row group of each file,
#: and a replaced row costs a rewritten file: both stay small.
WRITING = WriterProperties(compression="ZSTD", max_row_group_size=20_000)
#: Target size of the table's files, in bytes.
FILE_SIZE = 16 * 2**20


def format_of(table: DeltaTable) -> int | None:
    """The format of a table; None where it is not one of segpipe's."""
    found = table.metadata().configuration.get(FORMAT_KEY, "")
    return int(found) if found.isascii() and found.isdigit() else None


def application_of(dataset: str, model_run: str) -> str:
    """The Delta application whose transactions order the commits of a model run."""
    return f"segpipe/{dataset}/{model_run}"


def of_model_run(dataset: str, model_run: str, prefix: str = "") -> str:
    """The predicate for a model run's predictions."""
    return f"{prefix}dataset = {quoted(dataset)} AND {prefix}model_run = {quoted(model_run)}"


def quoted(text: str) -> str:
    """Text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
