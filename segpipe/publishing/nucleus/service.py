"""The Nucleus SDK, kept in bounds: what is asked of it, what may go wrong, what is tried again.

Every oddity of the client that is worked around here is described in docs/nucleus.md. Whatever it
raises is turned into words without the API key.
"""

from __future__ import annotations

import email.utils
import functools
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import quote

import requests

from segpipe.errors import DestinationError, SettingsError
from segpipe.publishing.nucleus.settings import KEY_VARIABLE, NucleusSettings

_Answer = TypeVar("_Answer")
#: What may pass when it is tried again. Of these the client itself repeats 503, 504, 520 and 524.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 524})
_LONGEST_WAIT = 60.0  # seconds
_LOCAL_PER_REQUEST, _REMOTE_PER_REQUEST = 10, 20
# Two calls of the client in one process break each other, and in the first thread it changes
# asyncio for everybody: all its uploads run in this one thread of its own.
_UPLOADER = ThreadPoolExecutor(1, "nucleus upload")
_IMPORT = threading.Lock()


class ServiceFailed(Exception):
    """A request that was not answered as it should be.

    Attributes:
        words: the service's or the network's, without anything secret.
        passing: whether it may pass when it is tried again.
        wait: seconds the service asked to wait; None where it did not say.
    """

    def __init__(self, words: str, *, passing: bool, wait: float | None = None) -> None:
        super().__init__(words)
        self.words, self.passing, self.wait = words, passing, wait


@dataclass(frozen=True)
class Sent:
    """What the service said to an upload.

    Attributes:
        processed, ignored: predictions.
        errors: the service's words, one for each it refused.
    """

    processed: int
    ignored: int
    errors: Sequence[str]


@dataclass(frozen=True)
class Outgoing:
    """A prediction on its way.

    Attributes:
        mask: path of a local file that ends with ``.png``, or a remote URL.
    """

    reference_id: str
    mask: str
    segments: Sequence[Mapping[str, Any]]
    annotation_id: str


class NucleusService:
    """The API of one dataset.

    Raises:
        SettingsError: if the SDK is not installed or the key is not set.
    """

    def __init__(self, settings: NucleusSettings) -> None:
        self._settings = settings
        self._sdk = _sdk()
        key = os.environ.get(KEY_VARIABLE)
        if not key:
            raise SettingsError(f"publishing to Nucleus needs its API key: set {KEY_VARIABLE}")
        self._key = key
        given = {"endpoint": settings.endpoint.rstrip("/")} if settings.endpoint else {}
        self._client = self._sdk.NucleusClient(api_key=key, **given)
        self._client.tqdm_bar = functools.partial(self._client.tqdm_bar, disable=True)
        self._client.connection.handle_bad_response = _raise_refused
        for module in (self._sdk.connection, self._sdk.async_utils):
            module.DEFAULT_NETWORK_TIMEOUT_SEC = settings.timeout

    def __repr__(self) -> str:
        return f"NucleusService({self._client.endpoint!r}, {self._settings.dataset_id!r})"

    # --- reading

    def check_dataset(self) -> None:
        """See that the dataset is there.

        Raises:
            DestinationError: if it is not, or nobody answers.
        """
        self._repeated("the dataset", lambda: self._get(f"dataset/{self._dataset}/info"))

    def find_model(self, reference_id: str) -> str | None:
        """Id of the model with a reference id; None where there is none.

        Raises:
            DestinationError: if nobody answers.
        """
        models = self._repeated("the models", lambda: self._get("models/"))["models"]
        found = [str(one["id"]) for one in models if one.get("ref_id") == reference_id]
        return min(found) if found else None

    def create_model(self, reference_id: str, name: str) -> str:
        """Make a model, or find the one that was made by a request whose answer was lost.

        Raises:
            DestinationError: if it cannot be made.
        """

        def made() -> str:
            return self.find_model(reference_id) or str(
                self._client.create_model(name, reference_id).id
            )

        return self._repeated("making a model", made)

    def export(self, model: str) -> dict[str, dict[str, Any]]:
        """Everything a model predicted: reference id -> segmentation as it is read back.

        Raises:
            DestinationError: if nobody answers.
        """
        route = f"dataset/{self._dataset}/model/{model}/export"
        answer = self._repeated("the predictions", lambda: self._get(route))
        return {str(one["reference_id"]): one for one in answer.get("segmentation") or ()}

    def item(self, model: str, reference_id: str) -> dict[str, Any] | None:
        """The segmentation of one item; None where there is none.

        Raises:
            DestinationError: if nobody answers.
        """
        # The client's own call does not quote the id, and finds nothing for `a/b#1`.
        quoted = quote(reference_id, safe="")
        route = f"dataset/{self._dataset}/model/{model}/referenceId/{quoted}"
        answer = self._repeated(f"item {reference_id!r}", lambda: self._get(route))
        found = (answer.get("annotations") or {}).get("segmentation") or []
        return dict(found[0]) if found else None

    @property
    def _dataset(self) -> str:
        return self._settings.dataset_id

    def _get(self, route: str) -> Any:
        return self._client.make_request({}, route, requests_command=requests.get)

    # --- sending

    def upload(self, model: str, predictions: Sequence[Outgoing], *, update: bool) -> Sent:
        """Send predictions once; what came of it has to be read back where this raises.

        Raises:
            ServiceFailed: whatever went wrong; some, all or none may have been stored.
        """
        if len(predictions) > self._settings.masks_per_call:
            raise ValueError("more predictions than the client can send in a call")
        sdk = self._sdk
        payload = [
            sdk.SegmentationPrediction(
                mask_url=str(one.mask),
                annotations=[
                    sdk.Segment(s["label"], s["index"], s.get("metadata")) for s in one.segments
                ],
                reference_id=one.reference_id,
                annotation_id=one.annotation_id,
            )
            for one in predictions
        ]

        def call() -> Any:
            dataset = sdk.Dataset(self._dataset, self._client, name="")
            whose = sdk.Model(model, "", "", {}, self._client)
            return dataset.upload_predictions(
                whose,
                payload,
                update=update,
                local_files_per_upload_request=_LOCAL_PER_REQUEST,
                remote_files_per_upload_request=_REMOTE_PER_REQUEST,
            )

        answer = self._plainly(lambda: _UPLOADER.submit(call).result())
        try:
            errors = [str(one) for one in answer.get("errors") or ()]
            return Sent(
                int(answer["predictions_processed"]), int(answer["predictions_ignored"]), errors
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ServiceFailed("the answer cannot be understood", passing=True) from None

    # --- failing

    def _repeated(self, what: str, ask: Callable[[], _Answer]) -> _Answer:
        """Ask for something that may be asked for again, until it is answered."""
        patience = Patience(self._settings.retry_seconds)
        while True:
            try:
                return self._plainly(ask)
            except ServiceFailed as failed:
                if not failed.passing or not patience.waits(failed.wait):
                    raise DestinationError(f"Nucleus, {what}: {failed.words}") from None

    def _plainly(self, ask: Callable[[], _Answer]) -> _Answer:
        """Ask, and turn whatever is raised into words."""
        try:
            return ask()
        except DestinationError as error:
            raise ServiceFailed(str(error), passing=False) from None
        except ServiceFailed as failed:
            words = self._without_key(failed.words)
            raise ServiceFailed(words, passing=failed.passing, wait=failed.wait) from None
        except Exception as error:
            status = getattr(error, "status_code", None)
            words = self._without_key(str(error) or type(error).__name__)
            # Without a status nobody answered: a connection that was cut or refused, a timeout,
            # an answer that is no JSON.
            passing = status in _PASSING if status is not None else not _is_mistake(error)
            raise ServiceFailed(_first_words(words), passing=passing) from None

    def _without_key(self, words: str) -> str:
        return words.replace(self._key, "...")


class Patience:
    """How long something is tried again: ever longer waits with some chance in them."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._attempt = 0

    def waits(self, asked: float | None = None) -> bool:
        """Wait before the next attempt; False where there is no time for another.

        Args:
            asked: seconds the service wants to be left alone.
        """
        longest = min(_LONGEST_WAIT, 0.5 * 2**self._attempt)
        self._attempt += 1
        wait = random.uniform(longest / 2, longest) if asked is None else max(0.0, asked)
        if time.monotonic() + wait > self._until:
            return False
        time.sleep(wait)
        return True


def _raise_refused(
    endpoint: str,
    command: Any,
    requests_response: requests.Response | None = None,
    aiohttp_response: tuple[int, str, Any] | None = None,
) -> None:
    """In the place of the client's own, which forgets when to come back."""
    if requests_response is not None:
        status, text = requests_response.status_code, requests_response.text
        wait = _seconds(requests_response.headers.get("Retry-After"))
    elif aiohttp_response is not None:
        (status, _, data), wait = aiohttp_response, None
        text = str(data)
    else:
        status, text, wait = 0, "", None
    raise ServiceFailed(
        f"answered {status}: {_first_words(text)}", passing=status in _PASSING, wait=wait
    )


def _seconds(retry_after: str | None) -> float | None:
    """What a Retry-After header says: seconds, or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        at = email.utils.parsedate_to_datetime(retry_after)
        return max(0.0, (at - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _is_mistake(error: Exception) -> bool:
    """Whether what is raised without an answer would be raised again: our call is wrong."""
    return isinstance(error, (TypeError, AttributeError, FileNotFoundError, AssertionError))


def _first_words(text: str) -> str:
    return " ".join(text.split())[:300] or "nothing"


def _sdk() -> ModuleType:
    """The SDK, imported when first used, and without what it does to logging."""
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

        module: ModuleType = nucleus
        return module
