"""One contender and Pillow's decoding, in turn: ``python -m benchmarks.peers.process NAME FOLDER``.

For a process of its own, in an environment that may have neither segpipe nor the other peers.
Prints JSON: versions, and seconds per mask of both by block.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from benchmarks.contenders import PillowDecode, decoded
from benchmarks.peers import libraries
from benchmarks.peers.libraries import Work
from benchmarks.rounds import Contender, blocks, interleaved

#: Name -> the distribution it needs, and what makes it.
PEERS: dict[str, tuple[str, Callable[[], Work]]] = {
    "datasets, np.unique map": ("datasets", libraries.datasets_unique),
    "supervision, boxes + areas": ("supervision", libraries.supervision_boxes),
    "FiftyOne, hand loop": ("fiftyone", libraries.fiftyone_loop),
    "FiftyOne, boxes per class": ("fiftyone", libraries.fiftyone_boxes),
    "pycocotools, encode + area + box": ("pycocotools", libraries.pycocotools_rle),
    "datumaro, boxes + areas": ("datumaro", libraries.datumaro_boxes),
    "datumaro, its validator": ("datumaro", libraries.datumaro_validator),
}
DECODING = "decoding"
# FiftyOne's background, which has no box.
_BACKGROUND = 0


class Peer:
    """A library's work as a contender."""

    def __init__(self, work: Work, paths: Sequence[Path]) -> None:
        self._work = work
        self._paths = paths

    def run(self, block: slice) -> None:
        """Measure the masks of this block."""
        self._work(self._paths[block])

    def check(self) -> None:
        """Raises AssertionError unless it finds what is in the first mask."""
        (found,) = self._work(self._paths[:1])
        present = np.unique(decoded(self._paths[0])).tolist()
        if found != present and found != [value for value in present if value != _BACKGROUND]:
            raise AssertionError(f"found {found}; in the mask are {present}")


def main(name: str, folder: str, rows: str) -> None:
    """Measure and print."""
    distribution, made = PEERS[name]
    paths = sorted(Path(folder).glob("*.png"))
    peer = Peer(made(), paths)
    peer.check()  # and imports what it needs
    taking = blocks(len(paths), int(rows))
    contenders: dict[str, Contender] = {DECODING: PillowDecode(paths), name: peer}
    for contender in contenders.values():
        contender.run(taking[0])
    times = interleaved(contenders, taking, {})
    versions = {one: _version(one) for one in (distribution, "numpy", "pillow")}
    print(json.dumps({"versions": versions, "times": times.by_block}))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main(*sys.argv[1:])
