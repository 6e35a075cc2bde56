"""What is found in a root, and that each next step removes what was found."""

from __future__ import annotations

import os
import sys
import tarfile
import time
from pathlib import Path

import pytest

from segpipe.examination.check import Level
from segpipe.manifests.partition import Partition
from segpipe.publishing import table_health
from segpipe.root import Root
from tests.fixtures.examined import examined, files_below, follow, the, wrong
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.places import PROJECT
from tests.fixtures.small_disk import SmallDisk

FORMAT_1 = PROJECT / "tests" / "publishing" / "data" / "format-1.tar.gz"
LATER = Partition(PARTITION.model_run, "2026-01-06")


@pytest.fixture
def published(landing: LandingWriter) -> Path:
    """A root with one published partition."""
    landing.manifest([landing.row("a"), landing.row("b")])
    root = Root.open(landing.root)
    root.materialize(PARTITION)
    root.publish(PARTITION)
    return landing.root


def settings_of(root: Path, text: str) -> None:
    (root / "segpipe.toml").write_text(text)


def test_a_published_root_is_as_it_should_be_and_is_left_as_it_was(published: Path) -> None:
    before = files_below(published)
    checks = examined(published)
    assert wrong(checks) == []
    assert the(checks, "catalog").found.endswith("format 2: 2 predictions of 1 partition")
    assert the(checks, "manifests").found == "1 partition of 1 model run landed, 1 validated"
    assert files_below(published) == before


def test_every_check_that_is_not_ok_says_what_to_do(landing: LandingWriter) -> None:
    landing.manifest([landing.row("a", partition=LATER)], LATER)
    (landing.root / "manifests" / "unet").mkdir()
    settings_of(landing.root, 'items = "gone.txt"')
    for check in examined(landing.root):
        assert check.level is Level.OK or check.next_step


def test_a_root_that_is_not_there_is_usable_once_it_was_made(tmp_path: Path) -> None:
    root = tmp_path / "new 'root'"
    (check,) = examined(root)
    assert (check.level, check.found) == (Level.PROBLEM, f"there is no folder {root}")
    follow(check)
    assert wrong(examined(root)) == []


@pytest.mark.slow
def test_a_file_in_place_of_a_root_leads_to_the_folder_it_is_in(published: Path) -> None:
    settings_of(published, "")
    (check,) = examined(published / "segpipe.toml")
    assert check.level is Level.PROBLEM
    assert "expected a folder" in check.found
    assert "1 validated" in follow(check).stdout


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words", "mended"),
    [
        ('datset = "cars"', "did you mean 'dataset'?", 'dataset = "cars"'),
        ("[policy\n", "not valid TOML", "[policy]\n"),
        ("[policy.severities]\nOFF-BY-TWO = 'off'", "did you mean 'OFF-BY-ONE'?", ""),
    ],
)
@pytest.mark.slow
def test_settings_that_cannot_be_used_are_told_until_they_are_mended(
    published: Path, text: str, words: str, mended: str
) -> None:
    settings_of(published, text)
    (check,) = wrong(examined(published))
    assert check.level is Level.PROBLEM
    assert words in check.found
    settings_of(published, mended)
    assert wrong(examined(published)) == []
    assert "segpipe.toml" in follow(check, DAGSTER_HOME=str(published / "home")).stdout


def test_a_model_run_of_the_settings_that_never_landed_is_told_with_the_nearest(
    published: Path,
) -> None:
    table = '[model_runs."{}"]\ntask = "semantic"\n'
    settings_of(published, table.format("umet") + '[evaluation]\nground_truth = "truth"\n')
    of_run, of_truth = wrong(examined(published))
    assert "did you mean 'unet'?" in of_run.found
    assert "'truth'" in of_truth.found
    settings_of(published, table.format("unet"))
    assert wrong(examined(published)) == []


def test_a_model_run_that_is_retired_need_not_be_there(published: Path) -> None:
    settings_of(published, "[model_runs.old]\nretired = true\n")
    assert wrong(examined(published)) == []


def test_a_list_of_items_that_is_missing_or_empty_is_a_problem(published: Path) -> None:
    settings_of(published, '[policy]\nitems = "items.txt"\n')
    (missing,) = wrong(examined(published))
    assert "items.txt" in missing.found
    (published / "items.txt").write_text("")
    (empty,) = wrong(examined(published))
    assert "is empty" in empty.found
    (published / "items.txt").write_text("a\nb\n")
    assert the(examined(published), "items").found.startswith("2 in ")


def test_an_allowed_root_that_is_not_there_is_told(published: Path, tmp_path: Path) -> None:
    settings_of(published, f'allowed_roots = ["{tmp_path}/cache"]')
    (check,) = wrong(examined(published))
    assert check.found == f"{tmp_path}/cache is not there"
    (tmp_path / "cache").mkdir()
    assert wrong(examined(published)) == []


# --- what has landed -----------------------------------------------------------------------------


def test_a_folder_that_is_not_read_is_renamed_by_the_advised_command(published: Path) -> None:
    (published / "manifests" / f"model_run={PARTITION.model_run}").rename(
        published / "manifests" / PARTITION.model_run
    )
    check = the(examined(published), "not read")
    assert check.level is Level.WARNING
    assert f"expected model_run={PARTITION.model_run}" in check.found
    follow(check)
    assert wrong(examined(published)) == []


def test_a_delivery_in_another_form_is_named_with_what_is_expected(published: Path) -> None:
    day = published / "manifests" / f"model_run={PARTITION.model_run}" / f"date={PARTITION.date}"
    (day / "more.csv").write_text("reference_id,mask_url\n")
    assert "more.csv (expected *.parquet)" in the(examined(published), "not read").found


def test_what_a_dead_writer_left_is_removed_by_the_advised_command(published: Path) -> None:
    day = published / "manifests" / f"model_run={PARTITION.model_run}" / f"date={PARTITION.date}"
    (day / "_temporary").mkdir()
    (day / "_temporary" / "part-0.parquet").write_bytes(b"")
    assert the(examined(published), "unfinished").level is Level.NOTE
    hours_ago = time.time() - 7200
    os.utime(day / "_temporary" / "part-0.parquet", (hours_ago, hours_ago))
    check = the(examined(published), "unfinished")
    assert check.level is Level.WARNING
    follow(check)
    assert wrong(examined(published)) == []
    assert (day / "predictions.parquet").is_file()


def test_what_is_left_is_not_hidden_by_a_validated_day_whose_manifest_went_away(
    published: Path, landing: LandingWriter
) -> None:
    landing.manifest([landing.row("c", partition=LATER)], LATER)
    (manifest,) = landing.folder(PARTITION).glob("*.parquet")
    manifest.unlink()
    check = the(examined(published), "manifests")
    assert (check.level, check.next_step) == (Level.NOTE, "validate and publish what is left")


def test_a_day_of_a_retired_model_run_is_not_left_to_run(
    published: Path, landing: LandingWriter
) -> None:
    old = Partition("old", "2026-01-06")
    landing.manifest([landing.row("c", partition=old)], old)
    assert the(examined(published), "manifests").level is Level.NOTE
    settings_of(published, "[model_runs.old]\nretired = true\n")
    assert the(examined(published), "manifests").level is Level.OK


def test_what_is_left_is_run_in_python_or_with_dagster_once_it_is_installed(
    landing: LandingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.manifest([landing.row("a")])
    monkeypatch.setitem(sys.modules, "dagster", None)
    check = the(examined(landing.root), "manifests")
    assert "Root.materialize and Root.publish" in check.next_step
    assert check.command == "pip install 'segpipe[dagster]'"


@pytest.mark.slow
def test_what_was_not_validated_yet_is_run_by_the_advised_command(
    landing: LandingWriter, tmp_path: Path
) -> None:
    landing.manifest([landing.row("a")])
    check = the(examined(landing.root), "manifests")
    assert (check.level, check.next_step) == (Level.NOTE, "validate and publish what is left")
    follow(check, DAGSTER_HOME=str(tmp_path / "home"))
    assert the(examined(landing.root), "manifests").level is Level.OK


# --- the catalog ---------------------------------------------------------------------------------


def test_a_catalog_of_an_older_format_is_upgraded_by_the_advised_command(tmp_path: Path) -> None:
    with tarfile.open(FORMAT_1) as archive:
        archive.extractall(tmp_path, filter="data")
    (root,) = [one.parent for one in tmp_path.rglob("catalog")]
    check = the(examined(root), "catalog")
    assert check.level is Level.PROBLEM
    assert "format 1" in check.found
    follow(check)
    assert the(examined(root), "catalog").level is Level.OK


def test_a_catalog_with_many_small_files_is_optimized_by_the_advised_command(
    published: Path, landing: LandingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.manifest([landing.row("c", partition=LATER)], LATER)
    root = Root.open(published)
    root.materialize(LATER)
    root.publish(LATER)
    monkeypatch.setattr(table_health, "MOST_SMALL_FILES", 1)
    check = the(examined(published), "catalog, files")
    assert check.level is Level.WARNING
    follow(check)
    assert wrong(examined(published)) == []


@pytest.mark.slow
def test_a_damaged_catalog_is_mended_by_the_command_that_is_advised(
    published: Path, landing: LandingWriter, tmp_path: Path
) -> None:
    landing.manifest([landing.row("c", partition=LATER)], LATER)
    root = Root.open(published)
    root.materialize(LATER)
    root.publish(LATER)
    entry = published / "catalog" / "predictions" / "_delta_log" / f"{2:020d}.json"
    entry.write_bytes(entry.read_bytes()[:40])
    check = the(examined(published), "catalog")
    assert check.level is Level.PROBLEM
    assert check.command.startswith("segpipe run ")
    follow(check, DAGSTER_HOME=str(tmp_path / "home"))
    assert the(examined(published), "catalog").level is Level.OK


def test_what_a_killed_run_left_is_deleted_by_the_advised_command(published: Path) -> None:
    left = published / "validated" / f".{'0' * 32}.tmp"
    left.write_bytes(b"half")
    days_ago = time.time() - 3 * 86_400
    os.utime(left, (days_ago, days_ago))
    check = the(examined(published), "leftovers")
    assert check.level is Level.NOTE
    assert "1 temporary file of killed runs" in check.found
    follow(check)
    assert not left.exists()
    assert the(examined(published), "leftovers").level is Level.OK


# --- disks ---------------------------------------------------------------------------------------


def doctor_on(disk: SmallDisk) -> tuple[int, str]:
    done = disk.segpipe("doctor", "--root", f"{disk.place}/root", COLUMNS="400")
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def test_a_read_only_root_is_told_and_is_no_problem(published: Path, tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", "3m") as disk:
        disk.do(f"cp -r '{published}' '{disk.place}/root'")
        disk.make_read_only()
        status, said = doctor_on(disk)
        assert status == 0, said
        assert "its disk is mounted read-only" in said
        assert "2 predictions of 1 partition" in said
        (command,) = {
            line[line.index("mount -o") :] for line in said.splitlines() if "remount" in line
        }
        disk.do(command)
        assert "read-only" not in doctor_on(disk)[1]


def test_a_full_disk_is_a_problem_until_there_is_room(published: Path, tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", "3m") as disk:
        disk.do(f"cp -r '{published}' '{disk.place}/root'")
        disk.fill()
        status, said = doctor_on(disk)
        assert status == 1
        assert "the disk is full" in said
        assert "2 predictions of 1 partition" in said
        disk.do(f"rm '{disk.place}/filled'")
        assert "the disk is full" not in doctor_on(disk)[1]
        assert ".segpipe-doctor-" not in disk.do(f"find '{disk.place}'")
