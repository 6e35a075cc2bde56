"""segpipe's stages apart, each timed on every mask in the order and the caches of real work."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.landing import Masks, manifest_segments
from benchmarks.masks import HEIGHT, WIDTH, MaskFile
from benchmarks.rounds import Times
from segpipe.declarations import read_declaration
from segpipe.manifest import ManifestRow
from segpipe.mask import canonical_png, decode_mask
from segpipe.png import read_png
from segpipe.prediction import fingerprint_of_parts
from segpipe.rules import Evidence, Policy, judge
from segpipe.segments import measure
from segpipe.sources import AllowedRoots
from segpipe.storage import Folder, MaskStore

#: Timed too, but part of another stage here, or of none.
BESIDE = ("sha256 of file", "read_png", "np.bincount", "canonical_png")


class Stages:
    """Runs the stages on masks, one after the other, each under a clock of its own."""

    def __init__(self, masks: Masks, store: Path) -> None:
        self.times = Times()
        self._files = masks.files
        self._folder = str(masks.folder)
        self._sources = AllowedRoots((self._folder,))
        for number in range(256):  # a store that is in use has its folders
            (store / f"{number:02x}").mkdir(parents=True)
        self._store = MaskStore(Folder(str(store)))
        self._policy = Policy()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def run(self, block: slice) -> None:
        """Take the masks of the block through all stages; the times are in ``times``."""
        self._seconds.clear()
        for file in self._files[block]:
            self._one(file)
        for file in self._files[block]:  # apart, so as not to fill the caches between stages
            self._beside((Path(self._folder) / file.name).read_bytes())
        for name, seconds in self._seconds.items():
            self.times.add(name, block.start, seconds / (block.stop - block.start))

    def _one(self, file: MaskFile) -> None:
        timed = self._timed
        url = f"{self._folder}/{file.name}"
        cell = manifest_segments(file.values)
        declaration = timed("read_declaration", read_declaration, cell)
        source = timed("AllowedRoots.resolve", self._sources.resolve, url, self._folder)
        data = timed("read file", self._sources.read, source)
        mask = timed("decode_mask (with read_png)", decode_mask, data)
        measures = timed("measure", measure, mask.pixels)
        row = ManifestRow("x.parquet", 0, file.name, url, cell, None, HEIGHT, WIDTH)
        evidence = Evidence(
            row, declaration, self._policy, size=(HEIGHT, WIDTH), mask=mask, measures=measures
        )
        timed("judge (all rules)", judge, evidence)
        timed("MaskStore.put (with sha256)", self._store.put, data)
        described = [[s.index, s.label, s.metadata_text] for s in declaration.segments]
        timed("fingerprint", fingerprint_of_parts, mask.pixels, HEIGHT, WIDTH, described, None)

    def _beside(self, data: bytes) -> None:
        timed = self._timed
        timed("sha256 of file", lambda: hashlib.sha256(data).hexdigest())
        timed("read_png", read_png, data)
        pixels = decode_mask(data).pixels
        timed("np.bincount", lambda: np.bincount(pixels.ravel(), minlength=256))
        timed("canonical_png", canonical_png, pixels)

    def _timed(self, name: str, work: Callable[..., Any], *arguments: object) -> Any:
        started = perf_counter()
        result = work(*arguments)
        self._seconds[name] += perf_counter() - started
        return result
