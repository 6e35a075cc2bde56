"""What the examples' pages name is there; their blocks and links are those of tests/docs."""

from __future__ import annotations

import re
from pathlib import Path

from tests.fixtures.places import PROJECT

EXAMPLES = PROJECT / "examples"


def test_every_link_of_the_notebook_leads_to_a_file() -> None:
    text = (EXAMPLES / "first_predictions.ipynb").read_text("utf-8")
    links = [one for one in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in one]
    assert links
    assert [one for one in links if not (EXAMPLES / one).exists()] == []


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
