"""``segpipe run`` and ``segpipe validate`` on landing folders of other writers."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.fixtures.command_line import assert_plain_error, segpipe
from tests.fixtures.landing import PARTITION, LandingWriter


def as_part_files(manifest: Path) -> Path:
    """The manifest as a folder of one part file, as Spark writes it."""
    content = manifest.read_bytes()
    manifest.unlink()
    manifest.mkdir()
    (manifest / "part-0.parquet").write_bytes(content)
    (manifest / "_SUCCESS").write_bytes(b"")
    return manifest


def run_arguments(landing: LandingWriter) -> list[object]:
    partition = ["--model-run", PARTITION.model_run, "--date", PARTITION.date]
    return ["run", "--root", landing.root, *partition]


def test_run_reads_part_files_and_says_what_it_does_not_read(landing: LandingWriter) -> None:
    manifest = as_part_files(landing.manifest([landing.row("a")]))
    (manifest.parent / "late.csv").write_text("reference_id\n")
    (landing.root / "manifests" / "model-run=other").mkdir()
    done = segpipe(*run_arguments(landing))
    assert done.returncode == 0, done.stderr
    assert "published: 1 inserted" in done.stdout
    assert "2 not read in " in done.stderr
    assert "model-run=other (expected model_run=other)" in done.stderr
    assert "late.csv (expected *.parquet)" in done.stderr


def test_run_names_the_folder_that_was_meant(landing: LandingWriter) -> None:
    manifest = landing.manifest([landing.row("a")])
    day = manifest.parent
    day.rename(day.with_name(f"day={PARTITION.date}"))
    done = segpipe(*run_arguments(landing))
    assert_plain_error(done, f"day={PARTITION.date} (expected date={PARTITION.date})")


def test_validate_takes_a_folder_of_part_files_as_one_manifest(
    landing: LandingWriter, tmp_path: Path
) -> None:
    manifest = as_part_files(landing.manifest([landing.row("a")]))
    for number, given in enumerate((manifest, manifest.parent)):
        done = segpipe("validate", given, "--out", tmp_path / f"out-{number}")
        assert done.returncode == 0, done.stderr
        assert "1 rows: 1 accepted" in done.stdout
    shutil.copytree(manifest, manifest / "_temporary")
    done = segpipe("validate", manifest, "--out", tmp_path / "out")
    assert_plain_error(done, "is not complete")
