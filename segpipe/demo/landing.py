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
from numpy.typing import NDArray
from PIL import Image

from segpipe.demo.scenes import Scene, draw_scene, predicted, seed_example
from segpipe.predictions.prediction import Segment

MODEL_RUNS = {"street-unet-v1": 0.55, "street-unet-v2": 0.85}
DATES = ("2026-01-05", "2026-01-06", "2026-01-07")
_LEAST_ITEMS = 4  # defects are at the places 2 and 3 of a partition
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


#: Kind of defect -> what it is, in words.
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
    """Something wrong on purpose: where, and what kind; see ``DEFECTS``."""

    model_run: str
    date: str
    reference_id: str
    kind: str

    @property
    def description(self) -> str:
        """The kind in words."""
        return DEFECTS[self.kind]


@dataclass(frozen=True)
class DemoLanding:
    """What was written.

    Attributes:
        rows: in all manifests together.
        defects: everything wrong on purpose; the other rows are right.
        model_runs: each has one partition per date.
        dates: YYYY-MM-DD.
    """

    rows: int
    defects: tuple[Defect, ...]
    model_runs: tuple[str, ...] = tuple(MODEL_RUNS)
    dates: tuple[str, ...] = DATES


def write_demo_landing(root: Path, seed: int = 20260105, items_per_day: int = 40) -> DemoLanding:
    """Write images, masks and manifests below a root; equal arguments give equal files.

    Nothing else below the root is touched, except that the file of a mask that is to be missing
    is removed.

    Args:
        items_per_day: dataset items per day, at least 4; both model runs predict all of them.

    Raises:
        ValueError: if there are too few items to hold all defects.
        OSError: if a file cannot be written.
    """
    if items_per_day < _LEAST_ITEMS:
        raise ValueError(f"items_per_day is {items_per_day}, expected at least {_LEAST_ITEMS}")
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
            for scene in scenes:
                # The example is published as it is documented, by both model runs.
                example = scene.reference_id == "seed-street"
                partition.add(scene if example else predicted(scene, own, skill))
            defects += partition.spoil()
            rows += partition.finish(as_json=place == 1)
    return DemoLanding(rows, tuple(defects))


class _Partition:
    """One model run's day: gathered, spoilt where it has defects, then written."""

    def __init__(self, root: Path, model_run: str, date: str) -> None:
        self.model_run, self.date = model_run, date
        self.folder = root / "manifests" / f"model_run={model_run}" / f"date={date}"
        self.scenes: list[Scene] = []
        self.rows: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}

    def add(self, scene: Scene) -> None:
        """Note a prediction's row and its mask file."""
        height, width = scene.mask.shape
        number = len(self.rows)
        url = f"masks/{scene.reference_id}.png"
        self.files[url] = _png(scene.mask, palette_bits=_palette_bits(number, scene.mask))
        self.scenes.append(scene)
        self.rows.append(
            {
                "reference_id": scene.reference_id,
                "mask_url": url,
                # Not every model run names its annotations, and none names all of them.
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

    def spoil(self) -> list[Defect]:
        """Put in the defects this partition has, as they happen in practice."""
        spoilers = {
            ("street-unet-v1", DATES[0]): [self._cut_upload, self._contradicting_row],
            ("street-unet-v1", DATES[1]): [self._network_size],
            ("street-unet-v2", DATES[0]): [self._void_border],
            ("street-unet-v2", DATES[1]): [self._colour_export],
            ("street-unet-v2", DATES[2]): [self._repeated_row, self._lost_file],
        }
        defects = []
        for place, spoiler in enumerate(spoilers.get((self.model_run, self.date), []), 2):
            spoiler(place)
            reference_id = self.scenes[place].reference_id
            kind = spoiler.__name__.strip("_")
            defects.append(Defect(self.model_run, self.date, reference_id, kind))
        return defects

    def finish(self, as_json: bool) -> int:
        """Write masks and manifest, Segments as structs or as JSON text; returns its rows."""
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

    def _cut_upload(self, place: int) -> None:
        url = self.rows[place]["mask_url"]
        whole = self.files[url]
        self.files[url] = whole[: len(whole) * 6 // 10]

    def _contradicting_row(self, place: int) -> None:
        row = self.rows[place]
        first, *others = row["segments"]
        changed = Segment(first.label, first.index, {"confidence": 0.5})
        self.rows.append({**row, "segments": (changed, *others)})

    def _network_size(self, place: int) -> None:
        self._replace_mask(place, self.scenes[place].mask[::2, ::2])

    def _void_border(self, place: int) -> None:
        mask = self.scenes[place].mask.copy()
        beside = mask[:, 1:] != mask[:, :-1]
        below = mask[1:] != mask[:-1]
        for pixels, changes in (
            (mask[:, 1:], beside), (mask[:, :-1], beside), (mask[1:], below), (mask[:-1], below),
        ):  # fmt: skip
            pixels[changes] = _VOID
        self._replace_mask(place, mask)

    def _colour_export(self, place: int) -> None:
        self._replace_mask(place, _PALETTE[self.scenes[place].mask])

    def _repeated_row(self, place: int) -> None:
        self.rows.append(dict(self.rows[place]))

    def _lost_file(self, place: int) -> None:
        url = self.rows[place]["mask_url"]
        del self.files[url]
        (self.folder / url).unlink(missing_ok=True)

    def _replace_mask(self, place: int, mask: NDArray[np.uint8]) -> None:
        self.files[self.rows[place]["mask_url"]] = _png(mask)


def _palette() -> NDArray[np.uint8]:
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


def _palette_bits(number: int, mask: NDArray[np.uint8]) -> int | None:
    """Bits per pixel of the few masks that are palette images; None for the others."""
    if number % 13 == 5:
        return 8
    if number % 13 == 1:  # as small as the values allow
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
    """Whole or not at all; what is there already stays, so that making the demo again is cheap."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
