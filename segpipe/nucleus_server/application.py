"""The endpoint as an ASGI application: its routes, and who may use them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from segpipe.errors import SegpipeError
from segpipe.nucleus_server.bodies import Bodies
from segpipe.nucleus_server.database import Database
from segpipe.nucleus_server.endpoint import Endpoint
from segpipe.nucleus_server.guard import UPLOADS, Guard, error_answer
from segpipe.nucleus_server.judging import Judging
from segpipe.nucleus_server.limits import Limits
from segpipe.nucleus_server.requests import RequestRefused
from segpipe.nucleus_server.routes import ROUTES, Handler
from segpipe.root import Root

_logger = logging.getLogger("segpipe.nucleus_server")


def application(
    root: Root,
    database: Database,
    folder: Path,
    *,
    judging: Judging | None = None,
    key: str | None = None,
    limits: Limits | None = None,
) -> ASGIApp:
    """The endpoint as an ASGI application.

    Args:
        folder: for bodies too large for memory; it has to be there.
        key: the API key its users have to know; None where everybody is let in.
    """
    limits = limits or Limits()
    bodies = Bodies(limits, folder)
    endpoint = Endpoint(root, database, judging or Judging(), limits, bodies.complete)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(endpoint.close)

    routes = [
        Route(path, _answering(endpoint, handler), methods=[method], name=handler.__name__)
        for method, path, handler in ROUTES
    ]
    routes.append(
        Route("/{path:path}", _unknown, methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    )
    inner = Starlette(routes=routes, lifespan=lifespan)
    return Guard(inner, key, bodies)


def _answering(endpoint: Endpoint, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(await handler(endpoint, request))
        except RequestRefused as refused:
            return error_answer(refused.status, refused.words)
        except SegpipeError as error:
            _logger.error("%s %s: %s", request.method, _logged(request), error)
            return error_answer(
                500, "the endpoint's storage failed; its log says why. Send it again"
            )
        except ClientDisconnect:
            return error_answer(400, "the connection was closed before the request was complete")
        except Exception:
            _logger.exception("%s %s failed", request.method, _logged(request))
            return error_answer(500, "internal error; the endpoint's log says more")

    return answer


def _logged(request: Request) -> str:
    """The path of a request, without the token of an upload, which is a secret."""
    path = request.url.path
    return path if not path.startswith(UPLOADS) else f"{UPLOADS}..."


async def _unknown(request: Request) -> Response:
    return error_answer(
        404,
        f"{request.method} {request.url.path} is not a part of the API served here: datasets, "
        "items, models, segmentations, jobs; see docs/nucleus.md",
    )
