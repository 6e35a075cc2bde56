"""What class PDFs cost a pass: ``python -m benchmarks.class_pdfs``.

The same masks are validated without metadata and with a PDF of 20 classes on every Segment, in
turns, on one thread. The ratio is the median of the rounds' own, since machines are noisy.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.masks import MaskFile, Recipe, write_masks
from segpipe.manifests.landing import Landing
from segpipe.manifests.partition import Partition
from segpipe.masks.fast_path import load_fast_path
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.sources import AllowedRoots
from segpipe.validation.chunk import Validation
from segpipe.validation.materialization import materialize

CLASSES, MASKS, ROUNDS = 20, 500, 15
_NAMES = [f"class {number}" for number in range(CLASSES)]
_PARTITION = Partition("unet", "2026-01-05")
_SEGMENTS = pa.list_(
    pa.struct([("label", pa.string()), ("index", pa.int64()), ("metadata", pa.string())])
)


def _cell(file: MaskFile, random: np.random.Generator | None) -> list[dict[str, object]]:
    made = []
    for place, value in enumerate(file.values):
        one: dict[str, object] = {"label": _NAMES[place % CLASSES], "index": value}
        if random is not None:
            shares = np.sort(random.dirichlet(np.full(CLASSES, 0.2)))[::-1].tolist()
            names = [_NAMES[place % CLASSES], *(n for n in _NAMES if n != one["label"])]
            pdf = dict(zip(names, shares, strict=True))
            one["metadata"] = json.dumps({"class_pdf": pdf})
        made.append(one)
    return made


def _landed(root: Path, files: list[MaskFile], *, with_pdfs: bool) -> Folder:
    folder = root / f"model_run={_PARTITION.model_run}" / f"date={_PARTITION.date}"
    folder.mkdir(parents=True)
    random = np.random.default_rng(1) if with_pdfs else None
    table = pa.table(
        {
            "reference_id": [file.name for file in files],
            "mask_url": [str(root.parent / "masks" / file.name) for file in files],
            "segments": pa.array([_cell(file, random) for file in files], _SEGMENTS),
            "height": [480] * len(files),
            "width": [640] * len(files),
        }
    )
    pq.write_table(table, folder / "predictions.parquet")
    return Folder(str(root))


def _seconds(landed: Folder, place: Path) -> float:
    manifest = Landing(landed).manifest(_PARTITION)
    masks = MaskStore(Folder(str(place / "store")))
    validation = Validation("street", "unet", AllowedRoots((str(place),)), masks)
    started = process_time()
    summary = materialize(manifest, validation, Folder(str(place / "tables")), force=True)
    seconds = process_time() - started
    assert summary.accepted == summary.rows
    return seconds


def main() -> None:
    """Measure, and print the ratio."""
    load_fast_path()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        files = write_masks(place / "masks", MASKS, Recipe())
        kinds = {"without PDFs": False}
        if "--without" not in sys.argv:
            kinds[f"with PDFs of {CLASSES} classes"] = True
        landed = {
            name: _landed(place / f"landing-{number}", files, with_pdfs=pdfs)
            for number, (name, pdfs) in enumerate(kinds.items())
        }
        seconds: dict[str, list[float]] = {name: [] for name in landed}
        for _ in range(ROUNDS):
            for name, one in landed.items():
                seconds[name].append(_seconds(one, place))
        base = seconds["without PDFs"]
        for name, own in seconds.items():
            ratio = median(one / other for one, other in zip(own, base, strict=True))
            print(f"{name:<28}{1e6 * min(own) / MASKS:>9.0f} us per mask{ratio:>8.2f} x")


if __name__ == "__main__":
    main()
