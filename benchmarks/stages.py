"""segpipe's stages apart, each on all masks of a block in turn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.landing import HEIGHT, WIDTH, MaskFile, Masks, manifest_segments
from benchmarks.rounds import Times, interleaved
from segpipe.declarations import Declaration, read_declaration
from segpipe.manifest import ManifestRow
from segpipe.mask import DecodedMask, canonical_png, decode_mask
from segpipe.png import read_png
from segpipe.prediction import fingerprint_of_parts
from segpipe.rules import Evidence, Policy, judge
from segpipe.segments import Measures, measure
from segpipe.sources import AllowedRoots
from segpipe.storage import Folder, MaskStore

#: The stages that are no part of validating a mask that is canonical already.
BESIDE = ("np.bincount", "canonical_png (others only)")


@dataclass(frozen=True)
class _Prepared:
    """What every stage starts from, for one mask."""

    path: Path
    data: bytes
    cell: list[dict[str, object]]
    declaration: Declaration
    mask: DecodedMask
    measures: Measures
    evidence: Evidence
    described: list[list[object]]


class _Stage:
    """One function, called for every mask of a block that is prepared beforehand."""

    def __init__(self, work: Callable[[_Prepared], object], prepared: list[_Prepared]) -> None:
        self._work = work
        self._prepared = prepared

    def run(self, block: slice) -> None:
        """Do this stage for the block."""
        for one in self._prepared[block]:
            self._work(one)


def measure_stages(masks: Masks, store: Path, taking: Sequence[slice]) -> Times:
    """Time every stage; what it starts from is prepared outside the clock."""
    prepared: list[_Prepared] = []
    last = max(block.stop for block in taking)
    for file in masks.files[:last]:
        prepared.append(_prepared(masks.folder, file))
    sources = AllowedRoots((str(masks.folder),))
    folder = str(masks.folder)
    put = MaskStore(Folder(str(store))).put
    policy = Policy()
    stages: dict[str, Callable[[_Prepared], object]] = {
        "resolve + read file": lambda one: sources.read(sources.resolve(str(one.path), folder)),
        "sha256 of file": lambda one: hashlib.sha256(one.data).hexdigest(),
        "read_png": lambda one: read_png(one.data),
        "decode_mask (with read_png)": lambda one: decode_mask(one.data),
        "measure": lambda one: measure(one.mask.pixels),
        "read_declaration": lambda one: read_declaration(one.cell),
        "judge (all rules)": lambda one: judge(one.evidence, policy),
        "fingerprint": lambda one: fingerprint_of_parts(
            one.mask.pixels, HEIGHT, WIDTH, one.described, None
        ),
        "MaskStore.put (with sha256)": lambda one: put(one.data),
        "np.bincount": lambda one: np.bincount(one.mask.pixels.ravel(), minlength=256),
        "canonical_png (others only)": lambda one: canonical_png(one.mask.pixels),
    }
    contenders = {name: _Stage(work, prepared) for name, work in stages.items()}
    return interleaved(contenders, list(taking), every={})


def _prepared(folder: Path, file: MaskFile) -> _Prepared:
    path = folder / file.name
    data = path.read_bytes()
    cell = manifest_segments(file.values)
    declaration = read_declaration(cell)
    mask = decode_mask(data)
    measures = measure(mask.pixels)
    row = ManifestRow("x.parquet", 0, file.name, str(path), cell, None, HEIGHT, WIDTH)
    return _Prepared(
        path=path,
        data=data,
        cell=cell,
        declaration=declaration,
        mask=mask,
        measures=measures,
        evidence=Evidence(row, declaration, (HEIGHT, WIDTH), None, mask, measures),
        described=[[s.index, s.label, s.metadata_text] for s in declaration.segments],
    )
