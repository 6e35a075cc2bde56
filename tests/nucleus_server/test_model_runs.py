"""Model runs, the client's older way to predictions: a model has one in a dataset."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.nucleus_endpoint import RunningEndpoint
from tests.fixtures.nucleus_world import World, catalog_rows, ended, nucleus, world

__all__ = ["world"]  # a fixture

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def run(world: World) -> Any:
    return world.model.create_run(name="a run", dataset=world.dataset, predictions=[])


def box(reference_id: str = "img00", **other: Any) -> Any:
    return nucleus.BoxPrediction("car", 1, 2, 3, 4, reference_id, annotation_id="mine", **other)


def test_what_is_predicted_with_a_run_is_what_its_model_predicts(
    world: World, run: Any, endpoint: RunningEndpoint
) -> None:
    assert world.dataset.model_runs == []  # there is nothing of it
    sent = [world.prediction("img00"), box()]
    answer = run.predict(sent)
    assert answer["model_run_id"] == run.model_run_id
    assert (answer["predictions_processed"], answer["predictions_ignored"]) == (2, 0)
    assert run.predict(sent)["predictions_ignored"] == 2
    assert run.predict(sent, update=True)["predictions_processed"] == 2
    assert world.dataset.model_runs == world.model.model_runs() == [run.model_run_id]
    assert set(catalog_rows(endpoint, world)) == {"img00"}

    item = world.dataset.items[0].dataset_item_id
    expected = world.dataset.predictions_refloc(world.model, "img00")
    assert {kind: len(ones) for kind, ones in expected.items()} == {"segmentation": 1, "box": 1}
    for found in (run.refloc("img00"), run.iloc(0), run.loc(item), run.ungrouped_export()):
        assert found == expected
    assert run.prediction_loc("img00", "mine") == expected["box"][0]
    assert run.info() == {
        "model_id": world.model.id,
        "name": world.model.name,
        "metadata": {"framework": "torch"},
        "status": "Completed",
    }
    assert world.client.get_model(model_run_id=run.model_run_id) == world.model


def test_a_run_takes_jobs_and_can_be_named_to_its_dataset(world: World, run: Any) -> None:
    job = run.predict([box(), box("nowhere")], asynchronous=True)
    message = ended(job)["message"]["prediction_upload"]
    assert (message["processed"], message["errored"]) == (1, 1)
    assert "Item with id nowhere doesn't exist." in job.errors()
    again = world.dataset.upload_predictions_for_model_run(run.model_run_id, [box()])
    assert again["predictions_ignored"] == 1


def test_a_deleted_run_takes_its_predictions_along_and_leaves_its_model(
    world: World, run: Any, endpoint: RunningEndpoint
) -> None:
    run.predict([world.prediction("img00"), box()])
    world.client.delete_model_run(run.model_run_id)
    assert catalog_rows(endpoint, world) == {}
    assert set(run.refloc("img00")) == {"annotations"}  # the client's word for nothing
    assert world.model in world.client.models


def test_runs_of_nothing_and_of_several_datasets_are_refused_in_words(
    world: World, run: Any
) -> None:
    other = world.client.create_dataset(f"{world.name} 2", is_scene=False)
    with pytest.raises(nucleus.errors.NucleusAPIError, match=r"use dataset\.upload_predictions"):
        other.upload_predictions_for_model_run(run.model_run_id, [box()])
    for id in ("run_0", f"{run.model_run_id[:-1]}x", "run_" + "0" * 20):
        with pytest.raises(nucleus.errors.NucleusAPIError, match="there is no model run"):
            world.client.get(f"modelRun/{id}/info")
    unknown = {"name": "a run", "reference_id": "nobody's"}
    with pytest.raises(nucleus.errors.NucleusAPIError, match="there is no model with"):
        world.client.create_model_run(world.dataset.id, unknown)
