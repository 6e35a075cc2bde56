"""Code blocks of a page of Markdown, with the comments before them that say how they run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.fixtures.places import PROJECT

#: A comment of ours: for the next block, or for all of a language below it.
_COMMENT = re.compile(r"<!--\s*(blocks?):\s*(.*?)\s*-->", re.DOTALL)
_DIRECTIVES = {
    "not run": r"not run: (.+)",
    "run by": r"run by (tests/\S+\.py)",
    "slow": r"slow: (.+)",
    "exits": r"exits (\d+(?: \d+)*)",
    "file": r"file (\S+)",
    "added to": r"added to (\S+)",
    "where": r"where (.+=.+)",
    "prints": r"prints()",
    "fresh": r"fresh()",
}
_HIDDEN = re.compile(r"(python|sh|sql|toml|yaml|json|csv|text)\n(.*)", re.DOTALL)
# MyST's own fences: some show code, the others hold Markdown again.
_MYST = re.compile(r"\{(\S+?)\}\s*(.*)")
_MYST_CODE = ("code-block", "code", "sourcecode", "code-cell")
_MYST_NO_MARKDOWN = ("toctree", "eval-rst", "mermaid", "math", "image", "figure", "include",
                     "literalinclude", "contents")  # fmt: skip
_ALIASES = {"py": "python", "bash": "sh", "shell": "sh", "zsh": "sh", "yml": "yaml", "txt": "text"}


class PageError(AssertionError):
    """A page does not say what to do with a block; the text names page, line and what to write."""


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: its path from the checkout.
        line: of its first line of code, from 1.
        language: as its fence says, in one spelling; empty where it says none.
        text: the code.
        heading: the one it stands below.
        said: directive -> its argument.
        hidden: whether it stands in a comment.
    """

    page: str
    line: int
    language: str
    text: str
    heading: str = ""
    said: dict[str, str] = field(default_factory=dict)
    hidden: bool = False

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """The pages whose blocks run."""
    top = [PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [*top, *(page for name in ("docs", "examples") for page in _below(PROJECT / name))]


def _below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.md"))


def blocks_of(path: Path) -> list[Block]:
    """The blocks of a page, in its order.

    Raises:
        PageError: if a comment of ours is not understood, or stands before nothing.
    """
    page = path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else Path(path.name)
    return [*_blocks(path.read_text("utf-8"), 0, _Comments(str(page)))]


@dataclass
class _Comments:
    """What comments have said so far.

    Attributes:
        of_next: of the next block.
        of_language: of all blocks of a language from there on.
    """

    page: str
    of_next: dict[str, str] = field(default_factory=dict)
    of_language: dict[str, dict[str, str]] = field(default_factory=dict)

    def read(self, text: str, line: int, heading: str) -> Iterator[Block]:
        """Take what comments say; blocks that stand in them."""
        for scope, content in _COMMENT.findall(text):
            if hidden := _HIDDEN.fullmatch(content):
                language, code = hidden.groups()
                said = self.taken(language)
                yield Block(self.page, line + 1, language, f"{code}\n", heading, said, hidden=True)
            elif scope == "blocks":
                language, _, content = content.partition(" ")
                self.of_language.setdefault(language, {}).update(self._said(content, line))
            else:
                self.of_next |= self._said(content, line)

    def taken(self, language: str) -> dict[str, str]:
        """What is said of the next block, which is of a language."""
        said, self.of_next = {**self.of_language.get(language, {}), **self.of_next}, {}
        return said

    def _said(self, content: str, line: int) -> dict[str, str]:
        for name, pattern in _DIRECTIVES.items():
            if found := re.fullmatch(pattern, content, re.DOTALL):
                return {name: " ".join(found[1].split())}
        raise PageError(
            f"{self.page}:{line}: `{content.partition(chr(10))[0]}` says nothing of a block; write "
            f"one of {', '.join(_DIRECTIVES)} (tests/docs/__init__.py has them)"
        )


def _blocks(text: str, offset: int, comments: _Comments) -> Iterator[Block]:
    """Blocks of a text that begins ``offset`` lines below the page's top."""
    heading = ""
    tokens = MarkdownIt("commonmark").parse(text)
    for place, token in enumerate(tokens):
        line = offset + (token.map[0] if token.map else 0) + 1
        if token.type == "html_block" and _COMMENT.search(token.content):
            yield from comments.read(token.content, line, heading)
        elif token.type == "code_block":
            raise PageError(
                f"{comments.page}:{line}: code by indentation; write a fence, ```LANGUAGE"
            )
        elif token.type == "fence":
            yield from _of_fence(token, line + 1, heading, comments)
        elif comments.of_next and not token.type.endswith("_close"):
            raise PageError(f"{comments.page}:{line}: the comment above stands before no block")
        if token.type == "heading_open":
            heading = tokens[place + 1].content
    if comments.of_next:
        raise PageError(f"{comments.page}: the last comment stands before no block")


def _of_fence(token: Token, line: int, heading: str, comments: _Comments) -> Iterator[Block]:
    """The block of a fence, or those within a fence of MyST's."""
    language, code = token.info.strip(), token.content
    if myst := _MYST.match(language):
        kind, language = myst.groups()
        if kind in _MYST_NO_MARKDOWN:
            return
        if kind not in _MYST_CODE:
            yield from _blocks(code, line - 1, comments)
            return
        lines = code.splitlines(keepends=True)
        options = len([*takewhile(re.compile(r":[\w-]+:").match, lines)])
        line, code = line + options, "".join(lines[options:])
    language = language.split()[0].lower() if language else ""
    language = _ALIASES.get(language, language)
    yield Block(comments.page, line, language, code, heading, comments.taken(language))
