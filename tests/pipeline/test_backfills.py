"""Backfills as the UI asks for them, of a running ``segpipe dev``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from segpipe.manifests.partition import Partition
from segpipe.pipeline.build import JOB
from segpipe.publishing.outcomes import Outcome
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from tests.fixtures.command_line import segpipe
from tests.fixtures.interface import Interface
from tests.fixtures.landing import LandingWriter

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DAYS = ["2026-01-05", "2026-01-06", "2026-01-07"]
KEYS = [f"{day}|unet" for day in DAYS]


def land(landing: LandingWriter, label: str) -> None:
    for day in DAYS:
        partition = Partition("unet", day)
        rows = [landing.row(f"{day} {n}", (0, n), partition, label=label) for n in (1, 2)]
        landing.manifest(rows, partition)


GROUND_TRUTH = '[evaluation]\nground_truth = "labels"\n'


@pytest.fixture
def interface(
    landing: LandingWriter, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Interface]:
    landing.root.mkdir()
    more = getattr(request, "param", "")
    (landing.root / SETTINGS_FILE).write_text(f"first_date = 2026-01-01\n{more}")
    land(landing, "class")
    with Interface(landing.root, tmp_path / "home", tmp_path / "log") as running:
        yield running


@pytest.mark.parametrize("interface", [GROUND_TRUTH], indirect=True)
def test_a_backfill_with_gaps_ends_green_with_exactly_what_landed_published(
    interface: Interface, landing: LandingWriter
) -> None:
    other, true = Partition("segformer", DAYS[1]), Partition("labels", DAYS[0])
    landing.manifest([landing.row("other", (0, 9), other)], other)
    rows = [landing.row(f"{day} {n}", (0, n), true) for day in DAYS[:2] for n in (1, 2)]
    landing.manifest(rows, true)
    # Their model runs are registered by the runs that name them.
    landed = {*KEYS, f"{DAYS[1]}|segformer"}
    for one in (true, other):
        assert segpipe("run", "--root", landing.root, "--model-run", one.model_run, "--date",
                       one.date, DAGSTER_HOME=str(interface.home)).returncode == 0  # fmt: skip
    cells = [f"{day}|{name}" for day in [*DAYS, "2026-01-08"] for name in ("unet", "segformer")]
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
    assert catalog.num_rows == 2 * len(KEYS) + 1 + len(rows)


def test_a_backfill_reruns_a_range_with_update_on_or_off(
    interface: Interface, landing: LandingWriter
) -> None:
    def outcomes(partitions: list[str], **tags: str) -> tuple[list[dict[str, int]], int]:
        begun = interface.backfill(partitions, **tags)
        assert interface.end_of_backfill(begun) == "COMPLETED_SUCCESS"
        found = [interface.latest("published_predictions", key) for key in KEYS]
        version = max(one["catalog_version"] for one in found)
        return [{name: one[name] for name in Outcome if one.get(name)} for one in found], version

    first, version = outcomes(KEYS)
    assert first == [{"inserted": 2}] * 3
    # Again: nothing is committed.
    assert outcomes(KEYS) == ([{"unchanged": 2}] * 3, version)
    land(landing, "other")
    assert outcomes(KEYS) == ([{"ignored": 2}] * 3, version)
    mended, _ = outcomes(KEYS[:2], **{"segpipe/update": "true"})
    assert mended == [{"replaced": 2}, {"replaced": 2}, {"ignored": 2}]
    # The same of a backfill of the job, and from the launchpad.
    land(landing, "third")
    update = {"segpipe/update": "true"}
    begun = interface.job_backfill(JOB, KEYS[:1], **update)
    assert interface.end_of_backfill(begun) == "COMPLETED_SUCCESS"
    run = interface.launch(DAYS[1], "unet", {}, **update)
    assert interface.end_of_run(run) == "SUCCESS"
    replaced = [interface.latest("published_predictions", key)["replaced"] for key in KEYS[:2]]
    assert replaced == [2, 2]
