"""The Nucleus SDK, kept in bounds: what is asked of it, what may go wrong, what is tried again.

Every oddity of the client that is worked around here is described in docs/nucleus.md. Whatever it
raises is turned into words without the API key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import requests

from segpipe.errors import DestinationError, SettingsError
from segpipe.publishing.nucleus.client import client_of, not_understood, sdk, uploaded
from segpipe.publishing.nucleus.failures import Discretion, Patience, ServiceFailed
from segpipe.publishing.nucleus.settings import KEY_VARIABLE, NucleusSettings

_Answer = TypeVar("_Answer")
_LOCAL_PER_REQUEST, _REMOTE_PER_REQUEST = 10, 20


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
        self._sdk = sdk()
        key = os.environ.get(KEY_VARIABLE)
        if not key:
            raise SettingsError(f"publishing to Nucleus needs its API key: set {KEY_VARIABLE}")
        self._discretion = Discretion(key)
        self._client = client_of(self._sdk, key, settings.endpoint, settings.timeout)

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

        def found(answer: Any) -> list[str]:
            return [str(one["id"]) for one in answer["models"] if one.get("ref_id") == reference_id]

        return min(self._read("the models", "models/", found), default=None)

    def create_model(self, reference_id: str, name: str) -> str:
        """Make a model, or find the one that was made by a request whose answer was lost.

        Raises:
            DestinationError: if it cannot be made.
        """

        def created(_: None) -> str:
            try:
                return str(self._client.create_model(name, reference_id).id)
            except self._sdk.errors.ModelCreationError as error:
                words = f"the answer cannot be understood, it has no id: {error}"
                raise ServiceFailed(self._discretion(words), passing=True) from None

        def made() -> str:
            return self.find_model(reference_id) or _understood(created, None)

        return self._repeated("making a model", made)

    def export(self, model: str) -> dict[str, dict[str, Any]]:
        """Everything a model predicted: reference id -> segmentation as it is read back.

        Raises:
            DestinationError: if nobody answers.
        """
        route = f"dataset/{self._dataset}/model/{model}/export"

        def found(answer: Any) -> dict[str, dict[str, Any]]:
            return _by_item(answer.get("segmentation") or ())

        return self._read("the predictions", route, found)

    def item(self, model: str, reference_id: str) -> dict[str, Any] | None:
        """The segmentation of one item; None where there is none.

        Raises:
            DestinationError: if nobody answers.
        """
        # The client's own call does not quote the id, and finds nothing for `a/b#1`.
        quoted = quote(reference_id, safe="")
        route = f"dataset/{self._dataset}/model/{model}/referenceId/{quoted}"

        def found(answer: Any) -> dict[str, Any] | None:
            there = _by_item((answer.get("annotations") or {}).get("segmentation") or ())
            return next(iter(there.values()), None)

        def asked() -> dict[str, Any] | None:
            try:
                return _understood(found, self._get(route))
            except ServiceFailed as failed:
                if failed.status != 404:
                    raise
                return None  # whether an item the dataset does not have is a 404 is not known

        return self._repeated(f"item {reference_id!r}", asked)

    @property
    def _dataset(self) -> str:
        return self._settings.dataset_id

    def _read(self, what: str, route: str, found: Callable[[Any], _Answer]) -> _Answer:
        """Read something, and what is looked for in the answer."""
        return self._repeated(what, lambda: _understood(found, self._get(route)))

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

        def summed(answer: Any) -> Sent:
            errors = [self._discretion.entirely(str(one)) for one in answer.get("errors") or ()]
            processed, ignored = answer["predictions_processed"], answer["predictions_ignored"]
            return Sent(int(processed), int(ignored), errors)

        return self._plainly(lambda: _understood(summed, uploaded(call, self._discretion)))

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
        except ServiceFailed:
            raise
        except Exception as error:
            # Nobody answered: a connection that was cut or refused, a timeout, no JSON.
            words = self._discretion(str(error) or type(error).__name__)
            raise ServiceFailed(words, passing=not _is_mistake(error)) from None


def _understood(found: Callable[[Any], _Answer], answer: Any) -> _Answer:
    """What is looked for in an answer, which may be of any form.

    Raises:
        ServiceFailed: if it is not of the form the API has.
    """
    try:
        return found(answer)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise not_understood() from None


def _by_item(segmentations: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Reference id -> segmentation as it was read back.

    Raises:
        LookupError, TypeError, AttributeError: if one is not of the form the API has.
    """
    found = {}
    for one in segmentations:
        segments = [dict(segment) for segment in one.get("annotations") or ()]
        found[str(one["reference_id"])] = {**one, "annotations": segments}
    return found


def _is_mistake(error: Exception) -> bool:
    """Whether what is raised without an answer would be raised again: our call is wrong."""
    return isinstance(error, (TypeError, AttributeError, FileNotFoundError, AssertionError))
