"""What a mask costs in each resource: the coefficients of the sizing model in ``docs/scale.md``.

``python -m benchmarks.scale [--masks 2000]`` takes generated masks through a root on the local disk
and, in a smaller number, through a bucket of the tests' S3 server, and prints per mask: processor
time, bytes in each place, and requests; and per commit: seconds and bytes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.landing import PARTITION, Masks, generated_masks, write_manifest
from benchmarks.machine import machine_facts
from benchmarks.masks import SEGMENTS
from benchmarks.object_store import land
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
from segpipe.settings import Settings
from tests.fixtures.fault_proxy import FaultProxy
from tests.fixtures.s3_server import Bucket, S3Server

_BUCKET_MASKS = 256


def _by() -> Provenance:
    now = datetime.now(UTC)
    return Provenance("default", PARTITION.model_run, PARTITION.date, uuid.uuid4().hex, now)


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def on_disk(folder: Path, masks: Masks) -> list[tuple[str, str]]:
    """Processor time and bytes per mask on the local disk, one worker."""
    count = len(masks.files)
    write_manifest(folder, masks)
    settings = Settings.load(str(folder)).with_allowed_roots(str(masks.folder))
    root = Root(replace(settings, workers=1))
    seconds: dict[str, float] = {}
    for what in ("first", "again"):
        begun = process_time()
        root.materialize(PARTITION)
        seconds[what] = process_time() - begun
        begun, waited = process_time(), perf_counter()
        root.publish(PARTITION, provenance=_by())
        seconds[f"{what} publish"] = process_time() - begun
        seconds[f"{what} commit"] = perf_counter() - waited
    tables = Path(root.tables(PARTITION).path)
    sizes = {path.name: path.stat().st_size for path in tables.glob("*.parquet")}
    catalog = folder / "catalog"
    per = 1e3 / count
    return [
        ("validate, processor", f"{seconds['first'] * per:.3f} ms"),
        ("  masks per core-second", f"{count / seconds['first']:,.0f}"),
        ("validate again, unchanged", f"{seconds['again'] * per:.3f} ms"),
        ("publish, processor", f"{seconds['first publish'] * per:.3f} ms"),
        ("publish again, unchanged", f"{seconds['again publish'] * per:.3f} ms"),
        (f"publish {count:,}, seconds", f"{seconds['first commit']:.2f} s"),
        ("manifest", f"{_bytes_below(folder / 'manifests') / count:,.0f} B"),
        ("mask", f"{_bytes_below(folder / 'masks') / count:,.0f} B"),
        *((f"{name}", f"{size / count:,.0f} B") for name, size in sorted(sizes.items())),
        ("catalog, without receipts", f"{_bytes_below(catalog / 'predictions') / count:,.0f} B"),
        ("receipts", f"{_bytes_below(catalog / 'receipts') / count:,.0f} B"),
    ]


def in_a_bucket(bucket: Bucket, proxy: FaultProxy, masks: Masks) -> list[tuple[str, str]]:
    """Requests per mask and per partition in an object store."""
    url = f"{bucket.url}/root"
    land(url, masks)
    rows = []
    for what in ("first", "again"):
        for step in ("validate", "publish"):
            # Opened anew: a store remembers for a while which masks it has put.
            root = Root(replace(Root.open(url).settings, workers=1))
            proxy.forget()
            if step == "validate":
                root.materialize(PARTITION)
            else:
                root.publish(PARTITION, provenance=_by())
            rows.append((f"{step}, {what}", _requests(proxy.requests, len(masks.files))))
    return rows


def _requests(requests: Counter[str], masks: int) -> str:
    """Requests by method, as so many per mask and the rest."""
    told = []
    for method, count in sorted(requests.items()):
        each, rest = divmod(count, masks)
        told.append(f"{method} {f'{each} a mask + ' if each else ''}{rest}")
    return ", ".join(told) or "none"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--masks", type=int, default=2000, help="masks on the local disk (2000)")
    asked = parser.parse_args()
    print(", ".join(f"{name} {fact}" for name, fact in machine_facts().items()))
    with (
        tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as folder,
        generated_masks(asked.masks, 1, SEGMENTS, keep=True) as masks,
    ):
        print(f"\nlocal disk, per mask ({asked.masks:,} of 640 x 480)")
        for name, figure in on_disk(Path(folder), masks):
            print(f"  {name:<28}{figure:>14}")
        few = replace(masks, files=masks.files[:_BUCKET_MASKS])
        with S3Server() as server, FaultProxy(server.new_bucket().endpoint) as proxy:
            bucket = Bucket(proxy.endpoint, server.new_bucket().name)
            os.environ.update(bucket.environment)
            print(f"\nbucket, requests ({len(few.files)} masks)")
            for name, figure in in_a_bucket(bucket, proxy, few):
                print(f"  {name:<20}{figure}")


if __name__ == "__main__":
    main()
