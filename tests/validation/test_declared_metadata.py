"""Declared metadata: typed columns from segpipe.toml to the catalog, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from segpipe.errors import SettingsError
from segpipe.predictions.declared_metadata import MetadataType, typed_value
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.published_days import NEXT_DAY

_DECLARED = """
[metadata]
pose = "string"
tta_iou = "float"
reviewed = "bool"
count = "int"
"""
_GIVEN = {"pose": "standing", "tta_iou": 1, "reviewed": False, "count": 2**40, "confidence": 0.5}
_COLUMNS = ("pose", "tta_iou", "reviewed", "count")


def settle(landing: LandingWriter, text: str) -> Root:
    """The root, with these settings."""
    landing.root.mkdir(parents=True, exist_ok=True)
    (landing.root / "segpipe.toml").write_text(text)
    return Root.open(str(landing.root))


def deliver(
    landing: LandingWriter, items: dict[str, list[dict[str, Any]]], partition: Any = PARTITION
) -> None:
    """A manifest: item -> the metadata of its Segments, for the values 0, 1, ..."""
    rows = []
    for id, metadata in items.items():
        row = landing.row(id, range(len(metadata)), partition)
        segments = zip(row["segments"], metadata, strict=True)
        cells = [{**cell, "metadata": json.dumps(one)} for cell, one in segments]
        rows.append({**row, "segments": cells})
    landing.manifest(rows, partition)


def published(root: Root, reference_id: str) -> list[dict[str, Any]]:
    (row,) = root.catalog.predictions(reference_ids=[reference_id]).to_pylist()
    segments: list[dict[str, Any]] = row["segments"]
    return segments


@pytest.mark.parametrize(
    ("value", "kind", "held"),
    [
        ("a", "string", "a"), (1, "string", None), (True, "string", None),
        (1, "float", 1.0), (0.5, "float", 0.5), ("0.5", "float", None), (True, "float", None),
        (10**400, "float", None), (1, "int", 1), (0.5, "int", None), (True, "int", None),
        (2**63 - 1, "int", 2**63 - 1), (2**63, "int", None), ("1", "int", None),
        (True, "bool", True), (1, "bool", None), ("true", "bool", None), ([1], "int", None),
    ],
)  # fmt: skip
def test_a_value_is_held_as_it_is_or_not_at_all(value: Any, kind: str, held: Any) -> None:
    found = typed_value(value, MetadataType(kind))
    assert (found, type(found)) == (held, type(held))


def test_declared_keys_are_typed_columns_of_both_tables(landing: LandingWriter) -> None:
    root = settle(landing, _DECLARED)
    deliver(landing, {"a": [_GIVEN, {}]})
    root.materialize(PARTITION)
    table = pq.read_table(Path(root.tables(PARTITION).path) / "segments.parquet")
    assert [str(table.schema.field(name).type) for name in _COLUMNS] == [
        "string", "double", "bool", "int64",
    ]  # fmt: skip
    assert table.schema.names[-4:] == list(_COLUMNS)
    root.publish(PARTITION)
    for first, second in (table.to_pylist(), published(root, "a")):
        assert [first[name] for name in _COLUMNS] == ["standing", 1.0, False, 2**40]
        assert [second[name] for name in _COLUMNS] == [None] * 4


def test_a_value_of_another_type_is_told_null_in_the_column_and_kept_in_the_json(
    landing: LandingWriter,
) -> None:
    root = settle(landing, _DECLARED)
    wrong = {"pose": 3, "tta_iou": "0.5", "reviewed": 1, "count": 0.5}
    deliver(landing, {"a": [wrong, _GIVEN]})
    assert root.materialize(PARTITION).accepted == 1
    table = pq.read_table(Path(root.tables(PARTITION).path) / "validated.parquet")
    (finding,) = table["findings"].to_pylist()[0]
    assert (finding["rule"], finding["severity"]) == ("METADATA-TYPE", "warn")
    assert "Segment 0 ('class 0') has pose = 3, declared as string" in finding["message"]
    root.publish(PARTITION)
    first, second = published(root, "a")
    assert [first[name] for name in _COLUMNS] == [None] * 4
    assert json.loads(first["metadata"]) == wrong
    assert second["pose"] == "standing"


def test_a_policy_may_switch_the_finding_off(landing: LandingWriter) -> None:
    root = settle(landing, f'[policy.severities]\nMETADATA-TYPE = "off"\n{_DECLARED}')
    deliver(landing, {"a": [{"pose": 3}, {}]})
    assert root.materialize(PARTITION).findings == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('area_px = "int"', "clashes with a column of the tables, 'area_px'"),
        ('partition = "string"', "clashes with a column of the tables, 'partition'"),
        ('Entropy = "float"', "clashes with a column of the tables, 'entropy'"),
        ('pose = "string"\nPose = "string"', "'Pose' in .* clashes with the key 'pose'"),
        ('pose = "text"', "is 'text', expected one of string, float, bool, int"),
        ('pose = "strin"', "did you mean 'string'"),
        ("pose = 3", "is 3, expected one of"),
        ('"a b" = "int"', "'a b' .* cannot name a column"),
        ('"" = "int"', "cannot name a column"),
    ],
)
def test_what_cannot_be_a_column_is_refused(landing: LandingWriter, line: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        settle(landing, f"[metadata]\n{line}\n")


def test_a_key_added_later_widens_the_catalog_and_one_removed_keeps_its_column(
    landing: LandingWriter,
) -> None:
    root = settle(landing, '[metadata]\npose = "string"\n')
    deliver(landing, {"a": [_GIVEN], "b": [_GIVEN]})
    root.materialize(PARTITION)
    root.publish(PARTITION)
    place = landing.root / "catalog" / "predictions"
    files = {path: path.read_bytes() for path in place.rglob("*.parquet")}

    root = settle(landing, '[metadata]\npose = "string"\ncount = "int"\n')
    deliver(landing, {"c": [_GIVEN]}, NEXT_DAY)
    root.materialize(NEXT_DAY)
    (remark,) = root.publish(NEXT_DAY).remarks
    assert "got the columns count: null in what was published before" in remark
    assert {path: path.read_bytes() for path in files} == files
    assert [one.operation for one in root.catalog.history(2)] == ["publish", "widen"]
    assert [published(root, id)[0]["count"] for id in "abc"] == [None, None, 2**40]

    root = settle(landing, "")  # and now nothing is declared
    deliver(landing, {"a": [{**_GIVEN, "confidence": 0.6}], "d": [_GIVEN]})
    root.materialize(PARTITION)
    assert root.publish(PARTITION, update=True).outcomes["replaced"] == 1
    held = [(published(root, id)[0]["pose"], published(root, id)[0]["count"]) for id in "abcd"]
    assert held == [(None, None), ("standing", None), ("standing", 2**40), (None, None)]
    scanned = DeltaTable(str(place)).to_pyarrow_dataset()  # what knows nothing of segpipe
    found = duckdb.sql(
        "SELECT reference_id, s.pose, s.count FROM "
        "(SELECT reference_id, unnest(segments) AS s FROM scanned) ORDER BY 1"
    ).fetchall()
    assert [row[1:] for row in found] == held
    assert scanned.count_rows() == 4


def test_a_key_of_another_type_than_the_catalog_has_is_refused_and_nothing_published(
    landing: LandingWriter,
) -> None:
    root = settle(landing, '[metadata]\npose = "string"\n')
    deliver(landing, {"a": [_GIVEN]})
    root.materialize(PARTITION)
    root.publish(PARTITION)
    version = root.catalog.version()
    for line, words in (
        ("pose = 'int'", "is string: declare it so"),
        ("POSE = 'int'", "as 'pose'"),
    ):
        root = settle(landing, f"[metadata]\n{line}\n")
        root.materialize(PARTITION)
        with pytest.raises(SettingsError, match=words):
            root.publish(PARTITION)
        assert root.catalog.version() == version


def test_declaring_a_key_validates_an_unchanged_partition_again(landing: LandingWriter) -> None:
    root = settle(landing, "")
    deliver(landing, {"a": [_GIVEN]})
    root.materialize(PARTITION)
    assert root.materialize(PARTITION).reused
    assert not settle(landing, _DECLARED).materialize(PARTITION).reused


def test_merged_segments_have_a_value_where_all_agree(landing: LandingWriter) -> None:
    taxonomy = '[policy.taxonomy]\n"class 0" = "stuff"\n"class 1" = "stuff"\n"class 2" = "thing"\n'
    root = settle(landing, f"{taxonomy}{_DECLARED}")
    deliver(landing, {"a": [_GIVEN, {**_GIVEN, "count": 1}, {**_GIVEN, "pose": "lying"}]})
    root.materialize(PARTITION)
    root.materialize_view(PARTITION, view="instance")
    root.publish(PARTITION, view="instance")
    background, thing = published(root, "a")
    assert [background[name] for name in _COLUMNS] == ["standing", 1.0, False, None]
    assert [thing[name] for name in _COLUMNS] == ["lying", 1.0, False, 2**40]
