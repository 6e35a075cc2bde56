"""An item's page as a person sees it, in a real Chromium: layers, zoom, differences, marks.

Pictures of the pages are kept in ``test-artefacts/browser``.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe import Root
from segpipe.viewer.opened import Browsing
from tests.fixtures.processes import wait_until
from tests.viewer.browsed_root import (
    HOSTILE,
    LARGE,
    LARGE_EDGE,
    RUNS,
    SCRIPT,
    WRONG,
    WRONG_AT,
)  # fmt: skip

pytestmark = pytest.mark.browser

try:
    from playwright.sync_api import Browser, expect

    from tests.viewer.visits import (
        Visit,
        drawn_everywhere,
        hover,
        inner_pixel,
        item_query,
        labels_of,
        mask_of,
        near,
        pixels,
        published,
        rgb,
        root_labels,
    )
except ModuleNotFoundError:
    if os.environ.get("SEGPIPE_BROWSER") == "required":
        raise
    words = "playwright is not installed; `make test-browser` does that, and runs these tests"
    pytest.skip(words, allow_module_level=True)

_ITEM, _OPACITY = "street-1-001", 0.55
_MAGENTA = (255, 43, 214)


def test_the_canvas_shows_each_pixel_in_its_labels_colour_over_the_image(
    visit: Visit, root: Root
) -> None:
    page = visit.show_item(item_query(_ITEM))
    page.get_by_role("button", name="Fill", exact=True).click()
    page.get_by_role("button", name="1:1").click()
    run, mask = RUNS[0], mask_of(root, RUNS[0], _ITEM)
    told = page.evaluate(
        "async (query) => (await fetch(`/api/item?${query}`)).json()", item_query(_ITEM)
    )
    prediction = next(one for one in told["predictions"] if one["model_run"] == run)
    segments = [
        one for one in prediction["segments"] if one["area_fraction"] > 0.01
        and one["label"] != "Background"
    ]  # fmt: skip
    points = [inner_pixel(mask == one["index"]) for one in segments]
    assert len(points) > 4
    over = pixels(page, run, points)
    page.keyboard.press("m")
    image = pixels(page, run, points)
    url = Path(published(root, run, _ITEM)["image_url"]).name
    [stored] = Path(root.settings.root).glob(f"images/**/{url}")
    exact = np.asarray(Image.open(io.BytesIO(stored.read_bytes())).convert("RGB"))
    assert all(near(one, tuple(exact[y, x]), 4) for one, (x, y) in zip(image, points, strict=True))
    for segment, seen, below in zip(segments, over, image, strict=True):
        colour = rgb(segment["colour"])
        blended = tuple(
            (1 - _OPACITY) * a + _OPACITY * b for a, b in zip(below, colour, strict=True)
        )
        assert near(seen, blended), segment["label"]
    page.keyboard.press("m")
    page.get_by_role("checkbox", name=re.compile(segments[0]["label"])).first.uncheck()
    without = pixels(page, run, points)
    same = [one["label"] == segments[0]["label"] for one in segments]
    wanted = [low if off else high for off, low, high in zip(same, image, over, strict=True)]
    assert all(near(one, other) for one, other in zip(without, wanted, strict=True))
    page.get_by_role("checkbox", name=re.compile(segments[0]["label"])).first.check()
    page.get_by_label("Opacity").fill("100")
    full = pixels(page, run, points)
    assert all(near(c, rgb(s["colour"])) for c, s in zip(full, segments, strict=True))


def test_an_enlarged_pixel_is_a_square_and_all_panes_show_the_same_place(
    visit: Visit, root: Root
) -> None:
    page = visit.show_item(item_query(_ITEM))
    page.get_by_role("button", name="Fill", exact=True).click()
    page.get_by_label("Opacity").fill("100")
    labels = labels_of(root, RUNS[0], _ITEM)
    x, y = inner_pixel(labels == "Road")
    hover(page, RUNS[0], (x, y))
    for _ in range(12):
        page.mouse.wheel(0, -300)
    page.wait_for_timeout(100)
    places = [page.locator(f"canvas[data-run='{run}']").get_attribute("data-at") for run in RUNS]
    assert places[0] == places[1]
    assert float((places[0] or "").split()[0]) > 20
    row = np.argwhere(labels[:, x] == "Road").max()
    below = labels[row + 1, x]
    colours = {label["name"]: rgb(label["colour"]) for label in root_labels(page)}
    hover(page, RUNS[0], (x, y))
    for _ in range(3):
        page.keyboard.press("-")
    road, other = pixels(page, RUNS[0], [(x, y), (x, y + 1)])
    assert near(road, colours["Road"], 60) and road == other
    assert below != "Road"


def test_pointing_at_a_pixel_tells_what_all_model_runs_have_there(visit: Visit, root: Root) -> None:
    page = visit.show_item(item_query(_ITEM))
    row = published(root, RUNS[0], _ITEM)
    car = next(one for one in row["segments"] if one["label"] == "Car")
    mask = mask_of(root, RUNS[0], _ITEM)
    point = inner_pixel(mask == car["index"])
    hover(page, RUNS[0], point)
    tip = page.get_by_role("tooltip")
    for words in (
        "Car", f"index {car['index']}", f"{car['area_px']:,} px", f"{car['confidence']:.2f}",
    ):  # fmt: skip
        expect(tip).to_contain_text(words)
    panel = page.locator(".pixel")
    expect(panel).to_contain_text(f"x {point[0]}, y {point[1]}")
    for run in RUNS:
        value = int(mask_of(root, run, _ITEM)[point[1], point[0]])
        expect(panel.get_by_role("row").filter(has_text=run)).to_contain_text(str(value))
    page.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_the_difference_of_two_model_runs_is_marked_and_measured(visit: Visit, root: Root) -> None:
    page = visit.show_item(item_query(_ITEM))
    one, other = (labels_of(root, run, _ITEM) for run in RUNS)
    differ = one != other
    page.get_by_role("button", name="1:1").click()
    page.keyboard.press("d")
    expect(page.locator(".difference")).to_contain_text(
        f"{RUNS[1]} differs in {100 * differ.mean():.1f} % of the pixels"
    )
    points = [inner_pixel(differ), inner_pixel(~differ)]
    marked, dimmed = pixels(page, RUNS[1], points)
    assert near(marked, _MAGENTA)
    assert not near(dimmed, _MAGENTA, 60)
    page.keyboard.press("d")
    assert not near(pixels(page, RUNS[1], points)[0], _MAGENTA, 60)


def test_the_zoom_that_is_told_is_that_of_the_picture(visit: Visit) -> None:
    page = visit.show_item(item_query(_ITEM))
    for key in ("0", "+"):  # the whole picture, as at first; and larger
        scale = float((page.locator("canvas").first.get_attribute("data-at") or "").split()[0])
        expect(page.get_by_label("Zoom")).to_have_text(f"{100 * scale:.0f} %")
        page.keyboard.press(key)
        page.keyboard.press("+")
        page.wait_for_timeout(100)


def test_outlines_of_a_large_mask_are_as_thin_as_others_once_it_was_zoomed(visit: Visit) -> None:
    page = visit.show_item(item_query(LARGE, WRONG))
    page.get_by_role("button", name="Outline", exact=True).click()
    road = rgb(next(one for one in root_labels(page) if one["name"] == "Road")["colour"])
    edge, beside = (LARGE_EDGE, 550), (LARGE_EDGE + 2, 550)
    page.wait_for_timeout(100)
    scale = float((page.locator("canvas").get_attribute("data-at") or "").split()[0])
    assert scale < 0.6  # there the outline is several pixels wide, so that it is seen
    page.get_by_role("button", name="1:1").click()
    assert wait_until(lambda: not near(pixels(page, WRONG, [beside])[0], road, 60))
    assert near(pixels(page, WRONG, [edge])[0], road)


def test_a_finger_scrolls_the_page_of_an_item_until_its_picture_is_larger(
    browser: Browser, page_of_root: Browsing
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    page.goto(page_of_root.url)
    page.goto(f"{page_of_root.url.partition('/?')[0]}/item?{item_query(_ITEM)}")
    page.wait_for_selector("canvas[data-at]")
    page.wait_for_load_state("networkidle")
    session = page.context.new_cdp_session(page)
    box = page.locator("canvas").first.bounding_box()
    assert box is not None

    def swipe() -> float:
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] - 20
        for kind, up in (("touchStart", 0), *(("touchMove", 10 * n) for n in range(1, 16))):
            points = [{"x": x, "y": y - up}]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            page.wait_for_timeout(16)
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_timeout(200)
        return float(page.locator("main").evaluate("main => main.scrollTop"))

    page.keyboard.press("+")
    page.wait_for_timeout(100)
    assert swipe() == 0
    page.keyboard.press("0")
    page.wait_for_timeout(100)
    assert swipe() > 60
    page.context.close()


def test_long_labels_leave_room_for_what_stands_beside_them(visit: Visit) -> None:
    page = visit.show_item(item_query(f"id {SCRIPT}", HOSTILE))
    hover(page, HOSTILE, (40, 30))
    page.get_by_role("button", name=f"Segments of {SCRIPT}").click()
    side = page.locator(".item-side")
    assert side.evaluate("side => side.scrollWidth <= side.clientWidth")
    right = side.evaluate("side => side.getBoundingClientRect().right")
    counts = side.locator(".legend .count:visible").evaluate_all(
        "all => all.map((one) => one.getBoundingClientRect().right)"
    )
    assert len(counts) == 4 and all(one < right for one in counts)


def test_one_offending_pixel_is_ringed_and_a_row_without_an_id_has_a_name(visit: Visit) -> None:
    page = visit.show(f"/?outcome=rejected&run={WRONG}", "2 predictions")
    expect(page.get_by_text("(no reference id)", exact=True)).to_be_visible()
    page.wait_for_load_state("networkidle")
    asked = [request.url for request in visit.requests if "/thumb?" in request.url]
    thumbs = [page.context.request.get(url).body() for url in asked]
    drawn = [np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), int) for one in thumbs]
    dark = sorted(int((one.max(axis=2) < 70).sum()) for one in drawn)
    assert dark[0] == 0 and dark[1] > 15  # the ring's outer line
    page.get_by_role("link", name=re.compile("^one-pixel,")).click()
    page.wait_for_selector("canvas[data-at]")
    page.wait_for_load_state("networkidle")
    drawn_everywhere(page)
    page.get_by_role("button", name="1:1").click()
    x, y = WRONG_AT
    around = [(x + 9, y), (x - 9, y), (x, y + 9), (x, y - 9)]
    mark = page.get_by_role("checkbox", name="Mark the offending pixels")
    expect(mark).to_be_checked()
    assert all(near(one, (255, 45, 45), 40) for one in pixels(page, WRONG, [(x, y), *around]))
    mark.uncheck()
    assert not any(near(one, (255, 45, 45), 40) for one in pixels(page, WRONG, around))
    page.get_by_role("link", name="Rejects").click()
    page.get_by_text("(no reference id)").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("(no reference id)")
