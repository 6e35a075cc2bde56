"""Publishing a batch into a catalog that already holds many predictions of the same model run.

``python -m benchmarks.publishing [--rows 100000 1000000 10000000] [--batch 10000]`` fills a catalog
per size, publishes one batch of each kind into a copy of it, each in a fresh process, and prints
time, ratio to the smallest catalog, peak memory and bytes written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from benchmarks.machine import machine_facts
from benchmarks.memory import peak_mib
from benchmarks.report import RESULTS
from segpipe.masks.encoding import canonical_png
from segpipe.publishing.catalog import Catalog
from segpipe.publishing.outcomes import Provenance, counts
from segpipe.publishing.table_format import PREDICTIONS, WRITING
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.validation.validated import SEGMENT_LIST, PredictionBatch

_REPOSITORY = Path(__file__).resolve().parent.parent
_TEMPLATES = 300
_SEGMENTS = 12
_HEIGHT, _WIDTH = 32, 48
_MODEL_RUN = "unet"
# A measurement may not take the machine: it ends where it asks for more address space than this.
_MOST_MEMORY = 10 * 2**30
_OUT_OF_MEMORY = 3

#: Numbers of the items of a batch, and of these, which are another prediction than what is there.
Chosen = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A kind of batch.

    Attributes:
        outcome: what most of its predictions come to.
        where: the items' place among those that are there: adjoining, spread or beyond.
        changed: share of the predictions that differ from what is there.
        update: whether those are replaced.
    """

    outcome: str
    where: str
    changed: float = 0.0
    update: bool = False

    @property
    def name(self) -> str:
        """As reported."""
        return f"{self.outcome}, {self.where}"

    def choose(self, rows: int, batch: int) -> Chosen:
        """The batch's items. Even numbers are in the catalog, odd ones between them are not."""
        if self.where == "adjoining":
            first = (rows - batch) // 2
            places = np.arange(first, first + batch)
        elif self.where == "spread":
            places = np.arange(batch) * rows // batch
        else:
            places = np.arange(rows, rows + batch)
        numbers = 2 * places + (self.outcome == "new")
        every = round(1 / self.changed) if self.changed else 0
        changed = np.arange(batch) % every == 0 if every else np.zeros(batch, bool)
        return numbers, changed


CASES = [
    Case("new", "beyond"),
    *(
        case
        for where in ("adjoining", "spread")
        for case in (
            Case("new", where),
            Case("unchanged", where),
            Case("ignored", where, changed=1.0),
            Case("1 % replaced", where, changed=0.01, update=True),
        )
    ),
]


@dataclass(frozen=True)
class Figures:
    """What one batch took: seconds to publish and to hold receipts against rows, MiB, bytes."""

    seconds: float
    reading_back: float
    before_mib: float
    peak_mib: float
    written: int
    outcomes: dict[str, int]


class Samples:
    """A few hundred masks and their Segments, of which all predictions are made.

    Labels, boxes and areas repeat as the masks do; confidences and fingerprints are each row's own.
    """

    def __init__(self, masks: MaskStore) -> None:
        random = np.random.default_rng(1)
        self.sha256: list[str] = []
        self._boxes: list[dict[str, object]] = []
        for template in range(_TEMPLATES):
            stripes = np.sort(random.integers(0, _SEGMENTS, _WIDTH)).astype(np.uint8)
            stripes[:_SEGMENTS] = np.arange(_SEGMENTS)
            mask = np.ascontiguousarray(np.tile(np.sort(stripes), (_HEIGHT, 1)))
            mask[0, 0] = template % _SEGMENTS
            self.sha256.append(masks.put(canonical_png(mask)))
            self._boxes += [_segment(mask, index) for index in range(_SEGMENTS)]

    def segments(self, numbers: np.ndarray) -> pa.Array:
        """SEGMENT_LIST of these items."""
        own = (numbers[:, None] % _TEMPLATES * _SEGMENTS + np.arange(_SEGMENTS)).ravel()
        structs = pa.array(self._boxes, SEGMENT_LIST.value_type).take(pa.array(own))
        confidence = np.round(np.random.default_rng(int(numbers[0])).random(own.size), 3)
        arrays = [
            pa.array(confidence) if field.name == "confidence" else structs.field(place)
            for place, field in enumerate(SEGMENT_LIST.value_type)
        ]
        offsets = pa.array(np.arange(numbers.size + 1, dtype=np.int32) * _SEGMENTS)
        flat = pa.StructArray.from_arrays(arrays, fields=list(SEGMENT_LIST.value_type))
        return pa.ListArray.from_arrays(offsets, flat).cast(SEGMENT_LIST)

    def rows(self, numbers: np.ndarray, changed: np.ndarray) -> pa.Table:
        """The columns of PREDICTIONS of these items, but for segments and provenance."""
        sha256 = pa.array(self.sha256).take(pa.array(numbers % _TEMPLATES))
        count = numbers.size
        ids = [f"item-{number:010d}" for number in numbers.tolist()]
        prints = [
            hashlib.sha256(f"{id}/{other}".encode()).hexdigest()
            for id, other in zip(ids, changed.tolist(), strict=True)
        ]
        return pa.table(
            {
                "reference_id": ids,
                "annotation_id": pa.nulls(count, pa.string()),
                "mask_path": [f"masks/{MaskStore.name_of(one)}" for one in sha256.to_pylist()],
                "mask_sha256": sha256,
                "fingerprint": prints,
                "height": pa.array(np.full(count, _HEIGHT, np.int32)),
                "width": pa.array(np.full(count, _WIDTH, np.int32)),
                "image_url": [f"images/{id}.jpg" for id in ids],
                "manifest": ["predictions.parquet"] * count,
            }
        )

    def batch(self, numbers: np.ndarray, changed: np.ndarray) -> PredictionBatch:
        """A batch to publish."""
        return PredictionBatch(self.rows(numbers, changed), self.segments(numbers))


def _segment(mask: np.ndarray, index: int) -> dict[str, object]:
    ys, xs = np.nonzero(mask == index)
    return {
        "label": f"class {index}",
        "index": index,
        "metadata": '{"source":"model"}',
        "confidence": 0.5,
        "area_px": int(xs.size),
        "area_fraction": float(xs.size / mask.size),
        "bbox_x": int(xs.min()),
        "bbox_y": int(ys.min()),
        "bbox_w": int(np.ptp(xs)) + 1,
        "bbox_h": int(np.ptp(ys)) + 1,
        "centroid_x": float(xs.mean()),
        "centroid_y": float(ys.mean()),
    }


def _provenance(run_id: str, *, update: bool = False) -> Provenance:
    return Provenance("default", _MODEL_RUN, "2026-01-05", run_id, datetime.now(UTC), update)


def opened(folder: Path) -> tuple[Catalog, MaskStore]:
    """The catalog and the masks in a folder."""
    masks = MaskStore(Folder(str(folder / "masks")))
    return Catalog(Folder(str(folder / "catalog")), masks), masks


def fill(folder: Path, rows: int, chunk: int) -> None:
    """Make a catalog with this many predictions, a sorted file per chunk of them."""
    catalog, masks = opened(folder)
    samples = Samples(masks)
    by = _provenance("filling")
    first = np.array([0])
    catalog.publish(samples.batch(first, first != 0), masks, by)
    for start in range(1, rows, chunk):
        numbers = 2 * np.arange(start, min(start + chunk, rows))
        table = samples.rows(numbers, np.zeros(numbers.size, bool))
        given = {
            "dataset": by.dataset,
            "model_run": by.model_run,
            "partition": by.partition,
            "run_id": by.run_id,
            "previous_fingerprint": None,
            "published_at": by.time,
        }
        columns = [
            samples.segments(numbers)
            if field.name == "segments"
            else pa.array([given[field.name]] * numbers.size, field.type)
            if field.name in given
            else table[field.name]
            for field in PREDICTIONS
        ]
        rows_there = pa.Table.from_arrays(columns, schema=PREDICTIONS)
        write_deltalake(catalog.uri, rows_there, mode="append", writer_properties=WRITING)
    # The library syncs and confirms nothing; the first to open it for writing would do that.
    catalog.table.open(mending=True)


def measure(folder: Path, case: Case, rows: int, batch: int) -> Figures:
    """Publish one batch and read it back; for a process of its own."""
    catalog, masks = opened(folder)
    content = Samples(masks).batch(*case.choose(rows, batch))
    by = _provenance("measured", update=case.update)
    before, files = peak_mib(), _sizes(folder)
    started = perf_counter()
    receipts = catalog.publish(content, masks, by)
    published = perf_counter()
    peak = peak_mib()
    written = sum(size for path, size in _sizes(folder).items() if files.get(path) != size)
    reading = perf_counter()
    found = catalog.verify(receipts, by, masks=0)
    if found.mismatches:
        raise SystemExit(f"{case.name}: reading back does not confirm: {found.mismatches[0]}")
    reading = perf_counter() - reading
    outcomes = {name: count for name, count in counts(receipts).items() if count}
    return Figures(published - started, reading, before, peak, written, outcomes)


def _sizes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def _copied(folder: Path, to: Path) -> Path:
    """A copy to publish into. Files are linked where they are never written again."""

    def copy(source: str, target: str) -> object:
        shared = source.endswith((".parquet", ".png")) and "_delta_log" not in source
        return (os.link if shared else shutil.copy2)(source, target)

    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to, copy_function=copy)
    return to


def _in_a_fresh_process(folder: Path, case: Case, rows: int, batch: int) -> Figures | None:
    """The figures; None where the process needed more memory than it was given."""
    command = [sys.executable, "-m", "benchmarks.publishing", "--measure", str(folder), case.name]
    command += ["--rows", str(rows), "--batch", str(batch)]
    ended = subprocess.run(command, cwd=_REPOSITORY, check=False, stdout=subprocess.PIPE)
    if ended.returncode < 0 or ended.returncode == _OUT_OF_MEMORY:
        return None
    ended.check_returncode()
    return Figures(**json.loads(ended.stdout))


def _middle(given: Sequence[Figures | None]) -> Figures | None:
    """The one of median time, with the highest peak of all; None where one did not end."""
    figures = [one for one in given if one is not None]
    if len(figures) < len(given):
        return None
    time = median(one.seconds for one in figures)
    chosen = min(figures, key=lambda one: abs(one.seconds - time))
    return Figures(**{**asdict(chosen), "peak_mib": max(one.peak_mib for one in figures)})


#: Case -> figures; None where the process ran out of memory.
Measured = dict[str, Figures | None]


def run(
    sizes: Sequence[int], batch: int, chunk: int, rounds: int, folder: Path
) -> dict[int, Measured]:
    """Measure every case at every size."""
    results: dict[int, Measured] = {}
    for rows in sizes:
        filled = folder / f"{rows}"
        started = perf_counter()
        fill(filled, rows, chunk)
        size = sum(_sizes(filled).values()) / 1e6
        _say(f"{rows:,} rows: filled in {perf_counter() - started:.0f} s, {size:.0f} MB")
        results[rows] = {}
        for case in CASES:
            figures: list[Figures | None] = []
            while len(figures) < rounds and None not in figures:
                copy = _copied(filled, folder / "copy")
                figures.append(_in_a_fresh_process(copy, case, rows, batch))
            results[rows][case.name] = _middle(figures)
            _say(_line(rows, case.name, results))
        shutil.rmtree(filled)
    return results


_HEADING = (
    f"{'batch':<26}{'rows there':>12}{'publish s':>11}{'ratio':>8}{'read back s':>13}"
    f"{'peak MiB':>10}{'of it':>8}{'MB written':>12}  outcomes"
)


def _line(rows: int, name: str, results: dict[int, Measured]) -> str:
    own, smallest = results[rows][name], results[min(results)][name]
    if own is None:
        return f"{name:<26}{rows:>12,}  needs more than {_MOST_MEMORY >> 30} GiB of address space"
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in own.outcomes.items())
    ratio = own.seconds / smallest.seconds if smallest is not None else float("nan")
    return (
        f"{name:<26}{rows:>12,}{own.seconds:>11.3f}{ratio:>8.2f}"
        f"{own.reading_back:>13.3f}{own.peak_mib:>10.0f}"
        f"{own.peak_mib - own.before_mib:>8.0f}{own.written / 1e6:>12.2f}  {outcomes}"
    )


def _text(results: dict[int, Measured]) -> str:
    lines = [_HEADING]
    lines += [_line(rows, case.name, results) for case in CASES for rows in results]
    return "\n".join(lines)


def _write(results: dict[int, Measured], asked: argparse.Namespace) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"publishing-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
    content = {
        "machine": machine_facts(),
        "batch": asked.batch,
        "rows_per_file": asked.chunk,
        "rounds": asked.rounds,
        "publishing": {
            str(rows): {name: one and asdict(one) for name, one in cases.items()}
            for rows, cases in results.items()
        },
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Measure and report; with ``--measure``, one measurement as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publishing", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--batch", type=int, default=10_000, help="predictions published (10000)")
    parser.add_argument("--chunk", type=int, default=100_000, help="rows per table file (100000)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements per case (3)")
    parser.add_argument("--folder", type=Path, help="where the catalogs are made; a temporary one")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "CASE"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.measure:
        cases: dict[str, Case] = {case.name: case for case in CASES}
        folder, name = asked.measure
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        try:
            figures = measure(Path(folder), cases[name], asked.rows[0], asked.batch)
        except MemoryError:
            sys.exit(_OUT_OF_MEMORY)
        print(json.dumps(asdict(figures)))
        return

    with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-", dir=asked.folder) as folder:
        _report(asked, Path(folder))


def _report(asked: argparse.Namespace, folder: Path) -> None:
    _say(_HEADING)
    results = run(sorted(asked.rows), asked.batch, asked.chunk, asked.rounds, folder)
    print(_text(results))
    _say(f"written to {_write(results, asked)}")


if __name__ == "__main__":
    main()
