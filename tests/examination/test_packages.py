"""Installed packages: out of bounds, not fitting each other, not to be loaded."""

from __future__ import annotations

import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from segpipe.examination.check import Level
from segpipe.examination.fast_path import compiled_code
from segpipe.examination.packages import (
    BROUGHT,
    conflicts,
    extras,
    install_anew_command,
    own_version,
    package_of,
)
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


@pytest.mark.parametrize(
    ("raised", "level", "loaded", "consequence"),
    [
        ("ImportError('Numba needs NumPy 2.3 or less')", "warning", "False", "read by Pillow"),
        ("OSError('no libllvmlite.so')", "warning", "False", "read by Pillow"),
        ("AttributeError('np.long')", "problem", "AttributeError", "reading many masks fails"),
    ],
)
def test_a_fast_path_that_cannot_be_loaded_is_told_with_its_reason(
    tmp_path: Path, raised: str, level: str, loaded: str, consequence: str
) -> None:
    pytest.importorskip("deflate")
    (tmp_path / "numba.py").write_text(f"raise {raised}")
    asked = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from segpipe.examination.fast_path import compiled_code\n"
        "check = compiled_code(); print(check.level, check.found, check.command, sep='|')\n"
        "from segpipe.masks.fast_path import load_fast_path\n"
        "try: print(load_fast_path())\n"
        "except Exception as error: print(type(error).__name__)"
    )
    said = subprocess.check_output([sys.executable, "-c", asked], cwd=PROJECT, text=True)
    check, really = said.splitlines()
    assert check.startswith(f"{level}|numba is installed and cannot be loaded")
    assert raised.split("'")[1] in check
    assert consequence in check
    assert really == loaded
    command = check.rpartition("|")[2]
    assert command.startswith("pip install --force-reinstall 'deflate<1,>=0.8' 'numba<1,>=0.61'")
    assert "numpy<" in command  # within numba's bounds


def test_numba_that_compiles_nothing_is_told_and_mended_by_the_advised_command() -> None:
    pytest.importorskip("numba")
    asked = "from segpipe.examination.fast_path import compiled_code; c = compiled_code()"
    python = f"{shlex.quote(sys.executable)} -c '{asked}; print(c.level, c.command)'"

    def said(script: str) -> str:
        return subprocess.check_output(["bash", "-c", script], cwd=PROJECT, text=True)

    level, _, command = said(f"NUMBA_DISABLE_JIT=1 {python}").strip().partition(" ")
    assert (level, command) == ("warning", "unset NUMBA_DISABLE_JIT")
    assert said(f"export NUMBA_DISABLE_JIT=1; {command}; {python}") == "ok \n"


def test_a_broken_package_is_installed_anew_by_its_name_and_within_bounds() -> None:
    assert (package_of("PIL._imaging"), package_of("yaml")) == ("pillow", "PyYAML")
    assert package_of("no_such_module") is None
    command, *options, pillow = shlex.split(install_anew_command("pillow", alone=True))
    assert [command, *options] == ["pip", "install", "--force-reinstall", "--no-deps"]
    bounds = Requirement(pillow).specifier
    assert bounds.contains(version("pillow"))
    assert not bounds.contains("10.4") and not bounds.contains("14.0")
    assert install_anew_command(alone=True) == "pip install --force-reinstall segpipe"


def test_every_extra_for_users_is_explained() -> None:
    assert set(BROUGHT) == set(EXTRAS)
