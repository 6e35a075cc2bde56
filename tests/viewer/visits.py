"""A visit to the pages of a root with a real browser, and what is to be seen there."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Request, expect

from segpipe import Root
from segpipe.masks.decoding import decode_mask
from segpipe.viewer.opened import Browsing
from tests.fixtures.browser import Window
from tests.viewer.browsed_root import DAY, RUNS


class Visit(Window):
    """A page of a root, whose requests are noted.

    Attributes:
        requests: all that were made.
    """

    def __init__(self, browser: Browser, browsing: Browsing) -> None:
        parts = urlsplit(browsing.url)
        super().__init__(browser, f"{parts.scheme}://{parts.netloc}")
        self.page.context.request.get(browsing.url)  # with the token, which a cookie holds then
        self.page.set_viewport_size({"width": 1280, "height": 800})
        self.requests: list[Request] = []
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("dialog", lambda dialog: self.troubles.append(f"dialog: {dialog.message}"))

    def show(self, path: str, words: str | re.Pattern[str]) -> Page:
        self.open(path, lambda page: page.get_by_text(words))
        return self.page

    def show_item(self, query: str) -> Page:
        self.open(f"/item?{query}", lambda page: page.locator("canvas[data-at]"))
        # Masks and image have come.
        self.page.wait_for_load_state("networkidle")
        drawn_everywhere(self.page)
        return self.page


def drawn_everywhere(page: Page) -> None:
    """No pane says any more that its mask is on its way."""
    # No function of the page's own is waited for: its policy forbids the text that would be one.
    expect(page.locator(".pane-words:not(:empty)")).to_have_count(0)


def shown_total(page: Page, words: str) -> None:
    expect(page.locator(".found")).to_have_text(words)


def parameters(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def published(root: Root, run: str, id: str) -> dict[str, Any]:
    """A row of the catalog."""
    row: dict[str, Any] = root.catalog.predictions(run, [id]).to_pylist()[0]
    return row


def mask_of(root: Root, run: str, id: str) -> NDArray[np.uint8]:
    """The pixels of a published mask."""
    return decode_mask(root.masks.read(published(root, run, id)["mask_sha256"])).pixels


def labels_of(root: Root, run: str, id: str) -> NDArray[np.object_]:
    """The label of each pixel."""
    table = np.full(256, "", object)
    for segment in published(root, run, id)["segments"]:
        table[segment["index"]] = segment["label"]
    return table[mask_of(root, run, id)]


def inner_pixel(of: NDArray[np.bool_]) -> tuple[int, int]:
    """Column and row of a pixel around which there are only others of the same kind."""
    inner = of.copy()
    for axis in (0, 1):
        for shift in range(-2, 3):
            inner &= np.roll(of, shift, axis)
    y, x = (int(one) for one in np.argwhere(inner)[inner.sum() // 2])
    return x, y


def pixels(page: Page, run: str, points: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    """The colours that a model run's canvas has for pixels of the picture."""
    found: list[list[int]] = page.locator(f"canvas[data-run='{run}']").evaluate(
        """async (canvas, points) => {
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            const [scale, x, y] = canvas.dataset.at.split(" ").map(Number);
            const context = canvas.getContext("2d");
            const on = (from, pixel) => (from + (pixel + 0.5) * scale) * devicePixelRatio - 0.5;
            const seen = ([px, py]) => [Math.round(on(x, px)), Math.round(on(y, py))];
            return points.map((point) => [...context.getImageData(...seen(point), 1, 1).data]);
        }""",
        points,
    )
    return [tuple(one[:3]) for one in found]


def near(one: tuple[int, ...], other: tuple[float, ...], by: float = 2) -> bool:
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def hover(page: Page, run: str, point: tuple[int, int]) -> None:
    """Move the pointer to a pixel of the picture."""
    canvas = page.locator(f"canvas[data-run='{run}']")
    box = canvas.bounding_box()
    assert box is not None
    scale, x, y = map(float, (canvas.get_attribute("data-at") or "").split())
    page.mouse.move(
        box["x"] + x + (point[0] + 0.5) * scale, box["y"] + y + (point[1] + 0.5) * scale
    )


def item_query(id: str, run: str = RUNS[0]) -> str:
    return f"dataset=streets&id={quote(id)}&run={run}&date={DAY}"


def made_labels(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(
        "JSON.parse(document.getElementById('segpipe-data').textContent).root.labels"
    )
    return found


def root_labels(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(
        "async () => (await (await fetch('/api/root')).json()).labels"
    )
    return found
