"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.cases import FAST, LOOPS, NAIVE_ANY, NAIVE_WHERE, PILLOW, REFERENCE, USUAL, Measured
from benchmarks.machine import machine_facts
from benchmarks.masks import Shape
from benchmarks.peers.figures import Peer
from benchmarks.stages import BESIDE, ENCODE, OWN, REST

#: Where figures go; not under version control.
RESULTS = Path(__file__).resolve().parent / "results"


def measured_on() -> str:
    """When, and on what."""
    facts = machine_facts()
    libraries = facts["libraries"]
    assert isinstance(libraries, Mapping)
    versions = ", ".join(f"{name} {version}" for name, version in libraries.items())
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {facts['processor']}, {facts['cores']} cores, "
        f"load {facts['load_before']} before; {facts['system']}, Python {facts['python']}; "
        f"{versions}. Medians over blocks; in brackets, the middle half of them."
    )


def whole_table(measured: Sequence[Measured]) -> str:
    """Everything end to end, by size and kind, as ratios to decoding."""
    lines = _heading(
        "masks",
        "Pillow decode, ms",
        "segpipe, ms",
        "x decode",
        "without `fast`",
        "usual code",
        "naive, any()",
        "naive, where()",
    )
    for one in measured:
        ratios = [_ratio(one, name) for name in (FAST, REFERENCE)]
        loops = [_ratio(one, name, spread=False) for name in (USUAL, NAIVE_ANY, NAIVE_WHERE)]
        cells = [f"{one.case.shape}, {one.case.kind}", _ms(one, PILLOW), _ms(one, FAST)]
        lines.append(_row(*cells, *ratios, *loops))
    return "\n".join(lines)


def stage_table(one: Measured) -> str:
    """The stages of a case, each way, in milliseconds and as ratios to decoding."""
    lines = _heading(
        "stage", *(f"{way}, {unit}" for way in one.ways for unit in ("ms", "x decode"))
    )
    for name in OWN:
        lines.append(_row(name, *_stage_cells(one, name)))
    rests = [(one.rest_ratio(way), _decoding(one)) for way in one.ways]
    cells = [cell for rest, ms in rests for cell in (f"{rest * ms:.3f}", f"{rest:.2f}")]
    lines.append(_row(REST, *cells))
    for name in (*BESIDE, ENCODE):
        lines.append(_row(f"*beside: {name}*", *_stage_cells(one, name)))
    return "\n".join(lines)


def stages_of_all(measured: Sequence[Measured], way: str) -> str:
    """The stages of all cases one way, as ratios to decoding."""
    lines = _heading("masks", *OWN, REST, "all")
    for one in measured:
        if way in one.ways:
            ratios = [one.stage_ratio(way, name) for name in OWN]
            cells = [*ratios, one.rest_ratio(way), one.ratio(way)]
            lines.append(_row(f"{one.case.shape}, {one.case.kind}", *map(_two_places, cells)))
    return "\n".join(lines)


def peers_table(peers: Mapping[Shape, Sequence[Peer]], measured: Mapping[Shape, Measured]) -> str:
    """Others on the same organic masks, as ratios to decoding and to segpipe, by size."""
    lines = _heading("what", *(f"{shape}, {unit}" for shape in measured for unit in _UNITS))
    found = {shape: _others(peers.get(shape, ()), one) for shape, one in measured.items()}
    for name in dict.fromkeys(peer.name for others in found.values() for peer in others):
        cells = [
            cell for shape, one in measured.items() for cell in _cells(found[shape], name, one)
        ]
        lines.append(_row(_named(found, name), *cells))
    return "\n".join(lines)


_UNITS = ("x decode", "x segpipe")


def own_way(one: Measured) -> str:
    """The way segpipe takes where it can."""
    return FAST if FAST in one.ways else REFERENCE


def _others(peers: Iterable[Peer], one: Measured) -> list[Peer]:
    """The loops without a library, then the libraries."""
    return [*(Peer(name, one.ratio(name)) for name in LOOPS), *peers]


def _named(found: Mapping[Shape, Sequence[Peer]], name: str) -> str:
    versions = [p.version for others in found.values() for p in others if p.name == name]
    return " ".join(filter(None, (name, next(filter(None, versions), ""))))


def _cells(others: Sequence[Peer], name: str, one: Measured) -> tuple[str, str]:
    peer = next((peer for peer in others if peer.name == name), None)
    if peer is None or peer.ratio is None:
        return (peer.trouble if peer else "not measured"), "-"
    return f"{peer.ratio:.2f}", f"{peer.ratio / one.ratio(own_way(one)):.1f}"


def _stage_cells(one: Measured, name: str) -> list[str]:
    cells = []
    for way in one.ways:
        there = name in one.stages[way].by_block
        cells.append(f"{one.stages[way].milliseconds(name):.3f}" if there else "-")
        cells.append(_two_places(one.stage_ratio(way, name)))
    return cells


def _decoding(one: Measured) -> float:
    return one.whole.milliseconds(PILLOW)


def _two_places(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _ms(one: Measured, name: str) -> str:
    return f"{one.whole.milliseconds(name):.3f}" if name in one.whole.by_block else "-"


def _ratio(one: Measured, name: str, *, spread: bool = True) -> str:
    if name not in one.whole.by_block:
        return "-"
    lower, upper = one.whole.middle_half(name, PILLOW)
    return f"{one.ratio(name):.2f}" + (f" ({lower:.2f} to {upper:.2f})" if spread else "")


def _heading(*names: str) -> list[str]:
    return [_row(*names), f"|{'---|' * len(names)}"]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
