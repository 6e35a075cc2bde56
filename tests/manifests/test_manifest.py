"""Manifest files: every form of their columns, what a file must be, what becomes of bad rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe import Segment, fingerprint
from segpipe.errors import ManifestError
from segpipe.manifests.manifest import Manifest
from segpipe.storage.files import Folder
from tests.fixtures.inbox import Inbox
from tests.fixtures.png import png

PIXELS = [[0, 1], [1, 5]]
#: The Segments every form below writes.
MEANT: list[dict[str, Any]] = [
    {"label": "sky", "index": 0, "metadata": {"confidence": 0.5, "id": 3}},
    {"label": "road", "index": 1, "metadata": {"confidence": 1, "id": 4}},
    {"label": "car", "index": 5, "metadata": {"confidence": 0.25}},
]


INT64, STRING = pa.int64(), pa.string()


def structs(index: pa.DataType = INT64, text: pa.DataType = STRING) -> pa.DataType:
    """The type of the Segments' column, metadata as a struct of floats."""
    metadata = pa.struct([("confidence", pa.float64()), ("id", pa.float64())])
    return pa.list_(pa.struct([("label", text), ("index", index), ("metadata", metadata)]))


def with_metadata(convert: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
    return [{**segment, "metadata": convert(segment["metadata"])} for segment in MEANT]


def list_of(kind: pa.DataType, cell: list[Any]) -> pa.Array:
    return pa.array([cell], pa.list_(kind))


def member(*metadata: pa.DataType) -> pa.DataType:
    fields = [("label", pa.string()), ("index", pa.int32())]
    return pa.struct([*fields, *(("metadata", kind) for kind in metadata)])


CELLS = {
    "structs": pa.array([MEANT], structs()),
    "structs, other order": pa.array([MEANT[::-1]], structs()),
    **{
        f"index as {kind}": pa.array([MEANT], structs(kind))
        for kind in (pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.uint64())
    },
    "index as float64": pa.array(
        [[{**segment, "index": float(segment["index"])} for segment in MEANT]],
        structs(pa.float64()),
    ),
    "labels as large_string": pa.array([MEANT], structs(text=pa.large_string())),
    "large_list": pa.array([MEANT], pa.large_list(structs().value_type)),
    "fixed_size_list": pa.array([MEANT], pa.list_(structs().value_type, 3)),
    "metadata as JSON text": list_of(member(pa.string()), with_metadata(json.dumps)),
    "metadata as large JSON text": list_of(member(pa.large_string()), with_metadata(json.dumps)),
    "metadata as map": list_of(
        member(pa.map_(pa.string(), pa.float64())), with_metadata(lambda m: list(m.items()))
    ),
    "metadata beside label and index": list_of(
        pa.struct(
            [
                ("confidence", pa.float64()),
                ("label", pa.string()),
                ("id", pa.int64()),
                ("index", pa.int64()),
            ]
        ),
        [{"label": s["label"], "index": s["index"], **s["metadata"]} for s in MEANT],
    ),
    "index as decimal": pa.array(
        [[{**segment, "index": Decimal(segment["index"])} for segment in MEANT]],
        structs(pa.decimal128(10, 0)),
    ),
    "labels as string_view": pa.array([MEANT], structs(text=pa.string_view())),
    "list_view": pa.array([MEANT], pa.list_view(structs().value_type)),
    "large_list_view": pa.array([MEANT], pa.large_list_view(structs().value_type)),
    "struct of lists": pa.array(
        [{key: [segment[key] for segment in MEANT] for key in MEANT[0]}],
        pa.struct([(field.name, pa.list_(field.type)) for field in structs().value_type]),
    ),
    "struct of lists, metadata beside": pa.array(
        [
            {
                "index": [0, 1, 5],
                "label": ["sky", "road", "car"],
                "confidence": [0.5, 1.0, 0.25],
                "id": [3, 4, None],
            }
        ]
    ),
    "lists in JSON text": pa.array(
        [json.dumps({key: [segment[key] for segment in MEANT] for key in MEANT[0]})]
    ),
    "JSON text of the JSON type": pa.ExtensionArray.from_storage(
        pa.json_(), pa.array([json.dumps(MEANT)])
    ),
    "metadata of the JSON type, labels as dictionary": pa.ListArray.from_arrays(
        [0, 3],
        pa.StructArray.from_arrays(
            [
                pa.array([segment["label"] for segment in MEANT]).dictionary_encode(),
                pa.array([segment["index"] for segment in MEANT]),
                pa.ExtensionArray.from_storage(
                    pa.json_(), pa.array([json.dumps(segment["metadata"]) for segment in MEANT])
                ),
            ],
            ["label", "index", "metadata"],
        ),
    ),
    "JSON text": pa.array([json.dumps(MEANT)]),
    "indented JSON text": pa.array([json.dumps(MEANT[::-1], indent=2, sort_keys=True)]),
    "large JSON text": pa.array([json.dumps(MEANT)], pa.large_string()),
    "dictionary-encoded JSON text": pa.array([json.dumps(MEANT)]).dictionary_encode(),
}


def table(inbox: Inbox, **columns: Any) -> pa.Table:
    """One row for PIXELS; ``columns`` replace or add, None removes."""
    inbox.mask("a.png", PIXELS)
    default = {"reference_id": ["a"], "mask_url": ["a.png"], "segments": [json.dumps(MEANT)]}
    whole = default | {"height": [2], "width": [2]} | columns
    return pa.table({name: column for name, column in whole.items() if column is not None})


@pytest.fixture
def meant(inbox: Inbox) -> str:
    """The fingerprint of the row as Python objects say it, through the public function."""
    return fingerprint(np.array(PIXELS, np.uint8), [Segment(**segment) for segment in MEANT])


@pytest.mark.parametrize("form", CELLS)
@pytest.mark.parametrize("name", ["segments", "annotations"])
def test_every_form_of_the_segments_means_the_same(
    inbox: Inbox, meant: str, form: str, name: str
) -> None:
    outcome = inbox.run(table(inbox, **{"segments": None, name: CELLS[form]}))
    assert outcome.rejections == {}
    assert outcome.fingerprints == {"a": meant}
    rows = [(s["index"], s["label"], s["metadata"], s["confidence"]) for s in outcome.segments]
    assert rows == [
        (0, "sky", '{"confidence":0.5,"id":3}', 0.5),
        (1, "road", '{"confidence":1,"id":4}', 1.0),
        (5, "car", '{"confidence":0.25}', 0.25),
    ]


@pytest.mark.parametrize("form", ["absent", "null", "empty struct", "struct of nulls", "{}"])
def test_absent_metadata_is_empty_metadata_in_every_form(inbox: Inbox, form: str) -> None:
    nothing = pa.struct([("confidence", pa.float64())])
    kinds: dict[str, tuple[pa.DataType, Any]] = {
        "absent": (member(), None),
        "null": (member(pa.null()), None),
        "empty struct": (member(nothing), None),
        "struct of nulls": (member(nothing), {"confidence": None}),
        "{}": (member(pa.string()), "{}"),
    }
    kind, metadata = kinds[form]
    cell = [{"label": "a", "index": i, "metadata": metadata} for i in (0, 1, 5)]
    if form == "absent":
        cell = [{"label": "a", "index": i} for i in (0, 1, 5)]
    outcome = inbox.run(table(inbox, segments=list_of(kind, cell)))
    assert [s["metadata"] for s in outcome.segments] == ["{}", "{}", "{}"]
    bare = inbox.run(
        table(inbox, segments=[json.dumps([{"label": "a", "index": i} for i in (0, 1, 5)])])
    )
    assert outcome.fingerprints == bare.fingerprints


@pytest.mark.parametrize(
    "text",
    [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.string_view()],
    ids=str,
)
def test_text_columns_may_have_any_text_type(inbox: Inbox, meant: str, text: pa.DataType) -> None:
    def column(value: str) -> pa.Array:
        return pa.array([value], pa.string()).cast(text)

    rows = table(
        inbox,
        reference_id=column("a"),
        mask_url=column("a.png"),
        segments=column(json.dumps(MEANT)),
        annotation_id=column("ann"),
        image_url=column("https://example.org/a.jpg"),
        camera=column("left"),
    )
    outcome = inbox.run(rows)
    assert outcome.rejections == {}
    (row,) = outcome.validated
    assert row["fingerprint"] != meant  # it has an annotation id
    assert (row["reference_id"], row["annotation_id"], row["camera"]) == ("a", "ann", "left")


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(),
        pa.uint8(),
        pa.int16(),
        pa.uint16(),
        pa.int32(),
        pa.uint32(),
        pa.int64(),
        pa.uint64(),
        pa.float32(),
        pa.float64(),
    ],
    ids=str,
)
def test_sizes_may_have_any_number_type_and_nulls(inbox: Inbox, kind: pa.DataType) -> None:
    rows = [inbox.row("known", PIXELS), inbox.row("unknown", [[0, 1], [2, 3]])]
    sizes = pa.array([2, None], kind)
    whole = pa.table(
        {name: [row[name] for row in rows] for name in ("reference_id", "mask_url", "segments")}
        | {"height": sizes, "width": sizes}
    )
    outcome = inbox.run(whole)
    assert outcome.accepted_ids == ["known", "unknown"]
    assert outcome.findings("known") == {}
    assert list(outcome.findings("unknown")) == ["SIZE-UNVERIFIED"]


def test_sizes_may_be_whole_decimals_and_others_are_invalid(inbox: Inbox) -> None:
    rows = [inbox.row(name, PIXELS) for name in ("whole", "broken")]
    heights = pa.array([Decimal("2.0"), Decimal("2.5")])
    whole = pa.table({name: [row[name] for row in rows] for name in rows[0] if name != "height"})
    outcome = inbox.run(whole.append_column("height", heights))
    assert outcome.accepted_ids == ["whole"]
    assert outcome.findings("whole") == {}
    assert "SIZE-INVALID" in outcome.findings("broken")


def test_a_uuid_is_its_text(inbox: Inbox) -> None:
    inbox.mask("a.png", PIXELS)
    cells = pa.array([b"0123456789abcdef", None], pa.binary(16))
    columns = {
        "reference_id": pa.ExtensionArray.from_storage(pa.uuid(), cells),
        "mask_url": ["a.png"] * 2,
        "segments": [json.dumps(MEANT)] * 2,
    }
    outcome = inbox.run(pa.table(columns))
    assert outcome.accepted_ids == ["30313233-3435-3637-3839-616263646566"]
    assert "REF-EMPTY" in outcome.rejections[None]


CELL_OF_LISTS = {"label": pa.string(), "index": pa.int64(), "score": pa.float64()}


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (
            {"label": ["a", "b"], "index": [0]},
            "segments.index is a list of 1, expected a list",
        ),
        ({"label": ["a"], "index": None}, "segments.index is null, expected a list"),
        (
            {"label": ["a"], "index": [0], "score": [0.5, 1.0]},
            "segments.score is a list of 2, expected a list of 1",
        ),
    ],
)
def test_lists_of_members_that_do_not_match_are_the_row_s_fault(
    inbox: Inbox, cell: dict[str, Any], said: str
) -> None:
    good = {"label": ["sky", "road", "car"], "index": [0, 1, 5], "score": [None] * 3}
    rows = [inbox.row(name, PIXELS) for name in ("bad", "good")]
    lists = {name: pa.list_(kind) for name, kind in CELL_OF_LISTS.items()}
    segments = pa.array([cell, good], pa.struct(list(lists.items())))
    whole = pa.table({name: [row[name] for row in rows] for name in rows[0] if name != "segments"})
    outcome = inbox.run(whole.append_column("segments", segments))
    assert outcome.accepted_ids == ["good"]
    assert said in outcome.findings("bad")["SEGMENTS-INVALID"]


#: How Hugging Face datasets describe labels that are numbers of classes.
CLASS_LABEL = {"names": ["sky", "road", "car"], "_type": "ClassLabel"}
INDEX = {"dtype": "int64", "_type": "Value"}
FEATURES: dict[str, Any] = {
    "list": [{"label": CLASS_LABEL, "index": INDEX}],
    "Sequence": {"feature": {"label": CLASS_LABEL, "index": INDEX}, "_type": "Sequence"},
    "List of struct": {"feature": {"label": CLASS_LABEL, "index": INDEX}, "_type": "List"},
    "struct of lists": {
        "label": {"feature": CLASS_LABEL, "_type": "List"},
        "index": {"feature": INDEX, "_type": "List"},
    },
}


def with_features(rows: pa.Table, features: Any) -> pa.Table:
    described = {"info": {"features": {"segments": features}}}
    return rows.replace_schema_metadata({"huggingface": json.dumps(described)})


@pytest.mark.parametrize("form", FEATURES)
def test_whole_numbers_as_labels_have_the_names_of_hugging_face_s_class_labels(
    inbox: Inbox, form: str
) -> None:
    indexes = [0, 1, 5]
    if form in ("struct of lists", "Sequence"):
        cell: Any = {"label": [0, 1, 2], "index": indexes}
    else:
        cell = [{"label": label, "index": index} for label, index in enumerate(indexes)]
    outcome = inbox.run(with_features(table(inbox, segments=[cell]), FEATURES[form]))
    assert [s["label"] for s in outcome.segments] == ["sky", "road", "car"]


@pytest.mark.parametrize("features", [None, [], {"label": INDEX}, {"label": CLASS_LABEL}, 7])
def test_a_label_that_is_a_number_without_a_name_is_told_as_the_number_found(
    inbox: Inbox, features: Any
) -> None:
    cell = [{"label": number, "index": index} for number, index in ((8, 0), (9, 1), (-1, 5))]
    outcome = inbox.run(with_features(table(inbox, segments=[cell]), features))
    said = outcome.findings("a")["LABEL-EMPTY"]
    assert "(found 8, expected text): write the class's name, not its number" in said
    assert [row["found"] for row in outcome.rejected if row["rule"] == "LABEL-EMPTY"] == ["8"]


def test_columns_of_nulls_only_are_judged_row_by_row(inbox: Inbox) -> None:
    nothing = pa.nulls(1)
    outcome = inbox.run(table(inbox, segments=nothing, reference_id=nothing, mask_url=nothing))
    assert sorted(outcome.rejections[None]) == ["FILE-MISSING", "REF-EMPTY", "SEGMENTS-INVALID"]
    assert outcome.summary.rejected == 1


def test_row_groups_and_files_are_read_as_one_and_rows_counted_per_file(inbox: Inbox) -> None:
    rows = [inbox.row(f"item-{i}", PIXELS) for i in range(10)]
    inbox.manifest(rows[:7], "a.parquet", row_group_size=3)
    inbox.manifest(rows[7:], "b.parquet")
    manifest = inbox.open()
    assert manifest.rows == 10
    read = [
        (row.manifest, row.number, row.reference_id)
        for chunk in manifest.chunks(rows_per_chunk=2)
        for row in chunk.rows
    ]
    names = [("a.parquet", i) for i in range(7)] + [("b.parquet", i) for i in range(3)]
    assert read == [(*name, f"item-{i}") for i, name in enumerate(names)]
    assert all(len(chunk.rows) <= 2 for chunk in manifest.chunks(rows_per_chunk=2))
    ids = [one for batch in manifest.reference_ids() for one in batch.to_pylist()]
    assert ids == [f"item-{i}" for i in range(10)]


def test_the_content_digest_follows_the_files_bytes(inbox: Inbox) -> None:
    rows = [inbox.row("a", PIXELS)]
    inbox.manifest(rows)
    before = inbox.open().content_sha256()
    assert inbox.open().content_sha256() == before
    inbox.manifest([{**rows[0], "annotation_id": "x"}])
    assert inbox.open().content_sha256() != before


# --- what a file must be


def problem(inbox: Inbox, rows: pa.Table | None = None, data: bytes | None = None) -> str:
    """The message a manifest file is refused with."""
    if data is not None:
        inbox.files.append(inbox.file("bad.parquet", data))
    else:
        inbox.manifest(rows, "bad.parquet")  # type: ignore[arg-type]
    with pytest.raises(ManifestError) as refused:
        inbox.open()
    assert "bad.parquet" in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("missing", "instead", "nearest"),
    [
        ("reference_id", "reference_ID", "'reference_ID'"),
        ("reference_id", "ref_id", "'ref_id'"),
        ("mask_url", "mask_uri", "'mask_uri'"),
        ("segments", "segment", "'segment'"),
        ("segments", "Segments", "'Segments'"),
    ],
)
def test_a_missing_column_is_named_with_the_nearest_that_is_there(
    inbox: Inbox, missing: str, instead: str, nearest: str
) -> None:
    rows = table(inbox)
    names = [instead if name == missing else name for name in rows.column_names]
    message = problem(inbox, rows.rename_columns(names))
    assert f"there is no column {missing!r}" in message
    assert message.endswith(f"is it {nearest}?")


def test_a_missing_column_without_a_near_name_lists_what_is_there(inbox: Inbox) -> None:
    message = problem(inbox, table(inbox, segments=None, classes=["x"]))
    assert "there is no column 'segments'" in message
    assert "mask_url" in message
    assert "is it" not in message


@pytest.mark.parametrize(
    "data",
    [b"", b"PAR1", b"reference_id,mask_url\na,b\n", b"PAR1" + bytes(100) + b"PAR1", png(PIXELS)],
    ids=["empty file", "magic alone", "CSV", "damaged footer", "PNG"],
)
def test_what_is_not_parquet_is_refused_naming_the_file(inbox: Inbox, data: bytes) -> None:
    assert "not a readable Parquet file" in problem(inbox, data=data)


def test_a_manifest_without_rows_is_refused(inbox: Inbox) -> None:
    assert "has no rows" in problem(inbox, table(inbox).slice(0, 0))


def test_an_empty_file_beside_one_with_rows_is_fine(inbox: Inbox) -> None:
    rows = table(inbox)
    inbox.manifest(rows.slice(0, 0), "a.parquet")
    inbox.manifest(rows, "b.parquet")
    assert inbox.run().accepted_ids == ["a"]


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("segments", pa.array([["sky", "road"]]), "list<string>"),
        ("segments", pa.array([[1, 2]]), "list<int64>"),
        ("segments", pa.array([3]), "int64"),
        ("segments", pa.array([b"[]"]), "binary"),
        ("segments", pa.array([MEANT[0]]), "struct"),
        ("segments", pa.array([[{"name": "sky", "index": 0}]]), "list<struct<"),
        ("segments", pa.array([[{"label": "sky", "value": 0}]]), "list<struct<"),
        ("reference_id", pa.array([17]), "int64"),
        ("mask_url", pa.array([["a.png"]]), "list<string>"),
        ("annotation_id", pa.array([17]), "int64"),
        ("height", pa.array(["2"]), "string"),
        ("width", pa.array([True]), "bool"),
    ],
)
def test_a_column_of_the_wrong_type_is_named_with_both_types(
    inbox: Inbox, column: str, values: pa.Array, found: str
) -> None:
    message = problem(inbox, table(inbox, **{column: values}))
    assert f"column {column!r} holds {found}" in message
    assert "expected " in message


def test_a_column_given_twice_is_refused(inbox: Inbox) -> None:
    rows = table(inbox)
    twice = pa.Table.from_arrays(
        [*rows.columns, rows["mask_url"]], names=[*rows.column_names, "mask_url"]
    )
    assert "several columns named 'mask_url'" in problem(inbox, twice)


def test_damage_inside_a_file_is_a_manifest_error_naming_the_file(inbox: Inbox) -> None:
    rows = table(inbox, noise=[b"".join(bytes([i * 89 % 251]) for i in range(5000)).hex()])
    name = inbox.manifest(rows, "bad.parquet", compression="zstd")
    inbox.damage(name, column=5, after=40)
    with pytest.raises(ManifestError, match=r"bad\.parquet is damaged"):
        inbox.run()


# --- what becomes of bad rows

BAD_ROWS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "null reference_id": ({"reference_id": None}, ["REF-EMPTY"]),
    "blank reference_id": ({"reference_id": "  "}, ["REF-EMPTY"]),
    "null mask_url": ({"mask_url": None}, ["FILE-MISSING"]),
    "blank mask_url": ({"mask_url": " "}, ["FILE-MISSING"]),
    "broken JSON": ({"segments": '[{"label": "a"'}, ["SEGMENTS-INVALID"]),
    "null segments": ({"segments": None}, ["SEGMENTS-INVALID"]),
    "height 0": ({"height": 0}, ["SIZE-INVALID"]),
    "height -2": ({"height": -2}, ["SIZE-INVALID"]),
    "height 2.5": ({"height": 2.5}, ["SIZE-INVALID"]),
    "height NaN": ({"height": float("nan")}, ["SIZE-INVALID"]),
    "height infinite": ({"height": float("inf")}, ["SIZE-INVALID"]),
}
BAD_SEGMENTS: dict[str, tuple[list[Any], list[str]]] = {
    "index 300": ([{"label": "x", "index": 300}], ["INDEX-RANGE"]),
    "index 256": ([{"label": "x", "index": 256}], ["INDEX-RANGE"]),
    "index -1": ([{"label": "x", "index": -1}], ["INDEX-RANGE"]),
    "index null": ([{"label": "x", "index": None}], ["INDEX-RANGE"]),
    "index missing": ([{"label": "x"}], ["INDEX-RANGE"]),
    "index 1.5": ([{"label": "x", "index": 1.5}], ["INDEX-RANGE"]),
    "index twice": ([{"label": "x", "index": 1}], ["INDEX-DUPLICATE"]),
    "index twice, once as text": (
        [{"label": "x", "index": "1"}],
        ["INDEX-STRING", "INDEX-DUPLICATE"],
    ),
    "NaN metadata": (
        [{"label": "x", "index": 9, "metadata": {"k": float("nan")}}],
        ["METADATA-INVALID", "SEGMENT-NO-PIXELS"],
    ),
    "blank label": ([{"label": " ", "index": 9}], ["LABEL-EMPTY", "SEGMENT-NO-PIXELS"]),
    "null label": ([{"label": None, "index": 9}], ["LABEL-EMPTY", "SEGMENT-NO-PIXELS"]),
    "a null member": ([None], ["SEGMENTS-INVALID"]),
    "a text member": (["car"], ["SEGMENTS-INVALID"]),
}


def good_and_bad(inbox: Inbox, change: dict[str, Any]) -> list[dict[str, Any]]:
    names = ("before", "bad", "after")
    before, bad, after = (inbox.row(name, PIXELS, segments=json.dumps(MEANT)) for name in names)
    return [before, bad | change, after]


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_rejected_and_the_others_pass(inbox: Inbox, name: str) -> None:
    change, rules = BAD_ROWS[name]
    outcome = inbox.run(good_and_bad(inbox, change))
    assert outcome.accepted_ids == ["before", "after"]
    reference_id = change.get("reference_id", "bad")
    rejected = [rule for rule in outcome.rejections[reference_id] if rule != "SIZE-UNVERIFIED"]
    assert rejected == rules
    assert {row["manifest_row"] for row in outcome.rejected} == {1}


@pytest.mark.parametrize("name", BAD_SEGMENTS)
def test_a_row_with_a_bad_segment_is_rejected_and_the_others_pass(inbox: Inbox, name: str) -> None:
    more, rules = BAD_SEGMENTS[name]
    rows = good_and_bad(inbox, {"segments": json.dumps([*MEANT, *more])})
    outcome = inbox.run(rows)
    assert outcome.accepted_ids == ["before", "after"]
    assert sorted(outcome.rejections["bad"]) == sorted(rules)
    assert list(outcome.rejections) == ["bad"]


def test_an_index_of_digits_as_text_is_read_as_a_number_and_told(inbox: Inbox, meant: str) -> None:
    texts = [{**segment, "index": str(segment["index"])} for segment in MEANT]
    outcome = inbox.run(table(inbox, segments=[json.dumps(texts)]))
    assert outcome.fingerprints == {"a": meant}
    assert list(outcome.findings("a")) == ["INDEX-STRING"]
    structs_of_text = pa.array(
        [[{"label": s["label"], "index": str(s["index"])} for s in MEANT]],
        pa.list_(pa.struct([("label", pa.string()), ("index", pa.string())])),
    )
    outcome = inbox.run(table(inbox, segments=structs_of_text))
    assert [row["index"] for row in outcome.segments] == [0, 1, 5]


def test_null_structs_in_the_list_are_a_row_s_fault(inbox: Inbox) -> None:
    cell = pa.array([[*MEANT, None]], structs())
    outcome = inbox.run(table(inbox, segments=cell))
    assert outcome.rejections == {"a": ["SEGMENTS-INVALID"]}
    assert "segments[3] is null" in outcome.findings("a")["SEGMENTS-INVALID"]


def test_all_violations_of_a_row_are_reported_not_the_first(inbox: Inbox) -> None:
    row = inbox.row("bad", [[0, 1], [5, 8]], height=3) | {"reference_id": ""}
    row["segments"] = json.dumps(
        [
            {"label": "", "index": 0},
            {"label": "a", "index": 1},
            {"label": "b", "index": 1},
            {"label": "c", "index": 999, "metadata": {"k": float("inf")}},
            {"label": "d", "index": 77},
        ]
    )
    outcome = inbox.run([row])
    assert set(outcome.rejections[""]) == {
        "REF-EMPTY",
        "LABEL-EMPTY",
        "INDEX-DUPLICATE",
        "INDEX-RANGE",
        "METADATA-INVALID",
        "SIZE-MISMATCH",
        "VALUE-NO-SEGMENT",
        "SEGMENT-NO-PIXELS",
    }
    assert (outcome.summary.rows, outcome.summary.rejected) == (1, 1)


# Parquet does not check that text is UTF-8, and some writers do not either.
NOT_TEXT = pa.array([b"\xff\xfe", b"good"], pa.binary()).view(pa.string())


@pytest.mark.parametrize("column", ["reference_id", "mask_url", "segments", "camera"])
def test_text_that_is_not_unicode_costs_its_row_at_most(inbox: Inbox, column: str) -> None:
    inbox.mask("good", PIXELS)
    columns: dict[str, Any] = {
        "reference_id": ["bad", "good"],
        "mask_url": ["good", "good"],
        "segments": [json.dumps(MEANT)] * 2,
        "camera": ["x", "y"],
    }
    bad = NOT_TEXT
    if column == "segments":
        text = [b"\xff\xfe", json.dumps(MEANT).encode()]
        bad = pa.array(text, pa.binary()).view(pa.string())
    outcome = inbox.run(pa.table(columns | {column: bad}))
    assert "good" in outcome.accepted_ids
    summary = outcome.summary
    assert summary.accepted + summary.rejected == 2


# --- carried columns


def test_columns_the_manifest_adds_arrive_under_their_own_names(inbox: Inbox) -> None:
    rows = table(
        inbox,
        camera=pa.array(["left"]).dictionary_encode(),
        speed=pa.array([12.5], pa.float32()),
        tags=pa.array([["night", "rain"]]),
        place=pa.array([{"lat": 1.5, "lon": None}]),
        Height=pa.array([7]),
        nothing=pa.nulls(1),
    )
    (row,) = inbox.run(rows).validated
    carried = {key: row[key] for key in ("camera", "speed", "tags", "place", "Height", "nothing")}
    assert carried == {
        "camera": "left",
        "speed": 12.5,
        "tags": ["night", "rain"],
        "place": {"lat": 1.5, "lon": None},
        "Height": 7,
        "nothing": None,
    }


@pytest.mark.parametrize("name", ["dataset", "model_run", "fingerprint", "findings", "date"])
def test_a_carried_column_whose_name_is_taken_gets_a_prefix(inbox: Inbox, name: str) -> None:
    (row,) = inbox.run(table(inbox, **{name: ["from the manifest"]})).validated
    assert row[f"manifest_{name}"] == "from the manifest"
    assert row["dataset"] == "street"
    assert row["model_run"] == "unet"


def test_carried_columns_keep_to_their_rows_when_others_are_rejected(inbox: Inbox) -> None:
    rows = [inbox.row(f"item-{i}", PIXELS, camera=f"camera {i}") for i in range(6)]
    rows[1]["mask_url"] = rows[4]["mask_url"] = "no such file.png"
    validated = inbox.run(rows, rows_per_chunk=4).validated
    assert [(row["reference_id"], row["camera"]) for row in validated] == [
        (f"item-{i}", f"camera {i}") for i in (0, 2, 3, 5)
    ]


def test_carried_columns_of_several_files_are_united(inbox: Inbox) -> None:
    inbox.manifest(table(inbox, reference_id=["a"], speed=pa.array([1], pa.int8())), "a.parquet")
    inbox.manifest(
        table(inbox, reference_id=["b"], speed=pa.array([70_000]), camera=["left"]), "b.parquet"
    )
    carried = [(r["reference_id"], r["speed"], r["camera"]) for r in inbox.run().validated]
    assert carried == [("a", 1, None), ("b", 70_000, "left")]


@pytest.mark.parametrize(
    "value",
    [
        pa.array([2**62], pa.timestamp("us")),
        pa.array([-(2**31)], pa.date32()),
        pa.array([1], pa.timestamp("ns", tz="Europe/Berlin")),
        pa.array([1], pa.duration("ns")),
        pa.array([b"\xff\x00"]),
        pa.array([float("nan")]),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    ],
    ids=["far timestamp", "far date", "nanoseconds", "duration", "bytes", "NaN", "map"],
)
def test_no_value_of_a_carried_column_stops_the_pass(inbox: Inbox, value: pa.Array) -> None:
    outcome = inbox.run(table(inbox, extra=value))
    assert outcome.summary.accepted == 1
    stored = pq.read_table(outcome.out / "validated.parquet")["extra"].combine_chunks()
    assert stored.cast(value.type).equals(value) or str(stored) == str(value)


def test_known_columns_are_not_carried_twice(inbox: Inbox) -> None:
    (row,) = inbox.run(table(inbox)).validated
    assert not {"segments", "annotations"} & row.keys()


def test_a_missing_file_is_an_error_not_an_empty_manifest(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none\.parquet"):
        Manifest.open([(Folder(str(tmp_path)), "none.parquet", "none.parquet")])
