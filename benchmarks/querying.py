"""Queries on a large catalog: what they read, how long they take, how much memory.

``python -m benchmarks.querying [--runs 40] [--rows 100000] [--root DIR]`` fills a catalog with so
many model runs of so many predictions, five Segments each, and asks it, each query in a fresh
process. What is read is counted by the system (``rchar`` of ``/proc/self/io``), as is peak memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from benchmarks.machine import machine_facts
from benchmarks.memory import peak_mib
from segpipe.publishing.table_format import PREDICTIONS, WRITING
from segpipe.root import Root
from segpipe.tables.schemas import MEASURED
from segpipe.validation.validated import nested

_LABELS = ("Road", "Person", "Tree", "Sky", "Car")
_QUERIES = {
    "labels of one model run": "SELECT label, avg(confidence) FROM segments "
    "WHERE model_run = 'model-000' GROUP BY 1",
    "labels of all": "SELECT label, avg(confidence) FROM segments GROUP BY 1",
    "one item of all model runs": "SELECT * FROM segments WHERE reference_id = 'item-00000077'",
    "predictions per model run": "SELECT model_run, count(*) FROM predictions GROUP BY 1",
}


def fill(root: Path, runs: int, rows: int) -> None:
    """Write a catalog of ``runs`` x ``rows`` predictions."""
    table = Root.open(root).catalog.table
    table.create()
    for run in range(runs):
        write_deltalake(
            table.uri, _predictions(run, rows), mode="append", writer_properties=WRITING
        )


def _predictions(run: int, rows: int) -> pa.Table:
    random = np.random.default_rng(run)
    ids = [f"item-{number:08d}" for number in range(rows)]
    digests = [random.bytes(32).hex() for _ in ids]
    given = {
        "dataset": ["default"] * rows,
        "model_run": [f"model-{run:03d}"] * rows,
        "reference_id": ids,
        "mask_path": [f"masks/{digest[:2]}/{digest}.png" for digest in digests],
        "mask_sha256": digests,
        "fingerprint": digests,
        "height": np.full(rows, 480, np.int32),
        "width": np.full(rows, 640, np.int32),
        "segments": _segments(random, rows),
        "partition": ["2026-01-05"] * rows,
    }
    columns = [
        pa.array(given[name], kind) if name in given else pa.nulls(rows, kind)
        for name, kind in zip(PREDICTIONS.names, PREDICTIONS.types, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=PREDICTIONS)


def _segments(random: np.random.Generator, rows: int) -> pa.Array:
    count = rows * len(_LABELS)
    confidences = random.random(count).round(4)
    own = {
        "label": np.tile(np.array(_LABELS), rows),
        "index": np.tile(np.arange(len(_LABELS), dtype=np.int32), rows),
        "metadata": [f'{{"confidence":{value}}}' for value in confidences],
        "confidence": confidences,
    }
    columns = []
    for field in MEASURED:
        values = own.get(field.name)
        if values is None and pa.types.is_integer(field.type):
            values = random.integers(0, 640, count).astype(field.type.to_pandas_dtype())
        if values is None and pa.types.is_floating(field.type):
            values = random.random(count)
        columns.append(
            pa.nulls(count, field.type) if values is None else pa.array(values, field.type)
        )
    return nested(np.full(rows, len(_LABELS)), pa.table(columns, schema=pa.schema(MEASURED)))


def ask(root: str, sql: str) -> dict[str, float]:
    """Seconds, megabytes read and peak memory (MiB) of one query, in this process."""
    opened = Root.open(root)
    before, begun = _read(), perf_counter()
    rows = opened.sql(sql).num_rows
    return {
        "seconds": perf_counter() - begun,
        "megabytes": (_read() - before) / 1e6,
        "memory": peak_mib(),
        "rows": rows,
    }


def _read() -> int:
    (line,) = (
        line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar")
    )
    return int(line.split()[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.querying", description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="model runs (40)")
    parser.add_argument("--rows", type=int, default=100_000, help="predictions of each (100,000)")
    parser.add_argument("--root", type=Path, help="a folder to keep, filled if it is not there")
    parser.add_argument("--ask", nargs=2, metavar=("ROOT", "SQL"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ask:
        print(json.dumps(ask(*asked.ask)))
        return
    print(", ".join(f"{name} {fact}" for name, fact in machine_facts().items()))
    with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as folder:
        root = asked.root or Path(folder)
        if not (root / "catalog").is_dir():
            root.mkdir(parents=True, exist_ok=True)
            fill(root, asked.runs, asked.rows)
        files = list((root / "catalog" / "predictions").rglob("*.parquet"))
        size = sum(path.stat().st_size for path in files) / 1e6
        print(f"\n{asked.runs * asked.rows:,} predictions, {size:,.0f} MB in {len(files)} files")
        for name, sql in _QUERIES.items():
            command = [sys.executable, "-m", "benchmarks.querying", "--ask", str(root), sql]
            done = subprocess.run(command, capture_output=True, check=True, text=True)
            one = json.loads(done.stdout)
            print(
                f"  {name:<28}{one['seconds']:>7.2f} s {one['megabytes']:>8,.1f} MB read "
                f"{one['memory']:>6,.0f} MiB at most"
            )


if __name__ == "__main__":
    main()
