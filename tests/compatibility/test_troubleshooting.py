"""The page of messages quotes what the code says, and what it advises helps."""

from __future__ import annotations

import ast
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

import segpipe
from segpipe.cli.ending import status_of
from segpipe.cli.exit_status import SOME_REJECTED, UNUSABLE
from segpipe.cli.main import cli
from segpipe.cli.ports import check_free
from segpipe.manifests.partition import Partition
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.places import PROJECT
from tests.fixtures.ports import free_port

PAGE = (PROJECT / "docs" / "how-to" / "troubleshooting.md").read_text("utf-8")
#: Every message that the page quotes in a heading.
QUOTED = [
    (double or single).strip()
    for double, single in re.findall(r"^### (?:``(.+?)``|`([^`]+)`)", PAGE, re.MULTILINE)
]
_GAP = "\0"


def _text(node: ast.AST) -> str | None:
    """A literal's text, what differs being a gap; None for other expressions."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(one) or _GAP for one in node.values)
    return None


def _literals() -> Iterator[str]:
    for path in sorted((PROJECT / "segpipe").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            text = _text(node)
            if text:
                yield text


@pytest.fixture(scope="module")
def literals() -> list[str]:
    return list(_literals())


def said(message: str, literals: list[str]) -> bool:
    """Whether a literal has the parts of a message in their order, with a gap between two."""
    parts = [re.escape(part.strip()) for part in message.split("...") if part.strip(" :")]
    pattern = re.compile(f"[^{_GAP}]*?{_GAP}.*?".join(parts), re.DOTALL)
    return any(pattern.search(text) for text in literals)


def test_the_page_has_the_messages_that_are_met_most() -> None:
    assert len(QUOTED) >= 45
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize("message", QUOTED)
def test_every_message_of_the_page_is_one_the_code_says(message: str, literals: list[str]) -> None:
    assert said(message, literals), "the words changed: renew them on the page"


def test_a_message_that_nothing_says_is_found(literals: list[str]) -> None:
    assert not said("the manifest of ... is in another castle", literals)
    assert not said("the manifest of ... has been changed since", literals)


class Terminal:
    """Commands on a root as a user gives them: their status, and what they say."""

    def __init__(self, landing: LandingWriter, capsys: pytest.CaptureFixture[str]) -> None:
        self.landing, self.root, self._capsys = landing, landing.root, capsys

    def __call__(self, command: str, *arguments: object) -> tuple[int, str]:
        """``ROOT`` stands for the root's folder."""
        words = [str(self.root) if one == "ROOT" else one for one in command.split()]
        status = status_of(cli, [*words, *map(str, arguments)])  # type: ignore[arg-type]
        said = self._capsys.readouterr()
        return status, said.out + said.err

    def settings(self, text: str) -> None:
        (self.root / "segpipe.toml").write_text(text)

    def day(self, *items: str, **other: object) -> Path:
        return self.landing.manifest([self.landing.row(one, **other) for one in items])

    def publish(self, **how: bool) -> segpipe.Publication:
        return segpipe.Root.open(self.root).publish(PARTITION, **how)

    def materialize(self) -> segpipe.Summary:
        return segpipe.Root.open(self.root).materialize(PARTITION)


@pytest.fixture
def terminal(
    landing: LandingWriter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    monkeypatch.delenv("SEGPIPE_ROOT", raising=False)
    monkeypatch.chdir(landing.root.parent)
    landing.root.mkdir()
    return Terminal(landing, capsys)


def unknown_key(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    terminal.settings('datset = "streets"\n')
    status, words = terminal("history --root ROOT")
    assert (status, "did you mean 'dataset'?" in words) == (UNUSABLE, True)
    terminal.settings('dataset = "streets"\n')
    return words, lambda: segpipe.Settings.load(str(terminal.root))


def key_below_the_wrong_table(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    terminal.settings('[policy]\ntask = "panoptic"\nautomatic = true\n')
    _, words = terminal("history --root ROOT")
    terminal.settings('automatic = true\n[policy]\ntask = "panoptic"\n')
    return words, lambda: segpipe.Settings.load(str(terminal.root))


def value_in_quotes(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    terminal.settings('automatic = "true"\n')
    _, words = terminal("history --root ROOT")
    assert "automatic is 'true', expected true or false" in words
    terminal.settings("automatic = true\n")
    return words, lambda: segpipe.Settings.load(str(terminal.root))


def destination_without_its_table(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    terminal.settings('destinations = ["catalog", "nucleus"]\n')
    _, words = terminal("history --root ROOT")
    terminal.settings('destinations = ["catalog", "nucleus"]\n[nucleus]\ndataset_id = "ds_1"\n')
    return words, lambda: segpipe.Settings.load(str(terminal.root))


def model_run_that_is_not_there(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    terminal.day("a")
    with pytest.raises(segpipe.SegpipeError) as refused:
        segpipe.Root.open(terminal.root).materialize("unett", "2026-01-05")
    assert "the nearest there is" in str(refused.value)
    return str(refused.value), terminal.materialize


def day_that_is_not_there(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    terminal.day("a")
    with pytest.raises(segpipe.SegpipeError) as refused:
        segpipe.Root.open(terminal.root).materialize("unet", "2026-01-06")
    assert "2026-01-05" in str(refused.value).partition("the nearest there is")[2]
    return str(refused.value), terminal.materialize


def day_in_another_spelling(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    with pytest.raises(segpipe.SegpipeError) as refused:
        Partition("unet", "5.1.2026")
    return str(refused.value), lambda: Partition("unet", "2026-01-05")


def file_that_is_no_parquet(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    whole = terminal.day("a")
    kept = whole.read_bytes()
    whole.write_bytes(kept[: len(kept) // 2])
    status, words = terminal("validate", whole)
    assert status == UNUSABLE
    whole.write_bytes(kept)
    return words, lambda: segpipe.validate(whole)


def column_called_otherwise(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    path = terminal.day("a")
    table = pq.read_table(path)
    pq.write_table(table.rename_columns({"reference_id": "reference-id"}), path)
    _, words = terminal("validate", path)
    assert "is it 'reference-id'?" in words
    pq.write_table(table, path)
    return words, lambda: segpipe.validate(path)


def column_of_another_type(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    path = terminal.day("1")
    table = pq.read_table(path)
    place = table.column_names.index("reference_id")
    pq.write_table(table.set_column(place, "reference_id", pa.array([1])), path)
    _, words = terminal("validate", path)
    assert "astype('string')" in words
    pq.write_table(table, path)
    return words, lambda: segpipe.validate(path)


def too_many_rejections(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    terminal.landing.manifest([{**terminal.landing.row("a"), "segments": []}])
    terminal.materialize()
    with pytest.raises(segpipe.SegpipeError) as refused:
        terminal.publish()
    terminal.day("a")
    terminal.materialize()
    return str(refused.value), terminal.publish


def mask_outside(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    path = terminal.day("a")
    outside = terminal.root.parent / "masks"
    outside.mkdir()
    mask = next((terminal.landing.folder(PARTITION) / "masks").glob("*.png"))
    mask.rename(outside / "a.png")
    row = {**terminal.landing.row("a"), "mask_url": str(outside / "a.png")}
    mask.unlink()
    terminal.landing.manifest([row])
    status, words = terminal("validate", path)
    assert (status, "URL-REFUSED" in words) == (SOME_REJECTED, True)

    def allowed() -> None:
        assert terminal("validate", path, "--allow-root", outside)[0] == 0

    return words, allowed


def nothing_materialized(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    terminal.day("a")
    with pytest.raises(segpipe.SegpipeError) as refused:
        terminal.publish()
    terminal.materialize()
    return str(refused.value), terminal.publish


def manifest_that_changed(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    terminal.day("a")
    terminal.materialize()
    terminal.day("a", "b")
    with pytest.raises(segpipe.SegpipeError) as refused:
        terminal.publish()
    terminal.materialize()
    return str(refused.value), terminal.publish


def damaged_tables(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    terminal.day("a")
    terminal.materialize()
    tables = Path(segpipe.Root.open(terminal.root).tables(PARTITION).path)
    (tables / "_summary.json").write_text("{")
    with pytest.raises(segpipe.SegpipeError) as refused:
        terminal.publish()
    terminal.materialize()
    return str(refused.value), terminal.publish


def version_that_is_not_there(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    terminal.day("a")
    terminal.materialize()
    terminal.publish()
    _, words = terminal("query --root ROOT --version 7", "SELECT count(*) FROM predictions")

    def listed() -> None:
        assert terminal("history --root ROOT")[0] == 0

    return words, listed


def name_that_is_taken(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    def deliver(**how: bool) -> None:
        given = {"model_run": PARTITION.model_run, "date": PARTITION.date}
        with segpipe.ManifestWriter(terminal.root, **given, **how) as writer:
            writer.add("a", np.zeros((6, 8), np.uint8), [segpipe.Segment("road", 0)])

    deliver()
    with pytest.raises(segpipe.SegpipeError) as refused:
        deliver()
    return str(refused.value), lambda: deliver(replace=True)


def port_that_is_taken(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        status, words = terminal("browse --root ROOT --no-open --port", port)
        assert status == UNUSABLE
    return words, lambda: check_free("127.0.0.1", free_port())


def foreign_table(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    write_deltalake(str(terminal.root / "catalog" / "predictions"), pa.table({"n": [1]}))
    status, words = terminal("history --root ROOT")
    assert status == UNUSABLE
    terminal.settings('catalog = "own-catalog"\n')
    terminal.day("a")
    terminal.materialize()
    return words, terminal.publish


def root_that_nobody_names(terminal: Terminal) -> tuple[str, Callable[[], object]]:
    with pytest.raises(segpipe.SegpipeError) as refused:
        segpipe.Settings.from_environment()

    def named() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SEGPIPE_ROOT", str(terminal.root))
            segpipe.Settings.from_environment()

    return str(refused.value), named


#: What provokes a message -> the message on the page.
PROVOKED: dict[Callable[[Terminal], tuple[str, Callable[[], object]]], str] = {
    unknown_key: "unknown key ...",
    key_below_the_wrong_table: "unknown key ...",
    value_in_quotes: "... is ..., expected ...",
    destination_without_its_table: 'the destination "..." needs a table [...]',
    model_run_that_is_not_there: "there is no model run ... in ...",
    day_that_is_not_there: "there is no manifest for ...: expected *.parquet files in ...",
    day_in_another_spelling: "expected a day as YYYY-MM-DD",
    file_that_is_no_parquet: "is not a readable Parquet file",
    column_called_otherwise: "there is no column ... (columns: ...)",
    column_of_another_type: "column ... holds ..., expected ...",
    too_many_rejections: "of ... rows were rejected, more than max_rejection_rate",
    mask_outside: "outside the allowed roots (...)",
    nothing_materialized: "holds no finished tables: materialize them first",
    manifest_that_changed: "the manifest of ... has changed since its masks were validated",
    damaged_tables: "is damaged (...): materialize again",
    version_that_is_not_there: "there is no version ... of ...: it is at ...",
    name_that_is_taken: ("puts this delivery beside it, replace=True (--replace) in its place"),
    port_that_is_taken: "port ... of ... is taken",
    foreign_table: "is a Delta table, but not one segpipe made",
    root_that_nobody_names: "... is not set: set it to the folder or URL that holds manifests/",
}


@pytest.mark.parametrize("provoke", PROVOKED, ids=lambda one: one.__name__)
def test_what_the_page_advises_helps(
    terminal: Terminal, provoke: Callable[[Terminal], tuple[str, Callable[[], object]]]
) -> None:
    message = PROVOKED[provoke]
    assert message in QUOTED
    words, follow_the_advice = provoke(terminal)
    parts = [re.escape(part.strip()) for part in message.split("...")]
    assert re.search(".*?".join(parts), words), words
    follow_the_advice()
