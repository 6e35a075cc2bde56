"""The API's requests about datasets and their items: a coroutine for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from segpipe.nucleus_server.answers import begun, is_async
from segpipe.nucleus_server.endpoint import Endpoint
from segpipe.nucleus_server.multipart import is_multipart, items_of
from segpipe.nucleus_server.registry import GROUND_TRUTH, run_of
from segpipe.nucleus_server.requests import (
    RequestRefused,
    entries,
    flag,
    json_object,
    text,
    texts,
)
from segpipe.nucleus_server.uploads import ITEMS


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


async def dataset_name(endpoint: Endpoint, request: Request) -> Any:
    return {"name": endpoint.registry.dataset_name(endpoint.dataset(request))}


async def is_scene(endpoint: Endpoint, request: Request) -> Any:
    endpoint.dataset(request)
    return {"is_scene": False}


async def use_privacy_mode(endpoint: Endpoint, request: Request) -> Any:
    endpoint.dataset(request)
    return {"use_privacy_mode": False}


async def model_runs(endpoint: Endpoint, request: Request) -> Any:
    dataset = endpoint.dataset(request)
    await run_in_threadpool(endpoint.reconciliation.catch_up)
    return [run_of(dataset, one) for one in endpoint.registry.owners(dataset)]


async def slices(endpoint: Endpoint, request: Request) -> Any:
    endpoint.dataset(request)
    return []  # none can be made here


async def delete_dataset(endpoint: Endpoint, request: Request) -> Any:
    await run_in_threadpool(endpoint.delete_dataset, endpoint.dataset(request))
    return {"message": "Beginning dataset deletion..."}  # the client's tests want these words


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
    if is_multipart(request):
        items = await items_of(request)
        update = any(flag(one, "update") for one in items)  # the client says the same of each
        if is_async(request):
            return begun(endpoint.uploads.begin_items(dataset, items, update=update))
        payload: Mapping[str, Any] = {"items": items, "update": update}
    else:
        payload = json_object(await request.body())
        if is_async(request):
            return begun(endpoint.uploads.begin(dataset, ITEMS, payload))
        entries(payload, "items")
    counts = await run_in_threadpool(endpoint.uploads.put_items, dataset, payload)
    return {"dataset_id": dataset, **counts}


async def items(endpoint: Endpoint, request: Request) -> Any:
    found = await run_in_threadpool(endpoint.registry.items, endpoint.dataset(request))
    return {"dataset_items": [_item(one) for one in found]}


async def items_page(endpoint: Endpoint, request: Request) -> Any:
    """Some items, and the token of those after them: the number of items before."""
    dataset, asked = endpoint.dataset(request), json_object(await request.body())
    size, token = asked.get("pageSize"), asked.get("pageToken") or "0"
    if not isinstance(size, int) or size < 1 or not re.fullmatch(r"[0-9]{1,18}", str(token)):
        raise RequestRefused(400, "pageSize has to be a positive number, pageToken what was given")
    start = int(token)
    found = await run_in_threadpool(endpoint.registry.items, dataset, start, size)
    more = str(start + len(found)) if len(found) == size else None
    return {"items": [_item(one) for one in found], "nextPageToken": more}


async def add_metadata(endpoint: Endpoint, request: Request) -> Any:
    """Add keys to the metadata of items, or change them."""
    dataset, asked = endpoint.dataset(request), json_object(await request.body())
    if is_async(request) or asked.get("level") != "item":
        words = "metadata is updated here for items and at once: not for scenes, and not as a job"
        raise RequestRefused(400, words)
    changes = entries(asked, "metadata")
    for number, one in enumerate(changes):
        if not isinstance(one.get("metadata"), dict):
            raise RequestRefused(400, f"metadata[{number}].metadata has to be an object")
    unknown = await run_in_threadpool(endpoint.registry.add_metadata, dataset, changes)
    errors = [f"Item with id {one} doesn't exist." for one in unknown]
    return {"dataset_id": dataset, "updated_items": len(changes) - len(unknown), "errors": errors}


async def item(endpoint: Endpoint, request: Request) -> Any:
    dataset, reference_id = endpoint.dataset(request), str(request.path_params["reference_id"])
    return await _annotated(endpoint, dataset, endpoint.registry.item(dataset, reference_id))


async def item_with_id(endpoint: Endpoint, request: Request) -> Any:
    dataset, id = endpoint.dataset(request), str(request.path_params["item"])
    return await _annotated(endpoint, dataset, endpoint.registry.item_with_id(dataset, id))


async def nth_item(endpoint: Endpoint, request: Request) -> Any:
    dataset = endpoint.dataset(request)
    return await _annotated(endpoint, dataset, endpoint.nth_item(request))


async def _annotated(endpoint: Endpoint, dataset: str, found: Mapping[str, Any] | None) -> Any:
    if found is None:
        raise RequestRefused(404, f"there is no such item in {dataset!r}")
    annotated = await endpoint.annotations(dataset, GROUND_TRUTH, found["reference_id"])
    return {"item": _item(found), "annotations": annotated}


def _item(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "ref_id": found["reference_id"],
        "reference_id": found["reference_id"],
        "original_image_url": found.get("image_url"),
        "metadata": found.get("metadata") or {},
        "dataset_item_id": found["dataset_item_id"],
    }


# --- lists that are kept as they are


async def tags(endpoint: Endpoint, request: Request) -> Any:
    return {"tags": endpoint.registry.tags(endpoint.dataset(request))}


async def change_tags(endpoint: Endpoint, request: Request) -> Any:
    return {"tags": await changed_tags(endpoint, request, endpoint.dataset(request))}


async def add_taxonomy(endpoint: Endpoint, request: Request) -> Any:
    """Keep a taxonomy's name and labels, which categories that name it have to be of."""
    dataset, asked = endpoint.dataset(request), json_object(await request.body())
    name, labels = text(asked, "taxonomy_name"), texts(asked, "labels")
    done = endpoint.taxonomies.put(dataset, name, labels, update=flag(asked, "update"))
    return {"dataset_id": dataset, "taxonomy_name": name, "status": done}


async def delete_taxonomy(endpoint: Endpoint, request: Request) -> Any:
    dataset, name = endpoint.dataset(request), str(request.path_params["taxonomy"])
    if endpoint.taxonomies.labels(dataset, name) is None:
        raise RequestRefused(404, f"there is no taxonomy {name!r} in {dataset!r}")
    endpoint.taxonomies.delete(dataset, name)
    done = "Taxonomy successfully deleted"
    return {"dataset_id": dataset, "taxonomy_name": name, "status": done}


async def changed_tags(endpoint: Endpoint, request: Request, id: str) -> list[str]:
    """Add a request's tags to those of a dataset or model, or remove them; those that remain."""
    asked = texts(json_object(await request.body()), "tags")
    return endpoint.registry.change_tags(id, asked, remove=request.method == "DELETE")
