"""How every command ends when storage, Dagster's home, the output or a port is not as it should be.

0, 1 and 2 as the help says, one line that says why, and never a traceback.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from segpipe.pipeline.home import NO_TELEMETRY
from segpipe.pipeline.instance import open_instance
from segpipe.root import Root
from tests.fixtures.command_line import assert_plain_error, segpipe
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.ports import free_port
from tests.fixtures.small_disk import SmallDisk

MODEL_RUN = ["--model-run", PARTITION.model_run]
ONE_DAY = [*MODEL_RUN, "--date", PARTITION.date]
MANIFEST = f"manifests/model_run={PARTITION.model_run}/date={PARTITION.date}/predictions.parquet"


@pytest.fixture(scope="module")
def published_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with three versions of a catalog in several files, and a folder to import."""
    landing = LandingWriter(tmp_path_factory.mktemp("whole") / "root")
    root = Root.open(landing.root)
    for items in (["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]):
        landing.manifest([landing.row(item) for item in items])
        root.materialize(PARTITION)
        root.publish(PARTITION)
    shutil.copytree(landing.folder(PARTITION) / "masks", landing.root / "delivery")
    (landing.root / "labels.csv").write_text("index,label\n0,sky\n1,road\n2,car\n")
    return landing.root


@dataclass(frozen=True)
class Command:
    """A command on a root, and how it ends where the root is read-only or its disk full.

    Attributes:
        arguments: ``ROOT`` stands for the root's folder, ``ELSEWHERE`` for one that is writable.
        read_only, full: the exit status, and words of the message where it is 2.
    """

    arguments: str
    read_only: int
    full: int
    words: tuple[str, str] = ("no permission", "full")


ROOT_AND_RUN = f"--root ROOT {shlex.join(MODEL_RUN)}"
COMMANDS = [
    Command("rules", 0, 0),
    Command("history --root ROOT", 0, 0),
    Command("diff --root ROOT 1 2", 0, 0),
    Command("show --root ROOT a --out ELSEWHERE/a.png", 0, 0),
    Command("show --root ROOT a --out ROOT/a.png", 2, 2),
    Command("restore --root ROOT 1", 2, 2),
    Command(f"unpublish {ROOT_AND_RUN} --date {PARTITION.date}", 2, 2),
    Command(f"unpublish {ROOT_AND_RUN} a", 2, 2),
    Command("optimize --root ROOT", 2, 2),
    Command("vacuum --root ROOT", 0, 0),
    Command("vacuum --root ROOT --no-dry-run --retention-hours 0", 2, 0),
    Command(f"export {ROOT_AND_RUN} --as mask-folder ROOT/out", 2, 2),
    Command(f"export {ROOT_AND_RUN} --as coco-panoptic ELSEWHERE/out", 0, 0),
    Command(f"import mask-folder ROOT/delivery {ROOT_AND_RUN} --labels ROOT/labels.csv", 2, 2),
    Command(f"validate ROOT/{MANIFEST} --out ROOT/validation", 2, 2),
    Command(f"validate ROOT/{MANIFEST} --out ELSEWHERE/validation", 0, 0),
    Command(f"run {ROOT_AND_RUN} --date {PARTITION.date} --force", 2, 2),
    Command("nucleus-server --root ROOT --port PORT", 2, 2),
    Command("demo --root ROOT/demo", 2, 2),
]


def told(stderr: str) -> list[str]:
    """The lines of errors; fails on anything a user should not see."""
    assert "Traceback" not in stderr, stderr
    assert "panicked" not in stderr, stderr
    assert "Generic" not in stderr, stderr
    return [line for line in stderr.splitlines() if line.startswith(("error:", "unexpected"))]


#: One of each kind; the others are slow tests.
QUICKLY = ("show --root ROOT a --out ROOT/a.png", "optimize --root ROOT", "import mask-folder")


@pytest.mark.parametrize("state", ["read-only", "full"])
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            command,
            id=command.arguments,
            marks=() if command.arguments.startswith(QUICKLY) else pytest.mark.slow,
        )
        for command in COMMANDS
    ],
)
def test_a_disk_that_takes_nothing_is_told_in_one_line_with_the_documented_status(
    published_root: Path, tmp_path: Path, command: Command, state: str
) -> None:
    with SmallDisk(tmp_path / "disk", "3m") as disk:
        disk.do(f"cp -r '{published_root}' '{disk.place}/root'")
        disk.make_read_only() if state == "read-only" else disk.fill()
        arguments = (
            command.arguments.replace("ROOT", f"{disk.place}/root")
            .replace("ELSEWHERE", str(tmp_path))
            .replace("PORT", str(free_port()))
        )
        done = disk.segpipe(*shlex.split(arguments), DAGSTER_HOME=f"{tmp_path}/home")
    expected, words = (
        (command.read_only, command.words[0])
        if state == "read-only"
        else (command.full, command.words[1])
    )
    assert done.returncode == expected, done.stdout + done.stderr
    errors = told(done.stderr)
    assert len(errors) == (expected == 2), done.stderr
    assert all(words in line for line in errors), errors


# --- Dagster's home ------------------------------------------------------------------------------


def run_one_day(root: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """The test partition's run, with a Dagster home."""
    return segpipe("run", "--root", root, *ONE_DAY, DAGSTER_HOME=str(home))


@pytest.fixture
def home(new_dagster_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home that was used."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    shutil.copytree(new_dagster_home, tmp_path / "home")
    return tmp_path / "home"


_MOVE_RECORDS = [
    "damaged", "move history and schedules in there away", "(`segpipe register` names those that",
    "and their cursors. dagster.yaml can stay",
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        pytest.param(
            "dagster.yaml", b": : [", ["dagster.yaml", "remove it"], marks=pytest.mark.slow
        ),
        pytest.param(
            "dagster.yaml",
            b"nonsense: 1",
            ["dagster.yaml", "nonsense", "remove it"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "dagster.yaml", b"hello", ["dagster.yaml", "remove it"], marks=pytest.mark.slow
        ),
        pytest.param(
            "dagster.yaml",
            b"\xff\x00\x01\x80" * 50,
            ["dagster.yaml", "remove it"],
            marks=pytest.mark.slow,
        ),
        ("history/runs.db", b"nothing like SQLite" * 900, _MOVE_RECORDS),
        pytest.param(
            "history/runs/index.db",
            b"nothing like it" * 900,
            _MOVE_RECORDS,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "history/runs/index.db",
            b"",
            _MOVE_RECORDS,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "schedules/schedules.db",
            b"nothing like it" * 900,
            _MOVE_RECORDS,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_damaged_dagster_home_is_told_and_its_advice_helps(
    landing: LandingWriter, home: Path, tmp_path: Path, file: str, content: bytes, words: list[str]
) -> None:
    landing.manifest([landing.row("a")])
    (home / file).write_bytes(content)
    assert_plain_error(run_one_day(landing.root, home), str(home), *words)
    if file == "dagster.yaml":
        (home / file).unlink()
    else:
        settings = f"{(home / 'dagster.yaml').read_text()}# as somebody wrote them\n"
        (home / "dagster.yaml").write_text(settings)
        for name in ("history", "schedules"):
            (home / name).rename(tmp_path / name)
    after = run_one_day(landing.root, home)
    assert (after.returncode, "1 inserted" in after.stdout) == (0, True), after.stderr
    if file != "dagster.yaml":
        assert (home / "dagster.yaml").read_text() == settings


def test_a_file_in_place_of_dagsters_home_is_told(landing: LandingWriter, tmp_path: Path) -> None:
    landing.manifest([landing.row("a")])
    (tmp_path / "home").write_text("")
    assert_plain_error(run_one_day(landing.root, tmp_path / "home"), "a file is where a folder")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "after_a_run", "words"),
    [
        ("8k", None, "full"),
        ("300k", None, "full"),
        ("20m", SmallDisk.fill, "full"),
        ("20m", SmallDisk.make_read_only, "no permission"),
    ],
    ids=["hardly any room", "too little room", "full after a run", "read-only after a run"],
)
def test_a_dagster_home_that_takes_nothing_is_told_with_status_2(
    landing: LandingWriter,
    tmp_path: Path,
    size: str,
    after_a_run: Callable[[SmallDisk], None] | None,
    words: str,
) -> None:
    landing.manifest([landing.row("a")])
    run = ["run", "--root", landing.root, *ONE_DAY]
    with SmallDisk(tmp_path / "disk", size) as disk:
        there = {"DAGSTER_HOME": f"{disk.place}/home"}
        if after_a_run is not None:
            assert disk.segpipe(*run, **there).returncode == 0
            after_a_run(disk)
        done = disk.segpipe(*run, **there)
    assert done.returncode == 2, done.stdout + done.stderr
    (error,) = told(done.stderr)
    assert words in error
    assert str(disk.place) in error


@pytest.mark.parametrize(
    ("settings", "enabled"),
    [
        ("", False),
        ("# nothing but words\n", False),
        ("run_retries:\n  enabled: true", False),
        ("telemetry:\n  enabled: true\n", True),
        ("telemetry:\n  enabled: false\n", False),
    ],
)
def test_telemetry_is_on_only_where_the_settings_say_so(
    root: Root, home: Path, settings: str, enabled: bool
) -> None:
    file = home / "dagster.yaml"
    file.write_text(settings)
    with open_instance(root.settings.root) as instance:
        assert instance.telemetry_enabled is enabled
    assert settings.strip() in file.read_text()
    assert not list(home.glob(".*.tmp"))


def test_nothing_is_sent_either_where_the_settings_leave_it_open(
    root: Root, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(NO_TELEMETRY, raising=False)
    (home / "dagster.yaml").write_text("telemetry: {}\n")
    with open_instance(root.settings.root):
        pass
    probe = "import os, sys; sys.exit(os.environ.get('DAGSTER_DISABLE_TELEMETRY') != 'yes')"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
    monkeypatch.delenv(NO_TELEMETRY)


# --- output, arguments, ports --------------------------------------------------------------------


def piped(command: str) -> subprocess.CompletedProcess[str]:
    """Run a shell's pipeline; ``segpipe`` in it is the command."""
    program = f"'{sys.executable}' -m segpipe"
    return subprocess.run(
        ["bash", "-c", command.replace("segpipe", program, 1)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "command", ["rules", "rules EMPTY", "--help", "import --help", "import mask-folder --help"]
)
def test_a_reader_that_has_gone_ends_a_command_quietly_as_it_ends_others(command: str) -> None:
    done = piped(f"segpipe {command} | true; echo ${{PIPESTATUS[0]}}")
    assert done.stderr in ("", "error: there is no rule 'EMPTY'; did you mean 'REF-EMPTY'?\n")
    assert done.stdout in ("141\n", "2\n")
    assert ("EMPTY" in command) == (done.stdout == "2\n")


def test_output_that_cannot_be_written_is_an_error() -> None:
    done = piped("segpipe rules > /dev/full; echo $?")
    assert done.stderr == "error: the output cannot be written: No space left on device\n"
    assert done.stdout == "2\n"


def test_messages_that_nobody_can_get_are_no_error() -> None:
    assert piped("segpipe rules nonsense 2>&-; echo $?").stdout == "2\n"
    assert piped("segpipe rules nonsense 2>/dev/full; echo $?").stdout == "2\n"


def test_wrong_arguments_are_2() -> None:
    for arguments in (["nonsense"], ["run"], ["show", "--most"], ["history", "--root"]):
        done = segpipe(*arguments)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["nucleus-server", "dev"])
def test_a_port_that_is_taken_is_an_error_with_a_remedy(root: Root, command: str) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = segpipe(command, "--root", root.settings.root, "--port", port)
    assert_plain_error(done, f"port {port}", "taken", "another --port")


def test_the_help_says_every_status() -> None:
    text = segpipe("--help").stdout
    for status in ("0 all accepted", "1 some rows rejected", "2 unusable", "3 an unexpected error"):
        assert status in " ".join(text.split())
    assert "130" in text
    assert "143" in text


def test_what_data_holds_for_terminals_is_printed_escaped(
    landing: LandingWriter, tmp_path: Path
) -> None:
    label = "\x1b[2Jroad\r0 rejected\n\u202egnp"
    landing.manifest([landing.row("a", label=label), {**landing.row("b", label=label), "width": 9}])
    root = Root.open(landing.root)
    root.materialize(PARTITION)
    root.publish(PARTITION)
    done = segpipe("show", "--root", landing.root, "a", "--out", tmp_path / "a.png")
    assert r"\x1b[2Jroad\r0 rejected\n\u202egnp 1" in done.stdout
    for text in (done.stdout, str(root.show("a")), str(root.report(PARTITION))):
        assert text.replace("\n", "").isprintable()
    error = segpipe("show", "--root", landing.root, "\x1b[31mnot\u202ethere")
    assert error.stderr.strip("\n").isprintable()
