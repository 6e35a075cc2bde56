"""What is uploaded with the Nucleus SDK is segpipe's to query, undo and publish again, and whatever
segpipe does to the catalog is what the API answers from then on.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segpipe.cli.main import cli
from segpipe.publishing.history import history
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from tests.fixtures.landing import HEIGHT, WIDTH, LandingWriter, striped_mask
from tests.fixtures.nucleus_endpoint import KEY, RunningEndpoint
from tests.fixtures.nucleus_world import World, catalog_rows, client_of, nucleus

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[RunningEndpoint]:
    """One whose root no other test restores."""
    with RunningEndpoint(tmp_path / "root") as running:
        yield running


@pytest.fixture
def world(endpoint: RunningEndpoint, tmp_path: Path) -> World:
    return World(endpoint, tmp_path, "streets", items=6)


def segpipe(*arguments: str) -> str:
    """What a command says."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert cli.main(list(arguments), standalone_mode=False) in (0, None)
    return said.getvalue()


def labels(world: World) -> dict[str, list[str]]:
    """Reference id -> labels, as the SDK reads them back; every way of reading says the same."""
    exported = world.dataset.export_predictions(world.model).get("segmentation", [])
    found = {}
    for one in exported:
        found[one.reference_id] = [segment.label for segment in one.annotations]
        single = world.read(one.reference_id)
        assert single is not None
        assert [s["label"] for s in single["annotations"]] == found[one.reference_id]
    return found


def newest(endpoint: RunningEndpoint) -> int:
    version = Root.open(str(endpoint.root)).catalog.version()
    assert version is not None
    return version


@pytest.mark.slow
def test_a_restored_version_is_what_is_read_and_what_uploads_are_decided_by(
    world: World, endpoint: RunningEndpoint
) -> None:
    root = str(endpoint.root)
    first = world.prediction("img00", (0, 1), annotation_id="mine")
    world.upload([first])
    before = newest(endpoint)
    world.upload([world.prediction("img00", (0, 2)), world.prediction("img01")], update=True)
    assert labels(world) == {"img00": ["class 0", "class 2"], "img01": ["class 0", "class 1"]}
    told = segpipe("diff", "--root", root, str(before), str(newest(endpoint)))
    assert "img00" in told
    assert "img01" in told
    segpipe("restore", "--root", root, str(before))
    assert labels(world) == {"img00": ["class 0", "class 1"]}
    held = world.read("img00")
    assert held is not None
    assert held["annotation_id"] == "mine"
    assert held["annotations"] == first.to_payload()["annotations"]
    # img01 is not there any more, img00 is: without update the one is stored, the other ignored.
    answer = world.upload([world.prediction("img00", (0, 3)), world.prediction("img01", (0, 3))])
    assert (answer["predictions_processed"], answer["predictions_ignored"]) == (1, 1)
    assert labels(world) == {"img00": ["class 0", "class 1"], "img01": ["class 0", "class 3"]}
    assert [one.operation for one in history(Root.open(root).catalog)][:2] == ["publish", "restore"]


@pytest.mark.slow
def test_a_restart_does_not_bring_back_what_was_restored_meanwhile(
    world: World, endpoint: RunningEndpoint
) -> None:
    world.upload([world.prediction("img00", (0, 1))])
    before = newest(endpoint)
    world.upload([world.prediction("img00", (0, 2))], update=True)
    endpoint.kill()
    segpipe("restore", "--root", str(endpoint.root), str(before))
    endpoint.restart()
    assert labels(world) == {"img00": ["class 0", "class 1"]}


@pytest.mark.slow
def test_what_is_unpublished_is_not_there_and_can_be_uploaded_again(
    world: World, endpoint: RunningEndpoint
) -> None:
    root = str(endpoint.root)
    (endpoint.root / SETTINGS_FILE).write_text('dataset = "streets"\n')
    world.upload([world.prediction(f"img0{n}") for n in range(3)])
    segpipe("unpublish", "--root", root, "--model-run", "streets@1", "img01")
    assert set(labels(world)) == {"img00", "img02"}
    assert world.read("img01") is None
    assert world.upload([world.prediction("img01")])["predictions_processed"] == 1
    assert set(labels(world)) == {"img00", "img01", "img02"}


def test_a_wrong_mask_in_the_place_of_a_right_one_is_withdrawn_told_and_undone(
    world: World, endpoint: RunningEndpoint
) -> None:
    """Answer, catalog, history and what is read back say the same."""
    (world.folder / "no.png").write_bytes(b"GIF89a")
    no_png = str(world.folder / "no.png")
    assert "warnings" not in world.upload([world.prediction("img00"), world.prediction("img01")])
    before = newest(endpoint)
    ids = ("img00", "img02")
    wrong = [world.prediction(one, mask_url=no_png) for one in ids]
    answer = world.upload([*wrong, world.prediction("img01", (0, 3))], update=True)
    assert (answer["predictions_processed"], answer["predictions_ignored"]) == (3, 0)
    replaced, new = answer["warnings"]
    assert replaced.startswith("img00: stored, but not in segpipe's catalog: FILE-NOT-PNG")
    assert "withdrawn" in replaced
    assert new.startswith("img02: stored, but not in segpipe's catalog: FILE-NOT-PNG")
    assert "withdrawn" not in new
    assert set(catalog_rows(endpoint, world)) == {"img01"}
    assert set(labels(world)) == {"img00", "img01", "img02"}
    withdrawn, published = history(Root.open(str(endpoint.root)).catalog, 2)
    assert (published.operation, published.notes["update"]) == ("publish", "true")
    assert (withdrawn.operation, withdrawn.notes["update"]) == ("withdraw", "true")
    assert withdrawn.notes["removed"] == "1"
    assert withdrawn.notes["reason"].startswith("img00: FILE-NOT-PNG")
    segpipe("restore", "--root", str(endpoint.root), str(before))
    assert set(labels(world)) == {"img00", "img01", "img02"}
    assert labels(world)["img01"] == ["class 0", "class 1"]
    held = world.read("img00")
    assert held is not None
    assert held["mask_url"].startswith("masks/")


def test_what_a_run_publishes_to_the_catalog_is_there_too(
    world: World, endpoint: RunningEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the items and models the endpoint knows."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster_home"))
    (endpoint.root / SETTINGS_FILE).write_text('dataset = "streets"\n')
    world.client.create_model("by segpipe", "unet")
    landing = LandingWriter(endpoint.root)
    landing.manifest([landing.row("img03", (0, 4)), landing.row("unknown here", (0, 4))])
    segpipe("run", "--root", str(endpoint.root), "--model-run", "unet", "--date", "2026-01-05")
    (model,) = [one for one in world.client.models if one.reference_id == "unet"]
    (found,) = world.dataset.export_predictions(model)["segmentation"]
    assert found.reference_id == "img03"
    assert [one.label for one in found.annotations] == ["class 0", "class 4"]


@pytest.mark.slow
def test_what_was_uploaded_can_be_published_elsewhere_by_segpipe(
    world: World, endpoint: RunningEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the endpoint's root to another dataset: exported, imported, validated and sent."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster_home"))
    monkeypatch.setenv("NUCLEUS_API_KEY", KEY)
    (endpoint.root / SETTINGS_FILE).write_text('dataset = "streets"\n')
    world.upload([world.prediction(f"img0{n}", (0, n + 1)) for n in range(3)])
    out = tmp_path / "out"
    segpipe("export", "--as", "mask-folder", str(out), "--root", str(endpoint.root),
            "--model-run", "streets@1")  # fmt: skip
    other = World(endpoint, tmp_path, "elsewhere", items=6)
    again = tmp_path / "again"
    again.mkdir()
    (again / SETTINGS_FILE).write_text(
        f'destinations = ["nucleus"]\n[nucleus]\ndataset_id = "{other.dataset.id}"\n'
        f'model = "elsewhere@1"\nendpoint = "{endpoint.url}"\n'
    )
    where = ["--root", str(again), "--model-run", "unet", "--date", "2026-01-05"]
    segpipe("import", "mask-folder", str(out / "masks"), *where)
    assert "published to Nucleus: 3 inserted" in segpipe("run", *where)
    assert labels(other) == labels(world)


# --- names in the catalog


@pytest.mark.slow
def test_a_datasets_name_in_the_catalog_outlives_another_of_the_same_name(
    endpoint: RunningEndpoint, tmp_path: Path
) -> None:
    one, two = (World(endpoint, tmp_path, "same", items=2) for _ in range(2))
    one.upload([one.prediction("img00", (0, 1))])
    two.upload([two.prediction("img00", (0, 2))])

    def names() -> set[str]:
        rows = Root.open(str(endpoint.root)).catalog.read(["dataset"])
        return set(rows["dataset"].to_pylist())

    second = f"same ({two.dataset.id})"
    assert names() == {"same", second}
    one.client.delete_dataset(one.dataset.id)
    assert names() == {second}
    endpoint.kill()
    endpoint.restart()
    two.upload([two.prediction("img01")])
    assert names() == {second}
    assert set(labels(two)) == {"img00", "img01"}
    two.client.delete_dataset(two.dataset.id)
    assert names() == set()


def test_a_model_called_as_annotations_are_in_the_catalog_shares_nothing_with_them(
    world: World, endpoint: RunningEndpoint
) -> None:
    world.model = world.client.create_model("odd", "ground-truth")
    world.upload([world.prediction("img00", (0, 1))])
    mask = world.prediction("img00", (0, 2)).mask_url
    segments = [nucleus.Segment("truth 0", 0), nucleus.Segment("truth 2", 2)]
    world.dataset.annotate([nucleus.SegmentationAnnotation(mask, segments, "img00")])
    rows = Root.open(str(endpoint.root)).catalog.read(["model_run", "segments"]).to_pylist()
    assert {row["model_run"]: [s["label"] for s in row["segments"]] for row in rows} == {
        "ground-truth": ["truth 0", "truth 2"],
        f"ground-truth ({world.model.id})": ["class 0", "class 1"],
    }
    assert labels(world) == {"img00": ["class 0", "class 1"]}


@pytest.mark.slow
def test_names_too_long_for_a_folder_are_ids_in_the_catalog(
    endpoint: RunningEndpoint, tmp_path: Path
) -> None:
    client: Any = client_of(endpoint)
    dataset = client.create_dataset("ü" * 200, is_scene=False)
    dataset.append([nucleus.DatasetItem("https://e.com/a.jpg", "a", width=WIDTH, height=HEIGHT)],
                   asynchronous=False)  # fmt: skip
    model = client.create_model("m", "r" * 5000)
    Image.fromarray(striped_mask((0, 1), HEIGHT, WIDTH)).save(tmp_path / "a.png")
    segments = [nucleus.Segment("x", 0), nucleus.Segment("y", 1)]
    sent = nucleus.SegmentationPrediction(str(tmp_path / "a.png"), segments, "a")
    assert dataset.upload_predictions(model, [sent])["predictions_processed"] == 1
    (row,) = Root.open(str(endpoint.root)).catalog.read(["dataset", "model_run"]).to_pylist()
    assert row == {"dataset": dataset.id, "model_run": model.id}
