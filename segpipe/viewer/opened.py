"""The page from Python: opened on a selection, and what was selected there read back."""

from __future__ import annotations

import html
import secrets
import socket
import threading
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import uvicorn

from segpipe.errors import SettingsError, StorageError
from segpipe.root import Root
from segpipe.viewer.refusal import RequestRefused
from segpipe.viewer.selections import SELECTED, Chosen
from segpipe.viewer.serving import address, configured, open_in_browser
from segpipe.viewer.viewer import Viewer

_HOST = "127.0.0.1"
_ENDS_WITHIN = 10.0


class Browsing:
    """A page on a root, served by this process until it is closed or the process ends.

    In a notebook it is a link to the page.

    Attributes:
        url: of the page, with the token it needs.
    """

    def __init__(self, viewer: Viewer, ids: str | None) -> None:
        self._viewer = viewer
        token = secrets.token_urlsafe(24)
        self._socket = socket.socket()
        self._socket.bind((_HOST, 0))
        self._socket.listen(128)  # a browser that is opened at once waits for the server
        port = int(self._socket.getsockname()[1])
        self._server = uvicorn.Server(configured(viewer, _HOST, port, token))
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="segpipe-browse", daemon=True
        )
        self._thread.start()
        self.url = address(_HOST, port, token) + (f"&ids={quote(ids)}" if ids else "")

    @property
    def selected(self) -> list[Chosen]:
        """What is selected in the page now: ``id``, ``model_run`` and ``date`` of each."""
        try:
            return list(self._viewer.selections.of(SELECTED))
        except RequestRefused:
            return []

    def save(self, path: str | PathLike[str]) -> int:
        """Write the reference ids of what is selected, one a line, each once; returns how many.

        That is what ``--ids`` of ``segpipe unpublish`` and ``segpipe export`` reads.

        Raises:
            SettingsError: if nothing is selected, or an id has line breaks.
            StorageError: if the file cannot be written.
        """
        ids = list(dict.fromkeys(one.id for one in self.selected))
        if not ids:
            raise SettingsError("nothing is selected in the page: there is no list to save")
        for one in ids:
            if one.splitlines() != [one]:
                raise SettingsError(f"the reference id {one!r} cannot stand in a list of lines")
        try:
            Path(path).write_text("".join(f"{one}\n" for one in ids), "utf-8")
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror or error}") from None
        return len(ids)

    def close(self) -> None:
        """End the server; the page does not answer any more."""
        self._server.should_exit = True
        self._thread.join(_ENDS_WITHIN)
        self._socket.close()

    def __enter__(self) -> Browsing:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Browsing({self.url!r})"

    def _repr_html_(self) -> str:
        url = html.escape(self.url)
        return f'<a href="{url}" target="_blank" rel="noopener">{url.partition("?")[0]}</a>'


def browse(
    root: Root | str | PathLike[str],
    ids: Iterable[str | tuple[str, str] | tuple[str, str, str]] | None = None,
    *,
    open_page: bool = True,
) -> Browsing:
    """Open a page on a root in the browser of this machine, on some items or on all.

    Args:
        root: opened, or its path or URL.
        ids: reference ids, each alone, with its model run, or with model run and day, as
            ``selected`` has them; None for all.
        open_page: whether the browser is opened; otherwise open ``url`` yourself.

    Raises:
        SettingsError: if there is no such root, or ``ids`` are no ids.
    """
    opened = root if isinstance(root, Root) else Root.open(root, must_exist=True)
    viewer = Viewer(opened)
    viewer.index.start()
    name = None
    if ids is not None:
        name = f"python-{secrets.token_hex(4)}"
        try:
            viewer.selections.save(name, [_chosen(one) for one in ids])
        except RequestRefused as refused:
            raise SettingsError(refused.words) from None
    found = Browsing(viewer, name)
    if open_page:
        open_in_browser(found.url)
    return found


def _chosen(given: object) -> Chosen:
    if isinstance(given, str):
        return Chosen(given, None, None)
    if isinstance(given, tuple) and len(given) in (2, 3) and all(isinstance(x, str) for x in given):
        return Chosen(given[0], given[1], given[2] if len(given) == 3 else None)
    raise SettingsError(f"{given!r} is no reference id, nor a pair of reference id and model run")
