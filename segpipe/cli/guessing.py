"""``segpipe import --guess DIR``: which importer and options fit, and why."""

from __future__ import annotations

from pathlib import Path

from segpipe.cli.console import put
from segpipe.cli.exit_status import ALL_ACCEPTED, SOME_REJECTED
from segpipe.formats.guessing import guesses


def guess(place: Path) -> int:
    """Print what fits; returns the exit status, which says whether anything does."""
    found = guesses(place)
    if not found:
        put(f"nothing that segpipe imports was recognised in {place}; formats: segpipe import -h")
        return SOME_REJECTED
    for one in found:
        put(one.command)
        put(f"  because: {one.why}")
        if one.read:
            put(f"  tried: {one.read}")
        for need in one.needs:
            put(f"  needs: {need}")
        if one.problem:
            put(f"  but: {one.problem}")
    put("each takes --root ROOT --model-run M [--date D]; nothing was written")
    return ALL_ACCEPTED if any(not one.problem for one in found) else SOME_REJECTED
