"""Names of partitions, and finding manifests in the landing folder."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from segpipe.errors import ManifestError, SettingsError
from segpipe.manifests.landing import Landing
from segpipe.manifests.partition import Partition
from segpipe.storage.files import Folder

# --- partitions


@pytest.mark.parametrize(
    "model_run", ["unet", "UNet v1.2", "a/b", "..", "größe", "%2F", "a=b", "~"]
)
def test_a_partition_has_two_folders_that_give_its_names_back(model_run: str) -> None:
    run, day = Partition(model_run, "2026-01-05").folders
    assert day == "date=2026-01-05"
    assert "/" not in run
    assert unquote(run.removeprefix("model_run=")) == model_run


@pytest.mark.parametrize(
    "model_run",
    ["", "  ", "a|b", "a,b", "a[0]", "a...b", "a\nb", "a\0b", "a\x7fb", "x" * 256, "é" * 201],
)
def test_a_name_that_cannot_be_a_partition_key_is_refused(model_run: str) -> None:
    with pytest.raises(SettingsError):
        Partition(model_run, "2026-01-05")


@pytest.mark.parametrize(
    "day",
    ["", "2026-1-5", "20260105", "2026-02-30", "05.01.2026", "2026-01-05T00:00", "2026-W02-1"],
)
def test_a_day_is_written_as_year_month_day(day: str) -> None:
    with pytest.raises(SettingsError, match="YYYY-MM-DD"):
        Partition("unet", day)


@pytest.mark.parametrize("length", [30, 60, 100, 150, 199, 200, 201, 240, 255])
@pytest.mark.parametrize("letter", ["x", "é", "/"])
def test_every_name_that_is_allowed_can_be_a_folder(
    tmp_path: Path, letter: str, length: int
) -> None:
    try:
        folders = Partition(letter * length, "2026-01-05").folders
    except SettingsError as error:
        assert len(quote(letter * length, safe="")) > 200
        assert "too long" in str(error)
        return
    folder = Folder(str(tmp_path)).folder(*folders)
    folder.write("validated.parquet", b"")
    assert folder.exists("validated.parquet")


def test_partitions_sort_by_model_run_and_day() -> None:
    keys = [("b", "2026-01-01"), ("a", "2026-01-02"), ("a", "2026-01-01")]
    assert [str(p) for p in sorted(Partition(*key) for key in keys)] == [
        "model_run=a date=2026-01-01",
        "model_run=a date=2026-01-02",
        "model_run=b date=2026-01-01",
    ]


# --- landing


def put_manifest(folder: Path, name: str = "part-0.parquet", rows: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    column = [f"item-{i}" for i in range(rows)]
    pq.write_table(
        pa.table(dict.fromkeys(("reference_id", "mask_url", "segments"), column)), folder / name
    )


def landing(tmp_path: Path) -> Landing:
    return Landing(Folder(str(tmp_path)))


def test_partitions_are_found_and_sorted_and_other_folders_left_alone(tmp_path: Path) -> None:
    for name in (
        "model_run=unet/date=2026-01-06",
        "model_run=unet/date=2026-01-05",
        "model_run=a b/date=2026-01-05",
        "model_run=a%2Fb/date=2026-01-05",
        "model_run=unet/date=someday",
        "model_run=unet/other",
        "model_run=x|y/date=2026-01-05",
        "other/date=2026-01-05",
    ):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "model_run=file").write_bytes(b"")
    assert list(landing(tmp_path).partitions()) == [
        Partition("a b", "2026-01-05"),
        Partition("a/b", "2026-01-05"),
        Partition("unet", "2026-01-05"),
        Partition("unet", "2026-01-06"),
    ]


def test_a_landing_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert list(landing(tmp_path / "none").partitions()) == []


def test_a_partitions_manifest_is_all_its_parquet_files_by_name(tmp_path: Path) -> None:
    day = tmp_path / "model_run=unet/date=2026-01-05"
    for name in ("b.parquet", "a.parquet", ".hidden.parquet", "_temporary.parquet"):
        put_manifest(day, name)
    (day / "notes.txt").write_bytes(b"")
    (day / "folder.parquet").mkdir()
    manifest = landing(tmp_path).manifest(Partition("unet", "2026-01-05"))
    assert [file.shown for file in manifest.files] == [
        "model_run=unet/date=2026-01-05/a.parquet",
        "model_run=unet/date=2026-01-05/b.parquet",
    ]


@pytest.mark.parametrize("name", ["a%20b", "a b", "a::b", "größe", "gr%C3%B6%C3%9Fe", "a#b"])
def test_a_folder_is_found_however_its_writer_encoded_the_name(tmp_path: Path, name: str) -> None:
    put_manifest(tmp_path / f"model_run={name}/date=2026-01-05")
    (partition,) = landing(tmp_path).partitions()
    assert landing(tmp_path).manifest(partition).rows == 1


def test_two_folders_that_mean_the_same_model_run_are_not_silently_made_one(
    tmp_path: Path,
) -> None:
    """Either both are read, or somebody is told: no manifest may vanish."""
    put_manifest(tmp_path / "model_run=a b/date=2026-01-05", rows=1)
    put_manifest(tmp_path / "model_run=a%20b/date=2026-01-05", rows=2)
    try:
        rows = landing(tmp_path).manifest(Partition("a b", "2026-01-05")).rows
    except ManifestError as error:
        assert "model_run=a%20b" in str(error)
    else:
        assert rows == 3


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="none yet"):
        landing(tmp_path).manifest(Partition("unet", "2026-01-05"))
    put_manifest(tmp_path / "model_run=unet/date=2026-01-05")
    with pytest.raises(ManifestError, match=r"model runs: unet"):
        landing(tmp_path).manifest(Partition("u-net", "2026-01-05"))
    with pytest.raises(ManifestError, match="no manifest for model_run=unet date=2026-01-06"):
        landing(tmp_path).manifest(Partition("unet", "2026-01-06"))


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=60), st.dates())
def test_any_partition_is_found_again_under_the_folders_it_names(
    folder: Path, model_run: str, day: date
) -> None:
    try:
        partition = Partition(model_run, day.isoformat())
    except SettingsError:
        assume(False)
    run_folder, day_folder = partition.folders
    assume(len(run_folder) <= 255)
    put_manifest(folder / run_folder / day_folder)
    assert partition in list(landing(folder).partitions())
    (file,) = landing(folder).manifest(partition).files
    assert file.shown == f"{run_folder}/{day_folder}/part-0.parquet"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("landing")
