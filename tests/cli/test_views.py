"""Views on the command line."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from segpipe.cli.main import cli
from segpipe.predictions.view import View
from tests.fixtures.landing import PARTITION, LandingWriter
from tests.fixtures.streets import land_streets


@pytest.mark.slow
def test_the_command_line_publishes_a_view_and_says_which(
    landing: LandingWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster_home"))
    root = land_streets(landing, settings='[policy]\npublish_as = "semantic"\n')
    command = ["run", "--root", root.settings.root, "--model-run", "unet", "--date", "2026-01-05"]
    assert cli.main(command, standalone_mode=False) == 0
    said = capsys.readouterr().out
    assert "semantic view: 12 segments became 9, 3 of 3 masks changed" in said
    assert "published as semantic: 3 inserted" in said
    assert cli.main([*command, "--publish-as", "instance", "--dry-run"], standalone_mode=False) == 0
    said = capsys.readouterr().out
    assert (
        "12 segments are neither thing nor stuff and were kept as things (car, road, sky)" in said
    )
    assert "would be published as instance: 3 ignored" in said
    folder = Path(root.view_tables(PARTITION, View.SEMANTIC).path)
    table = pq.read_table(folder / "segments.parquet", partitioning=None)
    assert set(table["label"].to_pylist()) == {"car", "road", "sky"}
