"""Many days of a model run: counts are added, and only what is needed is read."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from segpipe.evaluation import truth_ahead
from segpipe.evaluation.days import DatasetEvaluation
from segpipe.evaluation.stored import TABLES_OF_DATASET
from segpipe.manifests.partition import Partition
from segpipe.publishing import ground_truth
from segpipe.publishing.table import PredictionsTable
from segpipe.root import Root
from segpipe.storage.files import Folder
from tests.evaluation.test_roots import PREDICTED, RUN, TRUE, TRUTH, land, masks_read
from tests.fixtures.landing import LandingWriter

NEXT, LAST = Partition("unet", "2026-01-06"), Partition("unet", "2026-01-07")
OTHER = Partition("other", "2026-01-05")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """A root with ground truth, a model run of three days with items on several of them, and
    another one."""
    landing = LandingWriter(tmp_path_factory.mktemp("days") / "root")
    ids = [*PREDICTED]
    runs = {
        TRUTH: {id: TRUE[id] for id in ids[:5]},
        RUN: {id: PREDICTED[id] for id in ids[:4]},
        NEXT: {**{id: TRUE[id] for id in ids[1:2]}, ids[5]: PREDICTED[ids[5]]},
        LAST: {ids[4]: PREDICTED[ids[4]]},
        OTHER: {id: TRUE[id] for id in ids[:3]},
    }
    for partition, scenes in runs.items():
        land(landing, partition, scenes)
    (landing.root / "segpipe.toml").write_text(
        '[evaluation]\nground_truth = "labels"\nno_regression = {against = "unet", metric = "PQ"}\n'
    )
    root = Root.open(landing.root)
    for partition in runs:
        root.materialize(partition)
    root.publish(TRUTH)
    return root


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often files of evaluations are read from now on, by the first word of their names."""
    counts: Counter[str] = Counter()
    of_folder = Folder.read

    def noted(folder: Folder, name: str) -> bytes:
        if "/evaluations/" in folder.url:
            counts[re.split(r"[-.]", name)[0]] += 1
        return of_folder(folder, name)

    monkeypatch.setattr(Folder, "read", noted)
    return counts


def of_all_days(root: Root) -> DatasetEvaluation:
    return root.leaderboard("unet")[0]


def test_the_days_counted_together_are_the_evaluation_of_all_their_items(root: Root) -> None:
    found, whole = of_all_days(root), root.evaluate("unet")
    assert found.items.equals(whole.items)
    assert found.confusion.equals(whole.confusion)
    for one, other in zip(*(of.calibration.to_pylist() for of in (found, whole)), strict=True):
        assert one == pytest.approx(other, abs=1e-12)
    assert found.remarks == whole.remarks
    assert dict(found.numbers) == pytest.approx(dict(whole.numbers), abs=1e-12)
    assert dict(found.uncertainty) == pytest.approx(dict(whole.uncertainty), abs=1e-12)
    for one, other in zip(found.classes.to_pylist(), whole.classes.to_pylist(), strict=True):
        assert one == pytest.approx(other, abs=1e-12)
    sort = [(name, "ascending") for name in ("reference_id", "side", "index")]
    parts = [row for part in found.segments for row in part.to_pylist()]
    assert len(parts) == whole.segments.num_rows
    (stored,) = Path(root.settings.root).glob("evaluations/model_run=unet/all-days/*")
    assert len([*stored.glob("*.parquet")]) == len(TABLES_OF_DATASET)
    pytest.importorskip("duckdb")
    rows = root.sql("SELECT * FROM evaluation_of_dataset_segments")
    assert (
        rows.sort_by(sort).select(whole.segments.column_names).equals(whole.segments.sort_by(sort))
    )
    (told,) = root.sql("SELECT model_run, evaluated, mIoU FROM evaluation_of_dataset_summary "
                       "WHERE against = 'labels'").to_pylist()  # fmt: skip
    assert told == {"model_run": "unet", "evaluated": 5, "mIoU": found.numbers["mIoU"]}
    of_days = root.sql("SELECT partition, mIoU FROM evaluation_summary WHERE model_run = 'unet'")
    assert sorted(of_days["partition"].to_pylist()) == [RUN.date, NEXT.date, LAST.date]


def reads_of_the_catalog(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items are asked for in each reading of the catalog from now on."""
    asked: list[int] = []
    read = PredictionsTable.read

    def noted(
        self: PredictionsTable, table: DeltaTable, columns: Any, where: Any, ids: pa.Array
    ) -> pa.Table:
        if len(ids):
            asked.append(len(ids))
        return read(self, table, columns, where, ids)

    monkeypatch.setattr(PredictionsTable, "read", noted)
    return asked


def test_the_ground_truth_of_many_days_is_read_at_once_some_items_at_a_time(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = reads_of_the_catalog(monkeypatch)
    expected = root.evaluate("unet", force=True)
    assert asked == [6, 6]  # its fingerprints, and its Segments
    asked.clear()
    root.evaluate("unet")
    assert asked == []
    for most, reads in ((3, [3, 3, 4, 4]), (2, [1, 1, 2, 2, 4, 4])):
        asked.clear()
        monkeypatch.setattr(truth_ahead, "_ITEMS_AHEAD", most)
        found = root.evaluate("unet", force=True)
        assert asked == reads
        for name in ("items", "item_classes", "item_confusion", "segments"):
            assert getattr(found, name).equals(getattr(expected, name)), name


@pytest.mark.parametrize(("held", "reads"), [(1, [6, 2, 2, 4]), (1 << 20, [6, 2, 5])])
def test_of_large_segments_the_ground_truth_of_fewer_items_is_held(
    root: Root, monkeypatch: pytest.MonkeyPatch, held: int, reads: list[int]
) -> None:
    expected = root.evaluate("unet", force=True)
    asked = reads_of_the_catalog(monkeypatch)
    monkeypatch.setattr(ground_truth, "_HELD_BYTES", held)
    monkeypatch.setattr(ground_truth, "_ITEMS_AT_FIRST", 2)
    found = root.evaluate("unet", force=True)
    assert asked == reads  # all fingerprints, and then Segments of the days
    assert found.segments.equals(expected.segments)


def test_ground_truth_that_is_read_at_once_goes_to_other_processes_without_what_is_held(
    root: Root,
) -> None:
    ids = [*PREDICTED]
    truth = root.published_truth().read_together(lambda: ids[:3])
    sent = pickle.loads(pickle.dumps(truth))
    for some in (ids[:2], [ids[2], None, ids[0]], ids[2:], ["nowhere"], []):
        assert truth.fingerprints(some) == root.published_truth().fingerprints(some)
        assert sent.fingerprints(some) == truth.fingerprints(some)
        assert truth.of(some) == root.published_truth().of(some)
    assert sent.state == truth.state == root.published_truth().state


def test_other_model_runs_are_ranked_by_counts_that_are_stored(
    root: Root, read: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_all_days(root)
    masks = masks_read(monkeypatch)
    read.clear()
    _, standing = root.leaderboard("other")
    assert standing.table["model_run"].to_pylist() == ["other", "unet"]
    # Its own segments; of the others items, and counts. Of a day that a later one has parts of,
    # those of the items.
    assert masks == []
    assert (read["segments"], read["item_confusion"]) == (2, 0)  # counted, and stored
    assert read["classes"] + read["item_classes"] == 2 + 2


def test_a_gate_looks_at_the_newest_days_until_all_its_items_are_found(
    root: Root, read: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = root.evaluate("unet").of_items([*PREDICTED][:3]).numbers["PQ"]
    of_all_days(root)
    first = root.quality(OTHER).verdicts["no_regression"]
    assert first.numbers["items_compared"] == 3
    assert first.numbers["PQ_of_baseline"] == pytest.approx(expected, abs=1e-12)
    masks = masks_read(monkeypatch)
    read.clear()
    assert root.quality(OTHER).verdicts["no_regression"].words == first.words
    assert masks == []
    # The last day has none of them; the two before have counts that are read.
    assert (read["segments"], read["item_classes"]) == (1, 1 + 2)


def test_an_evaluation_that_is_damaged_is_made_again(root: Root) -> None:
    before = of_all_days(root)
    (items,) = Path(root.settings.root).glob("evaluations/model_run=unet/date=2026-01-06/*/items*")
    items.write_bytes(b"torn")
    found = of_all_days(root)
    assert found.items.equals(before.items)
