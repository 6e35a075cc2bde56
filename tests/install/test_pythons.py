"""segpipe with every Python it may be installed for, where one is found on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.places import PROJECT
from tests.fixtures.wheel import CONSTRAINTS, Distributions, build, environment

pytestmark = [pytest.mark.pythons, pytest.mark.timeout(3600)]

VERSIONS = ["3.11", "3.12", "3.13", "3.14"]
TOOLS = [
    "aiohttp", "flask", "flask-cors", "hypothesis", "moto[s3]", "packaging", "pytest",
    "pytest-timeout", "pytest-xdist", "waitress",
]  # fmt: skip
PART = [
    "tests/masks", "tests/predictions", "tests/manifests/test_landing.py",
    "tests/manifests/test_items.py", "tests/publishing/test_publishing.py",
    "tests/queries", "tests/test_front_door.py", "tests/viewer/test_lists.py",
    "tests/pipeline/test_pipeline.py", "tests/workers",
]  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build(tmp_path_factory.mktemp("dist"))


def interpreters(version: str) -> Iterator[str]:
    """Programs that may be this version of Python."""
    if found := shutil.which(f"python{version}"):
        yield found
    for place in (Path.home() / ".pyenv" / "versions", Path("/opt/python")):
        yield from map(str, place.glob(f"*/bin/python{version}"))


def found_python(version: str) -> str:
    for program in interpreters(version):
        asked = "import sys; print('%d.%d' % sys.version_info[:2], sys.implementation.name)"
        done = subprocess.run([program, "-c", asked], capture_output=True, text=True, check=False)
        if done.stdout.split() == [version, "cpython"]:
            return program
    pytest.skip(f"no Python {version} found here")


def test_the_versions_tried_are_those_the_package_names() -> None:
    named = re.findall(r"Python :: (3\.\d+)\"", (PROJECT / "pyproject.toml").read_text())
    assert named == VERSIONS[: len(named)]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_the_demo_and_a_part_of_the_tests_with(
    version: str, built: Distributions, tmp_path: Path
) -> None:
    with environment(found_python(version)) as made:
        made.install_quickly(f"{built.wheel}[all]", *TOOLS)
        done = made.segpipe("demo", "--root", "demo", "--until", "2026-01-07")
        assert done.returncode == 0, done.stdout + done.stderr
        # Its tests come from the source distribution, without the package beside them.
        with tarfile.open(built.sdist) as archive:
            archive.extractall(tmp_path, filter="data")
        (sources,) = tmp_path.iterdir()
        shutil.rmtree(sources / "segpipe")
        tests = ["-m", "pytest", "-q", "-x", "-n", "2", "-p", "no:cacheprovider", *PART]
        marks = "not slow and not browser and not newest and not pythons"
        go_there = (
            f"import os, sys; os.chdir({str(sources)!r}); os.execv(sys.executable, sys.argv[1:])"
        )
        command = [made.python, "-c", go_there, made.python, *tests, "-m", marks]
        done = made.run(*command, seconds=3000, PIP_CONSTRAINT=str(CONSTRAINTS))
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        print(version, done.stdout.splitlines()[-1])
