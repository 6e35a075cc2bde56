"""``segpipe gallery``: what the one file holds, what it leaves out, and what it lets run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from segpipe.errors import SettingsError
from segpipe.root import Root
from segpipe.viewer.filters import Filters
from segpipe.viewer.refusal import RequestRefused
from segpipe.viewer.static_page import static_page
from segpipe.viewer.viewer import Viewer
from tests.fixtures.command_line import invoked

_DATA = re.compile(r'<script type="application/json" id="segpipe-data">(.*?)</script>', re.DOTALL)


def held(html: str) -> Any:
    return json.loads(_DATA.findall(html)[0])


@pytest.fixture(scope="module")
def html(viewed: Root) -> str:
    """The file of a model run."""
    return static_page(viewed, Filters(runs=("unet",))).html.decode()


def test_the_file_holds_items_with_their_pictures_and_says_what_it_leaves_out(
    viewed: Root, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    given = ["gallery", "--root", viewed.settings.root, "--model-run", "unet", "--out", out]
    done = invoked(*given, "--limit", 3)
    told = held(out.read_text("utf-8"))
    total = int(re.findall("^3 of ([0-9,]+) predictions", done.output, re.MULTILINE)[0])
    assert total > 3
    words = f"3 of {total} predictions, by reference id: this file holds at most 3 items"
    assert words in told["notes"] and words in done.output
    assert [card["id"] for card in told["cards"]] == sorted(card["id"] for card in told["cards"])
    for card in told["cards"]:
        [prediction] = told["items"][card["key"]]["predictions"]
        kind, _, data = told["pictures"][prediction["mask"]].partition(",")
        assert kind == "image/png" and base64.b64decode(data).startswith(b"\x89PNG")
    with pytest.raises(SettingsError, match="is there already: give another name, or --force"):
        invoked(*given)
    invoked(*given, "--force", "--limit", 1)
    assert len(held(out.read_text("utf-8"))["cards"]) == 1


def test_pictures_beyond_the_bytes_are_left_out_with_their_items(viewed: Root) -> None:
    page = static_page(viewed, Filters(runs=("unet",)), most_bytes=1)
    assert page.shown == 1 < page.total
    assert page.notes[0].endswith("this file holds at most 1 bytes of pictures")


def test_rejected_rows_come_with_their_rules_and_labels_select(viewed: Root) -> None:
    told = held(static_page(viewed, Filters(runs=("unet",), outcomes=("rejected",))).html.decode())
    assert {card["outcome"] for card in told["cards"]} == {"rejected"}
    assert sum(rule["count"] for rule in told["rules"]) >= len(told["cards"]) > 0
    with pytest.raises(SettingsError, match="no table has labels: leave --label out, or --rej"):
        static_page(viewed, Filters(runs=("unet",), labels=("car",), outcomes=("rejected",)))
    undrawn = {card["id"]: card["undrawn"] for card in told["cards"] if "undrawn" in card}
    assert undrawn == {"item-missing": "there is no mask to show: FILE-MISSING"}
    cars = held(static_page(viewed, Filters(runs=("unet",), labels=("car",))).html.decode())
    assert cars["cards"] and all(card["areas"]["car"] > 0 for card in cars["cards"])
    with pytest.raises(SettingsError, match="no prediction that passes the filters"):
        static_page(viewed, Filters(runs=("nobody's",)))


def test_nothing_runs_but_the_pages_own_script_and_nothing_is_fetched(html: str) -> None:
    policy = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', html)[0]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    scripts = re.findall(r"<script(?: type=\"module\")?>(.*?)</script>", html, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert len(scripts) == 2 and len(styles) == 1
    digests = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts + styles
    }
    assert {*re.findall("'sha256-[^']*'", policy)} == digests
    assert "<" not in _DATA.findall(html)[0]  # so that no text of the data ends the block
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)


def test_every_module_of_the_page_is_in_the_file_once(html: str) -> None:
    modules = sorted(
        file.name.removesuffix(".js")
        for file in (resources.files("segpipe.viewer") / "pages").iterdir()
        if file.name.endswith(".js") and file.name != "theme.js"
    )
    assert sorted(re.findall(r"const module_(\w+) = \(\(\)", html)) == modules
    assert not re.findall(r"^(?:import|export) ", html, re.MULTILINE)


def test_what_is_taken_back_while_the_file_is_made_is_counted(
    viewed: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = static_page(viewed, Filters(runs=("unet",)))
    item, asked = Viewer.item, list[object]()

    def gone_at_first(self: Viewer, *given: Any) -> Any:
        asked.append(given)
        if len(asked) == 1:
            raise RequestRefused("there is no such row any more", 404)
        return item(self, *given)

    monkeypatch.setattr(Viewer, "item", gone_at_first)
    page = static_page(viewed, Filters(runs=("unet",)))
    assert (page.shown, page.total) == (whole.shown - 1, whole.total)
    new = [note for note in page.notes if note not in whole.notes]
    assert new == ["1 were changed or unpublished while this file was made, and are left out"]
