"""The endpoint as a server."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import uvicorn

from segpipe.errors import SettingsError
from segpipe.extras import require
from segpipe.loopback import is_loopback
from segpipe.nucleus_server.application import application
from segpipe.nucleus_server.connections import BoundedProtocol, Connections
from segpipe.nucleus_server.database import Database
from segpipe.nucleus_server.judging import Checks, Judging
from segpipe.nucleus_server.limits import Limits
from segpipe.root import Root

#: The environment variable with the API key its users have to know.
KEY_VARIABLE = "SEGPIPE_NUCLEUS_KEY"
REGISTRY = "nucleus/registry.sqlite"


@dataclass(frozen=True)
class Serving:
    """How to serve a root."""

    root: str
    host: str = "127.0.0.1"
    port: int = 8000
    judging: Judging = field(default_factory=Judging)
    limits: Limits = field(default_factory=Limits)


def serve_nucleus(
    root: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    strict: bool = False,
    background_label: str | None = None,
    body_bytes: int = Limits.body_bytes,
    tell: Callable[[str], None] = print,
) -> None:
    """Serve a root to the Scale Nucleus SDK until the process is ended.

    Args:
        root: a local folder; its masks and its catalog may be elsewhere.
        strict: refuse masks segpipe would reject, with the reasons; otherwise they are taken, as
            Nucleus is believed to, and the reasons noted.
        background_label: label for pixels of the value 0 that are not declared; None where a mask
            with such pixels is wrong.
        body_bytes: limit of a request's body.
        tell: called with lines that say where it is served.

    Raises:
        SettingsError: for a remote root, and for an address others can reach without a key.
        StorageError: if the root cannot be used.
    """
    checks = Checks.STRICT if strict else Checks.AS_NUCLEUS
    judging = Judging(checks, background_label)
    serve(Serving(root, host, port, judging, Limits(body_bytes)), tell)


def serve(serving: Serving, tell: Callable[[str], None] = print) -> None:
    """Serve until the process is ended.

    Args:
        tell: told where it is served.

    Raises:
        SettingsError: for a remote root, and for an address others can reach without a key.
        NotInstalledError: if what reads uploads is not.
        StorageError: if the root cannot be used.
    """
    require("nucleus", "the endpoint needs", "python_multipart")
    root = Root.open(serving.root)
    place = root.settings.root
    if "://" in place:
        raise SettingsError(
            f"{place} is not a folder: the endpoint keeps its registry on a local disk. Its masks "
            "and its catalog may be elsewhere: set masks and catalog in a local segpipe.toml"
        )
    key = os.environ.get(KEY_VARIABLE) or None
    if key is None and not is_loopback(serving.host):
        raise SettingsError(
            f"others can reach {serving.host}: set {KEY_VARIABLE} to the API key they have to know"
        )
    database = Database(Path(place) / REGISTRY)
    app = application(
        root, database, (Path(place) / REGISTRY).parent,
        judging=serving.judging, key=key, limits=serving.limits,
    )  # fmt: skip
    url = f"http://{serving.host}:{serving.port}"
    tell(f"root       {place}")
    tell(f"endpoint   {url}")
    api_key = '"any"' if key is None else f'os.environ["{KEY_VARIABLE}"]'
    tell(f'use it     NucleusClient(api_key={api_key}, endpoint="{url}")')
    protocol = functools.partial(BoundedProtocol, Connections(serving.limits))
    # The access log would hold the URLs of uploads, which are secrets. There are no web sockets
    # here, and what takes them over would not be bounded.
    uvicorn.run(
        app, host=serving.host, port=serving.port, log_level="warning", access_log=False,
        server_header=False, http=cast(Any, protocol), ws="none",
        timeout_keep_alive=serving.limits.keep_alive_seconds,
    )  # fmt: skip
