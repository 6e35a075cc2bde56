"""A format is a class and an entry; the call and the command line know it from then on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import segpipe
from segpipe.errors import SettingsError
from segpipe.formats import opening
from tests.extensions.text_grids import TEXT_GRIDS

# As if the entry stood in the table: it is there before the command line is built.
_COMMAND = """
from segpipe.formats.opening import FORMATS
from tests.extensions.text_grids import TEXT_GRIDS
FORMATS[TEXT_GRIDS.name] = TEXT_GRIDS
from segpipe.cli import main
main()
"""
_PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def grids(tmp_path: Path) -> Path:
    """Two grids that can be read and one that cannot, and a label map beside them."""
    folder = tmp_path / "grids"
    folder.mkdir()
    (folder / "a.txt").write_text("0011\n0011\n")
    (folder / "b.txt").write_text("000\n010\n000\n")
    (folder / "ragged.txt").write_text("00\n0\n")
    (tmp_path / "labels.csv").write_text("index,label\n0,Road\n1,Person\n")
    return folder


@pytest.fixture
def text_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    """The format, in the table for the time of a test."""
    formats = {**opening.FORMATS, TEXT_GRIDS.name: TEXT_GRIDS}
    monkeypatch.setattr(opening, "FORMATS", formats)


def _check_validated(root: segpipe.Root) -> None:
    summary = root.materialize("digits", "2026-01-05")
    assert (summary.accepted, summary.rejected) == (2, 1)
    assert summary.findings == {"IMPORT-UNREADABLE": 1}
    assert "ragged.txt is not a grid of known digits" in str(root.report("digits", "2026-01-05"))
    root.publish("digits", "2026-01-05")
    published = {row["reference_id"]: row for row in root.catalog.predictions().to_pylist()}
    areas = {one["label"]: one["area_px"] for one in published["b"]["segments"]}
    assert (areas, sorted(published)) == ({"Road": 8, "Person": 1}, ["a", "b"])


def test_a_new_format_is_imported_by_the_call_and_validated(
    text_grids: None, grids: Path, tmp_path: Path
) -> None:
    summary = segpipe.import_masks(
        "text-grids",
        grids,
        root=tmp_path / "root",
        model_run="digits",
        date="2026-01-05",
        labels=tmp_path / "labels.csv",
    )
    assert (summary.imported, summary.refused) == (2, 1)
    _check_validated(segpipe.Root.open(tmp_path / "root"))


def test_a_new_format_is_a_command_of_its_own(grids: Path, tmp_path: Path) -> None:
    given = ["--labels", str(tmp_path / "labels.csv"), "--root", str(tmp_path / "root")]
    given += ["--model-run", "digits", "--date", "2026-01-05"]
    came = subprocess.run(
        [sys.executable, "-c", _COMMAND, "import", "text-grids", str(grids), *given],
        capture_output=True,
        text=True,
        cwd=_PROJECT,
        env={**os.environ, "PYTHONPATH": str(_PROJECT)},
    )
    assert came.returncode == 1, came.stderr  # a record was refused
    assert "2 imported, 1 refused" in came.stdout
    _check_validated(segpipe.Root.open(tmp_path / "root"))


def test_options_of_a_new_format_are_checked_like_any_others(
    text_grids: None, grids: Path, tmp_path: Path
) -> None:
    given = {"root": tmp_path / "root", "model_run": "digits"}
    with pytest.raises(SettingsError, match="text-grids needs 'labels'"):
        segpipe.import_masks("text-grids", grids, **given)
    with pytest.raises(SettingsError, match=r"text-grids takes no 'label'.*labels"):
        segpipe.import_masks("text-grids", grids, **given, label="labels.csv")
