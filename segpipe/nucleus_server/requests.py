"""Requests as they come in: read within limits, refused with words."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Segmentations, items or other annotations in one request.
MOST_ENTRIES = 50_000
_ANSWER_DEPTH = 100  # levels of JSON
_logger = logging.getLogger("segpipe.nucleus_server")


class RequestRefused(Exception):
    """A request that cannot be answered as its sender wishes.

    Attributes:
        status: of HTTP.
        words: what was found, and what to do.
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


def deleted_meanwhile() -> RequestRefused:
    """The refusal of what is for a dataset or model that was there when the request began."""
    return RequestRefused(404, "the dataset or the model was deleted meanwhile")


def no_room(folder: str | Path, error: OSError) -> RequestRefused:
    """The refusal of a body that a disk does not take."""
    _logger.error("a body cannot be kept in %s: %s", folder, error)
    words = "the endpoint has no room for the body on its disk; its log says why. Send it again"
    return RequestRefused(507, words)


@dataclass(frozen=True)
class Upload:
    """The body of an upload of annotations or predictions.

    Attributes:
        payload: the JSON.
        masks: PNG bytes, one for each of its segmentations, in their order; empty without any.
    """

    payload: Mapping[str, Any]
    masks: list[bytes]


def json_list(body: bytes) -> list[Any]:
    """A JSON list.

    Raises:
        RequestRefused: 400 for anything else.
    """
    value = _json(body)
    if not isinstance(value, list):
        raise RequestRefused(400, f"expected a JSON list, found {_kind(value)}")
    return value


def json_object(body: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        RequestRefused: 400 for anything else; NaN and Infinity are no JSON.
    """
    value = _json(body)
    if not isinstance(value, dict):
        raise RequestRefused(400, f"expected a JSON object, found {_kind(value)}")
    return value


def json_lines(body: bytes) -> list[dict[str, Any]]:
    """Newline-delimited JSON: an object a line.

    Raises:
        RequestRefused: 400, naming the line.
    """
    found = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if line.strip():
            try:
                found.append(json_object(line))
            except RequestRefused as refused:
                raise RequestRefused(400, f"line {number}: {refused.words}") from None
    return found


def entries(payload: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A payload's list of objects, each of an item; empty where it is not there.

    Raises:
        RequestRefused: 400, naming the entry.
    """
    found = payload.get(name) or []
    if not isinstance(found, list) or len(found) > MOST_ENTRIES:
        raise RequestRefused(400, f"{name} has to be a list of at most {MOST_ENTRIES:,} objects")
    for number, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise RequestRefused(400, f"{name}[{number}] is {_kind(entry)}, expected an object")
        reference_id = entry.get("reference_id")
        if not isinstance(reference_id, str) or not reference_id:
            words = f"{name}[{number}].reference_id is {_kind(reference_id)}, expected text"
            raise RequestRefused(400, words)
        annotation_id = entry.get("annotation_id")
        if annotation_id is not None and not isinstance(annotation_id, str):
            words = f"{name}[{number}].annotation_id is {_kind(annotation_id)}, expected text"
            raise RequestRefused(400, words)
    return found


def text(payload: Mapping[str, Any], name: str) -> str:
    """Text of a payload that has to be there.

    Raises:
        RequestRefused: 400 where it is not.
    """
    value = payload.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RequestRefused(400, f"{name} is {_kind(value)}, expected text")
    return value


def texts(payload: Mapping[str, Any], name: str) -> list[str]:
    """A payload's list of texts.

    Raises:
        RequestRefused: 400 for anything else.
    """
    value = payload.get(name)
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise RequestRefused(400, f"{name} has to be a list of texts")
    return value


def flag(payload: Mapping[str, Any], name: str) -> bool:
    """True or false of a payload; false where it is not there.

    Raises:
        RequestRefused: 400 for anything else.
    """
    value = payload.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestRefused(400, f"{name} is {_kind(value)}, expected true or false")
    return bool(value)


def _json(body: bytes) -> Any:
    def no_number(name: str) -> None:
        raise ValueError(f"{name} is no number of JSON")

    try:
        value = json.loads(body.decode("utf-8"), parse_constant=no_number)
        _check_writable(value)
    except RecursionError:
        raise RequestRefused(400, "the body is nested beyond reason") from None
    except ValueError as error:
        raise RequestRefused(400, f"the body is not JSON: {error}") from None
    return value


def _check_writable(value: Any) -> None:
    """What cannot be written again would be taken now, and never be read back.

    Raises:
        ValueError: for numbers beyond a double, and for halves of characters.
        RecursionError: where there would be no room for the answer it is read back in.
    """
    for _ in range(_ANSWER_DEPTH):
        value = [value]
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise ValueError(f"{half} is a half of a character") from None
    except RecursionError:
        raise
    except ValueError:
        raise ValueError("a number is larger than a double can be") from None


def _kind(value: Any) -> str:
    if value is None:
        return "not there"
    return {str: "text", bool: "true or false", list: "a list", dict: "an object"}.get(
        type(value), "a number"
    )
