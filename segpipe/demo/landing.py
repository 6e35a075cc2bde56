"""Landing the demo: images, masks and manifests as two model runs would write them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from segpipe.demo.scenes import Scene, draw_scene, predicted, seed_example
from segpipe.prediction import Segment

MODEL_RUNS = {"street-unet-v1": 0.55, "street-unet-v2": 0.85}
DATES = ("2026-01-05", "2026-01-06", "2026-01-07")
_CAMERAS = ("front-left", "front-right", "rear")

_METADATA = pa.struct([("confidence", pa.float64()), ("pose", pa.string())])
_SEGMENTS = pa.list_(
    pa.struct([("label", pa.string()), ("index", pa.int32()), ("metadata", _METADATA)])
)
_COLUMNS = [
    ("reference_id", pa.string()),
    ("mask_url", pa.string()),
    ("annotation_id", pa.string()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("image_url", pa.string()),
    ("camera", pa.string()),
]


@dataclass(frozen=True, slots=True)
class Defect:
    """Something wrong on purpose: where, and what kind."""

    model_run: str
    date: str
    reference_id: str
    kind: str


@dataclass(frozen=True)
class DemoLanding:
    """What was written."""

    rows: int
    defects: tuple[Defect, ...]


def write_demo_landing(root: Path, seed: int = 20260105, items_per_day: int = 40) -> DemoLanding:
    """Write images, masks and manifests below a root; equal seeds give equal files.

    Args:
        items_per_day: dataset items per day, at least 8; both model runs predict all of them.

    Raises:
        OSError: if a file cannot be written.
    """
    rows = 0
    defects: list[Defect] = []
    for day, date in enumerate(DATES):
        rng = np.random.default_rng([seed, day])
        scenes = [draw_scene(rng, f"street-{day + 1}-{n:03}") for n in range(items_per_day)]
        if day == 0:
            scenes[0] = seed_example()
        for scene in scenes:
            _write(root / "images" / f"{scene.reference_id}.jpg", _jpeg(scene.image))
        for place, (model_run, skill) in enumerate(MODEL_RUNS.items()):
            own = np.random.default_rng([seed, day, place])
            partition = _Partition(root, model_run, date)
            for number, scene in enumerate(scenes):
                said = (
                    scene if scene.reference_id == "seed-street" else predicted(scene, own, skill)
                )
                partition.add(said, palette=number % 13 == 5)
            defects += partition.spoil()
            rows += partition.finish(as_json=place == 1)
    return DemoLanding(rows, tuple(defects))


class _Partition:
    """One model run's day being written."""

    def __init__(self, root: Path, model_run: str, date: str) -> None:
        self.model_run, self.date = model_run, date
        self.folder = root / "manifests" / f"model_run={model_run}" / f"date={date}"
        self.scenes: list[Scene] = []
        self.rows: list[dict[str, Any]] = []

    def add(self, scene: Scene, palette: bool) -> None:
        """Write a mask and note its row."""
        height, width = scene.mask.shape
        self._write_mask(scene, _png(scene.mask, palette))
        self.scenes.append(scene)
        self.rows.append(
            {
                "reference_id": scene.reference_id,
                "mask_url": f"masks/{scene.reference_id}.png",
                "annotation_id": f"{self.model_run}/{scene.reference_id}",
                "height": height,
                "width": width,
                "image_url": f"../../../images/{scene.reference_id}.jpg",
                "camera": _CAMERAS[len(self.rows) % len(_CAMERAS)],
                "segments": scene.segments,
            }
        )

    def spoil(self) -> list[Defect]:
        """Put in the defects this partition has, as they happen in practice."""
        spoilers = {
            ("street-unet-v1", DATES[0]): [self._cut_upload, self._contradicting_row],
            ("street-unet-v1", DATES[1]): [self._network_size],
            ("street-unet-v2", DATES[0]): [self._void_border],
            ("street-unet-v2", DATES[1]): [self._colour_export],
            ("street-unet-v2", DATES[2]): [self._repeated_row, self._lost_file],
        }
        return [
            Defect(self.model_run, self.date, spoiler(place), spoiler.__name__.strip("_"))
            for place, spoiler in enumerate(spoilers.get((self.model_run, self.date), []), 2)
        ]

    def finish(self, as_json: bool) -> int:
        """Write the manifest, Segments as structs or as JSON text; returns its rows."""
        column = (
            pa.array([json.dumps([_plain(s) for s in row["segments"]]) for row in self.rows])
            if as_json
            else pa.array([[_plain(s) for s in row["segments"]] for row in self.rows], _SEGMENTS)
        )
        columns = {
            name: pa.array([row[name] for row in self.rows], kind) for name, kind in _COLUMNS
        }
        buffer = io.BytesIO()
        pq.write_table(pa.table({**columns, "segments": column}), buffer, compression="zstd")
        _write(self.folder / "predictions.parquet", buffer.getvalue())
        return len(self.rows)

    def _cut_upload(self, place: int) -> str:
        scene = self.scenes[place]
        whole = _png(scene.mask, palette=False)
        return self._write_mask(scene, whole[: len(whole) * 6 // 10])

    def _contradicting_row(self, place: int) -> str:
        row = self.rows[place]
        first, *others = row["segments"]
        renamed = Segment(first.label, first.index, {"confidence": 0.5})
        self.rows.append({**row, "segments": (renamed, *others)})
        return str(row["reference_id"])

    def _network_size(self, place: int) -> str:
        scene = self.scenes[place]
        return self._write_mask(scene, _png(scene.mask[::2, ::2], palette=False))

    def _void_border(self, place: int) -> str:
        scene = self.scenes[place]
        mask = scene.mask.copy()
        changes = mask[:, 1:] != mask[:, :-1]
        mask[:, 1:][changes] = 255
        mask[:, :-1][changes] = 255
        return self._write_mask(scene, _png(mask, palette=False))

    def _colour_export(self, place: int) -> str:
        scene = self.scenes[place]
        buffer = io.BytesIO()
        Image.fromarray(_PALETTE[scene.mask]).save(buffer, format="PNG")
        return self._write_mask(scene, buffer.getvalue())

    def _repeated_row(self, place: int) -> str:
        self.rows.append(dict(self.rows[place]))
        return str(self.rows[place]["reference_id"])

    def _lost_file(self, place: int) -> str:
        row = self.rows[place]
        lost = f"masks/{row['reference_id']}.png"
        (self.folder / lost).unlink(missing_ok=True)
        return str(row["reference_id"])

    def _write_mask(self, scene: Scene, data: bytes) -> str:
        _write(self.folder / "masks" / f"{scene.reference_id}.png", data)
        return scene.reference_id


def _palette() -> np.ndarray:
    """256 x 3 uint8 colours that differ, for exports in colour."""
    values = np.arange(256)
    return np.stack([values * 67 % 256, values * 131 % 256, values * 29 % 256], 1).astype(np.uint8)


_PALETTE = _palette()


def _plain(segment: Segment) -> Mapping[str, Any]:
    return {
        "label": segment.label,
        "index": segment.index,
        "metadata": dict(segment.metadata),
    }


def _png(mask: np.ndarray, palette: bool) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(mask))
    if palette:
        image.putpalette(_PALETTE.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=86)
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all; what is there already stays, so that making the demo again is cheap."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
