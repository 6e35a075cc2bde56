"""Commands of a block of shell: what a reader types, one after the other."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.docs.blocks import Block, PageError

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_OPERATORS = {"&&", ";", "|", "&"}
# Any other punctuation between words the tests of pages would take for something else.
_UNDERSTOOD = {*_OPERATORS, ">", ">>"}
_PUNCTUATION = re.compile(r"[&|;<>]+")


@dataclass
class Command:
    """One command of a block.

    Attributes:
        line: where it begins in the page.
        words: the program and its arguments, unquoted.
        assigned: variables given for it alone, or by `export` and `NAME=VALUE` for all below.
        into: the file its output goes to.
        appends: whether after what that holds.
        background: whether an `&` follows.
        piped: whether it reads what the one before prints.
        conditional: whether it runs only if the one before ended with 0.
        given: what that has printed.
    """

    line: int
    text: str
    words: list[str] = field(default_factory=list)
    assigned: dict[str, str] = field(default_factory=dict)
    into: str | None = None
    appends: bool = False
    background: bool = False
    piped: bool = False
    conditional: bool = False
    given: str = ""

    @property
    def program(self) -> str:
        """The program's name without its folder; empty for assignments."""
        if not self.words:
            return ""
        name = self.words[0]
        return name.rpartition("/")[2] if "/bin/" in name else name


def commands_of(block: Block) -> list[Command]:
    """The commands of a block.

    Raises:
        PageError: if a line is none, such as a synopsis with optional parts.
    """
    return [
        command for line, text in _statements(block) for command in _commands(line, text, block)
    ]


def expanded(word: str, variables: Mapping[str, str]) -> str:
    """A word with the values of variables that are known."""
    return _VARIABLE.sub(lambda one: variables.get(one[1] or one[2], one[0]), word)


def _statements(block: Block) -> Iterator[tuple[int, str]]:
    """Lines of the page and what is typed from there on, until quotes and continuations end."""
    pending, begun = "", block.line
    for number, line in enumerate(block.text.splitlines(), block.line):
        if block.language == "console" and not pending:
            if not line.startswith("$ "):
                continue  # what the command above printed
            line = line[2:]
        elif block.language == "console":
            line = line.removeprefix("> ")
        begun = begun if pending else number
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        try:
            shlex.split(pending, comments=True)
        except ValueError:  # a quotation goes on
            pending += "\n"
            continue
        if pending.strip():
            yield begun, pending
        pending = ""
    if pending:
        raise PageError(f"{block.page}:{begun}: a quotation or a `\\` that does not end")


def _words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    return list(lexer)


def _commands(line: int, text: str, block: Block) -> Iterator[Command]:
    if "$(" in text and _ASSIGNMENT.match(text):
        name, value = _ASSIGNMENT.match(text).groups()  # type: ignore[union-attr]
        yield Command(line, text.strip(), assigned={name: value})
        return
    command, words = Command(line, text.strip()), iter(_words(text))
    for word in words:
        if (_PUNCTUATION.fullmatch(word) and word not in _UNDERSTOOD) or (
            word.startswith(">") and command.words[-1:] == ["2"]
        ):
            raise PageError(
                f"{block.page}:{line}: `{word}` between commands is not understood by the tests of "
                "pages: write the commands apart, or <!-- block: not run: REASON --> above them"
            )
        if word in (">", ">>"):
            command.into, command.appends = next(words, None), word == ">>"
        elif word in _OPERATORS:
            command.background = word == "&"
            yield command
            joined = {"piped": word == "|", "conditional": word == "&&"}
            command = Command(line, text.strip(), **joined)
        elif not command.words and (given := _ASSIGNMENT.fullmatch(word)):
            command.assigned[given[1]] = given[2]
        else:
            command.words.append(word)
    if command.words or command.assigned:
        yield command
    elif command.piped or command.conditional:
        raise PageError(f"{block.page}:{line}: it goes on in the next line: put both on one")
    for word in command.words[1:]:
        if command.program == "segpipe" and (word.startswith("[") or word in ("...", "…")):
            raise PageError(
                f"{block.page}:{line}: `{word}` is no argument: a block holds commands that run as "
                "they stand; write the option out, or say it in the text"
            )
