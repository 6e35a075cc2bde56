"""The part of the API that is served: a coroutine for each of its requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from segpipe.nucleus_server import annotation_routes as labelling
from segpipe.nucleus_server import dataset_routes as datasets
from segpipe.nucleus_server.answers import begun
from segpipe.nucleus_server.endpoint import Endpoint
from segpipe.nucleus_server.jobs import Job, JobFilter
from segpipe.nucleus_server.registry import run_of
from segpipe.nucleus_server.requests import (
    MOST_ENTRIES,
    RequestRefused,
    flag,
    json_object,
    text,
    texts,
)

Handler = Callable[[Endpoint, Request], Awaitable[Any]]


# --- models


async def add_model(endpoint: Endpoint, request: Request) -> Any:
    body = json_object(await request.body())
    text(body, "name")
    text(body, "reference_id")
    return {"model_id": endpoint.registry.put_model(body)}


async def models(endpoint: Endpoint, request: Request) -> Any:
    return {"models": endpoint.registry.models()}


async def model(endpoint: Endpoint, request: Request) -> Any:
    """A model, by its id or by that of one of its runs."""
    run = endpoint.registry.run(str(request.path_params["model"]))
    return endpoint.registry.model(run[1] if run else endpoint.model(request))


async def delete_model(endpoint: Endpoint, request: Request) -> Any:
    await run_in_threadpool(endpoint.delete_model, endpoint.model(request))
    return {"msg": "Model deletion running in an async job"}  # the client's tests want these words


async def change_model_tags(endpoint: Endpoint, request: Request) -> Any:
    return {"tags": await datasets.changed_tags(endpoint, request, endpoint.model(request))}


# --- model runs: a model has one in a dataset, and it is not made but named


async def model_run(endpoint: Endpoint, request: Request) -> Any:
    """The run of the model that a request names by its reference id."""
    dataset, asked = endpoint.dataset(request), json_object(await request.body())
    reference_id = text(asked, "reference_id")
    found = endpoint.registry.model_called(reference_id)
    if found is None:
        raise RequestRefused(404, f"there is no model with the reference id {reference_id!r}")
    return {"model_run_id": run_of(dataset, found)}


async def model_runs(endpoint: Endpoint, request: Request) -> Any:
    owner, registry = endpoint.model(request), endpoint.registry

    def found() -> list[str]:
        endpoint.reconciliation.catch_up()
        datasets = [one for one, _ in registry.datasets() if owner in registry.owners(one)]
        return [run_of(one, owner) for one in datasets]

    return await run_in_threadpool(found)


async def model_run_info(endpoint: Endpoint, request: Request) -> Any:
    found = endpoint.registry.model(endpoint.model(request)) or {}
    told = {name: found.get(name) for name in ("name", "metadata")}
    return {"model_id": found.get("id"), **told, "status": "Completed"}


async def delete_model_run(endpoint: Endpoint, request: Request) -> Any:
    dataset, owner = endpoint.dataset(request), endpoint.model(request)
    await run_in_threadpool(endpoint.segmentations.remove, dataset, owner, None)
    return {}


# --- jobs


async def jobs(endpoint: Endpoint, request: Request) -> Any:
    asked = json_object(await request.body() or b"{}")
    dataset, most = asked.get("dataset_id"), asked.get("limit")
    if most is not None and (type(most) is not int or most < 0):
        raise RequestRefused(400, "limit has to be a number of jobs")
    wanted = JobFilter(
        None if dataset is None else text(asked, "dataset_id"),
        texts(asked, "job_types") if asked.get("job_types") else (),
        flag(asked, "show_completed"),
        _time(asked, "from_date", time.min),
        _time(asked, "to_date", time.max),
        MOST_ENTRIES if most is None else most,
    )
    return [begun(job) for job in endpoint.jobs.listed(wanted)]


def _time(asked: Mapping[str, Any], name: str, of_day: time) -> datetime | None:
    """A time, or this one of a day, in UTC if it says no other; None where it is not there."""
    if asked.get(name) is None:
        return None
    told_as = text(asked, name)
    with suppress(ValueError):  # more than a day
        return datetime.combine(date.fromisoformat(told_as), of_day, UTC)
    try:
        told = datetime.fromisoformat(told_as)
    except ValueError:
        words = f"{name} has to be a day or a time as in 2026-01-31 or 2026-01-31T12:00:00"
        raise RequestRefused(400, words) from None
    return told if told.tzinfo else told.replace(tzinfo=UTC)


async def job(endpoint: Endpoint, request: Request) -> Any:
    found = _job(endpoint, request)
    done, steps = found.status == "Completed", _steps(found.message)
    return {
        "job_id": found.id,
        "status": found.status,
        "message": found.message,
        "job_progress": "1.00" if done else "0.00",
        "completed_steps": steps if done else 0,
        "total_steps": steps,
    }


def _steps(message: Mapping[str, Any]) -> int:
    """A step for each item or annotation, as the client's tests count them."""
    counted = ("ingest_to_reupload_queue", "annotation_upload", "prediction_upload")
    steps = [int(message.get(name, {}).get("total", 0)) for name in counted]
    masks = message.get("segmentation_upload", {})
    return max(1, sum(steps) + sum(map(int, masks.values())))


async def job_info(endpoint: Endpoint, request: Request) -> Any:
    return begun(_job(endpoint, request))


async def job_errors(endpoint: Endpoint, request: Request) -> Any:
    return list(_job(endpoint, request).errors)


def _job(endpoint: Endpoint, request: Request) -> Job:
    wanted = str(request.path_params["job"])
    found = endpoint.jobs.get(wanted)
    if found is None:
        raise RequestRefused(404, f"there is no job {wanted!r}")
    return found


# --- all of them

_OF_MODEL = "/dataset/{dataset}/model/{model}"
ROUTES: list[tuple[str, str, Handler]] = [
    ("POST", "/dataset/create", datasets.create_dataset),
    ("GET", "/dataset/details", datasets.datasets),
    ("GET", "/dataset/{dataset}/info", datasets.dataset_info),
    ("GET", "/dataset/{dataset}/size", datasets.dataset_size),
    ("GET", "/dataset/{dataset}/name", datasets.dataset_name),
    ("GET", "/dataset/{dataset}/is_scene", datasets.is_scene),
    ("GET", "/dataset/{dataset}/use_privacy_mode", datasets.use_privacy_mode),
    ("GET", "/dataset/{dataset}/model_runs", datasets.model_runs),
    ("GET", "/dataset/{dataset}/slices", datasets.slices),
    ("GET", "/dataset/{dataset}/datasetItems", datasets.items),
    ("POST", "/dataset/{dataset}/itemsPage", datasets.items_page),
    ("GET", "/dataset/{dataset}/tags", datasets.tags),
    ("POST", "/dataset/{dataset}/tags", datasets.change_tags),
    ("DELETE", "/dataset/{dataset}/tags", datasets.change_tags),
    ("POST", "/dataset/{dataset}/add_taxonomy", datasets.add_taxonomy),
    ("DELETE", "/dataset/{dataset}/taxonomy/{taxonomy:path}", datasets.delete_taxonomy),
    ("POST", "/dataset/{dataset}/metadata", datasets.add_metadata),
    ("GET", "/dataset/{dataset}/signedUrl/{request_id}", datasets.signed_url),
    ("PUT", "/_blob/{token}", datasets.put_upload),
    ("POST", "/dataset/{dataset}/append", datasets.append),
    ("POST", "/dataset/{dataset}/annotate", labelling.annotate),
    ("GET", "/dataset/{dataset}/refloc/{reference_id:path}", datasets.item),
    ("GET", "/dataset/{dataset}/iloc/{place}", datasets.nth_item),
    ("GET", "/dataset/{dataset}/loc/{item}", datasets.item_with_id),
    ("GET", "/dataset/{dataset}/groundTruth/loc/{both:path}", labelling.one_annotation),
    ("DELETE", "/dataset/{dataset}", datasets.delete_dataset),
    ("DELETE", "/annotation/{dataset}", labelling.delete_annotations),
    ("POST", "/models/add", add_model),
    ("GET", "/models/", models),
    ("GET", "/model/{model}", model),
    ("POST", "/model/{model}/tag", change_model_tags),
    ("DELETE", "/model/{model}/tag", change_model_tags),
    ("POST", "/model/{model}/predictions", labelling.model_predictions),
    ("DELETE", "/model/{model}", delete_model),
    ("POST", f"{_OF_MODEL}/uploadPredictions", labelling.upload_predictions),
    ("GET", f"{_OF_MODEL}/referenceId/{{reference_id:path}}", labelling.item_predictions),
    ("GET", f"{_OF_MODEL}/iloc/{{place}}", labelling.nth_item_predictions),
    ("GET", f"{_OF_MODEL}/loc/{{both:path}}", labelling.one_prediction),
    ("GET", f"{_OF_MODEL}/export", labelling.export),
    ("GET", f"{_OF_MODEL}/findings", labelling.findings),
    ("GET", "/model/{model}/modelRun", model_runs),
    ("POST", "/dataset/{dataset}/modelRun/create", model_run),
    ("POST", "/dataset/{dataset}/modelRun/{run}/uploadPredictions", labelling.upload_predictions),
    ("POST", "/modelRun/{run}/predict", labelling.upload_predictions),
    ("GET", "/modelRun/{run}/info", model_run_info),
    ("GET", "/modelRun/{run}/refloc/{reference_id:path}", labelling.item_predictions),
    ("GET", "/modelRun/{run}/iloc/{place}", labelling.nth_item_predictions),
    ("GET", "/modelRun/{run}/loc/{item}", labelling.predictions_of_item),
    ("GET", "/modelRun/{run}/prediction/loc/{both:path}", labelling.one_prediction),
    ("GET", "/modelRun/{run}/ungrouped", labelling.export),
    ("DELETE", "/modelRun/{run}", delete_model_run),
    ("POST", "/jobs/", jobs),
    ("GET", "/job/{job}", job),
    ("GET", "/job/{job}/info", job_info),
    ("GET", "/job/{job}/errors", job_errors),
]
