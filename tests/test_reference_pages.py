"""The reference says all there is: commands, settings, rules, and what Python code imports."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import segpipe
import segpipe.errors
import segpipe.pipeline
from docs.reference_pages.__main__ import PAGES, main
from docs.reference_pages.commands import STATUSES, commands_page
from docs.reference_pages.rules import KINDS, kind_of, rules_page
from docs.reference_pages.settings import HOLDERS, settings_page
from segpipe.cli.main import cli
from segpipe.errors import SettingsError
from segpipe.settings import Settings
from segpipe.settings_keys import ROOT_KEYS, TABLES, KeyTable
from segpipe.validation.rules import CATALOGUE
from tests.fixtures.places import PROJECT

REFERENCE = PROJECT / "docs" / "reference"


def test_the_pages_are_what_the_code_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"]) == 0
    assert main(["--check"], tmp_path) == 1
    said = capsys.readouterr().err
    assert [name for name in PAGES if f"docs/reference/{name} is not what the code says" in said]
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "rules.md").write_text(rules_page().replace("reject", "accept"), "utf-8")
    assert main(["--check"], tmp_path) == 1


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from _commands(one, f"{path} {name}")


def test_every_command_and_every_option_is_in_the_reference() -> None:
    page = commands_page()
    commands = [*_commands(cli, "segpipe")][1:]
    assert len(commands) > 30
    for path, command in commands:
        assert re.search(rf"^##+ `{path}`$", page, re.MULTILINE), path
        section = page.partition(f"# `{path}`\n")[2].partition("\n## ")[0]
        if path.count(" ") == 2:  # a format: options that all of them have are listed above
            section = page.partition("# `segpipe import`\n")[2].partition("\n### ")[0] + section
        options = [one for one in command.params if isinstance(one, click.Option)]
        names = [name for one in options for name in (*one.opts, *one.secondary_opts)]
        assert [name for name in names if not re.search(rf"^\|.*`.*{name}\b", section, re.M)] == []


def test_every_exit_status_of_the_help_is_in_the_reference() -> None:
    told = re.findall(r"\b\d+\b", (cli.help or "").partition("Exit status:")[2])
    assert {int(one) for one in told} == STATUSES.keys()


def test_every_rule_is_in_the_reference_with_its_example_and_what_to_do() -> None:
    page = rules_page()
    for rule in CATALOGUE.values():
        section = page.partition(f"\n### `{rule.id}`\n")[2].partition("\n#")[0]
        assert kind_of(rule) in KINDS
        for words in ("**Example**: ", "**What to do**: ", f"`{rule.severity}`"):
            assert words in section, rule.id
        assert section.strip()[:1].isupper() or section.strip()[:1] in "`A", rule.id
    files = {path.stem for path in (PROJECT / "segpipe/validation/rules").glob("*.py")}
    assert {*KINDS} <= files


# Fields of the classes that no key of the same name sets.
_OTHERWISE = {
    "": {"root", "policies", "nucleus", "owners", "group", "tags", "ground_truth", "requirements"},
    "policy": {"metadata"},
    "evaluation": {"least"},
    "nucleus": set(),
}
_WITHOUT_FIELD = {"policy": {"colours"}, "evaluation": {"ground_truth", "min"}}


@pytest.mark.parametrize("table", [one for one in TABLES if one.name in _OTHERWISE],
                         ids=lambda one: one.name or "top")  # fmt: skip
def test_every_setting_there_is_has_words(table: KeyTable) -> None:
    fields = {one.name for one in dataclasses.fields(HOLDERS[table.name])}
    expected = fields - _OTHERWISE[table.name] | _WITHOUT_FIELD.get(table.name, set())
    assert table.keys.keys() == expected
    page = settings_page()
    for name, key in table.keys.items():
        (line,) = re.findall(rf"^\| `{name}` \| .*$", page.partition(_heading(table))[2]
                             .partition("\n## ")[0], re.MULTILINE)  # fmt: skip
        assert min(len(key.meaning), len(key.expected)) > 3
        assert key.expected.replace("|", "\\|") in line


def _heading(table: KeyTable) -> str:
    return f"\n## `[{table.name}]`\n" if table.name else "\n## The root\n"


_VALUES = [(table, name) for table in TABLES for name in table.keys if name != "KEY"]


@pytest.mark.parametrize(
    ("table", "name"), _VALUES, ids=[f"{one.name}.{name}" for one, name in _VALUES]
)
def test_a_value_of_another_kind_is_refused_with_the_words_of_the_reference(
    tmp_path: Path, table: KeyTable, name: str
) -> None:
    lines = [f"[{table.name}]"] if table.name else []
    if table.name == "nucleus" and name != "dataset_id":
        lines.append('dataset_id = "ds_1"')
    (tmp_path / "segpipe.toml").write_text("\n".join([*lines, f"{name} = [[1]]"]), "utf-8")
    with pytest.raises(SettingsError) as refused:
        Settings.load(str(tmp_path))
    said = str(refused.value)
    assert f"{name} " in said
    assert ("list" if name == "storage_options" else "[[1]]") in said  # which holds credentials
    if name not in ("severities", "colours"):  # of these, it is said of a member
        assert f"expected {table.keys[name].expected.removeprefix('one of ')}" in said


@pytest.mark.parametrize("table", TABLES, ids=lambda one: one.name or "top")
def test_every_example_of_settings_can_be_used(tmp_path: Path, table: KeyTable) -> None:
    (tmp_path / "segpipe.toml").write_text(table.example, "utf-8")
    loaded = Settings.load(str(tmp_path))
    assert loaded != Settings.load(str(tmp_path / "without"))


def test_the_keys_of_a_model_run_are_those_of_the_policy(tmp_path: Path) -> None:
    (tmp_path / "segpipe.toml").write_text('[model_runs.a]\ncolours = {Road = "red"}', "utf-8")
    with pytest.raises(SettingsError, match="colours are the same for all model runs"):
        Settings.load(str(tmp_path))


def test_every_variable_of_the_environment_is_in_the_reference() -> None:
    sources = (PROJECT / "segpipe").rglob("*.py")
    named = {one for path in sources
             for one in re.findall(r"\bSEGPIPE_[A-Z_]+\b", path.read_text("utf-8"))}  # fmt: skip
    assert named
    assert {name for name in named if f"| `{name}` |" not in settings_page()} == set()


def test_everything_that_is_imported_is_in_the_python_reference() -> None:
    page = (REFERENCE / "python.md").read_text("utf-8")
    named = {name.rpartition(".")[2] for name in re.findall(r"^\.\. [\w:]+:: (\S+)", page, re.M)}
    exported = {*segpipe.__all__, *segpipe.pipeline.__all__} - {"__version__", "SegpipeError"}
    assert exported - named == set()
    errors = {
        name
        for name, one in vars(segpipe.errors).items()
        if isinstance(one, type) and issubclass(one, segpipe.errors.SegpipeError)
    }
    listed = page.partition(".. automodule:: segpipe.errors")[2].partition(":member-order:")[0]
    assert errors == set(re.findall(r"\w+Error\b", listed))


def test_every_top_level_key_is_in_the_file_s_own_hint(tmp_path: Path) -> None:
    (tmp_path / "segpipe.toml").write_text("zzz = 1", "utf-8")
    with pytest.raises(SettingsError) as refused:
        Settings.load(str(tmp_path))
    assert [name for name in ROOT_KEYS if name not in str(refused.value)] == []
