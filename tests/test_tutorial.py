"""The tutorial, followed from its first command to its last."""

from __future__ import annotations

from pathlib import Path

import pytest

from segpipe.root import Root
from tests.fixtures.followed_page import Reader, assert_printed
from tests.fixtures.places import PROJECT

TUTORIAL = PROJECT / "docs" / "tutorial.md"


@pytest.mark.slow
def test_the_tutorial_prints_what_it_says_from_the_first_command_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    passed = ("make demo", ". .venv/bin/activate")
    reader = Reader(tmp_path, tmp_path / "dagster", root="tutorial", passed=passed)
    assert len(reader.follow(TUTORIAL)) >= 15
    root = Root.open("tutorial")
    assert set(root.catalog.predictions()["model_run"].to_pylist()) >= {"labels", "street-unet-v2"}


def test_output_that_a_page_shortens_is_compared_where_it_is_shown() -> None:
    assert_printed("a\n...\nz", "a\nb\nc\nz\n", "letters")
    with pytest.raises(AssertionError, match="letters"):
        assert_printed("a\n...\ny", "a\nb\nc\nz\n", "letters")
    with pytest.raises(AssertionError, match="letters"):
        assert_printed("a\nc", "a\nb\nc", "letters")
