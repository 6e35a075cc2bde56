"""Rows of the segment table: each Segment with its measures in the mask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.masks.measures import Measures
from segpipe.predictions.class_pdf import ClassPdf, uncertainties
from segpipe.predictions.declared_metadata import Declared, typed_value
from segpipe.tables.schemas import SEGMENTS, segments_schema
from segpipe.tables.writing import table_of

_DESCRIBED = ("reference_id", "label", "index", "metadata", "confidence")
# More than the number of values of a mask; and a value that no mask has.
_KEYS, _NO_VALUE = 512, 511


class DescribedSegment(Protocol):
    """A Segment with its metadata, canonical, and as JSON."""

    @property
    def label(self) -> str | None: ...
    @property
    def index(self) -> int | None: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    @property
    def metadata_text(self) -> str: ...
    @property
    def confidence(self) -> float | None: ...
    @property
    def class_pdf(self) -> ClassPdf | None: ...


class SegmentRows:
    """Collects rows prediction by prediction, and looks up all their measures at once.

    Args:
        declared: keys of the metadata that are columns.
    """

    def __init__(self, declared: Declared) -> None:
        self._declared = declared
        self._values: dict[str, list[Any]] = {key: [] for key in declared}
        self._described: dict[str, list[Any]] = {name: [] for name in _DESCRIBED}
        self._pdfs: list[ClassPdf | None] = []
        self._owners: list[int] = []
        self._measures: list[Measures] = []

    def add(
        self, reference_id: str | None, segments: Iterable[DescribedSegment], measures: Measures
    ) -> None:
        """Add the Segments of a prediction; those without pixels get no box and no centroid."""
        segments = list(segments)
        columns = self._described
        columns["reference_id"] += [reference_id] * len(segments)
        columns["label"] += [segment.label for segment in segments]
        columns["index"] += [segment.index for segment in segments]
        columns["metadata"] += [segment.metadata_text for segment in segments]
        columns["confidence"] += [segment.confidence for segment in segments]
        self._pdfs += [segment.class_pdf for segment in segments]
        for key, kind in self._declared.items():
            self._values[key] += [typed_value(one.metadata.get(key), kind) for one in segments]
        self._owners += [len(self._measures)] * len(segments)
        self._measures.append(measures)

    def table(self, dataset: str | None, model_run: str | None) -> pa.Table:
        """The rows in :func:`segments_schema`, in the order they were added."""
        identity = {
            "dataset": [dataset] * len(self._owners),
            "model_run": [model_run] * len(self._owners),
        }
        return table_of(
            {
                **self._described,
                **identity,
                **self._measured(),
                **_pdf_columns(self._pdfs),
                **self._values,
            },
            segments_schema(self._declared),
        )

    def _measured(self) -> dict[str, pa.Array]:
        """The measured columns: each row's index is looked up in its prediction's measures.

        The values of a prediction are ascending and below 256. With the prediction's number as the
        leading part of the key, all keys together are ascending, for a single binary search.
        """
        owners = np.array(self._owners, np.int64)
        indexes = np.array(
            [_NO_VALUE if index is None or not 0 <= index <= 255 else index
             for index in self._described["index"]], np.int64,
        )  # fmt: skip
        sizes = np.array([len(one.values) for one in self._measures], np.int64)
        numbers = np.repeat(np.arange(len(sizes)), sizes)
        present = _KEYS * numbers + _joined([one.values for one in self._measures])
        wanted = _KEYS * owners + indexes
        places = np.minimum(np.searchsorted(present, wanted), max(len(present) - 1, 0))
        found = present[places] == wanted if len(present) else np.zeros(len(wanted), bool)
        pixels = np.array([one.pixels for one in self._measures], np.int64)

        def column(name: str) -> NDArray[Any]:
            values = _joined([getattr(one, name) for one in self._measures])
            return values[places] if len(present) else np.zeros(len(wanted), values.dtype)

        area = np.where(found, column("area"), 0)
        left, top = column("left"), column("top")
        placed = {
            "bbox_x": left,
            "bbox_y": top,
            "bbox_w": column("right") - left + 1,
            "bbox_h": column("bottom") - top + 1,
            "centroid_x": column("centroid_x"),
            "centroid_y": column("centroid_y"),
        }
        return {
            "area_px": pa.array(area),
            "area_fraction": pa.array(area / pixels[owners]),
            **{
                name: pa.array(values, SEGMENTS.field(name).type, mask=~found)
                for name, values in placed.items()
            },
        }


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)


def _pdf_columns(pdfs: Sequence[ClassPdf | None]) -> dict[str, pa.Array]:
    """The columns of N Segments' class PDFs; null for a Segment without one."""
    kind = SEGMENTS.field("class_pdf").type
    there = [pdf for pdf in pdfs if pdf is not None]
    if not there:
        numbers = pa.nulls(len(pdfs), pa.float64())
        return {"class_pdf": pa.nulls(len(pdfs), kind), "entropy": numbers, "margin": numbers}
    # Segments mostly have the same tuple of classes: their names become Arrow's text once.
    distinct = {id(pdf.classes): pdf.classes for pdf in there}
    places, first = {}, 0
    for number, classes in distinct.items():
        places[number], first = first, first + len(classes)
    names = pa.array(list(chain.from_iterable(distinct.values())), pa.string())
    has = np.array([pdf is not None for pdf in pdfs])
    sizes = np.array([0 if pdf is None else len(pdf.classes) for pdf in pdfs], np.int64)
    ends = np.cumsum(sizes)
    starts = np.array([0 if pdf is None else places[id(pdf.classes)] for pdf in pdfs], np.int64)
    keys = names.take(pa.array(np.repeat(starts - (ends - sizes), sizes) + np.arange(sizes.sum())))
    items = np.concatenate([pdf.numbers for pdf in there], dtype=np.float64)
    offsets = pa.array(
        np.concatenate(([0], ends)).astype(np.int32),
        mask=np.append(~has, False),
    )
    entropies, margins = np.full(len(pdfs), np.nan), np.full(len(pdfs), np.nan)
    entropies[has], margins[has] = uncertainties(items, sizes[has])
    return {
        "class_pdf": pa.MapArray.from_arrays(offsets, keys, pa.array(items), type=kind),
        "entropy": pa.array(entropies, from_pandas=True),
        "margin": pa.array(margins, from_pandas=True),
    }
