"""Thumbnails: a mask's colours over its image, made when asked for, kept below a bound."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segpipe.pictures.blending import MARK, blend, drawn_size
from segpipe.pictures.overlay import LegendEntry, looks_of, ring
from segpipe.pictures.palette import Colour
from segpipe.viewer.kept_files import KeptFiles
from segpipe.viewer.pictures import Pictures, sampled

#: The longest sides that are served, in pixels.
SIZES = (160, 320, 640)
# Part of the names of kept thumbnails: another number where they come out otherwise.
_FORMAT = 3
_WITHOUT = (96, 96, 96)


@dataclass(frozen=True)
class ReadAgain:
    """What was read of a rejected row.

    Attributes:
        mask: H x W uint8; None where the file holds another picture.
        picture: what the file holds where that is no mask.
        marked: H x W bool, the pixels that violate its rules; None where they cannot be shown.
        drawn: index and label of its Segments.
    """

    mask: NDArray[np.uint8] | None
    picture: Image.Image | None
    marked: NDArray[np.bool_] | None
    image_url: str | None
    drawn: Sequence[tuple[int, str]]


@dataclass(frozen=True)
class Shown:
    """What a thumbnail shows.

    Attributes:
        mask: SHA-256 of the stored mask; None where there is none.
        image_url, manifest: as tables have them.
        drawn: index and label of the mask's Segments.
        read_again: reads a rejected row's files, of which nothing is stored.
        state: what tells the row from a later one in the same place, where nothing is stored.
        lasting: whether the row's key will always show this.
    """

    mask: str | None
    image_url: str | None
    manifest: str | None
    drawn: Sequence[tuple[int, str]]
    read_again: Callable[[], ReadAgain] | None = field(default=None, compare=False)
    state: Sequence[str] = ()
    lasting: bool = field(default=True, compare=False)

    def name(self, size: int, colours: Mapping[str, Colour]) -> str:
        """A digest of all that the thumbnail is made of."""
        table = [[index, label, colours.get(label)] for index, label in self.drawn]
        given = [_FORMAT, size, self.mask, self.image_url, self.manifest, table, self.state]
        return hashlib.sha256(orjson.dumps(given)).hexdigest()


class Thumbnails:
    """The thumbnails of a root."""

    def __init__(self, pictures: Pictures, kept: KeptFiles) -> None:
        self._pictures, self._kept = pictures, kept

    def kept(self, name: str) -> bytes | None:
        """One that was made before."""
        return self._kept.get(name)

    def made(self, shown: Shown, size: int, colours: Mapping[str, Colour], name: str) -> bytes:
        """A thumbnail as a WebP file.

        Raises:
            RequestRefused: if the mask cannot be read.
        """
        if shown.read_again is not None:
            picture = self._of_rejected(shown.read_again(), shown.manifest, size, colours)
        else:
            image = self._pictures.small_image(shown.image_url, shown.manifest, size)
            if shown.mask is None:
                picture = image or Image.new("RGB", (size, size * 3 // 4), _WITHOUT)
            else:
                picture = self._overlay(shown.mask, shown.drawn, size, colours, image)
        out = io.BytesIO()
        picture.save(out, format="WEBP", quality=82, method=2)
        data = out.getvalue()
        self._kept.put(name, data)
        return data

    def _of_rejected(
        self, read: ReadAgain, manifest: str | None, size: int, colours: Mapping[str, Colour]
    ) -> Image.Image:
        """The mask of a rejected row with its offending pixels in red."""
        if read.mask is None:
            picture = read.picture or Image.new("RGB", (size, size), _WITHOUT)
            small = picture.convert("RGB")
            small.thumbnail((size, size))
            return small
        image = self._pictures.small_image(read.image_url, manifest, size)
        legend = [LegendEntry(index, label) for index, label in read.drawn]
        looks = looks_of(legend, colours)
        drawn = blend(read.mask, looks, image, size, marked=read.marked)
        small = Image.fromarray(drawn.pixels.astype("uint8"))
        for place in drawn.specks:
            ring(ImageDraw.Draw(small), place, drawn, MARK)
        return small

    def _overlay(
        self,
        sha256: str,
        drawn: Sequence[tuple[int, str]],
        size: int,
        colours: Mapping[str, Colour],
        image: Image.Image | None,
    ) -> Image.Image:
        mask = self._pictures.decoded(sha256)
        width, height = drawn_size(mask.header.width, mask.header.height, size)
        smaller = width < mask.header.width
        pixels = sampled(mask, width, height) if smaller else mask.pixels
        legend = [LegendEntry(index, label) for index, label in drawn]
        blended = blend(pixels, looks_of(legend, colours), image, size)
        return Image.fromarray(blended.pixels.astype("uint8"))
