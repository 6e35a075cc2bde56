"""Links of the examples' pages and of the notebook lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fixtures.places import PROJECT

EXAMPLES = PROJECT / "examples"
PAGES = ["README.md", "dagster_project/README.md", "first_predictions.ipynb"]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    text = (EXAMPLES / page).read_text("utf-8")
    links = [one for one in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in one]
    assert page == "dagster_project/README.md" or links
    assert [one for one in links if not ((EXAMPLES / page).parent / one).exists()] == []


def test_every_file_that_the_projects_page_names_is_there() -> None:
    page = (EXAMPLES / "dagster_project" / "README.md").read_text("utf-8")
    named = re.findall(r"^\| `([\w./]+)` \|", page, re.MULTILINE)
    assert len(named) >= 5
    assert [one for one in named if not (EXAMPLES / "dagster_project" / one).is_file()] == []


def test_every_policy_is_on_the_page() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    folders: list[Path] = [path.parent for path in EXAMPLES.glob("policies/*/segpipe.toml")]
    assert len(folders) == 3
    assert [one.name for one in folders if f"| `{one.name}` |" not in page] == []
