"""Masks of one size and kind, through everything and through the stages apart, both ways."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.contenders import NaiveLoop, PillowDecode, UsualCode, by_any, by_where
from benchmarks.landing import Masks, made, write_manifest
from benchmarks.masks import CONSTANT, KINDS, NOISE, ORGANIC, SHAPES, SMALL, Recipe, Shape
from benchmarks.passes import Pass
from benchmarks.rounds import Contender, Times, blocks, interleaved
from benchmarks.stages import OWN, PUT, READ, Stages
from segpipe.masks import fast_path

PILLOW = "Pillow decode"
FAST, REFERENCE = "segpipe, fast path", "segpipe, reference path"
USUAL = "the usual code"
NAIVE_ANY, NAIVE_WHERE = "naive loop, any()", "naive loop, where()"
#: Ways without any library: what they are compared by is measured in the same turns.
LOOPS = (USUAL, NAIVE_ANY, NAIVE_WHERE)
_STAGES = "stages, "
# The loops take this many blocks: they are slow, and far from every limit.
_LOOP_BLOCKS = 3
# Masks, and masks at a time: a chunk of a real run has 256 rows. Noise takes ten times as long, and
# no two masks differ in what they take. There are no more constant masks than values: a second one
# of the same would only be found in the store.
_COUNTS = {
    SMALL: {ORGANIC: (1536, 256), NOISE: (384, 64), CONSTANT: (240, 40)},
    SHAPES[1]: {ORGANIC: (96, 12), NOISE: (32, 4), CONSTANT: (96, 12)},
    SHAPES[2]: {ORGANIC: (24, 3), NOISE: (8, 1), CONSTANT: (24, 3)},
}


@dataclass(frozen=True)
class Case:
    """Masks to measure: how many, of what, and how many at a time."""

    shape: Shape
    kind: str
    count: int
    block: int

    @property
    def recipe(self) -> Recipe:
        """What makes the masks."""
        return Recipe(shape=self.shape, kind=self.kind)


@dataclass(frozen=True)
class Measured:
    """What was measured of a case.

    Attributes:
        facts: of the masks: count, size, mean bytes and segments.
        whole: seconds per mask by contender; what a pass does once is spread over its masks.
        stages: the same by stage, for each way.
        once: seconds that passes took beside their blocks, by way, without the disk's.
        sync: seconds until everything was on the disk, by way.
    """

    case: Case
    facts: Mapping[str, float]
    whole: Times
    stages: Mapping[str, Times]
    once: Mapping[str, float]
    sync: Mapping[str, float]

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways that could be taken here."""
        return tuple(self.stages)

    def ratio(self, name: str) -> float:
        """Of a contender to Pillow's decoding."""
        return self.whole.ratio(name, PILLOW)

    def stage_ratio(self, way: str, stage: str) -> float | None:
        """Of a stage to Pillow's decoding of the same masks; None where it was not taken."""
        seconds, decoding = self.stages[way].by_block.get(stage), self.whole.by_block[PILLOW]
        if seconds is None:
            return None
        return median(own / decoding[block] for block, own in seconds.items())

    def rest_ratio(self, way: str) -> float:
        """Of what no stage accounts for to Pillow's decoding of the same masks."""
        whole, decoding = self.whole.by_block[way], self.whole.by_block[PILLOW]
        stages = self.stages[way].by_block
        return median(
            (whole[block] - sum(stages[name][block] for name in OWN)) / decoding[block]
            for block in stages[OWN[0]]
        )


def cases(divisor: int = 1) -> list[Case]:
    """All sizes and kinds, with fewer masks where a divisor is given."""
    return [
        Case(shape, kind, max(2, count // divisor), max(1, block // divisor))
        for shape in SHAPES
        for kind in KINDS
        for count, block in (_COUNTS[shape][kind],)
    ]


def measure(case: Case, folders: ExitStack, *, keep: bool = False) -> Measured:
    """Measure a case, in temporary folders.

    Args:
        folders: when it closes they are removed, and not before: ext4 looks through the files that
            were deleted in the last minutes for every new one, which makes a file's creation ten
            times as slow.
    """
    masks = folders.enter_context(made(case.count, case.recipe, keep=keep))
    temporary = tempfile.TemporaryDirectory(prefix="segpipe-benchmark-")
    folder = folders.enter_context(temporary)
    with ThreadPoolExecutor(1) as pool:
        # Passes work on threads of their own, where the C library gives memory back less often than
        # on the main one: what they are compared to works on such a thread, too.
        return pool.submit(_measured, case, masks, Path(folder)).result()


def _measured(case: Case, masks: Masks, folder: Path) -> Measured:
    root = folder / "root"
    write_manifest(root, masks)
    ways = {FAST: True, REFERENCE: False} if fast_path.load_fast_path() else {REFERENCE: False}
    taking = blocks(case.count, case.block)
    _warm_up(masks, folder / "warm-up", case.block, ways)
    stages = {way: Stages(masks, fast=fast) for way, fast in ways.items()}
    passes = {
        way: Pass(root, masks, folder / f"pass-{fast}", case.block, fast=fast)
        for way, fast in ways.items()
    }
    contenders: dict[str, Contender] = {
        PILLOW: PillowDecode(masks.paths),
        **passes,
        **{_STAGES + way: own for way, own in stages.items()},
    }
    every = {_STAGES + way: 2 for way in ways}
    if case.kind == ORGANIC:
        contenders[USUAL] = UsualCode(masks.paths, folder / "usual")
        contenders[NAIVE_ANY] = NaiveLoop(masks.paths, by_any)
        contenders[NAIVE_WHERE] = NaiveLoop(masks.paths, by_where)
        every |= dict.fromkeys(LOOPS, -(-len(taking) // _LOOP_BLOCKS))
    times = _interleaved(contenders, passes, taking, every)
    for way, own in passes.items():
        times.spread(way, own.once / case.count)
        for block in stages[way].times.by_block[READ]:
            stages[way].times.add(PUT, block, own.puts[block])
    return Measured(
        case,
        masks.facts(),
        times,
        {way: own.times for way, own in stages.items()},
        {way: own.once for way, own in passes.items()},
        {way: own.sync for way, own in passes.items()},
    )


def _interleaved(
    contenders: Mapping[str, Contender],
    passes: Mapping[str, Pass],
    taking: list[slice],
    every: Mapping[str, int],
) -> Times:
    with _all_entered(passes):
        times = interleaved(contenders, taking, every)
        for own in passes.values():
            own.finish()
    return times


def _all_entered(passes: Mapping[str, Pass]) -> ExitStack:
    stack = ExitStack()
    for own in passes.values():
        stack.enter_context(own)
    return stack


def _warm_up(masks: Masks, folder: Path, rows: int, ways: Mapping[str, bool]) -> None:
    """One block of everything unmeasured, to the end of a pass: imports, compiled code, caches, the
    allocator."""
    few = replace(masks, files=masks.files[:rows])
    write_manifest(folder / "root", few)
    first = slice(0, len(few.files))
    PillowDecode(few.paths).run(first)
    for fast in ways.values():
        with Pass(folder / "root", few, folder / str(fast), rows, fast=fast) as own:
            own.run(first)
            own.finish()
