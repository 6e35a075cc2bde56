"""A manifest that holds its masks beside one that names files of them, in a bucket.

``python -m benchmarks.inline_masks [--masks 10000]`` writes both with ``ManifestWriter`` to the
tests' S3 server on this machine, validates them, and validates them again, unchanged; each in a
process of its own. It prints seconds, and the requests and bytes that the server counted. The
server shares the processors, and answers in a millisecond or two: over a network a request takes
ten or more, so that the ratio of requests says more than that of seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.landing import PARTITION, Masks, generated_masks, manifest_segments
from benchmarks.masks import HEIGHT, SEGMENTS, WIDTH
from segpipe.formats.manifest_writer import ManifestWriter
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.root import Root
from tests.fixtures.s3_server import Bucket, Counted, S3Server

_WRITE, _VALIDATE, _AGAIN = STAGES = ("write", "validate", "validate again, unchanged")
_FORMS = ("files", "inline")
_DRAWN = 1000  # masks; drawing one takes longer than all that is measured


@dataclass(frozen=True)
class _Prediction:
    png: bytes
    segments: list[dict[str, Any]]


def _predictions(masks: Masks, count: int) -> list[_Prediction]:
    """So many different ones: the masks, and the same a few lines lower."""
    made = []
    for number in range(count):
        turn, place = divmod(number, len(masks.files))
        file = masks.files[place]
        png = (masks.folder / file.name).read_bytes()
        if turn:
            png = canonical_png(np.roll(decode_mask(png).pixels, 16 * turn, axis=0))
        made.append(_Prediction(png, manifest_segments(file.values)))
    return made


def _write(url: str, predictions: list[_Prediction], *, inline: bool) -> None:
    """Write the masks, as the PNGs they are, and their manifest to a root."""
    model_run, date = PARTITION.model_run, PARTITION.date
    with ManifestWriter(url, model_run, date, inline=inline) as writer:
        for number, one in enumerate(predictions):
            writer.add(f"item-{number}", one.png, one.segments, height=HEIGHT, width=WIDTH)


def measure(stage: str, form: str, url: str, count: int) -> float:
    """Seconds of a stage; for a process of its own."""
    if stage == _WRITE:
        with generated_masks(min(count, _DRAWN), 1, SEGMENTS, keep=True) as masks:
            predictions = _predictions(masks, count)
        started = perf_counter()
        _write(url, predictions, inline=form == "inline")
    else:
        started = perf_counter()
        summary = Root.open(url).materialize(PARTITION)
        if (summary.accepted, summary.reused) != (count, stage == _AGAIN):
            raise SystemExit(f"{stage}, {form}: not what was to be measured: {summary}")
    return perf_counter() - started


def _figures(stage: str, form: str, bucket: Bucket, count: int) -> tuple[float, Counted]:
    before = bucket.counted()
    command = [sys.executable, "-m", "benchmarks.inline_masks", "--masks", str(count)]
    ended = subprocess.run(
        [*command, "--measure", stage, form, f"{bucket.url}/root"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    after = bucket.counted()
    return float(ended.stdout), Counted(
        *(new - old for new, old in zip(after, before, strict=True))
    )


def compare(count: int, forms: Sequence[str]) -> Iterator[str]:
    """The lines of a table of the forms, stage by stage."""
    yield f"| {count:,} masks | form | seconds | requests | MB sent | MB received |"
    yield "|---|---|---|---|---|---|"
    with S3Server() as server:
        for form in forms:
            bucket = server.new_bucket()
            os.environ.update(bucket.environment)
            for stage in STAGES:
                seconds, found = _figures(stage, form, bucket, count)
                yield (
                    f"| {stage} | {form} | {seconds:.1f} | {found.requests:,} | "
                    f"{found.received / 1e6:.1f} | {found.sent / 1e6:.1f} |"
                )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inline_masks", description=__doc__)
    parser.add_argument("--masks", type=int, default=2000, help="masks (2000)")
    parser.add_argument("--form", choices=_FORMS, help="only one of the two")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(f"{measure(*asked.measure, asked.masks):.3f}")
        return
    for line in compare(asked.masks, [asked.form] if asked.form else _FORMS):
        print(line, flush=True)


if __name__ == "__main__":
    main()
