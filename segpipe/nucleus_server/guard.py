"""Access control: API key, no requests of other sites, and the limits of bodies."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from segpipe.loopback import host_of, is_loopback
from segpipe.nucleus_server.bodies import Bodies, too_large

#: Where uploads are put, each under a token of its own.
UPLOADS = "/_blob/"


def error_answer(status: int, words: str) -> JSONResponse:
    """An answer that says what is wrong."""
    return JSONResponse({"error": words}, status_code=status)


class Guard:
    """Lets in who knows the key, and no body beyond the limit.

    Args:
        key: None where everybody on this machine is let in. What a page of another site makes a
            browser on this machine send is not: the address it has in mind, or that page's own,
            says so.
        bodies: those of its requests.
    """

    def __init__(self, inner: ASGIApp, key: str | None, bodies: Bodies) -> None:
        self._inner, self._key, self._bodies = inner, key, bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refused = self._refusal(scope, headers)
        if refused is not None:
            await refused(scope, receive, send)
            return
        async with self._bodies.of(receive) as body:
            await self._inner(scope, body, send)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Response | None:
        told = headers.get(b"content-length", b"0")
        if not told.isdigit() or int(told) > self._bodies.limits.body_bytes:
            return error_answer(413, too_large(self._bodies.limits))
        # With a key as well: a browser adds what was once typed into it to every site's requests.
        if headers.get(b"sec-fetch-site") == b"cross-site":
            return error_answer(403, "a page of another site made the browser send this")
        if self._key is None:
            return _foreign(headers)
        # The URL of an upload is a secret of its own: the client puts there without a key.
        if str(scope["path"]).startswith(UPLOADS):
            return None
        if hmac.compare_digest(_user(headers.get(b"authorization", b"")), self._key.encode()):
            return None
        return error_answer(401, "the API key is not known here")


def _foreign(headers: Mapping[bytes, bytes]) -> Response | None:
    """The refusal of a request that was meant for another host, or comes from another's page."""
    for name, before in ((b"host", "//"), (b"origin", ""), (b"referer", "")):
        told = headers.get(name)
        if told is not None and not is_loopback(host_of(before + told.decode("latin-1"))):
            words = f"the {name.decode()} of the request is not this machine: without an API key "
            return error_answer(403, words + "only this machine is served")
    return None


def _user(header: bytes) -> bytes:
    """The user of Basic authentication; the client's is its API key, without a password."""
    kind, _, value = header.partition(b" ")
    if kind.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(value, validate=True).partition(b":")[0]
    except binascii.Error:
        return b""
