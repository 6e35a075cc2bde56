"""The README is a page: short, and with a picture that is what segpipe draws.

That its commands and its Python work, ``tests/docs`` says.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from segpipe.formats.opening import FORMATS
from tests.fixtures.command_line import invoked
from tests.fixtures.places import PROJECT

README = (PROJECT / "README.md").read_text("utf-8")


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len(README.splitlines()) <= 150


def test_the_readme_says_how_many_formats_are_imported() -> None:
    assert f"any of {len(FORMATS)} formats" in README


def test_what_the_readme_types_after_make_demo_is_about_the_root_that_make_demo_makes() -> None:
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    assert "DEMO ?= demo\n" in makefile
    assert "$(BIN)/segpipe demo --root $(DEMO)\n" in makefile
    assert "--root demo" in README


@pytest.mark.slow
def test_the_picture_of_the_readme_is_drawn_by_the_command_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    # Colours are given in the order in which labels come, and the day stands in the picture.
    invoked("demo", "--root", "demo", "--until", "2026-01-07")
    (command,) = re.findall(r"^<!-- segpipe (show .+) -->$", README, re.MULTILINE)
    (place,) = re.findall(r"!\[[^]]+\]\((\S+)\)", README)
    Path(place).parent.mkdir()
    invoked(*shlex.split(command))
    assert (PROJECT / place).stat().st_size < 150_000
    with Image.open(PROJECT / place) as kept, Image.open(place) as drawn:
        assert kept.size == drawn.size
        difference = ImageChops.difference(kept.convert("RGB"), drawn.convert("RGB"))
        assert max(ImageStat.Stat(difference).mean) < 2  # letters are those of the machine's fonts
