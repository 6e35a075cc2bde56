"""How a command ends: its exit status, and one line where it did not do what it was asked."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from segpipe.cli.console import OutputClosed, finish_output, say
from segpipe.cli.exit_status import ALL_ACCEPTED, UNEXPECTED, UNUSABLE
from segpipe.cli.stopping import stop_signals
from segpipe.cli.unexpected import tell_trace, unexpected_line
from segpipe.errors import SegpipeError, notes_of

_STOPPED = "interrupted; what was finished before is complete, run again for the rest"
_AT_ONCE = "ended at once; what was finished before is complete, run again for the rest"
_DEBUG = "--debug"


class _PastClick(BaseException):
    """Carries an exception past click, which ends a program in its own way for some."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class Arguments(click.Command):
    """A command whose help may have no reader any more."""

    def make_context(self, *given: Any, **named: Any) -> click.Context:
        """Read the arguments; ``--help`` and ``--version`` print here."""
        try:
            return super().make_context(*given, **named)
        except BrokenPipeError:
            raise OutputClosed from None


class Commands(Arguments, click.Group):
    """Commands whose interrupts and closed connections :func:`status_of` gets to see."""

    command_class = Arguments
    group_class = type

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError, BrokenPipeError) as error:
            raise _PastClick(error) from error


def status_of(commands: Commands, arguments: Sequence[str]) -> int:
    """Run a command; its exit status, as the help of ``segpipe`` lists them.

    A :class:`SegpipeError` is one line and 2, another error one line and 3, with the details in a
    file; SIGINT and SIGTERM are one line and 130 or 143. ``--debug``, before the command or after
    it, shows the traceback. Where nobody reads the output any more, the process ends of that, as
    others do.
    """
    arguments, debug = _without_debug(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal's encoding may lack letters of names
            stream.reconfigure(errors="backslashreplace")
    with stop_signals(lambda: say(_AT_ONCE)) as stop:
        code, error = _run(commands, arguments)
        # Whatever failed after a signal failed of it: workers that were told as well, for example.
        if stop.asked or isinstance(error, (KeyboardInterrupt, click.Abort)):
            say(_STOPPED)
            return stop.status
        if error is not None:
            if debug:
                tell_trace(error)
            code = _told(error, arguments)
        return code


def _run(commands: Commands, arguments: Sequence[str]) -> tuple[int, BaseException | None]:
    try:
        code = commands.main(args=arguments, prog_name="segpipe", standalone_mode=False)
        finish_output()
    except _PastClick as carried:
        return UNEXPECTED, carried.error
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else ALL_ACCEPTED, None
    except BaseException as error:
        return UNEXPECTED, error
    return code or ALL_ACCEPTED, None


def _told(error: BaseException, arguments: Sequence[str]) -> int:
    """Say what went wrong; the exit status."""
    if isinstance(error, OutputClosed):
        _end_of_a_closed_pipe()
        return ALL_ACCEPTED
    if isinstance(error, click.ClickException):
        if isinstance(error, click.UsageError) and error.ctx is not None:
            say(error.ctx.get_usage())
        say(f"error: {error.format_message()}")
        return UNUSABLE
    if isinstance(error, SegpipeError):
        for note in notes_of(error):
            say(note)
        say(f"error: {error}")
        return UNUSABLE
    say(unexpected_line(error, arguments))
    return UNEXPECTED


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without ``--debug``, and whether it was among them."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [one for one in arguments[:end] if one != _DEBUG]
    return [*options, *arguments[end:]], len(options) < end


def _end_of_a_closed_pipe() -> None:
    """End this process as one that knows nothing of the signal: quietly, 141 to a shell."""
    # What is still to be written must not fail again while Python exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
