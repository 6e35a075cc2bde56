"""Multipart bodies: masks with what they belong to, and images of items."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from segpipe.masks.image_size import ImageSize, SizeUnknown, read_image_size
from segpipe.nucleus_server.requests import (
    RequestRefused,
    Upload,
    entries,
    json_list,
    json_object,
    no_room,
)

_MOST_FILES = 1000
_TEXT_PART = 64 * 1024 * 1024
_UPRIGHT = 1  # EXIF


def is_multipart(request: Request) -> bool:
    """Whether files came with the request."""
    return request.headers.get("content-type", "").startswith("multipart/form-data")


async def upload_of(request: Request) -> Upload:
    """Read JSON, or multipart with JSON and masks.

    Raises:
        RequestRefused: 400 where it cannot be understood, 507 where the disk has no room for it.
    """
    if not is_multipart(request):
        return Upload(json_object(await request.body()), [])
    async with _form(request) as form:
        payload = json_object(_text_part(form, "serialized_request"))
        files = _files(form, "mask")
        _check_names(payload, files)
        return Upload(payload, [await file.read() for file in files])


async def items_of(request: Request) -> list[dict[str, Any]]:
    """Items that came with their images, of which the size is kept: height and width in pixels.

    Raises:
        RequestRefused: 400 where they cannot be understood, 507 where the disk has no room for
            them.
    """
    async with _form(request) as form:
        items = entries({"items": json_list(_text_part(form, "items"))}, "items")
        images = _files(form, "image")
        if len(images) != len(items):
            words = f"{len(items)} items came with {len(images)} images; each needs one"
            raise RequestRefused(400, words)
        for item, image in zip(items, images, strict=True):
            size = await run_in_threadpool(_size, image)
            if size is not None and not item.get("height") and not item.get("width"):
                item["height"], item["width"] = size.height, size.width
        return items


def _size(image: UploadFile) -> ImageSize | None:
    """The size masks of an image have; None where that is not certain."""
    try:
        size = read_image_size(image.file)
    except SizeUnknown:
        return None
    return size if size.orientation == _UPRIGHT else None


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    try:
        form = await request.form(max_files=_MOST_FILES, max_fields=10, max_part_size=_TEXT_PART)
    except (MultiPartException, HTTPException) as error:
        words = error.detail if isinstance(error, HTTPException) else error.message
        raise RequestRefused(400, f"the multipart body cannot be read: {words}") from None
    except OSError as error:  # files beyond 1 MiB are on disk while the body is taken apart
        raise no_room(tempfile.gettempdir(), error) from None
    try:
        yield form
    finally:
        await form.close()


def _text_part(form: FormData, name: str) -> bytes:
    told = form.get(name)
    if not isinstance(told, str):
        raise RequestRefused(400, f"there is no part `{name}` with the JSON")
    return told.encode("utf-8", "surrogatepass")


def _files(form: FormData, name: str) -> list[UploadFile]:
    return [part for part in form.getlist(name) if isinstance(part, UploadFile)]


def _check_names(payload: Mapping[str, Any], files: list[UploadFile]) -> None:
    """Masks belong to segmentations by their order; their names must not say otherwise.

    Which of the two the service goes by is not known.
    """
    sent = entries(payload, "segmentations")
    if len(files) != len(sent):
        words = f"{len(sent)} segmentations came with {len(files)} masks; each needs one"
        raise RequestRefused(400, words)
    for segmentation, file in zip(sent, files, strict=True):
        named, meant = unquote(file.filename or ""), segmentation.get("mask_url")
        if named != meant:
            words = f"the mask {named!r} came in the place of {meant!r}: send them in one order"
            raise RequestRefused(400, words)
