"""The report page in a real Chromium: its filter works, and nothing that is in the data runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from segpipe.root import Root
from tests.fixtures.landing import PARTITION, LandingWriter

pytestmark = pytest.mark.browser
pytest.importorskip("playwright")


def test_rows_are_filtered_by_rule_and_text_and_hostile_text_runs_nothing(
    landing: LandingWriter, root: Root
) -> None:
    from tests.fixtures.browser import ARTEFACTS, running_browser

    hostile = "<img src=x onerror='document.title=1'><script>document.title=2</script>"
    rows = [{**landing.row(f"{n} {hostile}", name=f"m{n}"), "width": 9} for n in range(5)]
    gone = [{**landing.row(f"gone {n}"), "mask_url": "masks/nowhere.png"} for n in range(4)]
    landing.manifest([*rows, *gone])
    root.materialize(PARTITION)
    page_file = Path(root.write_report_page(PARTITION))
    with running_browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(page_file.as_uri())
        listed = page.locator("#list tbody tr:visible")
        assert listed.count() == 9
        page.fill("#words", "GONE 3")
        assert [listed.count(), page.inner_text("#shown")] == [1, "1"]
        page.click("a[data-rule='SIZE-MISMATCH']")
        assert [listed.count(), page.inner_text("#shown")] == [5, "5"]
        assert page.title() == f"Validation of {PARTITION.model_run}, {PARTITION.date}"
        assert not troubles
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=ARTEFACTS / "report.png", full_page=True)
        page.emulate_media(media="print")
        assert not page.locator("#list").is_visible()
