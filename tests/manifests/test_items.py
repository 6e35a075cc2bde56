"""Lists of a dataset's items: every id as it is written, whatever it looks like."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe.errors import SettingsError
from segpipe.manifests.items import ItemList

IDS = ["frame-1", "größe 2", "a,b", "000123", "1.50", "2026-01-05", "true", "NA", "null"]


def lines(ids: list[str], end: str = "\n") -> bytes:
    return "".join(id + end for id in ids).encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("items.txt", lines(IDS)),
        ("items.txt", lines(IDS).rstrip()),
        ("items.txt", lines(IDS, "\r\n")),
        ("items.txt", b"\xef\xbb\xbf" + lines(IDS)),
        ("items.csv", lines(["reference_id", *(f'"{id}"' for id in IDS)])),
        ("items.csv", b"\xef\xbb\xbf" + lines(["x,reference_id", *(f'1,"{id}"' for id in IDS)])),
    ],
    ids=["text", "no last line end", "Windows line ends", "BOM", "CSV", "CSV of two columns"],
)
def test_every_id_is_found_and_no_other(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    items = ItemList.read(str(tmp_path / name))
    assert items.contains(IDS) == [True] * len(IDS)
    assert items.contains(["frame-2", "123", "1.5", "True", "", None]) == [False] * 6


@pytest.mark.parametrize("id", ["000123", "1.50", "1e5", "+7"])
def test_ids_of_a_csv_that_all_look_like_numbers_stay_text(tmp_path: Path, id: str) -> None:
    (tmp_path / "items.csv").write_bytes(lines(["reference_id", id]))
    assert ItemList.read(str(tmp_path / "items.csv")).contains([id]) == [True]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_a_parquet_list_may_have_any_text_type_and_nulls(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array([*IDS, None], pa.string()).cast(kind)
    pq.write_table(pa.table({"reference_id": column}), tmp_path / "items.parquet", row_group_size=3)
    items = ItemList.read(str(tmp_path / "items.parquet"))
    assert len(items) == len(IDS)
    assert items.contains([*IDS, "other", None]) == [True] * len(IDS) + [False, False]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("items.csv", b"id\na\n"),
        ("items.csv", b""),
        ("items.parquet", b"no Parquet"),
        ("items.txt", b"\xff\xfe"),
    ],
)
def test_a_list_that_cannot_be_read_is_named(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SettingsError, match=name):
        ItemList.read(str(tmp_path / name))
