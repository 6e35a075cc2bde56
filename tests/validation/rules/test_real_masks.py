"""Rules on real masks: silent on clean ones; each injected defect found for what it is."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter

from segpipe.manifests.partition import Partition
from segpipe.masks.decoding import decode_mask
from segpipe.root import Root
from segpipe.validation.rules import Policy
from tests.fixtures.landing import LandingWriter
from tests.fixtures.png import chunk
from tests.fixtures.real_data import camvid_rows

pytestmark = pytest.mark.realdata

DAY = "2026-01-05"
VOID = '[policy]\nignore_values = {255 = "void"}\n'


def source_of(facts: Mapping[str, Any], data: Path, name: str) -> Path:
    """Where a mask of the facts lies."""
    direct = data / facts["base"] / name
    return direct if direct.exists() else data / "camvid" / name


def findings(root: Root, partition: Partition) -> tuple[Any, dict[str, set[str]]]:
    """The summary, and the rules each item's rows were found to break."""
    summary = root.materialize(partition)
    folder = Path(root.tables(partition).path)
    found: dict[str, set[str]] = {}
    for row in pq.read_table(folder / "rejected.parquet", partitioning=None).to_pylist():
        found.setdefault(row["reference_id"], set()).add(row["rule"])
    for row in pq.read_table(folder / "validated.parquet", partitioning=None).to_pylist():
        found.setdefault(row["reference_id"], set()).update(f["rule"] for f in row["findings"])
    return summary, found


def is_conversion(rule: str) -> bool:
    """Rules that report a lossless conversion."""
    return rule.startswith("CONV-")


@pytest.mark.parametrize("listing", ["present", "taxonomy"])
@pytest.mark.parametrize(
    "name",
    [
        "camvid_train", "camvid_val", "cityscapes_train_labelIds", "ade20k_annotations",
        "cocostuff_train_label", "davis17_osvos_dev", "labelme_class", "labelme_object",
        "ocular_dev", "membrane_label",
    ],
)  # fmt: skip
def test_clean_sets_are_accepted_without_a_wrong_word(
    landing: LandingWriter,
    real_data: Path,
    real_facts: dict[str, Any],
    name: str,
    listing: str,
) -> None:
    facts = real_facts[name]
    ignored = {"255"} if name == "cocostuff_train_label" else set()
    all_values = sorted({int(v) for m in facts["masks"].values() for v in m["values"]} - {255})
    if "255" not in ignored and "255" in facts["totals"]:
        all_values.append(255)
    rows = []
    for mask_name, mask in facts["masks"].items():
        values = (
            [int(v) for v in mask["values"] if v not in ignored]
            if listing == "present"
            else all_values
        )
        rows.append(
            {
                "reference_id": mask_name,
                "mask_url": str(source_of(facts, real_data, mask_name)),
                "segments": json.dumps([{"label": f"class {v}", "index": v} for v in values]),
                "height": mask["height"],
                "width": mask["width"],
            }
        )
    partition = Partition(name, DAY)
    landing.manifest(rows, partition)
    (landing.root / "segpipe.toml").write_text(f'allowed_roots = ["{real_data}"]\n{VOID}')
    root = Root.open(str(landing.root))
    summary, found = findings(root, partition)
    assert (summary.accepted, summary.rejected) == (facts["n"], 0)
    single = set(facts["single_valued_masks"])
    for item, rules in found.items():
        allowed = {"EMPTY-MASK"} if any(item.endswith(s) or s in item for s in single) else set()
        assert {r for r in rules if not is_conversion(r)} <= allowed | {"DUPLICATE-MASK"}, item
    assert sum("DUPLICATE-MASK" in rules for rules in found.values()) <= sum(
        len(group) - 1 for group in facts["identical_pixel_groups"]
    )
    if ignored:
        segments = pq.read_table(
            Path(root.tables(partition).path) / "segments.parquet", partitioning=None
        ).to_pylist()
        void = [row for row in segments if row["index"] == 255]
        assert sum(row["area_px"] for row in void) == facts["totals"]["255"][0]
        assert {row["metadata"] for row in void} == {'{"ignore":true}'}


def test_membrane_masks_that_say_1_for_255_are_refused_for_just_that(
    landing: LandingWriter, real_data: Path, real_facts: dict[str, Any]
) -> None:
    facts = real_facts["membrane_label"]
    rows = [
        {
            "reference_id": name,
            "mask_url": str(source_of(facts, real_data, name)),
            "segments": json.dumps([{"label": str(v), "index": v} for v in (0, 1)]),
            "height": mask["height"],
            "width": mask["width"],
        }
        for name, mask in facts["masks"].items()
    ]
    partition = Partition("membrane", DAY)
    landing.manifest(rows, partition)
    (landing.root / "segpipe.toml").write_text(f'allowed_roots = ["{real_data}"]\n')
    _, found = findings(Root.open(str(landing.root)), partition)
    assert len(found) == facts["n"]
    assert {frozenset(rules) for rules in found.values()} == {frozenset({"BINARY-255"})}


# --- injected defects: a defect takes a real mask and its Segments, and returns a manifest row's
# parts: the file's bytes and the changed cells.

Cells = dict[str, Any]
Defect = Callable[[np.ndarray, list[dict[str, Any]]], tuple[bytes, Cells]]


def png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    """A PNG of it."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels), mode).save(buffer, format="PNG")
    return buffer.getvalue()


def with_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    """A chunk put behind IHDR."""
    return data[:33] + chunk(kind, body) + data[33:]


def jpeg(pixels: np.ndarray) -> bytes:
    """A JPEG of it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG")
    return buffer.getvalue()


def resized(pixels: np.ndarray) -> np.ndarray:
    """Larger by interpolation and back to its size."""
    height, width = pixels.shape
    small = Image.fromarray(pixels).resize((width // 2, height // 2), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def scores(pixels: np.ndarray) -> np.ndarray:
    """A gradual map, as a sigmoid's output times 255."""
    y, x = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]]
    return (127 + 120 * np.sin(x / 37) * np.cos(y / 23)).astype(np.uint8)


def thresholdable(pixels: np.ndarray) -> np.ndarray:
    """Scores of the commonest class, 0 to 255: sure far from its edges, less so near them."""
    commonest = np.argmax(np.bincount(pixels.ravel()))
    image = Image.fromarray(np.where(pixels == commonest, 255, 0).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(4)))


def through_jpeg(pixels: np.ndarray) -> np.ndarray:
    """Stored as JPEG and read again."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=90)
    return np.asarray(Image.open(buffer))


def coloured(pixels: np.ndarray) -> np.ndarray:
    """A colour export."""
    values = np.arange(256)
    table = np.stack([values * 67 % 256, values * 131 % 256, values * 29 % 256], 1)
    return table.astype(np.uint8)[pixels]


def alpha(pixels: np.ndarray) -> np.ndarray:
    """Grey in RGB, transparent where the value is the lowest."""
    return np.dstack([pixels] * 3 + [np.where(pixels == pixels.min(), 0, 255).astype(np.uint8)])


def renumbered(pixels: np.ndarray, values: Sequence[int], by: Callable[[int], int]) -> np.ndarray:
    """The mask with each value mapped."""
    table = np.arange(256)
    for value in values:
        table[value] = by(value)
    return table.astype(np.uint8)[pixels]


def without_last(segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last Segment left out."""
    return segments[:-1]


def dense(segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The Segments numbered from 0."""
    return [{**s, "index": place} for place, s in enumerate(segments)]


def dense_mask(p: np.ndarray, s: list[dict[str, Any]], by: Callable[[int], int]) -> bytes:
    """The mask numbered from 0, then mapped."""
    order = {segment["index"]: place for place, segment in enumerate(s)}
    return png(renumbered(p, list(order), lambda value: by(order[value])))


DEFECTS: dict[str, tuple[Defect, set[str]]] = {
    "file missing": (lambda p, s: (b"", {"mask_url": "nowhere.png"}), {"FILE-MISSING"}),
    "JPEG under .png": (lambda p, s: (jpeg(p), {}), {"FILE-NOT-PNG"}),
    "HTML under .png": (lambda p, s: (b"<!DOCTYPE html><html>", {}), {"FILE-NOT-PNG"}),
    "S3 error under .png": (
        lambda p, s: (b"<Error><Code>AccessDenied</Code></Error>", {}),
        {"FILE-NOT-PNG"},
    ),
    "LFS pointer": (
        lambda p, s: (b"version https://git-lfs.github.com/spec/v1\noid", {}),
        {"FILE-NOT-PNG"},
    ),
    "npy under .png": (lambda p, s: (b"\x93NUMPY\x01\x00" + p.tobytes(), {}), {"FILE-NOT-PNG"}),
    "empty file": (lambda p, s: (b"", {}), {"PNG-UNREADABLE"}),
    "cut upload": (lambda p, s: (png(p)[: len(png(p)) * 2 // 3], {}), {"PNG-UNREADABLE"}),
    "flipped bit": (
        lambda p, s: (png(p)[:60] + bytes([png(p)[60] ^ 4]) + png(p)[61:], {}),
        {"PNG-UNREADABLE"},
    ),
    "colour export": (lambda p, s: (png(coloured(p)), {}), {"MASK-COLOUR"}),
    "varying alpha": (lambda p, s: (png(alpha(p)), {}), {"MASK-ALPHA"}),
    "16-bit ids": (lambda p, s: (png(p.astype(np.uint16) * 1000), {}), {"MASK-16BIT"}),
    "16-bit, small": (lambda p, s: (png(p.astype(np.uint16)), {}), {"CONV-G16-SMALL"}),
    "half size": (lambda p, s: (png(p[::2, ::2]), {"segments": s}), {"SIZE-MISMATCH"}),
    "one pixel narrower": (lambda p, s: (png(p[:, :-1]), {}), {"SIZE-MISMATCH"}),
    "transposed": (lambda p, s: (png(p.T), {}), {"SIZE-SWAPPED"}),
    "a value without Segment": (
        lambda p, s: (png(p), {"segments": without_last(s)}),
        {"VALUE-NO-SEGMENT"},
    ),
    "undeclared 255": (
        lambda p, s: (png(np.where(np.arange(p.shape[1]) < 3, 255, p).astype(np.uint8)), {}),
        {"IGNORE-255"},
    ),
    "0/255 for 0/1": (
        lambda p, s: (
            png(np.where(p == s[0]["index"], 0, 255).astype(np.uint8)),
            {"segments": [{"label": "off", "index": 0}, {"label": "on", "index": 1}]},
        ),
        {"BINARY-255"},
    ),
    "one too high": (
        lambda p, s: (dense_mask(p, s, lambda v: v + 1), {"segments": dense(s)}),
        {"OFF-BY-ONE"},
    ),
    "one too low": (
        lambda p, s: (
            dense_mask(p, s, lambda v: v),
            {"segments": [{**one, "index": one["index"] + 1} for one in dense(s)]},
        ),
        {"OFF-BY-ONE"},
    ),
    "reduced, so that 0 became 255": (
        lambda p, s: (dense_mask(p, s, lambda v: (v - 1) % 256), {"segments": dense(s)}),
        {"OFF-BY-ONE"},
    ),
    "stretched to be seen": (
        lambda p, s: (dense_mask(p, s, lambda v: v * (255 // len(s))), {"segments": dense(s)}),
        {"VALUES-STRETCHED"},
    ),
    "interpolated": (lambda p, s: (png(resized(p)), {}), {"VALUES-INTERPOLATED"}),
    "scores": (
        lambda p, s: (png(scores(p)), {"segments": [{"label": "object", "index": 1}]}),
        {"PROBABILITY-MAP"},
    ),
    "scores of one class": (
        lambda p, s: (
            png(thresholdable(p)),
            {"segments": [{"label": "off", "index": 0}, {"label": "on", "index": 1}]},
        ),
        {"PROBABILITY-MAP"},
    ),
    "stored as JPEG on the way": (lambda p, s: (png(through_jpeg(p)), {}), {"VALUES-INTERPOLATED"}),
    "colours, half the size": (
        lambda p, s: (png(coloured(p[::2, ::2])), {}),
        {"MASK-COLOUR", "SIZE-MISMATCH"},
    ),
    "an index twice": (
        lambda p, s: (png(p), {"segments": [*s, {**s[0], "label": "again"}]}),
        {"INDEX-DUPLICATE"},
    ),
    "index 300": (
        lambda p, s: (png(p), {"segments": [*s[:-1], {**s[-1], "index": 300}]}),
        {"INDEX-RANGE"},
    ),
    "no index": (
        lambda p, s: (png(p), {"segments": [*s[:-1], {**s[-1], "index": None}]}),
        {"INDEX-RANGE"},
    ),
    "index as text": (
        lambda p, s: (png(p), {"segments": [{**one, "index": str(one["index"])} for one in s]}),
        {"INDEX-STRING"},
    ),
    "300 Segments": (
        lambda p, s: (
            png(p),
            {"segments": [*s, *({"label": "x", "index": 1000 + n} for n in range(300))]},
        ),
        {"INDEX-OVERFLOW", "INDEX-RANGE"},
    ),
    "a hidden instance": (
        lambda p, s: (png(p), {"segments": [*s, {"label": f"hidden {p.sum()}", "index": 254}]}),
        {"SEGMENT-NO-PIXELS"},
    ),
    "one value": (
        lambda p, s: (png(np.full_like(p, s[0]["index"])), {"segments": s[:1]}),
        {"EMPTY-MASK"},
    ),
    "blank label": (
        lambda p, s: (png(p), {"segments": [{**s[0], "label": " "}, *s[1:]]}),
        {"LABEL-EMPTY"},
    ),
    "percent": (
        lambda p, s: (
            png(p),
            {"segments": [{**s[0], "metadata": {"confidence": 97.0}}, *s[1:]]},
        ),
        {"CONFIDENCE-RANGE"},
    ),
    "NaN": (
        lambda p, s: (
            png(p),
            {"segments": [{**s[0], "metadata": {"confidence": float("nan")}}, *s[1:]]},
        ),
        {"METADATA-INVALID"},
    ),
    "broken JSON": (lambda p, s: (png(p), {"segments": "[{"}), {"SEGMENTS-INVALID"}),
    "no item": (lambda p, s: (png(p), {"reference_id": " "}), {"REF-EMPTY"}),
    "outside the roots": (
        lambda p, s: (png(p), {"mask_url": "/etc/passwd"}),
        {"URL-REFUSED"},
    ),
    "orientation": (
        lambda p, s: (
            with_chunk(png(p), b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"),
            {},
        ),
        {"EXIF-ORIENTATION"},
    ),
    "bytes after the end": (lambda p, s: (png(p) + b"tail", {}), {"PNG-TRAILING"}),
    "a transparent value": (
        lambda p, s: (with_chunk(png(p), b"tRNS", b"\0\0"), {}),
        {"CONV-TRNS"},
    ),
    "palette": (
        lambda p, s: (_palette(p), {}),
        {"CONV-PALETTE"},
    ),
    "grey in RGB": (lambda p, s: (png(np.dstack([p] * 3)), {}), {"CONV-GREY-IN-RGB"}),
    "no size known": (lambda p, s: (png(p), {"height": None, "width": None}), {"SIZE-UNVERIFIED"}),
}


def _palette(pixels: np.ndarray) -> bytes:
    image = Image.fromarray(pixels)
    image.putpalette(bytes(range(256)) * 3)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def many_valued_masks(data: Path, facts: Mapping[str, Any]) -> list[tuple[str, np.ndarray]]:
    """Real masks of several sets, with at least five values each."""
    chosen = []
    for name, most in (
        ("camvid_val", 8), ("cocostuff_train_label", 5), ("cityscapes_train_labelIds", 2),
        ("ade20k_annotations", 2), ("labelme_object", 1),
    ):  # fmt: skip
        rich = [m for m, mask in facts[name]["masks"].items() if mask["n_values"] >= 5][:most]
        for mask_name in rich:
            pixels = decode_mask(source_of(facts[name], data, mask_name).read_bytes()).pixels
            chosen.append((f"{name}-{mask_name}".replace("/", "-"), np.where(
                pixels == 255, 200, pixels).astype(np.uint8)))  # fmt: skip
    return chosen


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_found_for_what_it_is_and_nothing_else(
    landing: LandingWriter, real_data: Path, real_facts: dict[str, Any], name: str
) -> None:
    defect, expected = DEFECTS[name]
    partition = Partition("defects", DAY)
    folder = landing.folder(partition)
    folder.mkdir(parents=True)
    rows = []
    for item, pixels in many_valued_masks(real_data, real_facts):
        values = np.unique(pixels).tolist()
        segments = [{"label": f"class {v}", "index": v} for v in values]
        data, cells = defect(pixels, segments)
        (folder / f"{item}.png").write_bytes(data)
        row = {
            "reference_id": item,
            "mask_url": f"{item}.png",
            "segments": segments,
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            **cells,
        }
        if not isinstance(row["segments"], str):
            row["segments"] = json.dumps(row["segments"])
        rows.append(row)
    landing.manifest(rows, partition)
    root = Root.open(str(landing.root))
    summary, found = findings(root, partition)
    if name == "no item":
        assert summary.findings == {"REF-EMPTY": len(rows)}
        return
    if name == "one value":  # their masks are equal, which must not be told a second time
        assert "DUPLICATE-MASK" not in summary.findings
    wrong = {item: rules for item, rules in found.items() if rules != expected}
    assert len(rows) >= 15
    assert not wrong
    assert len(found) == len(rows)


def test_limits_hold_before_anything_is_decoded(
    landing: LandingWriter, root: Root, real_data: Path, real_facts: dict[str, Any]
) -> None:
    rows = camvid_rows(real_facts["camvid_val"], real_data)[:5]
    landing.manifest(rows)
    policies = root.settings.policies
    for policy in (Policy(max_pixels=1000), Policy(max_bytes=1000)):
        limited = Root(
            replace(
                root.settings,
                policies=replace(policies, common=policy),
                allowed_roots=(str(real_data),),
            )
        )
        summary, _ = findings(limited, Partition("unet", DAY))
        assert summary.findings == {"TOO-LARGE": 5}
