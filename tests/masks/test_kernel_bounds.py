"""The compiled kernels, with every index checked: no input makes them leave their arrays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.thoroughness import at_most

pytest.importorskip("numba")


def fuzz(folder: Path, *, checked: bool, cases: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fixtures.kernel_fuzz", "--cases", str(cases)],
        env={
            **os.environ,
            "NUMBA_BOUNDSCHECK": str(int(checked)),
            "NUMBA_CACHE_DIR": str(folder / "compiled"),
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_no_image_data_makes_a_kernel_leave_its_arrays(tmp_path: Path) -> None:
    cases = int(os.environ.get("SEGPIPE_KERNEL_CASES", at_most(25_000, 100_000)))
    done = fuzz(tmp_path, checked=True, cases=cases)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    counted = {words: int(n) for n, words in re.findall(r"(\d+) ([a-z ]+)", done.stdout)}
    assert counted["cases"] == cases
    assert min(counted["runs"], counted["too many runs"], counted["no such filter"]) > cases / 200


@pytest.mark.slow
def test_a_fuzz_without_checks_says_so(tmp_path: Path) -> None:
    done = fuzz(tmp_path, checked=False, cases=10)
    assert done.returncode == 1
    assert "set NUMBA_BOUNDSCHECK=1" in done.stderr
