"""Peak memory of materializing a partition, in a process of its own.

``python -m benchmarks.memory ROOT MASKS ASIDE`` is that process; it prints what it found as JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.landing import PARTITION, fresh_root

_REPOSITORY = Path(__file__).resolve().parent.parent
_WORKERS = 2


@dataclass(frozen=True)
class Peak:
    """Rows materialized and the memory it took, in MiB."""

    rows: int
    before: float
    peak: float


def measure_peak(root: Path, masks: Path, aside: Path) -> Peak:
    """Materialize a root's partition in a fresh process and read its peak memory."""
    command = [sys.executable, "-m", "benchmarks.memory", str(root), str(masks), str(aside)]
    ended = subprocess.run(command, cwd=_REPOSITORY, check=True, stdout=subprocess.PIPE)
    return Peak(**json.loads(ended.stdout))


def peak_mib() -> float:
    """Peak resident memory of this process so far.

    Linux lets a process inherit ``ru_maxrss`` from the one that started it, across exec, so a
    large parent would hide a small child; ``VmHWM`` begins anew.
    """
    status = Path("/proc/self/status")
    if status.exists() and "VmHWM" in (facts := process_facts(status)):
        return mib_of(facts, "VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def process_facts(status: Path) -> dict[str, str]:
    """What Linux tells of a process in its ``status`` file."""
    lines = status.read_text(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines)


def mib_of(facts: dict[str, str], name: str) -> float:
    """One of its amounts of memory, in MiB; nothing where a process has none any more."""
    return int(facts.get(name, "0 kB").split()[0]) / 1024


def main(root: str, masks: str, aside: str) -> None:
    """Materialize once and print the peak before and after."""
    opened = fresh_root(Path(root), Path(masks), Path(aside), _WORKERS)
    before = peak_mib()
    summary = opened.materialize(PARTITION)
    print(json.dumps({"rows": summary.accepted, "before": before, "peak": peak_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
