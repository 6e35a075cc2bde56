"""The list of what is not run of the pages: ``not_run.txt``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.docs.blocks import PageError, blocks_of, pages
from tests.docs.languages import checked_only
from tests.docs.programs import CommandError
from tests.fixtures.places import PROJECT

LISTED = PROJECT / "tests" / "docs" / "not_run.txt"


def listed(paths: Iterable[Path]) -> str:
    """A line for each page and reason: how many blocks or commands are not run for it."""
    found: Counter[tuple[str, str]] = Counter()
    for path in paths:
        try:
            for block in blocks_of(path):
                found.update((block.page, reason) for reason in _reasons(block))
        except PageError:
            continue  # told where the page runs
    lines = [f"{page}  {count}  {reason}\n" for (page, reason), count in sorted(found.items())]
    return "".join(lines)


def _reasons(block: object) -> list[str]:
    try:
        return checked_only(block)  # type: ignore[arg-type]
    except (CommandError, PageError):
        return []  # told where the page runs


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        LISTED.write_text(listed(pages()), "utf-8")
    else:
        print(listed(pages()), end="")
