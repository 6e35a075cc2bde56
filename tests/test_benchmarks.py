"""The benchmarks run: what they measure may differ from machine to machine, but not whether."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["benchmarks", "--quick"], "### Stages"),
        (["benchmarks.scale", "--masks", "200"], "requests"),
        (["benchmarks.partitions", "--masks", "100", "--rows", "2", "--rounds", "1"], "MiB"),
        (["benchmarks.nucleus", "--masks", "30", "--rounds", "1"], "0 uploads"),
        (["benchmarks.automation", "--partitions", "200"], "nothing changed"),
        (["benchmarks.publishing", "--help"], "usage"),
        (["benchmarks.object_store", "--help"], "usage"),
        (["benchmarks.consolidation", "--help"], "usage"),
        (["benchmarks.runs", "--help"], "usage"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_benchmark_reports_what_it_measured(command: list[str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=PROJECT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert words in done.stdout
