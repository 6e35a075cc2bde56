"""The folder that a page's blocks run in: a demo root and manifests, made once and copied."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from filelock import FileLock

from segpipe import ManifestWriter, Root
from segpipe.cli.demo import _SETTINGS
from segpipe.demo.landing import demo_dates, write_demo_landing
from segpipe.demo.scenes import seed_example
from segpipe.settings import SETTINGS_FILE
from tests.fixtures.places import PROJECT

#: The demo's days are those that the pages name: 2026-01-05 to 2026-01-07.
UNTIL = date(2026, 1, 7)
_ITEMS_PER_DAY = 6
#: Names of the root in the pages, and where its manifests are not in a root.
_ROOTS = ("ROOT", "demo")
_MANIFESTS = ("predictions.parquet", "run.parquet", "gt.parquet")
#: Words of commands that stand for others, unless a page says what they are.
WORDS = {
    "M": "street-unet-v1",
    "MODEL_RUN": "street-unet-v1",
    "A": "street-unet-v1",
    "B": "street-unet-v2",
    "D": "2026-01-05",
    "DATE": "2026-01-05",
    "YYYY-MM-DD": "2026-01-05",
    "REFERENCE_ID": "street-1-001",
    "ITEM": "street-1-001",
}


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder with what `segpipe demo` makes, of fewer items, as ``ROOT``, and a manifest with its
    masks in it. All processes of the tests share one.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "pages"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            begun = folder.with_suffix(".begun")  # what failed half-way is begun anew
            shutil.rmtree(begun, ignore_errors=True)
            _make(begun)
            begun.rename(folder)
    return folder


def _make(folder: Path) -> None:
    place = folder / "ROOT"
    place.mkdir(parents=True)
    dates = demo_dates(UNTIL)
    (place / SETTINGS_FILE).write_text(_SETTINGS.format(dates[0], dates[-1]))
    write_demo_landing(place, items_per_day=_ITEMS_PER_DAY, until=UNTIL)
    root = Root.open(place)
    for partition in root.partitions():
        root.materialize(partition)
        root.publish(partition)
    scene = seed_example()
    with ManifestWriter(folder / "other", WORDS["M"], WORDS["D"], inline=True) as writer:
        writer.add(scene.reference_id, scene.mask, list(scene.segments))
    (written,) = (folder / "other").rglob("*.parquet")
    written.rename(folder / _MANIFESTS[0])


class PageFolder:
    """The folder of one page.

    Attributes:
        path: where it is; commands and code run in it.
        words: words of commands -> what they stand for.
        said: those that the page itself has said; in settings they stand for others, too.
        variables: what the page's commands have set.
        ports: ports that the page names -> free ones.
    """

    def __init__(self, path: Path, laid_out: Path, page: str) -> None:
        self.path, self._laid_out, self._page = path, laid_out, page
        self.words = dict(WORDS)
        self.said: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.ports: dict[int, int] = {}
        self.lay_out()

    def lay_out(self) -> None:
        """Make it as it is at the page's beginning."""
        self.path.mkdir(exist_ok=True)
        for inside in self.path.iterdir():  # the folder itself is where commands run
            is_folder = inside.is_dir() and not inside.is_symlink()
            shutil.rmtree(inside) if is_folder else inside.unlink()
        for name in _ROOTS:
            if re.search(rf"\b{name}\b", self._page) or (name == "ROOT" and "```sql" in self._page):
                shutil.copytree(self._laid_out / "ROOT", self.path / name)
        if "examples/policies/" in self._page:
            shutil.copytree(PROJECT / "examples/policies", self.path / "examples/policies")
        for name in _MANIFESTS:
            if name in self._page:
                shutil.copy(self._laid_out / _MANIFESTS[0], self.path / name)

    def say(self, pairs: str) -> None:
        """Take words and what they stand for: ``M=street-unet-v2 D=2026-01-06``."""
        self.said |= dict(one.split("=", 1) for one in pairs.split())
        self.words |= self.said

    def spoken(self, text: str) -> str:
        """A text of the page with the ports that are served instead of those it names."""
        for named, free in self.ports.items():
            text = re.sub(rf"(127\.0\.0\.1|localhost):{named}\b", rf"\1:{free}", text)
        return text


@contextmanager
def page_folder(
    path: Path, laid_out: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PageFolder]:
    """The folder of a page, which is the current one meanwhile."""
    folder = PageFolder(path / "page", laid_out, page)
    monkeypatch.chdir(folder.path)
    monkeypatch.setenv("BROWSER", "true")  # the program that opens nothing
    (path / "dagster_home").mkdir(exist_ok=True)
    monkeypatch.setenv("DAGSTER_HOME", str(path / "dagster_home"))
    monkeypatch.delenv("SEGPIPE_ROOT", raising=False)
    yield folder
