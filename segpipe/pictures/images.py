"""The images predictions are for, read for pictures; a picture without its image is still one."""

from __future__ import annotations

import io

from PIL import Image

from segpipe.errors import SegpipeError
from segpipe.masks.refusal import MaskRefused
from segpipe.settings import Settings


def image_of(url: str | None, manifest: str, settings: Settings) -> Image.Image | None:
    """An item's image; None where there is none or it cannot be read.

    Args:
        url: as the manifest gives it.
        manifest: the manifest file's name below the landing folder, which ``url`` may be relative
            to.
    """
    if not url:
        return None
    folder = f"{settings.folder('manifests').url}/{manifest.rpartition('/')[0]}"
    sources = settings.sources()
    try:
        image = Image.open(io.BytesIO(sources.read(sources.resolve(url, folder))))
        image.load()
    except (MaskRefused, SegpipeError, OSError, ValueError, SyntaxError):
        return None
    except Image.DecompressionBombError:
        return None
    return image
