"""The part of the API that is served: a coroutine for each of its requests."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from segpipe.nucleus_server.endpoint import Endpoint
from segpipe.nucleus_server.jobs import Job
from segpipe.nucleus_server.registry import GROUND_TRUTH
from segpipe.nucleus_server.requests import (
    RequestRefused,
    Upload,
    entries,
    json_object,
    text,
    upload_of,
)
from segpipe.nucleus_server.uploads import ANNOTATIONS, DELETION, ITEMS, PREDICTIONS, run_of

Handler = Callable[[Endpoint, Request], Awaitable[Any]]


# --- datasets and items


async def create_dataset(endpoint: Endpoint, request: Request) -> Any:
    body = json_object(await request.body())
    text(body, "name")
    if body.get("is_scene"):
        raise RequestRefused(
            400, "datasets of scenes are not served here: is_scene has to be false"
        )
    return {"dataset_id": endpoint.registry.create_dataset(body)}


async def datasets(endpoint: Endpoint, request: Request) -> Any:
    known = endpoint.registry.datasets()
    return [{"id": one, "name": name, "is_public": False} for one, name in known]


async def dataset_info(endpoint: Endpoint, request: Request) -> Any:
    dataset = endpoint.dataset(request)
    await run_in_threadpool(endpoint.reconciliation.catch_up)
    return {
        "dataset_id": dataset,
        "name": endpoint.registry.dataset_name(dataset),
        "length": endpoint.registry.count_items(dataset),
        "model_run_ids": [run_of(dataset, one) for one in endpoint.registry.owners(dataset)],
        "slice_ids": [],
    }


async def dataset_size(endpoint: Endpoint, request: Request) -> Any:
    return {"count": endpoint.registry.count_items(endpoint.dataset(request))}


async def is_scene(endpoint: Endpoint, request: Request) -> Any:
    endpoint.dataset(request)
    return {"is_scene": False}


async def delete_dataset(endpoint: Endpoint, request: Request) -> Any:
    dataset = endpoint.dataset(request)

    def removed() -> None:
        endpoint.reconciliation.catch_up()
        for owner in [GROUND_TRUTH, *endpoint.registry.owners(dataset)]:
            endpoint.segmentations.remove(dataset, owner, None)
        endpoint.registry.delete_dataset(dataset)

    await run_in_threadpool(removed)
    return {"message": "deleted", "dataset_id": dataset}


async def signed_url(endpoint: Endpoint, request: Request) -> Any:
    dataset, asked = endpoint.dataset(request), str(request.path_params["request_id"])
    token = endpoint.jobs.sign_upload(dataset, asked)
    return {"signed_url": str(request.url_for("put_upload", token=token))}


async def put_upload(endpoint: Endpoint, request: Request) -> Any:
    token = str(request.path_params["token"])
    # Asked before the body is read: who does not know a token gets nothing kept, however large.
    known = await run_in_threadpool(endpoint.jobs.expects_upload, token)
    if not known or not await run_in_threadpool(
        endpoint.jobs.put_upload, token, await request.body()
    ):
        raise RequestRefused(404, "there is no upload under this URL: ask for a signed URL first")
    return {}


async def append(endpoint: Endpoint, request: Request) -> Any:
    dataset = endpoint.dataset(request)
    if _is_async(request):
        return _begun(endpoint.uploads.begin(dataset, ITEMS, json_object(await request.body())))
    payload = json_object(await request.body())
    entries(payload, "items")
    counts = await run_in_threadpool(endpoint.uploads.put_items, dataset, payload)
    return {"dataset_id": dataset, **counts}


# --- models


async def add_model(endpoint: Endpoint, request: Request) -> Any:
    body = json_object(await request.body())
    text(body, "name")
    text(body, "reference_id")
    return {"model_id": endpoint.registry.put_model(body)}


async def models(endpoint: Endpoint, request: Request) -> Any:
    return {"models": endpoint.registry.models()}


async def model(endpoint: Endpoint, request: Request) -> Any:
    return endpoint.registry.model(endpoint.model(request))


async def delete_model(endpoint: Endpoint, request: Request) -> Any:
    owner = endpoint.model(request)

    def removed() -> None:
        for dataset, _ in endpoint.registry.datasets():
            endpoint.segmentations.remove(dataset, owner, None)
        endpoint.registry.delete_model(owner)

    await run_in_threadpool(removed)
    return {"message": "deleted", "model_id": owner}


# --- predictions and annotations


async def upload_predictions(endpoint: Endpoint, request: Request) -> Any:
    return await _upload(endpoint, request, endpoint.model(request), PREDICTIONS)


async def annotate(endpoint: Endpoint, request: Request) -> Any:
    return await _upload(endpoint, request, GROUND_TRUTH, ANNOTATIONS)


async def _upload(endpoint: Endpoint, request: Request, owner: str, kind: str) -> Any:
    dataset = endpoint.dataset(request)
    if _is_async(request):
        asked = {**json_object(await request.body()), "model": owner}
        return _begun(endpoint.uploads.begin(dataset, kind, asked))
    upload = await upload_of(request)
    return await run_in_threadpool(endpoint.uploads.put_annotations, dataset, owner, upload)


async def model_predictions(endpoint: Endpoint, request: Request) -> Any:
    """Predictions that name no dataset: of its only one, and no segmentations."""
    owner, payload = endpoint.model(request), json_object(await request.body())
    known = endpoint.registry.datasets()
    if payload.get("segmentations") or len(known) != 1:
        raise RequestRefused(400, "unsupported prediction type")
    dataset = known[0][0]
    told = await run_in_threadpool(
        endpoint.uploads.put_annotations, dataset, owner, Upload(payload, [])
    )
    counts = {name: told[name] for name in ("predictions_processed", "predictions_ignored")}
    return {"model_id": owner, **counts, **({"errors": told["errors"]} if "errors" in told else {})}


async def item_predictions(endpoint: Endpoint, request: Request) -> Any:
    dataset, owner = endpoint.dataset(request), endpoint.model(request)
    reference_id = str(request.path_params["reference_id"])
    return {"annotations": await endpoint.annotations(dataset, owner, reference_id)}


async def nth_item_predictions(endpoint: Endpoint, request: Request) -> Any:
    dataset, owner = endpoint.dataset(request), endpoint.model(request)
    place = str(request.path_params["place"])
    if not re.fullmatch(r"[0-9]{1,18}", place):
        raise RequestRefused(404, f"{place[:40]!r} is not the number of an item, from 0")
    item = endpoint.registry.item_at(dataset, int(place))
    if item is None:
        raise RequestRefused(404, f"the dataset has no item {place}")
    return {"annotations": await endpoint.annotations(dataset, owner, item["reference_id"])}


async def one_prediction(endpoint: Endpoint, request: Request) -> Any:
    dataset, owner = endpoint.dataset(request), endpoint.model(request)
    reference_id, _, wanted = str(request.path_params["both"]).rpartition("/")
    found = await endpoint.annotations(dataset, owner, reference_id)
    for kind in found.values():
        for one in kind:
            if one.get("annotation_id") == wanted:
                return one
    raise RequestRefused(404, f"there is no prediction {wanted!r} for {reference_id!r}")


async def export(endpoint: Endpoint, request: Request) -> Any:
    dataset, owner = endpoint.dataset(request), endpoint.model(request)
    return await endpoint.annotations(dataset, owner)


async def findings(endpoint: Endpoint, request: Request) -> Any:
    """What segpipe found in what was accepted; the service has no such route."""
    dataset, owner = endpoint.dataset(request), endpoint.model(request)
    await run_in_threadpool(endpoint.reconciliation.catch_up)
    return await run_in_threadpool(endpoint.registry.findings, dataset, owner)


async def item(endpoint: Endpoint, request: Request) -> Any:
    dataset, reference_id = endpoint.dataset(request), str(request.path_params["reference_id"])
    found = endpoint.registry.item(dataset, reference_id)
    if found is None:
        raise RequestRefused(404, f"there is no item {reference_id!r} in {dataset!r}")
    told = {
        "ref_id": reference_id,
        "reference_id": reference_id,
        "original_image_url": found.get("image_url"),
        "metadata": found.get("metadata") or {},
        "dataset_item_id": found["dataset_item_id"],
    }
    annotated = await endpoint.annotations(dataset, GROUND_TRUTH, reference_id)
    return {"item": told, "annotations": annotated}


async def delete_annotations(endpoint: Endpoint, request: Request) -> Any:
    asked = json_object(await request.body() or b"{}")
    return _begun(endpoint.uploads.begin(endpoint.dataset(request), DELETION, asked))


# --- jobs


async def jobs(endpoint: Endpoint, request: Request) -> Any:
    return [_begun(job) for job in endpoint.jobs.all()]


async def job(endpoint: Endpoint, request: Request) -> Any:
    found = _job(endpoint, request)
    done = found.status == "Completed"
    return {
        "job_id": found.id,
        "status": found.status,
        "message": found.message,
        "job_progress": "1.00" if done else "0.00",
        "completed_steps": "1" if done else "0",
        "total_steps": "1",
    }


async def job_errors(endpoint: Endpoint, request: Request) -> Any:
    return list(_job(endpoint, request).errors)


def _job(endpoint: Endpoint, request: Request) -> Job:
    wanted = str(request.path_params["job"])
    found = endpoint.jobs.get(wanted)
    if found is None:
        raise RequestRefused(404, f"there is no job {wanted!r}")
    return found


def _begun(one: Job) -> dict[str, Any]:
    return {
        "job_id": one.id,
        "job_last_known_status": one.status,
        "job_type": one.kind,
        "job_creation_time": one.created,
    }


def _is_async(request: Request) -> bool:
    return request.query_params.get("async") == "1"


# --- all of them

_OF_MODEL = "/dataset/{dataset}/model/{model}"
ROUTES: list[tuple[str, str, Handler]] = [
    ("POST", "/dataset/create", create_dataset),
    ("GET", "/dataset/details", datasets),
    ("GET", "/dataset/{dataset}/info", dataset_info),
    ("GET", "/dataset/{dataset}/size", dataset_size),
    ("GET", "/dataset/{dataset}/is_scene", is_scene),
    ("GET", "/dataset/{dataset}/signedUrl/{request_id}", signed_url),
    ("PUT", "/_blob/{token}", put_upload),
    ("POST", "/dataset/{dataset}/append", append),
    ("POST", "/dataset/{dataset}/annotate", annotate),
    ("GET", "/dataset/{dataset}/refloc/{reference_id:path}", item),
    ("DELETE", "/dataset/{dataset}", delete_dataset),
    ("DELETE", "/annotation/{dataset}", delete_annotations),
    ("POST", "/models/add", add_model),
    ("GET", "/models/", models),
    ("GET", "/model/{model}", model),
    ("POST", "/model/{model}/predictions", model_predictions),
    ("DELETE", "/model/{model}", delete_model),
    ("POST", f"{_OF_MODEL}/uploadPredictions", upload_predictions),
    ("GET", f"{_OF_MODEL}/referenceId/{{reference_id:path}}", item_predictions),
    ("GET", f"{_OF_MODEL}/iloc/{{place}}", nth_item_predictions),
    ("GET", f"{_OF_MODEL}/loc/{{both:path}}", one_prediction),
    ("GET", f"{_OF_MODEL}/export", export),
    ("GET", f"{_OF_MODEL}/findings", findings),
    ("POST", "/jobs/", jobs),
    ("GET", "/job/{job}", job),
    ("GET", "/job/{job}/errors", job_errors),
]
