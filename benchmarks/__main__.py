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

from benchmarks.break_even import break_even_table
from benchmarks.cases import FAST, LOOPS, PILLOW, REFERENCE, Case, Measured, cases, measure
from benchmarks.chart import chart
from benchmarks.forms import form_goals, forms_table, measure_forms
from benchmarks.goals import Goal, goals, goals_table
from benchmarks.importing import import_goals, imports_table, measure_imports
from benchmarks.masks import ORGANIC, SMALL, Shape
from benchmarks.peers import figures as peers_of
from benchmarks.peers.figures import Peer
from benchmarks.ranges import measure_ranges, range_goals, range_table, workers_table
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
    set_out, tables = _other_tables(divisor)
    figures = _figures(heading, measured, organic, peers, set_out, tables)
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
    set_out: Sequence[Goal],
    tables: Sequence[str],
) -> str:
    small = organic[SMALL]
    compared = {shape: organic[shape] for shape in peers_of.shapes() if shape in organic}
    all_goals = [*goals(measured, small, peers.get(SMALL, ())), *set_out]
    return "\n\n".join(
        [
            heading,
            f"## Goals\n\n{goals_table(all_goals)}",
            f"## End to end, one thread, x decode\n\n{whole_table(measured)}",
            *tables,
            f"## Others on the same organic masks\n\n{peers_table(peers, compared)}",
            f"## Stages, organic 640 x 480\n\n{_APART}\n\n{stage_table(small)}",
            f"## Stages of all, x decode: {FAST}\n\n{stages_of_all(measured, FAST)}",
            f"## Stages of all, x decode: {REFERENCE}\n\n{stages_of_all(measured, REFERENCE)}",
        ]
    )


def _other_tables(divisor: int) -> tuple[list[Goal], list[str]]:
    """Goals and tables of what is measured on organic masks alone."""
    _say("other forms of PNG")
    forms = measure_forms(_FORMS_MASKS // divisor)
    _say("imports")
    imports = measure_imports(_FORMS_MASKS // divisor)
    _say("ranges of partitions, and workers")
    one, many = measure_ranges(divisor)
    _say("opening the fast path")
    return [*form_goals(*forms), *import_goals(imports), *range_goals(one, many)], [
        f"## Other forms of PNG, decoded, measured and ready to store\n\n{forms_table(*forms)}",
        f"## Imports and the writer, one worker\n\n{imports_table(imports)}",
        f"## Ranges of small partitions, a process for all\n\n{range_table(one)}",
        f"## Workers\n\n{workers_table(many)}",
        f"## Opening the fast path\n\n{break_even_table(divisor)}",
    ]


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
