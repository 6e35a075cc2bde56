"""What the tables' columns mean: the page, the catalog's comments and Dagster's pages agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from segpipe.evaluation.stored import TABLES
from segpipe.pipeline import schemas
from segpipe.publishing.history import DIFFERENCES
from segpipe.publishing.table_format import PREDICTIONS
from segpipe.queries.tables_page import main, tables_page
from segpipe.root import Root
from segpipe.tables.columns import COLUMNS, DECLARED, EVALUATION_COLUMNS, SEGMENT_COLUMNS
from segpipe.tables.schemas import MEASURED, RECEIPTS, REJECTED, SEGMENTS, VALIDATED
from tests.fixtures.landing import PARTITION, LandingWriter

_PAGE = Path(__file__).parents[2] / "docs" / "tables.md"


def test_every_column_has_words_and_every_word_a_column() -> None:
    tables = (VALIDATED, SEGMENTS, REJECTED, RECEIPTS, PREDICTIONS, DIFFERENCES)
    assert {name for schema in tables for name in schema.names} == COLUMNS.keys()
    assert [field.name for field in MEASURED] == list(SEGMENT_COLUMNS)
    evaluated = {name for schema in TABLES.values() for name in schema.names}
    assert evaluated - EVALUATION_COLUMNS.keys() == {
        "reference_id", "height", "width", "fingerprint",
    }  # fmt: skip
    assert not EVALUATION_COLUMNS.keys() - evaluated


def test_the_page_is_what_the_schemas_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _PAGE.read_text("utf-8") == tables_page()
    assert main(["--check", str(_PAGE)]) == 0
    other = tmp_path / "tables.md"
    other.write_text(tables_page().replace("nats", "bits"), "utf-8")
    assert main(["--check", str(other)]) == 1
    assert "make it with python -m" in capsys.readouterr().err
    assert main([str(other)]) == 0
    assert main(["--check", str(other)]) == 0


def test_the_catalog_s_columns_have_the_words_as_comments(
    landing: LandingWriter, root: Root
) -> None:
    (landing.root / "segpipe.toml").write_text('[metadata]\npose = "string"\n')
    root = Root.open(str(landing.root))
    landing.manifest([landing.row("a")])
    root.materialize(PARTITION)
    root.publish(PARTITION)
    fields = DeltaTable(root.catalog.uri).schema().fields
    assert {one.name: one.metadata["comment"] for one in fields} == {
        name: COLUMNS[name].comment for name in PREDICTIONS.names
    }
    (segments,) = (one for one in fields if one.name == "segments")
    kind: Any = segments.type
    assert {one.name: one.metadata["comment"] for one in kind.element_type.fields} == {
        **{name: column.comment for name, column in SEGMENT_COLUMNS.items()},
        "pose": DECLARED.comment,
    }


def test_dagster_shows_the_same_words() -> None:
    shown = schemas.segments.columns + schemas.published_predictions.columns
    assert {one.name: one.description for one in shown} == {
        **{name: COLUMNS[name].comment for name in {*SEGMENTS.names, *PREDICTIONS.names}},
        **{f"segments.{name}": column.comment for name, column in SEGMENT_COLUMNS.items()},
    }
