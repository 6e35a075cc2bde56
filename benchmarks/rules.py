"""What each rule costs per mask, against decoding the same mask: ``python -m benchmarks.rules``."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.masks import mask_of
from segpipe.manifests.rows import ManifestRow
from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.measures import measure
from segpipe.predictions.declarations import read_declaration
from segpipe.validation.rules import CATALOGUE, Evidence, Policy, judge

_MASKS = 60
_ROUNDS = 5


def evidence_of(pixels: np.ndarray, policy: Policy) -> tuple[bytes, Evidence]:
    """A mask's file and the evidence on it, everything being right."""
    data = canonical_png(pixels)
    decoded = decode_mask(data)
    measures = measure(decoded.pixels)
    cell = [{"label": f"class {v}", "index": v} for v in measures.values.tolist()]
    height, width = pixels.shape
    row = ManifestRow("m.parquet", 0, "item", "item.png", json.dumps(cell), None, height, width)
    declaration = read_declaration(cell)
    return data, Evidence(row, declaration, policy, (height, width), None, decoded, measures)


def microseconds(work: Callable[[], object]) -> float:
    """Median time of several rounds."""
    times = []
    for _ in range(_ROUNDS):
        started = perf_counter()
        work()
        times.append(perf_counter() - started)
    return 1e6 * median(times)


def report(title: str, masks: list[np.ndarray]) -> None:
    """Print the table for these masks."""
    policy = Policy(taxonomy={f"class {v}": "thing" for v in range(256)}, task="panoptic")
    known = [evidence_of(pixels, policy) for pixels in masks]
    count = len(known)
    decoding = microseconds(lambda: [decode_mask(data) for data, _ in known]) / count
    measuring = microseconds(lambda: [measure(e.mask.pixels) for _, e in known if e.mask]) / count
    judging = microseconds(lambda: [judge(evidence) for _, evidence in known]) / count
    print(f"\n{title}: {count} masks; per mask, and as a share of decoding ({decoding:.0f} us)")
    print(f"{'measure (shared by all rules)':<32}{measuring:>9.1f} us{measuring / decoding:>9.2%}")
    print(f"{'all rules together':<32}{judging:>9.1f} us{judging / decoding:>9.2%}")
    costs = {
        rule.id: microseconds(lambda c=rule.check: [list(c(e)) for _, e in known]) / count  # type: ignore[misc]
        for rule in CATALOGUE.values()
        if rule.check is not None
    }
    for id, cost in sorted(costs.items(), key=lambda entry: -entry[1]):
        print(f"  {id:<30}{cost:>9.1f} us{cost / decoding:>9.2%}")


def main() -> None:
    """Measure at two sizes."""
    small = [mask_of(1, number) for number in range(_MASKS)]
    report("640 x 480", small)
    rows = np.arange(1024) * 480 // 1024
    columns = np.arange(2048) * 640 // 2048
    report("2048 x 1024", [mask[rows][:, columns] for mask in small[:20]])


if __name__ == "__main__":
    main()
