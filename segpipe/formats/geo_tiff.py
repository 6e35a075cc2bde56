"""Masks in TIFFs, with where they lie on the ground: one band of whole numbers, tiled or not.

Pillow reads them, also GeoTIFFs and their overviews, without a further package. The georeference is
kept in columns of the manifest, and so of all tables: ``geo_transform`` as GDAL has it, from
columns and rows to coordinates, and ``geo_crs``. Nothing is resampled or turned. (OGC 19-008r4.)
"""

from __future__ import annotations

import io
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from segpipe.formats import tiff
from segpipe.formats.files import Naming, SourceFiles
from segpipe.formats.folder_source import ItemFile, PngFolder
from segpipe.formats.identifiers import Over256
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported
from segpipe.formats.labels import Labels

_SCALE, _TIEPOINTS, _MATRIX, _KEYS, _NODATA = 33550, 33922, 34264, 34735, 42113
_RASTER_TYPE, _GEOGRAPHIC, _PROJECTED = 1025, 2048, 3072
_PIXEL_IS_POINT, _USER_DEFINED = 2, 32767

#: The columns of what a file says of its place.
GEO_COLUMNS = {"geo_transform": pa.string(), "geo_crs": pa.string(), "geo_nodata": pa.string()}


@dataclass(frozen=True)
class TiffFolder(PngFolder):
    """TIFFs in a folder and its subfolders, each one mask."""

    labels: Labels
    over: Over256

    @classmethod
    def open(
        cls,
        source: Path,
        labels: Labels,
        naming: Naming,
        over: Over256,
        *,
        allowed: Sequence[str | PathLike[str]] = (),
    ) -> TiffFolder:
        """Find the TIFFs.

        Raises:
            SettingsError: if there are none.
        """
        files = SourceFiles.find(source, tiff.EXTENSIONS, allowed=allowed)
        return cls(files, naming, labels, over)

    @property
    def carried(self) -> Mapping[str, pa.DataType]:
        """The place on the ground; ``sequence`` and ``frame`` where files lie in subfolders."""
        return {**super().carried, **GEO_COLUMNS}

    def _decoded(self, file: ItemFile, data: bytes) -> Imported:
        ids = Ids.of(tiff.tiff_values(data))
        placed = replace(file, carried={**file.carried, **georeference(data)})
        return self.labels.prediction(ids, placed, self.over)


def georeference(data: bytes) -> dict[str, str]:
    """What a TIFF that can be read says of its place; empty for one that says nothing.

    Returns:
        Of ``GEO_COLUMNS``: six numbers as JSON, ``EPSG:...``, and the value of no data.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tags: Any = Image.open(io.BytesIO(data), formats=["TIFF"]).tag_v2  # type: ignore[attr-defined]
    keys = _keys([int(one) for one in _numbers(tags, _KEYS)])
    found = {}
    transform = _transform(tags)
    if transform is not None:
        if keys.get(_RASTER_TYPE) == _PIXEL_IS_POINT:  # of a pixel's centre, where GDAL has corners
            x, dx, rx, y, ry, dy = transform
            transform = (x - (dx + rx) / 2, dx, rx, y - (ry + dy) / 2, ry, dy)
        found["geo_transform"] = json.dumps(list(transform))
    code = keys.get(_PROJECTED, keys.get(_GEOGRAPHIC))
    if code not in (None, 0, _USER_DEFINED):
        found["geo_crs"] = f"EPSG:{code}"
    nodata = tags.get(_NODATA)
    if isinstance(nodata, str) and nodata.strip("\0 "):
        found["geo_nodata"] = nodata.strip("\0 ")
    return found


def _transform(tags: Any) -> tuple[float, float, float, float, float, float] | None:
    """GDAL's geotransform: x, x per column, x per row, y, y per column, y per row."""
    matrix = _numbers(tags, _MATRIX)
    if len(matrix) == 16:
        return matrix[3], matrix[0], matrix[1], matrix[7], matrix[4], matrix[5]
    scale, tie = _numbers(tags, _SCALE), _numbers(tags, _TIEPOINTS)
    if len(scale) < 2 or len(tie) != 6:
        return None  # several points are no affine transform
    column, row, _, x, y, _ = tie
    return x - column * scale[0], scale[0], 0.0, y + row * scale[1], 0.0, -scale[1]


def _numbers(tags: Any, tag: int) -> list[float]:
    """The numbers of a tag; none where it holds anything else."""
    value = tags.get(tag, ())
    try:
        found = [float(one) for one in value] if isinstance(value, tuple) else []
    except (TypeError, ValueError, ZeroDivisionError):
        return []
    return found if all(map(math.isfinite, found)) else []


def _keys(directory: Sequence[int]) -> dict[int, int]:
    """GeoKeys whose value is in the directory itself."""
    entries = [directory[k : k + 4] for k in range(4, len(directory) - 3, 4)]
    return {key: value for key, place, _, value in entries if place == 0}
