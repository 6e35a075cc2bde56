"""Fuzzing: whatever is done to a PNG or a manifest row, it is accepted, converted or rejected.

``python -m tests.validation.test_mutated_masks 1000000`` runs a million cases and prints the
outcomes.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe.manifests.rows import ManifestRow
from segpipe.masks import fast_path
from segpipe.masks.decoding import DecodedMask, decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.fast_path import load_fast_path
from segpipe.masks.refusal import MaskRefused
from segpipe.storage.files import Folder
from segpipe.storage.mask_store import MaskStore
from segpipe.storage.sources import AllowedRoots
from segpipe.validation.chunk import Validation, read_evidence
from segpipe.validation.rules import CATALOGUE, Evidence, Policy, Severity, judge

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = [b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"acTL", b"eXIf", b"tEXt", b"zTXt", b"iTXt"]
_LIMIT = 1_000_000  # pixels


def seeds() -> list[bytes]:
    """Small PNGs of every mode Pillow writes, and of some it does not."""
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 5, (24, 31), np.uint8)
    images = [
        Image.fromarray(grey),
        Image.fromarray(grey.astype(bool)),
        Image.fromarray(grey.astype(np.uint16) * 300),
        Image.fromarray(np.dstack([grey] * 3)),
        Image.fromarray(np.dstack([grey] * 4)),
        Image.fromarray(np.dstack([grey] * 2), "LA"),
    ]
    palette = Image.fromarray(grey)
    palette.putpalette(bytes(range(256)) * 3)
    written = []
    for image in [*images, palette]:
        for options in ({}, {"compress_level": 0}, {"optimize": True}, {"bits": 4}):
            buffer = io.BytesIO()
            image.save(buffer, format="PNG", **options)  # type: ignore[arg-type]
            written.append(buffer.getvalue())
    return written


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a whole PNG."""
    found, place = [], 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def joined(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks, with right checksums, so that what is deeper is reached."""
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def flip(data: bytes, rng: random.Random) -> bytes:
    """A few bits the other way."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    """The start only."""
    return data[: rng.randrange(len(data))]


def splice(data: bytes, rng: random.Random) -> bytes:
    """Some bytes doubled, moved or left out."""
    start, stop = sorted(rng.randrange(len(data)) for _ in range(2))
    return rng.choice([data[:start] + data[stop:], data[:stop] + data[start:], data + data[start:]])


def other_header(data: bytes, rng: random.Random) -> bytes:
    """IHDR with one field at random."""
    (_, body), *rest = chunks_of(data)
    field = rng.choice(["size", "depth", "colour", "interlace"])
    header = bytearray(body)
    if field == "size":
        header[rng.choice([0, 4]) : 8] = struct.pack(">I", rng.choice([0, 1, 7, 24, 31, 2**31]))
        header = bytearray(bytes(header[:8]).ljust(8, b"\0") + body[8:13])
    else:
        header[{"depth": 8, "colour": 9, "interlace": 12}[field]] = rng.choice([0, 1, 2, 3, 4, 8])
    return joined([(b"IHDR", bytes(header)), *rest])


def other_chunks(data: bytes, rng: random.Random) -> bytes:
    """Chunks in another order, some left out, some made up."""
    chunks = chunks_of(data)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(chunks) + 1)
        made_up = (rng.choice(_KINDS), rng.randbytes(rng.choice([0, 1, 4, 13, 300])))
        chunks.insert(place, made_up)
    if rng.random() < 0.5:
        rng.shuffle(chunks)
    return joined(chunks)


def other_pixels(data: bytes, rng: random.Random) -> bytes:
    """Image data that inflates to something else: shorter, longer, with other filters."""
    chunks = chunks_of(data)
    packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
    raw = bytearray(zlib.decompressobj().decompress(packed, 100_000))
    for _ in range(rng.randint(0, 5)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    raw = raw[: rng.choice([len(raw), len(raw) // 2, 1])] + bytes(rng.choice([0, 0, 50, 100_000]))
    rest = [(kind, body) for kind, body in chunks if kind != b"IDAT"]
    return joined([*rest[:-1], (b"IDAT", zlib.compress(bytes(raw))), rest[-1]])


def bomb(data: bytes, rng: random.Random) -> bytes:
    """Text or image data that inflates to a hundred megabytes."""
    chunks = chunks_of(data)
    if rng.random() < 0.5:
        return joined([chunks[0], (b"zTXt", b"c\0\0" + _BOMB), *chunks[1:]])
    return joined([chunks[0], (b"IDAT", _BOMB), chunks[-1]])


_BOMB = zlib.compress(bytes(100_000_000), 9)
_MUTATIONS: list[tuple[Callable[[bytes, random.Random], bytes], int]] = [
    (flip, 20), (cut, 10), (splice, 20), (other_header, 20), (other_chunks, 20),
    (other_pixels, 20), (bomb, 1),
]  # fmt: skip


def random_cell(rng: random.Random, depth: int = 0) -> object:
    """Something a cell of Segments may hold."""
    if depth > 3 or rng.random() < 0.4:
        return rng.choice(
            [None, True, -1, 0, 3, 300, 1e400, float("nan"), 1.5, "", "7", "a", "\ud800", 2**70]
        )
    if rng.random() < 0.5:
        return [random_cell(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    keys = ["label", "index", "metadata", "confidence", "\udfff"]
    return {rng.choice(keys): random_cell(rng, depth + 1) for _ in range(rng.randint(0, 4))}


def verdict_on(data: bytes) -> DecodedMask | MaskRefused:
    """What decoding comes to, which must be the same by the fast path."""
    verdicts: list[DecodedMask | MaskRefused] = []
    packages = fast_path._packages
    for way in (packages, None):
        fast_path._packages = way
        try:
            verdicts.append(decode_mask(data, _LIMIT))
        except MaskRefused as refusal:
            verdicts.append(refusal)
        finally:
            fast_path._packages = packages
    fast, reference = verdicts
    assert type(fast) is type(reference)
    if isinstance(fast, DecodedMask) and isinstance(reference, DecodedMask):
        assert np.array_equal(fast.pixels, reference.pixels)
        assert (fast.remarks, fast.canonical) == (reference.remarks, reference.canonical)
    else:
        assert str(fast) == str(reference)
    return fast


def outcome_of_bytes(data: bytes) -> str:
    """What decoding comes to; an accepted mask survives being stored."""
    try:
        decoded = verdict_on(data)
        if isinstance(decoded, MaskRefused):
            raise decoded
    except MaskRefused as refusal:
        assert refusal.rule in CATALOGUE
        assert refusal.message
        return f"reject {refusal.rule}"
    for file in (canonical_png(decoded.pixels), decoded.canonical):
        if file is not None:
            stored = decode_mask(file)
            assert (stored.canonical, stored.remarks) == (file, ())
            assert np.array_equal(stored.pixels, decoded.pixels)
            with Image.open(io.BytesIO(file)) as image:
                assert (image.mode, np.array_equal(image, decoded.pixels)) == ("L", True)
    kinds = {CATALOGUE[remark.rule].severity for remark in decoded.remarks}
    return "convert" if Severity.CONVERT in kinds else "accept"


def outcome_of_row(rng: random.Random, validation: Validation) -> str:
    """What judging a random row comes to."""
    segments = random_cell(rng)
    if rng.random() < 0.5:
        segments = json.dumps(segments)
    row = ManifestRow(
        "fuzz", 0, rng.choice([None, "", "a", "\n"]),
        rng.choice(["mask.png", "", None, "../x", "http://[", "a::b", "x" * 5000, "\0", "file:/"]),
        segments, None, rng.choice([None, 24, 0, -1, float("inf"), 1e300, 2.5]),
        rng.choice([None, 31, float("nan")]), rng.choice([None, "mask.png", "http://[", "x.jpg"]),
    )  # fmt: skip
    evidence, _ = read_evidence(row, validation.masks.folder.url, validation)
    assert isinstance(evidence, Evidence)
    findings = judge(evidence)
    assert all(f.message.encode() and f.rule in CATALOGUE for f in findings)
    severities = {f.severity for f in findings}
    if Severity.REJECT in severities:
        return "row reject"
    assert evidence.mask is not None
    return "row convert" if Severity.CONVERT in severities else "row accept"


def compile_kernel() -> None:
    """Use the compiled kernel once: what its first use takes is no case's time or memory."""
    load_fast_path()
    for data in seeds():
        outcome_of_bytes(data)


def run_cases(count: int, seed: int, folder: Path) -> Counter[str]:
    """Run cases; any exception but a verdict, or a case of over five seconds, is a failure."""
    load_fast_path()
    rng = random.Random(seed)
    (folder / "mask.png").write_bytes(seeds()[0])
    masks = MaskStore(Folder(str(folder)))
    validation = Validation(None, None, AllowedRoots((str(folder),)), masks, Policy())
    start, outcomes = seeds(), Counter[str]()
    compile_kernel()
    mutations, weights = zip(*_MUTATIONS, strict=True)
    for case in range(count):
        begun = time.perf_counter()
        if case % 10 == 9:
            outcomes[outcome_of_row(rng, validation)] += 1
        else:
            data = rng.choice(start)
            for mutate in rng.choices(mutations, weights, k=rng.randint(1, 2)):
                try:
                    data = mutate(data, rng)
                except (ValueError, IndexError, zlib.error, struct.error):
                    break  # it was mutated beyond recognition before
            outcomes[outcome_of_bytes(data)] += 1
        assert time.perf_counter() - begun < 5, f"case {case} of seed {seed} took too long"
    return outcomes


def test_nothing_but_verdicts_comes_of_mutated_masks_and_rows(tmp_path: Path) -> None:
    compile_kernel()  # takes memory of its own
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = run_cases(6_000, seed=20260105, folder=tmp_path)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 150  # MiB; each bomb alone would be a hundred
    assert outcomes["accept"] > 20  # where more follows the pixels, a mask is encoded anew
    assert outcomes["convert"] > 50
    assert outcomes["reject PNG-UNREADABLE"] > 1000
    assert outcomes["row reject"] > 100


@pytest.mark.slow
def test_many_more_mutations_behind_a_marker(tmp_path: Path) -> None:
    count = int(os.environ.get("SEGPIPE_FUZZ_CASES", "40000"))
    assert sum(run_cases(count, seed=7, folder=tmp_path).values()) == count


if __name__ == "__main__":
    import tempfile

    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        counted = run_cases(asked, seed=1, folder=Path(scratch))
        seconds = time.perf_counter() - began
    for outcome, number in counted.most_common():
        print(f"{number:>10,}  {outcome}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{asked / seconds:,.0f} cases a second, peak {peak:,.0f} MiB")
