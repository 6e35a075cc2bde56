"""The README's code does what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from PIL import Image

from segpipe.demo.landing import write_demo_landing
from segpipe.manifests.partition import Partition
from segpipe.pipeline.instance import register
from segpipe.pipeline.partitions import partition_key
from segpipe.root import Root
from segpipe.validation.rules import CATALOGUE
from tests.fixtures.places import PROJECT

README = PROJECT / "README.md"


def python_of(page: Path) -> list[str]:
    """The blocks of Python in a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def test_the_first_example_writes_a_manifest_whose_prediction_is_accepted(tmp_path: Path) -> None:
    (code, *_) = python_of(README)
    assert "ManifestWriter" in code
    exec(code.replace('"ROOT"', repr(str(tmp_path))), {})
    summary = Root.open(str(tmp_path)).materialize(Partition("street-unet-v1", "2026-01-05"))
    assert (summary.accepted, summary.rejected, summary.findings) == (1, 0, {})


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
    commands = re.findall(r"^  ([a-z]+)  ", said.partition("\nBegin:")[2], re.MULTILINE)
    assert len(commands) > 10
    assert set(commands) <= set(re.findall(r"\w+", named))
