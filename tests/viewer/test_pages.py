"""The pages of ``segpipe browse`` as a person sees them, in a real Chromium.

Pictures of the pages are kept in ``test-artefacts/browser``.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from segpipe import Root
from segpipe.masks.decoding import decode_mask
from segpipe.viewer.filters import Filters
from segpipe.viewer.opened import Browsing, browse
from segpipe.viewer.static_page import static_page
from tests.fixtures.processes import wait_until
from tests.viewer.browsed_root import (
    DAY,
    HOSTILE,
    IMAGE,
    MANY,
    MANY_ITEMS,
    NEXT_DAY,
    RUNS,
    SCRIPT,
    WRONG,
    make_root_of_two,
)  # fmt: skip

pytestmark = pytest.mark.browser

try:
    from playwright.sync_api import Browser, Page, Route, expect

    from tests.viewer.visits import (
        Visit,
        drawn_everywhere,
        hover,
        item_query,
        made_labels,
        near,
        parameters,
        pixels,
        rgb,
        shown_total,
    )
except ModuleNotFoundError:
    if os.environ.get("SEGPIPE_BROWSER") == "required":
        raise
    words = "playwright is not installed; `make test-browser` does that, and runs these tests"
    pytest.skip(words, allow_module_level=True)

_AXE = Path(sys.prefix) / "axe/node_modules/axe-core/axe.min.js"
_SIZES = {"1280": (1280, 800), "2560": (2560, 1440), "phone": (390, 844)}
_ITEM = "street-1-001"
_TOTAL = re.compile("^[0-9]+ predictions")


def test_filters_combine_and_the_address_holds_them(visit: Visit, root: Root) -> None:
    page = visit.show("/", _TOTAL)
    rows = [row for run in RUNS for row in root.catalog.predictions(run).to_pylist()]
    rows = [row for row in rows if any(s["label"] == "Handbag" for s in row["segments"])]
    sure = [row for row in rows if min(s["confidence"] or 1 for s in row["segments"]) >= 0.4]
    assert 0 < len(sure) < len(rows)
    page.get_by_role("checkbox", name="Handbag").check()
    shown_total(page, f"{len(rows)} predictions")
    page.get_by_label("Least confidence, from").fill("0.4")
    page.keyboard.press("Enter")
    shown_total(page, f"{len(sure)} prediction{'s' * (len(sure) != 1)}")
    assert parameters(page) == {"label": ["Handbag"], "confidence": ["0.4.."]}
    page.reload()  # as who was sent the address
    shown_total(page, f"{len(sure)} prediction{'s' * (len(sure) != 1)}")
    expect(page.get_by_role("checkbox", name="Handbag")).to_be_checked()
    page.get_by_role("button", name="Remove the filter: Confidence from 0.4").click()
    shown_total(page, f"{len(rows)} predictions")
    page.go_back()
    shown_total(page, f"{len(sure)} prediction{'s' * (len(sure) != 1)}")
    page.get_by_label("Search reference ids").fill("no such id")
    expect(page.get_by_text("No prediction passes all of these filters")).to_be_visible()
    page.get_by_role("button", name="Clear all filters").click()
    assert parameters(page) == {}
    page.get_by_label("Label whose area counts").select_option("Road")
    page.get_by_label("Least area, %").fill("7")
    page.get_by_role("button", name="Apply").first.click()
    expect(
        page.get_by_role("button", name="Remove the filter: Area of Road from 7 %")
    ).to_be_visible()
    assert parameters(page) == {"area": ["Road:0.07.."]}


def test_what_cannot_be_read_in_an_address_is_said(visit: Visit) -> None:
    page = visit.show("/?confidence=high", "This address cannot be read")
    expect(page.get_by_role("alert")).to_contain_text("confidence is 'high', expected LOW..HIGH")
    page.get_by_role("link", name="Gallery without a filter").click()
    expect(page.locator(".card").first).to_be_visible()
    visit.troubles.clear()  # the browser tells of every 400


def test_a_long_list_scrolls_to_its_end_in_few_cards(visit: Visit) -> None:
    page = visit.show(f"/?run={MANY}", f"{MANY_ITEMS} predictions")
    last = page.get_by_text(f"small-{MANY_ITEMS - 1:03}", exact=True)
    for _ in range(40):
        page.locator(".grid").evaluate("grid => grid.scrollTo(0, grid.scrollHeight)")
        if last.count():
            break
        page.wait_for_timeout(100)
    expect(last).to_be_in_viewport()
    assert page.locator(".card").count() < 60


def test_what_was_scrolled_past_or_asked_otherwise_is_cancelled(visit: Visit) -> None:
    held: list[Route] = []
    page = visit.page
    page.route("**/thumb?*", lambda route: held.append(route))
    visit.show(f"/?run={MANY}", f"{MANY_ITEMS} predictions")
    page.wait_for_timeout(300)
    first = {route.request.url for route in held}
    assert first
    with page.expect_event("requestfailed", lambda r: r.url in first) as failed:
        page.locator(".grid").evaluate("grid => grid.scrollTo(0, 2500)")
    assert failed.value.failure == "net::ERR_ABORTED"
    page.unroute("**/thumb?*")
    page.route("**/api/items?*text=first*", lambda route: held.append(route))
    search = page.get_by_label("Search reference ids")
    with page.expect_request("**/api/items?*text=first*"):
        search.fill("first")
    with page.expect_event("requestfailed", lambda r: "text=first" in r.url):
        search.fill("small-007")
    shown_total(page, "1 prediction")


def test_cards_are_selected_by_clicks_and_keys_and_python_reads_them(
    visit: Visit, page_of_root: Browsing
) -> None:
    page = visit.show(f"/?run={MANY}&sort=least-sure", f"{MANY_ITEMS} predictions")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=visit.url)
    boxes = page.get_by_role("checkbox", name=re.compile("Select small-"))
    boxes.nth(1).click()
    boxes.nth(3).click(modifiers=["Shift"])
    expect(page.get_by_text("3 items selected")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(page.get_by_text("4 items selected")).to_be_visible()
    boxes.nth(2).click()
    page.get_by_role("button", name="Copy reference ids").click()
    expect(page.get_by_text("Copied 3 reference ids.")).to_be_visible()
    ids = ["small-001", "small-003", "small-004"]
    assert page.evaluate("navigator.clipboard.readText()").split("\n") == ids
    with page.expect_response("**/api/selection"):
        page.get_by_role("button", name="Save as…").click()
        page.get_by_label("Name of the selection").fill("to look at")
        page.keyboard.press("Enter")
    expect(page.get_by_text("Kept 3 items as “to look at”")).to_be_visible()
    page.keyboard.press("Escape")
    # The page tells what is selected once nothing was clicked for a moment.
    assert wait_until(lambda: [one.id for one in page_of_root.selected] == ids)
    visit.show("/?ids=to+look+at", "3 predictions")
    page.keyboard.press("Escape")
    expect(page.locator(".selection-bar")).to_be_hidden()


def test_on_a_narrow_screen_filters_open_over_the_list_and_close(visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size({"width": 390, "height": 844})
    visit.show(f"/?run={RUNS[0]}", _TOTAL)
    open_filters = page.get_by_role("button", name="Filters", exact=True)
    box = page.get_by_role("checkbox", name="Handbag")
    expect(box).not_to_be_in_viewport()
    closes = (
        lambda: page.get_by_role("button", name="Close the filters").click(),
        lambda: page.mouse.click(380, 500),  # beside it, which opens no card
        lambda: page.keyboard.press("Escape"),
    )
    for close in closes:
        open_filters.click()
        expect(page.get_by_role("button", name="Close the filters")).to_be_focused()
        expect(box).to_be_in_viewport()
        expect(page.locator(".results")).to_have_attribute("inert", "")
        close()
        expect(box).not_to_be_in_viewport()
        expect(open_filters).to_be_focused()
        assert parameters(page) == {"run": [RUNS[0]]}
    open_filters.click()
    page.set_viewport_size({"width": 1280, "height": 800})  # as by turning a tablet
    page.get_by_label("Search reference ids").fill("street")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(box).not_to_be_in_viewport()


def test_thumbnails_have_the_pixels_that_their_cards_show(
    browser: Browser, page_of_root: Browsing
) -> None:
    for ratio in (1, 2):
        page = browser.new_page(viewport={"width": 1280, "height": 800}, device_scale_factor=ratio)
        page.goto(page_of_root.url)
        page.wait_for_selector(".card-link img[data-state=shown]")
        page.goto(page_of_root.url.partition("/?")[0] + f"/?run={RUNS[0]}")
        shown = page.wait_for_selector(".card-link img[data-state=shown]")
        assert shown is not None
        shown.evaluate("one => one.decode()")  # waits until it is there
        sizes = shown.evaluate("one => [one.naturalWidth, one.clientWidth]")
        assert sizes[0] >= 0.85 * ratio * sizes[1]
        page.context.close()


def test_a_data_set_that_was_chosen_stays_from_page_to_page(
    browser: Browser, tmp_path: Path
) -> None:
    with browse(make_root_of_two(tmp_path / "root"), open_page=False) as browsing:
        browsing._viewer.index.snapshot(whole=60)
        visit = Visit(browser, browsing)
        page = visit.show("/", "5 predictions")
        page.get_by_label("Data set").select_option("animals")
        shown_total(page, "3 predictions")
        expect(page).to_have_title("Gallery · animals")
        expect(page.locator("[data-facet=run]")).to_contain_text("of-animals")
        expect(page.locator("[data-facet=run]")).not_to_contain_text("of-plants")
        page.get_by_role("link", name="Overview").click()
        page.get_by_role("link", name=f"3 published, of-animals, {DAY}").click()
        shown_total(page, "3 predictions")
        page.get_by_role("button", name="Clear all").click()
        assert parameters(page) == {"dataset": ["animals"]}
        page.locator(".card-link").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("animals-0")
        page.keyboard.press("Escape")
        shown_total(page, "3 predictions")
        page.get_by_role("link", name="Rejects").click()
        expect(page).to_have_title("Rejects · animals")
        expect(page.get_by_label("Data set")).to_have_value("animals")
        expect(page.get_by_text("Every row that was validated was accepted.")).to_be_visible()
        expect(page.get_by_role("link", name="All rejects")).to_have_count(0)
        page.keyboard.press("/")  # searches in the gallery, from every page
        expect(page.get_by_label("Search reference ids")).to_be_focused()
        page.go_back()
        page.go_back()
        page.go_back()
        page.get_by_label("Data set").select_option("plants")
        shown_total(page, "5 predictions")
        expect(page).to_have_title("Gallery · plants")
        visit.show("/?dataset=minerals", "There is no such data set")
        page.get_by_role("button", name="Show what there is").click()
        shown_total(page, "5 predictions")
        page.context.close()
        assert visit.troubles == []


def test_everything_is_reached_by_keys(visit: Visit) -> None:
    page = visit.show(f"/?run={RUNS[0]}&text=street", _TOTAL)
    ids = page.locator(".card-id").all_inner_texts()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("1")
    assert "label" in parameters(page)
    page.keyboard.press("1")
    assert "label" not in parameters(page)
    page.keyboard.press("/")
    expect(page.get_by_label("Search reference ids")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text(ids[1])
    page.keyboard.press("ArrowRight")
    expect(heading).to_have_text(ids[2])
    page.keyboard.press("ArrowLeft")
    expect(heading).to_have_text(ids[1])
    first = page.locator(".legend-row input").first
    expect(first).to_be_checked()
    page.keyboard.press("1")
    expect(first).not_to_be_checked()
    page.keyboard.press("1")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Selected")).to_be_visible()
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    shown_total(page, f"{len(ids)} predictions")
    expect(page.get_by_role("link", name=re.compile(f"^{ids[1]},"))).to_be_focused()


def test_the_theme_is_the_systems_until_another_is_chosen_and_kept(visit: Visit) -> None:
    page = visit.page

    def light() -> bool:
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return int(re.findall(r"\d+", ground)[0]) > 127

    page.emulate_media(color_scheme="dark")
    visit.show("/overview", "Model runs and days")
    assert not light()
    page.emulate_media(color_scheme="light")
    assert light()
    page.get_by_role("button", name="Dark or light").click()
    assert not light()
    page.reload()
    assert not light()


def test_rejects_are_grouped_with_their_remedy_and_their_pixels_are_marked(
    visit: Visit, root: Root
) -> None:
    page = visit.show("/rejects", "What did not pass")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=visit.url)
    group = page.get_by_role("region", name="IGNORE-255")
    expect(group).to_contain_text("ignore_values")
    group.get_by_role("button", name="Copy reference ids").click()
    expect(page.get_by_text("Copied 1 reference id.")).to_be_visible()
    id = page.evaluate("navigator.clipboard.readText()")
    group.locator("a.strip-card").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(id)
    page.wait_for_load_state("networkidle")
    mark = page.get_by_role("checkbox", name="Mark the offending pixels").first
    expect(mark).to_be_checked()
    page.get_by_role("button", name="1:1").click()
    run = page.locator("canvas").first.get_attribute("data-run") or ""
    mask_address = next(r.url for r in visit.requests if "/mask?" in r.url)
    data = page.context.request.get(mask_address).body()
    bad = decode_mask(data).pixels == 255
    y, x = (int(one) for one in np.argwhere(bad)[bad.sum() // 2])
    red = pixels(page, run, [(x, y)])[0]
    mark.uncheck()
    assert pixels(page, run, [(x, y)])[0] != red
    assert red[0] > 200 and max(red[1:]) < 120


def test_the_overview_leads_to_what_it_counts(visit: Visit, root: Root) -> None:
    page = visit.show("/overview", "Model runs and days")
    number = len(root.catalog.predictions(RUNS[1]))
    page.get_by_role("link", name=f"{number} published, {RUNS[1]}, {DAY}").click()
    shown_total(page, f"{number} predictions")
    wanted = {"run": [RUNS[1]], "from": [DAY], "to": [DAY], "outcome": ["published"]}
    assert parameters(page) == wanted


def assert_untouched(page: Page, scripts: list[str]) -> None:
    """Nothing of the data has become a part of the page."""
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.hacked") is None
    assert page.locator("script").evaluate_all("all => all.map((one) => one.src)") == scripts
    images = page.locator("img").evaluate_all("all => all.map((one) => one.src)")
    assert all(url == "" or url.startswith("blob:") for url in images)


def assert_item_told(page: Page) -> None:
    """The hostile item's page says what is in the data, letter by letter."""
    for summary in ("Manifest row", "History"):
        page.get_by_role("heading", name=summary).click()
    hover(page, HOSTILE, (40, 30))
    expect(page.get_by_role("tooltip")).to_contain_text(SCRIPT)
    expect(page.get_by_role("tooltip")).to_contain_text(IMAGE)
    expect(page.locator(".manifest")).to_contain_text(SCRIPT)


def test_nothing_in_the_data_is_taken_for_a_page(visit: Visit) -> None:
    scripts = [f"{visit.url}/pages/theme.js", f"{visit.url}/pages/main.js"]
    page = visit.show_item(item_query(f"id {SCRIPT}", HOSTILE))
    assert_item_told(page)
    assert_untouched(page, scripts)
    visit.show(f"/?run={HOSTILE}&label={quote(SCRIPT)}", "2 predictions")
    expect(page.get_by_role("button", name=f"Remove the filter: Has {SCRIPT}")).to_be_visible()
    assert_untouched(page, scripts)
    for path in ("/rejects", "/overview"):
        visit.show(path, re.compile("What did not pass|Model runs and days"))
        assert_untouched(page, scripts)


def test_a_gallery_in_one_file_shows_items_without_a_server(
    browser: Browser, root: Root, tmp_path: Path
) -> None:
    made = static_page(root, Filters(runs=(HOSTILE,)))
    (tmp_path / "page.html").write_bytes(made.html)
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.on(
        "request",
        lambda request: None if request.url.startswith("blob:") else troubles.append(request.url),
    )
    url = (tmp_path / "page.html").as_uri()
    page.goto(url)
    shown_total(page, "2 predictions")
    page.locator(".facet-row").filter(has_text=SCRIPT).locator("input").check()
    page.locator(".card-link").last.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"id {SCRIPT}")
    page.wait_for_selector("canvas[data-at]")
    drawn_everywhere(page)
    page.get_by_role("button", name="Fill", exact=True).click()
    page.get_by_label("Opacity").fill("100")
    colour = next(c for c in made_labels(page) if c["name"] == SCRIPT)["colour"]
    assert near(pixels(page, HOSTILE, [(40, 30)])[0], rgb(colour))
    assert_item_told(page)
    assert_untouched(page, ["", "", ""])
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"id {SCRIPT}")
    page.context.close()
    assert {*troubles} == {url}


def test_rejected_cards_name_no_number_of_segments_and_a_file_filters_as_the_server(
    browser: Browser, root: Root, tmp_path: Path
) -> None:
    made = static_page(root, Filters(runs=(WRONG,), outcomes=("rejected",)))
    (tmp_path / "page.html").write_bytes(made.html)
    page = browser.new_page()
    url = (tmp_path / "page.html").as_uri()
    page.goto(url)
    shown_total(page, "2 predictions")
    for link in page.locator(".card-link").all():
        expect(link).to_have_accessible_name(re.compile(", rejected, findings "))
    for query in ("segments=..5", "area=Road:..0.5"):
        page.goto(f"{url}#/?{query}")
        shown_total(page, "0 predictions")
    page.context.close()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("name", ["gallery", "item", "rejects", "overview"])
def test_every_page_fits_the_screen_and_is_accessible(visit: Visit, name: str, theme: Any) -> None:
    page = visit.page
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    if name == "item":
        visit.show_item(item_query(_ITEM))
    else:
        path = "/" if name == "gallery" else f"/{name}"
        visit.show(path, re.compile("^[0-9]+ predictions|What did not pass|Model runs and days"))
    for size, (width, height) in _SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(100)
        visit.picture(f"browse_{name}_{theme}_{size}")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1280, "height": 800})
    if not _AXE.is_file():
        pytest.skip("axe is not installed: `make test-browser` does that where npm can be had")
    page.evaluate(_AXE.read_text())
    found = page.evaluate("axe.run().then((result) => result.violations)")
    grave = [
        (one["id"], one["help"], one["nodes"][0]["html"], one["nodes"][0]["failureSummary"])
        for one in found if one["impact"] in ("serious", "critical")
    ]  # fmt: skip
    assert grave == []


def test_an_empty_root_says_what_to_do(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "segpipe.toml").write_text('dataset = "none yet"\n')
    with browse(tmp_path / "root", open_page=False) as browsing:
        visit = Visit(browser, browsing)
        page = visit.show("/", "Nothing is here yet")
        expect(page.get_by_text("segpipe import --guess FOLDER")).to_be_visible()
        visit.picture("browse_empty_root")
        visit.show("/rejects", "Nothing was rejected")
        visit.show("/overview", "Nothing was validated yet")
        page.context.close()
        assert visit.troubles == []


def test_what_a_run_publishes_meanwhile_is_offered(visit: Visit, root: Root) -> None:
    # Last: there is more in the root afterwards.
    page = visit.show(f"/?run={RUNS[0]}", _TOTAL)
    before = page.locator(".found").inner_text()
    root.materialize(RUNS[0], NEXT_DAY)
    root.publish(RUNS[0], NEXT_DAY)
    changed = page.get_by_text("The catalog has changed.")
    for _ in range(40):  # the server looks at the root now and then
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_timeout(250)
        if changed.count():
            break
    expect(changed).to_be_visible()
    assert page.locator(".found").inner_text() == before
    page.get_by_role("button", name="Show what is new").click()
    number = len(root.catalog.predictions(RUNS[0]))
    shown_total(page, f"{number} predictions")
