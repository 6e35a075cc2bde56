"""What the pages say can be followed: links lead somewhere, named files exist, examples run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import segpipe
from tests.fixtures.landing import LandingWriter

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").glob("*.md"))]


def _text(page: Path) -> str:
    return page.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", _text(page))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_segpipe_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`(segpipe/[\w./]+)`", _text(page))
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_every_package_is_on_the_page_on_architecture() -> None:
    page = _text(PROJECT / "docs" / "architecture.md")
    packages = {path.parent.name for path in (PROJECT / "segpipe").glob("*/__init__.py")}
    assert {name for name in packages if f"`{name}`" not in page} == set()


def test_the_front_door_of_the_readme_publishes_what_has_landed(landing: LandingWriter) -> None:
    partition = segpipe.Partition("street-unet-v1", "2026-01-05")
    landing.manifest([landing.row("frame-0001", partition=partition)], partition)
    blocks = re.findall(r"```python\n(.*?)```", _text(PROJECT / "README.md"), re.DOTALL)
    (code,) = [block for block in blocks if "Root.open" in block]
    names: dict[str, Any] = {}
    exec(code.replace('"ROOT"', repr(str(landing.root))), names)
    assert names["predictions"]["reference_id"].tolist() == ["frame-0001"]
