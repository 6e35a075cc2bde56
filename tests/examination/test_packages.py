"""Installed packages: out of bounds, not fitting each other, not to be loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from segpipe.examination.check import Level
from segpipe.examination.fast_path import compiled_code
from segpipe.examination.packages import BROUGHT, conflicts, extras, own_version
from segpipe.extras import EXTRAS
from tests.fixtures.examined import the
from tests.fixtures.places import PROJECT


def install(folder: Path, name: str, version: str, *needs: str) -> None:
    """Make a package look as if it were installed in that version."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {one}" for one in needs]
    (place / "METADATA").write_text("\n".join(lines) + "\n")


def test_versions_within_bounds_are_as_they_should_be() -> None:
    assert {one.level for one in own_version()} == {Level.OK}
    assert [*conflicts()] == []


def test_a_version_out_of_bounds_is_told_with_what_installs_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "duckdb", "0.1")
    install(tmp_path, "pyarrow", "3.0")
    monkeypatch.syspath_prepend(tmp_path)
    query, base = the([*extras()], "query"), the(own_version(), "base")
    assert (query.level, base.level) == (Level.WARNING, Level.WARNING)
    assert "duckdb is 0.1, expected <3,>=2" in query.found
    assert "pyarrow is 3.0" in base.found
    assert query.command == "pip install 'segpipe[query]'"


def test_packages_that_do_not_fit_each_other_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "s3fs", "2026.1.0", "fsspec==1.0")
    monkeypatch.syspath_prepend(tmp_path)
    (check,) = conflicts()
    assert check.level is Level.WARNING
    assert "s3fs 2026.1.0: fsspec is" in check.found


def test_the_fast_path_gives_what_pillow_and_numpy_give() -> None:
    pytest.importorskip("numba")
    assert "same results" in compiled_code().found


def test_a_fast_path_that_cannot_be_loaded_is_told_with_its_reason(tmp_path: Path) -> None:
    pytest.importorskip("deflate")
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.3 or less')")
    asked = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from segpipe.examination.fast_path import compiled_code\n"
        "check = compiled_code(); print(check.level, check.found, check.command)"
    )
    said = subprocess.check_output([sys.executable, "-c", asked], cwd=PROJECT, text=True)
    assert said.startswith("warning numba is installed and cannot be loaded")
    assert "Numba needs NumPy 2.3 or less" in said
    assert said.endswith("pip install 'segpipe[fast]'\n")


def test_every_extra_for_users_is_explained() -> None:
    assert set(BROUGHT) == set(EXTRAS)
