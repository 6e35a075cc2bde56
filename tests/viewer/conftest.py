"""A real Chromium on the pages of a root, for the tests that are marked so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from segpipe import Root
from segpipe.viewer.opened import Browsing, browse
from tests.viewer.browsed_root import make_root

if TYPE_CHECKING:  # where there is no playwright, the tests skip
    from playwright.sync_api import Browser

    from tests.viewer.visits import Visit

# A mask that cannot be decoded has no thumbnail, and the browser tells of it; the card says why.
_UNDRAWN = re.compile("status 404: [^ ]*/thumb|console: Failed to load resource.* 404")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium."""
    from tests.fixtures.browser import running_browser

    with running_browser() as running:
        yield running


@pytest.fixture(scope="package")
def root(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """The root that is looked at; one for all tests."""
    return make_root(tmp_path_factory.mktemp("browsed") / "root")


@pytest.fixture(scope="package")
def page_of_root(root: Root) -> Iterator[Browsing]:
    """Its pages, served."""
    with browse(root, open_page=False) as browsing:
        browsing._viewer.index.snapshot(whole=60)
        yield browsing


@pytest.fixture
def visit(
    browser: Browser, page_of_root: Browsing, request: pytest.FixtureRequest
) -> Iterator[Visit]:
    """A visit after which nothing may have failed, and nothing have been asked of others."""
    from tests.viewer.visits import Visit

    opened = Visit(browser, page_of_root)
    yield opened
    opened.picture(request.node.name)
    elsewhere = [r.url for r in opened.requests if not r.url.startswith((opened.url, "blob:"))]
    opened.page.context.close()
    assert [trouble for trouble in opened.troubles if not _UNDRAWN.match(trouble)] == []
    assert elsewhere == []
