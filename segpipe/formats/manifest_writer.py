"""Writing a model's predictions as a manifest and its masks, one prediction at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.errors import ManifestError, MetadataError
from segpipe.manifests.columns import FINDINGS_COLUMN
from segpipe.manifests.partition import Partition
from segpipe.manifests.rows import ImportFinding
from segpipe.manifests.writer import RowWriter
from segpipe.masks.encoding import canonical_png
from segpipe.predictions.metadata import canonical_form
from segpipe.predictions.prediction import Segment
from segpipe.settings import HasSettings, Settings
from segpipe.storage.mask_store import MaskStore

_MASKS = "masks"

#: A Segment, or ``{"label": ..., "index": ..., "metadata": {...}}``.
SegmentLike = Segment | Mapping[str, Any]


class ManifestWriter:
    """Writes a manifest row by row, and its masks beside it.

    ::

        with ManifestWriter("ROOT", model_run="unet-v1", date="2026-01-05") as writer:
            writer.add("frame-0001", mask, [Segment("Road", 0), Segment("Person", 1)])

    The manifest appears when the block ends without an error, and not at all otherwise. Masks are
    content-addressed, so writing the same predictions again changes nothing. Memory use does not
    grow with the number of rows.

    Args:
        root: the root, or its path or URL; the manifest goes where the root expects it.
        model_run: name of the model run.
        date: the day, ``YYYY-MM-DD``.
        name: of the manifest file, without ``.parquet``; several writers of one partition need
            different names.
        carried: name -> type of further columns, where known beforehand; otherwise the types are
            inferred from the first rows.
        importing: the rows come from an importer, which may refuse some. A manifest without
            rows is then no error.

    Raises:
        SettingsError: if the root's settings, the model run's name or the date cannot be used.
    """

    def __init__(
        self,
        root: str | PathLike[str] | HasSettings,
        model_run: str,
        date: str | date,
        *,
        name: str = "predictions",
        carried: Mapping[str, pa.DataType] | None = None,
        importing: bool = False,
    ) -> None:
        self.partition = Partition(model_run, str(date))
        manifests = Settings.of(root).folder("manifests")
        self.folder = manifests.folder(*self.partition.folders)
        self._masks = MaskStore(self.folder.folder(_MASKS), _MASKS)
        self._importing = importing
        self._file = RowWriter(self.folder, f"{name}.parquet", carried or {}, importing=importing)

    @property
    def rows(self) -> int:
        """Number of rows written so far."""
        return self._file.rows

    def __enter__(self) -> ManifestWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.__exit__(kind, error, trace)
        if kind is None and not self.rows and not self._importing:
            raise ManifestError(
                f"no prediction was added, so no manifest of {self.partition} was written: a "
                "partition without predictions has none"
            )

    def add(
        self,
        reference_id: str,
        mask: NDArray[Any] | bytes | PathLike[str],
        segments: Sequence[SegmentLike],
        *,
        annotation_id: str | None = None,
        image_url: str | None = None,
        height: int | None = None,
        width: int | None = None,
        findings: Sequence[ImportFinding] = (),
        **carried: Any,
    ) -> None:
        """Write one prediction.

        Args:
            reference_id: the dataset item.
            mask: H x W array of integers or bool, values 0 to 255; or a PNG, as bytes or a path,
                which is stored unchanged and checked when the manifest is validated.
            segments: one for each value in the mask.
            annotation_id: unique per item.
            image_url: of the item's image; absolute, or relative to the manifest file.
            height, width: of the item's image in pixels. Where neither they nor ``image_url`` are
                given, the array's are written.
            findings: an importer's warnings about the prediction.
            carried: values of further columns.

        Raises:
            ManifestError: naming the item, if the array is no index mask, the PNG cannot be read,
                a Segment is malformed, or a column changes type.
            StorageError: if the mask cannot be stored.
        """
        if isinstance(mask, np.ndarray):
            pixels = index_values(mask, reference_id)
            if image_url is None and height is None and width is None:
                height, width = pixels.shape
            data = canonical_png(pixels)
        else:
            data = mask if isinstance(mask, bytes) else _read(Path(mask), reference_id)
        self._file.write(
            {
                "reference_id": reference_id,
                "mask_url": self._masks.path_of(self._masks.put(data)),
                "segments": [_cell(segment, reference_id) for segment in segments],
                "annotation_id": annotation_id,
                "height": height,
                "width": width,
                "image_url": image_url,
                FINDINGS_COLUMN: list(map(_finding, findings)),
            },
            carried,
        )

    def refuse(self, reference_id: str, findings: Sequence[ImportFinding], **carried: Any) -> None:
        """Write a row without a mask; validation rejects it with these findings.

        Args:
            reference_id: the dataset item.
            carried: values of further columns.

        Raises:
            ManifestError: if a column changes type.
        """
        self._file.write(
            {"reference_id": reference_id, FINDINGS_COLUMN: list(map(_finding, findings))}, carried
        )


def index_values(mask: NDArray[Any], of: str) -> NDArray[np.uint8]:
    """An array as mask indexes, H x W uint8; nothing is scaled or rounded.

    Args:
        mask: H x W, integers or bool.
        of: the item, for messages.

    Raises:
        ManifestError: if it has another shape or dtype, or values outside 0 to 255.
    """
    if mask.ndim != 2 or 0 in mask.shape:
        hint = ": scores per class? apply argmax over the classes" if mask.ndim == 3 else ""
        raise ManifestError(f"the mask of {of!r} has shape {mask.shape}, expected H x W{hint}")
    if mask.dtype == np.bool_:
        return mask.astype(np.uint8)
    if not np.issubdtype(mask.dtype, np.integer):
        raise ManifestError(
            f"the mask of {of!r} holds {mask.dtype}, expected whole numbers: apply argmax or a "
            "threshold to scores first"
        )
    lowest, highest = int(mask.min()), int(mask.max())
    if lowest < 0 or highest > 255:
        worst = lowest if lowest < 0 else highest
        raise ManifestError(
            f"the mask of {of!r} holds the value {worst}, expected 0 to 255: give the "
            f"{np.unique(mask).size} values that occur indexes of their own"
        )
    return np.ascontiguousarray(mask, dtype=np.uint8)


def _read(path: Path, reference_id: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(f"the mask of {reference_id!r}, {path}: {error.strerror}") from None


def _cell(segment: SegmentLike, reference_id: str) -> dict[str, Any]:
    try:
        if isinstance(segment, Segment):
            label, index, metadata = segment.label, segment.index, segment.metadata
        else:
            label, index = segment["label"], segment["index"]
            metadata = segment.get("metadata") or {}
        _, text = canonical_form(metadata)
    except KeyError as error:
        raise ManifestError(f"a Segment of {reference_id!r} has no {error}") from None
    except (MetadataError, AttributeError, TypeError) as error:
        raise ManifestError(f"a Segment of {reference_id!r} cannot be written: {error}") from None
    return {"label": label, "index": index, "metadata": text}


def _finding(finding: ImportFinding) -> dict[str, str]:
    return {
        "rule": finding.rule,
        "message": finding.message,
        "found": finding.found,
        "expected": finding.expected,
        "remedy": finding.remedy,
    }
