"""Metadata that points to a file, as a web link or a path, and to the page of the root."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import dagster as dg

from segpipe.manifests.partition import Partition
from segpipe.settings import Settings


def file_link(settings: Settings, url: str) -> dg.MetadataValue[Any]:
    """Dagster metadata that points to a file or folder.

    Args:
        url: fsspec URL or local path. Below the root it becomes a link if ``settings.links`` is
            the address under which people reach the root's files.
    """
    root = settings.root.rstrip("/") + "/"
    if settings.links and url.startswith(root):
        return dg.MetadataValue.url(f"{settings.links.rstrip('/')}/{quote(url[len(root) :])}")
    return dg.MetadataValue.path(url)


def browse_link(
    settings: Settings, partition: Partition, page: str = ""
) -> dict[str, dg.MetadataValue[Any]]:
    """Dagster metadata that leads to a partition in the page that ``segpipe browse`` serves.

    Args:
        page: ``rejects``, or the gallery.

    Returns:
        Nothing where ``settings.browse_url`` names no address.
    """
    if not settings.browse_url:
        return {}
    query = urlencode({"run": partition.model_run, "from": partition.date, "to": partition.date})
    return {"browse": dg.MetadataValue.url(f"{settings.browse_url.rstrip('/')}/{page}?{query}")}
