"""Materializing: the same tables every time, all or none of them, and every row accounted for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import ManifestError, StorageError, TableError
from segpipe.storage.files import Folder
from segpipe.tables.schemas import REJECTED, SEGMENTS, VALIDATED
from segpipe.validation.materialization import materialize
from segpipe.validation.report import ValidationReport
from segpipe.validation.rules import Policy
from segpipe.validation.summary import Summary
from segpipe.validation.validated import ValidatedPredictions
from segpipe.workers.chunks import Workers
from tests.fixtures.files import content
from tests.fixtures.inbox import Inbox, new_inbox, segments_for
from tests.fixtures.png import PALETTE, png

TABLES = ["validated.parquet", "segments.parquet", "rejected.parquet"]
ONE = np.array([[0, 1], [1, 1]], np.uint8)


def mixed_rows(inbox: Inbox, count: int = 40) -> list[dict[str, Any]]:
    """Good rows, bad rows, equal rows, differing rows and conversions, mingled."""
    rows = []
    for i in range(count):
        pixels = np.full((3, 4), i % 5, np.uint8)
        pixels[i % 3, i % 4] = 7
        row = inbox.row(f"item-{i}", pixels, camera=f"camera {i % 2}")
        if i % 10 == 3:
            row["mask_url"] = "none.png"
        if i % 10 == 4:
            row["segments"] = "[]"
        if i % 10 == 5:
            row["mask_url"] = inbox.file(f"palette-{i}.png", png(pixels, colour=PALETTE))
        if i % 10 == 6:
            row["reference_id"] = "item-0"
        if i % 10 in (7, 8):
            row = dict(rows[1])
        rows.append(row)
    return rows


# --- class PDFs


def test_class_pdfs_are_typed_columns_and_null_where_there_are_none(inbox: Inbox) -> None:
    segments = segments_for([0, 1, 7])
    segments[0]["metadata"] = {"class_pdf": {"road": 0.5, "car": 0.5}}
    segments[2]["metadata"] = {"pdf": {"car": 1}}
    given = json.dumps(segments)
    rows = [
        inbox.row("a", np.array([[0, 1], [1, 7]], np.uint8), segments=given),
        inbox.row("b", ONE, segments=json.dumps(segments_for([0, 1]))),
    ]
    outcome = inbox.run(rows)
    table = pq.read_table(outcome.out / "segments.parquet")
    assert table["class_pdf"].to_pylist() == [
        [("car", 0.5), ("road", 0.5)], None, [("car", 1.0)], None, None,
    ]  # fmt: skip
    assert table["entropy"].to_pylist() == [round(np.log(2), 12), None, 0.0, None, None]
    assert table["margin"].to_pylist() == [0.0, None, 1.0, None, None]
    nested = [batch.segments for batch in ValidatedPredictions(Folder(str(outcome.out))).batches(9)]
    assert nested[0].to_pylist()[0][0]["class_pdf"] == [("car", 0.5), ("road", 0.5)]


# --- the same every time


def test_tables_are_byte_identical_for_any_number_of_workers_and_when_repeated(
    inbox: Inbox,
) -> None:
    rows = mixed_rows(inbox)
    one = content(inbox.run(rows, out="one", workers=1, rows_per_chunk=3).out)
    three = content(inbox.run(out="three", workers=3, rows_per_chunk=3).out)
    again = content(inbox.run(out="one", workers=2, rows_per_chunk=3, force=True).out)
    assert sorted(one) == sorted([*TABLES, "_inputs.json", "_summary.json"])
    assert one == three == again


def test_the_size_of_chunks_changes_nothing_that_is_read(inbox: Inbox) -> None:
    rows = mixed_rows(inbox)
    small, large = inbox.run(rows, out="small", rows_per_chunk=1), inbox.run(out="large")
    by_place = [lambda row: (row["manifest"], row["manifest_row"], row.get("rule"))]
    assert small.validated == large.validated
    assert small.segments == large.segments
    assert sorted(small.rejected, key=by_place[0]) == sorted(large.rejected, key=by_place[0])
    assert small.summary == large.summary


def test_another_content_has_another_digest(inbox: Inbox) -> None:
    rows = mixed_rows(inbox)
    before = inbox.run(rows).summary
    assert inbox.run().summary == before
    rows[2]["annotation_id"] = "new"
    after = inbox.run([{"annotation_id": None} | row for row in rows]).summary
    assert after.validated_digest != before.validated_digest
    assert after.rejected_digest == before.rejected_digest


def test_a_pass_replaces_what_an_earlier_one_left(inbox: Inbox) -> None:
    inbox.run(mixed_rows(inbox))
    outcome = inbox.run([inbox.row("only", ONE)])
    assert outcome.accepted_ids == ["only"]
    assert outcome.rejected == []
    assert sorted(content(outcome.out)) == sorted([*TABLES, "_inputs.json", "_summary.json"])


# --- every row accounted for


def test_rows_are_accepted_rejected_or_repeated(inbox: Inbox) -> None:
    summary = inbox.run(mixed_rows(inbox, 40), rows_per_chunk=7).summary
    # Per ten rows: one without a file, one without Segments, one more of item-0 and two of item-1.
    # item-0 differs from its four namesakes: five rejected. item-1 is kept once of nine.
    assert (summary.rows, summary.accepted, summary.rejected, summary.repeated) == (40, 19, 13, 8)
    assert summary.findings["FILE-MISSING"] == 4
    assert summary.findings["REF-DUPLICATE"] == 5
    assert summary.rejection_rate == 13 / 40


KINDS = st.sampled_from(["good", "good", "missing", "same", "differs", "no id", "undeclared"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(KINDS, st.integers(0, 3)), min_size=1, max_size=15), st.integers(1, 6))
def test_no_row_is_lost_or_counted_twice(
    folder: Path, kinds: list[tuple[str, int]], rows_per_chunk: int
) -> None:
    inbox = new_inbox(folder)
    rows = []
    for number, (kind, item) in enumerate(kinds):
        row = inbox.row(f"item-{number}", ONE, annotation_id=None)
        rows.append(
            row
            | {
                "good": {},
                "missing": {"mask_url": "none.png"},
                "same": {"reference_id": f"shared-{item}"},
                "differs": {"reference_id": f"shared-{item}", "annotation_id": str(number)},
                "no id": {"reference_id": None},
                "undeclared": {"segments": json.dumps(segments_for([0]))},
            }[kind]
        )
    outcome = inbox.run(rows, rows_per_chunk=rows_per_chunk)
    summary = outcome.summary
    assert summary.rows == len(rows)
    assert summary.accepted + summary.rejected + summary.repeated == len(rows)
    assert summary.accepted == len(outcome.validated)
    assert summary.segments == len(outcome.segments)
    assert summary.rejected == len({row["manifest_row"] for row in outcome.rejected})
    ids = outcome.accepted_ids
    assert len(ids) == len(set(ids))
    assert not set(ids) & set(outcome.rejections)
    # Segments follow their predictions, in the same order.
    assert [s["reference_id"] for s in outcome.segments] == [id for id in ids for _ in range(2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


def test_tables_have_their_schemas_even_when_empty(inbox: Inbox) -> None:
    row = inbox.row("a", ONE, camera="left")
    for rows in ([row], [row | {"mask_url": None}]):
        outcome = inbox.run(rows)
        validated = pq.read_schema(outcome.out / "validated.parquet")
        assert validated.names == [*VALIDATED.names, "camera"]
        assert pq.read_schema(outcome.out / "segments.parquet").equals(SEGMENTS)
        assert pq.read_schema(outcome.out / "rejected.parquet").equals(REJECTED)


def test_the_progress_told_ends_with_all_rows(inbox: Inbox) -> None:
    inbox.manifest(mixed_rows(inbox, 10))
    told: list[tuple[int, int]] = []
    materialize(
        inbox.open(),
        inbox.validation(),
        Folder(str(inbox.path.parent / "tables")),
        workers=Workers(2),
        rows_per_chunk=4,
        progress=lambda done, rows: told.append((done, rows)),
    )
    assert told == [(4, 10), (8, 10), (10, 10)]


def test_the_summary_is_read_back_as_it_was_returned(inbox: Inbox) -> None:
    outcome = inbox.run(mixed_rows(inbox))
    assert Summary.read(Folder(str(outcome.out))) == outcome.summary


# --- failures


def test_a_storage_failure_midway_leaves_the_earlier_tables_untouched(inbox: Inbox) -> None:
    good = [inbox.row(f"item-{i}", np.full((2, 2), i)) for i in range(12)]
    earlier = content(inbox.run(good[:3]).out)
    masks = inbox.path.parent / "masks"
    # A file stands where the folder of the eighth mask has to go; masks before it can be written.
    data = (inbox.path / "item-7.png").read_bytes()
    shutil.rmtree(masks)
    masks.mkdir()
    (masks / hashlib.sha256(data).hexdigest()[:2]).write_bytes(b"in the way")
    for workers in (1, 3):
        with pytest.raises(StorageError, match="a file is where a folder is needed"):
            inbox.run(good, workers=workers, rows_per_chunk=2)
        assert content(inbox.path.parent / "tables") == earlier
        assert not [path for path in masks.rglob("*") if path.name.endswith(".tmp")]
    # Once there is a place for it, the same call succeeds.
    (masks / hashlib.sha256(data).hexdigest()[:2]).unlink()
    assert len(inbox.run(good, rows_per_chunk=2).accepted_ids) == 12


def test_a_first_pass_that_fails_leaves_no_tables_at_all(inbox: Inbox) -> None:
    inbox.path.parent.joinpath("masks").write_bytes(b"a file in the way")
    with pytest.raises(StorageError):
        inbox.run([inbox.row("a", ONE)])
    assert content(inbox.path.parent / "tables") == {}
    with pytest.raises(TableError, match="materialize them first"):
        Summary.read(Folder(str(inbox.path.parent / "tables")))


def test_a_manifest_damaged_further_on_leaves_the_earlier_tables_untouched(inbox: Inbox) -> None:
    rows = [inbox.row(f"item-{i}", ONE) for i in range(4)]
    earlier = content(inbox.run(rows).out)
    name = inbox.manifest(rows, "part-1.parquet", compression="zstd")
    inbox.damage(name, column=2, after=20)
    with pytest.raises(ManifestError, match=r"part-1\.parquet is damaged"):
        inbox.run(rows_per_chunk=1)
    assert content(inbox.path.parent / "tables") == earlier


# --- tables of different passes are never mixed


@pytest.mark.parametrize("name", TABLES)
def test_a_table_left_over_from_another_pass_is_noticed(inbox: Inbox, name: str) -> None:
    before = inbox.run([inbox.row("a", ONE), inbox.row("b", ONE, mask_url=None)], out="before")
    after = inbox.run([inbox.row("c", ONE), inbox.row("d", ONE, mask_url=None)], out="after")
    assert len(ValidatedPredictions(Folder(str(after.out)))) == 1
    shutil.copy(before.out / name, after.out / name)
    with pytest.raises(TableError, match="comes from another pass"):
        ValidatedPredictions(Folder(str(after.out)))


@pytest.mark.parametrize("name", [*TABLES, "_summary.json"])
def test_missing_or_damaged_tables_are_noticed(inbox: Inbox, name: str) -> None:
    outcome = inbox.run([inbox.row("a", ONE)])
    for damage in (b"PAR1 and no more", None):
        if damage is None:
            (outcome.out / name).unlink()
        else:
            (outcome.out / name).write_bytes(damage)
        with pytest.raises(TableError, match="materialize"):
            ValidatedPredictions(Folder(str(outcome.out)))


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_predictions_are_read_back_with_their_own_segments(inbox: Inbox, rows: int) -> None:
    outcome = inbox.run(mixed_rows(inbox))
    tables = ValidatedPredictions(Folder(str(outcome.out)))
    read: list[tuple[str, list[dict[str, Any]]]] = []
    for batch in tables.batches(rows):
        assert batch.rows.num_rows <= rows
        ids = batch.rows["reference_id"].to_pylist()
        read += zip(ids, batch.segments.to_pylist(), strict=True)
    assert [id for id, _ in read] == outcome.accepted_ids
    whose = ("dataset", "model_run", "reference_id")
    flat = [(id, segment) for id, segments in read for segment in segments]
    assert flat == [
        (s["reference_id"], {key: s[key] for key in s if key not in whose})
        for s in outcome.segments
    ]


# --- the report


def test_the_report_gives_counts_and_examples_of_what_was_found(inbox: Inbox) -> None:
    outcome = inbox.run(mixed_rows(inbox))
    report = ValidationReport.read(Folder(str(outcome.out)))
    assert report.summary == outcome.summary
    by_rule = {rule.rule: rule for rule in report.rules}
    assert (by_rule["FILE-MISSING"].rows, by_rule["FILE-MISSING"].severity) == (4, "reject")
    assert by_rule["CONV-PALETTE"].severity == "convert"
    assert len(by_rule["REF-DUPLICATE"].examples) <= 3
    assert json.loads(report.to_json())["summary"] == dataclasses.asdict(outcome.summary)
    text = "\n".join(report.lines())
    assert text.startswith("40 rows: 19 accepted, 13 rejected, 8 repeated (kept once)")
    assert "item-3 (part-0.parquet row 3)" in text


def test_predictions_with_large_metadata_are_read_in_small_batches(inbox: Inbox) -> None:
    rows = [inbox.row(f"{n:02}", [[0, 1]]) for n in range(30)]
    large = {"label": "a", "index": 0, "metadata": {"k": "x" * 3_000_000}}
    for row in rows:
        row["segments"] = json.dumps([large, {"label": "b", "index": 1}])
    validation = inbox.validation(policy=Policy(max_metadata_bytes=4_000_000))
    done = inbox.run(rows, validation=validation)
    with (done.out / "segments.parquet").open("rb") as handle:
        assert pq.ParquetFile(handle).metadata.num_row_groups > 4
    batches = list(ValidatedPredictions(Folder(str(done.out))).batches(20_000))
    assert sum(batch.rows.num_rows for batch in batches) == 30
    assert max(batch.segments.nbytes for batch in batches) < 24_000_000
