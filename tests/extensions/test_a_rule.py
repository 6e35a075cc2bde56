"""A rule is one decorated function; the pass, its tables and its report know it from then on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
import pytest

import segpipe
from tests.fixtures.landing import LandingWriter

_MODULE = "tests.extensions.checkerboard_rule"


@pytest.fixture
def checkerboard() -> Iterator[str]:
    """The rule, in the catalogue for the time of a test."""
    importlib.import_module(_MODULE)
    yield "CHECKERBOARD"
    del segpipe.RULES["CHECKERBOARD"]
    del sys.modules[_MODULE]


def _write_manifest(landing: LandingWriter) -> None:
    alternating = (np.indices((6, 8)).sum(axis=0) % 2).astype(np.uint8)
    wrong = landing.row("wrong", (0, 1))
    wrong["mask_url"] = landing.mask("wrong", alternating)
    landing.manifest([landing.row("right", (0, 1)), wrong])


def test_a_new_rule_rejects_a_row_with_its_message_and_says_what_to_do(
    checkerboard: str, landing: LandingWriter
) -> None:
    _write_manifest(landing)
    root = segpipe.Root.open(landing.root)
    summary = root.materialize("unet", "2026-01-05")
    assert (summary.accepted, summary.rejected) == (1, 1)
    assert summary.findings == {checkerboard: 1}
    rejected = pq.read_table(
        landing.root / "validated/model_run=unet/date=2026-01-05/rejected.parquet"
    )
    (row,) = rejected.to_pylist()
    assert (row["reference_id"], row["rule"], row["severity"]) == ("wrong", checkerboard, "reject")
    assert row["message"] == "no pixel has the value of its right neighbour"
    assert "-> Upsample with nearest neighbour" in str(root.report("unet", "2026-01-05"))


def test_a_policy_decides_on_a_new_rule_as_on_any_other(
    checkerboard: str, landing: LandingWriter
) -> None:
    _write_manifest(landing)
    policy = f'[policy.severities]\n{checkerboard} = "warn"\n'
    (landing.root / "segpipe.toml").write_text(policy)
    summary = segpipe.Root.open(landing.root).materialize("unet", "2026-01-05")
    assert (summary.accepted, summary.rejected) == (2, 0)
    assert summary.findings == {checkerboard: 1}


def test_a_rule_that_was_taken_out_is_not_asked(landing: LandingWriter) -> None:
    _write_manifest(landing)
    assert "CHECKERBOARD" not in segpipe.RULES
    assert segpipe.Root.open(landing.root).materialize("unet", "2026-01-05").rejected == 0
