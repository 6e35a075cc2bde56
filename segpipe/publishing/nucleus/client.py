"""The Nucleus SDK, imported without side effects and changed to report every answer.

The SDK's file uploads raise at the first refused request, while other requests of the same call are
still in flight. Their answers are lost, and it is not known whether they were stored. Here every
request of a call is awaited, and every refusal is kept with its message and its Retry-After.
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
from pathlib import Path
from types import ModuleType
from typing import Any

import requests

from segpipe.extras import require
from segpipe.publishing.nucleus.failures import Redactor, ServiceFailed, most_severe

# Concurrent calls of the client break each other, and in the main thread it patches asyncio
# globally. All its uploads therefore run in this one thread.
_UPLOADER = ThreadPoolExecutor(1, "nucleus upload")
_IMPORT = threading.Lock()


@dataclass
class _Call:
    """An upload in progress."""

    redactor: Redactor
    refusals: list[ServiceFailed] = field(default_factory=list)

    def summary(self, status: int, text: str, retry_after: str | None) -> Mapping[str, Any]:
        """What the client adds to its totals: the answer, or nothing for a refusal."""
        if status >= 400:
            self.refusals.append(self.redactor.refusal(status, text, retry_after))
            return {}
        try:
            answer = json.loads(text)
            return {**answer, "errors": list(answer.get("errors") or ())}
        except (ValueError, TypeError, AttributeError):
            self.refusals.append(unexpected_answer())
            return {}


# Set during segpipe's own uploads: other code in the process gets the SDK's usual behaviour.
_CALL: ContextVar[_Call | None] = ContextVar("call", default=None)


def uploaded(upload: Callable[[], Any], redactor: Redactor) -> Any:
    """Upload, wait until all requests are answered, and return the client's total.

    Raises:
        ServiceFailed: if a request was refused; the predictions of others may have been stored.
    """

    def called() -> Any:
        call = _Call(redactor)
        token = _CALL.set(call)
        try:
            answer = upload()
        finally:
            _CALL.reset(token)
        if call.refusals:
            raise most_severe(call.refusals)
        return answer

    return _UPLOADER.submit(called).result()


def unexpected_answer() -> ServiceFailed:
    """The failure for an answer that does not have the API's form."""
    return ServiceFailed("the answer cannot be understood", transient=True)


def client_of(sdk: ModuleType, key: str, endpoint: str, timeout: int) -> Any:
    """A client that raises ``ServiceFailed`` for refusals and shows no progress bars.

    Args:
        key: the API key.
        endpoint: base URL; the client's default if empty.
        timeout: seconds to wait for an answer.
    """
    given = {"endpoint": endpoint.rstrip("/")} if endpoint else {}
    client = sdk.NucleusClient(api_key=key, **given)
    client.tqdm_bar = functools.partial(client.tqdm_bar, disable=True)
    redactor = Redactor(key)

    def refused(route: str, command: Any, answer: requests.Response, *_: Any) -> None:
        raise redactor.refusal(answer.status_code, answer.text, answer.headers.get("Retry-After"))

    client.connection.handle_bad_response = refused
    for module in (sdk.connection, sdk.async_utils):
        module.DEFAULT_NETWORK_TIMEOUT_SEC = timeout
    return client


def sdk() -> ModuleType:
    """The SDK, imported on first use.

    Raises:
        NotInstalledError: with the extra that brings it.
    """
    with _IMPORT:
        root = logging.getLogger()
        before = list(root.handlers)
        require("nucleus", "publishing to Nucleus needs", "nucleus")
        import nucleus

        for handler in list(root.handlers):
            if handler not in before:
                root.removeHandler(handler)
        import nucleus.annotation_uploader
        import nucleus.async_utils
        import nucleus.connection

        _patch_answers(nucleus.async_utils)
        _patch_names(nucleus.annotation_uploader.AnnotationUploader)
        module: ModuleType = nucleus
        return module


def _patch_answers(async_utils: Any) -> None:
    """Make the client pass every answer to an upload of segpipe's to its :class:`_Call`."""
    own = async_utils._parse_async_response
    if getattr(own, "of_segpipe", False):
        return

    async def parsed(endpoint: str, session: Any, response: Any, sleep_time: float) -> Any:
        call = _CALL.get()
        if call is None:
            return await own(endpoint, session, response, sleep_time)
        text = await response.text(errors="replace")
        return call.summary(response.status, text, response.headers.get("Retry-After"))

    parsed.of_segpipe = True  # type: ignore[attr-defined]
    async_utils._parse_async_response = parsed


def _patch_names(uploader: Any) -> None:
    """Make the client send the name of a local mask's file, in uploads of segpipe's, where it sends
    its path."""
    own = uploader.get_form_data_and_file_pointers_fn
    if getattr(own, "of_segpipe", False):
        return

    def form_of(self: Any, segmentations: Any, update: bool) -> Callable[[], Any]:
        made = own(self, segmentations, update)

        def named() -> Any:
            parts, files = made()
            for part in parts:
                if part.filename is not None:
                    part.filename = Path(part.filename).name
                    continue
                request = json.loads(part.value)
                for one in request["segmentations"]:
                    one["mask_url"] = Path(one["mask_url"]).name
                part.value = json.dumps(request)
            return parts, files

        return made if _CALL.get() is None else named

    form_of.of_segpipe = True  # type: ignore[attr-defined]
    uploader.get_form_data_and_file_pointers_fn = form_of
