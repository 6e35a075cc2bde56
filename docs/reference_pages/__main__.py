"""``python -m docs.reference_pages [--check]``: write the pages, or look whether they are right."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from docs.reference_pages.commands import commands_page
from docs.reference_pages.rules import rules_page
from docs.reference_pages.settings import settings_page

#: File in ``docs/reference/`` -> what makes it.
PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "settings.md": settings_page,
    "rules.md": rules_page,
}
_FOLDER = Path(__file__).parents[1] / "reference"


def main(arguments: Sequence[str], folder: Path = _FOLDER) -> int:
    """Write or check the pages; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m docs.reference_pages", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where one differs")
    is_checked = parser.parse_args(arguments).check
    differ = 0
    for name, page in PAGES.items():
        file, text = folder / name, page()
        if not is_checked:
            file.write_text(text, "utf-8")
        elif not file.exists() or file.read_text("utf-8") != text:
            print(
                f"docs/reference/{name} is not what the code says: make it with "
                "python -m docs.reference_pages",
                file=sys.stderr,
            )
            differ = 1
    return differ


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
