"""``segpipe run`` for ranges of days and several model runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import dagster as dg
import pytest

from segpipe.errors import ManifestError, SettingsError
from segpipe.manifests.partition import Partition
from segpipe.pipeline.partitions import partition_from_key
from segpipe.pipeline.ranges import Days, choose
from segpipe.root import Root
from segpipe.settings import SETTINGS_FILE
from tests.fixtures.command_line import invoked, segpipe
from tests.fixtures.landing import LandingWriter
from tests.fixtures.places import PROJECT

DAYS = ["2026-01-05", "2026-01-06", "2026-01-08"]


def land(landing: LandingWriter, model_run: str, *days: str, wrong: bool = False) -> None:
    """A manifest a day of two items; with ``wrong`` one of them is rejected."""
    for day in days:
        partition = Partition(model_run, day)
        rows = [landing.row(f"{day} {n}", (0, n), partition) for n in (1, 2)]
        landing.manifest([rows[0], {**rows[1], "width": 9 if wrong else 8}], partition)


def table(output: str) -> dict[tuple[str, str], str]:
    """The rows of the table that was printed: date and model run -> the rest."""
    found = re.findall(r"^(\d{4}-\d\d-\d\d)  (\S+) +(.*)$", output, re.M)
    return {(date, name): " ".join(rest.split()) for date, name, rest in found}


def recorded(home: Path) -> list[tuple[Partition, str]]:
    """Dagster's runs as its UI lists them, oldest first."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return [
            (partition_from_key(run.tags["dagster/partition"]), run.status.value)
            for run in reversed(instance.get_runs())
        ]


@pytest.mark.slow
def test_a_range_runs_what_landed_whatever_fails_and_again_what_is_left(
    landing: LandingWriter, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    land(landing, "unet", *DAYS)
    land(landing, "fpn", DAYS[1], wrong=True)
    land(landing, "fpn", "2026-02-01")  # after the range
    damaged = landing.folder(Partition("unet", DAYS[1])) / "predictions.parquet"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    asked = ["run", "--root", landing.root, "--date", "2026-01-05..2026-01-08"]
    first = segpipe(*asked, DAGSTER_HOME=str(home))
    assert first.returncode == 2, first.stderr
    assert table(first.stdout) == {
        (DAYS[0], "unet"): "2 2 0 2 inserted",
        (DAYS[1], "fpn"): "2 1 1 1 inserted",
        (DAYS[1], "unet"): "- - - failed",
        (DAYS[2], "unet"): "2 2 0 2 inserted",
    }
    assert "3 of 4 partitions done" in first.stdout
    assert "1 failed: the same command runs them again" in first.stdout
    assert "model_run=unet date=2026-01-06: error: " in first.stderr
    assert "nothing landed: fpn on 3 of 4 days, unet on 1 of 4 days" in first.stderr
    assert recorded(home) == [
        (Partition("unet", DAYS[0]), "SUCCESS"),
        (Partition("fpn", DAYS[1]), "SUCCESS"),
        (Partition("unet", DAYS[2]), "SUCCESS"),
    ]
    damaged.write_bytes(whole)
    again = segpipe(*asked, DAGSTER_HOME=str(home))
    assert again.returncode == 1, again.stderr
    assert table(again.stdout)[DAYS[1], "unet"] == "2 2 0 2 inserted"
    assert "4 of 4 partitions done, 3 unchanged, 1 with rejected" in again.stdout
    all_of_one = ["run", "--root", landing.root, "--all", "--model-run", "fpn", "--dry-run"]
    dry = segpipe(*all_of_one, DAGSTER_HOME=str(home))
    assert table(dry.stdout).keys() == {(DAYS[1], "fpn"), ("2026-02-01", "fpn")}
    assert "would be published" in dry.stdout
    assert len(recorded(home)) == 3 + 4 + 2


@pytest.mark.parametrize(
    ("date", "words"),
    [
        ("2026-01-08..2026-01-05", "backwards.* as in 2026-01-05..2026-01-08"),
        ("2026-01-05..", "expected a day as YYYY-MM-DD, or the first and the last"),
        ("..2026-01-05", "expected a day as YYYY-MM-DD, or the first and the last"),
        ("2026-01-05...2026-01-08", "expected a day as YYYY-MM-DD, or the first and the last"),
        ("2026-1-5..2026-1-8", "expected a day as YYYY-MM-DD, or the first and the last"),
        ("2026-02-29..2026-03-01", "expected a day as YYYY-MM-DD, or the first and the last"),
        ("", "expected a day as YYYY-MM-DD, or the first and the last"),
    ],
)
def test_what_is_no_range_of_days_is_told_with_what_is_one(
    root: Root, date: str, words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        invoked("run", "--root", root.settings.root, "--date", date)


@pytest.mark.parametrize("options", [[], ["--all", "--date", "2026-01-05..2026-01-08"]])
def test_days_are_given_in_one_way(root: Root, options: list[str]) -> None:
    with pytest.raises(click.UsageError, match="--date, or --all"):
        invoked("run", "--root", root.settings.root, *options)


def test_a_range_in_which_nothing_landed_is_an_error_that_says_what_is_there(
    landing: LandingWriter, root: Root
) -> None:
    with pytest.raises(ManifestError, match=r"nothing has landed in .*manifests"):
        choose(root, [], None)
    land(landing, "unet", *DAYS)
    (landing.folder(Partition("unet", "2026-01-07")) / "masks").mkdir(parents=True)
    gap = "nothing of unet has landed for 2026-01-07 .*goes from 2026-01-05 to 2026-01-08"
    with pytest.raises(ManifestError, match=gap):
        choose(root, ["unet"], Days.of("2026-01-07"))
    with pytest.raises(ManifestError, match=r"no model run 'unte'.* nearest there is unet"):
        choose(root, ["unet", "unte"], None)


def test_a_range_leaves_out_what_is_over_or_has_no_partition_and_runs_first_what_is_compared_with(
    landing: LandingWriter, root: Root
) -> None:
    land(landing, "annotators", DAYS[2])
    land(landing, "unet", "2025-12-31", *DAYS)
    land(landing, "old", *DAYS)
    (landing.root / SETTINGS_FILE).write_text(
        'first_date = 2026-01-01\n[model_runs.old]\nretired = true\n'
        '[evaluation]\nground_truth = ["annotators"]\n'
    )  # fmt: skip
    root = Root.open(str(landing.root))
    chosen = choose(root, [], None)
    order = [(one.model_run, one.date) for one in chosen.partitions]
    assert order == [("annotators", DAYS[2]), *(("unet", day) for day in DAYS)]
    land(landing, "baseline", DAYS[1])
    with (landing.root / SETTINGS_FILE).open("a") as settings:
        settings.write('no_regression = {against = "baseline"}\n')
    first = choose(Root.open(str(landing.root)), [], None).partitions[:3]
    runs = [one.model_run for one in first]
    assert runs == ["annotators", "baseline", "unet"]  # which the unet's gate compares it with
    assert chosen.retired == ("old",)
    assert chosen.without_partition == (Partition("unet", "2025-12-31"),)
    with pytest.raises(SettingsError, match="'old' is over"):
        choose(root, ["old"], None)
    with pytest.raises(SettingsError, match=r"no partition .*from 2026-01-01 \(first_date"):
        choose(root, ["unet"], Days.of("2025-12-01..2025-12-31"))


@pytest.mark.slow
def test_ctrl_c_ends_a_range_with_the_table_of_what_is_done(
    landing: LandingWriter, tmp_path: Path
) -> None:
    days = [f"2026-01-{day:02}" for day in range(5, 10)]
    land(landing, "unet", *days)
    asked = ["run", "--root", str(landing.root), "--all"]
    home = tmp_path / "home"
    environment = {**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        [sys.executable, "-m", "segpipe", *asked],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        receipts = landing.root / "catalog" / "receipts"
        while running.poll() is None and len(list(receipts.rglob("*.parquet"))) < 2:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        output, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert "Traceback" not in said
    done = table(output)
    assert 1 <= len(done) < len(days)
    assert f"{len(done)} of {len(days)} partitions done" in output
    assert "not begun or not ended: the same command runs them again" in output
    assert {status for _, status in recorded(home)} <= {"SUCCESS", "FAILURE", "CANCELED"}
    rest = segpipe(*asked, DAGSTER_HOME=str(home))
    assert rest.returncode == 0, rest.stderr
    unchanged = re.search(
        f"{len(days)} of {len(days)} partitions done, (\\d+) unchanged", rest.stdout
    )
    assert unchanged is not None
    assert int(unchanged[1]) in (len(done), len(done) + 1)  # one may have been published already
