"""Forms of the API that several requests share."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from segpipe.nucleus_server.jobs import Job


def begun(one: Job) -> dict[str, Any]:
    """A job, as the client makes an object of it."""
    return {
        "job_id": one.id,
        "job_last_known_status": one.status,
        "job_type": one.kind,
        "job_creation_time": one.created,
    }


def is_async(request: Request) -> bool:
    """Whether a job is asked for."""
    return request.query_params.get("async") == "1"
