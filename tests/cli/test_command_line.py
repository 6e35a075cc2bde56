"""The command line, in real processes: what it prints, what it leaves, and how it ends."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fixtures.command_line import assert_plain_error, segpipe
from tests.fixtures.landing import PARTITION, LandingWriter, segment_cells, striped_mask
from tests.fixtures.places import PROJECT
from tests.fixtures.small_disk import SmallDisk

TABLES = ["rejected.parquet", "segments.parquet", "validated.parquet"]


def table_files(out: Path) -> list[str]:
    """Tables and whatever else an interrupted writer may have left."""
    if not out.exists():
        return []
    return sorted(p.name for p in out.iterdir() if p.is_file())


def test_validate_accepts_everything_with_status_0_and_writes_the_tables(
    landing: LandingWriter, tmp_path: Path
) -> None:
    manifest = landing.manifest([landing.row("a"), landing.row("b", (0, 5))])
    done = segpipe("validate", manifest, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "2 rows: 2 accepted, 0 rejected" in done.stdout
    assert table_files(tmp_path / "out") == ["_inputs.json", "_summary.json", *TABLES]
    validated = pq.read_table(tmp_path / "out" / "validated.parquet")
    assert all((tmp_path / "out" / path).is_file() for path in validated["mask_path"].to_pylist())


def test_validate_rejects_bad_rows_with_status_1_and_keeps_the_good_ones(
    landing: LandingWriter, tmp_path: Path
) -> None:
    masks = landing.folder(PARTITION) / "masks"
    rows = [
        landing.row("good"),
        {**landing.row("null id"), "reference_id": None},
        {**landing.row("gone"), "mask_url": "masks/not-there.png"},
        landing.row("empty"),
        landing.row("unmapped", (0, 7), segments=segment_cells([0])),
        {**landing.row("small"), "height": 12, "width": 16},
    ]
    (masks / "empty.png").write_bytes(b"")
    done = segpipe("validate", landing.manifest(rows), "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "6 rows: 1 accepted, 5 rejected" in done.stdout
    rejected = pq.read_table(tmp_path / "out" / "rejected.parquet").to_pylist()
    assert {(row["manifest_row"], row["rule"]) for row in rejected} == {
        (1, "REF-EMPTY"),
        (2, "FILE-MISSING"),
        (3, "PNG-UNREADABLE"),
        (4, "VALUE-NO-SEGMENT"),
        (5, "SIZE-MISMATCH"),
    }
    messages = {row["rule"]: row["message"] for row in rejected}
    assert "masks/not-there.png" in messages["FILE-MISSING"]
    assert "0 bytes" in messages["PNG-UNREADABLE"]
    assert "value 7: 24 px (50.0 %), first at (3, 0)" in messages["VALUE-NO-SEGMENT"]
    assert "exactly 1/2" in messages["SIZE-MISMATCH"]
    assert pq.read_table(tmp_path / "out" / "validated.parquet")["reference_id"].to_pylist() == [
        "good"
    ]


def test_validate_prints_json_for_programs(landing: LandingWriter, tmp_path: Path) -> None:
    manifest = landing.manifest([landing.row("a"), {**landing.row("b"), "width": 9}])
    done = segpipe("validate", manifest, "--out", tmp_path / "out", "--format", "json")
    report = json.loads(done.stdout)
    assert (report["summary"]["accepted"], report["summary"]["rejected"]) == (1, 1)
    assert [rule["rule"] for rule in report["rules"]] == ["SIZE-MISMATCH"]
    assert report["rules"][0]["examples"][0]["reference_id"] == "b"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"mask_url": ["a"], "segments": ["[]"]}, ["no column 'reference_id'"]),
        (
            {"reference_id": ["a"], "mask_ur": ["a"], "segments": ["[]"]},
            ["no column 'mask_url'", "is it 'mask_ur'?"],
        ),
        ({"reference_id": ["a"], "mask_url": ["a"]}, ["no column 'segments'"]),
        (
            {"reference_id": ["a"], "mask_url": ["a"], "segments": [["road", "sky"]]},
            ["'segments' holds list<string>", "list<struct<label, index, metadata>>"],
        ),
        (
            {"reference_id": [1], "mask_url": ["a"], "segments": ["[]"]},
            ["'reference_id' holds int64", "expected text; write it as text", "leading zeros"],
        ),
    ],
)
def test_a_manifest_with_wrong_columns_names_file_column_and_what_was_expected(
    tmp_path: Path, table: dict[str, list[object]], words: list[str]
) -> None:
    manifest = tmp_path / "m.parquet"
    pq.write_table(pa.table(table), manifest)
    done = segpipe("validate", manifest, "--out", tmp_path / "out")
    assert_plain_error(done, "m.parquet", *words)
    assert table_files(tmp_path / "out") == []


def test_numbers_as_ids_are_accepted_once_they_are_written_as_the_message_says(
    landing: LandingWriter, tmp_path: Path
) -> None:
    manifest = landing.manifest([landing.row("7"), landing.row("8", (0, 5))])
    df = pd.read_parquet(manifest)
    df["reference_id"] = [7.0, 8.0]  # as pandas makes of whole numbers beside an empty cell
    df.to_parquet(manifest)
    done = segpipe("validate", manifest, "--out", tmp_path / "out")
    (code,) = re.findall(r"in pandas with (.*?), or", " ".join(done.stderr.split()))
    df["reference_id"] = eval(code, {"df": df})  # the message's own words
    df.to_parquet(manifest)
    assert segpipe("validate", manifest, "--out", tmp_path / "out").returncode == 0
    table = pq.read_table(tmp_path / "out" / "validated.parquet")
    assert table["reference_id"].to_pylist() == ["7", "8"]


def test_a_file_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    for name, content in (("csv.parquet", b"reference_id,mask_url\n"), ("zero.parquet", b"")):
        (tmp_path / name).write_bytes(content)
        done = segpipe("validate", tmp_path / name, "--out", tmp_path / "out")
        assert_plain_error(done, name, "not a readable Parquet file")


def test_a_manifest_cut_in_the_middle_leaves_no_tables(
    landing: LandingWriter, tmp_path: Path
) -> None:
    manifest = landing.manifest([landing.row(f"item {n}") for n in range(50)])
    whole = bytearray(manifest.read_bytes())
    whole[30:200] = b"\xff" * 170  # the footer stays whole, the data does not
    manifest.write_bytes(bytes(whole))
    done = segpipe("validate", manifest, "--out", tmp_path / "out")
    assert_plain_error(done, "predictions.parquet is damaged")
    assert table_files(tmp_path / "out") == []


def test_an_empty_manifest_says_so(tmp_path: Path) -> None:
    schema = pa.schema([(name, pa.string()) for name in ("reference_id", "mask_url", "segments")])
    pq.write_table(schema.empty_table(), tmp_path / "m.parquet")
    done = segpipe("validate", tmp_path / "m.parquet", "--out", tmp_path / "out")
    assert_plain_error(done, "has no rows")


def test_no_such_manifest_is_one_sentence(tmp_path: Path) -> None:
    assert_plain_error(segpipe("validate", tmp_path / "nope.parquet"), "nope.parquet")


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_root_that_cannot_be_written_is_one_sentence(
    landing: LandingWriter, tmp_path: Path, command: str
) -> None:
    manifest = landing.manifest([landing.row("a")])
    in_the_way = landing.root / "validated"
    in_the_way.write_text("a file where a folder is needed")
    if command == "validate":
        done = segpipe("validate", manifest, "--out", in_the_way)
    else:
        done = segpipe(*run_arguments(landing.root), DAGSTER_HOME=str(tmp_path / "home"))
    assert_plain_error(done, "a file is where a folder is needed")
    assert in_the_way.read_text() == "a file where a folder is needed"


def run_arguments(root: Path, *more: str) -> list[str]:
    """Arguments that run the test partition."""
    return [
        "run", "--root", str(root), "--model-run", PARTITION.model_run,
        "--date", PARTITION.date, *more,
    ]  # fmt: skip


def test_run_publishes_then_finds_everything_unchanged(
    landing: LandingWriter, tmp_path: Path
) -> None:
    landing.manifest([landing.row("a"), {**landing.row("b"), "width": 9}])
    home = str(tmp_path / "home")
    first = segpipe(*run_arguments(landing.root), DAGSTER_HOME=home)
    assert first.returncode == 1, first.stderr
    assert "published: 1 inserted" in first.stdout
    assert "SIZE-MISMATCH" in first.stdout
    second = segpipe(*run_arguments(landing.root), DAGSTER_HOME=home)
    assert "published: 1 unchanged" in second.stdout
    landing.manifest([landing.row("a", label="other")])
    assert "1 ignored" in segpipe(*run_arguments(landing.root), DAGSTER_HOME=home).stdout
    would = segpipe(*run_arguments(landing.root, "--update", "--dry-run"), DAGSTER_HOME=home)
    assert "would be published: 1 replaced" in would.stdout
    did = segpipe(*run_arguments(landing.root, "--update"), DAGSTER_HOME=home)
    assert "published: 1 replaced" in did.stdout
    assert did.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model-run", "unte", "--date", "2026-01-05"], ["no model run 'unte'", "unet"]),
        (["--model-run", "unet", "--date", "2026-01-06"], ["no manifest for", "date=2026-01-06"]),
        (["--model-run", "unet", "--date", "05/01/2026"], ["'05/01/2026'", "YYYY-MM-DD"]),
        (["--model-run", "a|b", "--date", "2026-01-05"], ["'a|b'"]),
    ],
)
def test_run_on_a_partition_that_is_not_there_says_what_is(
    landing: LandingWriter, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    landing.manifest([landing.row("a")])
    done = segpipe("run", "--root", landing.root, *arguments, DAGSTER_HOME=str(tmp_path / "home"))
    assert_plain_error(done, *words)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("datset = 'x'", ["unknown key 'datset'", "did you mean 'dataset'?"]),
        ("[policy]\nmax_pixels = -1", ["max_pixels is -1", "positive whole number"]),
        ("first_date = 'soon'", ["first_date is 'soon'", "a date such as"]),
        ("dataset = ", ["not valid TOML"]),
    ],
)
def test_a_wrong_setting_names_the_file_the_key_and_what_was_expected(
    landing: LandingWriter, toml: str, words: list[str]
) -> None:
    landing.manifest([landing.row("a")])
    (landing.root / "segpipe.toml").write_text(toml)
    assert_plain_error(segpipe(*run_arguments(landing.root)), "segpipe.toml", *words)


def test_a_disk_that_fills_up_half_way_leaves_nothing_half_written(
    landing: LandingWriter, tmp_path: Path
) -> None:
    noise = np.random.default_rng(7)
    rows = []
    for n in range(40):
        row = landing.row(f"item {n}", height=64, width=64)
        row["mask_url"] = landing.mask(f"item {n}", noise.integers(0, 3, (64, 64), np.uint8))
        rows.append(row)
    manifest = landing.manifest(rows)
    with SmallDisk(tmp_path / "disk", "24k") as disk:
        done = disk.segpipe("validate", manifest, "--out", disk.place / "out")
        assert done.returncode == 2, done.stdout + done.stderr
        assert "the disk is full" in done.stderr
        assert "Traceback" not in done.stderr
        # Nothing but whole masks.
        files = disk.do(f"find '{disk.place}' -type f").splitlines()
        for path in files:
            assert disk.do(f"sha256sum '{path}'").split()[0] == Path(path).stem


def test_masks_outside_the_allowed_roots_need_permission(
    landing: LandingWriter, tmp_path: Path
) -> None:
    row = landing.row("a")
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.move(landing.folder(PARTITION) / row["mask_url"], outside / "a.png")
    manifest = landing.manifest([{**row, "mask_url": str(outside / "a.png")}])
    refused = segpipe("validate", manifest, "--out", tmp_path / "out")
    assert refused.returncode == 1
    assert "URL-REFUSED" in refused.stdout
    assert "--allow-root" in refused.stdout
    allowed = segpipe("validate", manifest, "--out", tmp_path / "out", "--allow-root", outside)
    assert allowed.returncode == 0, allowed.stdout


def test_import_is_quick_and_brings_no_dagster() -> None:
    program = (
        "import sys, time; t = time.perf_counter(); import segpipe; "
        "from segpipe import Segment, Catalog, decode_mask; "
        "print(time.perf_counter() - t, 'dagster' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    seconds, dagster = done.stdout.split()
    assert dagster == "False"
    bare = "import time; t = time.perf_counter(); import segpipe; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", bare], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.5
    assert float(seconds) < 5


def test_the_core_never_imports_dagster() -> None:
    package = PROJECT / "segpipe"
    core = [
        path
        for path in package.rglob("*.py")
        if not {"pipeline", "cli"} & set(path.relative_to(package).parts)
    ]
    assert len(core) > 20
    assert [p.name for p in core if "import dagster" in p.read_text()] == []


def test_striped_masks_are_what_the_tests_take_them_for() -> None:
    assert striped_mask((0, 255), 2, 1).tolist() == [[0], [255]]
