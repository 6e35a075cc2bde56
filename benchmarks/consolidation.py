"""What a view costs, against decoding the same masks: ``python -m benchmarks.consolidation``.

Two parts, each with its baseline in the same run. Per mask: counting pixels, deciding what becomes
what and renaming the pixels, against decoding; and what a changed mask needs after that. A whole
partition: making a view of it, and asking again for one that is there, against validating it. All
works take turns, so drift of the machine hits all alike.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from PIL import Image

from benchmarks.landing import PARTITION, fresh_root, generated_masks, write_manifest
from benchmarks.masks import SEGMENTS, mask_of
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.measures import measure
from segpipe.predictions.prediction import Segment
from segpipe.predictions.view import View
from segpipe.root import Root
from segpipe.validation.rules.policy import Policies, Policy
from segpipe.views.consolidation import Consolidation

_MADE = (View.INSTANCE, View.SEMANTIC)
_CLASSES = 12
#: Of the labels ``class 0`` to ``class 255`` of the generated manifests.
# Backwards, so that the semantic view numbers them anew and every mask of it is another one.
_TAXONOMY = {f"class {v}": "thing" if v % 2 else "stuff" for v in reversed(range(256))}
# The labels of the core's part; the semantic view merges only where they repeat.
_FEW = {f"kind {number}": "thing" if number % 2 else "stuff" for number in range(_CLASSES)}


class Turns:
    """Seconds of several works in rounds, in each of which all take their turn."""

    def __init__(
        self,
        works: Mapping[str, Callable[[], object]],
        rounds: int,
        before: Callable[[str], object] = lambda name: None,
    ) -> None:
        """Run them.

        Args:
            before: done before each work, given its name, and not timed.
        """
        self._seconds: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds):
            for name, work in works.items():
                before(name)
                started = perf_counter()
                work()
                self._seconds[name].append(perf_counter() - started)

    def line(self, title: str, names: Sequence[str], baseline: str, masks: int) -> str:
        """Time per mask of works together, and its ratio to the baseline within each round."""
        rounds = zip(*(self._seconds[name] for name in names), strict=True)
        own = [sum(seconds) for seconds in rounds]
        ratios = [one / base for one, base in zip(own, self._seconds[baseline], strict=True)]
        return (
            f"  {title:<28}{1e6 * median(own) / masks:>9.0f} us{median(ratios):>8.2f} x"
            f"  ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def core(title: str, masks: list[np.ndarray], rounds: int) -> None:
    """Print the stages of a mask's view."""
    files = [canonical_png(mask) for mask in masks]
    areas = [np.array(Image.fromarray(mask).histogram(), np.int64) for mask in masks]
    given = [
        [
            Segment(f"kind {v % _CLASSES}", v, {"confidence": 0.5 + v / 512})
            for v in np.flatnonzero(a).tolist()
        ]
        for a in areas
    ]
    works: dict[str, Callable[[], object]] = {
        "decode": lambda: [decode_mask(data) for data in files],
        "count pixels": lambda: [Image.fromarray(mask).histogram() for mask in masks],
    }
    for view in _MADE:
        consolidation = Consolidation(view, _FEW)
        made = [consolidation.of(one, area) for one, area in zip(given, areas, strict=True)]
        pixels = [one.lookup.take(mask) for one, mask in zip(made, masks, strict=True)]
        works |= {
            f"{view}: decide": lambda c=consolidation: [  # type: ignore[misc]
                c.of(one, area) for one, area in zip(given, areas, strict=True)
            ],
            f"{view}: rename pixels": lambda made=made: [  # type: ignore[misc]
                one.lookup.take(mask) for one, mask in zip(made, masks, strict=True)
            ],
            f"{view}: measure": lambda p=pixels: [measure(mask) for mask in p],  # type: ignore[misc]
            f"{view}: encode": lambda p=pixels: [canonical_png(mask) for mask in p],  # type: ignore[misc]
        }
    turns = Turns(works, rounds)
    print(f"\n{title}: {len(masks)} masks, {rounds} rounds; per mask, and against decoding")
    for name in works:
        print(turns.line(name, [name], "decode", len(masks)))
    for view in _MADE:
        stages = ["count pixels", f"{view}: decide", f"{view}: rename pixels"]
        print(turns.line(f"{view}: consolidating", stages, "decode", len(masks)))


def partition(masks: int, rounds: int) -> None:
    """Print what views of a whole partition cost against validating it, with one worker."""
    with (
        generated_masks(masks, 1, SEGMENTS, keep=False) as files,
        tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as folder,
    ):
        base, aside = Path(folder) / "root", Path(folder) / "aside"
        write_manifest(base, files)
        root = _with_taxonomy(fresh_root(base, files.folder, aside, 1))
        root.materialize(PARTITION)  # imports, file cache
        works: dict[str, Callable[[], object]] = {"validate": lambda: root.materialize(PARTITION)}
        for view in _MADE:
            works[f"{view} view"] = lambda view=view: _made(root, view)  # type: ignore[misc]
            works[f"{view} view, unchanged"] = lambda view=view: root.materialize_view(  # type: ignore[misc]
                PARTITION, view
            )

        def before(name: str) -> None:
            if name == "validate":  # everything anew, the masks of the views too
                shutil.rmtree(aside)
            os.sync()  # each pass ends with one: what was written before is not its own

        turns = Turns(works, rounds, before)
    print(f"\na partition of {masks} masks, 1 worker, {rounds} rounds; against validating it")
    for name in works:
        print(turns.line(name, [name], "validate", masks))


def _made(root: Root, view: View) -> None:
    summary = root.materialize_view(PARTITION, view=view, force=True)
    if summary.changed != summary.predictions:
        raise AssertionError(f"the {view} view changed {summary.changed} of {summary.predictions}")


def _with_taxonomy(root: Root) -> Root:
    views = str(Path(root.settings.masks or "").parent / "views")
    policies = Policies(Policy(taxonomy=_TAXONOMY))
    return Root(replace(root.settings, policies=policies, views=views))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.consolidation", description=__doc__)
    parser.add_argument("--masks", type=int, default=200, help="of the partition (200)")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    small = [mask_of(1, number) for number in range(40)]
    core("640 x 480", small, asked.rounds)
    rows, columns = np.arange(1024) * 480 // 1024, np.arange(2048) * 640 // 2048
    # Contiguous, as decoded masks are.
    large = [np.ascontiguousarray(mask[rows][:, columns]) for mask in small[:10]]
    core("2048 x 1024", large, asked.rounds)
    partition(asked.masks, asked.rounds)


if __name__ == "__main__":
    main()
