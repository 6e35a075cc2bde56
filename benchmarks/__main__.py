"""``python -m benchmarks``: everything segpipe does with a mask, against decoding it and others.

Prints Markdown. ``--peers PYTHON`` names an interpreter that has other libraries (see
``make bench-peers``); ``--write`` puts figures and chart into ``docs/``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.cases import FAST, LOOPS, PILLOW, REFERENCE, Case, Measured, cases, measure
from benchmarks.chart import chart
from benchmarks.forms import forms_table
from benchmarks.goals import goals, goals_table
from benchmarks.masks import ORGANIC, SMALL, Shape
from benchmarks.peers import figures as peers_of
from benchmarks.peers.figures import Peer
from benchmarks.report import measured_on, peers_table, stage_table, stages_of_all, whole_table

_DOCS = Path(__file__).resolve().parent.parent / "docs"
_PAGE, _CHART = "performance.md", "performance.svg"
_BEGIN, _END = "<!-- figures: python -m benchmarks --write -->", "<!-- end of figures -->"
_QUICK = 16
_FORMS_MASKS = 320
_APART = (
    "Timed apart on every other block, put within the pass: they come near the whole, not to its "
    "last hundredth, and a rest below zero says that a stage takes longer by itself."
)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write where asked to."""
    asked = _parser().parse_args(arguments)
    divisor = _QUICK if asked.quick else 1
    heading = measured_on()  # before there is any load of its own
    wanted = [case for case in cases(divisor) if not asked.quick or case.shape == SMALL]
    with ExitStack() as folders:
        measured = [_told(case, folders) for case in wanted]
    organic = {one.case.shape: one for one in measured if one.case.kind == ORGANIC}
    peers = _peers(asked.peers, organic, divisor) if asked.peers else {}
    _say("other forms of PNG")
    forms = forms_table(_FORMS_MASKS // divisor)
    figures = _figures(heading, measured, organic, peers, forms)
    print(figures)
    if asked.write:
        _write(asked.docs, figures, organic[SMALL], peers.get(SMALL, ()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few masks, of one size")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter with other libraries")
    parser.add_argument("--write", action="store_true", help=f"into {_PAGE} and {_CHART}")
    parser.add_argument("--docs", type=Path, default=_DOCS, help="where those are (docs)")
    return parser


def _figures(
    heading: str,
    measured: Sequence[Measured],
    organic: Mapping[Shape, Measured],
    peers: Mapping[Shape, Sequence[Peer]],
    forms: str,
) -> str:
    small = organic[SMALL]
    compared = {shape: organic[shape] for shape in peers_of.shapes() if shape in organic}
    return "\n\n".join(
        [
            heading,
            f"### Goals\n\n{goals_table(goals(measured, small, peers.get(SMALL, ())))}",
            f"### End to end, one thread, x decode\n\n{whole_table(measured)}",
            f"### Other forms of PNG, decoded, measured and ready to store\n\n{forms}",
            f"### Others on the same organic masks\n\n{peers_table(peers, compared)}",
            f"### Stages, organic 640 x 480\n\n{_APART}\n\n{stage_table(small)}",
            f"### Stages of all, x decode: {FAST}\n\n{stages_of_all(measured, FAST)}",
            f"### Stages of all, x decode: {REFERENCE}\n\n{stages_of_all(measured, REFERENCE)}",
        ]
    )


def _write(docs: Path, figures: str, small: Measured, peers: Sequence[Peer]) -> None:
    """Put the figures between their marks; what people wrote around them stays."""
    page = (docs / _PAGE).read_text(encoding="utf-8")
    if _BEGIN not in page or _END not in page:
        sys.exit(f"{_PAGE} has lost its marks: {_BEGIN} and {_END}")
    before, after = page.partition(_BEGIN)[0], page.partition(_END)[2]
    written = f"{before}{_BEGIN}\n\n{figures}\n\n{_END}{after}"
    (docs / _PAGE).write_text(written, encoding="utf-8")
    shown = [(name, small.ratio(name)) for name in (*small.ways, *LOOPS)]
    shown += [(peer.name, peer.ratio) for peer in peers if peer.ratio is not None]
    (docs / _CHART).write_text(chart([*shown, (PILLOW, 1.0)]), encoding="utf-8")


def _told(case: Case, folders: ExitStack) -> Measured:
    _say(f"{case.count} {case.kind} masks of {case.shape}")
    return measure(case, folders)


def _peers(python: str, organic: Mapping[Shape, Measured], divisor: int) -> dict[Shape, list[Peer]]:
    found = {}
    for shape in peers_of.shapes():
        if shape in organic:
            _say(f"other libraries on masks of {shape}")
            found[shape] = peers_of.measure(python, shape, divisor=divisor)
    return found


def _say(words: str) -> None:
    print(f"{words} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
