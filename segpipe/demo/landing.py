"""Writing the demo data: images, labels, and manifests as two model runs would write them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from segpipe.demo.labels import panoptic_json, panoptic_png
from segpipe.demo.scenes import Scene, draw_scene, predicted, seed_example
from segpipe.predictions.prediction import Segment

MODEL_RUNS = {"street-unet-v1": 0.55, "street-unet-v2": 0.85}
_DAYS = 3
_LEAST_ITEMS = 4  # defects are at the positions 2 and 3 of a partition
_VOID = 255
_CAMERAS = ("front-left", "front-right", "rear")

_METADATA = pa.struct(
    [("confidence", pa.float64()), ("pose", pa.string()), ("truncated", pa.bool_())]
)
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


#: Kind of defect -> its description.
DEFECTS = {
    "cut_upload": "the mask file ends after 60% of its bytes",
    "contradicting_row": "a second row for the same item, with other Segments",
    "network_size": "the mask has half the height and width of its image",
    "void_border": "pixels between segments have the value 255, which no Segment explains",
    "colour_export": "the mask is an RGB picture of its colours",
    "repeated_row": "a second row for the same item, identical and so harmless",
    "lost_file": "the row's mask file does not exist",
}


@dataclass(frozen=True, slots=True)
class Defect:
    """A deliberate defect: its row, and its kind, a key of ``DEFECTS``."""

    model_run: str
    date: str
    reference_id: str
    kind: str

    @property
    def description(self) -> str:
        """Description of the kind."""
        return DEFECTS[self.kind]


@dataclass(frozen=True)
class DemoLanding:
    """The demo data that was written.

    Attributes:
        rows: number of rows of all manifests.
        defects: the deliberate ones; all other rows are valid.
        model_runs: each has one partition per date.
        dates: YYYY-MM-DD.
    """

    rows: int
    defects: tuple[Defect, ...]
    dates: tuple[str, ...]
    model_runs: tuple[str, ...] = tuple(MODEL_RUNS)


def demo_dates(until: date | None = None) -> tuple[str, ...]:
    """The demo's three days, ``YYYY-MM-DD``: up to a day, or the last three before today."""
    last = date.today() - timedelta(days=1) if until is None else until
    return tuple(str(last - timedelta(days=before)) for before in reversed(range(_DAYS)))


def write_demo_landing(
    root: Path, seed: int = 20260105, items_per_day: int = 40, until: date | None = None
) -> DemoLanding:
    """Write images, their labels, and masks and manifests below a root; equal arguments give equal
    files, whose content does not depend on the days.

    Nothing else below the root is changed, except that the mask file that is meant to be missing
    is removed.

    Args:
        root: the folder; ``images``, ``labels`` (see ``segpipe.demo.labels``) and ``manifests`` are
            created in it.
        seed: of the random generators.
        items_per_day: dataset items per day, at least 4; both model runs predict all of them.
        until: the last of the three days; None for yesterday.

    Raises:
        ValueError: if there are too few items to hold all defects.
        OSError: if a file cannot be written.
    """
    if items_per_day < _LEAST_ITEMS:
        raise ValueError(f"items_per_day is {items_per_day}, expected at least {_LEAST_ITEMS}")
    rows = 0
    defects: list[Defect] = []
    drawn: list[Scene] = []
    dates = demo_dates(until)
    for day in range(_DAYS):
        rng = np.random.default_rng([seed, day])
        scenes = [draw_scene(rng, f"street-{day + 1}-{n:03}") for n in range(items_per_day)]
        if day == 0:
            scenes[0] = seed_example()
        for scene in scenes:
            _write(root / "images" / f"{scene.reference_id}.jpg", _jpeg(scene.image))
            _write(root / "labels" / f"{scene.reference_id}.png", panoptic_png(scene))
        drawn += scenes
        for position, (model_run, skill) in enumerate(MODEL_RUNS.items()):
            own = np.random.default_rng([seed, day, position])
            partition = _Partition(root, model_run, day, dates[day])
            for scene in scenes:
                # Both model runs predict the documented example exactly.
                example = scene.reference_id == "seed-street"
                partition.add(scene if example else predicted(scene, own, skill))
            defects += partition.add_defects()
            rows += partition.write(as_json=position == 1)
    _write(root / "labels" / "panoptic.json", panoptic_json(drawn))
    return DemoLanding(rows, tuple(defects), dates)


class _Partition:
    """One partition: its rows are collected, get the defects, and are written."""

    def __init__(self, root: Path, model_run: str, day: int, date: str) -> None:
        self.model_run, self.day, self.date = model_run, day, date
        self.folder = root / "manifests" / f"model_run={model_run}" / f"date={date}"
        self.scenes: list[Scene] = []
        self.rows: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}

    def add(self, scene: Scene) -> None:
        """Add a prediction's row and its mask file."""
        height, width = scene.mask.shape
        number = len(self.rows)
        url = f"masks/{scene.reference_id}.png"
        self.files[url] = _png(scene.mask, palette_bits=_palette_bits(number, scene.mask))
        self.scenes.append(scene)
        self.rows.append(
            {
                "reference_id": scene.reference_id,
                "mask_url": url,
                # Annotation ids are optional: every fourth row has none.
                "annotation_id": (
                    None if number % 4 == 3 else f"{self.model_run}/{scene.reference_id}"
                ),
                "height": height,
                "width": width,
                "image_url": f"../../../images/{scene.reference_id}.jpg",
                "camera": _CAMERAS[number % len(_CAMERAS)],
                "segments": scene.segments,
            }
        )

    def add_defects(self) -> list[Defect]:
        """Apply this partition's defects, such as occur in practice; returns them."""
        defects_of = {
            ("street-unet-v1", 0): [self._cut_upload, self._contradicting_row],
            ("street-unet-v1", 1): [self._network_size],
            ("street-unet-v2", 0): [self._void_border],
            ("street-unet-v2", 1): [self._colour_export],
            ("street-unet-v2", 2): [self._repeated_row, self._lost_file],
        }
        defects = []
        for position, apply in enumerate(defects_of.get((self.model_run, self.day), []), 2):
            apply(position)
            reference_id = self.scenes[position].reference_id
            kind = apply.__name__.strip("_")
            defects.append(Defect(self.model_run, self.date, reference_id, kind))
        return defects

    def write(self, as_json: bool) -> int:
        """Write the masks and the manifest; returns its number of rows.

        Args:
            as_json: Segments as JSON text, not as structs.
        """
        for url, data in self.files.items():
            _write(self.folder / url, data)
        cells = [[_plain(segment) for segment in row["segments"]] for row in self.rows]
        column = (
            pa.array([json.dumps(cell) for cell in cells], pa.string())
            if as_json
            else pa.array(cells, _SEGMENTS)
        )
        columns = {
            name: pa.array([row[name] for row in self.rows], kind) for name, kind in _COLUMNS
        }
        buffer = io.BytesIO()
        pq.write_table(pa.table({**columns, "segments": column}), buffer, compression="zstd")
        _write(self.folder / "predictions.parquet", buffer.getvalue())
        return len(self.rows)

    def _cut_upload(self, position: int) -> None:
        url = self.rows[position]["mask_url"]
        whole = self.files[url]
        self.files[url] = whole[: len(whole) * 6 // 10]

    def _contradicting_row(self, position: int) -> None:
        row = self.rows[position]
        first, *others = row["segments"]
        changed = Segment(first.label, first.index, {"confidence": 0.5})
        self.rows.append({**row, "segments": (changed, *others)})

    def _network_size(self, position: int) -> None:
        self._replace_mask(position, self.scenes[position].mask[::2, ::2])

    def _void_border(self, position: int) -> None:
        mask = self.scenes[position].mask.copy()
        beside = mask[:, 1:] != mask[:, :-1]
        below = mask[1:] != mask[:-1]
        for pixels, changes in (
            (mask[:, 1:], beside), (mask[:, :-1], beside), (mask[1:], below), (mask[:-1], below),
        ):  # fmt: skip
            pixels[changes] = _VOID
        self._replace_mask(position, mask)

    def _colour_export(self, position: int) -> None:
        self._replace_mask(position, _PALETTE[self.scenes[position].mask])

    def _repeated_row(self, position: int) -> None:
        self.rows.append(dict(self.rows[position]))

    def _lost_file(self, position: int) -> None:
        url = self.rows[position]["mask_url"]
        del self.files[url]
        (self.folder / url).unlink(missing_ok=True)

    def _replace_mask(self, position: int, mask: NDArray[np.uint8]) -> None:
        self.files[self.rows[position]["mask_url"]] = _png(mask)


def _palette() -> NDArray[np.uint8]:
    """256 different colours, 256 x 3 uint8."""
    values = np.arange(256)
    return np.stack([values * 67 % 256, values * 131 % 256, values * 29 % 256], 1).astype(np.uint8)


_PALETTE = _palette()


def _plain(segment: Segment) -> Mapping[str, Any]:
    return {
        "label": segment.label,
        "index": segment.index,
        "metadata": dict(segment.metadata),
    }


def _palette_bits(number: int, mask: NDArray[np.uint8]) -> int | None:
    """Bits per pixel of a mask that is written as a palette PNG; None for a grey one."""
    if number % 13 == 5:
        return 8
    if number % 13 == 1:  # as few as the values allow
        return 4 if mask.max() < 16 else 8
    return None


def _png(pixels: NDArray[np.uint8], palette_bits: int | None = None) -> bytes:
    """PNG bytes of H x W values or H x W x 3 colours, uint8."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    buffer = io.BytesIO()
    if palette_bits is None:
        image.save(buffer, format="PNG")
    else:
        image.putpalette(_PALETTE[: 2**palette_bits].tobytes())
        image.save(buffer, format="PNG", bits=palette_bits)
    return buffer.getvalue()


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    """Write a file atomically, unless it has this content already."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
