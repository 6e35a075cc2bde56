"""Predictions are compared with published ground truth where the settings name it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from segpipe.manifest_check import validate
from segpipe.manifests.partition import Partition
from segpipe.pipeline.instance import open_instance
from segpipe.pipeline.runs import run_partition
from segpipe.publishing import ground_truth as published
from segpipe.publishing.ground_truth import PublishedTruth
from segpipe.root import Root
from segpipe.validation.summary import Summary
from tests.fixtures.command_line import segpipe
from tests.fixtures.data_sets import HAS_REAL_DATA
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.places import REAL_DATA

TRUTH = Partition("ground-truth", "2026-01-05")
SETTING = '[evaluation]\nground_truth = "ground-truth"\n'
LABELS = {0: "sky", 1: "road", 2: "pavement", 3: "car"}
IDENTICAL, MIXED = "IDENTICAL-TO-TRUTH", "INDEX-MIXED"


def scene(shift: int = 0) -> NDArray[np.uint8]:
    """Sky over road and pavement with a car in between, 40 x 60, moved to the right."""
    mask = np.zeros((40, 60), np.uint8)
    mask[15:, :35] = 1
    mask[15:, 35:] = 2
    mask[18:26, 20:32] = 3
    return np.roll(mask, shift, axis=1)


def written(
    landing: LandingWriter,
    reference_id: str,
    mask: NDArray[np.uint8],
    labels: Mapping[int, str] = LABELS,
    partition: Partition = PARTITION,
    ignored: Iterable[int] = (),
) -> dict[str, Any]:
    """A manifest row, its mask written; Segments for the values that occur."""
    height, width = mask.shape
    return {
        "reference_id": reference_id,
        "mask_url": landing.mask(reference_id, mask, partition),
        "segments": json.dumps(
            [
                {"index": i, "label": label, "metadata": {"ignore": True} if i in ignored else {}}
                for i, label in labels.items()
                if (mask == i).any()
            ]
        ),
        "height": height,
        "width": width,
    }


def opened(landing: LandingWriter, settings: str = SETTING) -> Root:
    landing.root.mkdir(parents=True, exist_ok=True)
    (landing.root / "segpipe.toml").write_text(settings)
    return Root.open(landing.root)


def published_truth(
    landing: LandingWriter,
    masks: Mapping[str, NDArray[np.uint8]],
    settings: str = SETTING,
    partition: Partition = TRUTH,
    **more: Any,
) -> Root:
    """A root whose ground truth came through the pipeline as any prediction does."""
    root = opened(landing, settings)
    rows = [written(landing, id, mask, partition=partition, **more) for id, mask in masks.items()]
    landing.manifest(rows, partition)
    root.materialize(partition)
    publication = root.publish(partition, update=True)
    assert publication.outcomes["failed"] == 0
    return root


def run(landing: LandingWriter, root: Root, *rows: Mapping[str, Any]) -> Summary:
    landing.manifest(rows)
    return root.materialize(PARTITION)


def findings(root: Root) -> dict[str, dict[str, str]]:
    """Reference id -> rule -> message, of the accepted rows."""
    table = pq.read_table(
        Path(root.tables(PARTITION).path) / "validated.parquet", partitioning=None
    )
    return {
        row["reference_id"]: {one["rule"]: one["message"] for one in row["findings"]}
        for row in table.to_pylist()
    }


# --- identical to the truth


def test_a_copy_of_the_labels_is_warned_of_and_published(landing: LandingWriter) -> None:
    root = published_truth(landing, {"copied": scene(), "predicted": scene()})
    rows = [written(landing, "copied", scene()), written(landing, "predicted", scene(1))]
    summary = run(landing, root, *rows)
    assert summary.accepted == 2
    assert summary.findings[IDENTICAL] == 1
    assert dict(summary.ground_truth) == {"compared": 2}
    found = findings(root)
    assert found["copied"][IDENTICAL].startswith("each of 2 400 px is as in the ground truth")
    assert IDENTICAL not in found["predicted"]
    assert "IDENTICAL-TO-TRUTH  1 row" in str(root.report(PARTITION))
    assert root.publish(PARTITION).outcomes["inserted"] == 2


def test_a_copy_under_other_indexes_is_a_copy_and_equal_pixels_of_other_classes_are_none(
    landing: LandingWriter,
) -> None:
    root = published_truth(landing, {"renumbered": scene(), "shuffled": scene()})
    other = {0: "car", 1: "sky", 2: "road", 3: "pavement"}
    rows = [
        written(landing, "renumbered", scene() + 7, {i + 7: label for i, label in LABELS.items()}),
        written(landing, "shuffled", scene(), other),
    ]
    assert run(landing, root, *rows).findings[IDENTICAL] == 1
    assert findings(root)["shuffled"].keys() <= {"DUPLICATE-MASK"}


def test_void_of_the_truth_is_copied_as_void_whatever_its_label(landing: LandingWriter) -> None:
    mask = scene()
    mask[:, :5] = 255
    labels = LABELS | {255: "void"}
    truth = {"void": mask, "filled": mask}
    root = published_truth(landing, truth, labels=labels, ignored=[255])
    filled = np.where(mask == 255, 0, mask).astype(np.uint8)
    rows = [
        written(landing, "void", mask, LABELS | {255: "unlabelled"}, ignored=[255]),
        written(landing, "filled", filled),
    ]
    run(landing, root, *rows)
    assert [id for id, rules in findings(root).items() if IDENTICAL in rules] == ["void"]


def test_an_empty_frame_or_a_tiny_object_that_is_predicted_exactly_is_no_copy(
    landing: LandingWriter,
) -> None:
    tiny = np.zeros((40, 60), np.uint8)
    tiny[3:12, 3:12] = 3
    masks = {"empty": np.zeros((40, 60), np.uint8), "tiny": tiny}
    root = published_truth(landing, masks)
    summary = run(landing, root, *(written(landing, id, mask) for id, mask in masks.items()))
    assert dict(summary.ground_truth) == {"compared": 2}
    assert IDENTICAL not in summary.findings


# --- one index for several classes


def test_two_classes_written_with_one_index_are_warned_of_with_their_pixels(
    landing: LandingWriter,
) -> None:
    root = published_truth(landing, {"merged": scene(), "apart": scene()})
    noisy = scene(1)
    rows = [
        written(landing, "merged", np.where(noisy == 2, 1, noisy).astype(np.uint8)),
        written(landing, "apart", noisy),
    ]
    assert run(landing, root, *rows).findings[MIXED] == 1
    message = findings(root)["merged"][MIXED]
    assert "index 1 ('road') covers 'road' " in message
    assert "and 'pavement' 625 px (100.0 % of it)" in message
    # the remedy, followed: two values for the two classes
    rows[0] = written(landing, "merged", noisy)
    assert MIXED not in run(landing, root, *rows).findings


def test_object_ids_cut_to_8_bits_are_seen_where_they_meet_another_class(
    landing: LandingWriter,
) -> None:
    ids = scene().astype(np.uint16)
    ids[ids == 2] = 257  # the second object of a crowded image
    root = published_truth(landing, {"a": scene()})
    labels = {0: "sky", 1: "road", 3: "car"}
    assert run(landing, root, written(landing, "a", (ids % 256).astype(np.uint8), labels)).findings[
        MIXED
    ]


@pytest.mark.parametrize("kind", ["missed", "spilled", "void", "background", "coarser"])
def test_what_decent_predictions_do_is_no_merged_index(landing: LandingWriter, kind: str) -> None:
    truth, predicted, labels, ignored = scene(), scene(), dict(LABELS), set[int]()
    if kind == "missed":  # a small object that the model did not see
        predicted[predicted == 3] = 1
    if kind == "spilled":  # a boundary that is wrong by a sixth of the class
        predicted[15:, 35:46] = 1
    if kind == "void":
        labels[2] = "unlabelled"
        ignored = {2}
        predicted[predicted == 2] = 1
    if kind == "background":
        labels[0] = "background"
        predicted[predicted == 1] = 0
    own = labels
    if kind == "coarser":  # the truth has no such label: the model knows fewer classes
        own = labels | {1: "ground"}
        predicted[predicted == 2] = 1
    root = published_truth(landing, {"a": truth}, labels=labels, ignored=ignored)
    row = written(landing, "a", predicted, own, ignored=ignored)
    summary = run(landing, root, row)
    assert dict(summary.ground_truth) == {"compared": 1}
    assert MIXED not in summary.findings


# --- when truth is looked at


def test_nothing_is_looked_up_unless_ground_truth_is_named(
    landing: LandingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    published_truth(landing, {"a": scene()})
    root = opened(landing, "")
    monkeypatch.setattr(PublishedTruth, "now", None)
    summary = run(landing, root, written(landing, "a", scene()))
    assert (summary.ground_truth, summary.findings) == ({}, {})
    assert "ground truth" not in str(summary)
    assert b"ground_truth" not in root.tables(PARTITION).read("_summary.json")


def test_nothing_is_looked_up_where_a_policy_switches_both_rules_off(
    landing: LandingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = '[policy.severities]\nIDENTICAL-TO-TRUTH = "off"\nINDEX-MIXED = "off"\n'
    root = published_truth(landing, {"a": scene()}, SETTING + off)
    monkeypatch.setattr(PublishedTruth, "now", None)
    assert run(landing, root, written(landing, "a", scene())).ground_truth == {}


def test_a_policy_can_reject_copies(landing: LandingWriter) -> None:
    reject = '[policy.severities]\nIDENTICAL-TO-TRUTH = "reject"\n'
    root = published_truth(landing, {"a": scene()}, SETTING + reject)
    assert run(landing, root, written(landing, "a", scene())).rejected == 1


def test_the_ground_truth_is_not_compared_with_itself(landing: LandingWriter) -> None:
    root = published_truth(landing, {"a": scene()})
    again = root.materialize(TRUTH, force=True)
    assert (again.ground_truth, again.findings) == ({}, {})


def test_items_without_truth_are_counted_also_where_nothing_is_published(
    landing: LandingWriter,
) -> None:
    root = opened(landing)
    rows = [written(landing, "a", scene()), written(landing, "b", scene(3))]
    assert dict(run(landing, root, *rows).ground_truth) == {"absent": 2}
    root = published_truth(landing, {"a": scene()})
    summary = root.materialize(PARTITION)
    assert dict(summary.ground_truth) == {"absent": 1, "compared": 1}
    assert "ground truth: 1 absent, 1 compared" in str(summary)


def test_truth_of_another_size_or_without_its_mask_is_said_and_not_compared(
    landing: LandingWriter,
) -> None:
    root = published_truth(landing, {"small": scene()[:20], "gone": scene(5), "fine": scene()})
    (sha256,) = root.catalog.predictions(reference_ids=["gone"])["mask_sha256"].to_pylist()
    (Path(root.masks.folder.path) / root.masks.name_of(sha256)).unlink()
    rows = [written(landing, id, scene(1)) for id in ("small", "gone", "fine")]
    summary = run(landing, root, *rows)
    assert dict(summary.ground_truth) == {"another size": 1, "compared": 1, "unreadable": 1}
    one, other = summary.warnings
    assert "of 1 rows ('small') it has another size than the prediction" in one
    assert "of 1 rows ('gone') it has no readable mask any more" in other


@pytest.mark.parametrize("damaged", [False, True])
def test_the_advice_for_truth_without_a_readable_mask_brings_it_back(
    landing: LandingWriter, damaged: bool
) -> None:
    root = published_truth(landing, {"a": scene()})
    (sha256,) = root.catalog.predictions()["mask_sha256"].to_pylist()
    file = Path(root.masks.folder.path) / root.masks.name_of(sha256)
    file.unlink()
    if damaged:
        file.write_bytes(bytes(100))
    summary = run(landing, root, written(landing, "a", scene(1)))
    assert "delete what is left of its file, run the ground truth's partition again" in str(summary)
    file.unlink(missing_ok=True)
    root.materialize(Partition("ground-truth", PARTITION.date))
    assert dict(root.materialize(PARTITION, force=True).ground_truth) == {"compared": 1}


def test_the_first_model_run_that_has_an_item_is_its_truth_and_other_datasets_are_not_asked(
    landing: LandingWriter,
) -> None:
    both = '[evaluation]\nground_truth = ["ground-truth", "older"]\n'
    older = Partition("older", "2026-01-05")
    published_truth(landing, {"a": scene(4)}, both)
    root = published_truth(landing, {"a": scene(), "b": scene()}, both, older)
    rows = [written(landing, "a", scene()), written(landing, "b", scene())]
    run(landing, root, *rows)
    assert [id for id, rules in findings(root).items() if IDENTICAL in rules] == ["b"]
    elsewhere = opened(landing, 'dataset = "other"\n' + both)
    assert dict(elsewhere.materialize(PARTITION).ground_truth) == {"absent": 2}


def test_a_partition_is_looked_at_again_when_the_truth_of_its_items_changed_and_only_then(
    landing: LandingWriter,
) -> None:
    root = published_truth(landing, {"a": scene(2)})
    assert IDENTICAL not in run(landing, root, written(landing, "a", scene())).findings
    # Other items' truth, and other predictions, are nothing to this partition.
    later = Partition("ground-truth", "2026-01-06")
    published_truth(landing, {"b": scene()}, partition=later)
    root.publish(PARTITION)
    assert root.materialize(PARTITION).reused
    published_truth(landing, {"a": scene()})  # corrected
    again = root.materialize(PARTITION)
    assert not again.reused
    assert again.findings[IDENTICAL] == 1
    assert root.materialize(PARTITION).reused
    root.catalog.unpublish("ground-truth", "2026-01-05")
    withdrawn = root.materialize(PARTITION)
    assert (dict(withdrawn.ground_truth), withdrawn.findings) == ({"absent": 1}, {})


def test_every_chunk_is_compared_with_the_same_version_in_every_worker(
    landing: LandingWriter,
) -> None:
    root = published_truth(landing, {f"i{n}": scene(n) for n in range(5)})
    truth = PublishedTruth.now(root.catalog, "default", ["ground-truth"])
    before = truth.fingerprints(["i0", None, "nowhere", "i1"])
    assert before[1:3] == [None, None]
    published_truth(landing, {"i0": scene(9)})
    copy = pickle.loads(pickle.dumps(truth))  # as a worker process gets it
    assert copy.fingerprints(["i0", None, "nowhere", "i1"]) == before
    newest = PublishedTruth.now(root.catalog, "default", ["ground-truth"])
    assert newest.fingerprints(["i0"]) != before[:1]
    assert copy.of(["i1", None])["i1"][0] == before[3]


def test_only_the_items_of_a_chunk_are_looked_up_at_a_time(
    landing: LandingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    look_up = published.PublishedTruth.of

    def counting(self: PublishedTruth, ids: Any) -> Any:
        asked.append(len(ids))
        return look_up(self, ids)

    monkeypatch.setattr(published.PublishedTruth, "of", counting)
    settings = "rows_per_chunk = 2\nworkers = 1\n" + SETTING
    root = published_truth(landing, {f"i{n}": scene(n) for n in range(5)}, settings)
    rows = [written(landing, f"i{n}", scene(n + 1)) for n in range(5)]
    assert dict(run(landing, root, *rows).ground_truth) == {"compared": 5}
    assert asked == [2, 2, 1]


# --- the ways in


def test_segpipe_run_warns_and_segpipe_validate_which_knows_no_catalog_does_not(
    landing: LandingWriter, tmp_path: Path
) -> None:
    published_truth(landing, {"a": scene()})
    manifest = landing.manifest([written(landing, "a", scene())])
    done = segpipe(
        "run", "--root", landing.root, "--model-run", PARTITION.model_run, "--date", PARTITION.date
    )
    assert done.returncode == 0, done.stderr
    assert "IDENTICAL-TO-TRUTH  1 row" in done.stdout
    assert "ground truth: 1 compared" in done.stdout
    report = validate(manifest, tmp_path / "out")
    assert report.summary.ground_truth == {}
    assert [rule.rule for rule in report.rules] == []


def test_dagster_shows_the_warning_and_what_was_compared(
    landing: LandingWriter, tmp_path: Path
) -> None:
    root = published_truth(landing, {"a": scene(), "small": scene()[:20]})
    landing.manifest([written(landing, "a", scene()), written(landing, "small", scene())])
    with open_instance(root.settings) as instance:
        report = run_partition(root, PARTITION, instance=instance)
        event = instance.get_latest_materialization_event(dg.AssetKey("validated_masks"))
    assert report.failure is None
    assert event is not None
    assert event.asset_materialization is not None
    metadata = {name: m.value for name, m in event.asset_materialization.metadata.items()}
    assert metadata["findings/IDENTICAL-TO-TRUTH"] == 1
    assert metadata["ground_truth/compared"] == 1
    assert "another size" in str(metadata["warnings"])


# --- predictions and their truth

_REAL = """bdd_mots bdd_panoptic camvid cityscapes coco_panoptic davis_frames deeplab_photos
    scalabel_semantic"""


@pytest.mark.parametrize(
    "name",
    ["street"]
    + [pytest.param(name, marks=pytest.mark.realdata) for name in _REAL.split() if HAS_REAL_DATA],
)
def test_predictions_are_not_warned_of_and_their_truth_under_another_name_is(
    landing: LandingWriter, made_data: Path, name: str
) -> None:
    data = made_data if name == "street" else REAL_DATA
    folder = data.parent / "evaluation" / name
    root = opened(landing, f"allowed_roots = ['{folder}']\nworkers = 1\n{SETTING}")

    def landed(file: str, partition: Partition) -> Summary:
        rows = pq.read_table(folder / f"{file}.parquet", partitioning=None).to_pylist()
        landing.manifest(
            [{**row, "mask_url": str(folder / row["mask_url"])} for row in rows], partition
        )
        return root.materialize(partition)

    landed("gt", TRUTH)
    root.publish(TRUTH)
    for run_file in sorted(folder.glob("*.parquet")):
        if run_file.stem != "gt":
            summary = landed(run_file.stem, Partition(run_file.stem, PARTITION.date))
            assert dict(summary.ground_truth) == {"compared": summary.accepted}
            assert not summary.findings.keys() & {IDENTICAL, MIXED}
    copied = landed("gt", Partition("copied", PARTITION.date))
    assert copied.findings[IDENTICAL] == copied.accepted
