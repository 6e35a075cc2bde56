"""``segpipe nucleus-server``: an endpoint the Scale Nucleus SDK can talk to."""

from __future__ import annotations

from segpipe.cli.console import say
from segpipe.cli.ports import check_free
from segpipe.nucleus_server.serving import serve_nucleus


def run_nucleus_server(
    root: str, host: str, port: int, checks: str, body_mb: int, background_label: str | None
) -> int:
    """Serve a root until the process is ended; returns the exit status.

    Args:
        checks: ``as-nucleus`` or ``strict``.
        background_label: for pixels of the value 0 that are not declared.
        body_mb: limit of a request's body, in MiB.

    Raises:
        SettingsError: if packages the endpoint needs are not installed, or the port is taken.
    """
    check_free(host, port)
    serve_nucleus(
        root,
        host,
        port,
        strict=checks == "strict",
        background_label=background_label,
        body_bytes=body_mb * 1024 * 1024,
        tell=say,
    )
    return 0
