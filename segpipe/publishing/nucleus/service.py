"""The requests to Nucleus that segpipe makes, through its SDK, with retries.

The quirks of the client that are worked around here are described in docs/nucleus.md. Whatever it
raises becomes a failure whose message does not contain the API key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import requests

from segpipe.errors import DestinationError, SettingsError
from segpipe.publishing.nucleus.client import client_of, sdk, unexpected_answer, uploaded
from segpipe.publishing.nucleus.failures import Backoff, Redactor, ServiceFailed
from segpipe.publishing.nucleus.settings import KEY_VARIABLE, NucleusSettings

_Answer = TypeVar("_Answer")
_LOCAL_PER_REQUEST, _REMOTE_PER_REQUEST = 10, 20


@dataclass(frozen=True)
class UploadResult:
    """The service's answer to an upload.

    Attributes:
        processed, ignored: numbers of predictions.
        errors: the service's messages, one per refused prediction.
    """

    processed: int
    ignored: int
    errors: Sequence[str]


@dataclass(frozen=True)
class Outgoing:
    """A prediction ready to be sent.

    Attributes:
        mask: path of a local file that ends with ``.png``, or a remote URL.
        segments: label, index and metadata of each Segment.
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
        self._sdk = sdk()
        key = os.environ.get(KEY_VARIABLE)
        if not key:
            raise SettingsError(f"publishing to Nucleus needs its API key: set {KEY_VARIABLE}")
        self._redactor = Redactor(key)
        self._client = client_of(self._sdk, key, settings.endpoint, settings.timeout)

    def __repr__(self) -> str:
        return f"NucleusService({self._client.endpoint!r}, {self._settings.dataset_id!r})"

    # --- reading

    def check_dataset(self) -> None:
        """Check that the dataset exists.

        Raises:
            DestinationError: if it does not, or the service does not answer.
        """
        self._retried("the dataset", lambda: self._get(f"dataset/{self._dataset}/info"))

    def find_model(self, reference_id: str) -> str | None:
        """Id of the model with a reference id; None if there is none.

        Raises:
            DestinationError: if the service does not answer.
        """

        def found(answer: Any) -> list[str]:
            return [str(one["id"]) for one in answer["models"] if one.get("ref_id") == reference_id]

        return min(self._read("the models", "models/", found), default=None)

    def create_model(self, reference_id: str, name: str) -> str:
        """Create a model, or find the one created by a request whose answer was lost; its id.

        Raises:
            DestinationError: if it cannot be created.
        """

        def created(_: None) -> str:
            try:
                return str(self._client.create_model(name, reference_id).id)
            except self._sdk.errors.ModelCreationError as error:
                words = f"the answer cannot be understood, it has no id: {error}"
                raise ServiceFailed(self._redactor(words), transient=True) from None

        def made() -> str:
            return self.find_model(reference_id) or _extracted(created, None)

        return self._retried("making a model", made)

    def export(self, model: str) -> dict[str, dict[str, Any]]:
        """All predictions of a model: reference id -> segmentation, as the API returns it.

        Raises:
            DestinationError: if the service does not answer.
        """
        route = f"dataset/{self._dataset}/model/{model}/export"

        def found(answer: Any) -> dict[str, dict[str, Any]]:
            return _by_item(answer.get("segmentation") or ())

        return self._read("the predictions", route, found)

    def item(self, model: str, reference_id: str) -> dict[str, Any] | None:
        """The segmentation of one item, as the API returns it; None if there is none.

        Raises:
            DestinationError: if the service does not answer.
        """
        # The client's own call does not quote the id, and finds nothing for `a/b#1`.
        quoted = quote(reference_id, safe="")
        route = f"dataset/{self._dataset}/model/{model}/referenceId/{quoted}"

        def found(answer: Any) -> dict[str, Any] | None:
            there = _by_item((answer.get("annotations") or {}).get("segmentation") or ())
            return next(iter(there.values()), None)

        def asked() -> dict[str, Any] | None:
            try:
                return _extracted(found, self._get(route))
            except ServiceFailed as failed:
                if failed.status != 404:
                    raise
                return None  # the service may answer 404 for an item that is not in the dataset

        return self._retried(f"item {reference_id!r}", asked)

    @property
    def _dataset(self) -> str:
        return self._settings.dataset_id

    def _read(self, what: str, route: str, found: Callable[[Any], _Answer]) -> _Answer:
        """GET a route with retries, and extract something from the answer."""
        return self._retried(what, lambda: _extracted(found, self._get(route)))

    def _get(self, route: str) -> Any:
        return self._client.make_request({}, route, requests_command=requests.get)

    # --- sending

    def upload(self, model: str, predictions: Sequence[Outgoing], *, update: bool) -> UploadResult:
        """Send predictions once, without retries.

        Raises:
            ServiceFailed: whatever went wrong. Some, all or none of the predictions may have been
                stored: read them back to find out.
            ValueError: if there are more than ``masks_per_call``.
        """
        if len(predictions) > self._settings.masks_per_call:
            raise ValueError("more predictions than the client can send in a call")
        nucleus = self._sdk
        payload = [
            nucleus.SegmentationPrediction(
                mask_url=str(one.mask),
                annotations=[
                    nucleus.Segment(s["label"], s["index"], s.get("metadata")) for s in one.segments
                ],
                reference_id=one.reference_id,
                annotation_id=one.annotation_id,
            )
            for one in predictions
        ]

        def call() -> Any:
            dataset = nucleus.Dataset(self._dataset, self._client, name="")
            whose = nucleus.Model(model, "", "", {}, self._client)
            return dataset.upload_predictions(
                whose,
                payload,
                update=update,
                local_files_per_upload_request=_LOCAL_PER_REQUEST,
                remote_files_per_upload_request=_REMOTE_PER_REQUEST,
            )

        def summed(answer: Any) -> UploadResult:
            errors = [self._redactor.entirely(str(one)) for one in answer.get("errors") or ()]
            processed, ignored = answer["predictions_processed"], answer["predictions_ignored"]
            return UploadResult(int(processed), int(ignored), errors)

        return self._with_plain_errors(lambda: _extracted(summed, uploaded(call, self._redactor)))

    # --- failing

    def _retried(self, what: str, ask: Callable[[], _Answer]) -> _Answer:
        """Make a request that is safe to repeat, with retries.

        Args:
            what: the object of the request, for messages.

        Raises:
            DestinationError: if it keeps failing, or a retry cannot help.
        """
        backoff = Backoff(self._settings.retry_seconds)
        while True:
            try:
                return self._with_plain_errors(ask)
            except ServiceFailed as failed:
                if not failed.transient or not backoff.wait(failed.wait):
                    raise DestinationError(f"Nucleus, {what}: {failed.words}") from None

    def _with_plain_errors(self, ask: Callable[[], _Answer]) -> _Answer:
        """Make a request; whatever it raises becomes a :class:`ServiceFailed`."""
        try:
            return ask()
        except DestinationError as error:
            raise ServiceFailed(str(error), transient=False) from None
        except ServiceFailed:
            raise
        except Exception as error:
            # No answer: the connection was refused or cut, a timeout, or no JSON.
            words = self._redactor(str(error) or type(error).__name__)
            raise ServiceFailed(words, transient=not _is_mistake(error)) from None


def _extracted(found: Callable[[Any], _Answer], answer: Any) -> _Answer:
    """Extract something from an answer of unknown form.

    Raises:
        ServiceFailed: if it does not have the API's form.
    """
    try:
        return found(answer)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise unexpected_answer() from None


def _by_item(segmentations: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Reference id -> segmentation, as the API returns it.

    Raises:
        LookupError, TypeError, AttributeError: if one does not have the API's form.
    """
    found = {}
    for one in segmentations:
        segments = [dict(segment) for segment in one.get("annotations") or ()]
        found[str(one["reference_id"])] = {**one, "annotations": segments}
    return found


def _is_mistake(error: Exception) -> bool:
    """Whether an error without an answer would occur again, because the call itself is wrong."""
    return isinstance(error, (TypeError, AttributeError, FileNotFoundError, AssertionError))
