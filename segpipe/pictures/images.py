"""Reading the images of dataset items for pictures; a picture can do without."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from segpipe.errors import SegpipeError
from segpipe.masks.refusal import MaskRefused
from segpipe.settings import Settings
from segpipe.storage.sources import AllowedRoots


def image_of(url: str | None, manifest: str, settings: Settings) -> Image.Image | None:
    """An item's image, upright; None where there is none or it cannot be read.

    Args:
        url: as in the manifest; absolute, or relative to the manifest file.
        manifest: path of the manifest file below the root's ``manifests`` folder.
        settings: of the root.
    """
    folder = f"{settings.folder('manifests').url}/{manifest.rpartition('/')[0]}"
    return read_image(url, folder, settings.sources())


def read_image(url: str | None, folder: str, sources: AllowedRoots) -> Image.Image | None:
    """An image, upright; None where there is none or it cannot be read.

    Args:
        url: absolute, or relative to ``folder``.
        sources: where it may be read from.
    """
    if not url:
        return None
    try:
        image = Image.open(io.BytesIO(sources.read(sources.resolve(url, folder))))
        return ImageOps.exif_transpose(image)  # as validation takes its size
    except (MaskRefused, SegpipeError, OSError, ValueError, SyntaxError):
        return None
    except Image.DecompressionBombError:
        return None
