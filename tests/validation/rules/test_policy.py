"""Policies: what a team declares for its model runs, from segpipe.toml to the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from segpipe.errors import SettingsError
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from tests.fixtures.command_line import segpipe
from tests.fixtures.landing import PARTITION, LandingWriter, segment_cells

OTHER = Partition("deeplab", PARTITION.date)


def declared(landing: LandingWriter, toml: str) -> Root:
    """The root with these settings."""
    landing.root.mkdir(parents=True, exist_ok=True)
    (landing.root / "segpipe.toml").write_text(toml)
    return Root.open(str(landing.root))


def table(root: Root, name: str, partition: Partition = PARTITION) -> list[dict[str, object]]:
    """A table's rows."""
    path = Path(root.tables(partition).path) / f"{name}.parquet"
    rows: list[dict[str, object]] = pq.read_table(path, partitioning=None).to_pylist()
    return rows


def test_ignored_values_become_a_visible_segment_and_nothing_turns_into_background(
    landing: LandingWriter,
) -> None:
    root = declared(landing, '[policy]\nignore_values = {255 = "void"}\n')
    landing.manifest(
        [
            landing.row("with void", (0, 1, 255), segments=segment_cells([0, 1])),
            landing.row("without", (0, 1), segments=segment_cells([0, 1])),
            landing.row("own segment", (0, 255), segments=segment_cells([0, 255])),
        ]
    )
    summary = root.materialize(PARTITION)
    assert (summary.accepted, summary.rejected) == (3, 0)
    segments = [
        (row["reference_id"], row["index"], row["label"], row["metadata"], row["area_px"])
        for row in table(root, "segments")
        if row["index"] == 255
    ]
    assert segments == [
        ("with void", 255, "void", '{"ignore":true}', 16),
        ("own segment", 255, "class 255", '{"confidence":0.5}', 24),
    ]


def test_a_model_run_overrides_key_by_key_and_others_keep_the_common_policy(
    landing: LandingWriter,
) -> None:
    root = declared(
        landing,
        """
        [policy]
        max_pixels = 1000
        severities = {SIZE-MISMATCH = "warn"}
        [model_runs.deeplab]
        severities = {}
        """,
    )
    for partition in (PARTITION, OTHER):
        landing.manifest([{**landing.row("a", partition=partition), "width": 9}], partition)
    assert root.materialize(PARTITION).rejected == 0
    assert root.materialize(OTHER).rejected == 1
    assert root.settings.policies.of("deeplab").max_pixels == 1000
    (row,) = table(root, "validated")
    assert [(f["rule"], f["severity"]) for f in row["findings"]] == [  # type: ignore[attr-defined]
        ("SIZE-MISMATCH", "warn")
    ]


def test_a_rule_that_is_off_is_not_heard_of(landing: LandingWriter) -> None:
    root = declared(landing, '[policy.severities]\nSEGMENT-NO-PIXELS = "off"\n')
    landing.manifest([landing.row("a", (0, 1), segments=segment_cells([0, 1, 2]))])
    assert root.materialize(PARTITION).findings == {}


def test_labels_are_held_against_the_taxonomy_with_the_nearest_match(
    landing: LandingWriter,
) -> None:
    root = declared(landing, '[policy.taxonomy]\n"class 0" = "stuff"\nBuilding = "thing"\n')
    cells = [{"label": "class 0", "index": 0}, {"label": "building ", "index": 1}]
    landing.manifest([landing.row("a", (0, 1), segments=cells)])
    root.materialize(PARTITION)
    (row,) = table(root, "validated")
    (finding,) = row["findings"]  # type: ignore[misc, attr-defined]
    assert finding["message"] == "not in the taxonomy: 'building ' ('Building'?)"


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("Stra\u00dfe\u200b", "'Stra\u00dfe\\u200b' ('Stra\u00dfe'?)"),
        ("Ha\u0308user", "'Ha\\u0308user' ('H\u00e4user'?)"),
        ("H\u00e4user\n", "'H\u00e4user\\n' ('H\u00e4user'?)"),
    ],
)
def test_a_label_that_only_looks_like_one_of_the_taxonomy_is_shown_escaped(
    landing: LandingWriter, label: str, said: str
) -> None:
    root = declared(landing, '[policy.taxonomy]\n"Straße" = "stuff"\n"Häuser" = "thing"\n')
    cells = [{"label": "Straße", "index": 0}, {"label": label, "index": 1}]
    landing.manifest([landing.row("a", (0, 1), segments=cells)])
    root.materialize(PARTITION)
    (finding,) = table(root, "validated")[0]["findings"]  # type: ignore[misc, attr-defined]
    assert finding["message"] == f"not in the taxonomy: {said}"


@pytest.mark.parametrize(
    ("given", "quoted"),
    [("mu\u0308ller", "'mu\\u0308ller'"), ("m\u00fcller\n", "'m\u00fcller\\n'")],
)
def test_an_id_that_only_looks_like_an_item_is_shown_escaped_with_the_item(
    landing: LandingWriter, given: str, quoted: str
) -> None:
    root = declared(landing, '[policy]\nitems = "items.json"\n')
    (landing.root / "items.json").write_text('["müller"]')
    url = landing.row("m")["mask_url"]
    landing.manifest([landing.row("m") | {"reference_id": given, "mask_url": url}])
    root.materialize(PARTITION)
    (row,) = table(root, "rejected")
    assert str(row["message"]).startswith(f"{quoted} is not an item of the dataset")
    assert str(row["message"]).endswith("; is it 'müller'?")
    assert (row["found"], row["expected"]) == (quoted, "'müller'")
    assert f"  {quoted} (" in str(root.report(PARTITION))


@pytest.mark.parametrize(
    ("task", "labels", "warned"),
    [
        ("semantic", ["Road", "Road"], True),
        ("semantic", ["Road", "Sky"], False),
        ("panoptic", ["Road", "Road"], True),
        ("panoptic", ["Car", "Car"], False),
        ("instance", [f"class {n}" for n in range(12)], True),
        ("instance", ["Car", "Car", "Road"], False),
    ],
)
def test_segments_are_held_against_the_declared_task(
    landing: LandingWriter, task: str, labels: list[str], warned: bool
) -> None:
    root = declared(
        landing,
        f'[policy]\ntask = "{task}"\ntaxonomy = {{Road = "stuff"}}\n'
        '[policy.severities]\nLABEL-UNKNOWN = "off"\n',
    )
    values = list(range(len(labels)))
    mask = np.repeat(np.array(values, np.uint8)[:, None], 4, axis=1)
    url = landing.mask("a", mask)
    cells = [{"label": label, "index": index} for index, label in enumerate(labels)]
    landing.manifest(
        [
            {"reference_id": "a", "mask_url": url, "segments": cells,
             "height": len(values), "width": 4}
        ]
    )  # fmt: skip
    findings = root.materialize(PARTITION).findings
    assert findings == ({"TYPE-MISMATCH": 1} if warned else {})


def test_items_outside_the_list_are_rejected(landing: LandingWriter) -> None:
    root = declared(landing, '[policy]\nitems = "items.parquet"\n')
    pq.write_table(pa.table({"reference_id": ["a", "b"]}), landing.root / "items.parquet")
    landing.manifest([landing.row("a"), landing.row("c", (0, 5))])
    summary = root.materialize(PARTITION)
    assert (summary.accepted, summary.findings) == (1, {"REF-UNKNOWN": 1})


def test_one_list_of_all_classes_in_every_row_is_not_told_mask_by_mask(
    landing: LandingWriter, root: Root
) -> None:
    taxonomy = segment_cells(range(20))
    landing.manifest([landing.row(f"i{n}", (0, n + 1), segments=taxonomy) for n in range(5)])
    assert root.materialize(PARTITION).findings == {}


def test_two_items_with_the_same_mask_file_are_told_but_empty_masks_are_not(
    landing: LandingWriter, root: Root
) -> None:
    landing.manifest(
        [landing.row("a"), landing.row("b"), landing.row("c", (4,)), landing.row("d", (4,))]
    )
    assert root.materialize(PARTITION).findings == {"DUPLICATE-MASK": 1, "EMPTY-MASK": 2}


def test_the_rejection_threshold_blocks_by_model_run(landing: LandingWriter) -> None:
    root = declared(landing, "[model_runs.deeplab]\nmax_rejection_rate = 0.9\n")
    assert root.settings.policies.of("deeplab").max_rejection_rate == 0.9
    assert root.settings.policies.of("unet").max_rejection_rate == 0.5


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[policy]\nmax_pixel = 5", "unknown key 'max_pixel' in the policy; did you mean"),
        ("[policy.severities]\nSIZE-MISMACH = 'off'", "did you mean 'SIZE-MISMATCH'"),
        ("[policy.severities]\nFILE-MISSING = 'warn'", "cannot be 'warn'"),
        ("[policy.severities]\nDUPLICATE-MASK = 'reject'", "seen after its row was accepted"),
        ("[policy.severities]\nEMPTY-MASK = 'loud'", "expected reject, warn or off"),
        ("[policy]\nignore_values = {300 = 'void'}", "not a pixel value from 0 to 255"),
        ("[policy]\ntaxonomy = {Road = 'street'}", "expected thing or stuff"),
        ("[policy]\ntask = 'detection'", "expected semantic, instance, panoptic"),
        ("[policy]\nmax_rejection_rate = 50", "expected a share from 0.0 to 1.0"),
        ("policy = 1", "expected a table [policy]"),
        ("[model_runs.unet]\nignore = 1", "model run 'unet': unknown key 'ignore'"),
    ],
)
def test_a_mistake_in_a_policy_is_named_with_what_was_expected(
    landing: LandingWriter, toml: str, words: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        declared(landing, toml)
    assert words in str(refused.value)
    assert "segpipe.toml" in str(refused.value)


def test_the_validate_command_takes_a_policy_file(landing: LandingWriter, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[policy]\nignore_values = {255 = "void"}\n')
    manifest = landing.manifest([landing.row("a", (0, 255), segments=segment_cells([0]))])
    assert segpipe("validate", manifest, "--out", tmp_path / "o").returncode == 1
    done = segpipe("validate", manifest, "--out", tmp_path / "o", "--policy", policy)
    assert done.returncode == 0, done.stdout


def test_an_image_with_an_orientation_explains_a_swapped_mask(
    landing: LandingWriter, root: Root
) -> None:
    row = {**landing.row("a"), "height": None, "width": None, "image_url": "photo.jpg"}
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Image.new("RGB", (6, 8))  # stored upright; the mask is 8 wide and 6 high
    photo.save(landing.folder(PARTITION) / "photo.jpg", exif=exif)
    landing.manifest([row])
    root.materialize(PARTITION)
    (rejected,) = table(root, "rejected")
    assert rejected["rule"] == "SIZE-SWAPPED"
    assert "the image has EXIF orientation 6" in str(rejected["message"])


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_the_remedy_for_an_oriented_image_brings_each_pixel_to_its_place(
    landing: LandingWriter, root: Root, orientation: int
) -> None:
    """Transposing alone would be accepted, with the mask mirrored."""
    stored = np.arange(48, dtype=np.uint8).reshape(8, 6)
    exif = Image.Exif()
    exif[0x0112] = orientation
    landing.folder(PARTITION).mkdir(parents=True, exist_ok=True)
    photo = landing.folder(PARTITION) / "photo.jpg"
    Image.new("L", (6, 8)).save(photo, exif=exif)
    exact = landing.folder(PARTITION) / "photo.png"  # the same, with pixels that stay themselves
    Image.fromarray(stored).save(exact, exif=exif)
    with Image.open(exact) as opened:
        seen_by_the_model = np.asarray(ImageOps.exif_transpose(opened))
    landing.manifest([{**landing.row("a"), "height": None, "width": None, "image_url": photo.name}])
    root.materialize(PARTITION)
    (rejected,) = table(root, "rejected")
    remedy = str(rejected["remedy"])
    advised = remedy.partition(", write ")[2].partition(", store the image")[0]
    assert np.array_equal(eval(advised, {"numpy": np, "mask": seen_by_the_model}), stored)
