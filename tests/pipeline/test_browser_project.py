"""segpipe in another project, as a person sees it: lineage on both sides, a full grid, a cell that
was left out, a refusal, and where a column comes from. Pictures are kept as in ``test_browser``."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from datetime import date
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from segpipe.demo.landing import DemoLanding, write_demo_landing
from tests.fixtures.command_line import segpipe
from tests.fixtures.interface import Interface
from tests.pipeline.test_browser import Browser, Window, browser, expect, window

__all__ = ["browser", "window"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

ARTEFACTS = Path(__file__).parents[2] / "test-artefacts" / "browser"
PROJECT = """\
import dagster as dg
from segpipe import Settings
from segpipe.pipeline import ManifestDep, build_definitions, partitions_of, published_table

SETTINGS = Settings.load({root!r})
MODEL, IMAGES = dg.AssetSpec("unet"), dg.AssetSpec("images")


@dg.asset(deps=[MODEL, IMAGES], partitions_def=dg.DailyPartitionsDefinition("2026-01-05"))
def inference(): ...


@dg.asset(deps=["published_predictions"], partitions_def=partitions_of(SETTINGS))
def crops(context):
    context.log.info(f"{{published_table(SETTINGS, context.partition_key).num_rows}} predictions")


deps = [ManifestDep("inference", "day"), ManifestDep("unet"), ManifestDep("images")]
defs = dg.Definitions.merge(
    build_definitions(SETTINGS, manifest_deps=deps),
    dg.Definitions(assets=[MODEL, IMAGES, inference, crops], executor=dg.in_process_executor),
)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of root, project and Dagster's home."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def links(place: Path) -> Iterator[str]:
    """A server of the root's files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    handler = functools.partial(Quiet, directory=str(place / "root"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def demo(place: Path, links: str) -> DemoLanding:
    """A demo whose partitions are all published."""
    root = place / "root"
    root.mkdir()
    (root / "segpipe.toml").write_text(
        f'dataset = "streets"\nlast_date = 2026-01-07\nlinks = "{links}"\n'
        '[dagster]\nowners = ["team:vision"]\ngroup = "predictions"\n'
    )
    landing = write_demo_landing(root, items_per_day=4, until=date(2026, 1, 7))
    for model_run in landing.model_runs:
        for day in landing.dates:
            done = segpipe("run", "--root", root, "--model-run", model_run, "--date", day,
                           DAGSTER_HOME=str(place / "home"))  # fmt: skip
            assert done.returncode in (0, 1, 2), done.stderr
    return landing


@pytest.fixture(scope="module")
def interface(place: Path, demo: DemoLanding, browser: Browser) -> Iterator[Interface]:
    project = place / "vision.py"
    project.write_text(PROJECT.format(root=str(place / "root")))
    log = ARTEFACTS / "project.log"
    with Interface(place / "root", place / "home", log, project=project) as running:
        yield running


def test_inference_model_and_images_stand_left_of_the_manifests(window: Window) -> None:
    window.open(
        "/assets/prediction_manifest?view=lineage&lineageScope=neighbors&lineageDepth=2",
        lambda page: page.get_by_text("inference", exact=True),
    )
    for name in ("inference", "unet", "images", "prediction_manifest", "validated_masks"):
        expect(window.page.get_by_text(name, exact=True).first).to_be_visible()
    assert window.all_troubles() == []


def test_the_grid_of_the_demo_is_full(window: Window, demo: DemoLanding) -> None:
    window.open(
        "/assets/prediction_manifest?view=partitions", lambda page: page.get_by_text(demo.dates[0])
    )
    page = window.page
    expect(page.get_by_text("6 partitions").first).to_be_visible()
    expect(page.get_by_text("Missing (0)").first).to_be_visible()
    assert window.all_troubles() == []


def test_the_columns_of_what_is_published_say_where_they_come_from(window: Window) -> None:
    window.open(
        "/assets/published_predictions?view=overview",
        lambda page: page.get_by_text("segments.confidence", exact=True),
    )
    row = window.page.get_by_role("row").filter(
        has=window.page.get_by_text("segments.confidence", exact=True)
    )
    expect(row.first).to_contain_text("from segments: confidence")
    row.first.scroll_into_view_if_needed()
    assert window.all_troubles() == []


def test_the_newest_pictures_are_on_the_asset_s_page_without_a_dialog(window: Window) -> None:
    window.open(
        "/assets/validated_masks?view=overview",
        lambda page: page.locator("img[alt='the newest predictions']"),
    )
    picture = window.page.locator("img[alt='the newest predictions']").first
    picture.evaluate("image => image.decode()")
    assert picture.evaluate("image => image.naturalWidth") > 300
    assert window.all_troubles() == []


def test_a_cell_that_was_left_out_says_so(
    window: Window, interface: Interface, place: Path
) -> None:
    # The day's manifest is taken away: its cell is there, and empty.
    manifests = place / "root" / "manifests" / "model_run=street-unet-v1" / "date=2026-01-07"
    away = manifests.with_name("away")
    manifests.rename(away)
    ours = [
        name for name in interface.assets() if name not in ("inference", "crops", "unet", "images")
    ]
    run = interface.launch("2026-01-07", "street-unet-v1", {}, only=ours)
    assert interface.end_of_run(run) == "SUCCESS"
    away.rename(manifests)
    window.open(f"/runs/{run}", lambda page: page.get_by_text("RUN_SUCCESS", exact=True))
    expect(window.page.get_by_text("nothing landed for").first).to_be_visible()
    window.picture("run_of_a_cell_that_was_left_out")
    window.open(
        "/assets/prediction_manifest?view=checks&checkDetail=manifest_schema",
        lambda page: page.get_by_text("nothing to check: nothing landed for"),
    )
    assert window.all_troubles() == []


def test_publishing_what_is_not_of_the_manifest_is_refused_on_the_run_s_page(
    window: Window, interface: Interface, place: Path
) -> None:
    folder = place / "root" / "manifests" / "model_run=street-unet-v1" / "date=2026-01-06"
    table = pq.read_table(folder / "predictions.parquet")
    pq.write_table(table.slice(0, table.num_rows - 1), folder / "predictions.parquet")
    run = interface.launch("2026-01-06", "street-unet-v1", {}, only=["published_predictions"])
    assert interface.end_of_run(run) == "FAILURE"
    window.open(f"/runs/{run}", lambda page: page.get_by_text("RUN_FAILURE", exact=True))
    words = "has changed since its masks were validated"
    expect(window.page.get_by_text(words).first).to_be_visible()


def test_resources_have_a_page_that_shows_what_they_are_configured_with(
    window: Window, place: Path
) -> None:
    window.open(
        "/locations/__repository__@vision.py/resources/segpipe_root",
        lambda page: page.get_by_text("scheduler", exact=True),
    )
    expect(window.page.get_by_text(str(place / "root")).first).to_be_visible()
    assert window.all_troubles() == []
