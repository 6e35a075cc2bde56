"""The page on the tables, ``docs/tables.md``, made of their schemas.

``python -m segpipe.queries.tables_page docs/tables.md`` writes it; with ``--check`` it only
looks whether the page is what the schemas say, and ends with 1 if not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill

import pyarrow as pa

from segpipe.evaluation.stored import TABLES as EVALUATION_TABLES
from segpipe.publishing.history import DIFFERENCES
from segpipe.publishing.table_format import PREDICTIONS, SEGMENTS_COLUMN
from segpipe.tables.columns import COLUMNS, DECLARED, EVALUATION_COLUMNS, Column
from segpipe.tables.schemas import FINDING, FORMAT, RECEIPTS, REJECTED, SEGMENTS, VALIDATED

_COMMAND = "python -m segpipe.queries.tables_page docs/tables.md"
_HEAD = f"""# Tables

<!-- Made by `{_COMMAND}`; `make lint` checks it. -->

Every table that segpipe writes, column by column. They are Parquet, and the catalog is a Delta
Lake table: pandas, Polars, DuckDB, pyarrow and Daft read them without segpipe. The catalog's
columns have the same words as comments, and Dagster's pages show them.

The format is {FORMAT}. It stands as `segpipe.format` in the footer of every Parquet file of
format 2 or later, and in the properties of the catalog. A catalog of an earlier format is read as
it is, the columns it lacks being null; `segpipe upgrade --root ROOT` adds them, so that it can be
published to. No file is rewritten: what was published before has nulls there, also after the same
predictions are published again, since they are found unchanged. `segpipe unpublish` and a run fill
them. `segpipe restore` undoes the upgrade. A catalog of a later format is refused untouched.
"""
_DECLARED = """
**Declared metadata.** The keys that `[metadata]` in `segpipe.toml` declares follow after the
columns of Segments, named by the key:

| `[metadata]` | type |
|---|---|
| `"string"` | string |
| `"float"` | double |
| `"bool"` | bool |
| `"int"` | int64 |

Nothing is converted but whole numbers to `double`. A value of another type is null in the column,
told by the rule `METADATA-TYPE`, and stays in the column `metadata`. A key that is declared later
is added to the catalog by the next run that publishes something (`widen` in the history): no file
is rewritten, and what was published before has nulls, as after an upgrade. A key that is no longer
declared keeps its column in the catalog. Names that differ in letter case alone are refused.

"""
_FEED = """
## Following what changed

Delta's change data feed tells other tools which rows each version of the catalog inserted, replaced
and removed. It is off: a commit of new predictions takes as long with it, but one that replaces
predictions twice as long. To switch it on, once, for the versions from then on:

```python
import deltalake

table = deltalake.DeltaTable("ROOT/catalog/predictions")
table.alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
changes = table.load_cdf(starting_version=table.version())
```
"""
_TABLES = (
    ("Validated predictions", "validated/model_run=M/date=D/validated.parquet",
     "One row per accepted prediction, in the manifest's order. Columns a manifest has besides "
     "follow under their own names.", VALIDATED),
    ("Segments", "validated/model_run=M/date=D/segments.parquet",
     "One row per Segment of each prediction, in the order of the validated predictions and by "
     "index. A view's tables, under `views/`, have the same form.", SEGMENTS),
    ("Rejected rows", "validated/model_run=M/date=D/rejected.parquet",
     "One row per finding of a rejected row.", REJECTED),
    ("Published predictions", "catalog/predictions",
     "The catalog, a Delta Lake table: one row per item and model run.", PREDICTIONS),
    ("Receipts", "catalog/receipts/dataset=S/model_run=M/date=D/RUN.parquet",
     "What happened to each prediction when it was published.", RECEIPTS),
    ("Differences", "`Root.catalog.diff`, not stored",
     "One row per item that differs between two versions of the catalog.", DIFFERENCES),
)  # fmt: skip
# Table of an evaluation -> what a row of it is.
_EVALUATION = {
    "items": "One row per item of either side.",
    "classes": "One row per class of the set.",
    "item_classes": "One row per item and class.",
    "segments": "One row per segment of ground truth or prediction.",
    "confusion": "One row per pair of a true and a predicted class.",
    "item_confusion": "The same of each item.",
    "calibration": "One row per bin of confidence that has segments.",
    "summary": "One row: the numbers of the set.",
}
_EVALUATIONS = """## Evaluations

`evaluations/model_run=M/date=D/WHAT DECIDES/`

What `segpipe evaluate` found ([evaluation.md](evaluation.md)). The tables are named by their
content, and `_evaluation.json` says which ones count; the views `evaluation_items` and so on of
`segpipe query` follow it.

Below `evaluations/model_run=M/all-days/WHAT DECIDES/` are those of a model run over all its days,
the last one of an item counting, which the asset `evaluation_of_dataset` makes: `items`, `classes`,
`segments`, `confusion`, `calibration` and `summary`, with the same columns; their views are
`evaluation_of_dataset_items` and so on.
"""


def tables_page() -> str:
    """The page, as Markdown."""
    parts = [_HEAD, *_tables(), _DECLARED.strip("\n"), "", _EVALUATIONS, *_evaluation_tables()]
    return "\n".join([*parts, _FEED.strip("\n"), ""])


def _tables() -> Iterator[str]:
    for title, place, meaning, schema in _TABLES:
        shown = place if place.startswith("`") else f"`{place}`"
        lines = fill(meaning, 98, break_long_words=False, break_on_hyphens=False)
        yield f"## {title}\n\n{shown}\n\n{lines}\n"
        yield _COLUMNS_HEAD
        yield from (_row(field, COLUMNS) for field in schema)
        if title == "Segments":
            yield f"| a declared key | see below | | {DECLARED.meaning} | {DECLARED.since} |"
        yield ""


def _evaluation_tables() -> Iterator[str]:
    words = {**COLUMNS, **EVALUATION_COLUMNS}
    for name, meaning in _EVALUATION.items():
        yield f"### `{name}`\n\n{meaning}\n\n{_COLUMNS_HEAD}"
        yield from (_row(field, words) for field in EVALUATION_TABLES[name])
        yield ""


_COLUMNS_HEAD = "| column | type | unit | meaning | since format |\n|---|---|---|---|---|"


def _row(field: pa.Field, words: Mapping[str, Column]) -> str:
    column = words[field.name]
    return (
        f"| `{field.name}` | {type_words(field)} | {column.unit} | {column.meaning} | "
        f"{column.since} |"
    )


def type_words(field: pa.Field) -> str:
    """The type of a column in one or two words, nested Segments and findings by their names."""
    kind = field.type
    if field.name == SEGMENTS_COLUMN and pa.types.is_list(kind):
        return "list of struct, the columns of Segments from `label` on"
    if pa.types.is_list(kind) and kind.value_type == FINDING:
        return "list of struct of `rule`, `severity`, `message`"
    if pa.types.is_list(kind):
        return f"list of {kind.value_type}"
    if pa.types.is_map(kind):
        return f"map of {kind.key_type} to {kind.item_type}"
    return "timestamp, microseconds, UTC" if pa.types.is_timestamp(kind) else str(kind)


def main(arguments: Sequence[str]) -> int:
    """Write or check the page; the exit status."""
    (name,) = [one for one in arguments if one != "--check"]
    page = Path(name)
    if "--check" not in arguments:
        page.write_text(tables_page(), "utf-8")
        return 0
    if page.read_text("utf-8") == tables_page():
        return 0
    print(f"{name} is not what the schemas say: make it with {_COMMAND}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
