"""Small worlds for the tests: roots with real manifests and real mask files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from segpipe.manifests.partition import Partition
from segpipe.publishing.outcomes import Provenance
from segpipe.root import Root
from tests.s3_fixtures import flaky_s3, s3, s3_server

__all__ = ["flaky_s3", "s3", "s3_server"]  # fixtures for all tests

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

PARTITION = Partition("unet", "2026-01-05")


@pytest.fixture
def real_data() -> Path:
    """The folder of research data beside the project; its tests skip where it is absent."""
    if not (REAL_DATA / "facts.json").is_file():
        pytest.skip("the research data folder is not beside this checkout")
    return REAL_DATA


@pytest.fixture
def real_facts(real_data: Path) -> dict[str, Any]:
    """Facts about the research data, computed independently of segpipe."""
    facts: dict[str, Any] = json.loads((real_data / "facts.json").read_text())
    return facts


def striped_mask(values: Sequence[int], height: int = 6, width: int = 8) -> np.ndarray:
    """Horizontal stripes of the values, H x W uint8."""
    rows = np.array([values[row * len(values) // height] for row in range(height)], np.uint8)
    return np.repeat(rows[:, None], width, axis=1)


def segment_cells(values: Sequence[int], label: str = "class") -> list[dict[str, Any]]:
    """Segments for these values, as a manifest cell."""
    return [
        {"label": f"{label} {value}", "index": value, "metadata": json.dumps({"confidence": 0.5})}
        for value in values
    ]


@dataclass
class LandingWriter:
    """Writes mask files and manifests into a root, as a model's inference would."""

    root: Path

    def mask(self, name: str, mask: np.ndarray, partition: Partition = PARTITION) -> str:
        """Write a mask file; its URL relative to the manifest."""
        path = self.folder(partition) / "masks" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
        return f"masks/{name}.png"

    def row(
        self,
        reference_id: str,
        values: Sequence[int] = (0, 1, 2),
        partition: Partition = PARTITION,
        **other: Any,
    ) -> dict[str, Any]:
        """A manifest row with a mask of these values, written."""
        name = other.pop("name", reference_id)
        label = other.pop("label", "class")
        return {
            "reference_id": reference_id,
            "mask_url": self.mask(name, striped_mask(values), partition),
            "segments": segment_cells(values, label),
            "height": 6,
            "width": 8,
            **other,
        }

    def manifest(
        self,
        rows: Sequence[Mapping[str, Any]],
        partition: Partition = PARTITION,
        name: str = "predictions.parquet",
    ) -> Path:
        """Write a manifest file."""
        path = self.folder(partition) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
        return path

    def folder(self, partition: Partition) -> Path:
        """Where a partition's manifests lie."""
        return (
            self.root / "manifests" / f"model_run={partition.model_run}" / f"date={partition.date}"
        )


@pytest.fixture
def landing(tmp_path: Path) -> LandingWriter:
    """A landing folder to write into, in a root of its own."""
    return LandingWriter(tmp_path / "root")


@pytest.fixture
def root(landing: LandingWriter) -> Root:
    """The root of ``landing``."""
    landing.root.mkdir(parents=True, exist_ok=True)
    return Root.open(str(landing.root))


@pytest.fixture
def provenance() -> Callable[..., Provenance]:
    """Makes the provenance of a publishing run; each run has an id of its own."""
    runs = iter(range(10_000))

    def make(*, update: bool = False, run_id: str | None = None, **other: Any) -> Provenance:
        given = {
            "dataset": "default",
            "model_run": PARTITION.model_run,
            "partition": PARTITION.date,
            "run_id": run_id or f"run-{next(runs)}",
            "time": datetime.now(UTC),
            "update": update,
        }
        return Provenance(**{**given, **other})

    return make
