"""Views of a partition: derived, kept and published."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segpipe.demo.scenes import seed_example
from segpipe.errors import SettingsError, StorageError, TableError
from segpipe.masks.decoding import decode_mask
from segpipe.masks.measures import measure
from segpipe.predictions.fingerprint import fingerprint
from segpipe.predictions.prediction import Segment
from segpipe.predictions.view import View
from segpipe.publishing.outcomes import Provenance
from segpipe.publishing.vacuum import vacuum
from segpipe.root import Root
from segpipe.settings import Settings
from segpipe.validation.validated import ValidatedPredictions
from tests.fixtures.files import content
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.s3_server import Bucket
from tests.fixtures.streets import MADE, STREET, TAXONOMY, cells, land_streets


def read(predictions: ValidatedPredictions) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Rows with their segments."""
    return [
        pair
        for batch in predictions.batches(2)
        for pair in zip(batch.rows.to_pylist(), batch.segments.to_pylist(), strict=True)
    ]


def pixels_of(root: Root, row: dict[str, Any]) -> np.ndarray:
    return decode_mask((Path(root.settings.root) / row["mask_path"]).read_bytes()).pixels


# --- materializing


@pytest.mark.parametrize("view", MADE)
def test_everything_that_depends_on_pixels_is_computed_anew(
    landing: LandingWriter, view: View
) -> None:
    root = land_streets(landing)
    summary = root.materialize_view(PARTITION, view=view)
    derived, given = read(root.view(PARTITION, view)), read(root.validated(PARTITION))
    assert len(derived) == len(given) == summary.predictions == summary.changed == 3
    computed = {"mask_path", "mask_sha256", "fingerprint", "n_segments", "bytes"}
    for (row, segments), (source, _) in zip(derived, given, strict=True):
        assert {k: v for k, v in row.items() if k not in computed} == {
            k: v for k, v in source.items() if k not in computed
        }
        file = Path(root.settings.root) / row["mask_path"]
        mask = decode_mask(file.read_bytes())
        assert mask.canonical
        assert row["bytes"] == file.stat().st_size
        assert row["n_segments"] == len(segments)
        described = [Segment(s["label"], s["index"], json.loads(s["metadata"])) for s in segments]
        assert row["fingerprint"] == fingerprint(mask.pixels, described, row["annotation_id"])
        assert row["fingerprint"] != source["fingerprint"]
        measured = measure(mask.pixels)
        assert [s["index"] for s in segments] == measured.values.tolist()
        assert [s["area_px"] for s in segments] == measured.area.tolist()
        assert [s["bbox_y"] for s in segments] == measured.top.tolist()
        assert sum(s["area_fraction"] for s in segments) == pytest.approx(1)


def test_the_views_of_a_street(landing: LandingWriter) -> None:
    root = land_streets(landing, count=1)
    for view in MADE:
        root.materialize_view(PARTITION, view=view)
    ((given, _),) = read(root.validated(PARTITION))
    ((instance, things),) = read(root.view(PARTITION, View.INSTANCE))
    ((semantic, classes),) = read(root.view(PARTITION, View.SEMANTIC))
    before = pixels_of(root, given)
    merged = np.where(before < 6, 0, before)
    assert (pixels_of(root, instance) == merged).all()
    assert (pixels_of(root, semantic) == np.clip(before, 4, 6) - 4).all()
    assert [(s["index"], s["label"]) for s in things] == [(0, "background"), (6, "car"), (7, "car")]
    assert [(s["index"], s["label"]) for s in classes] == [(0, "sky"), (1, "road"), (2, "car")]
    # 16 sky and road pixels each but for the one that became a car's.
    assert json.loads(things[0]["metadata"]) == {
        "confidence": pytest.approx((15 * 0.9 + 16 * 0.5) / 31),
        "confidence_max": 0.9,
        "confidence_min": 0.5,
        "isthing": False,
        "n_merged": 2,
        "source_indexes": [4, 5],
    }
    assert things[0]["confidence"] == pytest.approx((15 * 0.9 + 16 * 0.5) / 31)
    assert json.loads(classes[2]["metadata"])["camera"] == "left"


def test_the_seed_example_from_manifest_to_instance_view(landing: LandingWriter) -> None:
    scene = seed_example()
    described = [
        (s.label, s.index, {**s.metadata, "isthing": s.label in ("Person", "Handbag", "Bird")})
        for s in scene.segments
    ]
    row = landing.row("seed", height=360, width=480)
    row |= {"mask_url": landing.mask("seed", scene.mask), "segments": cells(*described)}
    landing.manifest([row])
    root = Root.open(str(landing.root))
    root.materialize(PARTITION)
    summary = root.materialize_view(PARTITION, view=View.INSTANCE)
    assert (summary.given_segments, summary.segments, summary.undecided) == (11, 6, 0)
    ((derived, segments),) = read(root.view(PARTITION, View.INSTANCE))
    expected = np.where(scene.mask < 6, 0, scene.mask)
    assert (pixels_of(root, derived) == expected).all()
    assert [(s["index"], s["label"]) for s in segments] == [
        (0, "Background"), (6, "Person"), (7, "Handbag"), (8, "Bird"), (9, "Bird"), (10, "Bird"),
    ]  # fmt: skip


@pytest.mark.parametrize("view", MADE)
def test_a_second_time_writes_the_same_bytes_whatever_the_workers(
    landing: LandingWriter, view: View
) -> None:
    root = land_streets(landing, count=9, settings="workers = 1\nrows_per_chunk = 2\n" + TAXONOMY)
    first = root.materialize_view(PARTITION, view=view)
    before = content(landing.root)
    tables = {name for name in before if name.startswith(f"views/{view}/")}
    assert len(tables) == 5
    (landing.root / "segpipe.toml").write_text("workers = 3\nrows_per_chunk = 2\n" + TAXONOMY)
    again = Root.open(str(landing.root))
    assert again.materialize_view(PARTITION, view=view, force=True) == first
    after = content(landing.root)
    assert {k: v for k, v in after.items() if k != "segpipe.toml"} == {
        k: v for k, v in before.items() if k != "segpipe.toml"
    }


def test_a_prediction_that_is_in_the_view_already_keeps_its_mask_and_fingerprint(
    landing: LandingWriter,
) -> None:
    landing.manifest([landing.row("a", (0, 1, 2))])  # class 0, class 1, class 2
    root = Root.open(str(landing.root))
    root.materialize(PARTITION)
    masks = content(landing.root / "masks")
    summary = root.materialize_view(PARTITION, view=View.SEMANTIC)
    assert summary.changed == 0
    assert read(root.view(PARTITION, View.SEMANTIC)) == read(root.validated(PARTITION))
    assert content(landing.root / "masks") == masks


def test_a_partition_of_which_nothing_was_accepted_has_an_empty_view(
    landing: LandingWriter,
) -> None:
    landing.manifest([{**landing.row("a"), "width": 9}])
    root = Root.open(str(landing.root))
    root.materialize(PARTITION)
    assert root.materialize_view(PARTITION, view=View.SEMANTIC).predictions == 0
    assert read(root.view(PARTITION, View.SEMANTIC)) == []


def test_a_declared_segment_without_pixels_is_in_the_view_too(landing: LandingWriter) -> None:
    row = landing.row("a", (6, 7))
    row["segments"] = [*STREET[2:], *cells(("road", 9, {}), ("sky", 10, {}))]
    landing.manifest([row])
    (landing.root / "segpipe.toml").write_text(TAXONOMY)
    root = Root.open(str(landing.root))
    root.materialize(PARTITION)
    root.materialize_view(PARTITION, view=View.INSTANCE)
    ((_, segments),) = read(root.view(PARTITION, View.INSTANCE))
    assert [(s["label"], s["area_px"]) for s in segments] == [
        ("background", 0), ("car", 24), ("car", 24),
    ]  # fmt: skip


def test_progress_ends_with_all_predictions(landing: LandingWriter) -> None:
    root = land_streets(landing, count=5, settings="rows_per_chunk = 2\n" + TAXONOMY)
    told: list[tuple[int, int]] = []
    root.materialize_view(PARTITION, view=View.INSTANCE, progress=lambda *rows: told.append(rows))
    assert told == [(2, 5), (4, 5), (5, 5)]


# --- what is out of date or damaged is noticed


def test_a_view_that_was_not_made_cannot_be_read_or_published(
    landing: LandingWriter, provenance: Callable[..., Provenance]
) -> None:
    root = land_streets(landing)
    with pytest.raises(TableError, match="holds no finished view: materialize it first"):
        root.view(PARTITION, View.INSTANCE)
    with pytest.raises(TableError, match="holds no finished view"):
        root.publish(PARTITION, provenance=provenance(), view=View.SEMANTIC)
    assert root.catalog.version() is None
    with pytest.raises(TableError, match="as given need no view"):
        root.materialize_view(PARTITION, view=View.GIVEN)


def test_a_view_of_an_earlier_pass_is_noticed(landing: LandingWriter) -> None:
    root = land_streets(landing)
    root.materialize_view(PARTITION, view=View.INSTANCE)
    land_streets(landing, count=2)
    with pytest.raises(TableError, match="earlier pass over the manifest: materialize the instanc"):
        root.view(PARTITION, View.INSTANCE)
    root.materialize_view(PARTITION, view=View.INSTANCE)
    assert len(root.view(PARTITION, View.INSTANCE)) == 2


def test_a_view_made_with_another_taxonomy_is_noticed(landing: LandingWriter) -> None:
    land_streets(landing).materialize_view(PARTITION, view=View.SEMANTIC)
    swapped = TAXONOMY.replace('sky = "stuff"\n', "") + 'sky = "stuff"\n'  # only the order
    (landing.root / "segpipe.toml").write_text(swapped)
    with pytest.raises(TableError, match="another taxonomy"):
        Root.open(str(landing.root)).view(PARTITION, View.SEMANTIC)


def test_an_unchanged_view_is_not_made_again_unless_something_of_it_is_lost(
    landing: LandingWriter,
) -> None:
    root = land_streets(landing)
    first = root.materialize_view(PARTITION, view=View.INSTANCE)
    folder = Path(root.view_tables(PARTITION, View.INSTANCE).path)

    def times() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    before = times()
    told: list[tuple[int, int]] = []
    assert (
        root.materialize_view(PARTITION, view=View.INSTANCE, progress=lambda *n: told.append(n))
        == first
    )
    assert times() == before
    assert told == [(3, 3)]
    (row, _), *_ = read(root.view(PARTITION, View.INSTANCE))
    (landing.root / row["mask_path"]).unlink()
    assert root.materialize_view(PARTITION, view=View.INSTANCE) == first
    assert times() != before
    assert (landing.root / row["mask_path"]).exists()
    (folder / "segments.parquet").write_bytes(b"damaged")
    assert root.materialize_view(PARTITION, view=View.INSTANCE) == first
    assert len(root.view(PARTITION, View.INSTANCE)) == 3


def test_a_mask_missing_from_the_store_stops_the_view_and_keeps_the_earlier_one(
    landing: LandingWriter,
) -> None:
    root = land_streets(landing)
    root.materialize_view(PARTITION, view=View.INSTANCE)
    earlier = content(landing.root / "views")

    def make() -> None:
        root.materialize_view(PARTITION, view=View.INSTANCE, force=True)

    (row, _), *_ = read(root.validated(PARTITION))
    path = landing.root / row["mask_path"]
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(TableError, match=r"mask of 'item-0'.*is not in the store: materialize"):
        make()
    path.write_bytes(whole[:-20])
    with pytest.raises(TableError, match=r"mask of 'item-0'.*not the file that was validated"):
        make()
    (_, _), (other, _), *_ = read(root.validated(PARTITION))
    path.write_bytes((landing.root / other["mask_path"]).read_bytes())  # a whole PNG, but another
    with pytest.raises(TableError, match=r"mask of 'item-0'.*not the file that was validated"):
        make()
    assert content(landing.root / "views") == earlier
    path.unlink()
    root.materialize(PARTITION)
    make()
    assert content(landing.root / "views") == earlier


@pytest.mark.parametrize("name", ["validated.parquet", "segments.parquet", "_summary.json"])
def test_missing_and_foreign_files_of_a_view_are_noticed(landing: LandingWriter, name: str) -> None:
    root = land_streets(landing)
    for view in MADE:
        root.materialize_view(PARTITION, view=view)
    here, other = (Path(root.view_tables(PARTITION, view).path) for view in MADE)
    (here / name).write_bytes((other / name).read_bytes())
    with pytest.raises(TableError, match="materialize"):
        root.view(PARTITION, View.INSTANCE)
    (here / name).unlink()
    with pytest.raises(TableError, match="materialize"):
        root.view(PARTITION, View.INSTANCE)


@pytest.mark.parametrize("note", [b"", b"[]", b'{"view": "instance"}', b'{"undecided_labels": 1}'])
def test_a_damaged_note_is_noticed(landing: LandingWriter, note: bytes) -> None:
    root = land_streets(landing)
    root.materialize_view(PARTITION, view=View.INSTANCE)
    (Path(root.view_tables(PARTITION, View.INSTANCE).path) / "_view.json").write_bytes(note)
    with pytest.raises(TableError, match="is damaged"):
        root.view(PARTITION, View.INSTANCE)


def test_a_disk_that_refuses_is_told_and_nothing_is_half_written(landing: LandingWriter) -> None:
    root = land_streets(landing)
    (landing.root / "views").write_bytes(b"a file in the way")
    with pytest.raises(StorageError, match="a file is where a folder is needed"):
        root.materialize_view(PARTITION, view=View.INSTANCE)


# --- settings


def test_publish_as_is_set_per_model_run(tmp_path: Path) -> None:
    (tmp_path / "segpipe.toml").write_text(
        '[policy]\npublish_as = "semantic"\n[model_runs.unet]\npublish_as = "instance"\n'
    )
    policies = Settings.load(str(tmp_path)).policies
    assert policies.of("unet").publish_as is View.INSTANCE
    assert policies.of("other").publish_as is View.SEMANTIC
    assert Settings(str(tmp_path)).policies.of("unet").publish_as is View.GIVEN


@pytest.mark.parametrize("value", ['"panoptic"', "true", "3", '["instance"]', '""'])
def test_an_unknown_view_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "segpipe.toml").write_text(f"[policy]\npublish_as = {value}\n")
    with pytest.raises(SettingsError, match=r"publish_as is .*: expected given, instance, semant"):
        Settings.load(str(tmp_path))


def test_views_may_lie_elsewhere(landing: LandingWriter) -> None:
    root = land_streets(landing, settings='views = "elsewhere"\n' + TAXONOMY)
    root.materialize_view(PARTITION, view=View.SEMANTIC)
    assert not (landing.root / "views").exists()
    assert len(root.view(PARTITION, View.SEMANTIC)) == 3


# --- publishing


def test_publishing_reads_the_view_the_policy_names(
    landing: LandingWriter, provenance: Callable[..., Provenance]
) -> None:
    root = land_streets(landing, settings='[policy]\npublish_as = "instance"\n' + TAXONOMY)
    root.materialize_view(PARTITION, view=View.INSTANCE)
    inserted = root.publish(PARTITION, provenance=provenance())
    assert inserted.outcomes["inserted"] == 3
    assert inserted.verification is not None
    assert inserted.verification.mismatches == ()
    published = {
        row["reference_id"]: row["fingerprint"]
        for row in root.catalog.read(["reference_id", "fingerprint"]).to_pylist()
    }
    derived = read(root.view(PARTITION, View.INSTANCE))
    assert published == {row["reference_id"]: row["fingerprint"] for row, _ in derived}
    assert root.publish(PARTITION, provenance=provenance()).outcomes["unchanged"] == 3
    # Another view of the same items is another content: ignored, or replaced when that is asked.
    given = root.publish(PARTITION, provenance=provenance(), view=View.GIVEN)
    assert given.outcomes["ignored"] == 3
    given = root.publish(PARTITION, provenance=provenance(update=True), view=View.GIVEN)
    assert given.outcomes["replaced"] == 3


def test_the_rejection_rate_of_the_manifest_counts_for_views_as_well(
    landing: LandingWriter, provenance: Callable[..., Provenance]
) -> None:
    bad = [{**landing.row(f"bad {n}"), "height": 7} for n in range(3)]
    landing.manifest([landing.row("good"), *bad])
    root = Root.open(str(landing.root))
    root.materialize(PARTITION)
    root.materialize_view(PARTITION, view=View.SEMANTIC)
    with pytest.raises(TableError, match="max_rejection_rate"):
        root.publish(PARTITION, provenance=provenance(), view=View.SEMANTIC)


def test_vacuum_keeps_the_masks_of_views(landing: LandingWriter) -> None:
    root = land_streets(landing)
    root.materialize_view(PARTITION, view=View.INSTANCE)
    orphan = root.masks.put(b"nobody refers to this")
    old = 1_000_000_000
    for path in (landing.root / "masks").rglob("*.png"):
        os.utime(path, (old, old))
    folders = root.settings.folder("validated"), root.settings.folder("views")
    done = vacuum(root.catalog, folders[0], views=folders[1], dry_run=False)
    assert done.mask_files == 1
    assert not root.masks.has(orphan)
    assert len(content(landing.root / "masks")) == 6


def test_views_of_a_root_in_a_bucket(
    s3: Bucket, landing: LandingWriter, provenance: Callable[..., Provenance]
) -> None:
    here = land_streets(landing)
    for name in ("manifests", "segpipe.toml"):
        place = landing.root / name
        for path in [place] if place.is_file() else sorted(place.rglob("*.p*")):
            key = f"root/{path.relative_to(landing.root).as_posix()}"
            s3.client().put_object(Bucket=s3.name, Key=key, Body=path.read_bytes())
    there = Root.open(f"{s3.url}/root")
    there.materialize(PARTITION)
    made = there.materialize_view(PARTITION, view=View.INSTANCE)
    assert made == here.materialize_view(PARTITION, view=View.INSTANCE)
    published = there.publish(
        PARTITION, provenance=provenance(), view=View.INSTANCE, verify_masks=None
    )
    assert published.outcomes["inserted"] == 3
    assert published.verification is not None
    assert published.verification.masks == 3
    (row, _), *_ = read(there.validated(PARTITION))
    s3.client().delete_object(Bucket=s3.name, Key=f"root/{row['mask_path']}")
    with pytest.raises(TableError, match=r"mask of 'item-0'.*is not in the store"):
        there.materialize_view(PARTITION, view=View.SEMANTIC)


def test_a_batch_of_predictions_is_named_by_its_items(landing: LandingWriter) -> None:
    landing.manifest([landing.row(name, (0, 1)) for name in ("a", "b", "c")])
    root = Root.open(str(landing.root))
    root.materialize(PARTITION)
    names = [str(batch) for batch in root.validated(PARTITION).batches(2)]
    assert names == ["the predictions of 'a' to 'b'", "the predictions of 'c' to 'c'"]
