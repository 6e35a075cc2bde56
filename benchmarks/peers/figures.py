"""Every peer's ratio to decoding, or why there is none."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.landing import made
from benchmarks.masks import SHAPES, SMALL, Recipe, Shape
from benchmarks.peers.process import DECODING, PEERS

_PROJECT = Path(__file__).resolve().parents[2]
# Masks, and masks at a time.
_COUNTS: dict[Shape, tuple[int, int]] = {SMALL: (120, 20), SHAPES[1]: (24, 4)}
_SECONDS = 300
#: Asked for, and nowhere to be had: said, not left out.
ABSENT = {"panopticapi, converters": "no package index has it"}


@dataclass(frozen=True)
class Peer:
    """What came of measuring a peer.

    Attributes:
        ratio: its time to that of decoding the same masks in the same process.
        trouble: why there is no ratio; empty where there is one.
        version: of the library.
    """

    name: str
    ratio: float | None
    trouble: str = ""
    version: str = ""


def shapes() -> list[Shape]:
    """The sizes peers are measured at."""
    return list(_COUNTS)


def measure(python: str, shape: Shape, *, divisor: int = 1) -> list[Peer]:
    """Every peer on organic masks of a size.

    Args:
        python: the interpreter of an environment that has them, as far as they install.
        divisor: of the number of masks.
    """
    count, block = (max(2, number // divisor) for number in _COUNTS[shape])
    with made(count, Recipe(shape=shape), keep=False) as masks:
        found = [_measured(python, name, masks.folder, block) for name in PEERS]
    return found + [Peer(name, None, why) for name, why in ABSENT.items()]


def _measured(python: str, name: str, folder: Path, block: int) -> Peer:
    command = [python, "-m", "benchmarks.peers.process", name, str(folder), str(block)]
    try:
        done = subprocess.run(
            command, cwd=_PROJECT, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Peer(name, None, f"did not end within {_SECONDS} s")
    except OSError as error:
        return Peer(name, None, f"its environment is not there: {error.strerror}")
    if done.returncode:
        words = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        return Peer(name, None, f"did not run: {words[:100]}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    decoding, own = answer["times"][DECODING], answer["times"][name]
    ratio = median(seconds / decoding[number] for number, seconds in own.items())
    return Peer(name, ratio, version=answer["versions"][PEERS[name][0]] or "")
