"""``segpipe doctor``: print what an examination finds."""

from __future__ import annotations

import json
import os
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from segpipe import __version__
from segpipe.cli.console import Style, finish_output, output_width, put, put_styled
from segpipe.cli.exit_status import ALL_ACCEPTED, SOME_PROBLEMS
from segpipe.errors import printable
from segpipe.examination.check import Check, Level, Section, note, ok, worst
from segpipe.examination.examination import Examination
from segpipe.extras import install_command, missing_of
from segpipe.storage.redaction import redacted

_STYLES: dict[Level, Style] = {
    Level.OK: {"fg": "green"},
    Level.NOTE: {"fg": "cyan"},
    Level.WARNING: {"fg": "yellow"},
    Level.PROBLEM: {"fg": "red", "bold": True},
}
_PLAIN: Style = {}
_BOLD: Style = {"bold": True}
_Line = list[tuple[str, Style]]
# As segpipe.settings has it, which is loaded later.
_ROOT_VARIABLE = "SEGPIPE_ROOT"
_LEVEL_WIDTH = max(map(len, Level))
# Below it, a column beside the names is too narrow to read.
_NARROWEST = 30
_DAGSTER_SECONDS = 60.0


def run_doctor(root: str | None, output: str) -> int:
    """Examine the installation, and a root if one is named; print what is found.

    Args:
        root: path or URL; None for ``SEGPIPE_ROOT`` if it is set, else the installation alone.
        output: ``text`` or ``json``.

    Returns:
        The exit status: 1 if something would fail.
    """
    named = root or os.environ.get(_ROOT_VARIABLE) or None
    examination = Examination(named)
    found = []
    for section in _sections(examination, said=named is not None and root is None):
        found.append(section)
        if output == "text":
            _print_section(section)
    checks = [check for section in found for check in section.checks]
    usable = worst(checks) is not Level.PROBLEM
    if output == "json":
        _print_json(named, found, usable=usable)
    else:
        put(_summary(checks, named))
    status = ALL_ACCEPTED if usable else SOME_PROBLEMS
    if examination.patience.given_up:
        # Threads that wait for what does not answer would keep this process from ending.
        finish_output()
        os._exit(status)
    return status


def _sections(examination: Examination, *, said: bool) -> Iterator[Section]:
    """The library's sections, and Dagster's home."""
    for section in examination.sections():
        if said and section.title == "Settings":
            named = f"names the root: {redacted(str(examination.root))}"
            section.checks.insert(0, ok(_ROOT_VARIABLE, named))
        yield section
    if examination.root is not None:
        yield examination.without_secrets(
            Section("Dagster", _dagster(examination, examination.root))
        )


def _dagster(examination: Examination, root: str) -> list[Check]:
    if missing_of("dagster", ["dagster"]):
        found = "not installed; segpipe run, dev and register need it, and nothing else does"
        return [note("Dagster", found, "if you need them", install_command("dagster"))]
    checks = []
    if missing_of("dagster", ["dagster_webserver"]):
        found = "not installed; segpipe dev needs it, and nothing else does"
        checks.append(note("Dagster's UI", found, "if you need it", install_command("dagster")))

    def looked_at() -> Iterator[Check]:
        from segpipe.pipeline.home_examination import home

        return home(root)

    return checks + examination.patience.checks(
        "Dagster", looked_at, _DAGSTER_SECONDS, silence="see that the disk of its home is there"
    )


def _print_json(root: str | None, sections: list[Section], *, usable: bool) -> None:
    told = {
        "segpipe": __version__,
        "root": None if root is None else redacted(root),
        "usable": usable,
        "sections": [asdict(section) for section in sections],
    }
    put(json.dumps(told, ensure_ascii=True))


def _summary(checks: list[Check], root: str | None) -> str:
    counts = Counter(check.level for check in checks)
    named = [
        f"{counts[level]} {level}{'s' if counts[level] > 1 else ''}"
        for level in (Level.PROBLEM, Level.WARNING, Level.NOTE)
        if counts[level]
    ]
    if counts[Level.PROBLEM]:
        return f"Something would fail: {', '.join(named)}. Begin with the first problem above."
    words = f"Usable: {', '.join(named) or 'everything is as it should be'}."
    return words if root is not None else f"{words} With --root R, it looks at a root as well."


def _print_section(section: Section) -> None:
    if not section.checks:
        return
    put_styled((section.title, _BOLD))
    widest = max(len(printable(check.name)) for check in section.checks)
    for check in section.checks:
        for line in _lines(check, widest):
            put_styled(*line)
    put()


def _lines(check: Check, widest: int) -> Iterator[_Line]:
    """The lines of a check: level, name and what was found; below it the next step."""
    beside = 2 + _LEVEL_WIDTH + 2 + widest + 2
    width = output_width()
    indent = beside if width - beside >= _NARROWEST else 2 + _LEVEL_WIDTH + 2
    found = _wrapped(printable(check.found), width - indent)
    level = (f"  {check.level:<{_LEVEL_WIDTH}}  ", _STYLES[check.level])
    if indent == beside and found:
        yield [level, (f"{printable(check.name):<{widest}}  {found.pop(0)}", _PLAIN)]
    else:
        yield [level, (check.name, _PLAIN)]
    for line in found:
        yield [(" " * indent + line, _PLAIN)]
    if check.next_step:
        yield from _next_step(check, indent, width)


def _next_step(check: Check, indent: int, width: int) -> Iterator[_Line]:
    command, step = printable(check.command), printable(check.next_step).rstrip(":")
    step = f"{step}:" if command else step
    if command and indent + 3 + len(step) + 1 + len(command) <= width:
        yield [(f"{' ' * indent}-> {step} ", _PLAIN), (command, _BOLD)]
        return
    for number, line in enumerate(_wrapped(step, width - indent - 3)):
        arrow = "-> " if number == 0 else "   "
        yield [(f"{' ' * indent}{arrow}{line}", _PLAIN)]
    if command:  # never broken: it is to be copied
        yield [(" " * (indent + 3), _PLAIN), (command, _BOLD)]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most so many characters; paths and URLs are not broken."""
    return textwrap.wrap(
        text, max(width, _NARROWEST), break_long_words=False, break_on_hyphens=False
    )
