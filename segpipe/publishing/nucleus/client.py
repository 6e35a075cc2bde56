"""The Nucleus SDK, imported without its side effects and made to tell what the service answered.

Its uploads of files raise at the first request that is refused, while others of the call are still
on their way: what the service said to those is lost, and whether they were stored is not known.
Here every request of a call is waited for, and every refusal is kept with its words and its
Retry-After.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import requests

from segpipe.errors import SettingsError
from segpipe.publishing.nucleus.failures import Discretion, ServiceFailed, gravest

# Two calls of the client in one process break each other, and in the first thread it changes
# asyncio for everybody: all its uploads run in this one thread of its own.
_UPLOADER = ThreadPoolExecutor(1, "nucleus upload")
_IMPORT = threading.Lock()


@dataclass
class _Call:
    """An upload under way."""

    discretion: Discretion
    refusals: list[ServiceFailed] = field(default_factory=list)

    def summary(self, status: int, text: str, retry_after: str | None) -> Mapping[str, Any]:
        """What the client is to add up of an answer; of a refusal, nothing."""
        if status >= 400:
            self.refusals.append(self.discretion.refusal(status, text, retry_after))
            return {}
        try:
            answer = json.loads(text)
            return {**answer, "errors": list(answer.get("errors") or ())}
        except (ValueError, TypeError, AttributeError):
            self.refusals.append(not_understood())
            return {}


# Of this thread's call: others in the process who use the client find it as it is.
_CALL: ContextVar[_Call | None] = ContextVar("call", default=None)


def uploaded(upload: Callable[[], Any], discretion: Discretion) -> Any:
    """The client's answer to an upload, when all of its requests are answered.

    Raises:
        ServiceFailed: if any of them was refused; the others may have been stored.
    """

    def called() -> Any:
        call = _Call(discretion)
        token = _CALL.set(call)
        try:
            answer = upload()
        finally:
            _CALL.reset(token)
        if call.refusals:
            raise gravest(call.refusals)
        return answer

    return _UPLOADER.submit(called).result()


def not_understood() -> ServiceFailed:
    """The failure of an answer that is not of the form the API has."""
    return ServiceFailed("the answer cannot be understood", passing=True)


def client_of(sdk: ModuleType, key: str, endpoint: str, timeout: int) -> Any:
    """A client that raises ``ServiceFailed`` for refusals and draws no progress bars.

    Args:
        endpoint: base URL; where it is empty, the client's own choice.
        timeout: seconds to wait for an answer.
    """
    given = {"endpoint": endpoint.rstrip("/")} if endpoint else {}
    client = sdk.NucleusClient(api_key=key, **given)
    client.tqdm_bar = functools.partial(client.tqdm_bar, disable=True)
    discretion = Discretion(key)

    def refused(route: str, command: Any, answer: requests.Response, *_: Any) -> None:
        raise discretion.refusal(answer.status_code, answer.text, answer.headers.get("Retry-After"))

    client.connection.handle_bad_response = refused
    for module in (sdk.connection, sdk.async_utils):
        module.DEFAULT_NETWORK_TIMEOUT_SEC = timeout
    return client


def sdk() -> ModuleType:
    """The SDK, imported when first used.

    Raises:
        SettingsError: if it is not installed.
    """
    with _IMPORT:
        root = logging.getLogger()
        before = list(root.handlers)
        try:
            import nucleus
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"publishing to Nucleus needs {error.name}: pip install 'segpipe[nucleus]'"
            ) from None
        for handler in list(root.handlers):
            if handler not in before:
                root.removeHandler(handler)
        import nucleus.async_utils
        import nucleus.connection

        _listen(nucleus.async_utils)
        module: ModuleType = nucleus
        return module


def _listen(async_utils: Any) -> None:
    """Hear every answer to an upload of segpipe's before the client makes up its mind."""
    own = async_utils._parse_async_response
    if getattr(own, "of_segpipe", False):
        return

    async def heard(endpoint: str, session: Any, response: Any, sleep_time: float) -> Any:
        call = _CALL.get()
        if call is None:
            return await own(endpoint, session, response, sleep_time)
        text = await response.text(errors="replace")
        return call.summary(response.status, text, response.headers.get("Retry-After"))

    heard.of_segpipe = True  # type: ignore[attr-defined]
    async_utils._parse_async_response = heard
