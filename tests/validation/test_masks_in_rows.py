"""Rows that hold their masks: the same rules, findings and fingerprints as of masks behind URLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco

from segpipe.errors import ManifestError
from segpipe.manifests.limits import Limits
from segpipe.manifests.manifest import Manifest
from segpipe.masks.encoding import canonical_png as png
from segpipe.storage.files import Folder
from segpipe.storage.sources import AllowedRoots
from segpipe.validation.rules import Policy
from tests.fixtures.inbox import Inbox

BINARY = np.array([[0, 1, 1, 0], [1, 1, 0, 0], [0, 1, 1, 1]], np.uint8)
MANY = np.array([[0, 7, 7, 0], [255, 7, 0, 0], [0, 9, 9, 200]], np.uint8)
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
RUNS = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
LINES = pa.list_(pa.list_(pa.uint8()))


def compressed(mask: np.ndarray) -> dict[str, Any]:
    encoded = coco.encode(np.asfortranarray(mask))
    return {"size": list(mask.shape), "counts": encoded["counts"]}


def counted(mask: np.ndarray) -> dict[str, Any]:
    flat = np.concatenate([[0], mask.T.ravel(), [2]])
    ends = np.flatnonzero(np.diff(flat))
    runs = np.diff(np.concatenate([[0], ends]))
    return {"size": list(mask.shape), "counts": runs.tolist()}


def tensors(masks: Sequence[np.ndarray | None], stored: np.dtype[Any]) -> pa.Array:
    """As a fixed-shape tensor, null for None, whose axes are stored width first."""
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(stored), [4, 3], permutation=[1, 0])
    cells = [None if one is None else one.T.astype(stored).ravel().tolist() for one in masks]
    return pa.ExtensionArray.from_storage(kind, pa.array(cells, kind.storage_type))


def held(inbox: Inbox, masks: pa.Array, pixels: Sequence[np.ndarray], **more: Any) -> pa.Table:
    """A manifest whose rows hold their masks, and have no column of URLs."""
    rows = [inbox.row(f"item-{n}", one, **more) for n, one in enumerate(pixels)]
    table = pa.Table.from_pylist(rows).drop_columns(["mask_url"])
    return table.append_column("mask", masks)


FORMS = {
    "PNG": (MANY, lambda m: pa.array([png(one) for one in m], pa.large_binary())),
    "PNG, as a dictionary": (MANY, lambda m: pa.array([png(one) for one in m]).dictionary_encode()),
    "Hugging Face": (MANY, lambda m: pa.array([{"bytes": png(one), "path": ""} for one in m])),
    "COCO, compressed": (BINARY, lambda m: pa.array(map(compressed, m), RUNS)),
    "COCO, bytes": (BINARY, lambda m: pa.array([compressed(one) for one in m])),
    "COCO, lists": (BINARY, lambda m: pa.array([counted(one) for one in m])),
    "array": (MANY, lambda m: pa.array([one.tolist() for one in m], LINES)),
    "array of int64": (MANY, lambda m: pa.array([one.tolist() for one in m])),
    "array of lists of fixed size": (
        MANY,
        lambda m: pa.array([one.tolist() for one in m], pa.list_(pa.list_(pa.uint16(), 4), 3)),
    ),
    "array of booleans": (BINARY, lambda m: pa.array([one.astype(bool).tolist() for one in m])),
    "tensor": (MANY, lambda m: tensors(m, np.dtype(np.uint8))),
}  # fmt: skip


@pytest.mark.parametrize(("pixels", "column"), FORMS.values(), ids=[*FORMS])
def test_a_mask_in_a_row_is_what_the_same_pixels_behind_a_url_are(
    inbox: Inbox, pixels: np.ndarray, column: Any
) -> None:
    several = [pixels, pixels[::-1], np.roll(pixels, 1, axis=1)]
    urls = [inbox.row(f"item-{n}", one) for n, one in enumerate(several)]
    for row, one in zip(urls, several, strict=True):
        inbox.file(row["mask_url"], png(one))
    urls[1]["segments"] = urls[0]["segments"] = '[{"label": "road", "index": 0}]'
    behind = inbox.run(urls)
    table = held(inbox, column([several[0], *several]).slice(1), several)
    segments = pa.array([row["segments"] for row in urls])
    table = table.set_column(1, "segments", segments)
    # Two row groups, and of the second a single row at once.
    inbox.manifest(table, row_group_size=2)
    inside = inbox.run(rows_per_chunk=1, out="inside")
    assert behind.rejections == {name: ["VALUE-NO-SEGMENT"] for name in ("item-0", "item-1")}
    assert inside.rejected == behind.rejected
    (own,), (other,) = inside.validated, behind.validated
    assert own["mask_url"] is None
    assert {**own, "mask_url": other["mask_url"]} == other
    assert inside.segments == behind.segments


def test_rows_with_masks_and_rows_with_urls_stand_beside_each_other(inbox: Inbox) -> None:
    rows = [
        {**inbox.row("url", BINARY), "mask": None},
        {**inbox.row("held", BINARY), "mask_url": None, "mask": png(MANY)},
        {**inbox.row("blank", BINARY), "mask_url": " ", "mask": png(BINARY)},
        {**inbox.row("both", BINARY), "mask": png(BINARY)},
        {**inbox.row("neither", BINARY), "mask_url": None, "mask": None},
        {**inbox.row("damaged", BINARY), "mask_url": None, "mask": png(BINARY)[:-14]},
        {**inbox.row("text", BINARY), "mask_url": None, "mask": b"iVBORw0KGgo="},
    ]
    rows[1]["segments"] = inbox.row("many", MANY)["segments"]
    outcome = inbox.run(rows)
    assert outcome.accepted_ids == ["url", "held", "blank"]
    assert outcome.rejections == {
        "both": ["MASK-TWICE"],
        "neither": ["FILE-MISSING"],
        "damaged": ["PNG-UNREADABLE"],
        "text": ["FILE-NOT-PNG"],
    }
    assert "leave one of them empty" in outcome.findings("both")["MASK-TWICE"]
    assert "or the mask itself into the column mask" in outcome.findings("neither")["FILE-MISSING"]


@pytest.mark.parametrize(
    ("cell", "rule", "words"),
    [
        ({"size": [3, 4], "counts": [3, 4]}, "MASK-UNREADABLE", "fill 7 pixels of 12"),
        ({"size": [3, 4], "counts": None}, "MASK-UNREADABLE", "counts are None"),
        ({"size": None, "counts": None}, "FILE-MISSING", "mask_url is empty"),
        ({"size": [3, 4, 1], "counts": [12]}, "MASK-UNREADABLE", "height, width"),
        ({"size": [99_999, 9_999], "counts": [12]}, "TOO-LARGE", "999,890,001|over the limit"),
        ([[0, 1], [1]], "MASK-UNREADABLE", "its lines have from 1 to 2 pixels"),
        ([[0, None]], "MASK-UNREADABLE", "is null"),
        ([[0], None], "MASK-UNREADABLE", "is null"),
        ([[]], "MASK-UNREADABLE", "1 x 0"),
        ([[0, -1]], "MASK-UNREADABLE", "value -1"),
        ([[0, 70_000]], "MASK-UNREADABLE", "value 70000"),
        ([[0, 300]], "MASK-16BIT", "remap the ids"),
    ],
)
def test_what_is_no_mask_is_said_with_what_it_is(
    inbox: Inbox, cell: Any, rule: str, words: str
) -> None:
    masks = pa.array(
        [cell, cell], None if isinstance(cell, dict) else pa.list_(pa.list_(pa.int32()))
    )
    table = held(inbox, masks, [BINARY, BINARY])
    inbox.manifest(table.drop_columns(["height", "width"]))
    outcome = inbox.run()
    assert {*outcome.findings("item-0")} - {"SIZE-UNVERIFIED"} == {rule}
    assert any(one in outcome.findings("item-0")[rule] for one in words.split("|"))


@pytest.mark.parametrize(
    ("form", "limit"), [("PNG", {"max_bytes": 3000}), ("array", {"max_pixels": 39_999})]
)
def test_masks_in_rows_have_the_limits_of_mask_files_and_not_those_of_rows(
    inbox: Inbox, form: str, limit: dict[str, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 2, (200, 200), np.uint8)
    inbox.manifest(held(inbox, FORMS[form][1]([noise]), [noise]))
    few = Policy(max_row_bytes=2000)
    assert inbox.run(validation=inbox.validation(policy=few)).accepted_ids == ["item-0"]
    policy = replace(few, **limit)
    outcome = inbox.run(validation=inbox.validation(policy=policy), out="limited")
    assert outcome.rejections == {"item-0": ["TOO-LARGE"]}
    assert f"({next(iter(limit))} in the policy)" in outcome.findings("item-0")["TOO-LARGE"]


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (pa.array(["iVBORw0KGgo="]), "base64.b64decode"),
        (pa.array([[[0.5]]]), "apply argmax"),
        (pa.array([[1, 2]]), "each row a height and a width"),
        (pa.array([{"size": [1, 1], "counts": [1], "id": 1}]), "expected PNG bytes"),
        (pa.array([3]), "holds int64, expected PNG bytes"),
    ],
)
def test_a_column_that_can_hold_no_mask_is_refused_and_carried_beside_urls(
    inbox: Inbox, masks: pa.Array, words: str
) -> None:
    table = held(inbox, masks, [BINARY])
    inbox.manifest(table)
    with pytest.raises(ManifestError, match=words) as refused:
        inbox.open()
    assert "part-0.parquet: column 'mask' holds" in str(refused.value)
    inbox.manifest(table.append_column("mask_url", pa.array(["item-0.png"])))
    outcome = inbox.run()
    assert outcome.validated[0]["mask"] == masks[0].as_py()
    assert any(words in line for line in outcome.summary.warnings)


def images(inbox: Inbox, cells: Sequence[Mapping[str, Any]]) -> pa.Table:
    return held(inbox, pa.array(list(cells), IMAGE), [BINARY] * len(cells))


def test_an_image_without_bytes_is_the_file_its_path_names_as_mask_url_would(inbox: Inbox) -> None:
    inbox.manifest(
        images(
            inbox,
            [
                {"bytes": None, "path": "item-0.png"},
                {"bytes": png(BINARY), "path": "elsewhere.png"},
                {"bytes": None, "path": "/etc/mask.png"},
                {"bytes": None, "path": "p" * 20_000},
            ],
        )
    )
    outcome = inbox.run()
    assert [(row["reference_id"], row["mask_url"]) for row in outcome.validated] == [
        ("item-0", "item-0.png"),
        ("item-1", None),
    ]
    assert outcome.rejections == {"item-2": ["URL-REFUSED"], "item-3": ["ROW-TOO-LARGE"]}
    assert inbox.run().summary.reused
    inbox.mask("item-0.png", 1 - BINARY)  # the file counts for reruns
    assert not inbox.run().summary.reused


def test_unchanged_rows_are_reused_and_no_file_is_asked_for(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [{"bytes": png(BINARY), "path": "item-0.png"}] * 2
    inbox.manifest(images(inbox, cells).drop_columns(["height", "width"]))
    assert inbox.run().summary.accepted == 2

    def asked(*_: Any) -> None:
        raise AssertionError("a file was looked for")

    monkeypatch.setattr(AllowedRoots, "identity", asked)
    monkeypatch.setattr(AllowedRoots, "fetch", asked)
    assert inbox.run().summary.reused
    changed = [*cells[:1], {"bytes": png(1 - BINARY), "path": "item-0.png"}]
    inbox.manifest(images(inbox, changed).drop_columns(["height", "width"]))
    assert not inbox.run().summary.reused


def test_workers_make_the_same_tables_of_masks_of_any_form(inbox: Inbox) -> None:
    pixels = [np.roll(MANY, n, axis=1) for n in range(12)]
    inbox.manifest(held(inbox, tensors(pixels[:6], np.dtype(np.int16)), pixels[:6]), "a.parquet")
    lines = pa.array([one.tolist() for one in pixels], LINES)
    urls = held(inbox, lines, pixels)
    ids = pa.array([f"b-{n}" for n in range(12)])
    inbox.manifest(urls.set_column(0, "reference_id", ids), "b.parquet")
    one = inbox.run(rows_per_chunk=4)
    two = inbox.run(rows_per_chunk=3, workers=2, out="two")
    assert len(one.validated) == 18
    for name in ("validated", "segments", "rejected"):
        assert (one.out / f"{name}.parquet").read_bytes() == (
            two.out / f"{name}.parquet"
        ).read_bytes()


def chunk_bytes(path: Path, limits: Limits) -> list[int]:
    manifest = Manifest.open([(Folder(str(path.parent)), path.name, path.name)], limits)
    return [batch.rows.nbytes for batch in manifest.batches(256)]


@pytest.mark.parametrize(
    "masks",
    [
        pa.array([b"x" * 50_000] * 100),
        pa.array([b"x" * 50_000] * 100).dictionary_encode(),
        pa.array([np.zeros((200, 250), np.uint8).tolist()] * 100, LINES),
        pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.uint8(), [200, 250]),
            pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(5_000_000, np.uint8)), 50_000),
        ),
    ],
    ids=["bytes", "one many times", "array", "tensor"],
)
def test_rows_are_worked_on_in_chunks_of_bounded_size_whatever_their_masks(
    inbox: Inbox, masks: pa.Array
) -> None:
    rows = [inbox.row("a", BINARY)] * 100
    table = pa.Table.from_pylist(rows).drop_columns(["mask_url"]).append_column("mask", masks)
    pq.write_table(table, inbox.path / "large.parquet")
    sizes = chunk_bytes(inbox.path / "large.parquet", Limits(max_row_bytes=500_000))
    assert sum(sizes) > 5_000_000
    assert 400_000 < max(sizes) <= 1_100_000
