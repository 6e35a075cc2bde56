"""What the pages say can be followed: links lead somewhere, files that are named exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segpipe.cli.main import cli
from segpipe.validation.rules import CATALOGUE
from tests.docs.blocks import pages
from tests.fixtures.places import PROJECT

PAGES = [*pages(), PROJECT / "CHANGELOG.md"]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))


def _text(page: Path) -> str:
    return page.read_text("utf-8")


def _anchors(page: Path) -> set[str]:
    """What the headings of a page are linked by."""
    shown = re.sub(r"^```.*?^```", "", _text(page), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", shown, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@every_page
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", _text(page))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@every_page
def test_every_anchor_of_a_link_is_a_heading_of_its_page(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", _text(page))
    inside = [(page.parent / link if link else page, to) for link, to in links if "://" not in link]
    assert [f"{one.name}#{to}" for one, to in inside if to not in _anchors(one)] == []


@every_page
def test_every_file_of_segpipe_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`(segpipe/[\w./]+)`", _text(page))
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_every_package_is_on_the_page_on_architecture() -> None:
    page = _text(PROJECT / "docs" / "architecture.md")
    packages = {path.parent.name for path in (PROJECT / "segpipe").glob("*/__init__.py")}
    assert {name for name in packages if f"`{name}`" not in page} == set()


def test_the_page_on_class_pdfs_names_every_rule_on_them() -> None:
    page = _text(PROJECT / "docs" / "class-pdfs.md")
    for rule in CATALOGUE.values():
        if rule.id.startswith("PDF-"):
            assert re.search(rf"^\| `{rule.id}` .*\| {rule.severity} \|$", page, re.MULTILINE)


def test_every_command_has_its_call_in_the_page_on_python() -> None:
    page = _text(PROJECT / "docs" / "python.md")
    named = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert len(cli.commands) > 10
    assert {name for name in cli.commands if name not in named} == set()
