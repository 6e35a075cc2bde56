"""What the pages say can be followed: links lead somewhere, and named files exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").rglob("*.md"))]
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))


def _text(page: Path) -> str:
    return page.read_text("utf-8")


def _anchors(page: Path) -> set[str]:
    """What the headings of a page are linked by, on GitHub and on the site."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", _text(page), flags=re.M | re.S), re.M
    )
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@PAGE
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", _text(page))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@PAGE
def test_every_anchor_of_a_link_is_a_heading_of_its_page(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", _text(page))
    inside = [(page.parent / link if link else page, to) for link, to in links if "://" not in link]
    assert [f"{one.name}#{to}" for one, to in inside if to not in _anchors(one)] == []


@PAGE
def test_every_file_of_segpipe_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`(segpipe/[\w./]+)`", _text(page))
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_every_package_is_on_the_page_on_architecture() -> None:
    page = _text(PROJECT / "docs" / "architecture.md")
    packages = {path.parent.name for path in (PROJECT / "segpipe").glob("*/__init__.py")}
    assert {name for name in packages if f"`{name}`" not in page} == set()
