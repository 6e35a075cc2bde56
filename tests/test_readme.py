"""The README and the pages on Python do what they say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from PIL import Image, ImageChops, ImageStat

from segpipe.demo.landing import write_demo_landing
from segpipe.formats.opening import FORMATS
from segpipe.manifests.partition import Partition
from segpipe.pipeline.instance import register
from segpipe.pipeline.partitions import partition_key
from segpipe.root import Root
from segpipe.validation.rules import CATALOGUE
from tests.fixtures.followed_page import Reader, blocks_of
from tests.fixtures.places import PROJECT

README = PROJECT / "README.md"
TUTORIAL = PROJECT / "docs" / "tutorial.md"


def python_of(page: Path) -> list[str]:
    """The blocks of Python in a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def published_demo(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """A small demo, published, in a folder ``demo``."""
    folder = tmp_path_factory.mktemp("reader") / "demo"
    write_demo_landing(folder, items_per_day=8)
    root = Root.open(str(folder))
    for partition in root.landing.partitions():
        root.materialize(partition)
        root.publish(partition)
    return root


@pytest.fixture
def demo(published_demo: Root, monkeypatch: pytest.MonkeyPatch) -> Root:
    """The same, as ``demo`` of the working directory."""
    monkeypatch.chdir(Path(published_demo.settings.root).parent)
    return published_demo


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 150


def test_the_readme_says_how_many_formats_are_imported() -> None:
    assert f"any of {len(FORMATS)} formats" in README.read_text("utf-8")


def test_the_commands_of_the_readme_are_those_the_makefile_has() -> None:
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    used = {c.line.split()[1] for b in blocks_of(README) for c in b.commands() if "make" in c.line}
    assert used == {"demo", "test"}
    assert "$(BIN)/segpipe demo --root $(DEMO)" in makefile
    assert "DEMO ?= demo" in makefile


def test_the_python_of_the_readme_writes_a_manifest_and_reads_what_is_published(
    demo: Root,
) -> None:
    writing, reading = (block.text for block in blocks_of(README) if block.language == "python")
    exec(writing, {})
    mine = Root.open("mine")
    (partition,) = mine.partitions()
    summary = mine.materialize(partition)
    assert (summary.accepted, summary.rejected, summary.findings) == (1, 0, {})
    names: dict[str, Any] = {}
    exec(reading, names)
    assert len(names["predictions"]) == demo.catalog.predictions("street-unet-v1").num_rows > 0
    assert len(names["unsure"]) > 0


def test_every_query_of_the_readme_and_the_tutorial_finds_something(demo: Root) -> None:
    lines = [c.line for page in (README, TUTORIAL) for b in blocks_of(page) for c in b.commands()]
    queries = [shlex.split(line)[-1] for line in lines if line.startswith("segpipe query")]
    assert len(queries) >= 3
    for query in queries:
        assert demo.sql(query).num_rows > 0, query


def test_the_page_on_manifests_goes_from_an_array_to_the_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in python_of(PROJECT / "docs" / "how-to" / "manifests.md"):
        exec(code, names)
    assert names["predictions"]["reference_id"].tolist() == ["frame-0001"]


def test_the_page_on_publishing_finds_the_unsure_persons(
    demo: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = python_of(PROJECT / "docs" / "how-to" / "publishing.md")
    names: dict[str, Any] = {}
    exec(code.replace('"ROOT/', f'"{demo.settings.root}/'), names)
    assert names["found"].fetchall()
    assert "area_fraction" in capsys.readouterr().out


@pytest.mark.slow
def test_every_command_of_the_readme_works_after_make_demo(tmp_path: Path) -> None:
    passed = ("make demo", "make test", ". .venv/bin/activate")
    reader = Reader(tmp_path, tmp_path / "dagster", passed=passed)
    reader.run("segpipe demo --root demo")
    assert len(reader.follow(README)) >= 12
    assert (tmp_path / "report.html").exists()
    assert Root.open(str(tmp_path / "mine")).catalog.predictions().num_rows == 121


@pytest.mark.slow
def test_the_picture_of_the_readme_is_renewed_by_the_command_it_names(tmp_path: Path) -> None:
    reader = Reader(tmp_path, tmp_path / "dagster")
    reader.run("segpipe demo --root demo --until 2026-01-07")
    (command,) = re.findall(
        r"^<!-- (segpipe show .+) -->$", README.read_text("utf-8"), re.MULTILINE
    )
    reader.run(command.replace("docs/", ""))
    kept, made = PROJECT / "docs" / "first-look.png", tmp_path / "first-look.png"
    assert kept.stat().st_size < 150_000
    with Image.open(kept) as one, Image.open(made) as other:
        assert one.size == other.size
        difference = ImageChops.difference(one.convert("L"), other.convert("L"))
        assert ImageStat.Stat(difference).mean[0] < 2  # letters differ with the machine's fonts


def test_the_page_on_python_goes_from_a_manifest_to_the_catalog_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_demo_landing(tmp_path / "root", items_per_day=12, until=date(2026, 1, 7))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    publishing, following, mounting = python_of(PROJECT / "docs" / "python.md")
    names: dict[str, Any] = {}
    exec(publishing.replace("ROOT", "root"), names)
    assert names["publication"].outcomes["inserted"] == names["summary"].accepted > 0
    assert names["removed"] == names["table"].num_rows == names["changes"].num_rows
    assert names["root"].catalog.read().num_rows == names["table"].num_rows  # restored
    with Image.open(tmp_path / "item.png") as picture:
        assert picture.width > 300
    exec(following.replace("ROOT", "root"), names)
    partition = Partition("street-unet-v1", "2026-01-05")
    with dg.DagsterInstance.ephemeral() as instance:
        register(instance, partition)
        key = partition_key(partition)
        assert dg.materialize([names["confident"]], instance=instance, partition_key=key).success
    exec(mounting.replace("STREETS", "root").replace("FIELDS", "other"), names)
    keys = {
        key.to_user_string() for key in names["defs"].resolve_asset_graph().get_all_asset_keys()
    }
    assert {"streets/validated_masks", "crops/fields/validated_masks"} <= keys


def test_the_page_on_class_pdfs_prints_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = PROJECT / "docs" / "class-pdfs.md"
    (code,) = python_of(page)
    (printed,) = re.findall(r"^```\n([^`]+)^```\n\nFrom", page.read_text("utf-8"), re.MULTILINE)
    names: dict[str, Any] = {}
    exec(code.replace('"ROOT"', repr(str(tmp_path))), names)
    assert names["publication"].outcomes["inserted"] == names["summary"].accepted == 1
    assert capsys.readouterr().out.split() == printed.split()


def test_the_page_on_class_pdfs_names_every_rule_on_them() -> None:
    page = (PROJECT / "docs" / "class-pdfs.md").read_text("utf-8")
    for rule in CATALOGUE.values():
        if rule.id.startswith("PDF-"):
            assert re.search(rf"^\| `{rule.id}` .*\| {rule.severity} \|$", page, re.MULTILINE)


def test_every_command_has_its_call_in_the_page_on_python() -> None:
    page = (PROJECT / "docs" / "python.md").read_text("utf-8")
    named = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    said = subprocess.run(
        [sys.executable, "-m", "segpipe", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = re.findall(r"^  ([a-z]+)  ", said.partition("Commands:")[2], re.MULTILINE)
    assert len(commands) > 10
    assert set(commands) <= set(re.findall(r"\w+", named))
