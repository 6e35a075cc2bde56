"""A real headless Chromium, pages that are watched for errors, and pictures of them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Response,
    TimeoutError,
    expect,
    sync_playwright,
)

#: Not under version control.
ARTEFACTS = Path(__file__).resolve().parents[1] / "test-artefacts" / "browser"
SHOWN_WITHIN = 30_000  # milliseconds

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What Dagster writes on a page or a toast when something could not be had.
_TROUBLE = re.compile(
    "failed to load|unable to load|could not be (loaded|found)|statuses unavailable"
    "|unexpected (graphql )?error|an error occurred"
    "|(asset|partition|pipeline|repository|run|page) not found",
    re.IGNORECASE,
)
_TOASTS = "[data-sonner-toast], .bp5-toast"


def chromium() -> str | None:
    """The browser: what SEGPIPE_CHROMIUM names, or one on the path; None where there is none."""
    named = os.environ.get("SEGPIPE_CHROMIUM")
    return named or next((path for name in _NAMES if (path := shutil.which(name))), None)


@contextmanager
def running_browser(executable: str) -> Iterator[Browser]:
    """A browser without windows."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Window:
    """One page of the browser that notes everything that went wrong behind it.

    Attributes:
        url: of the interface.
        troubles: errors of the console, of scripts, of requests and in GraphQL answers, in words.
    """

    def __init__(self, browser: Browser, url: str) -> None:
        self.url = url
        self.page: Page = browser.new_page(viewport={"width": 1500, "height": 1000})
        self.page.set_default_timeout(SHOWN_WITHIN)
        self.troubles: list[str] = []
        self._answers: list[Response] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))
        self.page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.troubles.append(f"console: {message.text}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.troubles.append(f"status {response.status}: {response.url}")
        elif urlsplit(response.url).path == "/graphql":  # with the name of the question after it
            self._answers.append(response)  # a body cannot be read from within an event

    def open(self, path: str, shows: Callable[[Page], Locator]) -> float:
        """Open a page and wait until it shows something; the seconds it took.

        A page that does not is loaded once more: the machine may be busy.
        """
        for last_time in (False, True):
            begun = perf_counter()
            self.page.goto(f"{self.url}{path}")
            try:
                expect(shows(self.page).first).to_be_visible(timeout=SHOWN_WITHIN)
                return perf_counter() - begun
            except AssertionError:
                if last_time:
                    raise
                self.troubles.clear()  # what is wrong, and not slow, comes again
        raise AssertionError("unreachable")

    def picture(self, name: str) -> Path:
        """Keep a picture of the page, once it has nothing left to load."""
        with suppress(TimeoutError):  # a picture of a page that is late is better than none
            self.page.wait_for_load_state("networkidle")
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def all_troubles(self) -> list[str]:
        """What went wrong so far, what the page says about it included."""
        answered, self._answers = self._answers, []
        for response in answered:
            try:
                answer = response.text()
            except Error:  # the page was left before the answer was read
                continue
            if "errors" in json.loads(answer) or '"__typename":"PythonError"' in answer:
                self.troubles.append(f"GraphQL: {answer[:500]}")
        shown = [match.group() for match in _TROUBLE.finditer(self.page.inner_text("body"))]
        shown += self.page.locator(_TOASTS).all_inner_texts()
        return self.troubles + [f"on the page: {words}" for words in shown]
