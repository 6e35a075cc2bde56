"""The order of a publication, as ``segpipe/storage/durability.py`` states it, from the system calls
of a real run."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.power_cut import Disk
from tests.fixtures.recording import Operation, Recorder

_TABLES = r"validated/.*/"
_MASK = r"masks/../[0-9a-f]{64}\.png"
_ENTRY = r"catalog/predictions/_delta_log/\d{20}\.json"
_DATA = r"catalog/predictions/dataset=default/model_run=unet/part-[^/#]*\.parquet"
_RECEIPTS = r"catalog/receipts/.*\.parquet"
#: Where the run's standard output goes, so that its words are recorded as well.
_SAID = "said"


@dataclass(frozen=True)
class Ran:
    """A run: what was there before, and what it did."""

    before: Path
    operations: list[Operation]

    def uncertain_when(self, wanted: Callable[[Operation], bool]) -> list[list[str]]:
        """What was uncertain whenever an operation of this kind was about to be done."""
        disk, found = Disk(self.before), []
        for operation in self.operations:
            if wanted(operation):
                found.append(disk.uncertain())
            disk.do(operation)
        return found


def takes(name: str) -> Callable[[Operation], bool]:
    """Whether an operation gives a file its name."""
    return lambda done: done.kind in ("rename", "link") and bool(re.fullmatch(name, done.to))


def says(words: str) -> Callable[[Operation], bool]:
    """Whether an operation prints these words."""
    return lambda done: done.path == _SAID and words.encode() in done.data


def of(name: str, paths: list[str]) -> list[str]:
    """The paths that match."""
    return [path for path in paths if re.fullmatch(name, path)]


@pytest.fixture(
    scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)], ids=["first", "update"]
)
def run(
    request: pytest.FixtureRequest, recorder: Recorder, tmp_path_factory: pytest.TempPathFactory
) -> Ran:
    """A partition's first run, or one with ``--update`` after its predictions have changed."""
    folder = tmp_path_factory.mktemp("runs")
    landing = LandingWriter(folder / "root")
    command = [
        sys.executable, "-m", "segpipe", "run", "--root", str(landing.root), "--workers", "1",
        "--model-run", PARTITION.model_run, "--date", PARTITION.date, "--update",
    ]  # fmt: skip
    script = ["sh", "-c", 'exec "$@" > "$0"', str(landing.root / _SAID), *command]
    for shift in range(1, request.param + 1):
        rows = [landing.row(f"item {n}", (0, n + shift), name=f"{n} {shift}") for n in range(6)]
        landing.manifest(rows)
        before = folder / f"before {shift}"
        shutil.copytree(landing.root, before)
        ran = Ran(before, recorder(landing.root, script).operations)
    return ran


@pytest.mark.parametrize(
    ("when", "certain"),
    [
        (takes(_TABLES + r"(validated|segments|rejected)\.parquet"), _MASK),
        (
            takes(_TABLES + r"_summary\.json"),
            f"{_MASK}|{_TABLES}(validated|segments|rejected).parquet",
        ),
        (takes(_ENTRY), f"{_MASK}|{_TABLES}[^.].*"),
        (takes(_RECEIPTS), f"{_MASK}|{_ENTRY}|{_DATA}|catalog/predictions/[^#]*"),
        (says("published"), f"{_MASK}|validated.*|masks.*|catalog/(?!.*#).*"),
    ],
    ids=["tables", "summary", "log entry", "receipts", "success"],
)
def test_nothing_refers_to_what_is_not_certain(
    run: Ran, when: Callable[[Operation], bool], certain: str
) -> None:
    happened = run.uncertain_when(when)
    assert happened, "the run did not come to it"
    for uncertain in happened:
        # Receipts are written to from the beginning, under a name that nobody reads.
        assert [p for p in of(certain, uncertain) if not p.endswith(".tmp")] == []
