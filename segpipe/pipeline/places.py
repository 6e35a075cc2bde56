"""Where files are, on an asset's page: a link where people can reach them, else a path."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import dagster as dg

from segpipe.settings import Settings


def place(settings: Settings, url: str) -> dg.MetadataValue[Any]:
    """A file or folder, by its URL or local path.

    It is a link where the settings say under which address the root's files are reached.
    """
    root = settings.root.rstrip("/") + "/"
    if settings.links and url.startswith(root):
        return dg.MetadataValue.url(f"{settings.links.rstrip('/')}/{quote(url[len(root) :])}")
    return dg.MetadataValue.path(url)
