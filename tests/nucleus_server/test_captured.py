"""The requests a real client sent, captured, sent again to the endpoint.

What is expected is what the stub they were captured with answered. They are the same requests, not
the same bytes: the capture holds bodies as parsed JSON, which is written anew, and of masks the
digest alone, so that a mask that fits stands for them. The endpoint makes ids of its own: they are
put into the paths and bodies in the place of the stub's.
"""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from tests.fixtures.nucleus_endpoint import KEY, RunningEndpoint
from tests.fixtures.places import TEST_DATA

_CAPTURED = TEST_DATA / "nucleus" / "requests.jsonl"
_IDS = re.compile(r"\b(?:ds|prj|job|run|di|ann)_[0-9a-f]{20}\b|https?://127\.0\.0\.1:\d+/_blob/\w+")
#: Not part of the API served here.
_ELSEWHERE = ("calculateEvaluationMetrics",)


def captured() -> list[dict[str, Any]]:
    return [json.loads(line) for line in _CAPTURED.read_text().splitlines()]


class Replay:
    """Sends captured requests, and turns the ids of answers into the captured ones."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ours: dict[str, str] = {}

    def own(self, text: str) -> str:
        """Text of the capture with the endpoint's ids."""
        return _IDS.sub(lambda found: self.ours.get(found[0], found[0]), text)

    def send(self, request: dict[str, Any]) -> requests.Response:
        path, body = self.own(request["path"]), request["body"]
        blob = self.ours.get(f"http://127.0.0.1:8000{request['path']}")
        url = blob or f"{self.url}{path}"
        kind = request["content_type"]
        options: dict[str, Any] = {}
        if isinstance(body, list):
            content, kind = self._multipart(kind, body)
            options["data"] = content
        elif isinstance(body, str):
            options["data"] = self.own(body).encode()
        elif body is not None:
            # A body of one line was captured as an object.
            options["data"] = self.own(json.dumps(body)).encode()
        headers = {} if kind is None else {"Content-Type": kind}
        auth = None if blob else (KEY, "")
        return requests.request(
            request["method"], url, headers=headers, auth=auth, timeout=30, **options
        )

    def _multipart(self, kind: str, parts: list[dict[str, Any]]) -> tuple[bytes, str]:
        boundary = kind.partition("boundary=")[2]
        body = b""
        for part in parts:
            content = part["body"].encode() if part["filename"] is None else _png()
            head = "\r\n".join(part["headers"]).encode()
            body += b"--" + boundary.encode() + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n"
        return body + b"--" + boundary.encode() + b"--\r\n", kind

    def learned(self, answer: Any, expected: Any) -> Any:
        """The answer with the captured ids; ids that are new are taken for those expected."""
        if isinstance(answer, dict) and isinstance(expected, dict):
            return {key: self.learned(one, expected.get(key)) for key, one in answer.items()}
        if isinstance(answer, list) and isinstance(expected, list):
            padded = [*expected, *[None] * len(answer)]
            return [self.learned(one, two) for one, two in zip(answer, padded, strict=False)]
        if isinstance(answer, str) and isinstance(expected, str) and _IDS.fullmatch(answer):
            if _IDS.fullmatch(expected) and expected not in self.ours:
                self.ours[expected] = answer
            return expected if self.ours.get(expected) == answer else answer
        return answer


def _png() -> bytes:
    buffer = io.BytesIO()
    mask = np.zeros((48, 64), np.uint8)
    mask[10:, :], mask[20:, 5:] = 1, 2
    Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[RunningEndpoint]:
    with RunningEndpoint(tmp_path / "root") as running:
        yield running


def _timeless(answer: Any) -> Any:
    """Without times, without how far a job is (the stub's were done at once), and with a job's
    counts as the stub told them: the client's own tests want them in another form."""
    if isinstance(answer, dict):
        if "segmentation_upload" in answer:
            counts = answer["segmentation_upload"]
            return {"processed": counts["processed"], "ignored": counts["ignored"]}
        if "ingest_to_reupload_queue" in answer:
            known = {name: answer.get(name, 0) for name in ("updated_items", "ignored_items")}
            total = answer["ingest_to_reupload_queue"]["total"]
            return {"new_items": total - sum(known.values()), **known}
        left_out = ("job_creation_time", "job_last_known_status", "completed_steps", "total_steps",
                    "warnings")  # fmt: skip
        return {key: _timeless(one) for key, one in answer.items() if key not in left_out}
    if isinstance(answer, list):
        return [_timeless(one) for one in answer]
    return answer


@pytest.mark.slow
def test_what_a_real_client_sent_is_answered_as_it_was(endpoint: RunningEndpoint) -> None:
    replay, compared = Replay(endpoint.url), 0
    for number, exchange in enumerate(captured()):
        request, expected = exchange["request"], exchange["stub_response"]
        answer = replay.send(request)
        if any(route in request["path"] for route in _ELSEWHERE):
            assert answer.status_code == 404
            assert "is not a part of the API" in answer.json()["error"]
            continue
        if "NaN" in str(request["body"]):
            # The client writes what is no JSON; the stub, written in Python, took it.
            assert answer.status_code == 400
            assert "NaN is no number of JSON" in answer.json()["error"]
            continue
        found = answer.json()
        if "job/" in request["path"] and "errors" not in request["path"]:
            while found["status"] in ("Queued", "Running"):
                time.sleep(0.02)
                found = replay.send(request).json()
        assert answer.status_code == expected["status"], (number, request["path"], found)
        if answer.status_code == 200:
            same = _timeless(replay.learned(found, expected["body"]))
            assert same == _timeless(expected["body"]), (number, request["path"])
        else:
            assert found.keys() == {"error"}
        if isinstance(found, dict) and "job_id" in found and "status" not in found:
            _wait(endpoint, found["job_id"])
        compared += 1
    assert compared >= 58


def _wait(endpoint: RunningEndpoint, job: str) -> None:
    deadline = time.monotonic() + 30
    url = f"{endpoint.url}/job/{job}"
    while requests.get(url, auth=(KEY, ""), timeout=10).json()["status"] != "Completed":
        assert time.monotonic() < deadline
        time.sleep(0.02)
