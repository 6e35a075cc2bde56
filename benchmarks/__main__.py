"""``python -m benchmarks``: generate, measure, report."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.contenders import (
    Contender,
    NaiveAny,
    NaiveWhere,
    PillowDecode,
    Segpipe,
    SegpipeMeasures,
)
from benchmarks.landing import Masks, generated_masks, write_manifest
from benchmarks.machine import machine_facts
from benchmarks.masks import SEGMENTS
from benchmarks.memory import Peak, measure_peak
from benchmarks.partitions import masks_per_second, measure_partition
from benchmarks.report import MEASURES, NAIVE_ANY, NAIVE_WHERE, PILLOW, SEGPIPE, STAGES, Results
from benchmarks.rounds import Times, blocks, interleaved
from benchmarks.stages import Stages

_BLOCK = 100
_QUICK_MASKS = 200
# The naive loops and the stages apart take at most this many blocks, to bound the time.
_SAMPLED_BLOCKS = 8
# Rows per mask file of the larger manifest memory is measured on.
_REPETITIONS = 10


def main(arguments: list[str] | None = None) -> None:
    """Run the measurements asked for and report them."""
    asked = _parser().parse_args(arguments)
    segments = (min(asked.segments), max(asked.segments))
    count = _QUICK_MASKS if asked.quick else asked.masks
    machine = machine_facts()
    _say(f"generating {count:,} masks")
    with (
        generated_masks(count, asked.seed, segments, keep=asked.keep) as masks,
        tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as folder,
    ):
        results = _measured(masks, Path(folder), machine, asked)
    print(results.text())
    _say(f"written to {results.write()}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--masks", type=_positive, default=2000, help="masks to generate (2000)")
    parser.add_argument("--seed", type=int, default=1, help="of the generated masks (1)")
    parser.add_argument(
        "--segments",
        type=_values,
        nargs=2,
        default=SEGMENTS,
        metavar=("FEWEST", "MOST"),
        help=f"per mask ({SEGMENTS[0]} {SEGMENTS[1]}); the naive loops' time grows with them",
    )
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_MASKS} masks, fewer rounds")
    parser.add_argument("--memory", action="store_true", help="measure peak memory as well")
    parser.add_argument("--keep", action="store_true", help="keep the masks for the next run")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _values(text: str) -> int:
    number = _positive(text)
    if number > 256:
        raise argparse.ArgumentTypeError("at most 256: a mask has 8 bits")
    return number


def _measured(
    masks: Masks, folder: Path, machine: dict[str, object], asked: argparse.Namespace
) -> Results:
    root = folder / "root"
    write_manifest(root, masks)
    rounds = 1 if asked.quick else 5
    _say("measuring the whole work per mask")
    whole, stages = _whole(masks, root, folder)
    _say(f"measuring the partition, {2 * rounds} times")
    masks_per_second(root, masks.folder, folder / "partition", 1)  # imports, file cache
    partition = measure_partition(root, masks.folder, folder / "partition", rounds)
    peaks = _peaks(masks, root, folder) if asked.memory else []
    return Results(machine, masks.facts(), whole, stages, partition, peaks)


def _whole(masks: Masks, root: Path, folder: Path) -> tuple[Times, Times]:
    taking = blocks(len(masks.files), _BLOCK)
    stages = Stages(masks, folder / "stages")
    contenders: dict[str, Contender] = {
        PILLOW: PillowDecode(masks.paths),
        SEGPIPE: Segpipe(root, masks.folder, folder / "store", _BLOCK),
        MEASURES: SegpipeMeasures(masks.paths),
        NAIVE_ANY: NaiveAny(masks.paths),
        NAIVE_WHERE: NaiveWhere(masks.paths),
        STAGES: stages,
    }
    # One block unmeasured: imports, caches, the allocator.
    contenders[PILLOW].run(taking[0])
    Segpipe(root, masks.folder, folder / "warm-up", _BLOCK).run(taking[0])
    step = -(-len(taking) // _SAMPLED_BLOCKS)
    sampled = dict.fromkeys((NAIVE_ANY, NAIVE_WHERE, STAGES), step)
    return interleaved(contenders, taking, sampled), stages.times


def _peaks(masks: Masks, root: Path, folder: Path) -> list[Peak]:
    _say("measuring memory")
    larger = folder / "larger"
    write_manifest(larger, masks, _REPETITIONS)
    return [
        measure_peak(place, masks.folder, folder / f"memory-{place.name}")
        for place in (root, larger)
    ]


def _say(words: str) -> None:
    print(f"{words} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
