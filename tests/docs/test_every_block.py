"""Every code block of the pages runs as it is written."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.blocks import Block, PageError, blocks_of, pages
from tests.docs.folder import page_folder
from tests.docs.languages import BlockError, Page, run_block
from tests.docs.not_run import LISTED, listed
from tests.docs.programs import CommandError, Running
from tests.fixtures.places import PROJECT

PAGES = pages()
NAMES = [str(page.relative_to(PROJECT)) for page in PAGES]
_SLOW_PAGE = re.compile(r"<!--\s*page: slow: .+-->")
_HAS_SLOW = re.compile(r"<!--\s*(page|block|blocks): (\w+ )?slow: ")
_SLOW = [page for page in PAGES if _HAS_SLOW.search(page.read_text("utf-8"))]


def run_page(
    path: Path, folder: Path, laid_out: Path, monkeypatch: pytest.MonkeyPatch, *, slow: bool = False
) -> list[str]:
    """Run the blocks of a page, also those below one that fails; what is wrong with each."""
    wrong: list[str] = []
    text = path.read_text("utf-8")
    if _SLOW_PAGE.search(text) and not slow:
        return []
    with page_folder(folder, laid_out, text, monkeypatch) as prepared, ExitStack() as ends:
        page = Page(Running(prepared, ends))
        try:
            blocks = blocks_of(path)
        except PageError as error:
            return [str(error)]
        for block in blocks:
            if "slow" in block.said and not slow:
                continue
            try:
                run_block(block, page)
            except (BlockError, CommandError, PageError) as error:
                wrong.append(_told(block, error))
    return wrong


def _told(block: Block, error: Exception) -> str:
    below = f" below «{block.heading}»" if block.heading else ""
    kind = "hidden " if block.hidden else ""
    return f"{block.place}: the {kind}{block.language or 'nameless'} block{below}: {error}"


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_block_of_a_page_runs(
    path: Path, tmp_path: Path, laid_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = run_page(path, tmp_path, laid_out, monkeypatch)
    if wrong:
        pytest.fail(f"{len(wrong)} blocks do not run\n\n" + "\n\n".join(wrong), pytrace=False)


@pytest.mark.slow
@pytest.mark.parametrize("path", _SLOW, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_block_of_a_page_runs_the_slow_ones_too(
    path: Path, tmp_path: Path, laid_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = run_page(path, tmp_path, laid_out, monkeypatch, slow=True)
    if wrong:
        pytest.fail(f"{len(wrong)} blocks do not run\n\n" + "\n\n".join(wrong), pytrace=False)


def test_what_is_not_run_is_listed_with_its_reason() -> None:
    found = listed(PAGES)
    there = LISTED.read_text("utf-8")
    assert found == there, (
        "what is not run has changed; make the blocks run, or let "
        "`.venv/bin/python -m tests.docs.not_run --write` list them"
    )
