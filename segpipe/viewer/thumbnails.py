"""Thumbnails: a mask's colours over its image, made when asked for, kept below a bound."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from PIL import Image

from segpipe.pictures.label_colours import is_plain
from segpipe.pictures.overlay import LegendEntry, blend, colour_table
from segpipe.pictures.palette import Colour
from segpipe.viewer.kept_files import KeptFiles
from segpipe.viewer.pictures import Pictures, sampled

#: The longest sides that are served, in pixels.
SIZES = (160, 320)
# Part of the names of kept thumbnails: another number where they come out otherwise.
_FORMAT = 1


@dataclass(frozen=True)
class Shown:
    """What a thumbnail shows.

    Attributes:
        mask: SHA-256 of the stored mask; None where there is none.
        image_url, manifest: as tables have them.
        drawn: index and label of the mask's Segments.
    """

    mask: str | None
    image_url: str | None
    manifest: str | None
    drawn: Sequence[tuple[int, str]]

    def name(self, size: int, colours: Mapping[str, Colour]) -> str:
        """A digest of all that the thumbnail is made of."""
        table = [[index, label, colours.get(label)] for index, label in self.drawn]
        given = [_FORMAT, size, self.mask, self.image_url, self.manifest, table]
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
            RequestRefused: if neither mask nor image can be read.
        """
        image = self._pictures.small_image(shown.image_url, shown.manifest, size)
        if shown.mask is None:
            picture = image or Image.new("RGB", (size, size * 3 // 4), (96, 96, 96))
        else:
            picture = self._overlay(shown, size, colours, image)
        out = io.BytesIO()
        picture.save(out, format="WEBP", quality=82, method=2)
        data = out.getvalue()
        self._kept.put(name, data)
        return data

    def _overlay(
        self, shown: Shown, size: int, colours: Mapping[str, Colour], image: Image.Image | None
    ) -> Image.Image:
        assert shown.mask is not None
        mask = self._pictures.decoded(shown.mask)
        scale = min(1.0, size / max(mask.header.width, mask.header.height))
        width = max(1, round(mask.header.width * scale))
        height = max(1, round(mask.header.height * scale))
        small = sampled(mask, width, height)
        legend = [LegendEntry(index, label) for index, label in shown.drawn]
        plain = [entry.index for entry in legend if is_plain(entry.label)]
        blended = blend(small, colour_table(legend, colours), plain, image, size)
        return Image.fromarray(blended.astype("uint8"))
