"""The API's requests about predictions and annotations: a coroutine for each."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from segpipe.nucleus_server.answers import begun, is_async
from segpipe.nucleus_server.endpoint import Endpoint
from segpipe.nucleus_server.multipart import is_multipart, upload_of
from segpipe.nucleus_server.registry import GROUND_TRUTH
from segpipe.nucleus_server.requests import RequestRefused, Upload, json_object
from segpipe.nucleus_server.uploads import ANNOTATIONS, DELETION, PREDICTIONS, summary


async def upload_predictions(endpoint: Endpoint, request: Request) -> Any:
    return await _upload(endpoint, request, endpoint.model(request), PREDICTIONS)


async def annotate(endpoint: Endpoint, request: Request) -> Any:
    return await _upload(endpoint, request, GROUND_TRUTH, ANNOTATIONS)


async def _upload(endpoint: Endpoint, request: Request, owner: str, kind: str) -> Any:
    dataset = endpoint.dataset(request)
    if is_async(request):
        asked = {**json_object(await request.body()), "model": owner}
        return begun(endpoint.uploads.begin(dataset, kind, asked))
    with endpoint.segmentations.arrival(dataset, owner) as arrival:
        upload = await upload_of(request)
        counts = await run_in_threadpool(
            endpoint.uploads.put_annotations, dataset, owner, upload, arrival=arrival
        )
    return summary(dataset, owner, counts)


async def model_predictions(endpoint: Endpoint, request: Request) -> Any:
    """Predictions that name no dataset: of its only one, and no segmentations."""
    owner = endpoint.model(request)
    if is_multipart(request):
        raise RequestRefused(
            400,
            "masks are not taken by model.upload_predictions, which names no dataset: use "
            "dataset.upload_predictions(model, predictions)",
        )
    payload, known = json_object(await request.body()), endpoint.registry.datasets()
    if payload.get("segmentations") or len(known) != 1:
        raise RequestRefused(400, "unsupported prediction type")
    dataset = known[0][0]
    counts = await run_in_threadpool(
        endpoint.uploads.put_annotations, dataset, owner, Upload(payload, [])
    )
    told = summary(dataset, owner, counts)
    return {"model_id": owner, **{k: v for k, v in told.items() if not k.endswith("_id")}}


async def item_predictions(endpoint: Endpoint, request: Request) -> Any:
    dataset, owner = endpoint.dataset(request), endpoint.model(request)
    reference_id = str(request.path_params["reference_id"])
    return {"annotations": await endpoint.annotations(dataset, owner, reference_id)}


async def nth_item_predictions(endpoint: Endpoint, request: Request) -> Any:
    dataset, owner = endpoint.dataset(request), endpoint.model(request)
    item = endpoint.nth_item(request)
    return {"annotations": await endpoint.annotations(dataset, owner, item["reference_id"])}


async def predictions_of_item(endpoint: Endpoint, request: Request) -> Any:
    """What is predicted for an item, by the id that the endpoint gave it."""
    dataset, owner = endpoint.dataset(request), endpoint.model(request)
    wanted = str(request.path_params["item"])
    item = endpoint.registry.item_with_id(dataset, wanted)
    if item is None:
        raise RequestRefused(404, f"there is no item {wanted!r} in {dataset!r}")
    return {"annotations": await endpoint.annotations(dataset, owner, item["reference_id"])}


async def one_prediction(endpoint: Endpoint, request: Request) -> Any:
    return await _one(endpoint, request, endpoint.model(request), "prediction")


async def _one(endpoint: Endpoint, request: Request, owner: str, what: str) -> Any:
    dataset = endpoint.dataset(request)
    both = str(request.path_params["both"])
    reference_id, slash, wanted = both.rpartition("/")
    while slash:  # either id may have some: the client quotes neither
        found = await endpoint.annotations(dataset, owner, reference_id)
        for kind in found.values():
            for one in kind:
                if one.get("annotation_id") == wanted:
                    return one
        reference_id, slash, _ = reference_id.rpartition("/")
        wanted = both[len(reference_id) + 1 :]
    raise RequestRefused(404, f"there is no {what} {both!r}: a reference id and an annotation id")


async def export(endpoint: Endpoint, request: Request) -> Any:
    dataset, owner = endpoint.dataset(request), endpoint.model(request)
    return await endpoint.annotations(dataset, owner)


async def findings(endpoint: Endpoint, request: Request) -> Any:
    """What segpipe found in what was accepted; the service has no such route."""
    dataset, owner = endpoint.dataset(request), endpoint.model(request)
    await run_in_threadpool(endpoint.reconciliation.catch_up)
    return await run_in_threadpool(endpoint.registry.findings, dataset, owner)


async def one_annotation(endpoint: Endpoint, request: Request) -> Any:
    return await _one(endpoint, request, GROUND_TRUTH, "annotation")


async def delete_annotations(endpoint: Endpoint, request: Request) -> Any:
    asked = json_object(await request.body() or b"{}")
    return begun(endpoint.uploads.begin(endpoint.dataset(request), DELETION, asked))
