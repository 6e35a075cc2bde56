"""Words of the code as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from inspect import cleandoc
from textwrap import dedent

_COMMAND = "python -m docs.reference_pages"
#: Below the title of each page.
MADE = f"<!-- Made by `{_COMMAND}`; `make lint` checks it. -->"

# The words behind an example, which are no part of the command.
_REMARK, _COMMENT = re.compile(r"(?<=\S)( {2,})(?=[a-z])"), r"\1# "
_CODE = re.compile(r"(`[^`]*`)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
_SPECIAL = re.compile(r"[*<>\\]|(?<!\w)_|_(?!\w)|\](?=\()")
_VERBATIM = "\b"


def prose(text: str) -> str:
    """Plain words of a help text or a rule: options become code, and nothing else is markup."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(part if place % 2 else _plain(part) for place, part in enumerate(parts))


def _plain(text: str) -> str:
    escaped = _SPECIAL.sub(lambda found: "\\" + found.group(), text)
    return _OPTION.sub(lambda found: f"`{found.group()}`", escaped)


def paragraphs(help: str) -> Iterable[str]:
    """The paragraphs of a command's help; one that click does not wrap is a block of code, but for
    a first line that announces it.
    """
    for part in cleandoc(help).split("\n\n"):
        if not part.lstrip().startswith(_VERBATIM):
            yield prose(part)
            continue
        lines = part.replace(_VERBATIM, "").strip("\n").splitlines()
        if lines[0].endswith(":"):
            yield lines.pop(0).strip()
        code = dedent("\n".join(lines))
        runs = code.startswith("segpipe ") and "..." not in code
        yield f"```sh\n{_REMARK.sub(_COMMENT, code)}\n```" if runs else f"```text\n{code}\n```"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table; pipes in its cells are escaped, in code as well."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
