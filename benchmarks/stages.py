"""segpipe's stages apart, each timed on every mask in the order and the caches of real work."""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.landing import Masks, manifest_segments
from benchmarks.masks import MaskFile
from benchmarks.rounds import Times
from segpipe.manifests.rows import ManifestRow
from segpipe.masks import fast_path
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.measures import measure_decoded
from segpipe.masks.png import PngFile, read_png
from segpipe.predictions.declarations import read_declaration
from segpipe.predictions.fingerprint import fingerprint_of_parts
from segpipe.storage.sources import AllowedRoots
from segpipe.validation.rules import Evidence, Policy, judge, rules_in_force

READ, DECODE, MEASURE = "read the file", "decode, strictly", "measure, with digest of pixels"
DECLARATION, JUDGE = "read_declaration", "judge, all rules"
FINGERPRINT, PUT = "fingerprint", "put, with sha256 and write"
#: The stages of a row, in order; what is left of the whole are manifest, tables and digests.
#: ``PUT`` alone is not timed here: what a write takes depends on the store; it is timed in a pass.
OWN = (DECLARATION, READ, DECODE, MEASURE, JUDGE, PUT, FINGERPRINT)
REST = "manifest, tables and the rest"
CHECK, INFLATE, SAMPLES = "read_png", "inflate alone", "inflate and unfilter"
#: Timed too, but part of another stage here, or of none.
BESIDE = (CHECK, INFLATE, SAMPLES, "sha256 of the file", "sha256 of the pixels", "np.bincount")
ENCODE = "canonical_png, where it is not"


class Stages:
    """Runs the stages on masks, one after the other, each under a clock of its own.

    Args:
        fast: take the fast path, where it is loaded; else the reference path, whatever is loaded.
    """

    def __init__(self, masks: Masks, *, fast: bool) -> None:
        self.times = Times()
        self._files = masks.files
        self._shape = masks.shape
        self._folder = str(masks.folder)
        self._fast = fast
        self._sources = AllowedRoots((self._folder,))
        self._policy = Policy()
        self._rules = rules_in_force(self._policy)
        self._inflate = _inflater(fast)
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def run(self, block: slice) -> None:
        """Take the masks of the block through all stages; the times are in ``times``."""
        self._seconds.clear()
        with nullcontext() if self._fast else fast_path.disabled():
            for file in self._files[block]:
                self._one(file)
            for file in self._files[block]:  # apart, so as not to fill the caches between stages
                self._beside((Path(self._folder) / file.name).read_bytes())
            encoding = self._encoding(self._files[block][0])
        self.times.add(ENCODE, block.start, encoding)
        for name, seconds in self._seconds.items():
            self.times.add(name, block.start, seconds / (block.stop - block.start))

    def _one(self, file: MaskFile) -> None:
        timed = self._timed
        url, (width, height) = f"{self._folder}/{file.name}", self._shape
        cell = manifest_segments(file.values)
        declared = timed(DECLARATION, read_declaration, cell)
        data = timed(READ, lambda: self._sources.read(self._sources.resolve(url, self._folder)))
        mask = timed(DECODE, decode_mask, data)
        measures = timed(MEASURE, measure_decoded, mask)
        row = ManifestRow("x.parquet", 0, file.name, url, cell, None, height, width)
        evidence = Evidence(
            row, declared, self._policy, size=(height, width), mask=mask, measures=measures
        )
        timed(JUDGE, judge, evidence, self._rules)
        described = [[s.index, s.label, s.metadata_text] for s in declared.segments]
        timed(FINGERPRINT, fingerprint_of_parts, measures, described, None)

    def _beside(self, data: bytes) -> None:
        timed = self._timed
        file = timed(CHECK, read_png, data)
        timed(INFLATE, self._inflate, file)
        if fast_path.is_loaded():
            timed(SAMPLES, fast_path.read_samples, file)
        pixels = decode_mask(data).pixels
        timed("sha256 of the file", lambda: hashlib.sha256(data).hexdigest())
        timed("sha256 of the pixels", lambda: hashlib.sha256(pixels.data).hexdigest())
        timed("np.bincount", lambda: np.bincount(pixels.ravel(), minlength=256))

    def _encoding(self, file: MaskFile) -> float:
        """Seconds to encode a mask: of one per block, for it takes as long as all the rest."""
        pixels = decode_mask((Path(self._folder) / file.name).read_bytes()).pixels
        started = perf_counter()
        canonical_png(pixels)
        return perf_counter() - started

    def _timed(self, name: str, work: Callable[..., Any], *arguments: object) -> Any:
        started = perf_counter()
        result = work(*arguments)
        self._seconds[name] += perf_counter() - started
        return result


def _inflater(fast: bool) -> Callable[[PngFile], object]:
    """Inflates a PNG's image data as the fast path does, or as zlib does."""
    if fast and fast_path.is_loaded():
        import deflate

        return lambda file: deflate.zlib_decompress(file.compressed, file.header.raw_size)
    return lambda file: zlib.decompress(file.compressed)
