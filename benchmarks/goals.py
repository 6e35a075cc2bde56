"""What was set out for, and whether it was reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.cases import USUAL, Measured
from benchmarks.masks import NOISE
from benchmarks.peers.figures import Peer
from benchmarks.report import own_way


@dataclass(frozen=True)
class Goal:
    """A limit, what was found, and whether more than the limit is what was wanted."""

    words: str
    limit: float
    found: float
    at_least: bool = False

    @property
    def reached(self) -> bool:
        """Whether what was found is on the right side of the limit, or on it."""
        return self.found >= self.limit if self.at_least else self.found <= self.limit


def goals(measured: Sequence[Measured], small: Measured, peers: Sequence[Peer]) -> list[Goal]:
    """All that can be told from what was measured.

    Args:
        small: of organic 640 x 480 masks.
        peers: on the same; may be empty.
    """
    own = small.ratio(own_way(small))
    found = [Goal("everything / decoding, organic 640 x 480", 0.45, own)]
    found += [
        Goal(f"everything / decoding, noise {one.case.shape}", 3, one.ratio(own_way(one)))
        for one in measured
        if one.case.kind == NOISE
    ]
    times = small.ratio(USUAL) / own
    found.append(Goal("times as fast as the usual code", 25, times, at_least=True))
    rated = {peer.name: peer.ratio for peer in peers if peer.ratio is not None}
    if rated:
        fastest = min(rated, key=rated.__getitem__)
        times, words = rated[fastest] / own, f"times as fast as the fastest peer ({fastest})"
        found.append(Goal(words, 5, times, at_least=True))
    return found


def goals_table(found: Sequence[Goal]) -> str:
    """As Markdown."""
    lines = ["| goal | limit | found | |", "|---|---|---|---|"]
    for goal in found:
        limit = f"{'at least' if goal.at_least else 'at most'} {goal.limit:g}"
        verdict = "reached" if goal.reached else "**missed**"
        lines.append(f"| {goal.words} | {limit} | {goal.found:.2f} | {verdict} |")
    return "\n".join(lines)
