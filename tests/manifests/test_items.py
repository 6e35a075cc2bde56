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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("items.json", '["frame-1", "größe 2", "139"]'),
        ("items.json", '\ufeff[\n  "frame-1",\n  "größe 2",\n  139\n]\n'),
        ("items.JSON", '[{"reference_id": "frame-1", "x": 1}, {"reference_id": "größe 2"}, "139"]'),
        ("items.txt", '["frame-1", "größe 2", "139"]'),
        ("items.jsonl", '"frame-1"\n{"reference_id": "größe 2"}\n"139"\n'),
    ],
)
def test_a_json_list_is_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    items = ItemList.read(str(tmp_path / name))
    assert items.contains(["frame-1", "größe 2", "139"]) == [True] * 3
    assert len(items) == 3


def test_lines_of_text_may_begin_with_brackets(tmp_path: Path) -> None:
    (tmp_path / "items.txt").write_text("[2026] a\n[2026] b\n")
    assert ItemList.read(str(tmp_path / "items.txt")).contains(["[2026] b"]) == [True]


@pytest.mark.parametrize("text", ['{"frame-1": 1}', "[1.5]", '[["a"]]', '[{"id": "a"}]', '["a"'])
def test_json_that_is_no_list_of_ids_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "items.json").write_text(text)
    with pytest.raises(SettingsError, match="a JSON list of ids"):
        ItemList.read(str(tmp_path / "items.json"))


def test_a_parquet_list_may_hold_uuids(tmp_path: Path) -> None:
    storage = pa.array([b"0123456789abcdef"], pa.binary(16))
    column = pa.ExtensionArray.from_storage(pa.uuid(), storage)
    pq.write_table(pa.table({"reference_id": column}), tmp_path / "items.pq")
    items = ItemList.read(str(tmp_path / "items.pq"))
    assert items.contains(["30313233-3435-3637-3839-616263646566"]) == [True]


NFC, NFD = "Müller_é", "Mu\u0308ller_e\u0301"


@pytest.mark.parametrize(
    ("listed", "given"),
    [
        (NFC, NFD),
        (NFD, NFC),
        ("frame-1", "frame-1 "),
        ("frame-1", "frame-1\n"),
        ("frame-1", "frame\u200b-1"),
        ("frame-1", "\ufeffframe-1"),
        ("frame-1\r", "frame-1"),
        ("frame-1", "frame-1.png"),
        ("frame-1", "images/cam/frame-1.jpeg"),
    ],
)
def test_the_item_that_an_unknown_id_looks_like_is_found(listed: str, given: str) -> None:
    items = ItemList(pa.array([listed, "another"]))
    assert items.contains([given]) == [False]
    assert items.near(given) == listed


@pytest.mark.parametrize("given", ["", "frame-2", "frame-1x", "v1.5"])
def test_no_item_is_near_to_what_looks_like_none(given: str) -> None:
    assert ItemList(pa.array(["frame-1", "v1", "v1.2"])).near(given) is None
