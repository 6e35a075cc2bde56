"""The files behind pictures: masks and images of rows, read as the tables name them."""

from __future__ import annotations

import io
import struct
import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.errors import SegpipeError
from segpipe.masks.decoding import DecodedMask, decode_mask
from segpipe.masks.orientation import ORIENTATION_TAG
from segpipe.masks.refusal import MaskRefused
from segpipe.root import Root
from segpipe.viewer.refusal import RequestRefused

#: Signatures of the image files that are given to browsers as they are.
_SHOWN = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
_MOST_PIXELS = 2**31
_MOST_IMAGE_PIXELS = 400_000_000
_KNOWN_MASKS = 8


class Pictures:
    """Masks and images of a root."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._sources = root.settings.sources()
        self._masks: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def mask(self, sha256: str) -> bytes:
        """A stored mask's file: an 8-bit grey PNG without gamma or profile.

        Raises:
            RequestRefused: if it is not there any more.
            StorageError: if it cannot be read.
        """
        with self._lock:
            if sha256 in self._masks:
                return self._masks[sha256]
        try:
            data = self._root.masks.read(sha256)
        except SegpipeError as error:
            raise RequestRefused(f"the mask cannot be read: {error}", 404) from None
        with self._lock:
            self._masks[sha256] = data
            while len(self._masks) > _KNOWN_MASKS:
                self._masks.popitem(last=False)
        return data

    def decoded(self, sha256: str) -> DecodedMask:
        """A stored mask, decoded.

        Raises:
            RequestRefused: if it is lost or damaged.
        """
        try:
            return decode_mask(self.mask(sha256), max_pixels=_MOST_PIXELS)
        except MaskRefused as refusal:
            raise RequestRefused(f"the stored mask is damaged: {refusal.message}", 404) from None

    def image_bytes(self, url: str | None, manifest: str | None) -> bytes:
        """An item's image file, from where masks and images may be read.

        Args:
            url, manifest: as tables have them.

        Raises:
            RequestRefused: why there is none.
        """
        if not url:
            raise RequestRefused("the manifest names no image (image_url)", 404)
        manifests = self._root.settings.folder("manifests").url
        folder = f"{manifests}/{(manifest or '').rpartition('/')[0]}"
        try:
            return self._sources.read(self._sources.resolve(url, folder))
        except MaskRefused as refusal:
            raise RequestRefused(refusal.message, 404) from None
        except SegpipeError as error:
            raise RequestRefused(str(error), 404) from None

    def image_size(self, url: str | None, manifest: str | None) -> tuple[int, int] | str:
        """Width and height of an item's image as it is stored; words where there is none."""
        try:
            return _opened(self.image_bytes(url, manifest)).size
        except RequestRefused as refused:
            return refused.words

    def small_image(
        self, url: str | None, manifest: str | None, longest: int
    ) -> Image.Image | None:
        """An item's image, decoded no larger than it is shown; None where there is none.

        Args:
            longest: side that is shown, in pixels.
        """
        try:
            image = _opened(self.image_bytes(url, manifest), draft=longest)
            image.thumbnail((longest, longest), Image.Resampling.BILINEAR, reducing_gap=2.0)
            return image.convert("RGB")
        except (RequestRefused, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None

    def shown_image(self, url: str | None, manifest: str | None) -> tuple[bytes, str]:
        """An item's image for a browser, and its type: as stored where browsers show that.

        Masks lie on images as they are stored; browsers turn an image as its EXIF data ask for,
        and are kept from that.

        Raises:
            RequestRefused: why there is none.
        """
        data = self.image_bytes(url, manifest)
        kind = browser_type(data)
        if kind is not None:
            straight = data if _is_straight(data) else without_orientation(data)
            if straight is not None:
                return straight, kind
        out = io.BytesIO()
        try:
            _opened(data).convert("RGB").save(out, format="PNG", compress_level=1)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise RequestRefused("the image cannot be decoded", 404) from None
        return out.getvalue(), "image/png"


def browser_type(data: bytes) -> str | None:
    """The media type of an image that browsers show, by its first bytes; None for others."""
    for start, kind in _SHOWN:
        if data.startswith(start):
            return kind
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _is_straight(data: bytes) -> bool:
    """Whether nothing in an image asks for it to be turned; whatever cannot be told does not."""
    try:
        return bool(Image.open(io.BytesIO(data)).getexif().get(ORIENTATION_TAG, 1) == 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return True


def without_orientation(data: bytes) -> bytes | None:
    """A JPEG file whose EXIF data ask for no turning, its pixels untouched; None for others."""
    start = data.find(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[start + 6 : start + 10])
    if not data.startswith(b"\xff\xd8") or start < 0 or order is None:
        return None
    tag = struct.pack(f"{order}HHI", ORIENTATION_TAG, 3, 1)  # of one short number
    place = data.find(tag, start)
    if place < 0:
        return None
    value = place + len(tag)
    changed = data[:value] + struct.pack(f"{order}H", 1) + data[value + 2 :]
    return changed if _is_straight(changed) else None


def _opened(data: bytes, draft: int | None = None) -> Image.Image:
    """An image as it is stored, as masks lie on it.

    Raises:
        RequestRefused: if it is none, or too large.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(data))
        if image.width * image.height > _MOST_IMAGE_PIXELS:
            raise RequestRefused(f"the image has {image.width} x {image.height} pixels", 404)
        if draft is not None:
            image.draft("RGB", (draft, draft))
        return image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise RequestRefused("the image cannot be decoded", 404) from None


def sampled(mask: DecodedMask, width: int, height: int) -> NDArray[np.uint8]:
    """The mask in a smaller size, by its nearest pixels; of runs, without making the others.

    Returns:
        height x width uint8.
    """
    header = mask.header
    rows = (np.arange(height) * 2 + 1) * header.height // (2 * height)
    columns = (np.arange(width) * 2 + 1) * header.width // (2 * width)
    runs = mask.runs
    if runs is None:
        return mask.pixels[np.ix_(rows, columns)]
    wanted = rows[:, None] * header.width + columns
    return runs.values[np.searchsorted(runs.starts, wanted.ravel(), "right") - 1].reshape(
        height, width
    )


def grey_png(pixels: NDArray[np.uint8]) -> bytes:
    """An 8-bit grey PNG and nothing else in it."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG", compress_level=1)
    return out.getvalue()
