"""Backfills as the UI asks for them, of a running ``segpipe dev``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from segpipe.manifests.partition import Partition
from segpipe.pipeline.build import JOB
from segpipe.pipeline.dataset_evaluation import OF_DATASET
from segpipe.publishing.outcomes import Outcome
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from tests.fixtures.command_line import segpipe
from tests.fixtures.interface import Interface
from tests.fixtures.landing import LandingWriter

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DAYS = ["2026-01-05", "2026-01-06", "2026-01-07", "2026-01-08"]
KEYS = [f"{day}|unet" for day in DAYS]
OTHER, TRUE = Partition("segformer", DAYS[1]), Partition("labels", DAYS[0])


def land(landing: LandingWriter, days: list[str], label: str) -> None:
    """Two items of unet for each day, and one of the other model run."""
    for day in days:
        partition = Partition("unet", day)
        rows = [landing.row(f"{day} {n}", (0, n), partition, label=label) for n in (1, 2)]
        landing.manifest(rows, partition)
    landing.manifest([landing.row("other", (0, 9), OTHER, label=label)], OTHER)


@pytest.fixture
def interface(landing: LandingWriter, tmp_path: Path) -> Iterator[Interface]:
    landing.root.mkdir()
    settings = 'first_date = 2026-01-01\n[evaluation]\nground_truth = "labels"\n'
    (landing.root / SETTINGS_FILE).write_text(settings)
    land(landing, DAYS, "class")
    true = [landing.row(f"{day} {n}", (0, n), TRUE) for day in DAYS[:2] for n in (1, 2)]
    landing.manifest(true, TRUE)
    with Interface(landing.root, tmp_path / "home", tmp_path / "log") as running:
        yield running


def test_backfills_with_gaps_and_with_update_on_or_off_publish_exactly_what_they_should(
    interface: Interface, landing: LandingWriter
) -> None:
    def outcomes(key: str) -> dict[str, int]:
        found = interface.latest("published_predictions", key)
        return {name: found[name] for name in Outcome if found.get(name)}

    # Their model runs are registered by the runs that name them.
    landed = [*KEYS, f"{OTHER.date}|{OTHER.model_run}"]
    for one in (TRUE, OTHER):
        assert segpipe("run", "--root", landing.root, "--model-run", one.model_run, "--date",
                       one.date, DAGSTER_HOME=str(interface.home)).returncode == 0  # fmt: skip
    cells = [f"{day}|{name}" for day in [*DAYS, "2026-01-09"] for name in ("unet", "segformer")]
    begun = interface.backfill(cells)
    assert interface.end_of_backfill(begun, 300) == "COMPLETED_SUCCESS"
    counts = interface.counts_of_backfill(begun)
    # Of the other cells, and of views nobody publishes, nothing was to be materialized.
    assert counts["published_predictions"] == (len(landed), len(landed), 0)
    assert "semantic_masks" not in counts
    # Two days have ground truth. The model run is evaluated after them, the other one is left out.
    assert counts["evaluation"] == (2, 2, 0)
    assert counts["evaluation_of_dataset"] == (1, 1, 0)
    found = interface.latest("evaluation_of_dataset", "unet")
    assert (found["days"], found["evaluated"]) == (2, 4)
    catalog = Root.open(str(landing.root)).catalog.read(["model_run", "reference_id"])
    assert catalog.num_rows == 2 * len(KEYS) + 1 + found["evaluated"]
    assert [outcomes(key) for key in landed] == [{"inserted": 2}] * len(KEYS) + [{"unchanged": 1}]

    # Of another content again, all but the last day. Dagster's daemon looks at backfills every
    # half a minute: all of these are under way at once.
    land(landing, DAYS[:3], "other")
    update = {"segpipe/update": "true"}
    begun_at_once = [
        interface.backfill([KEYS[0], KEYS[3]]),
        interface.backfill(KEYS[1:2], **update),
        interface.job_backfill(JOB, KEYS[2:3], **update),
    ]
    # From the launchpad; the other group has other partitions.
    grid = [name for name in interface.assets() if name != OF_DATASET]
    run = interface.launch(OTHER.date, OTHER.model_run, {}, grid, **update)
    assert interface.end_of_run(run) == "SUCCESS"
    for begun in begun_at_once:
        assert interface.end_of_backfill(begun, 300) == "COMPLETED_SUCCESS"
    assert [outcomes(key) for key in landed] == [
        {"ignored": 2}, {"replaced": 2}, {"replaced": 2}, {"unchanged": 2}, {"replaced": 1},
    ]  # fmt: skip
