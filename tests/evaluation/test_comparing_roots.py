"""Comparing two model runs of a root: ``segpipe compare`` and ``root.compare``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image

from segpipe.errors import EvaluationError, NothingLandedError, SettingsError
from segpipe.evaluation.agreement import Agreement
from segpipe.evaluation.comparison import Comparison
from segpipe.manifests.partition import Partition
from segpipe.root import Root
from tests.evaluation.test_roots import land
from tests.fixtures.command_line import invoked
from tests.fixtures.landing import LandingWriter
from tests.fixtures.scenes_of_pairs import Scene, pairs

DAY, NEXT = "2026-01-05", "2026-01-06"
GIVEN = {f"item {number}": pair for number, pair in enumerate(pairs(23, 5))}
TRUE = {id: truth for id, (truth, _) in GIVEN.items()}
OLD = {id: predicted for id, (_, predicted) in GIVEN.items()}
#: Two items are right now, one is as before, one is gone, one is of another size.
NEW = {
    "item 0": TRUE["item 0"],
    "item 1": OLD["item 1"],
    "item 2": TRUE["item 2"],
    "item 4": Scene(OLD["item 4"].pixels[:10], OLD["item 4"].segments),
    "item 9": OLD["item 1"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with ground truth, and two model runs that are not published."""
    landing = LandingWriter(tmp_path_factory.mktemp("made") / "root")
    landing.root.mkdir()
    (landing.root / "segpipe.toml").write_text('[evaluation]\nground_truth = "labels"\n')
    root = Root.open(landing.root)
    for name, scenes in (("labels", TRUE), ("unet-v1", OLD), ("unet-v2", NEW)):
        land(landing, Partition(name, DAY), scenes)
        root.materialize(name, DAY)
    root.publish("labels", DAY)
    return landing.root


@pytest.fixture
def root(made: Path, landing: LandingWriter) -> Root:
    """A copy of it, for a test of its own."""
    shutil.copytree(made, landing.root)
    return Root.open(landing.root)


def labels(scene: Scene) -> NDArray[np.str_]:
    """The label of every pixel, H x W."""
    table = np.full(256, "void", "U8")
    for one in scene.segments:
        table[one.index] = one.label
    return table[scene.pixels]


def compare(root: Root, *more: object) -> Result:
    return invoked("compare", "--root", root.settings.root, "unet-v1", "unet-v2", *more)


def test_the_better_model_run_wins_the_items_that_changed(root: Root, tmp_path: Path) -> None:
    found = root.compare("unet-v1", "unet-v2", pictures=tmp_path / "pictures")
    assert isinstance(found, Comparison)
    (miou,) = (row for row in found.metrics.to_pylist() if row["metric"] == "mIoU")
    assert (miou["won"], miou["lost"], miou["tied"]) == (2, 0, 1)
    whole = {run: root.evaluate(run, DAY) for run in ("unet-v1", "unet-v2")}
    common = [one.of_items([f"item {n}" for n in range(3)]) for one in whole.values()]
    assert (miou["a"], miou["b"]) == tuple(one.numbers["mIoU"] for one in common)
    assert miou["low"] <= miou["difference"] <= miou["high"]
    reasons = {one["reference_id"]: one["reason"] for one in found.one_sided.to_pylist()}
    assert reasons["item 3"] == "no row"
    assert reasons["item 4"].startswith("no prediction, the prediction has 10 x 17 pixels")
    assert "unet-v2: 1 items have no ground truth and are left out" in found.remarks
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    changed = found.changes["reference_id"].to_pylist()
    assert set(changed) == {"item 0", "item 2"}
    assert names == [f"{n:02d} item%20{id[-1]}.png" for n, id in enumerate(changed, 1)]
    picture = np.asarray(Image.open(tmp_path / "pictures" / names[0]))
    right, wrong = np.array([0, 114, 178]), np.array([213, 94, 0])  # where B, or A, alone is right
    near = [np.abs(picture.astype(int) - 0.62 * one - 0.38 * 128).max(2) < 3 for one in
            (right, wrong)]  # fmt: skip
    assert near[0].any()
    assert not near[1].any()


def test_without_ground_truth_their_agreement_is_told(root: Root, tmp_path: Path) -> None:
    (Path(root.settings.root) / "segpipe.toml").unlink()
    root = Root.open(root.settings.root)
    found = root.compare("unet-v1", "unet-v2", DAY, pictures=tmp_path / "pictures")
    assert isinstance(found, Agreement)
    assert found.items["reference_id"].to_pylist()[-1] == "item 1"
    assert found.items["pixel_agreement"].to_pylist()[-1] == 1
    agreed = np.concatenate(
        [(a == b)[a != "void"] for a, b in (map(labels, (OLD[f"item {n}"], NEW[f"item {n}"]))
                                            for n in range(3))]
    )  # fmt: skip
    assert found.headline["pixel_agreement"] == agreed.mean()
    assert sum(found.confusion["pixels"].to_pylist()) == (~agreed).sum()
    assert len(list((tmp_path / "pictures").iterdir())) == found.changes.num_rows == 2
    (line,) = (line for line in found.remarks if "cannot be compared" in line)
    assert line.startswith("1 items cannot be compared (unet-v1 stands for the ground truth)")
    assert "1 items only unet-v1 has: 'item 3'" in "\n".join(found.remarks)
    assert "1 items only unet-v2 has: 'item 9'" in "\n".join(found.remarks)


def test_of_an_item_on_several_days_the_last_one_is_compared(
    root: Root, landing: LandingWriter
) -> None:
    land(landing, Partition("unet-v1", NEXT), {"item 0": TRUE["item 0"]})
    root.materialize("unet-v1", NEXT)
    both = root.compare("unet-v1", "unet-v2"), root.compare("unet-v1", "unet-v2", agreement=True)
    assert both[0].changes["reference_id"].to_pylist() == ["item 2"]
    assert both[1].changes["reference_id"].to_pylist() == ["item 2"]
    with pytest.raises(NothingLandedError, match=f"unet-v2' has landed for {NEXT}; the days are"):
        root.compare("unet-v1", "unet-v2", NEXT)


def test_the_command_prints_tables_or_json(root: Root, tmp_path: Path) -> None:
    done = compare(root, "--pictures", tmp_path / "pictures")
    assert "A = unet-v1, B = unet-v2: 3 items that both have" in done.stdout
    assert "pictures of 2 items" in done.stderr
    told = json.loads(compare(root, "--all", "--format", "json", "--metric", "PQ").stdout)
    found = root.compare("unet-v1", "unet-v2", metric="PQ")
    assert told["metrics"] == found.metrics.to_pylist()
    assert told["changes"] == found.changes.to_pylist()
    assert told["one_sided"] == {"unet-v1": 2, "unet-v2": 0}
    agreement = json.loads(compare(root, "--agreement", "--format", "json").stdout)
    assert agreement["agreement"]["pixel_agreement"] < 1


def test_an_item_whose_mask_is_gone_has_no_picture_and_that_is_told(
    root: Root, tmp_path: Path
) -> None:
    compare(root)  # so that its numbers are known
    rows = pq.read_table(root.tables(Partition("unet-v2", DAY)).url + "/validated.parquet")
    (sha256,) = rows.filter(pc.equal(rows["reference_id"], "item 0"))["mask_sha256"].to_pylist()
    for path in Path(root.settings.root).glob(f"masks/**/{sha256}*"):
        path.unlink()
    done = compare(root, "--agreement", "--pictures", tmp_path / "pictures")
    assert "no picture of 'item 0'" not in done.stdout  # it cannot be compared at all
    assert "pictures of 1 items" in done.stderr
    done = compare(root, "--pictures", tmp_path / "beside truth")
    assert "no picture of 'item 0': the mask of B, 'unet-v2', is missing from the" in done.stdout
    assert "pictures of 1 items" in done.stderr
    assert len(list((tmp_path / "beside truth").iterdir())) == 1
    root.materialize("unet-v2", DAY)  # as advised
    assert "pictures of 2 items" in compare(root, "--pictures", tmp_path / "again").stderr


def test_boundaries_are_compared_where_they_are_asked_for(root: Root) -> None:
    told = json.loads(compare(root, "--boundary", "--format", "json").stdout)
    (row,) = (one for one in told["metrics"] if one["metric"] == "boundary_IoU")
    ids = [f"item {n}" for n in range(3)]
    whole = [root.evaluate(f"unet-v{n}", DAY, boundary=True).of_items(ids) for n in (1, 2)]
    assert (row["a"], row["b"]) == tuple(one.numbers["boundary_IoU"] for one in whole)
    assert row["low"] <= row["difference"] <= row["high"]
    assert (row["won"], row["lost"], row["tied"]) == (2, 0, 1)
    of_class = {one["label"]: one for one in told["classes"]}
    for one in whole[1].classes.to_pylist():
        assert of_class[one["label"]]["boundary_IoU_b"] == one["boundary_IoU"]
    by_items = root.compare("unet-v1", "unet-v2", metric="boundary_IoU")
    assert by_items.items["b"].to_pylist()[0] == 1  # it is right now
    assert "boundary_IoU" in repr(by_items)
    agreed = root.compare("unet-v1", "unet-v2", agreement=True, boundary=True)
    assert isinstance(agreed, Agreement)
    assert 0 < (agreed.headline["boundary_IoU"] or 0) < 1
    assert agreed.items["boundary_IoU"].to_pylist()[-1] == 1
    assert "boundary_IoU" not in compare(root, "--format", "json").stdout


def test_what_cannot_be_compared_is_told_in_words(root: Root, landing: LandingWriter) -> None:
    with pytest.raises(EvaluationError, match="nothing could be evaluated"):
        compare(root, "--against", "nobody")
    for more, said in (
        (("--date", DAY, "--all"), "either --date YYYY-MM-DD or --all"),
        (("--metric", "mIou"), r"did you mean 'mIoU'\?"),
        (("--agreement", "--against", "labels"), "leave out --against"),
    ):
        with pytest.raises(SettingsError, match=said):
            compare(root, *more)
    with pytest.raises(NothingLandedError, match="'unet-v3' has landed; did you mean 'unet-v"):
        root.compare("unet-v1", "unet-v3")
    with pytest.raises(SettingsError, match="'unet-v1' would be compared with itself"):
        root.compare("unet-v1", "unet-v1")
    with pytest.raises(SettingsError, match="'labels' would be compared with itself"):
        root.compare("labels", "unet-v1")
    land(landing, Partition("other", DAY), {"elsewhere": OLD["item 0"]})
    root.materialize("other", DAY)
    with pytest.raises(EvaluationError, match=r"no item is in both model runs.*'elsewhere'"):
        root.compare("unet-v1", "other")


def test_a_class_that_is_a_thing_for_one_alone_is_told(root: Root, landing: LandingWriter) -> None:
    toml = landing.root / "segpipe.toml"
    toml.write_text(f'{toml.read_text()}[model_runs.unet-v2.taxonomy]\ncar = "stuff"\n')
    found = Root.open(landing.root).compare("unet-v1", "unet-v2")
    assert "'car' (thing for unet-v1, stuff for unet-v2)" in "\n".join(found.remarks)
