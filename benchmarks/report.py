"""Results: a table to read and JSON to keep."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.memory import Peak
from benchmarks.partitions import Throughput
from benchmarks.rounds import Times
from benchmarks.stages import BESIDE

#: Where the JSON goes; not under version control.
RESULTS = Path(__file__).resolve().parent / "results"

PILLOW = "Pillow decode alone"
SEGPIPE = "segpipe, everything"
MEASURES = "segpipe, what naive gives"
STAGES = "stages apart"
NAIVE_ANY = "naive loop, any()"
NAIVE_WHERE = "naive loop, where()"


@dataclass(frozen=True)
class Results:
    """Everything measured in one run; what was not asked for is None or empty."""

    machine: dict[str, object]
    masks: dict[str, float]
    whole: Times
    stages: Times
    partition: Throughput | None
    peaks: list[Peak]

    def text(self) -> str:
        """The report for people."""
        parts = [self._heading(), self._whole(), self._stages()]
        if self.partition is not None:
            parts.append(_partition(self.partition))
        if self.peaks:
            parts.append(_peaks(self.peaks))
        return "\n\n".join(parts)

    def write(self) -> Path:
        """Write the JSON; returns where."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
        return path

    def to_dict(self) -> dict[str, object]:
        """All figures, times per mask in milliseconds."""
        return {
            "machine": self.machine,
            "masks": self.masks,
            "whole": {
                name: {
                    "ms_per_mask": self.whole.milliseconds(name),
                    "ratio_to_pillow": self.whole.ratio(name, PILLOW),
                    "segpipe_is_times_faster": self.whole.ratio(name, SEGPIPE),
                    "segpipe_measures_is_times_faster": self.whole.ratio(name, MEASURES),
                    "blocks": len(self.whole.by_block[name]),
                }
                for name in self._contenders()
            },
            "stages_ms_per_mask": {
                name: self.stages.milliseconds(name) for name in self.stages.by_block
            },
            "partition_masks_per_second": self.partition and asdict(self.partition),
            "memory_mib": [asdict(peak) for peak in self.peaks],
        }

    def _contenders(self) -> list[str]:
        return [name for name in self.whole.by_block if name != STAGES]

    def _heading(self) -> str:
        machine, masks = self.machine, self.masks
        return (
            f"{machine['processor']}, {machine['cores']} cores, load {machine['load_before']}; "
            f"{machine['system']}; Python {machine['python']}\n"
            f"{masks['masks']:,} masks of {masks['width']} x {masks['height']}, on average "
            f"{masks['mean_bytes']:,} bytes and {masks['mean_segments']} segments; files cached "
            "by the system; medians over blocks"
        )

    def _whole(self) -> str:
        lines = [f"{'one thread, per mask':<32}{'ms':>9}{'x Pillow':>11}{'blocks':>9}"]
        for name in self._contenders():
            ms, ratio = self.whole.milliseconds(name), self.whole.ratio(name, PILLOW)
            blocks = len(self.whole.by_block[name])
            lines.append(f"{name:<32}{ms:>9.3f}{ratio:>11.2f}{blocks:>9}")
        for naive in (NAIVE_ANY, NAIVE_WHERE):
            everything, same = (self.whole.ratio(naive, own) for own in (SEGPIPE, MEASURES))
            lines.append(
                f"segpipe is {everything:.1f} times faster than {naive} ({same:.1f} times for the "
                "same results alone)"
            )
        return "\n".join(lines)

    def _stages(self) -> str:
        whole = self.whole.milliseconds(SEGPIPE)
        lines = [f"{'stages of segpipe, per mask':<32}{'ms':>9}{'share':>11}"]
        own = [name for name in self.stages.by_block if name not in BESIDE]
        for name in own:
            ms = self.stages.milliseconds(name)
            lines.append(f"{name:<32}{ms:>9.3f}{ms / whole:>11.0%}")
        rest = self.whole.rest_milliseconds(SEGPIPE, self.stages, own)
        lines.append(f"{'tables, manifest and the rest':<32}{rest:>9.3f}{rest / whole:>11.0%}")
        lines += self._beyond_decoding(rest)
        lines.append("for comparison")
        lines += [f"{'  ' + name:<32}{self.stages.milliseconds(name):>9.3f}" for name in BESIDE]
        return "\n".join(lines)

    def _beyond_decoding(self, tables: float) -> list[str]:
        """Validate + measure + table against the naive loops, decoding taken out of both."""
        stages = ("read_declaration", "measure", "judge (all rules)")
        own = tables + sum(self.stages.milliseconds(name) for name in stages)
        lines = [f"{'validate + measure + table':<32}{own:>9.3f}"]
        for naive in (NAIVE_ANY, NAIVE_WHERE):
            loop = self.whole.milliseconds(naive) - self.whole.milliseconds(PILLOW)
            lines.append(
                f"{f'  {naive} without decoding':<32} {loop:.3f}, {loop / own:.1f} times it"
            )
        return lines


def _partition(measured: Throughput) -> str:
    return (
        f"{'partition, end to end':<32}{'masks/s':>9}\n"
        f"{'1 worker':<32}{measured.one_worker:>9.0f}\n"
        f"{'2 workers':<32}{measured.two_workers:>9.0f}\n"
        f"2 workers are {measured.speed_up:.2f} times as fast ({measured.rounds} rounds)"
    )


def _peaks(peaks: list[Peak]) -> str:
    lines = [f"{'peak memory, 2 workers, MiB':<32}{'before':>9}{'peak':>11}"]
    lines += [f"{f'{peak.rows:,} rows':<32}{peak.before:>9.0f}{peak.peak:>11.0f}" for peak in peaks]
    return "\n".join(lines)
