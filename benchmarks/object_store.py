"""A partition materialized and published in a bucket, as a ratio to the same on the local disk.

``python -m benchmarks.object_store [--masks 10000] [--url s3://bucket/prefix]`` writes masks and a
manifest to both places, runs both, and prints seconds, ratio, processor time of this process and
peak memory. Without ``--url`` the tests' S3 server is started on this machine and shares its
processors: the ratio is then an upper bound. With it, the environment names endpoint and
credentials.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter, process_time

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.landing import PARTITION, Masks, generated_masks, manifest_segments
from benchmarks.masks import HEIGHT, SEGMENTS, WIDTH
from benchmarks.memory import peak_mib
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
from segpipe.storage.files import Folder
from tests.fixtures.s3_server import S3Server


def land(root: str, masks: Masks) -> None:
    """Write the masks and their manifest to a root."""
    folder = Folder(f"{root}/manifests/{'/'.join(PARTITION.folders)}")
    names = [file.name for file in masks.files]

    def put(name: str) -> None:
        folder.write(f"masks/{name}", (masks.folder / name).read_bytes())

    folder.each(put, names)
    rows = [
        {
            "reference_id": file.name.removesuffix(".png"),
            "mask_url": f"masks/{file.name}",
            "segments": manifest_segments(file.values),
            "height": HEIGHT,
            "width": WIDTH,
        }
        for file in masks.files
    ]
    with folder.open_output("predictions.parquet") as output:
        pq.write_table(pa.Table.from_pylist(rows), output)


def measure(url: str, workers: int) -> None:
    """Run the partition once; prints the figures. For a process of its own."""
    opened = Root.open(url)
    root = Root(replace(opened.settings, workers=workers)) if workers else opened
    by = Provenance("default", PARTITION.model_run, PARTITION.date, uuid.uuid4().hex, _now())
    started, worked = perf_counter(), process_time()
    summary = root.materialize(PARTITION)
    materialized = perf_counter()
    publication = root.publish(PARTITION, provenance=by)
    published = perf_counter()
    verification = publication.verification
    if verification is None or verification.mismatches or summary.accepted != summary.rows:
        raise SystemExit("not everything was published as it is")
    print(
        f"{materialized - started:.3f} {published - materialized:.3f} "
        f"{process_time() - worked:.3f} {peak_mib():.0f}"
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _figures(url: str, workers: int) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.object_store", "--measure", url]
    ended = subprocess.run(
        [*command, "--workers", str(workers)], check=True, stdout=subprocess.PIPE, text=True
    )
    return [float(figure) for figure in ended.stdout.split()]


def _compare(url: str, masks: Masks, workers: int) -> None:
    with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as local:
        figures = {}
        for place in (local, url):
            land(place, masks)
            figures[place] = _figures(place, workers if place == url else 0)
    print(f"{len(masks.files)} masks      materialize s  publish s  processor s  peak MiB")
    for name, place in (("local disk", local), ("object store", url)):
        seconds = "{:>13.2f}  {:>9.2f}  {:>11.2f}  {:>8.0f}".format(*figures[place])
        print(f"{name:<16}{seconds}")
    own, other = (sum(figures[place][:2]) for place in (local, url))
    print(f"object store / local disk: {other / own:.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.object_store", description=__doc__)
    parser.add_argument("--masks", type=int, default=2000, help="masks (2000)")
    parser.add_argument("--url", help="an empty place in an object store")
    parser.add_argument("--workers", type=int, default=0, help="workers on the object store")
    parser.add_argument("--measure", metavar="ROOT", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.measure, asked.workers)
        return
    with generated_masks(asked.masks, 1, SEGMENTS, keep=True) as masks:
        if asked.url:
            _compare(asked.url.rstrip("/"), masks, asked.workers)
            return
        with S3Server() as server:
            bucket = server.new_bucket()
            os.environ.update(bucket.environment)
            _compare(f"{bucket.url}/root", masks, asked.workers)


if __name__ == "__main__":
    main()
