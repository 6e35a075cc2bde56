"""Writing manifests and their masks, as a model's inference does: one prediction after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from segpipe.errors import ManifestError, MetadataError
from segpipe.manifest import FINDINGS_COLUMN, FINDINGS_TYPE, ImportFinding
from segpipe.mask import canonical_png
from segpipe.partition import Partition
from segpipe.prediction import Segment, canonical_form
from segpipe.settings import Settings
from segpipe.storage import MaskStore

_MASKS = "masks"
_ROWS_PER_GROUP = 2000
_SEGMENTS = pa.list_(
    pa.struct(
        [
            pa.field("label", pa.string()),
            pa.field("index", pa.int32()),
            pa.field("metadata", pa.string()),
        ]
    )
)
_COLUMNS = {
    "reference_id": pa.string(),
    "mask_url": pa.string(),
    "segments": _SEGMENTS,
    "annotation_id": pa.string(),
    "height": pa.int32(),
    "width": pa.int32(),
    "image_url": pa.string(),
}

#: A Segment, or ``{"label": ..., "index": ..., "metadata": {...}}``.
SegmentLike = Segment | Mapping[str, Any]


class ManifestWriter:
    """A manifest that is written row by row, its masks beside it.

    ::

        with ManifestWriter("ROOT", model_run="unet-v1", date="2026-01-05") as writer:
            writer.add("frame-0001", mask, [Segment("Road", 0), Segment("Person", 1)])

    The manifest appears when the block ends without an error, and not at all otherwise. Masks are
    stored by their content, so writing the same again changes nothing. Memory does not grow with
    the number of rows.

    Args:
        root: path or URL of the root; the manifest goes where the root expects it.
        model_run: name of the model run.
        date: the day, ``YYYY-MM-DD``.
        name: of the manifest file, without ``.parquet``; several writers of one partition need
            names of their own.
        carried: types of further columns, where they are known beforehand; otherwise they are told
            from the first rows.
        importing: the rows come from an importer, which may refuse some.

    Raises:
        SettingsError: if the root's settings, the model run's name or the date cannot be used.
    """

    def __init__(
        self,
        root: str | PathLike[str],
        model_run: str,
        date: str | date,
        *,
        name: str = "predictions",
        carried: Mapping[str, pa.DataType] | None = None,
        importing: bool = False,
    ) -> None:
        self.partition = Partition(model_run, str(date))
        manifests = Settings.load(str(root)).folder("manifests")
        self.folder = manifests.folder(*self.partition.folders)
        self.rows = 0
        self._name = f"{name}.parquet"
        self._masks = MaskStore(self.folder.folder(_MASKS), _MASKS)
        self._carried = dict(carried or {})
        self._importing = importing
        self._waiting: list[dict[str, Any]] = []
        self._stack = ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None

    def __enter__(self) -> ManifestWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._flush()
        if not self.rows and not self._importing:
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
            mask: H x W array of whole numbers 0 to 255; or a PNG, as bytes or a path, which is
                stored as it is and judged when the manifest is validated.
            segments: what each value stands for.
            height, width: of the item's image. Where neither they nor ``image_url`` are given,
                the array's own are written.
            carried: further columns of the manifest.

        Raises:
            ManifestError: naming the item, if the array is no index mask or a column changes type.
            StorageError: if the mask cannot be stored.
        """
        if isinstance(mask, np.ndarray):
            pixels = index_values(mask, reference_id)
            if image_url is None and height is None and width is None:
                height, width = pixels.shape
            data = canonical_png(pixels)
        else:
            data = mask if isinstance(mask, bytes) else _read(Path(mask), reference_id)
        self._row(
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
        """Write a row without a mask: validation rejects it with these findings."""
        self._row(
            {"reference_id": reference_id, FINDINGS_COLUMN: list(map(_finding, findings))}, carried
        )

    def _row(self, row: dict[str, Any], carried: Mapping[str, Any]) -> None:
        taken = [name for name in carried if name in _COLUMNS]
        if taken:
            raise ManifestError(f"{row['reference_id']!r}: {taken[0]!r} is a column of its own")
        self._waiting.append({**row, **carried})
        self.rows += 1
        if len(self._waiting) >= _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._schema is None:
            self._schema = self._decided()
        unknown = {name for row in self._waiting for name in row} - {*self._schema.names}
        unknown -= {FINDINGS_COLUMN}
        if unknown:
            raise ManifestError(
                f"the column {min(unknown)!r} appears first after {_ROWS_PER_GROUP} rows: give it "
                "from the first row on, None where there is no value"
            )
        columns = [self._column(field) for field in self._schema]
        if self._writer is None:
            output = self._stack.enter_context(self.folder.open_output(self._name))
            self._writer = pq.ParquetWriter(output, self._schema, compression="zstd")
            self._stack.callback(self._writer.close)
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._waiting = []

    def _column(self, field: pa.Field) -> pa.Array:
        values = [row.get(field.name) for row in self._waiting]
        try:
            return pa.array(values, field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            for row, value in zip(self._waiting, values, strict=True):
                if not _fits(value, field.type):
                    raise ManifestError(
                        f"{row['reference_id']!r}: {field.name} is {value!r}, expected "
                        f"{field.type} as in the rows before"
                    ) from None
            raise

    def _decided(self) -> pa.Schema:
        names = dict.fromkeys(name for row in self._waiting for name in row)
        kinds = {**_COLUMNS, **self._carried}
        if self._importing:
            kinds[FINDINGS_COLUMN] = FINDINGS_TYPE
        for name in names:
            if name not in kinds and name != FINDINGS_COLUMN:
                values = [row.get(name) for row in self._waiting]
                try:
                    kinds[name] = pa.array(values).type
                except (pa.ArrowException, TypeError, ValueError) as error:
                    raise ManifestError(
                        f"the column {name!r} holds values of several types: {error}"
                    ) from None
        return pa.schema([pa.field(name, kind) for name, kind in kinds.items()])


def index_values(mask: NDArray[Any], of: str) -> NDArray[np.uint8]:
    """An array as index values, H x W uint8; nothing is scaled or rounded.

    Args:
        of: the item, for messages.

    Raises:
        ManifestError: if it is no H x W array of whole numbers 0 to 255.
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
    }


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return True
