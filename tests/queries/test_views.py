"""Root.sql: what the views hold, and that a query reads what it asks for and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake import Schema as DeltaSchema

from segpipe.errors import CatalogError, QueryError, SegpipeError
from segpipe.manifests.partition import Partition
from segpipe.queries.views import VIEWS
from segpipe.root import Root
from tests.fixtures.data_sets import camvid_rows
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.published_days import NEXT_DAY

OTHER_RUN = Partition("dee'p %20/net", "2026-01-05")
SEGMENTS_OF = "SELECT reference_id, label FROM segments"


@pytest.fixture
def two_runs(root: Root, landing: LandingWriter) -> Root:
    """Two model runs that are published; the other's name is awkward."""
    for partition, id in ((PARTITION, "a"), (OTHER_RUN, "b")):
        rows = [landing.row(id, (0, 1)), landing.row(f"{id}2", (0, 2, 3))]
        place = landing.root / "manifests" / "/".join(partition.folders)
        source = landing.folder(PARTITION)
        if place != source:
            shutil.copytree(source / "masks", place / "masks", dirs_exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), place / "predictions.parquet")
        root.materialize(partition)
        root.publish(partition)
    return root


def test_every_view_has_what_its_tables_have(two_runs: Root) -> None:
    def count(view: str) -> int:
        return int(two_runs.sql(f"SELECT count(*) AS n FROM {view}")["n"][0].as_py())

    assert [count(v) for v in ("predictions", "validated", "receipts")] == [4, 4, 4]
    assert (count("segments"), count("rejected")) == (10, 0)
    assert count("history") == len(two_runs.catalog.history())
    names = two_runs.sql("SELECT DISTINCT model_run FROM validated ORDER BY 1")
    assert names["model_run"].to_pylist() == [OTHER_RUN.model_run, "unet"]
    published = two_runs.sql("SELECT * FROM predictions ORDER BY reference_id")
    read = two_runs.catalog.predictions().sort_by("reference_id")
    assert published.select(read.column_names).to_pylist() == read.to_pylist()


def test_segments_are_those_of_the_predictions_with_their_measures(two_runs: Root) -> None:
    flat = two_runs.sql("SELECT * FROM segments ORDER BY model_run, reference_id, index")
    expected = [
        {**{name: row[name] for name in ("dataset", "model_run", "reference_id")}, **segment}
        for row in sorted(
            two_runs.catalog.predictions().to_pylist(),
            key=lambda row: (row["model_run"], row["reference_id"]),
        )
        for segment in row["segments"]
    ]
    assert flat.drop_columns(["partition"]).to_pylist() == expected


def test_an_empty_root_has_views_without_rows(root: Root) -> None:
    for view in VIEWS:
        assert root.sql(f"SELECT * FROM {view}").num_rows == 0


def test_a_query_on_one_model_run_reads_no_file_of_another(two_runs: Root) -> None:
    catalog = Path(two_runs.catalog.uri)
    others = [path for path in catalog.rglob("*.parquet") if "model_run=unet" not in str(path)]
    assert others
    for path in others:
        path.write_bytes(b"whoever reads this fails")
    for view in ("predictions", "segments"):
        sql = f"SELECT DISTINCT reference_id FROM {view} WHERE model_run "
        for one in ("= 'unet'", "IN ('unet')", "= 'un' || 'et'"):
            assert two_runs.sql(sql + one).num_rows == 2
    with pytest.raises(QueryError, match="magic"):
        two_runs.sql(SEGMENTS_OF)


def test_a_query_on_one_item_or_day_reads_the_files_that_may_hold_it(
    root: Root, publish: Callable[..., int]
) -> None:
    publish({"a": (0, 1)})
    publish({"b": (0, 1)}, NEXT_DAY)
    (first,) = pa.table(DeltaTable(root.catalog.uri).get_add_actions(flatten=True)).filter(
        pa.compute.field("max.reference_id") == "a"
    )["path"]
    (Path(root.catalog.uri) / first.as_py()).write_bytes(b"whoever reads this fails")
    for where in ("reference_id = 'b'", f"partition = '{NEXT_DAY.date}'"):
        assert root.sql(f"SELECT * FROM predictions WHERE {where}").num_rows == 1
    with pytest.raises(QueryError):
        root.sql("SELECT * FROM predictions WHERE reference_id = 'a'")


def test_views_of_partitions_skip_other_model_runs_and_days(two_runs: Root) -> None:
    for name in ("rejected", "validated"):
        place = two_runs.tables(OTHER_RUN).path
        Path(f"{place}/{name}.parquet").unlink()
        Path(f"{place}/{name}.parquet").mkdir()  # whoever opens it fails
    sql = "SELECT * FROM rejected WHERE model_run = 'unet'"
    assert two_runs.sql(sql).num_rows == 0


def test_a_version_is_what_the_catalog_held_then(root: Root, publish: Callable[..., int]) -> None:
    first = publish({"a": (0, 1)})
    publish({"a": (0, 3), "b": (1,)}, update=True)
    sql = f"{SEGMENTS_OF} ORDER BY ALL"
    assert root.sql(sql, version=first)["label"].to_pylist() == ["class 0", "class 1"]
    assert root.sql(sql)["label"].to_pylist() == ["class 0", "class 3", "class 1"]
    with pytest.raises(CatalogError, match="version 99"):
        root.sql(sql, version=99)
    with pytest.warns(UserWarning, match="history: as of now"):
        root.sql("SELECT count(*) FROM history", version=first)


def test_a_version_whose_files_were_vacuumed_says_so(
    root: Root, publish: Callable[..., int]
) -> None:
    first = publish({"a": (0, 1)})
    publish({"a": (0, 3)}, update=True)
    root.vacuum(0, dry_run=False)
    with pytest.raises(QueryError, match=r"not there any more.*vacuumed"):
        root.sql(SEGMENTS_OF, version=first)
    assert root.sql(SEGMENTS_OF).num_rows == 2


def test_nested_columns_that_a_version_knows_and_old_files_lack_are_null(
    root: Root, publish: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish({"a": (0, 1)})
    from segpipe.queries import views
    from segpipe.tables.schemas import MEASURED

    scores = pa.field("scores", pa.map_(pa.string(), pa.float64()))
    monkeypatch.setattr(views, "MEASURED", [*MEASURED, scores, pa.field("pose", pa.string())])
    rows = root.sql("SELECT scores, pose, label FROM segments ORDER BY label").to_pylist()
    assert rows == [{"scores": None, "pose": None, "label": f"class {n}"} for n in (0, 1)]


def test_a_nested_column_that_is_named_otherwise_in_the_view_is_told(
    root: Root, publish: Callable[..., int]
) -> None:
    publish({"a": (0, 1)})
    members = pa.struct([pa.field("partition", pa.string())])
    schema = pa.schema([pa.field("segments", pa.list_(members))])
    DeltaTable(root.catalog.uri).alter.add_columns(list(DeltaSchema.from_arrow(schema).fields))
    with pytest.warns(match="segments: the column 'partition' is named 'partition_1' here"):
        root.sql("SELECT partition_1 FROM segments")


def test_carried_columns_of_other_types_elsewhere_hold_all_values(
    root: Root, landing: LandingWriter
) -> None:
    given = {
        PARTITION: {"stereo": 1, "camera": "left", "Camera": 7, "partition": "mine", "half": 0.5},
        NEXT_DAY: {"stereo": 2.5, "camera": 3, "tags": ["x", "y"]},
        replace(PARTITION, date="2026-01-07"): {"stereo": 2**60, "tags": {"k": 1}},
    }
    for partition, columns in given.items():
        landing.manifest([{**landing.row("a", partition=partition), **columns}], partition)
        root.materialize(partition)
    with pytest.warns(UserWarning) as warned:
        found = root.sql("SELECT * FROM validated ORDER BY partition")
    assert found["partition"].to_pylist() == [partition.date for partition in given]
    assert found["camera"].to_pylist() == ["left", "3", None]
    assert found["stereo"].to_pylist() == ["1", "2.5", str(2**60)]
    assert found["half"].to_pylist() == [0.5, None, None]
    assert "tags" not in found.column_names
    said = sorted(str(one.message) for one in warned)
    assert [words for words in said if "'camera' is read as text" in words]
    assert [words for words in said if "'tags' is left out" in words]
    assert [words for words in said if "'partition' is the manifest's day" in words]
    (renamed,) = (words for words in said if "is named" in words)
    assert "'Camera' is named" in renamed
    assert found[renamed.split("'")[3]].to_pylist() == [7, None, None]


def test_roots_of_any_name_are_queried(tmp_path: Path) -> None:
    for name in ("it's", "%20 #?", "[x]*", 'quo"te', "é 中"):
        landing = LandingWriter(tmp_path / name)
        landing.manifest([landing.row("a", (0, 1))])
        root = Root.open(str(tmp_path / name))
        root.materialize(PARTITION)
        root.publish(PARTITION)
        assert root.sql(SEGMENTS_OF).num_rows == 2
        assert root.sql("SELECT * FROM validated JOIN receipts USING (reference_id)").num_rows == 1


def test_a_catalog_whose_log_names_files_elsewhere_is_refused(
    root: Root, publish: Callable[..., int], tmp_path: Path
) -> None:
    publish({"a": (0, 1)})
    table = Path(root.catalog.uri)
    (file,) = table.rglob("*.parquet")
    outside = tmp_path / "outside.parquet"
    shutil.copy(file, outside)
    for place in ("../../../outside.parquet", outside.as_uri(), str(outside)):
        shutil.copytree(table, tmp_path / "copy" / "predictions", dirs_exist_ok=True)
        copied = Root(replace(root.settings, catalog=str(tmp_path / "copy")))
        entry = tmp_path / "copy/predictions/_delta_log" / f"{1:020d}.json"
        lines = [json.loads(line) for line in entry.read_text().splitlines()]
        for line in lines:
            if "add" in line:
                line["add"]["path"] = place
        entry.write_text("\n".join(map(json.dumps, lines)))
        with pytest.raises(SegpipeError, match=r"outside|cannot be"):
            copied.sql(SEGMENTS_OF)


REFUSED = (
    "CREATE TABLE t AS SELECT 1",
    "INSERT INTO predictions SELECT * FROM predictions",
    "DELETE FROM segments",
    "DROP VIEW segments",
    "COPY segments TO '{out}'",
    "EXPLAIN ANALYZE COPY segments TO '{out}'",
    "EXPORT DATABASE '{out}'",
    "ATTACH '{out}'",
    "INSTALL httpfs",
    "UPDATE EXTENSIONS",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CREATE SECRET (TYPE s3)",
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_blob('{file}')",
    "SELECT * FROM read_parquet('{parquet}')",
    "SELECT * FROM '{file}'",
    "SELECT * FROM '{parquet}'",
    'SELECT * FROM "{file}"',
    "SELECT * FROM glob('{file}*')",
    "SELECT * FROM sniff_csv('{file}')",
    "SELECT * FROM parquet_metadata('{parquet}')",
    "SELECT * FROM query('FROM read_text(''{file}'')')",
    "SELECT (SELECT content FROM read_text('{file}'))",
    "SELECT * FROM 'https://127.0.0.1/x.csv'",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "WITH a AS (SELECT * FROM read_json('{file}')) SELECT * FROM a",
)


def test_sql_that_does_more_than_read_the_views_is_refused_in_words(
    two_runs: Root, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("top,secret\n")
    own = next(Path(two_runs.catalog.uri).rglob("*.parquet"))
    before = sorted(tmp_path.rglob("*"))
    for sql in REFUSED:
        sql = sql.format(out=tmp_path / "out.csv", file=secret, parquet=own)
        with pytest.raises(QueryError) as refused:
            two_runs.sql(sql)
            pytest.fail(f"{sql} was not refused")
        assert "is refused: " in str(refused.value), sql
        assert "the views predictions, segments" in str(refused.value), sql
        assert sorted(tmp_path.rglob("*")) == before, sql


def test_variables_of_the_caller_are_no_tables(two_runs: Root) -> None:
    secret = pa.table({"x": [1]})
    with pytest.raises(QueryError, match="there is no view 'secret'"):
        two_runs.sql("SELECT * FROM secret")
    assert secret.num_rows == 1


MISTAKEN = {
    "SELECT confidnce FROM segments": "no column 'confidnce'; did you mean 'confidence'",
    "SELECT s.lable FROM segments s": "no column 'lable'; did you mean 'label'",
    "SELECT segments[1].areapx FROM predictions": "no column 'areapx'",
    "SELECT 1 FROM segmnts": "no view 'segmnts'; did you mean 'segments'",
    "SELEC 1": 'syntax error at or near "SELEC"',
    "SELECT 1; SELECT 2": "holds 2 statements",
    " -- nothing\n": "holds no statement",
    "SELECT CAST(label AS INTEGER) FROM segments": "Could not convert",
    "SELECT nope(1)": "nope",
}


def test_what_is_wrong_with_a_query_is_told_with_what_is_nearest(two_runs: Root) -> None:
    for sql, words in MISTAKEN.items():
        with pytest.raises(QueryError) as failed:
            two_runs.sql(sql)
        assert words in str(failed.value), sql
        assert "\\n" not in str(failed.value), sql


def test_a_query_leaves_no_file_behind(two_runs: Root, tmp_path: Path, monkeypatch: Any) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    before = {*os.listdir(tmp_path)}
    two_runs.sql("SELECT * FROM segments ORDER BY label")
    assert os.listdir(place) == []
    assert {*os.listdir(tmp_path)} == before


def test_areas_of_masks_are_those_that_were_counted_without_segpipe(
    root: Root, landing: LandingWriter, data_sets: Path, all_facts: dict[str, Any]
) -> None:
    facts = all_facts["camvid_val"]
    rows = camvid_rows(facts, data_sets)
    (landing.root / "segpipe.toml").write_text(f"allowed_roots = ['{data_sets}']\n")
    root = Root.open(str(landing.root))
    landing.manifest(rows)
    root.materialize(PARTITION)
    root.publish(PARTITION)
    found = root.sql(
        "SELECT index, sum(area_px) AS area FROM segments WHERE area_px > 0 GROUP BY 1 ORDER BY 1"
    ).to_pylist()
    from PIL import Image

    counted = np.zeros(256, np.int64)
    for row in rows:
        counted += np.bincount(np.asarray(Image.open(row["mask_url"])).ravel(), minlength=256)
    assert {row["index"]: int(row["area"]) for row in found} == {
        int(index): int(area) for index, area in enumerate(counted) if area
    }
