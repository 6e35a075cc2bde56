"""The page's server as an ASGI application: its routes, and how they answer."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import files
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from segpipe.errors import SegpipeError
from segpipe.viewer.filters import Filters, filters_of
from segpipe.viewer.guard import Guard, refusal
from segpipe.viewer.refusal import RequestRefused
from segpipe.viewer.thumbnails import SIZES
from segpipe.viewer.viewer import Viewer

_logger = logging.getLogger("segpipe.viewer")
Result = TypeVar("Result")
Handler = Callable[["Pages", Request], Awaitable[Response]]
_TYPES = {
    "html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8", "svg": "image/svg+xml",
}  # fmt: skip
_SHELLS = {"/": "index", "/item": "item", "/rejects": "rejects", "/overview": "overview"}
_SHELL = "shell.html"
_MOST_CARDS = 500
_MOST_BODY = 16 * 2**20
_FOREVER = "private, max-age=31536000, immutable"
_ASKED_AGAIN = "private, no-cache"
# Requests at work at a time: those that answer from tables, and those that make pictures.
_ANSWERS, _PICTURES = 8, 3


class Json(Response):
    """A JSON answer; a number that is none is null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return orjson.dumps(content)


class Pages:
    """What the routes answer with: a viewer, the files of the page, and limits."""

    def __init__(self, viewer: Viewer, *, token_needed: bool) -> None:
        self.viewer, self.token_needed = viewer, token_needed
        self.files = _page_files()
        self._answers = anyio.CapacityLimiter(_ANSWERS)
        self._pictures = anyio.CapacityLimiter(_PICTURES)

    async def answer(self, work: Callable[..., Result], *given: Any) -> Result:
        """What a function returns, called in a thread."""
        return await anyio.to_thread.run_sync(partial(work, *given), limiter=self._answers)

    async def picture(self, request: Request, work: Callable[..., Result], *given: Any) -> Result:
        """The same for a picture, when its turn comes and somebody still waits for it.

        Raises:
            ClientDisconnect: if nobody does.
        """
        async with self._pictures:
            if await request.is_disconnected():
                raise ClientDisconnect
            return await anyio.to_thread.run_sync(
                partial(work, *given), limiter=anyio.CapacityLimiter(1)
            )


def application(viewer: Viewer, token: str | None = None) -> ASGIApp:
    """The server of a root's page as an ASGI application.

    Args:
        token: that who looks has to know; None where everybody on this machine is let in.
    """
    pages = Pages(viewer, token_needed=token is not None)
    routes = [
        Route(path, _answering(pages, handler), methods=[method], name=handler.__name__)
        for method, path, handler in ROUTES
    ]
    routes += [
        Route(path, _answering(pages, partial(_shell, name=name)), name=name)
        for path, name in _SHELLS.items()
    ]
    routes.append(
        Route("/{path:path}", _unknown, methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    )
    return Guard(Starlette(routes=routes), token)


def _answering(
    pages: Pages, handler: Callable[[Pages, Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await handler(pages, request)
        except RequestRefused as refused:
            return refusal(refused.status, refused.words)
        except SegpipeError as error:
            return refusal(503, str(error))
        except ClientDisconnect:
            return Response(status_code=204)
        except Exception:
            _logger.exception("%s %s failed", request.method, request.url.path)
            return refusal(
                500, "this failed unexpectedly; the terminal of segpipe browse says more"
            )

    return answer


async def _unknown(request: Request) -> Response:
    return refusal(404, "there is no such page")


def _page_files() -> dict[str, tuple[bytes, str]]:
    """The files of the page, by name: what is served below ``/pages/`` is one of them."""
    found = {}
    for file in files("segpipe.viewer").joinpath("pages").iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None and file.is_file():
            found[file.name] = file.read_bytes(), kind
    return found


async def _shell(pages: Pages, request: Request, name: str) -> Response:
    known = f"{name}.html" if f"{name}.html" in pages.files else _SHELL
    return _file(pages, request, known)


async def _page(pages: Pages, request: Request) -> Response:
    return _file(pages, request, request.path_params["name"])


def _file(pages: Pages, request: Request, name: str) -> Response:
    if name not in pages.files:
        raise RequestRefused("there is no such page", 404)
    data, kind = pages.files[name]
    return tagged(request, data, kind, hashlib.sha256(data).hexdigest()[:32], _ASKED_AGAIN)


def tagged(
    request: Request, data: bytes, kind: str, tag: str, caching: str = _ASKED_AGAIN
) -> Response:
    """A file with its tag; 304 without it where the browser has it."""
    headers = {"etag": f'"{tag}"', "cache-control": caching}
    if f'"{tag}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=kind, headers=headers)


def _filters(request: Request, *also: str) -> Filters:
    return filters_of(request.query_params.multi_items(), also)


def _needed(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise RequestRefused(f"{name} is missing")
    return value


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise RequestRefused(f"{name} is {text[:40]!r}, expected a whole number from 1 to {most}")
    return int(text)


async def _root(pages: Pages, request: Request) -> Response:
    facts = await pages.answer(pages.viewer.facts)
    return Json({**facts, "token_needed": pages.token_needed})


async def _items(pages: Pages, request: Request) -> Response:
    filters = _filters(request, "limit", "after")
    limit = _number(request, "limit", 60, _MOST_CARDS)
    after = request.query_params.get("after")
    return Json(await pages.answer(pages.viewer.items, filters, limit, after))


async def _item(pages: Pages, request: Request) -> Response:
    given = request.query_params
    key = given.get("key")
    own = ("key", "id", "date") if key else ("key", "id", "date", "dataset", "run")
    filters = filters_of(given.multi_items(), own)
    whose = {name: given[name] for name in ("dataset", "id", "run", "date") if name in given}
    return Json(await pages.answer(pages.viewer.item, key, whose, filters))


async def _thumb(pages: Pages, request: Request) -> Response:
    size = _number(request, "size", SIZES[0], SIZES[-1])
    if size not in SIZES:
        raise RequestRefused(f"size is {size}, expected {' or '.join(map(str, SIZES))}")
    key = _needed(request, "key")
    name, shown, colours = await pages.answer(pages.viewer.thumbnail, key, size)
    thumbnails, lasting = pages.viewer.thumbnails, _FOREVER if shown.lasting else _ASKED_AGAIN
    if f'"{name}"' in request.headers.get("if-none-match", ""):
        return tagged(request, b"", "image/webp", name, lasting)
    data = await pages.answer(thumbnails.kept, name)
    if data is None:
        data = await pages.picture(request, thumbnails.made, shown, size, colours, name)
    return tagged(request, data, "image/webp", name, lasting)


async def _mask(pages: Pages, request: Request) -> Response:
    data = await pages.picture(request, pages.viewer.rows.mask, _needed(request, "key"))
    return tagged(request, data, "image/png", hashlib.sha256(data).hexdigest()[:32])


async def _image(pages: Pages, request: Request) -> Response:
    data, kind = await pages.picture(request, pages.viewer.rows.image, _needed(request, "key"))
    return tagged(request, data, kind, hashlib.sha256(data).hexdigest()[:32])


async def _offending(pages: Pages, request: Request) -> Response:
    given = _needed(request, "key"), _needed(request, "rule")
    data = await pages.picture(request, pages.viewer.rows.offending, *given)
    return tagged(request, data, "image/png", hashlib.sha256(data).hexdigest()[:32])


async def _counts(pages: Pages, request: Request) -> Response:
    return Json(await pages.answer(pages.viewer.counts, _filters(request)))


async def _overview(pages: Pages, request: Request) -> Response:
    return Json(await pages.answer(pages.viewer.overview, _filters(request)))


async def _rejects(pages: Pages, request: Request) -> Response:
    return Json(await pages.answer(pages.viewer.rejects, _filters(request)))


async def _difference(pages: Pages, request: Request) -> Response:
    given = _needed(request, "key"), _needed(request, "with")
    return Json(await pages.picture(request, pages.viewer.rows.difference, *given))


async def _selection(pages: Pages, request: Request) -> Response:
    return Json(await pages.answer(pages.viewer.selection, _needed(request, "name")))


async def _save_selection(pages: Pages, request: Request) -> Response:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BODY:
            raise RequestRefused(f"the request has more than {_MOST_BODY} bytes", 413)
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestRefused("the request is not JSON") from None
    return Json(await pages.answer(pages.viewer.save_selection, given))


ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/pages/{name}", _page),
    ("GET", "/api/root", _root),
    ("GET", "/api/items", _items),
    ("GET", "/api/item", _item),
    ("GET", "/thumb", _thumb),
    ("GET", "/mask", _mask),
    ("GET", "/image", _image),
    ("GET", "/offending", _offending),
    ("GET", "/difference", _difference),
    ("GET", "/api/counts", _counts),
    ("GET", "/api/overview", _overview),
    ("GET", "/api/rejects", _rejects),
    ("GET", "/api/selection", _selection),
    ("POST", "/api/selection", _save_selection),
]
