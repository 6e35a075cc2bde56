"""A release: its number, and what the number alone changes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import segpipe
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.places import PROJECT


def test_package_project_and_changelog_have_one_version() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    changelog = (PROJECT / "CHANGELOG.md").read_text("utf-8")
    released = re.findall(r"^## \[(\d[\w.]*)\]", changelog, re.MULTILINE)
    assert segpipe.__version__ == project["version"] == released[0]
    # An empty part on top, into which the next lines go; what is released has a date.
    assert "## [Unreleased]" in changelog.partition(f"## [{released[0]}]")[0]
    assert re.search(rf"^## \[{re.escape(released[0])}\] - \d{{4}}-\d\d-\d\d$", changelog, re.M)


def test_another_number_validates_once_more_and_changes_nothing_published(
    landing: LandingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.manifest([landing.row("a"), landing.row("b", (0, 3)), {"reference_id": "c"}])

    def run() -> tuple[segpipe.Summary, segpipe.Publication, int | None]:
        root = segpipe.Root.open(landing.root)
        summary = root.materialize(PARTITION)
        return summary, root.publish(PARTITION, update=True), root.catalog.version()

    def tables() -> dict[str, bytes]:
        files = Path(segpipe.Root.open(landing.root).tables(PARTITION).path).glob("*.parquet")
        return {path.name: path.read_bytes() for path in files}

    with monkeypatch.context() as patched:
        patched.setattr("segpipe.validation.inputs.__version__", "0.1.0")
        first, _, version = run()
        before = tables()
        assert run()[0].reused
    again, publication, still = run()
    assert (again.reused, again) == (False, first)
    assert tables() == before
    assert publication.outcomes == {**dict.fromkeys(publication.outcomes, 0), "unchanged": 2}
    assert still == version
    assert run()[0].reused
