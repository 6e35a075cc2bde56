"""Published predictions, written in formats that other tools read.

What is exported and imported again is the same prediction: what a format has no words for goes
beside it, under ``segpipe`` in COCO's JSON and in a sidecar per mask in a folder of masks. Names of
files come from reference ids, percent-encoded, so that no id can lead out of the folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.errors import SettingsError, StorageError
from segpipe.formats.coco_panoptic import OWN_KEY
from segpipe.formats.sidecars import Sidecar
from segpipe.mask import decode_mask
from segpipe.prediction import Segment
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.table import of_model_run, quoted
from segpipe.storage import folder_name, storage_errors

_ITEMS_AT_ONCE = 500
_LONGEST_NAME = 200
_MASKS, _LABELS, _PANOPTIC = "masks", "labels.json", "panoptic"
_COLUMNS = [
    "reference_id", "annotation_id", "mask_sha256", "height", "width", "segments", "image_url",
]  # fmt: skip

#: Told how many of how many predictions are written.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Published:
    """One prediction to export.

    Attributes:
        mask: H x W uint8; ``png`` the same as the catalog stores it.
        measured: the segments with their areas and boxes, by index, as the catalog holds them.
    """

    reference_id: str
    annotation_id: str | None
    image_url: str | None
    mask: NDArray[np.uint8]
    png: bytes
    measured: tuple[Mapping[str, Any], ...]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Its Segments."""
        return tuple(
            Segment(one["label"], one["index"], json.loads(one["metadata"]))
            for one in self.measured
        )

    @property
    def file_name(self) -> str:
        """A file name of its own, without extension."""
        name = folder_name(self.reference_id)
        if len(name) <= _LONGEST_NAME:
            return name
        return f"{name[:100]}-{hashlib.sha256(self.reference_id.encode()).hexdigest()[:16]}"


def published(
    catalog: Catalog, dataset: str, model_run: str, date: str | None, progress: Progress | None
) -> Iterator[Published]:
    """The predictions of a model run, by reference id, a bounded number in memory.

    Args:
        date: of one partition; all where None.

    Raises:
        SettingsError: if nothing of it is published.
        CatalogError, StorageError: if the catalog or a mask cannot be read.
    """
    where = of_model_run(dataset, model_run)
    if date is not None:
        where += f" AND partition = {quoted(date)}"
    version = catalog.version()
    ids = sorted(catalog.read(["reference_id"], where, version=version)["reference_id"].to_pylist())
    if not ids:
        known = catalog.read(["model_run"], version=version)["model_run"].unique().to_pylist()
        raise SettingsError(
            f"nothing of model run {model_run!r}{f' of {date}' if date else ''} is published "
            f"(model runs: {', '.join(sorted(known)) or 'none'})"
        )
    for start in range(0, len(ids), _ITEMS_AT_ONCE):
        part = ids[start : start + _ITEMS_AT_ONCE]
        rows = catalog.read_items(dataset, model_run, part, _COLUMNS, version=version)
        for done, row in enumerate(rows.sort_by("reference_id").to_pylist(), start + 1):
            png = catalog.masks.read(row["mask_sha256"])
            yield Published(
                row["reference_id"],
                row["annotation_id"],
                row["image_url"],
                decode_mask(png, max_pixels=2**31).pixels,
                png,
                tuple(row["segments"]),
            )
            if progress is not None:
                progress(done, len(ids))


def export_mask_folder(predictions: Iterator[Published], out: Path) -> int:
    """Write ``masks/<id>.png`` with a sidecar each, and ``labels.json``; returns how many.

    ``labels.json`` holds the indexes that stand for one label throughout.

    Raises:
        StorageError: if a file cannot be written.
    """
    labels: dict[int, set[str]] = {}
    count = 0
    with _writing(out) as folder:
        (folder / _MASKS).mkdir(exist_ok=True)
        for one in predictions:
            count += 1
            path = folder / _MASKS / f"{one.file_name}.png"
            path.write_bytes(one.png)
            sidecar = Sidecar(one.reference_id, one.segments, one.annotation_id, one.image_url)
            path.with_suffix(".json").write_text(sidecar.to_json(), "utf-8")
            for segment in one.segments:
                labels.setdefault(segment.index, set()).add(segment.label)
        same = {str(i): min(found) for i, found in sorted(labels.items()) if len(found) == 1}
        (folder / _LABELS).write_text(json.dumps(same, ensure_ascii=False, indent=1), "utf-8")
    return count


def export_coco_panoptic(predictions: Iterator[Published], out: Path) -> int:
    """Write ``panoptic/<id>.png`` and ``panoptic.json``; returns how many.

    An index i has the id i + 1, because id 0 is void. Categories are numbered as they occur.

    Raises:
        StorageError: if a file cannot be written.
    """
    categories = _Categories()
    count = 0
    with _writing(out) as folder, tempfile.TemporaryFile("w+", encoding="utf-8") as images:
        (folder / _PANOPTIC).mkdir(exist_ok=True)
        with (folder / f"{_PANOPTIC}.json").open("w", encoding="utf-8") as target:
            target.write('{"annotations": [')
            for one in predictions:
                count += 1
                name = f"{one.file_name}.png"
                (folder / _PANOPTIC / name).write_bytes(_panoptic_png(one.mask))
                separator = "\n" if count == 1 else ",\n"
                _write(target, separator, _annotation(one, count, name, categories))
                height, width = one.mask.shape
                shown = one.image_url or one.reference_id
                image = {"id": count, "file_name": shown, "height": height, "width": width}
                _write(images, separator, image)
            target.write('],\n"images": [')
            images.seek(0)
            while block := images.read(2**20):
                target.write(block)
            target.write(f'],\n"categories": {json.dumps(categories.entries())}}}\n')
    return count


@dataclass
class _Categories:
    """Labels and the numbers they got."""

    ids: dict[str, int] = field(default_factory=dict)
    things: set[str] = field(default_factory=set)

    def id_of(self, segment: Segment) -> int:
        if segment.metadata.get("isthing"):
            self.things.add(segment.label)
        return self.ids.setdefault(segment.label, len(self.ids) + 1)

    def entries(self) -> list[dict[str, Any]]:
        return [
            {"id": id, "name": label, "isthing": int(label in self.things)}
            for label, id in self.ids.items()
        ]


def _annotation(one: Published, number: int, name: str, categories: _Categories) -> dict[str, Any]:
    infos = []
    for segment, measured in zip(one.segments, one.measured, strict=True):
        info: dict[str, Any] = {
            "id": segment.index + 1,
            "category_id": categories.id_of(segment),
            "area": measured["area_px"],
            "bbox": [measured[f"bbox_{side}"] for side in "xywh"] if measured["area_px"] else None,
            "iscrowd": int(bool(segment.metadata.get("iscrowd"))),
        }
        if segment.confidence is not None:
            info["score"] = segment.confidence
        info[OWN_KEY] = {
            "label": segment.label,
            "index": segment.index,
            "metadata": dict(segment.metadata),
        }
        infos.append(info)
    own = {
        "reference_id": one.reference_id,
        "annotation_id": one.annotation_id,
        "image_url": one.image_url,
    }
    return {"image_id": number, "file_name": name, "segments_info": infos, OWN_KEY: own}


def _panoptic_png(mask: NDArray[np.uint8]) -> bytes:
    ids = mask.astype(np.uint16) + 1
    colours = np.stack([ids & 255, ids >> 8, np.zeros_like(ids)], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, format="PNG")
    return buffer.getvalue()


def _write(target: IO[str], separator: str, entry: Mapping[str, Any]) -> None:
    target.write(separator + json.dumps(entry, ensure_ascii=False))


@contextmanager
def _writing(out: Path) -> Iterator[Path]:
    """An empty folder to write to.

    Raises:
        StorageError: if something is there already, or a file cannot be written.
    """
    with storage_errors(f"writing to {out}"):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StorageError(f"{out} is not an empty folder: choose another")
        out.mkdir(parents=True, exist_ok=True)
        yield out
