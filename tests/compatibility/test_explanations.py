"""What the pages under docs/explanation/ show comes out as they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fixtures.places import PROJECT

PAGES = sorted((PROJECT / "docs" / "explanation").glob("*.md"))


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", [one for one in PAGES if blocks(one)], ids=lambda page: page.stem)
def test_an_example_prints_what_its_comments_say(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n".join(blocks(page))
    exec(code, {})
    expected = re.findall(r"^print\(.*\)  # (.+)$", code, re.MULTILINE)
    assert expected
    assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_rule_that_a_page_names_exists(page: Path) -> None:
    from segpipe import RULES

    named = set(re.findall(r"`([A-Z]+(?:-[A-Z0-9]+)+)`", page.read_text("utf-8")))
    assert named - set(RULES) == set()


def test_every_rule_that_rejects_for_its_pixels_is_explained() -> None:
    from segpipe import RULES

    page = (PROJECT / "docs" / "explanation" / "valid-mask.md").read_text("utf-8")
    modules = ("files", "pixels", "numbering", "interpolation", "sizes")
    of_pixels = {
        id
        for id, rule in RULES.items()
        if rule.severity == "reject"
        and rule.check is not None
        and rule.check.__module__.rpartition(".")[2] in modules
    }
    assert len(of_pixels) > 5
    assert {id for id in of_pixels if f"`{id}`" not in page} == set()
