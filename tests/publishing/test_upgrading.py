"""A catalog that an earlier segpipe wrote: read as it is, published to once it was upgraded."""

from __future__ import annotations

import shlex
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from segpipe.errors import CatalogError, OtherFormatError
from segpipe.publishing.catalog import open_catalog
from segpipe.publishing.table_columns import described, missing_columns
from segpipe.root import Root
from segpipe.tables.schemas import FORMAT, FORMAT_KEY
from segpipe.validation.validated import SEGMENT_LIST
from tests.fixtures.command_line import assert_plain_error, invoked, segpipe
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.published_days import rows_of

_NEW = ("class_pdf", "entropy", "margin")
_WRITTEN = Path(__file__).parent / "data" / "format-1.tar.gz"
_PDF = {"class 0": 0.25, "class 1": 0.75}


@pytest.fixture
def earlier(tmp_path: Path) -> Root:
    """The root that segpipe wrote when tables were of format 1."""
    with tarfile.open(_WRITTEN) as archive:
        archive.extractall(tmp_path, filter="data")
    return Root.open(str(tmp_path / "root"))


def files_of(root: Root) -> dict[str, bytes]:
    """Every file of the catalog."""
    catalog = Path(root.settings.root) / "catalog"
    return {str(p.relative_to(catalog)): p.read_bytes() for p in catalog.rglob("*") if p.is_file()}


def table_of(root: Root) -> DeltaTable:
    return DeltaTable(f"{root.settings.root}/catalog/predictions")


def segments_of(root: Root, reference_id: str, model_run: str = "unet") -> list[dict[str, Any]]:
    (row,) = root.catalog.predictions(model_run, [reference_id]).to_pylist()
    segments: list[dict[str, Any]] = row["segments"]
    return segments


def test_every_reading_command_reads_a_catalog_of_format_1(earlier: Root, tmp_path: Path) -> None:
    before, place = files_of(earlier), earlier.settings.root
    for segment in segments_of(earlier, "a"):
        assert [segment[name] for name in _NEW] == [None, None, None]
        assert '"pose":"standing"' in segment["metadata"]
    assert open_catalog(place).read().num_rows == 4
    for arguments in (
        ("history",), ("diff", 1, 4),
        ("show", "a", "--model-run", "unet", "--out", tmp_path / "a.png"),
        ("export", "--model-run", "unet", "--as", "mask-folder", tmp_path / "exported"),
    ):  # fmt: skip
        invoked(arguments[0], "--root", place, *arguments[1:])
    assert files_of(earlier) == before


def test_publishing_to_it_is_refused_with_the_command_that_upgrades_it(earlier: Root) -> None:
    before = files_of(earlier)
    earlier.materialize(PARTITION)
    for dry_run in (True, False):
        with pytest.raises(CatalogError, match="is of format 1") as refused:
            earlier.publish(PARTITION, dry_run=dry_run)
    assert files_of(earlier) == before

    advised = str(refused.value).partition("upgrade it with: ")[2].partition(" (it says")[0]
    command = shlex.split(advised)[1:]
    dry = segpipe(*command)
    assert dry.returncode == 0, dry.stderr
    assert "would be upgraded from format 1 to 2 (--no-dry-run does it)" in dry.stdout
    assert "class_pdf, entropy, margin, null in the 4 predictions published so far" in dry.stdout
    assert files_of(earlier) == before
    done = segpipe(*command, "--no-dry-run")
    assert done.returncode == 0, done.stderr
    assert "was upgraded from format 1 to 2" in done.stdout
    assert earlier.publish(PARTITION).outcomes["unchanged"] == 2


def test_an_upgrade_rewrites_no_file_and_is_undone_by_the_command_it_says(earlier: Root) -> None:
    rows, before = rows_of(earlier), files_of(earlier)
    done = segpipe("upgrade", "--root", earlier.settings.root, "--no-dry-run")
    after = files_of(earlier)
    assert {name: after[name] for name in before} == before
    assert {name for name in after if name.endswith(".parquet")} == {
        name for name in before if name.endswith(".parquet")
    }
    assert rows_of(earlier) == rows
    assert table_of(earlier).metadata().configuration[FORMAT_KEY] == str(FORMAT)
    newest, first = earlier.catalog.history(2)
    assert (newest.operation, newest.notes["format"]) == ("upgrade", str(FORMAT))
    assert (first.operation, first.notes["columns"]) == ("upgrade", ", ".join(_NEW))

    again = segpipe("upgrade", "--root", earlier.settings.root, "--no-dry-run")
    assert (again.returncode, files_of(earlier)) == (0, after)
    assert "the newest: nothing to do" in again.stdout

    undo = shlex.split(done.stdout.partition("undo it with: segpipe ")[2])
    assert segpipe(*undo).returncode == 0
    assert table_of(earlier).metadata().configuration[FORMAT_KEY] == "1"
    assert rows_of(earlier) == rows
    earlier.materialize(PARTITION)
    with pytest.raises(CatalogError, match="upgrade it with"):
        earlier.publish(PARTITION)
    assert earlier.catalog.upgrade(dry_run=False).done is not None
    assert earlier.publish(PARTITION).outcomes["unchanged"] == 2


def test_the_nulls_that_an_upgrade_leaves_are_filled_as_it_says(earlier: Root) -> None:
    done = segpipe("upgrade", "--root", earlier.settings.root, "--no-dry-run")
    assert "unpublish those and run their days again" in done.stdout
    earlier.materialize(PARTITION)
    assert earlier.publish(PARTITION, update=True).outcomes["unchanged"] == 2
    assert [one["class_pdf"] for one in segments_of(earlier, "a")] == [None, None]
    earlier.catalog.unpublish(PARTITION.model_run, PARTITION.date)
    assert earlier.publish(PARTITION).outcomes["inserted"] == 2
    assert all(one["class_pdf"] and one["entropy"] for one in segments_of(earlier, "a"))


def test_an_upgraded_catalog_takes_every_command_beside_files_of_format_1(earlier: Root) -> None:
    landing = LandingWriter(Path(earlier.settings.root))
    earlier.catalog.upgrade(dry_run=False)
    rows = [landing.row("a", (0, 5)), landing.row("z", (0, 6))]
    cells = rows[0]["segments"]
    rows[0]["segments"] = [{**cell, "metadata": {"class_pdf": _PDF}} for cell in cells]
    rows[1]["segments"] = [
        {**cell, "metadata": {"class_pdf": _PDF}} for cell in rows[1]["segments"]
    ]
    landing.manifest(rows)
    earlier.materialize(PARTITION)
    publication = earlier.publish(PARTITION, update=True)
    assert publication.outcomes["replaced"] == publication.outcomes["inserted"] == 1
    assert publication.verification is not None
    assert not publication.verification.mismatches
    for id in ("a", "z"):
        assert [dict(one["class_pdf"]) for one in segments_of(earlier, id)] == [_PDF, _PDF]
    for id in ("b", "c"):  # one in a file that was rewritten, one in an untouched file
        assert [one["class_pdf"] for one in segments_of(earlier, id)] == [None, None]
    held = [{**row, "segments": row["segments"]} for row in rows_of(earlier)]
    earlier.catalog.optimize()
    assert rows_of(earlier) == held
    assert earlier.catalog.unpublish("unet", reference_ids=["c"]) == 1
    earlier.vacuum(0, dry_run=False)
    assert rows_of(earlier) == [row for row in held if row["reference_id"] != "c"]


def test_what_the_metadata_gives_to_columns_is_no_difference_of_a_segment(earlier: Root) -> None:
    landing = LandingWriter(Path(earlier.settings.root))
    earlier.catalog.upgrade(dry_run=False)
    metadata = {"class_pdf": _PDF, "confidence": 0.5, "pose": "standing"}
    row = landing.row("a", (0, 3))
    row["segments"] = [
        {**cell, "metadata": metadata if cell["index"] else {}} for cell in row["segments"]
    ]
    landing.manifest([row])
    earlier.materialize(PARTITION)
    before = earlier.catalog.version()
    assert before is not None
    earlier.publish(PARTITION, update=True)
    (change,) = earlier.catalog.diff(before).to_pylist()
    assert change["segments_changed"] == ["0 class 0"]


def test_an_upgrade_that_was_cut_off_is_completed_by_the_next(earlier: Root) -> None:
    table_of(earlier).alter.add_columns(list(described().fields))
    assert segments_of(earlier, "a")
    earlier.materialize(PARTITION)
    with pytest.raises(CatalogError, match="is of format 1"):
        earlier.publish(PARTITION)
    done = earlier.catalog.upgrade(dry_run=False)
    assert (done.columns, done.done) == ((), earlier.catalog.version())
    assert earlier.publish(PARTITION).outcomes["unchanged"] == 2


def test_an_upgrade_torn_by_a_cut_of_the_power_is_set_aside_and_done_again(earlier: Root) -> None:
    rows = rows_of(earlier)
    table_of(earlier).alter.add_columns(list(described().fields))
    entry = Path(earlier.settings.root) / "catalog/predictions/_delta_log" / f"{5:020d}.json"
    first, _, _ = entry.read_bytes().partition(b"\n")
    entry.write_bytes(first + b"\n")  # it says who committed, and not what
    assert rows_of(earlier) == rows
    assert earlier.catalog.upgrade(dry_run=False).columns == _NEW
    (remark,) = earlier.catalog.take_remarks()
    assert "version 5 of the catalog" in remark
    assert rows_of(earlier) == rows


def test_a_publisher_that_is_under_way_commits_nothing_of_the_old_format(earlier: Root) -> None:
    late = table_of(earlier)
    rows = pa.table(pa.RecordBatchReader.from_stream(late.scan(predicate="reference_id = 'c'")))
    earlier.catalog.upgrade(dry_run=False)
    version = earlier.catalog.version()
    with pytest.raises(CommitFailedError):
        write_deltalake(late, rows, mode="append")
    assert earlier.catalog.version() == version


def test_upgrades_at_once_are_one_upgrade(earlier: Root) -> None:
    rows = rows_of(earlier)

    def upgrade(_: int) -> int | None:
        return Root.open(earlier.settings.root).catalog.upgrade(dry_run=False).done

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(upgrade, range(4)))
    table = table_of(earlier)
    assert table.metadata().configuration[FORMAT_KEY] == str(FORMAT)
    assert missing_columns(table, SEGMENT_LIST) == []
    assert rows_of(earlier) == rows
    assert [one.operation for one in earlier.catalog.history()].count("upgrade") == 2


@pytest.mark.parametrize("torn", [False, True])
def test_a_catalog_of_a_newer_format_is_told_and_not_touched(earlier: Root, torn: bool) -> None:
    earlier.materialize(PARTITION)
    table_of(earlier).alter.set_table_properties(
        {FORMAT_KEY: str(FORMAT + 1)}, raise_if_not_exists=False
    )
    if torn:
        log = Path(earlier.settings.root) / "catalog" / "predictions" / "_delta_log"
        (log / f"{6:020d}.json").write_bytes(b"")
    before, place = files_of(earlier), earlier.settings.root
    with pytest.raises(OtherFormatError):
        earlier.publish(PARTITION)
    for arguments in (
        ("history",), ("restore", 1), ("optimize",), ("vacuum", "--no-dry-run"), ("show", "a"),
        ("upgrade", "--no-dry-run"), ("unpublish", "--model-run", "unet", "a"),
    ):  # fmt: skip
        with pytest.raises(OtherFormatError):
            invoked(arguments[0], "--root", place, *arguments[1:])
    done = segpipe("history", "--root", place)
    assert_plain_error(done, f"is of format {FORMAT + 1}", "install a newer segpipe")
    assert files_of(earlier) == before


def test_the_files_of_tables_say_their_format(root: Root, landing: LandingWriter) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 300 % 256)), {"reference_id": "c"}])
    root.materialize(PARTITION)
    root.publish(PARTITION)
    tables = [*Path(root.settings.root).glob("validated/**/*.parquet")]
    tables += Path(root.settings.root).glob("catalog/receipts/**/*.parquet")
    assert {path.stem for path in tables} > {"validated", "segments", "rejected"}
    for path in tables:
        notes = pq.read_metadata(path).metadata
        assert notes[FORMAT_KEY.encode()] == str(FORMAT).encode(), path
    assert table_of(root).metadata().configuration[FORMAT_KEY] == str(FORMAT)
