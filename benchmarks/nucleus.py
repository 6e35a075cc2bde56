"""Publishing to Nucleus through segpipe, against the SDK used directly.

``python -m benchmarks.nucleus [--masks 1000] [--rounds 3]`` starts ``segpipe nucleus-server`` on
this machine and sends the same local masks to it in turns: by one call of the SDK, which checks
nothing and keeps no receipts, and by segpipe, which plans, sends, reads back and writes receipts.
Then an unchanged rerun: its seconds, and the requests it makes. The endpoint validates and stores
what arrives on the same processors, so that the ratio is what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import nucleus
import requests

from benchmarks.landing import PARTITION, Masks, generated_masks, write_manifest
from benchmarks.masks import HEIGHT, WIDTH
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from tests.fixtures.fault_proxy import FaultProxy
from tests.fixtures.nucleus_endpoint import KEY, RunningEndpoint

_SEGMENTS = (5, 20)


def root_for(folder: Path, masks: Masks, url: str, dataset: str) -> Root:
    """A materialized root that publishes to the dataset."""
    folder.mkdir()
    lines = [f'allowed_roots = ["{masks.folder}"]', "[nucleus]", f'dataset_id = "{dataset}"']
    lines += [f'endpoint = "{url}"', 'model = "segpipe {model_run}"']
    (folder / SETTINGS_FILE).write_text("\n".join(lines) + "\n")
    write_manifest(folder, masks)
    root = Root.open(str(folder))
    root.materialize(PARTITION)
    return root


def new_dataset(url: str, root_rows: list[str]) -> str:
    """A dataset with these items."""

    def ask(path: str, body: Any) -> Any:
        answer = requests.post(f"{url}/{path}", json=body, auth=(KEY, ""), timeout=120)
        answer.raise_for_status()
        return answer.json()

    dataset = str(ask("dataset/create", {"name": f"bench {perf_counter()}"})["dataset_id"])
    items = [{"reference_id": one, "height": HEIGHT, "width": WIDTH} for one in root_rows]
    ask(f"dataset/{dataset}/append", {"items": items, "update": False})
    return dataset


def through_segpipe(root: Root, run_id: str) -> tuple[float, dict[str, int]]:
    """Publish the partition; the seconds and the outcomes."""
    now = datetime.now(UTC)
    settings = root.settings
    who = Provenance(settings.dataset, PARTITION.model_run, PARTITION.date, run_id, now)
    begun = perf_counter()
    published = root.publish(PARTITION, provenance=who, destination="nucleus")
    return perf_counter() - begun, {k: v for k, v in published.outcomes.items() if v}


def directly(root: Root, url: str, dataset: str) -> float:
    """Send the same masks with the SDK alone; the seconds."""
    client = nucleus.NucleusClient(api_key=KEY, endpoint=url)
    predictions = []
    for batch in root.validated(PARTITION).batches(10_000):
        rows = zip(
            batch.rows["reference_id"].to_pylist(),
            batch.rows["mask_sha256"].to_pylist(),
            batch.segments.to_pylist(),
            strict=True,
        )
        for reference_id, sha256, segments in rows:
            predictions.append(
                nucleus.SegmentationPrediction(
                    str(Path(root.masks.folder.path) / root.masks.name_of(sha256)),
                    [
                        nucleus.Segment(s["label"], s["index"], json.loads(s["metadata"]))
                        for s in segments
                    ],
                    reference_id,
                )
            )
    begun = perf_counter()
    model = client.create_model("direct", f"direct {dataset}")
    answer = client.get_dataset(dataset).upload_predictions(model, predictions)
    seconds = perf_counter() - begun
    if answer["predictions_processed"] != len(predictions):
        sys.exit(f"the SDK stored {answer}")
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nucleus", description=__doc__)
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    os.environ["NUCLEUS_API_KEY"] = KEY
    with (
        tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as place,
        generated_masks(asked.masks, 1, _SEGMENTS, keep=False) as masks,
        RunningEndpoint(Path(place) / "endpoint") as endpoint,
        FaultProxy(endpoint.url) as proxy,
    ):
        items = [f"item-000-{file.name.removesuffix('.png')}" for file in masks.files]
        pairs = []
        for number in range(asked.rounds):
            dataset = new_dataset(endpoint.url, items)
            root = root_for(Path(place) / f"root {number}", masks, proxy.endpoint, dataset)
            times = {}
            for way in ("sdk", "segpipe") if number % 2 == 0 else ("segpipe", "sdk"):
                times[way] = (
                    directly(root, proxy.endpoint, dataset)
                    if way == "sdk"
                    else through_segpipe(root, "first")[0]
                )
            pairs.append((times["sdk"], times["segpipe"]))
        proxy.forget()
        again, outcomes = through_segpipe(root, "again")
        uploads = sum("uploadPredictions" in one.path for one in proxy.log)
        sdk, segpipe = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        count = len(masks.files)
        print(f"{count:,} local masks, median of {asked.rounds}")
        print(f"  {'the SDK, one call':<32}{sdk:>8.2f} s  {count / sdk:>6.0f} masks/s")
        words = f"{count / segpipe:>6.0f} masks/s  {ratio:.2f} x the time"
        print(f"  {'segpipe':<32}{segpipe:>8.2f} s  {words}")
        words = f"{len(proxy.log)} requests, {uploads} uploads, {outcomes}"
        print(f"  {'segpipe, nothing changed':<32}{again:>8.2f} s  {words}")


if __name__ == "__main__":
    main()
