"""Limits of manifests: known before anything is decoded, and said in words that can be followed."""

from __future__ import annotations

import gc
import itertools
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe.errors import ManifestError
from segpipe.manifests.items import ItemList
from segpipe.manifests.limits import MAX_READING_BYTES, Limits
from segpipe.manifests.manifest import Manifest
from segpipe.manifests.pages import RowLengths, pages_of
from segpipe.manifests.reading_plan import ReadingPlan, ReadingPlans
from segpipe.manifests.row_sizes import cut, merged, sized, sizes_of
from segpipe.predictions.declarations import read_declaration
from segpipe.storage.files import Folder
from segpipe.validation.rules import Policy
from tests.fixtures.hostile_manifests import lists, many_empty_columns, repeated, rows, written
from tests.fixtures.inbox import Inbox

PIXELS = [[0, 1], [1, 5]]


def opened(path: Path, **limits: int) -> Manifest:
    return Manifest.open([(Folder(str(path.parent)), path.name, path.name)], Limits(**limits))


def refusal(path: Path, **limits: int) -> str:
    with pytest.raises(ManifestError) as error:
        list(opened(path, **limits).chunks())
    return str(error.value)


# --- files


def test_a_manifest_of_too_many_rows_is_refused_as_a_whole_and_goes_through_with_a_higher_limit(
    inbox: Inbox,
) -> None:
    given = [inbox.row(name, PIXELS) for name in "abc"]
    inbox.manifest(given)
    path = inbox.path / inbox.files[0]
    said = refusal(path, max_rows=2)
    assert "3 rows, over the limit of 2 (max_rows in the policy)" in said
    policy = Policy().overridden({"max_rows": 3}, "segpipe.toml")
    files = [(Folder(str(inbox.path)), path.name, path.name)]
    assert Manifest.open(files, policy.limits).rows == 3


def test_rows_are_counted_over_all_files_of_a_manifest(inbox: Inbox) -> None:
    for number in range(2):
        inbox.manifest([inbox.row(f"{number}", PIXELS)], f"part-{number}.parquet")
    files = [(Folder(str(inbox.path)), name, name) for name in inbox.files]
    with pytest.raises(ManifestError, match=r"part-0.parquet, part-1.parquet: .* 2 rows"):
        Manifest.open(files, Limits(max_rows=1))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({f"c{number}": [1] for number in range(2001)}, "2,006 columns"),
        ({"n" * 1001: [1]}, "the name of a column has 1,001 bytes"),
    ],
)
def test_a_file_beyond_a_limit_of_its_footer_is_refused(
    tmp_path: Path, columns: dict[str, Any], words: str
) -> None:
    written(rows(1, **columns))(tmp_path / "m.parquet")
    assert words in refusal(tmp_path / "m.parquet")


def test_a_footer_is_counted_before_it_is_parsed(tmp_path: Path) -> None:
    many_empty_columns(tmp_path / "m.parquet", columns=10, groups=20_001)
    assert "10 columns in 20,001 row groups, together 200,010" in refusal(tmp_path / "m.parquet")


@pytest.mark.slow
def test_pages_too_large_to_be_decompressed_are_refused_and_smaller_row_groups_go_through(
    tmp_path: Path,
) -> None:
    table = pa.table(rows(900, carried=repeated("x" * 500_000, 900)))
    table = table.set_column(5, "carried", table["carried"].cast(pa.string()))
    path = tmp_path / "m.parquet"
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    said = refusal(path)
    assert "of them for column 'carried'" in said
    assert "smaller row groups" in said
    pq.write_table(table, path, compression="zstd", use_dictionary=False, row_group_size=100)
    assert sum(len(chunk.rows) for chunk in opened(path).chunks()) == 900


# --- rows


def test_a_row_beyond_the_limit_is_rejected_and_the_others_go_through(inbox: Inbox) -> None:
    given = [inbox.row(name, PIXELS, note="short") for name in ("a", "large", "z")]
    given[1]["note"] = "x" * 4_000_001
    done = inbox.run(given)
    assert [row["reference_id"] for row in done.validated] == ["a", "z"]
    assert done.rejections == {"large": ["ROW-TOO-LARGE"]}
    assert "most of them in column 'note'" in done.findings("large")["ROW-TOO-LARGE"]
    assert "max_row_bytes in the policy" in done.findings("large")["ROW-TOO-LARGE"]


def test_a_higher_limit_lets_a_large_row_through_as_its_message_says(inbox: Inbox) -> None:
    inbox.manifest([inbox.row("large", PIXELS, note="x" * 5_000_000)])
    policy = Policy().overridden({"max_row_bytes": 6_000_000}, "segpipe.toml")
    folder, (name,) = Folder(str(inbox.path)), inbox.files
    (chunk,) = Manifest.open([(folder, name, name)], policy.limits).chunks()
    assert not chunk.rows[0].import_findings
    assert len(chunk.extras["note"][0].as_py()) == 5_000_000


@pytest.mark.parametrize("column", ["reference_id", "mask_url", "annotation_id", "image_url"])
def test_an_identity_or_url_that_is_no_such_is_its_rows_finding(inbox: Inbox, column: str) -> None:
    given = [inbox.row(name, PIXELS) for name in ("a", "b")]
    given[1][column] = "x" * 16_385
    done = inbox.run(given)
    assert [row["reference_id"] for row in done.validated] == ["a"]
    (rejected,) = done.rejected
    assert rejected["rule"] == "ROW-TOO-LARGE"
    assert f"{column} has 16,385 bytes, over the limit of 16,384" in rejected["message"]


def test_rows_that_share_one_long_text_are_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    written(rows(2000, carried=repeated("x" * 8_000_000, 2000)))(path)
    pool = pa.default_memory_pool()
    before, most = pool.bytes_allocated(), 0
    for batch in opened(path).batches(256):
        most = max(most, pool.bytes_allocated() - before)
        assert len(batch.too_large) == batch.rows.num_rows
    assert most < 100_000_000


def test_large_rows_of_small_row_groups_are_not_all_decoded_at_once(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    carried = ["x" * 2_000_000] * 200
    written(rows(200, carried=carried), use_dictionary=False, row_group_size=2)(path)
    numbers = []
    gc.collect()  # of tests before
    before = pa.total_allocated_bytes()
    for chunk in opened(path).chunks():
        assert pa.total_allocated_bytes() - before < MAX_READING_BYTES
        numbers += [row.number for row in chunk.rows]
    assert numbers == list(range(200))


def test_chunks_are_cut_by_bytes_and_keep_every_row(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    written(rows(100, carried=repeated("x" * 1_000_000, 100)))(path)
    batches = list(opened(path).batches(256))
    assert max(batch.rows.nbytes for batch in batches) < 10_000_000
    numbers = [row.number for batch in batches for row in batch.chunk().rows]
    assert numbers == list(range(100))
    assert sum(batch.rows["carried"].null_count for batch in batches) == 0


@pytest.mark.parametrize("form", ["structs", "lists", "JSON"])
def test_a_list_of_too_many_segments_is_refused_from_its_length(inbox: Inbox, form: str) -> None:
    count = 4097
    labels, indexes = ["a"] * count, [index % 256 for index in range(count)]
    structs = [{"label": "a", "index": index} for index in indexes]
    cell: Any = {
        "structs": structs,
        "lists": {"label": labels, "index": indexes},
        "JSON": json.dumps(structs),
    }[form]
    done = inbox.run([inbox.row("a", PIXELS, segments=cell)])
    assert list(done.findings("a")) == ["INDEX-OVERFLOW"]
    assert "4,097" in done.findings("a")["INDEX-OVERFLOW"].replace("4097", "4,097")


# --- JSON


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        '{"a":' * 500_000 + "1" + "}" * 500_000,
        f"[{'[],' * 300_000}[]]",
        f"[{'9' * 3_000_000}]",
    ],
)
def test_json_beyond_reason_is_a_problem_and_no_error(text: str) -> None:
    declared = read_declaration(text)
    assert declared.problem is not None
    assert declared.problem.startswith("segments is not valid JSON (")
    assert len(declared.problem) < 300


def test_json_with_more_values_than_are_read_is_not_parsed() -> None:
    text = '[{"label":"a","index":0,"metadata":{"x":[' + "{}," * 200_000 + "{}]}}]"
    problem = read_declaration(text).problem
    assert problem is not None
    assert "400,00" in problem
    assert "at most 250,000 are read" in problem


# --- what is known before decoding


@cache
def of_uneven_lists() -> tuple[pa.Table, dict[str, int]]:
    """Columns of lists, and the values of the longest row of each."""
    chance = random.Random(5)
    lengths = [chance.choice((0, 0, 1, 1, 2, 9, 30, 700)) for _ in range(3000)]
    cells = [[[None, 7][: chance.randrange(3)] for _ in range(length)] for length in lengths]
    table = pa.table({"flat": [[1] * n for n in lengths], "deep": pa.array(cells)})
    deepest = max(sum(max(1, len(inner)) for inner in cell) for cell in cells if cell)
    return table, {"flat": max(lengths), "deep": deepest}


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["zstd", "snappy", "none"])
def test_the_longest_row_of_a_column_is_found_from_its_levels(
    tmp_path: Path, version: str, codec: str
) -> None:
    table, longest = of_uneven_lists()
    path = tmp_path / "m.parquet"
    pq.write_table(table, path, compression=codec, data_page_version=version, data_page_size=3000)
    with path.open("rb") as handle:
        file = pq.ParquetFile(handle)
        for place, name in enumerate(longest):
            chunk = file.metadata.row_group(0).column(place)
            pages = list(pages_of(handle, chunk))
            assert sum(not page.is_dictionary for page in pages) > 3
            levels = file.schema.column(place).max_repetition_level
            assert RowLengths(handle).longest(chunk, pages, levels) == longest[name]


def test_the_lines_of_images_are_counted_without_looking_at_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(5)
    shapes = [(chance.randrange(1, 300), chance.choice((1, 3, 8, 9, 70))) for _ in range(200)]
    lines = [np.zeros(shape, np.uint8).tolist() for shape in shapes]
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"mask": lines}), path, data_page_size=200_000)
    assert sum(height for height, _ in shapes) > 20_000
    monkeypatch.setattr("segpipe.manifests.pages._MOST_RUNS", 6_000)
    with path.open("rb") as handle:
        file = pq.ParquetFile(handle)
        chunk = file.metadata.row_group(0).column(0)
        pages = list(pages_of(handle, chunk))
        longest = max(height * width for height, width in shapes)
        assert RowLengths(handle).longest(chunk, pages, 2) == longest < chunk.num_values


def test_sizes_of_values_are_those_of_what_they_hold() -> None:
    text = pa.array(["", "four", None, "x" * 100])
    assert sizes_of(text).tolist() == [8, 12, 8, 108]
    assert sizes_of(text.dictionary_encode()).tolist() == [8, 12, 8, 108]
    assert sizes_of(text.cast(pa.string_view()))[[0, 1, 3]].tolist() == [8, 12, 108]
    nested = pa.array([[["a"], []], None, [["bb", "c"]]])
    # A list and each value in it take 8 at least.
    assert sizes_of(nested).tolist() == [8 + (8 + 9) + 8, 8, 8 + 8 + 10 + 9]
    assert sizes_of(nested.slice(2)).tolist() == [8 + 8 + 10 + 9]
    structs = pa.array([{"a": 1, "b": "xy"}, None])
    assert sizes_of(structs)[0] == 8 + 8 + 10
    maps = pa.array([[("k", "value")]], pa.map_(pa.string(), pa.string()))
    assert sizes_of(maps).tolist() == [8 + 9 + 13]
    fixed = pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))
    assert sizes_of(fixed).tolist() == [8 + 16]


def awkward(chance: random.Random, count: int) -> pa.Table:
    """Rows of many types, with texts that repeat and texts that do not."""
    words = ["", "a", "ä" * 40, "x" * 3000, *(f"word {number}" for number in range(50))]
    texts = [chance.choice([*words, None]) for _ in range(count)]
    segments = [
        [
            {
                "label": chance.choice(words),
                "index": number,
                "metadata": {"k": chance.choice(words)},
            }
            for number in range(chance.randrange(6))
        ]
        for _ in range(count)
    ]
    return pa.table(
        {
            **rows(count),
            "segments": segments,
            "text": texts,
            "large": pa.array(texts, pa.large_string()),
            "categories": pa.array(texts).dictionary_encode(),
            "bytes": [None if text is None else text.encode() for text in texts],
            "lists": [[chance.choice(words)] * chance.randrange(4) for _ in range(count)],
            "maps": pa.array(
                [[(f"k{n}", chance.choice(words)) for n in range(chance.randrange(3))]
                 for _ in range(count)],
                pa.map_(pa.string(), pa.string()),
            ),
        }
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_rows_read_in_pieces_are_the_rows_of_the_file(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    table = awkward(chance, 300)
    whole = table.to_pylist()
    path = tmp_path / "m.parquet"
    pq.write_table(
        table,
        path,
        row_group_size=chance.choice((37, 300)),
        data_page_size=chance.choice((500, 2**20)),
        dictionary_pagesize_limit=chance.choice((2000, 2**20)),
        data_page_version=chance.choice(("1.0", "2.0")),
    )
    for most, size in itertools.product((7, 256), (50_000, 4_000_000)):
        limits = Limits(max_row_bytes=size)
        for dictionaries in ((), tuple(texts_of(path))):
            plan = ReadingPlan(most, dictionaries, most == 7, apart=bool(dictionaries))
            with path.open("rb") as handle:
                parts = [part for batch in plan.batches(handle) for part in sized(batch, limits)]
            for pieces in (parts, list(merged(parts, 256, limits))):
                assert not any(piece.too_large for piece in pieces)
                assert max(piece.rows.num_rows for piece in pieces) <= 256
                found = [row for piece in pieces for row in piece.rows.to_pylist()]
                assert found == whole
            with path.open("rb") as handle:
                cuts = [part for batch in plan.batches(handle) for part in cut(batch, 20_000)]
            assert [row for part in cuts for row in part.to_pylist()] == whole


def texts_of(path: Path) -> list[str]:
    """Paths of the columns of texts and bytes."""
    schema = pq.ParquetFile(path).schema
    columns = [schema.column(place) for place in range(len(schema))]
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def test_rows_of_several_row_groups_whose_texts_repeat_are_read(tmp_path: Path) -> None:
    text = "x" * 900_000
    parts = [pa.array([f"{text}{n}"]).take(pa.array(np.zeros(50, np.int32))) for n in range(4)]
    members = [pa.concat_arrays(parts), pa.array(np.zeros(200, np.int64))]
    segments = lists(pa.StructArray.from_arrays(members, ["label", "index"]), 200)
    path = tmp_path / "m.parquet"
    written(rows(200, segments=segments), row_group_size=50)(path)
    with path.open("rb") as handle:
        assert ReadingPlans("m.parquet", handle).of(handle, None, 128).dictionaries
    chunks = list(opened(path).chunks(128))
    labels = [segment["label"][-1] for c in chunks for row in c.rows for segment in row.segments]
    assert labels == ["0"] * 50 + ["1"] * 50 + ["2"] * 50 + ["3"] * 50


def test_a_writers_other_encodings_are_read(tmp_path: Path) -> None:
    """Spark's second format shares the beginnings of texts; whole files of it are read."""
    count = 3000
    labels = pa.array([f"class/number/{number % 97}" for number in range(count * 20)])
    notes = [json.dumps({"confidence": number / 7}) for number in range(count * 20)]
    members = [labels, pa.array(np.arange(count * 20) % 20), pa.array(notes)]
    segments = lists(pa.StructArray.from_arrays(members, ["label", "index", "metadata"]), count)
    path = tmp_path / "m.parquet"
    pq.write_table(
        pa.table(rows(count, segments=segments)),
        path,
        use_dictionary=False,
        data_page_version="2.0",
        column_encoding={
            "reference_id": "DELTA_BYTE_ARRAY",
            "segments.list.element.label": "DELTA_BYTE_ARRAY",
            "segments.list.element.metadata": "DELTA_BYTE_ARRAY",
        },
    )
    chunks = list(opened(path).chunks())
    assert sum(len(chunk.rows) for chunk in chunks) == count
    assert min(len(chunk.rows) for chunk in chunks[:-1]) > 100
    read = [
        segment["metadata"] for chunk in chunks for row in chunk.rows for segment in row.segments
    ]
    assert read == notes


# --- lists of items


def test_a_list_of_items_that_share_a_long_text_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    written({"reference_id": pa.array(["x" * 8_000_000, "a"])})(path)
    many = pa.DictionaryArray.from_arrays(np.zeros(3000, np.int32), pa.array(["x" * 8_000_000]))
    written({"reference_id": many})(tmp_path / "many.parquet")
    before = pa.default_memory_pool().max_memory()
    assert len(ItemList.read(str(path))) == 1
    assert len(ItemList.read(str(tmp_path / "many.parquet"))) == 0
    assert pa.default_memory_pool().max_memory() - before < 200_000_000
