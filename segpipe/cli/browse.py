"""``segpipe browse``: a page to look at a root."""

from __future__ import annotations

from segpipe.cli.console import say
from segpipe.cli.ports import check_free


def run_browse(root: str, host: str, port: int, token: str | None, *, open_page: bool) -> int:
    """Serve a root's page until the process is ended; returns the exit status.

    Raises:
        SettingsError: if there is no such root, the port is taken, or the token is too short.
    """
    from segpipe.viewer.serving import serve

    check_free(host, port)
    serve(root, host, port, token=token, open_page=open_page, tell=say)
    return 0
