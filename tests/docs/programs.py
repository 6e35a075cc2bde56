"""What is done with a command of a page: it is run, or as much of it is checked as can be."""

from __future__ import annotations

import ast
import glob
import importlib
import importlib.util
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
from packaging.requirements import InvalidRequirement, Requirement

from segpipe.cli.main import cli
from tests.docs.folder import PageFolder
from tests.docs.shell import Command, expanded
from tests.fixtures.command_line import segpipe
from tests.fixtures.forked_python import ForkedProgram
from tests.fixtures.places import PROJECT
from tests.fixtures.ports import free_port

_SERVING_WITHIN = 60.0  # seconds
#: Commands of segpipe that go on until they are ended -> their port.
_SERVING = {"browse": 8010, "nucleus-server": 8000}
# What may stand for something else behind an equals sign.
_PLACE = re.compile(r"(?<==)[^=/]+(?=/|$)")
_PIP_WITH_VALUE = {
    "-r", "-c", "-t", "-f", "-d", "--requirement", "--constraint", "--target", "--find-links",
    "--dest", "--python",
}  # fmt: skip
#: What the systems of readers have: it is run in the page's folder.
_OF_THE_SYSTEM = {
    "cat", "cp", "echo", "grep", "head", "ls", "mkdir", "mv", "sort", "tail", "touch", "wc",
}  # fmt: skip
#: What it takes that is not here.
_ELSEWHERE = {
    "aws": "an account",
    "az": "an account",
    "cd": "a folder of the reader's",
    "curl": "a server",
    "docker": "a daemon of Docker's",
    "gcloud": "an account",
    "git": "another repository",
    "helm": "a cluster",
    "jupyter": "a browser",
    "kubectl": "a cluster",
    "psql": "a Postgres",
    "source": "a shell of the reader's",
    ".": "a shell of the reader's",
    "systemctl": "services of the system's",
}


class CommandError(AssertionError):
    """A command does not do what the page says; the text says what was found and expected."""


@dataclass(frozen=True)
class Running:
    """What commands run in.

    Attributes:
        folder: the page's.
        ends: what is started in the background, ended with the page.
        told: what was printed on standard error, command by command.
    """

    folder: PageFolder
    ends: ExitStack
    told: list[str] = field(default_factory=list)


Run = Callable[[Command, Running, int], str]


@dataclass(frozen=True)
class Program:
    """A program that pages name.

    Attributes:
        run: runs or checks a command, given the exit status it should have, and returns what was
            printed.
        instead: what is done instead of running it; empty where it runs.
    """

    run: Run
    instead: str = ""


def program_of(command: Command) -> Program:
    """What is done with a command.

    Raises:
        CommandError: if the program is unknown.
    """
    words = _plain(command.words)
    name = Command(0, "", words).program
    if not words:
        return Program(_assign)
    if name == "segpipe":
        return _PARSED_SEGPIPE if words[1:2] == ["dev"] else Program(_segpipe)
    if name in _PROGRAMS:
        return _PROGRAMS[name]
    if name in _OF_THE_SYSTEM:
        return Program(_system)
    if name in _ELSEWHERE:
        return Program(_nothing, f"needs {_ELSEWHERE[name]}")
    if (PROJECT / words[0]).is_file():
        return Program(_nothing, "the file is there")
    raise CommandError(
        f"`{words[0]}` is no program the tests of pages know; enter it in tests/docs/programs.py, "
        "or write <!-- block: not run: REASON --> above the block"
    )


def _plain(words: Sequence[str]) -> list[str]:
    """Words without what only says where a program is: `.venv/bin/`, `python -m segpipe`."""
    words = list(words)
    module = words[:1] and re.search(r"(^|/)python3?$", words[0]) and words[1:2] == ["-m"]
    return words[2:] if module and words[2:3] in (["segpipe"], ["pip"]) else words


def bound(command: Command, running: Running) -> Command:
    """A command with what its placeholders and variables stand for, and files for patterns."""
    folder = running.folder
    known = {**os.environ, **folder.variables}

    def value(word: str) -> str:
        if " " not in word:  # also in `--option=M` and `model_run=M/date=D`
            word = _PLACE.sub(lambda one: folder.words.get(one[0], one[0]), word)
        return folder.words.get(word) or expanded(word, known)

    def words() -> Iterator[str]:
        for word in map(value, _plain(command.words)):
            yield from sorted(glob.glob(word)) or [word]

    given = {name: value(word) for name, word in command.assigned.items()}
    return replace(command, words=list(words()), assigned=given)


def _assign(command: Command, running: Running, status: int) -> str:
    for name, value in command.assigned.items():
        if "$(" in value:
            script = f'{name}={value}\nprintf %s "${name}"'
            value = _shell(script, running).rstrip("\n")
        if name != "DAGSTER_HOME":  # a folder of the reader's; here the page's own
            running.folder.variables[name] = value
    return ""


def _export(command: Command, running: Running, status: int) -> str:
    pairs = dict(word.split("=", 1) for word in command.words[1:] if "=" in word)
    for name in pairs:
        if name.startswith("SEGPIPE_") and name not in _variables():
            raise CommandError(f"no file of segpipe reads the variable {name}")
    return _assign(replace(command, words=[], assigned=pairs), running, status)


def _variables() -> set[str]:
    files = (PROJECT / "segpipe").rglob("*.py")
    return {name for file in files for name in re.findall(r"SEGPIPE_\w+", file.read_text("utf-8"))}


def _system(command: Command, running: Running, status: int) -> str:
    return _shell(shlex.join(command.words), running, status, command.given)


def _shell(script: str, running: Running, status: int = 0, given: str = "") -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        input=given,
        env={**os.environ, **running.folder.variables, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    _check_status(done, status)
    return done.stdout


def _check_status(done: subprocess.CompletedProcess[str], expected: int) -> None:
    if done.returncode != expected:
        raise CommandError(
            f"status {done.returncode}, expected {expected}:\n"
            f"{done.stdout[-1500:]}{done.stderr[-1500:]}\n"
            "mend the command, or write <!-- block: exits N --> above the block if that is meant"
        )


def _nothing(command: Command, running: Running, status: int) -> str:
    return ""


def _segpipe(command: Command, running: Running, status: int) -> str:
    """Run it, in a process of its own, or start it where it serves."""
    words = command.words[1:]
    if command.piped:
        raise CommandError("segpipe reads nothing that another command prints")
    if words and words[0] in _SERVING and "--help" not in words:
        return _serve(words, running)
    environment = {**running.folder.variables, **command.assigned}
    environment.setdefault("DAGSTER_HOME", os.environ["DAGSTER_HOME"])
    done = segpipe(*words, **environment)
    running.told.append(done.stderr)
    _check_status(done, status)
    if words[:1] == ["query"] and re.search(r"^no rows", done.stderr, re.MULTILINE):
        raise CommandError("the query has no rows on the demo data; show one that has")
    return done.stdout


def _serve(words: list[str], running: Running) -> str:
    """Start what goes on until it is ended, on a free port, and wait until it listens."""
    parse(cli, words)
    port = free_port()
    named = int(words[words.index("--port") + 1]) if "--port" in words else _SERVING[words[0]]
    running.folder.ports[named] = port
    words = [*words[:1], *_without(words[1:], "--port"), "--port", str(port)]
    program = ForkedProgram(
        "import os, runpy, sys\n"
        f"os.environ.update({dict(os.environ)!r})\nos.environ.update({running.folder.variables!r})\n"
        f"os.chdir({str(running.folder.path)!r})\nsys.argv[:] = {['segpipe', *words]!r}\n"
        "runpy.run_module('segpipe', run_name='__main__')"
    )
    running.ends.callback(program.close)
    deadline = time.monotonic() + _SERVING_WITHIN
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return ""
        except OSError:
            time.sleep(0.05)
    raise CommandError(f"nothing answers on its port after {_SERVING_WITHIN:.0f} seconds")


def _without(words: list[str], option: str) -> list[str]:
    if option not in words:
        return words
    place = words.index(option)
    return words[:place] + words[place + 2 :]


def parse(command: click.Command, words: Sequence[str], name: str = "") -> None:
    """Have a command of click's take its arguments, down to the subcommand, and do nothing.

    Raises:
        CommandError: with the words of the command that refuses them.
    """
    rest = list(words)
    try:
        context = command.make_context(name or command.name or "", rest)
        while isinstance(command, click.Group):
            left = [*context._protected_args, *context.args]
            if not left and command.invoke_without_command:  # `segpipe import --guess DIR`
                return
            found, inner, rest = command.resolve_command(context, left)
            assert inner is not None and found is not None
            command = inner
            context = command.make_context(found, rest, parent=context)
    except click.exceptions.Exit:  # --help, --version
        return
    except click.ClickException as error:
        raise CommandError(f"its options are refused: {error.format_message()}") from None


def _click(module: str, name: str) -> Run:
    """Options are checked by the program's own declaration of them, or what makes it."""

    def run(command: Command, running: Running, status: int) -> str:
        declared = getattr(importlib.import_module(module), name)
        declared = declared if isinstance(declared, click.Command) else declared()
        parse(declared, command.words[1:], command.program)
        return ""

    return run


_DASK = {
    "scheduler": _click("distributed.cli.dask_scheduler", "main"),
    "worker": _click("distributed.cli.dask_worker", "main"),
}


def _dask(command: Command, running: Running, status: int) -> str:
    kind = command.words[1]
    return _DASK[kind](replace(command, words=command.words[1:]), running, status)


def _make(command: Command, running: Running, status: int) -> str:
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):(?!=)", makefile, re.MULTILINE))
    asked = [word for word in command.words[1:] if "=" not in word and not word.startswith("-")]
    if unknown := set(asked) - targets:
        raise CommandError(
            f"the Makefile has no target {sorted(unknown)}; it has {sorted(targets)}"
        )
    return ""


def _pip(command: Command, running: Running, status: int) -> str:
    """Requirements can be read, and extras of segpipe are in pyproject.toml."""
    asks = [place for place, word in enumerate(command.words) if word in ("install", "download")]
    if not asks:
        return ""
    words = iter(command.words[asks[0] + 1 :])
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    for word in words:
        if word in _PIP_WITH_VALUE:
            next(words, None)
        if word.startswith("-"):
            continue
        # A checkout or a wheel is segpipe's own.
        name = re.sub(r"^(\.|[^\[]*\.whl|[^\[]*/[^\[]*)(?=\[|$)", "segpipe", word)
        try:
            wanted = Requirement(name)
        except InvalidRequirement as error:
            raise CommandError(f"`{word}` is nothing pip installs: {error}") from None
        if wanted.name == "segpipe" and (unknown := wanted.extras - extras.keys()):
            raise CommandError(f"segpipe has no extra {sorted(unknown)}; it has {sorted(extras)}")
    return ""


def _python(command: Command, running: Running, status: int) -> str:
    """The module is there, or the file, or the code can be compiled."""
    words = command.words[1:]
    if words[:1] == ["-m"]:
        sys.path.insert(0, str(PROJECT))
        try:
            found = importlib.util.find_spec(words[1])
        except ModuleNotFoundError:
            found = None
        finally:
            sys.path.remove(str(PROJECT))
        if found is None:
            raise CommandError(f"there is no module {words[1]}")
    elif words[:1] == ["-c"]:
        ast.parse(words[1])
    elif (
        words
        and not (running.folder.path / words[0]).exists()
        and not (PROJECT / words[0]).exists()
    ):
        raise CommandError(
            f"there is no file {words[0]}, neither in the checkout nor in the page's folder"
        )
    return ""


_PARSED_SEGPIPE = Program(
    lambda command, running, status: parse(cli, command.words[1:]) or "",
    "its options are checked; tests/cli/test_dev.py starts it",
)
_OPTIONS = "its options are checked"
_PROGRAMS = {
    "export": Program(_export),
    "dagster": Program(_click("dagster._cli", "create_dagster_cli"), _OPTIONS),
    "dagster-daemon": Program(_click("dagster._daemon.cli", "create_dagster_daemon_cli"), _OPTIONS),
    "dagster-webserver": Program(
        _click("dagster_webserver.cli", "create_dagster_webserver_cli"), _OPTIONS
    ),
    "dask": Program(_dask, _OPTIONS),
    "dg": Program(_click("dagster_dg_cli.cli", "create_dg_cli"), _OPTIONS),
    "make": Program(_make, "its target is in the Makefile"),
    "pip": Program(_pip, "extras are those of pyproject.toml"),
    "python": Program(_python, "its module or file is there"),
    "python3": Program(_python, "its module or file is there"),
    "uv": Program(_pip, "extras are those of pyproject.toml"),
}
