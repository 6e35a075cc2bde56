"""What is published, read by tools that know nothing of segpipe: nested Segments, class PDFs and
declared metadata, beside rows that an earlier segpipe published.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from segpipe.publishing.table_format import WRITING
from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter

_WRITTEN = Path(__file__).parent / "data" / "format-1.tar.gz"
_PDF = {"class 0": 0.25, "class 7": 0.75}
Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A catalog of format 1 that was upgraded and published to: the path of its table."""
    place = tmp_path_factory.mktemp("readers")
    with tarfile.open(_WRITTEN) as archive:
        archive.extractall(place, filter="data")
    (place / "root" / "segpipe.toml").write_text('[metadata]\npose = "string"\ncount = "int"\n')
    root = Root.open(str(place / "root"))
    root.catalog.upgrade(dry_run=False)
    landing = LandingWriter(place / "root")
    row = landing.row("new", (0, 7))
    metadata = {"class_pdf": _PDF, "pose": "lying", "count": 3}
    cells = [{**cell, "metadata": json.dumps(metadata)} for cell in row["segments"]]
    cells[0]["metadata"] = "{}"
    landing.manifest([{**row, "segments": cells}])
    root.materialize(PARTITION)
    root.publish(PARTITION)
    return root.catalog.uri


def _of(segments: Any, reference_id: str) -> Rows:
    return [
        (
            reference_id, one["label"], one["area_px"],
            None if one["class_pdf"] is None else dict(one["class_pdf"]),
            None if one["entropy"] is None else round(one["entropy"], 6),
            one["margin"], one["pose"], one["count"],
        )
        for one in segments
    ]  # fmt: skip


def with_pandas(table: str) -> Rows:
    frame = DeltaTable(table).to_pandas()
    pairs = zip(frame["reference_id"], frame["segments"], strict=True)
    return [row for id, segments in pairs for row in _of(segments, id)]


def with_pyarrow(table: str) -> Rows:
    columns = ["reference_id", "segments"]
    read = DeltaTable(table).to_pyarrow_dataset().to_table(columns=columns)
    return [row for one in read.to_pylist() for row in _of(one["segments"], one["reference_id"])]


def with_duckdb(table: str) -> Rows:
    predictions = DeltaTable(table).scan()
    assert predictions is not None
    flat = "SELECT reference_id, unnest(segments) AS s FROM predictions"
    return duckdb.sql(
        "SELECT reference_id, s.label, s.area_px, s.class_pdf, round(s.entropy, 6), s.margin, "
        f"s.pose, s.count FROM ({flat})"
    ).fetchall()


def with_duckdb_s_parquet(table: str) -> Rows:
    files = DeltaTable(table).file_uris()
    flat = (
        f"SELECT reference_id, unnest(segments) AS s FROM read_parquet({files}, union_by_name=true)"
    )
    return duckdb.sql(
        "SELECT reference_id, s.label, s.area_px, s.class_pdf, round(s.entropy, 6), s.margin, "
        f"s.pose, s.count FROM ({flat})"
    ).fetchall()


def with_polars(table: str) -> Rows:
    import polars

    flat = polars.read_delta(table).explode("segments").select("reference_id", "segments")
    rows = flat.unnest("segments").to_dicts()
    return [row for one in rows for row in _of([one], one["reference_id"])]


def with_daft(table: str) -> Rows:
    import daft

    flat = daft.from_arrow(DeltaTable(table).to_pyarrow_table()).explode("segments").to_pydict()
    return _of_columns(flat)


def _of_columns(flat: dict[str, list[Any]]) -> Rows:
    pairs = zip(flat["reference_id"], flat["segments"], strict=True)
    return [row for id, one in pairs for row in _of([one], id)]


@pytest.mark.parametrize(
    "read",
    [with_pandas, with_pyarrow, with_duckdb, with_duckdb_s_parquet, with_polars, with_daft],
)
def test_segments_class_pdfs_and_declared_metadata_are_read(
    catalog: str, read: Callable[[str], Rows]
) -> None:
    tool = read.__name__.removeprefix("with_")
    if tool in ("polars", "daft") and importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed")
    rows = read(catalog)
    held = {(row[0], row[1]): row[2:] for row in rows}
    assert len(rows) == 10  # a of two model runs, b, c and new, with two Segments each
    assert held["new", "class 0"] == (24, None, None, None, None, None)
    assert held["new", "class 7"] == (24, _PDF, 0.562335, 0.5, "lying", 3)
    earlier = {row[3:] for row in rows if row[0] != "new"}
    assert earlier == {(None,) * 5}


def test_daft_s_own_reader_takes_a_catalog_that_was_optimized(catalog: str, tmp_path: Path) -> None:
    daft = pytest.importorskip("daft", "0.7", reason="earlier ones do not know deltalake 1.x")
    place = shutil.copytree(catalog, tmp_path / "predictions")
    with pytest.raises(Exception, match="Utf8View"):  # as the Delta library writes replaced rows
        daft.read_deltalake(str(place)).to_pydict()
    DeltaTable(place).optimize.compact(writer_properties=WRITING)
    flat = daft.read_deltalake(str(place)).explode("segments").to_pydict()
    assert sorted(map(repr, _of_columns(flat))) == sorted(map(repr, with_pyarrow(catalog)))


def test_the_types_are_those_of_the_page(catalog: str) -> None:
    segments = pa.schema(DeltaTable(catalog).schema().to_arrow()).field("segments").type.value_type
    types = {field.name: str(field.type) for field in segments}
    assert types["class_pdf"] == "map<string, double>"
    assert [types[name] for name in ("entropy", "margin", "pose", "count")] == [
        "double", "double", "string", "int64",
    ]  # fmt: skip


def test_the_change_data_feed_can_be_switched_on_as_the_page_says(
    landing: LandingWriter, root: Root
) -> None:
    def publish(values: dict[str, int]) -> None:
        landing.manifest([landing.row(id, (0, value)) for id, value in values.items()])
        root.materialize(PARTITION)
        root.publish(PARTITION, update=True)

    publish({"a": 1})
    DeltaTable(root.catalog.uri).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    start = root.catalog.version()
    assert start is not None
    publish({"a": 2, "b": 1})
    root.catalog.unpublish("unet", reference_ids=["b"])
    root.catalog.optimize()
    root.vacuum(168, dry_run=False)
    feed = DeltaTable(root.catalog.uri).load_cdf(starting_version=start)
    changes = pa.table(pa.RecordBatchReader.from_stream(feed)).to_pylist()
    assert sorted((one["_change_type"], one["reference_id"]) for one in changes) == [
        ("delete", "b"), ("insert", "b"),
        ("update_postimage", "a"), ("update_preimage", "a"),
    ]  # fmt: skip
