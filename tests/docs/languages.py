"""What it means that a block runs, for each language that pages have."""

from __future__ import annotations

import ast
import csv
import doctest
import importlib.util
import io
import json
import re
import tomllib
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from segpipe.cli.main import cli
from segpipe.errors import SegpipeError
from segpipe.settings import SETTINGS_FILE, Settings
from tests.docs.blocks import Block, PageError
from tests.docs.programs import CommandError, Running, bound, parse, program_of
from tests.docs.shell import Command, commands_of
from tests.docs.signatures import wrong_calls
from tests.fixtures.command_line import segpipe
from tests.fixtures.places import PROJECT

#: Frameworks that segpipe does not depend on: of code that imports one, the calls are checked.
FRAMEWORKS = {
    "cellpose", "datasets", "detectron2", "mmdet", "mmseg", "panopticapi", "sam2",
    "segment_anything", "segmentation_models_pytorch", "supervision", "tensorflow", "torch",
    "torchvision", "transformers", "ultralytics",
}  # fmt: skip
_CHECKED = "options of segpipe are checked"
_INTO_FILES = {"file", "added to"}
_UNCHECKED = {"text": "text", "mermaid": "a drawing", "diff": "text"}
_DIFFERS = (
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?",
    r"\b[\d.,]+ (s|ms|minutes?|seconds?)\b",
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
)
_COMMENTED = re.compile(r"^# (?=[\w.-]+ = )", re.MULTILINE)


@dataclass
class Page:
    """A page that is being run.

    Attributes:
        running: where its commands run.
        names: of its Python.
        printed: by the block before.
    """

    running: Running
    names: dict[str, Any] = field(default_factory=dict)
    printed: str = ""


class BlockError(AssertionError):
    """A block does not do what it says; the text says the line and what was expected."""


def run_block(block: Block, page: Page) -> None:
    """Run a block, or check as much of it as can be.

    Raises:
        BlockError: if it does not work.
        PageError: if nobody can tell what is to be done with it.
    """
    if reason_not_run(block) is not None:
        _check_what_can_be(block)
        return
    if "where" in block.said:
        page.running.folder.say(block.said["where"])
    if "fresh" in block.said:
        page.running.folder.lay_out()
    if block.said.keys() & _INTO_FILES:
        _write(block)
    elif "prints" in block.said:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        if not doctest.OutputChecker().check_output(block.text, page.printed, flags):
            raise BlockError(f"the block above printed something else:\n{page.printed}")
    elif "run by" in block.said or _framework(block):
        _check_what_can_be(block)
    else:
        _LANGUAGES[block.language].run(block, page)


def reason_not_run(block: Block) -> str | None:
    """Why a block is not even looked at; None where it is.

    Raises:
        PageError: if its fence has no language, or one that is unknown.
    """
    if block.said.keys() & {*_INTO_FILES, "prints"}:
        return None
    if "not run" in block.said:
        return block.said["not run"]
    if block.language in _UNCHECKED:
        return _UNCHECKED[block.language]
    if block.language not in _LANGUAGES:
        named = f"`{block.language}` is a language that" if block.language else "a fence that"
        raise PageError(
            f"{named} says not how the block runs: write ```sh for commands, ```python, "
            "```toml for settings, ```sql for a query, ```yaml, ```json, ```csv, ```text for what "
            "is no code; or <!-- block: not run: REASON --> above it"
        )
    return None


def checked_only(block: Block) -> list[str]:
    """What is done, instead of running them, with the parts of a block that do not run."""
    if (reason := reason_not_run(block)) is not None:
        return [reason]
    if by := block.said.get("run by"):
        checked = "its calls are held to signatures" if block.language == "python" else _CHECKED
        return [f"{checked}; {by} runs it"]
    if framework := _framework(block):
        return [f"its calls are held to signatures; {framework} is not installed"]
    if block.language in ("sh", "console") and not block.said.keys() & {*_INTO_FILES, "prints"}:
        commands = commands_of(block)
        found = [(command.program, program_of(command).instead) for command in commands]
        return [f"{program}: {instead}" for program, instead in found if instead]
    return []


def _write(block: Block) -> None:
    """Into the file it stands for, if it can be read."""
    _LANGUAGES.get(block.language, _as_text).parse(block)
    path = Path(block.said.get("file") or block.said["added to"])
    before = path.read_text("utf-8") if "added to" in block.said else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(before + block.text, "utf-8")


def _check_what_can_be(block: Block) -> None:
    """Of a block that is not run here: calls of segpipe, and options of its commands."""
    if by := block.said.get("run by"):
        test, name = PROJECT / by, Path(block.page).name
        if not test.is_file() or name not in test.read_text("utf-8"):
            raise BlockError(f"{by} does not name {name}, so it cannot run its blocks")
    if block.language == "python":
        _held_to_signatures(block)
    elif block.language in ("sh", "console"):
        for command in commands_of(block):
            if command.program == "segpipe":
                parse(cli, command.words[1:])


def _framework(block: Block) -> str | None:
    """A framework that the code imports, where it is not installed."""
    if block.language != "python" or ">>> " in block.text:
        return None
    try:
        tree = ast.parse(block.text)
    except SyntaxError:
        return None  # told when it runs
    for node in ast.walk(tree):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in (one.split(".")[0] for one in names):
            if name in FRAMEWORKS and importlib.util.find_spec(name) is None:
                return name
    return None


def _held_to_signatures(block: Block) -> None:
    compile(block.text, block.page, "exec")
    if wrong := wrong_calls(block.text):
        told = (f"line {block.line + line - 1}: {words}" for line, words in wrong)
        raise BlockError("\n".join(told))


def _run_python(block: Block, page: Page) -> None:
    """In the page's namespace; lines of tracebacks are those of the page."""
    code = page.running.folder.spoken(block.text)
    printed = io.StringIO()
    if code.lstrip().startswith(">>> "):
        _run_session(code, block, page)
        return
    try:
        compiled = compile("\n" * (block.line - 1) + code, block.page, "exec")
        with redirect_stdout(printed):
            exec(compiled, page.names)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == block.page]
        where = f"line {lines[-1]}: " if lines else ""
        raise BlockError(f"{where}{type(error).__name__}: {error}") from None
    page.printed = printed.getvalue()


def _run_session(code: str, block: Block, page: Page) -> None:
    """A session of the interpreter, with what it answers."""
    parser, told = doctest.DocTestParser(), list[str]()
    test = parser.get_doctest(code, page.names, block.place, block.page, block.line)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=told.append, clear_globs=False)
    page.names.update(test.globs)
    if told:
        raise BlockError("".join(told))


def _run_shell(block: Block, page: Page) -> None:
    page.printed = printed = ""
    page.running.told.clear()
    for command, status in _with_statuses(block):
        if not command.piped:
            page.printed += printed
            printed = ""
        try:
            program = program_of(command)
            if status and program.instead:
                raise CommandError(f"it is not run ({program.instead}), and has no exit status")
            given = replace(bound(command, page.running), given=printed)
            printed = program.run(given, page.running, status)
        except CommandError as error:
            raise BlockError(f"line {command.line}: `{command.text}`\n{error}") from None
        if command.into:
            with Path(command.into).open("a" if command.appends else "w", encoding="utf-8") as file:
                file.write(printed)
            printed = ""
    page.printed += printed
    if block.language == "console":
        _check_shown(block, page.printed + "".join(page.running.told))


def _with_statuses(block: Block) -> Iterator[tuple[Command, int]]:
    """Each command, those of a pipe too, with the exit status it should have: 0, or as is said."""
    commands, said = commands_of(block), block.said.get("exits", "0").split()
    if len(said) not in (1, len(commands)):
        raise BlockError(
            f"it has {len(commands)} commands and says {len(said)} exit statuses: write one for "
            "all of them, or one for each"
        )
    statuses = [*map(int, said * len(commands) if len(said) == 1 else said)]
    for command, before in zip(commands[1:], statuses, strict=False):
        if command.conditional and before:
            raise BlockError(
                f"line {command.line}: nothing runs behind `&&` where what is before it ends with "
                f"{before}; write the commands apart"
            )
    yield from zip(commands, statuses, strict=True)


def _check_shown(block: Block, printed: str) -> None:
    """What a console shows below its commands are lines that they print; ``...`` is anything."""
    there = [_without_times(line) for line in printed.splitlines()]
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith(("$ ", "> ")) or line.strip() in ("", "..."):
            continue
        shown = re.escape(_without_times(line)).replace(re.escape("..."), ".*")
        if not any(re.fullmatch(shown, one) for one in there):
            raise BlockError(f"line {number}: nothing prints `{line}`; what is printed:\n{printed}")


def _without_times(line: str) -> str:
    """A line without what differs from run to run: times, durations, random ids; spaces as one."""
    for pattern in _DIFFERS:
        line = re.sub(pattern, "~", line)
    return " ".join(line.split())


def _run_settings(block: Block, page: Page) -> None:
    """They are settings of a root, also with those that stand in comments."""
    folder = page.running.folder.path / "settings"
    folder.mkdir(exist_ok=True)
    said = block.text
    for word, meant in page.running.folder.said.items():
        said = said.replace(f'"{word}"', f'"{meant}"')
    for text in (said, _COMMENTED.sub("", said)):
        (folder / SETTINGS_FILE).write_text(text, "utf-8")
        try:
            Settings.load(str(folder))
        except SegpipeError as error:
            raise BlockError(
                f"these are no settings of segpipe.toml: {error}\nIf it is another file, write "
                "<!-- block: file NAME --> above the block"
            ) from None


def _run_sql(block: Block, page: Page) -> None:
    for statement in filter(str.strip, block.text.split(";\n")):
        done = segpipe("query", "--root", "ROOT", "--format", "json", statement)
        if done.returncode:
            raise BlockError(f"status {done.returncode}: {done.stderr}")
        if not json.loads(done.stdout):
            raise BlockError("the query has no rows on the demo data; show one that has")


def _parse_yaml(block: Block) -> None:
    for one in yaml.safe_load_all(block.text):
        if isinstance(one, dict) and one.get("type") == "segpipe.SegpipeRoot":
            _component(one)
        elif isinstance(one, dict):
            _instance(one)


def _component(given: dict[str, Any]) -> None:
    from segpipe.pipeline import SegpipeRoot

    unknown = given.get("attributes", {}).keys() - SegpipeRoot.model_fields.keys()
    if unknown:
        raise BlockError(f"SegpipeRoot has no fields {sorted(unknown)}")
    SegpipeRoot.from_attributes_dict(attributes=given["attributes"])


def _instance(given: dict[str, Any]) -> None:
    """What has keys of dagster.yaml is an instance's configuration."""
    from dagster._config import validate_config
    from dagster._core.instance.config import dagster_instance_config_schema

    schema = dagster_instance_config_schema()
    if not given or not given.keys() <= schema.keys():
        return
    validated = validate_config(schema, given)
    if not validated.success:
        told = "\n".join(error.message for error in validated.errors or ())
        raise BlockError(f"Dagster refuses it as dagster.yaml: {told}")


def _parse_csv(block: Block) -> None:
    widths = {len(row) for row in csv.reader(io.StringIO(block.text)) if row}
    if len(widths) > 1:
        raise BlockError(f"its rows have {sorted(widths)} cells; all should have as many")


@dataclass(frozen=True)
class Language:
    """A language: how a block of it is run, and how it is only read."""

    run: Callable[[Block, Page], None]
    parse: Callable[[Block], object]


def _read(parse: Callable[[Block], object]) -> Language:
    """A language whose blocks are right if they can be read."""

    def run(block: Block, page: Page) -> None:
        try:
            parse(block)
        except (ValueError, yaml.YAMLError) as error:
            raise BlockError(f"it cannot be read as {block.language}: {error}") from None

    return Language(run, parse)


_as_text = Language(lambda block, page: None, lambda block: None)
_LANGUAGES = {
    "python": Language(_run_python, lambda block: ast.parse(block.text)),
    "pycon": Language(_run_python, lambda block: None),
    "sh": Language(_run_shell, commands_of),
    "console": Language(_run_shell, commands_of),
    "toml": Language(_run_settings, lambda block: tomllib.loads(block.text)),
    "sql": Language(_run_sql, lambda block: None),
    "yaml": _read(_parse_yaml),
    "json": _read(lambda block: json.loads(block.text)),
    "csv": _read(_parse_csv),
}
