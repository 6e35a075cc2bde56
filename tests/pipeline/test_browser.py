"""Dagster's pages on segpipe as a person sees them: ``segpipe dev`` and a real Chromium.

Pictures of the pages are kept in ``test-artefacts/browser``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from segpipe.demo.landing import write_demo_landing
from segpipe.settings import SETTINGS_FILE
from tests.fixtures.interface import LOCATION, REPOSITORY, Interface

pytestmark = pytest.mark.browser

try:
    from playwright.sync_api import Browser, Page, expect

    from tests.fixtures.browser import ARTEFACTS, Window, running_browser
except ModuleNotFoundError:
    if os.environ.get("SEGPIPE_BROWSER") == "required":
        raise
    words = "playwright is not installed; `make test-browser` does that, and runs these tests"
    pytest.skip(words, allow_module_level=True)

_GROUP = "segmentation_predictions"
_DATE, _MODEL_RUN = "2026-01-05", "street-unet-v1"
#: Of eight items one mask is cut, and one item has a second row that contradicts the first.
_ROWS, _REJECTED = 9, 3
_SETTINGS = f"""\
dataset = "demo-streets"
first_date = {_DATE}

[model_runs.street-unet-v2]
max_rejection_rate = 0.0
"""
# What the page calls the statuses of a check.
_STATUS_WORDS = {"SUCCEEDED": "Succeeded", "FAILED": "Failed", "SKIPPED": "Skipped"}
_STATUS_WORD = re.compile("|".join(_STATUS_WORDS.values()))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def interface(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interface]:
    """``segpipe dev`` on a small landing; nothing is materialized yet."""
    folder = tmp_path_factory.mktemp("browser")
    root = folder / "root"
    root.mkdir()
    (root / SETTINGS_FILE).write_text(_SETTINGS)
    write_demo_landing(root, items_per_day=8, until=date(2026, 1, 7))
    with Interface(root, folder / "dagster_home", ARTEFACTS / "segpipe-dev.log") as running:
        yield running


@pytest.fixture(scope="module")
def run_id(interface: Interface) -> str:
    """A run of one partition, asked for as the launchpad asks, that has succeeded."""
    config = {"ops": {"published_predictions": {"config": {"update": True, "verify_all": True}}}}
    launched = interface.launch(_DATE, _MODEL_RUN, config)
    assert interface.end_of_run(launched) == "SUCCESS"
    return launched


@pytest.fixture
def window(
    browser: Browser, interface: Interface, request: pytest.FixtureRequest
) -> Iterator[Window]:
    """A page of the browser; what it shows at the end is kept as a picture."""
    opened = Window(browser, interface.url)
    yield opened
    opened.picture(request.node.name)
    opened.page.close()


def partition_page(asset: str, date: str = _DATE, model_run: str = _MODEL_RUN) -> str:
    """The path of a partition's page."""
    return f"/assets/{asset}?view=partitions&partition={quote(f'{date}|{model_run}')}"


def check_page(asset: str, check: str) -> str:
    """The path of a check's page."""
    return f"/assets/{asset}?view=checks&checkDetail={check}"


def metadata(page: Page, name: str) -> str:
    """What the page's table of metadata says under a name."""
    row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True)).first
    return row.inner_text().removeprefix(name).strip()


def test_the_asset_graph_shows_every_asset_of_the_group(
    window: Window, interface: Interface, run_id: str
) -> None:
    names = sorted(interface.assets())
    assert {"prediction_manifest", "validated_masks", "segments", "rejected_predictions"} < {*names}
    window.open(
        f"/locations/{REPOSITORY}@{LOCATION}/asset-groups/{_GROUP}/lineage",
        lambda page: page.get_by_text("published_predictions", exact=True),
    )
    for name in names:
        expect(window.page.get_by_text(name, exact=True).first).to_be_visible()
    expect(window.page.get_by_text("Passed").first).to_be_visible()
    assert window.all_troubles() == []


def test_a_partitions_page_tells_what_became_of_its_rows(window: Window, run_id: str) -> None:
    window.open(
        partition_page("validated_masks"),
        lambda page: page.get_by_text("dagster/row_count", exact=True),
    )
    page = window.page
    expect(page.get_by_text(f"{_DATE}|{_MODEL_RUN}", exact=True).first).to_be_visible()
    expect(page.get_by_text("Materialized", exact=True).first).to_be_visible()
    expect(page.get_by_text(run_id[:8], exact=True).first).to_be_visible()
    assert metadata(page, "rows") == str(_ROWS)
    assert metadata(page, "rejected") == str(_REJECTED)
    assert metadata(page, "dagster/row_count") == str(_ROWS - _REJECTED)
    assert window.all_troubles() == []


@pytest.mark.parametrize(
    ("asset", "name"),
    [
        ("validated_masks", "preview"),
        ("validated_masks", "least_sure"),
        ("segments", "label_areas"),
        ("segments", "confidences"),
    ],
)
def test_the_preview_is_a_picture_that_has_loaded(
    window: Window, run_id: str, asset: str, name: str
) -> None:
    window.open(partition_page(asset), lambda page: page.get_by_text(name, exact=True))
    page = window.page
    row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True)).first
    row.get_by_text("Show Markdown").click()
    picture = page.get_by_role("dialog").locator("img").first
    expect(picture).to_be_visible()
    picture.evaluate("image => image.decode()")
    assert picture.evaluate("image => image.naturalWidth") > 300
    assert picture.get_attribute("src").startswith("data:image/")
    assert picture.get_attribute("alt")
    assert window.all_troubles() == []


def test_rejected_rows_are_listed_with_the_rule_and_what_to_do(window: Window, run_id: str) -> None:
    window.open(
        partition_page("rejected_predictions"),
        lambda page: page.get_by_text("first_rejections", exact=True),
    )
    page = window.page
    for rule, words in (("PNG-UNREADABLE", "the file is cut"), ("REF-DUPLICATE", "keep one")):
        row = page.get_by_role("row").filter(has=page.get_by_text(rule, exact=True)).last
        expect(row).to_contain_text(words)
    assert metadata(page, "rejected_rows") == str(_REJECTED)
    assert window.all_troubles() == []


def test_the_upload_tells_the_outcomes(window: Window, run_id: str) -> None:
    window.open(
        partition_page("published_predictions"),
        lambda page: page.get_by_text("inserted", exact=True),
    )
    outcomes = {"inserted": _ROWS - _REJECTED, "unchanged": 0, "replaced": 0, "failed": 0}
    assert {name: metadata(window.page, name) for name in outcomes} == {
        name: str(number) for name, number in outcomes.items()
    }
    assert metadata(window.page, "update") == "true"  # the configuration reached the run
    assert window.all_troubles() == []


def test_a_partition_that_was_not_materialized_is_missing(window: Window, run_id: str) -> None:
    window.open(
        partition_page("validated_masks", date="2026-01-07"),
        lambda page: page.get_by_text(f"2026-01-07|{_MODEL_RUN}", exact=True),
    )
    expect(window.page.get_by_text("View all historical events (0)")).to_be_visible()
    expect(window.page.get_by_text("No metadata entries")).to_be_visible()
    assert window.all_troubles() == []


def test_the_checks_page_names_each_check_and_its_status(
    window: Window, interface: Interface, run_id: str
) -> None:
    for asset, checks in interface.assets().items():
        if not checks:
            continue
        window.open(
            f"/assets/{asset}?view=checks", lambda page: page.get_by_text("Latest execution")
        )
        page = window.page
        expect(page.get_by_text(f"Checks ({len(checks)})")).to_be_visible()
        for check, status in interface.check_statuses(asset).items():
            name = page.get_by_text(check, exact=True).first
            expect(name).to_be_visible()
            if status is not None:
                entry = page.locator("div").filter(has=page.get_by_text(check, exact=True))
                # The innermost element of the list that holds the name and a status.
                listed = entry.filter(has_text=_STATUS_WORD, has_not_text="Latest execution")
                told = listed.last.inner_text()
                assert {*told.split()} == {check, _STATUS_WORDS[status]}  # the name, also cut
        window.picture(f"checks_of_{asset}")
    assert window.all_troubles() == []


@pytest.mark.parametrize(
    ("asset", "check", "words", "result"),
    [
        ("segments", "every_pixel_explained", "areas and masks agree", "Passed"),
        ("validated_masks", "rejection_rate", f"{_REJECTED} of {_ROWS} rows rejected", None),
    ],
    ids=["passed", "rejections"],
)
def test_a_check_says_what_it_found(
    window: Window, run_id: str, asset: str, check: str, words: str, result: str | None
) -> None:
    window.open(check_page(asset, check), lambda page: page.get_by_text(words))
    if result is not None:
        expect(window.page.get_by_text(result, exact=True)).to_be_visible()
    assert window.all_troubles() == []


def test_the_page_of_the_run_tells_its_success(window: Window, run_id: str) -> None:
    window.open(f"/runs/{run_id}", lambda page: page.get_by_text("RUN_SUCCESS", exact=True))
    expect(window.page.get_by_text("Success", exact=True)).to_be_visible()
    expect(window.page.get_by_text("published_predictions").first).to_be_visible()
    assert window.all_troubles() == []


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        ({"status": 500, "body": "no"}, "status 500"),
        ({"json": {"errors": [{"message": "it broke"}]}}, "it broke"),
        ({"json": {"data": {"assetNodes": {"__typename": "PythonError"}}}}, "PythonError"),
    ],
)
def test_a_page_that_is_answered_with_an_error_is_noticed(
    window: Window, run_id: str, answer: dict[str, Any], trouble: str
) -> None:
    window.page.route("**/graphql*", lambda route: route.fulfill(**answer))
    window.page.goto(f"{window.url}{partition_page('validated_masks')}")
    window.page.wait_for_load_state("networkidle")
    assert trouble in "\n".join(window.all_troubles())


def test_a_script_that_fails_and_words_of_failure_are_noticed(window: Window, run_id: str) -> None:
    window.open("/assets", lambda page: page.get_by_text("Assets"))
    assert window.all_troubles() == []
    window.page.evaluate("setTimeout(() => { throw new Error('a script failed') })")
    window.page.evaluate("document.body.append('An unexpected error occurred')")
    assert window.all_troubles() == ["script: a script failed", "on the page: unexpected error"]


def test_a_partition_with_too_many_rejections_is_blocked_and_its_pages_say_so(
    window: Window, interface: Interface, run_id: str
) -> None:
    # After the tests above: this run becomes the latest execution of its checks.
    blocked = interface.launch(_DATE, "street-unet-v2", {})
    assert interface.end_of_run(blocked) == "FAILURE"
    window.open(f"/runs/{blocked}", lambda page: page.get_by_text("RUN_FAILURE", exact=True))
    # The run's failure says how many, and what to do.
    words = "check rejection_rate failed: 1 of 8 rows rejected (limit: 0); see rejected_predictions"
    expect(window.page.get_by_text(words).first).to_be_visible()
    window.picture("run_that_was_blocked")
    window.open(
        check_page("validated_masks", "rejection_rate"),
        lambda page: page.get_by_text("; see rejected_predictions, mend the cause and run again"),
    )
    expect(window.page.get_by_text("Failed", exact=True).first).to_be_visible()
    window.open(
        partition_page("published_predictions", model_run="street-unet-v2"),
        lambda page: page.get_by_text("failed, and did not materialize this asset"),
    )
    assert window.all_troubles() == []


@pytest.mark.parametrize(
    ("end", "status"), [(Interface.stop, 0), (Interface.terminate, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_whoever_ends_segpipe_dev_ends_all_it_started(
    end: Callable[[Interface], int], status: int, tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    interface = Interface(tmp_path / "root", tmp_path / "dagster_home", tmp_path / "log")
    assert "none yet" in (tmp_path / "log").read_text()
    assert end(interface) == status, (tmp_path / "log").read_text()
    assert "Dagster services shut down" in (tmp_path / "log").read_text()
