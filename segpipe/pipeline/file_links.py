"""Metadata that points to a file: a web link if the settings name an address, else a path."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import dagster as dg

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
