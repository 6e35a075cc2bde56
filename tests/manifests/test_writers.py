"""Manifests as other tools write them: DuckDB's and pandas' own types."""

from __future__ import annotations

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.fixtures.inbox import Inbox, Outcome

PIXELS = [[0, 1], [1, 1]]
CELL = "[{'label':'sky','index':0},{'label':'tree','index':1}]"
KNOWN = "'f0' AS reference_id, 'm.png' AS mask_url, 2 AS height, 2 AS width"


def copied(inbox: Inbox, select: str, name: str = "part-0.parquet") -> None:
    """A manifest file of one row, written by DuckDB."""
    inbox.mask("m.png", PIXELS)
    duckdb.sql(f"COPY (SELECT {select}) TO '{inbox.path / name}' (FORMAT parquet)")
    inbox.files.append(name)


def labels(outcome: Outcome) -> list[tuple[int, str]]:
    return [(row["index"], row["label"]) for row in outcome.segments]


@pytest.mark.parametrize(
    "select",
    [
        f"{KNOWN}, {CELL} AS segments",
        f"{KNOWN}, to_json({CELL}) AS segments",
        f"{KNOWN}, {{'label': ['sky', 'tree'], 'index': [0, 1]}} AS segments",
        f"{KNOWN}, [{{'label': 'sky', 'index': 0::DECIMAL(10,0)}}, "
        "{'label': 'tree', 'index': 1::DECIMAL(10,0)}] AS segments",
        f"'f0'::ENUM('f0','f1') AS reference_id, 'm.png' AS mask_url, 2::HUGEINT AS height, "
        f"2::DECIMAL(18,0) AS width, {CELL} AS segments",
    ],
    ids=["structs", "to_json", "struct of lists", "decimal indexes", "decimal sizes"],
)
def test_segments_and_sizes_of_duckdb_s_types_are_read(inbox: Inbox, select: str) -> None:
    copied(inbox, select)
    outcome = inbox.run()
    assert outcome.rejections == {}
    assert outcome.findings("f0") == {}
    assert labels(outcome) == [(0, "sky"), (1, "tree")]


def test_a_uuid_of_duckdb_is_its_text_as_id_and_carried_nested_or_not(inbox: Inbox) -> None:
    text = "0f5cbb34-51b8-4d6d-8f3a-1b8f6f0d7e11"
    uuid = f"'{text}'::UUID"
    copied(
        inbox,
        f"{uuid} AS reference_id, 'm.png' AS mask_url, 2 AS height, 2 AS width, {CELL} AS segments,"
        f" {uuid} AS job, [{uuid}] AS jobs, {{'a': {uuid}, 'j': '{{}}'::JSON}} AS of",
    )
    (row,) = inbox.run().validated
    assert (row["reference_id"], row["job"], row["jobs"]) == (text, text, [text])
    assert row["of"] == {"a": text, "j": "{}"}


def test_no_type_of_duckdb_costs_the_partition(inbox: Inbox) -> None:
    columns = {
        "interval": "INTERVAL 3 DAY",
        "time": "TIME '10:00:00'",
        "timetz": "TIMETZ '10:00:00+02'",
        "tz": "TIMESTAMPTZ '2026-03-29 02:30:00+01'",
        "ns": "TIMESTAMP_NS '2026-01-01 00:00:00.123456789'",
        "never": "'infinity'::TIMESTAMP",
        "bit": "'101'::BIT",
        "map": "MAP{'a': 1}",
        "array": "[1, 2]::INT[2]",
        "blob": "'abc'::BLOB",
    }
    selected = ", ".join(f'{value} AS "x_{name}"' for name, value in columns.items())
    copied(inbox, f"{KNOWN}, {CELL} AS segments, {selected}")
    outcome = inbox.run()
    assert outcome.summary.accepted == 1
    stored = pq.read_schema(outcome.out / "validated.parquet").names
    assert {f"x_{name}" for name in columns} <= {*stored}


def frame(inbox: Inbox, name: str, ids: list[str], **columns: object) -> pd.DataFrame:
    rows = [inbox.row(id, PIXELS) for id in ids]
    inbox.files.append(f"{name}.parquet")
    return pd.DataFrame(rows).assign(**columns)


def test_shuffled_and_named_frames_of_pandas_are_read_together(inbox: Inbox) -> None:
    shuffled = frame(inbox, "a", ["f0", "f1", "f2"]).sample(frac=1, random_state=3)
    shuffled.to_parquet(inbox.path / "a.parquet")
    named = frame(inbox, "b", ["g0"])
    named.index = pd.Index(["g0.png"])
    named.to_parquet(inbox.path / "b.parquet")
    outcome = inbox.run()
    assert sorted(outcome.accepted_ids) == ["f0", "f1", "f2", "g0"]
    assert outcome.summary.warnings == []


def test_ids_that_pandas_made_floats_are_never_rounded(inbox: Inbox) -> None:
    """A missing value makes a column of whole numbers one of floats in that file alone."""
    given = 1_767_603_600_123_456_789
    frame(inbox, "a", ["f0"], capture=given).to_parquet(inbox.path / "a.parquet")
    frame(inbox, "b", ["g0", "g1"], capture=[5, None]).to_parquet(inbox.path / "b.parquet")
    outcome = inbox.run()
    assert [row["capture"] for row in outcome.validated] == [str(given), "5", None]
    (warning,) = outcome.summary.warnings
    assert "int64 in a.parquet; double in b.parquet" in warning
