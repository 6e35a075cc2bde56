"""``python -m benchmarks``: everything segpipe does with a mask, against decoding it and others.

Prints Markdown. ``--peers PYTHON`` names an interpreter that has other libraries (see
``make bench-peers``); ``--write`` puts figures and chart into ``docs/``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks.cases import LONG, PILLOW, SHORT, USUAL, Case, Measured, cases, measure
from benchmarks.landing import made
from benchmarks.machine import machine_facts
from benchmarks.masks import KINDS, ORGANIC, SHAPES, SMALL
from benchmarks.peers.process import DECODING, PEERS
from benchmarks.report import chart, peers_table, stage_table, whole_table

_PROJECT = Path(__file__).resolve().parent.parent
_PAGE, _CHART = _PROJECT / "docs" / "performance.md", _PROJECT / "docs" / "performance.svg"
_BEGIN, _END = "<!-- figures: python -m benchmarks --write -->", "<!-- end of figures -->"
_PEER_MASKS, _PEER_BLOCK = 120, 20
_QUICK = 16


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few masks, of one size")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter with other libraries")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md and .svg")
    asked = parser.parse_args(arguments)
    wanted = cases(_QUICK if asked.quick else 1)
    measured = [_told(case) for case in wanted if not asked.quick or case.shape == SMALL]
    small = next(m for m in measured if m.case.shape == SMALL and m.case.kind == ORGANIC)
    ours = SHORT if SHORT in small.ways else LONG
    peers = _peers(asked.peers) if asked.peers else []
    others: list[tuple[str, float | str]] = [(USUAL, small.ratio(USUAL)), *peers]
    figures = "\n\n".join(
        [
            ", ".join(f"{name}: {fact}" for name, fact in machine_facts().items()),
            f"### End to end, one thread\n\n{whole_table(measured)}",
            f"### Others on the organic 640 x 480 masks\n\n"
            f"{peers_table(others, small.ratio(ours))}",
            f"### Goals\n\n{_goals(measured, small, ours, peers)}",
            f"### Stages, organic 640 x 480\n\n{stage_table(small)}",
        ]
    )
    print(figures)
    if asked.write:
        shown = [(name, found) for name, found in others if not isinstance(found, str)]
        ways = [(way, small.ratio(way)) for way in small.ways]
        _CHART.write_text(chart([*ways, *shown, (PILLOW, 1.0)]))
        page = _PAGE.read_text()
        before, after = page.partition(_BEGIN)[0], page.partition(_END)[2]
        _PAGE.write_text(f"{before}{_BEGIN}\n\n{figures}\n\n{_END}{after}")


def _told(case: Case) -> Measured:
    width, height = case.shape
    print(f"{case.count} {case.kind} masks of {width} x {height} ...", file=sys.stderr, flush=True)
    return measure(case)


def _peers(python: str) -> list[tuple[str, float | str]]:
    """Each peer's ratio to decoding, measured in a process of its own; words where it failed."""
    found: list[tuple[str, float | str]] = []
    case = next(one for one in cases() if one.shape == SHAPES[0] and one.kind == KINDS[0])
    with made(_PEER_MASKS, case.recipe, keep=False) as masks:
        for name in PEERS:
            print(f"{name} ...", file=sys.stderr, flush=True)
            command = ["-m", "benchmarks.peers.process", name, str(masks.folder), str(_PEER_BLOCK)]
            done = subprocess.run(
                [python, *command], cwd=_PROJECT, capture_output=True, text=True, timeout=600
            )
            if done.returncode:
                words = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
                found.append((name, f"did not run: {words[:100]}"))
                continue
            times = json.loads(done.stdout.strip().splitlines()[-1])["times"]
            decoding = times[DECODING]
            ratios = [seconds / decoding[block] for block, seconds in times[name].items()]
            found.append((name, median(ratios)))
    return found


def _goals(
    measured: list[Measured], small: Measured, ours: str, peers: list[tuple[str, float | str]]
) -> str:
    own, usual = small.ratio(ours), small.ratio(USUAL)
    noise = max(m.ratio(ours) for m in measured if m.case.kind == "noise")
    lines = [
        "| goal | found | |",
        "|---|---|---|",
        _goal("at most Pillow's decoding, organic 640 x 480", own <= 1, f"{own:.2f} x"),
        _goal("noise within 3 x of decoding, any size", noise <= 3, f"{noise:.2f} x"),
        _goal("25 times as fast as the usual code", usual / own >= 25, f"{usual / own:.1f}"),
    ]
    rates = [found for _, found in peers if not isinstance(found, str)]
    if rates:
        fastest = min(rates)
        reached = fastest / own >= 5
        lines.append(_goal("5 times as fast as the fastest peer", reached, f"{fastest / own:.1f}"))
    return "\n".join(lines)


def _goal(words: str, reached: bool, found: str) -> str:
    return f"| {words} | {found} | {'reached' if reached else '**missed**'} |"


if __name__ == "__main__":
    main()
