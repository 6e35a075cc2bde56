"""The README's code does what the README says."""

from __future__ import annotations

import re
from pathlib import Path

from segpipe.partition import Partition
from segpipe.root import Root

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_first_example_writes_a_manifest_whose_prediction_is_accepted(tmp_path: Path) -> None:
    (code, *_) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert "ManifestWriter" in code
    exec(code.replace('"ROOT"', repr(str(tmp_path))), {})
    summary = Root.open(str(tmp_path)).materialize(Partition("street-unet-v1", "2026-01-05"))
    assert (summary.accepted, summary.rejected, summary.findings) == (1, 0, {})
