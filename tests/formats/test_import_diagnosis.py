"""Masks whose values the label map does not know: importers say what validation says.

What a message advises is followed here, and the labels that come out are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from segpipe import ManifestWriter, Segment
from segpipe.errors import SegpipeError
from segpipe.formats.ids import Ids
from segpipe.formats.imported import Imported
from segpipe.formats.importing import import_format
from segpipe.formats.value_diagnosis import diagnosis
from segpipe.formats.value_map import ValueMap
from segpipe.manifests.rows import ImportFinding
from segpipe.root import Root
from tests.fixtures.imports import PARTITION, imported, judged, rules, save, write

CRACK = {0: "background", 1: "crack"}
STREET = {0: "sky", 1: "tree", 2: "road", 3: "car"}
THREE = {0: "sky", 1: "tree", 2: "road"}
BINARY = np.zeros((16, 16), np.uint8)
BINARY[4:9, 3:12] = 1
CLASSES = np.zeros((16, 16), np.uint8)
for _index in (1, 2, 3):
    CLASSES[4 * _index :] = _index
SMOOTH = np.asarray(Image.fromarray(CLASSES.T * 60).resize((24, 160), Image.Resampling.BILINEAR))
SCORES = (np.add.outer(np.arange(128), np.arange(128)) % 251).astype(np.uint8)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


class OneRecord:
    """A source of one record."""

    carried: Mapping[str, pa.DataType] = {}

    def __init__(self, record: Imported) -> None:
        self.record = record

    def __len__(self) -> int:
        return 1

    def predictions(self) -> Iterator[Imported]:
        yield self.record


def label_map(folder: Path, labels: Mapping[int, str]) -> Path:
    lines = "".join(f"{index},{label}\n" for index, label in labels.items())
    return write(folder / "labels.csv", "index,label\n" + lines)


def areas(mask: np.ndarray, labels: Mapping[int, str]) -> dict[str, int]:
    values, counts = np.unique(mask, return_counts=True)
    return {
        f"{value} {labels[value]}": count
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
    }


@pytest.mark.parametrize(
    ("given", "meant", "labels", "rule"),
    [
        (BINARY * 255, BINARY, CRACK, "BINARY-255"),
        (CLASSES + 1, CLASSES, STREET, "OFF-BY-ONE"),
        (CLASSES * 40, CLASSES, STREET, "VALUES-STRETCHED"),
        (CLASSES.astype(np.uint16) * 257, CLASSES, STREET, "MASK-16BIT"),
        (np.array([0, 127, 255, 0], np.uint8)[CLASSES], CLASSES % 3, THREE, "VALUES-STRETCHED"),
        (np.array([0, 128, 255, 0], np.uint8)[CLASSES], CLASSES % 3, THREE, "VALUES-STRETCHED"),
    ],
)
def test_the_value_option_that_a_message_advises_imports_what_was_meant(
    source: Path, tmp_path: Path, given: np.ndarray, meant: np.ndarray,
    labels: Mapping[int, str], rule: str,
) -> None:  # fmt: skip
    save(source / "a.png", given)
    options = ("--labels", label_map(tmp_path, labels))
    assert imported("mask-folder", source, tmp_path / "before", *options).return_value == 1
    ((found, message),) = judged(tmp_path / "before")[1]["a"]
    assert found == rule
    advice = re.search(r"--value [0-9.=,]*[0-9]", message)
    assert advice is not None, message
    imported("mask-folder", source, tmp_path / "after", *options, *advice[0].split())
    assert judged(tmp_path / "after") == ({"a": areas(meant, labels)}, {})


def remedies(root: Path) -> list[str]:
    """The remedies in the rejected table, of a root whose partition was judged."""
    rows = Root.open(str(root)).validated(PARTITION).rejected(1000).to_pylist()
    return [row["remedy"] for row in rows]


@pytest.mark.parametrize(
    ("given", "labels", "option"),
    [
        (BINARY * 255, CRACK, "--value 255=1"),
        (CLASSES + 1, STREET, "--value 1..4=0..3"),
        (CLASSES * 40, STREET, "--value 40=1,80=2,120=3"),
        (CLASSES.astype(np.uint16) * 257, STREET, "--value 257=1,514=2,771=3"),
        (np.where(CLASSES == 3, 255, CLASSES), STREET, "--ignore 255=void"),
        (np.where(CLASSES == 3, 77, CLASSES), STREET, "--value VALUE=NEW"),
    ],
)
def test_the_remedy_of_a_refused_import_is_an_option_of_imports(
    source: Path, tmp_path: Path, given: np.ndarray, labels: Mapping[int, str], option: str
) -> None:
    save(source / "a.png", given.astype(np.uint16 if given.max() > 255 else np.uint8))
    imported("mask-folder", source, tmp_path / "root", "--labels", label_map(tmp_path, labels))
    ((_, message),) = judged(tmp_path / "root")[1]["a"]
    assert option in message
    (remedy,) = remedies(tmp_path / "root")
    assert option in remedy
    assert "policy" not in remedy  # which says nothing of a mask that was not imported


def test_a_record_that_no_manifest_can_hold_keeps_its_remedies(tmp_path: Path) -> None:
    finding = ImportFinding("MASK-16BIT", "too many", "300", "255", "Import with --over-256.")
    record = Imported("half \ud83d", "a.png", findings=(finding,))
    with ManifestWriter(tmp_path / "root", "unet", PARTITION.date, importing=True) as writer:
        import_format(OneRecord(record), writer)
    judged(tmp_path / "root")
    assert "Import with --over-256." in remedies(tmp_path / "root")


def test_following_the_advice_for_a_0_255_mask_never_ignores_the_object(
    source: Path, tmp_path: Path
) -> None:
    save(source / "a.png", BINARY * 255)
    done = imported(
        "mask-folder", source, tmp_path / "root", "--labels", label_map(tmp_path, CRACK)
    )
    assert "Import with --value 255=1: then 255 is 'crack'" in done.output
    assert "--ignore" not in done.output


def test_the_ignore_option_that_a_message_advises_marks_the_pixels_as_ignored(
    source: Path, tmp_path: Path
) -> None:
    mask = CLASSES.copy()
    mask[0] = 255
    save(source / "a.png", mask)
    options = ("--labels", label_map(tmp_path, STREET))
    imported("mask-folder", source, tmp_path / "before", *options)
    ((rule, message),) = judged(tmp_path / "before")[1]["a"]
    assert rule == "IGNORE-255"
    assert "255 (16 px)" in message
    assert "--ignore 255=void" in message
    imported("mask-folder", source, tmp_path / "after", *options, "--ignore", "255=void")
    assert judged(tmp_path / "after")[0]["a"]["255 void"] == 16


def test_an_ignore_label_that_a_shift_explains_as_well_is_left_to_the_reader(
    source: Path, tmp_path: Path
) -> None:
    """0, 1, 2 and 255 with labels 0 to 3: class 3 is absent, or everything is one too low."""
    save(source / "a.png", np.where(CLASSES == 3, 255, CLASSES).astype(np.uint8))
    options = ("--labels", label_map(tmp_path, STREET))
    imported("mask-folder", source, tmp_path / "before", *options)
    ((rule, message),) = judged(tmp_path / "before")[1]["a"]
    assert rule == "OFF-BY-ONE"
    assert "--ignore 255=void" in message
    assert "--value 0..2=1..3,255=0" in message
    imported("mask-folder", source, tmp_path / "ignored", *options, "--ignore", "255=void")
    assert judged(tmp_path / "ignored")[0]["a"] == {
        "0 sky": 64, "1 tree": 64, "2 road": 64, "255 void": 64,
    }  # fmt: skip
    imported("mask-folder", source, tmp_path / "shifted", *options, "--value", "0..2=1..3,255=0")
    assert judged(tmp_path / "shifted")[0]["a"] == {
        "0 sky": 64, "1 tree": 64, "2 road": 64, "3 car": 64,
    }  # fmt: skip


def test_a_factor_that_one_mask_does_not_tell_is_not_guessed(source: Path, tmp_path: Path) -> None:
    save(source / "a.png", np.where(CLASSES == 3, 0, CLASSES).astype(np.uint8) * 80)
    labels = {index: f"class {index}" for index in range(5)}
    imported("mask-folder", source, tmp_path / "root", "--labels", label_map(tmp_path, labels))
    ((rule, message),) = judged(tmp_path / "root")[1]["a"]
    assert rule == "VALUES-STRETCHED"
    assert "if it is 40: --value 40=1,80=2,120=3,160=4; if it is 80: --value 80=1,160=2" in message


def test_the_highest_class_that_one_stretched_mask_does_not_tell_is_not_guessed(
    source: Path, tmp_path: Path
) -> None:
    save(source / "a.png", np.array([0, 127, 255, 0], np.uint8)[CLASSES])
    labels = {index: f"class {index}" for index in range(5)}
    imported("mask-folder", source, tmp_path / "root", "--labels", label_map(tmp_path, labels))
    ((rule, message),) = judged(tmp_path / "root")[1]["a"]
    assert rule == "VALUES-STRETCHED"
    assert "if it is 2: --value 127=1,128=1,255=2; if it is 4: --value 63=1,64=1," in message


def test_a_shift_that_wraps_is_named_and_following_it_imports_what_was_meant(
    source: Path, tmp_path: Path
) -> None:
    save(source / "a.png", CLASSES - 1)  # 8 bits: 0 becomes 255, as with reduce_zero_label
    options = ("--labels", label_map(tmp_path, STREET))
    imported("mask-folder", source, tmp_path / "before", *options)
    ((_, message),) = judged(tmp_path / "before")[1]["a"]
    assert "--value 0..2=1..3,255=0" in message
    imported("mask-folder", source, tmp_path / "after", *options, "--value", "0..2=1..3,255=0")
    assert judged(tmp_path / "after")[0] == {"a": areas(CLASSES, STREET)}


@pytest.mark.parametrize(
    ("mask", "rule"), [(SMOOTH, "VALUES-INTERPOLATED"), (SCORES, "PROBABILITY-MAP")]
)
def test_what_no_option_can_mend_is_named_and_rejected(
    source: Path, tmp_path: Path, mask: np.ndarray, rule: str
) -> None:
    save(source / "a.png", mask)
    options = ("--labels", label_map(tmp_path, {v: f"c{v}" for v in (0, 60, 120, 180)}))
    imported("mask-folder", source, tmp_path / "root", *options)
    assert rules(judged(tmp_path / "root")[1]) == {"a": [rule]}


@pytest.mark.parametrize(
    ("mask", "labels"),
    [
        (BINARY * 255, CRACK),
        (CLASSES + 1, STREET),
        (CLASSES * 40, STREET),
        (np.where(CLASSES == 0, 255, CLASSES).astype(np.uint8), STREET),
        (CLASSES + 70, STREET),
        (SMOOTH, {0: "a", 60: "b", 120: "c", 180: "d"}),
        (SCORES, {0: "a", 1: "b"}),
    ],
)
def test_an_import_and_a_validation_name_the_same_rule(
    source: Path, tmp_path: Path, mask: np.ndarray, labels: Mapping[int, str]
) -> None:
    save(source / "a.png", mask)
    options = ("--labels", label_map(tmp_path, labels))
    imported("mask-folder", source, tmp_path / "imported", *options)
    with ManifestWriter(tmp_path / "written", PARTITION.model_run, PARTITION.date) as writer:
        segments = [Segment(label, index) for index, label in labels.items()]
        writer.add("a", mask, segments, check=False)
    written = rules(judged(tmp_path / "written")[1])["a"]
    assert rules(judged(tmp_path / "imported")[1])["a"][0] in written


def test_arrays_are_diagnosed_like_pngs(source: Path, tmp_path: Path) -> None:
    np.save(source / "a.npy", BINARY.astype(np.int64) * 255)
    options = ("--labels", label_map(tmp_path, CRACK))
    imported("arrays", source, tmp_path / "before", *options)
    assert rules(judged(tmp_path / "before")[1]) == {"a": ["BINARY-255"]}
    imported("arrays", source, tmp_path / "after", *options, "--value", "255=1")
    assert judged(tmp_path / "after")[0] == {"a": areas(BINARY, CRACK)}


def test_a_mask_whose_values_all_have_segments_has_no_diagnosis() -> None:
    assert diagnosis(BINARY, [Segment("background", 0), Segment("crack", 1)]) is None


def test_a_record_refused_by_its_importer_is_rejected_for_that_whatever_the_policy(
    source: Path, tmp_path: Path
) -> None:
    save(source / "a.png", BINARY * 255)
    (tmp_path / "root").mkdir()
    write(tmp_path / "root" / "segpipe.toml", '[policy.severities]\n"BINARY-255" = "off"\n')
    imported("mask-folder", source, tmp_path / "root", "--labels", label_map(tmp_path, CRACK))
    assert rules(judged(tmp_path / "root")[1]) == {"a": ["BINARY-255"]}


# --- values that become others


def test_a_value_that_another_becomes_is_never_merged_with_it_unasked(
    source: Path, tmp_path: Path
) -> None:
    mixed = np.where(BINARY == 1, 255, 0).astype(np.uint8)
    mixed[0] = 1
    save(source / "mixed.png", mixed)
    save(source / "plain.png", BINARY * 255)
    options = ("--labels", label_map(tmp_path, CRACK), "--value", "255=1")
    imported("mask-folder", source, tmp_path / "before", *options)
    accepted, rejected = judged(tmp_path / "before")
    assert list(accepted) == ["plain"]
    ((_, message),) = rejected["mixed"]
    assert "1 (16 px): --value makes 1 of 255, and the mask has 1 itself" in message
    imported("mask-folder", source, tmp_path / "after", *options, "--value", "1=1")
    assert judged(tmp_path / "after")[0]["mixed"] == areas(np.minimum(mixed, 1), CRACK)


def test_unlabelled_zeros_of_shifted_masks_are_asked_about_and_not_published_as_class_0(
    source: Path, tmp_path: Path
) -> None:
    mask = CLASSES + 1
    mask[0] = 0
    save(source / "a.png", mask)
    options = ("--labels", label_map(tmp_path, STREET), "--value", "1..4=0..3")
    imported("mask-folder", source, tmp_path / "before", *options)
    assert judged(tmp_path / "before")[0] == {}
    imported(
        "mask-folder", source, tmp_path / "after", *options,
        "--value", "0=255", "--ignore", "255=void",
    )  # fmt: skip
    assert judged(tmp_path / "after")[0]["a"] == {
        "0 sky": 48, "1 tree": 64, "2 road": 64, "3 car": 64, "255 void": 16,
    }  # fmt: skip


def test_value_lists_and_ranges_are_read_and_anything_else_is_named() -> None:
    assert ValueMap.read(["1..3=0..2,255=9", "7=7"]).becomes == {1: 0, 2: 1, 3: 2, 255: 9, 7: 7}
    for wrong in ("255", "a=1", "1..3=0..1", "3..1=0..2", "1=", "-1=0", "1=2,1=3"):
        with pytest.raises(SegpipeError, match="--value"):
            ValueMap.read([wrong])


def test_every_pixel_becomes_what_the_list_says() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    turned = ValueMap({value: 255 - value for value in range(256)}).applied(Ids.of(every), "a.png")
    assert not isinstance(turned, ImportFinding)
    assert (turned.pixels == 255 - every).all()
    assert turned.pixels.dtype == np.uint8


# --- ids of 16 bits


def test_16_bit_ids_of_objects_are_read_by_the_option_for_objects(
    source: Path, tmp_path: Path
) -> None:
    ids = np.zeros((20, 20), np.uint16)
    ids[:5], ids[5:10] = 300, 70
    save(source / "img_cp_masks.png", ids)
    labels = label_map(tmp_path, CRACK)
    imported("mask-folder", source, tmp_path / "before", "--labels", labels)
    ((rule, message),) = judged(tmp_path / "before")[1]["img_cp_masks"]
    assert rule == "MASK-16BIT"
    assert "--objects LABEL" in message
    done = imported("mask-folder", source, tmp_path / "after", "--objects", "cell")
    assert "1 imported, 0 refused" in done.output
    assert judged(tmp_path / "after")[0] == {
        "img_cp_masks": {"0 background": 200, "1 cell": 100, "2 cell": 100}
    }


def test_more_than_256_objects_of_16_bits_are_what_the_named_option_makes_of_them(
    source: Path, tmp_path: Path
) -> None:
    save(source / "a.png", np.arange(400, dtype=np.uint16).reshape(20, 20))
    imported("mask-folder", source, tmp_path / "before", "--objects", "cell")
    ((rule, message),) = judged(tmp_path / "before")[1]["a"]
    assert rule == "INDEX-OVERFLOW"
    assert "--over-256" in message
    options = ("--objects", "cell", "--over-256", "semantic")
    imported("mask-folder", source, tmp_path / "after", *options)
    assert sum(judged(tmp_path / "after")[0]["a"].values()) == 400


def test_cityscapes_ids_in_a_mask_folder_are_sent_to_their_importer(
    source: Path, tmp_path: Path
) -> None:
    ids = np.full((8, 8), 26001, np.uint16)
    ids[:4] = 24003
    save(source / "a.png", ids)
    imported("mask-folder", source, tmp_path / "before", "--labels", label_map(tmp_path, STREET))
    ((_, message),) = judged(tmp_path / "before")[1]["a"]
    assert "segpipe import cityscapes" in message
    imported("cityscapes", source, tmp_path / "after")
    assert judged(tmp_path / "after")[0]["a"] == {"0 person": 32, "1 car": 32}
