"""Who is answered: this machine's own pages, or who knows the token; and what browsers may do."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segpipe.loopback import host_of, is_loopback

# With the port: a browser has one jar for all ports of a machine, and several may be served.
_COOKIE = "segpipe-token-{}"
#: A header that no form and no other site's page can send: of requests that change something.
OWN_HEADER = b"x-segpipe"
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_FIXED = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]


class Guard:
    """Lets in who may look, and tells browsers what they may do with the answers.

    Args:
        token: None where everybody on this machine is let in, but no page of another site: neither
            by a name of its own that leads here (DNS rebinding), nor by what it makes a browser
            send.
    """

    def __init__(self, inner: ASGIApp, token: str | None) -> None:
        self._inner, self._token = inner, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._inner(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add(message)
            await send(message)

        refused = self._refusal(scope, dict(scope["headers"]))
        await (refused or self._inner)(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Response | None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self._token is None and not is_loopback(host_of(f"//{host}")):
            return refusal(403, "the host of the request is not this machine: open the page by the "
                                "address that segpipe browse has printed")  # fmt: skip
        if words := _foreign(scope, headers, host):
            return refusal(403, words)
        if scope["method"] not in ("GET", "HEAD") and headers.get(OWN_HEADER) != b"1":
            return refusal(403, "changes are taken from this page only")
        return None if self._token is None else self._without_token(scope, headers, self._token)

    def _without_token(
        self, scope: Scope, headers: Mapping[bytes, bytes], token: str
    ) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        told = [value for name, value in query if name == "token"]
        if told and scope["method"] == "GET":
            if not _same(told[0], token):
                return refusal(401, "the token is not the one that segpipe browse has printed")
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            path = "/" + scope["path"].lstrip("/")  # never a `//host`, which is another place
            answer = RedirectResponse(f"{path}?{rest}" if rest else path, 303)
            answer.set_cookie(_cookie_name(scope), token, httponly=True, samesite="lax")
            return answer
        given = headers.get(b"authorization", b"").decode("latin-1")
        if _same(given, f"Bearer {token}") or _same(_cookie(scope, headers), token):
            return None
        return refusal(
            401, "this page needs a token: open the address that segpipe browse has printed"
        )


def refusal(status: int, words: str) -> JSONResponse:
    """An answer that says what is wrong."""
    return JSONResponse({"error": words}, status_code=status)


def _foreign(scope: Scope, headers: Mapping[bytes, bytes], host: str) -> str | None:
    """Words for a request that another site's page made; a link that is followed is none."""
    origin = headers.get(b"origin")
    if origin is not None and _netloc(origin.decode("latin-1")) != host:
        return "a page of another site made the browser send this"
    follows = headers.get(b"sec-fetch-mode") == b"navigate"
    if headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
        document = headers.get(b"sec-fetch-dest") in (None, b"document")
        if not (follows and document and scope["method"] == "GET"):
            return "a page of another site made the browser send this"
    return None


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def _cookie_name(scope: Scope) -> str:
    return _COOKIE.format((scope.get("server") or ("", 0))[1])


def _cookie(scope: Scope, headers: Mapping[bytes, bytes]) -> str:
    # Not by http.cookies, which stops at what another page of this machine has set oddly.
    found = cookie_parser(headers.get(b"cookie", b"").decode("latin-1"))
    return found.get(_cookie_name(scope), "")


def _add(message: MutableMapping[str, Any]) -> None:
    headers = [pair for pair in message.get("headers", ()) if pair[0] not in dict(_FIXED)]
    if not any(name == b"cache-control" for name, _ in headers):
        headers.append((b"cache-control", b"no-store"))
    message["headers"] = [*headers, *_FIXED]
