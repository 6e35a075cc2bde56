"""What an evaluation costs, against Pillow's decoding: ``python -m benchmarks.evaluation``.

Of pairs of masks that are decoded, once from runs: the pixels of each pair of Segments, and from
these confusion, IoU and PQ; Boundary IoU; and of manifests as a whole, ``segpipe.evaluate`` with
reading, decoding and the rules. The baseline is Pillow decoding both masks, in turns with it.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import segpipe
from benchmarks.consolidation import Turns
from benchmarks.masks import Shape, mask_of
from segpipe.evaluation.block import Conventions, evaluate_block
from segpipe.evaluation.groups import Pair
from segpipe.masks.co_occurrence import co_occurrence
from segpipe.masks.decoding import DecodedMask, decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.fast_path import load_fast_path
from segpipe.predictions.prediction import Segment

#: Height and width, and the most that confusion, IoU and PQ may take of Pillow's time.
SIZES = (((480, 640), 1.0), ((1024, 2048), 0.5))
BOUNDARY_GOAL = 2.0
Masks = list[tuple[np.ndarray, np.ndarray]]


def generated(height: int, width: int, count: int) -> Masks:
    """Masks of the benchmarks' generator, each with one that is shifted by a few pixels."""
    shape = Shape(height=height, width=width)
    masks = [mask_of(7, number, shape=shape) for number in range(count)]
    return [(mask, np.roll(mask, (2, 3), (0, 1))) for mask in masks]


def given(folder: Path) -> Masks:
    """The pairs of a set of the references: ``gt.json`` and its first run."""
    run = json.loads((folder / "set.json").read_text())["runs"][0]
    sides = [json.loads((folder / f"{name}.json").read_text()) for name in ("gt", run)]
    return [
        tuple(np.array(Image.open(folder / side[id]["mask"])) for side in sides)  # type: ignore[misc]
        for id in sides[1]
    ]


def segments_of(mask: np.ndarray) -> list[Segment]:
    """A Segment for each value: things and stuff of ten classes."""
    return [
        Segment(f"class {value % 10}", value, {"isthing": value % 2})
        for value in np.unique(mask).tolist()
    ]


def measure(title: str, masks: Masks, rounds: int, goal: float | None) -> None:
    """Print the costs per pair, with their ratio to Pillow."""
    files = [tuple(canonical_png(one) for one in pair) for pair in masks]
    decoded = [tuple(decode_mask(one) for one in pair) for pair in files]
    segments = [tuple(segments_of(one) for one in pair) for pair in masks]
    plain, boundary = Conventions(), Conventions(boundary=True)

    def pillow() -> None:
        for pair in files:
            for one in pair:
                Image.open(io.BytesIO(one)).load()

    def pairs() -> list[Pair]:
        return [_pair(*of) for of in zip(decoded, segments, strict=True)]

    def with_boundaries() -> None:
        evaluate_block(pairs(), boundary, decoded)

    with tempfile.TemporaryDirectory() as folder:
        manifests = [_manifest(Path(folder), side, files, segments) for side in (0, 1)]
        works = {
            "Pillow decodes both masks": pillow,
            "pairs of Segments, from runs": pairs,
            "confusion, IoU and PQ": lambda: evaluate_block(pairs(), plain),
            "... and Boundary IoU": with_boundaries,
            "segpipe.evaluate, as a whole": lambda: segpipe.evaluate(*manifests, workers=1),
        }
        for work in works.values():  # compiled, and cached
            work()
        turns = Turns(works, rounds)
    listed = f"goals {goal:g} x, {BOUNDARY_GOAL:g} x for boundaries" if goal else ""
    print(f"{title}, {len(masks)} pairs, {rounds} rounds {listed}")
    for name in works:
        print(turns.line(name, [name], "Pillow decodes both masks", len(masks)))


def _pair(masks: tuple[DecodedMask, DecodedMask], segments: Sequence[list[Segment]]) -> Pair:
    header = masks[0].header
    return Pair("item", *segments, co_occurrence(*masks), header.height, header.width)


def _manifest(
    folder: Path,
    side: int,
    files: Sequence[Sequence[bytes]],
    segments: Sequence[Sequence[list[Segment]]],
) -> Path:
    rows = []
    for number, (of_files, of_segments) in enumerate(zip(files, segments, strict=True)):
        name = f"{side}-{number}.png"
        (folder / name).write_bytes(of_files[side])
        cells = [
            {"label": one.label, "index": one.index, "metadata": dict(one.metadata)}
            for one in of_segments[side]
        ]
        rows.append({"reference_id": str(number), "mask_url": name, "segments": cells})
    path = folder / f"{side}.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def main() -> None:
    """Measure generated masks of two sizes, and the sets that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", type=Path, help="folders of sets of the references")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if not load_fast_path():
        print("segpipe[fast] is not installed: without it, these ratios are several times as high")
    for (height, width), goal in SIZES:
        count = max(4, options.pairs * 480 * 640 // (height * width))
        measure(f"{width} x {height}", generated(height, width, count), options.rounds, goal)
    for folder in options.sets:
        measure(folder.name, given(folder), options.rounds, None)


if __name__ == "__main__":
    main()
