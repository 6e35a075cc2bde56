"""The page as a server: on this machine, or elsewhere for who knows the token."""

from __future__ import annotations

import atexit
import html
import os
import secrets
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import uvicorn

from segpipe.errors import SettingsError
from segpipe.loopback import is_loopback
from segpipe.root import Root
from segpipe.storage.redaction import redacted
from segpipe.viewer.application import application
from segpipe.viewer.memory import keep_little
from segpipe.viewer.viewer import Viewer

#: The environment variable with the token, instead of ``--token``, which others can see.
TOKEN_VARIABLE = "SEGPIPE_BROWSE_TOKEN"
_SHORTEST_TOKEN = 16


def serve(
    root: str,
    host: str = "127.0.0.1",
    port: int = 8010,
    *,
    token: str | None = None,
    open_page: bool = True,
    tell: Callable[[str], None] = print,
) -> None:
    """Serve the page of a root until the process is ended.

    Args:
        token: that who looks has to know; None for the environment's, and for a new one where
            others can reach the address.
        open_page: in this machine's browser.
        tell: told where it is served.

    Raises:
        SettingsError: if there is no such root, or the token is too short.
    """
    keep_little()
    opened = Root.open(root, must_exist=True)
    token = token_for(host, token)
    viewer = Viewer(opened)
    viewer.index.start()
    url = address(host, port, token)
    tell(f"root   {redacted(opened.settings.root)}")
    tell(f"page   {url}")
    config = configured(viewer, host, port, token)
    server = _Telling(config, partial(open_in_browser, url) if open_page else None)
    server.run()


def configured(viewer: Viewer, host: str, port: int, token: str | None) -> uvicorn.Config:
    """How the page is served."""
    # The access log would hold the token of the first request.
    return uvicorn.Config(
        application(viewer, token), host=host, port=port, log_level="warning", access_log=False,
        server_header=False, ws="none", lifespan="off", timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
    )  # fmt: skip


def token_for(host: str, token: str | None) -> str | None:
    """The token that who looks has to know.

    Raises:
        SettingsError: if the given one can be guessed.
    """
    token = token or os.environ.get(TOKEN_VARIABLE) or None
    if token is None:
        return None if is_loopback(host) else secrets.token_urlsafe(24)
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise SettingsError(
            f"the token has to have {_SHORTEST_TOKEN} or more printable ASCII characters, so that "
            "nobody guesses it; leave it out, and one is made where it is needed"
        )
    return token


def address(host: str, port: int, token: str | None) -> str:
    """The page's address, with the token where it needs one."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"?token={quote(token, safe='')}" if token else "")


def open_in_browser(url: str) -> None:
    """Open the page in this machine's browser; not in one that would take the terminal."""
    graphical = sys.platform != "linux" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if graphical or os.environ.get("BROWSER"):
        place = url if "token=" not in url else _leading_to(url)
        threading.Thread(target=webbrowser.open, args=(place,), daemon=True).start()


def _leading_to(url: str) -> str:
    """Address of a file, for this user alone, that leads to the page: whoever is on this machine
    can see the arguments of a browser, and the token would be among them."""
    handle, path = tempfile.mkstemp(prefix="segpipe-", suffix=".html")
    atexit.register(Path(path).unlink, missing_ok=True)
    with os.fdopen(handle, "w") as file:
        address = html.escape(url)
        file.write(f'<meta http-equiv="refresh" content="0;url={address}"><a href="{address}">'
                   "segpipe</a>\n")  # fmt: skip
    return Path(path).as_uri()


class _Telling(uvicorn.Server):
    """A server that says when it can be asked."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], object] | None) -> None:
        super().__init__(config)
        self._when_started = started

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """See uvicorn."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started and self._when_started is not None:
            self._when_started()
