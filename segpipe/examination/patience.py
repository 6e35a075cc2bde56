"""Looking at what may not answer: storage that hangs, services that are away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from segpipe.errors import SegpipeError
from segpipe.examination.check import Check, problem
from segpipe.storage.redaction import SECRETS

Result = TypeVar("Result")

#: Seconds for what asks a network or a disk once or twice, and for what reads much.
SHORTLY, LONGER = 20.0, 60.0


class NoAnswerError(Exception):
    """Something did not answer in time."""


class Patience:
    """Waits for what may not answer, for so long and no longer.

    Attributes:
        given_up: whether something is still waited for by a thread that nobody waits for. Such a
            thread may keep a process from ending.
    """

    def __init__(self) -> None:
        self.given_up = False

    def within(self, seconds: float, work: Callable[[], Result]) -> Result:
        """The result of ``work``, or what it raises.

        Raises:
            NoAnswerError: if it has not ended by then; it is left to itself.
        """
        results: list[Result] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work())
            except BaseException as error:
                errors.append(error)

        # Libraries repeat failing requests for minutes, and a dead mount holds whoever looks at it.
        thread = threading.Thread(target=run, name="segpipe-doctor", daemon=True)
        thread.start()
        thread.join(seconds)
        if errors:
            raise errors[0]
        if not results:
            self.given_up = True
            raise NoAnswerError
        return results[0]

    def checks(
        self,
        name: str,
        work: Callable[[], Iterable[Check]],
        seconds: float = SHORTLY,
        *,
        silence: str = "look whether what it is on is reachable from here, and look again",
        command: str = "",
    ) -> list[Check]:
        """The checks that ``work`` makes; one problem where it fails or does not end in time.

        Args:
            name: of the check, if it cannot be made.
            silence, command: the next step where there is no answer.
        """
        try:
            return self.within(seconds, lambda: list(work()))
        except NoAnswerError:
            return [problem(name, f"no answer within {seconds:g} seconds", silence, command)]
        except SegpipeError as error:
            return [problem(name, str(error), "do what it says, and look again", command)]
        except Exception as error:  # of whatever library: the other checks are made all the same
            words = SECRETS.sub("...", " ".join(str(error).split())[:300])
            found = f"it could not be looked at: {type(error).__name__}: {words}"
            step = "report it, with the output of the command below"
            return [problem(name, found, step, "segpipe doctor --format json")]
