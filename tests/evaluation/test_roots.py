"""Evaluating what a root has validated against what it has published as ground truth."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import segpipe
from segpipe.errors import EvaluationError, SettingsError, TableError
from segpipe.evaluation.result import Evaluation
from segpipe.evaluation.stored import TABLES
from segpipe.manifests.partition import Partition
from segpipe.predictions.prediction import Segment
from segpipe.root import Root
from segpipe.storage.mask_store import MaskStore
from tests.fixtures.command_line import assert_plain_error, invoked
from tests.fixtures.command_line import segpipe as command
from tests.fixtures.landing import LandingWriter
from tests.fixtures.scenes_of_pairs import Scene, pairs, write_manifest

TRUTH, RUN = Partition("labels", "2026-01-05"), Partition("unet", "2026-01-05")
NEXT = Partition("unet", "2026-01-06")
GIVEN = {f"item {number}": pair for number, pair in enumerate(pairs(11, 6))}
TRUE = {id: truth for id, (truth, _) in GIVEN.items()}
PREDICTED = {id: predicted for id, (_, predicted) in GIVEN.items()}


def land(landing: LandingWriter, partition: Partition, scenes: Mapping[str, Scene]) -> Path:
    folder = landing.folder(partition)
    folder.mkdir(parents=True, exist_ok=True)
    return write_manifest(folder / "predictions.parquet", scenes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with published ground truth and validated predictions of six items."""
    landing = LandingWriter(tmp_path_factory.mktemp("made") / "root")
    land(landing, TRUTH, TRUE)
    land(landing, RUN, PREDICTED)
    (landing.root / "segpipe.toml").write_text('[evaluation]\nground_truth = "labels"\n')
    root = Root.open(landing.root)
    root.materialize(TRUTH)
    root.publish(TRUTH)
    root.materialize(RUN)
    return landing.root


@pytest.fixture
def root(made: Path, landing: LandingWriter) -> Root:
    """A copy of it, for a test of its own."""
    shutil.copytree(made, landing.root)
    return Root.open(landing.root)


def masks_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """SHA-256 of every mask that is read from a store from now on."""
    read: list[str] = []
    read_mask = MaskStore.read

    def noted(store: MaskStore, sha256: str) -> bytes:
        read.append(sha256)
        return read_mask(store, sha256)

    monkeypatch.setattr(MaskStore, "read", noted)
    return read


def test_a_partition_has_the_numbers_that_its_manifests_have(
    root: Root, landing: LandingWriter
) -> None:
    found = root.evaluate(RUN, boundary=True)
    given = {side: landing.folder(of) / "predictions.parquet" for side, of in
             (("gt", TRUTH), ("predictions", RUN))}  # fmt: skip
    expected = segpipe.evaluate(**given, boundary=True, workers=1)
    assert found.headline == pytest.approx(dict(expected.headline))
    for name in ("items", "classes", "confusion", "segments"):
        assert getattr(found, name).equals(getattr(expected, name)), name


def test_only_items_that_changed_on_either_side_are_read_again(
    root: Root, landing: LandingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.publish(RUN)
    first = root.evaluate(RUN)
    read = masks_read(monkeypatch)
    again = root.evaluate(RUN)
    assert (again.reused, read) == (6, [])
    assert again.items.equals(first.items)
    land(landing, RUN, {**PREDICTED, "item 2": TRUE["item 2"]})
    root.materialize(RUN)
    root.publish(RUN, update=True)
    land(landing, TRUTH, {**TRUE, "item 4": PREDICTED["item 4"]})
    root.materialize(TRUTH)
    root.publish(TRUTH, update=True)
    read.clear()
    changed = root.evaluate(RUN)
    assert (changed.reused, len(read)) == (4, 2 * 2)
    mious = dict(
        zip(*(changed.items[name].to_pylist() for name in ("reference_id", "mIoU")), strict=True)
    )
    assert mious["item 2"] == mious["item 4"] == 1
    read.clear()
    anew = root.evaluate(RUN, force=True)
    assert len(read) == 2 * 6
    for name in ("items", "item_classes", "item_confusion", "segments"):
        assert getattr(anew, name).equals(getattr(changed, name)), name


def test_tables_are_named_by_their_content_and_damaged_ones_are_made_again(
    root: Root, landing: LandingWriter
) -> None:
    root.evaluate(RUN)
    (summary,) = landing.root.glob("evaluations/model_run=unet/date=2026-01-05/*/_evaluation.json")
    told = json.loads(summary.read_text())
    assert (told["model_run"], told["against"], told["items"]["evaluated"]) == (
        "unet",
        ["labels"],
        6,
    )
    files = {path.name for path in summary.parent.glob("*.parquet")}
    assert files == set(told["tables"].values())
    root.evaluate(RUN, force=True)
    assert {path.name for path in summary.parent.glob("*.parquet")} == files
    (summary.parent / told["tables"]["items"]).write_bytes(b"torn")
    assert root.evaluate(RUN).reused == 0
    assert root.evaluate(RUN).reused == 6


def test_the_tables_are_views_of_queries(root: Root, landing: LandingWriter) -> None:
    pytest.importorskip("duckdb")
    found = root.evaluate(RUN)
    land(landing, NEXT, {"item 0": TRUE["item 0"]})
    root.materialize(NEXT)
    next_day = root.evaluate(NEXT)
    (place,) = landing.root.glob("evaluations/model_run=unet/date=2026-01-06/*")
    (place / "items-left-over.parquet").write_bytes(b"whoever reads this fails")
    for name in TABLES:
        rows = root.sql(f"SELECT * FROM evaluation_{name}").to_pylist()
        parts = (one.summary(1) if name == "summary" else getattr(one, name) for one in
                 (found, next_day))  # fmt: skip
        assert len(rows) == sum(part.num_rows for part in parts)
    told = root.sql(
        "SELECT reference_id, mIoU, against FROM evaluation_items "
        "WHERE model_run = 'unet' AND partition = '2026-01-05' ORDER BY 1"
    )
    assert told["mIoU"].to_pylist() == found.items["mIoU"].to_pylist()
    assert set(told["against"].to_pylist()) == {"labels"}
    (place / "_evaluation.json").write_text("torn")
    with pytest.warns(UserWarning, match="damaged and left out: evaluate the partition again"):
        assert root.sql("SELECT * FROM evaluation_items").num_rows == 6


def test_a_rejected_prediction_is_missing_and_the_rule_is_told(
    root: Root, landing: LandingWriter
) -> None:
    given = PREDICTED["item 1"]
    unexplained = Scene(given.pixels, tuple(one for one in given.segments if one.index != 3))
    land(landing, RUN, {**PREDICTED, "item 1": unexplained, "unknown": PREDICTED["item 0"]})
    root.materialize(RUN)
    result = root.evaluate(RUN)
    assert dict(result.outcomes) == {"evaluated": 5, "no ground truth": 1, "no prediction": 1}
    rows = {one["reference_id"]: one["reason"] for one in result.items.to_pylist()}
    assert rows["item 1"].startswith("rejected, VALUE-NO-SEGMENT")
    assert rows["unknown"] == "none is published"
    done = invoked("evaluate", "--root", landing.root, "--model-run", "unet", "--all")
    assert done.return_value == 1
    assert "7 items: 5 evaluated, 1 no ground truth, 1 no prediction" in done.output


def test_a_rejected_item_counts_as_missing_once_its_ground_truth_is_published(
    root: Root, landing: LandingWriter
) -> None:
    given = PREDICTED["item 1"]
    unexplained = Scene(given.pixels, tuple(one for one in given.segments if one.index != 3))
    land(landing, RUN, {**PREDICTED, "late": unexplained})
    root.materialize(RUN)
    assert root.evaluate(RUN).outcomes["no prediction"] == 0
    land(landing, TRUTH, {**TRUE, "late": TRUE["item 1"]})
    root.materialize(TRUTH)
    root.publish(TRUTH)
    changed = root.evaluate(RUN)
    assert (changed.reused, changed.outcomes["no prediction"]) == (6, 1)


def test_a_class_is_not_called_undecided_any_more_once_its_segments_say_what_it_is(
    root: Root, landing: LandingWriter
) -> None:
    def saying(label: str, **metadata: int) -> Scene:
        return Scene(PREDICTED["item 0"].pixels * 0, (Segment(label, 0, metadata),))

    known = saying("road", isthing=0)
    for true in (saying("tree"), saying("tree", isthing=1)):
        for partition in (TRUTH, RUN):
            land(landing, partition, {"item 0": true, "item 1": known})
            root.materialize(partition)
        root.publish(TRUTH, update=True)
        result = root.evaluate(RUN)
        told = "they count as things: 'tree'" in repr(result)
        assert told is ("isthing" not in true.segments[0].metadata)
    assert result.reused == 1


def test_a_class_is_undecided_by_the_items_that_do_not_say_what_it_is(
    root: Root, landing: LandingWriter
) -> None:
    def saying(**metadata: int) -> Scene:
        return Scene(PREDICTED["item 0"].pixels * 0, (Segment("tree", 0, metadata),))

    def evaluated(changed: Scene) -> Evaluation:
        for partition in (TRUTH, RUN):
            land(landing, partition, {"item 0": changed, "item 1": saying(isthing=1)})
            root.materialize(partition)
        root.publish(TRUTH, update=True)
        return root.evaluate(RUN)

    first = evaluated(saying())
    assert first.undecided == ["tree"]
    assert first.item_classes["undecided"].to_pylist() == [True, False]
    assert first.of_items(["item 1"]).undecided == []
    second = evaluated(saying(isthing=1))
    assert (second.undecided, second.reused) == ([], 1)  # the other has the label, and says it


def test_an_evaluation_without_the_column_of_undecided_items_is_read_as_its_summary_says(
    root: Root, landing: LandingWriter
) -> None:
    before = root.evaluate(RUN)
    (summary,) = landing.root.glob("evaluations/model_run=unet/date=2026-01-05/*/_evaluation.json")
    told = json.loads(summary.read_text())
    table = summary.parent / told["tables"]["item_classes"]
    pq.write_table(pq.read_table(table).drop_columns("undecided"), table)
    read = root.evaluations(RUN).read()
    assert read is not None and read.item_classes.equals(before.item_classes)
    summary.write_text(json.dumps({**told, "undecided": ["car"]}))
    read = root.evaluations(RUN).read()
    assert read is not None and read.undecided == ["car"]
    if find_spec("duckdb"):
        rows = root.sql("SELECT DISTINCT undecided FROM evaluation_item_classes")
        assert rows["undecided"].to_pylist() == [None]


def test_ground_truth_that_is_taken_back_leaves_no_evaluation(
    root: Root, landing: LandingWriter
) -> None:
    root.evaluate(RUN)
    root.catalog.unpublish("labels", TRUTH.date)
    for _ in range(2):
        with pytest.raises(
            EvaluationError, match=r"nothing could be evaluated: .* published at all"
        ):
            root.evaluate(RUN)
    assert not [*landing.root.glob("evaluations/model_run=unet/**/_evaluation.json")]
    assert root.changed_truth(RUN, root.published_truth()) is None


def test_tables_that_another_run_is_about_to_name_stay(root: Root, landing: LandingWriter) -> None:
    found = root.evaluate(RUN)
    store = root.evaluations(RUN)
    before = store.digest()
    (summary,) = landing.root.glob("evaluations/model_run=unet/date=2026-01-05/*/_evaluation.json")
    first = summary.read_bytes()
    store.write(found, 99)  # of another version of the catalog: another run's
    assert store.digest() == before
    other = json.loads(summary.read_text())["tables"]
    summary.write_bytes(first)
    store.write(found, 100)
    assert (summary.parent / other["summary"]).exists()


def test_a_damaged_validated_table_is_told_by_name_not_by_a_traceback(
    root: Root, landing: LandingWriter
) -> None:
    (table,) = landing.root.glob("validated/model_run=unet/date=2026-01-05/validated.parquet")
    table.write_bytes(b"")
    with pytest.raises(TableError, match=r"validated.parquet is damaged .* run its partition"):
        root.changed_truth(RUN, root.published_truth())
    root.materialize(RUN, force=True)
    assert root.changed_truth(RUN, root.published_truth()) is not None


def test_of_an_item_on_several_days_the_last_one_counts(root: Root, landing: LandingWriter) -> None:
    land(landing, NEXT, {"item 0": TRUE["item 0"]})
    root.materialize(NEXT)
    whole = root.evaluate("unet")
    assert whole.items.num_rows == 6
    assert whole.items["mIoU"].to_pylist()[0] == 1
    assert "1 predictions are of items that a later day has as well" in repr(whole)


def test_the_command_prints_the_table_or_json_and_says_what_is_missing(
    root: Root, landing: LandingWriter
) -> None:
    given = ("evaluate", "--root", landing.root, "--model-run", "unet")
    done = command(*given, "--date", "2026-01-05")
    assert done.returncode == 0, done.stderr
    result = root.evaluate(RUN)
    assert f"mIoU                {100 * result.headline['mIoU']:.2f}" in done.stdout
    printed = json.loads(invoked(*given, "--all", "--boundary", "--format", "json").stdout)
    assert printed["headline"]["PQ"] == result.headline["PQ"]
    assert printed["headline"]["boundary_IoU"] is not None
    assert {one["label"] for one in printed["classes"]} == {"car", "person", "road", "sky"}
    assert_plain_error(
        command(*given, "--all", "--against", "nobody"), "nothing could be evaluated", "'nobody'"
    )
    with pytest.raises(
        EvaluationError, match=r"of 'lables'; did you mean 'labels'\? Publish the ground"
    ):
        invoked(*given, "--all", "--against", "lables")
    with pytest.raises(SettingsError, match="either --date YYYY-MM-DD or --all"):
        invoked(*given)
    with pytest.raises(SettingsError, match="compared with itself"):
        invoked(*given, "--all", "--against", "unet")
    with pytest.raises(EvaluationError, match="none of 6 items can be compared"):
        root.evaluate(RUN, against="nobody")
    (landing.root / "segpipe.toml").unlink()
    with pytest.raises(SettingsError, match="no ground truth is named"):
        Root.open(landing.root).evaluate(RUN)


def test_summaries_are_as_other_tools_compute_and_name_them(root: Root) -> None:
    result = root.evaluate(RUN)
    given = ("evaluate", "--root", root.settings.root, "--model-run", "unet", "--all")
    coco = json.loads(invoked(*given, "--as", "coco-panoptic-json").stdout)
    assert coco["All"] == {
        "pq": result.numbers["PQ"], "sq": result.numbers["SQ"], "rq": result.numbers["RQ"], "n": 4,
    }  # fmt: skip
    assert coco["Things"]["n"] + coco["Stuff"]["n"] == len(coco["per_class"]) == 4
    cityscapes = json.loads(invoked(*given, "--as", "cityscapes-json").stdout)
    matrix, places = np.array(cityscapes["confMatrix"]), cityscapes["labels"]
    for label, score in cityscapes["classScores"].items():  # as cityscapesScripts computes it
        place = places[label]
        union = matrix[place].sum() + matrix[:, place].sum() - matrix[place, place]
        assert score == pytest.approx(matrix[place, place] / union, abs=1e-12)
    assert cityscapes["averageScoreClasses"] == result.numbers["mIoU"]
    assert sum(cityscapes["priors"].values()) == pytest.approx(1)
