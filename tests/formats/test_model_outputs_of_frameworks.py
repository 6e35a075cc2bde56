"""The frameworks' own functions and classes; they are large, so these tests skip where absent.

``pip install transformers torch ultralytics supervision``, in an environment of its own.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segpipe import ManifestWriter
from segpipe.errors import ManifestError
from segpipe.manifests.partition import Partition
from segpipe.root import Root

PARTITION = Partition("m", "2026-01-05")
NAMES = {0: "road", 1: "person", 2: "car", 3: "sky"}


def accepted(root: Path) -> dict[str, list[tuple[str, float | None, int]]]:
    """Item -> label, confidence and pixels of each Segment."""
    opened = Root.open(str(root))
    assert opened.materialize(PARTITION).rejected == 0
    (batch,) = opened.validated(PARTITION).batches(100)
    segments = [
        [(one["label"], one["confidence"], one["area_px"]) for one in row]
        for row in batch.segments.to_pylist()
    ]
    return dict(zip(batch.rows["reference_id"].to_pylist(), segments, strict=True))


def test_results_of_transformers_are_taken_as_they_are(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from transformers.models.mask2former import image_processing_pil_mask2former as processing

    processor = processing.Mask2FormerImageProcessorPil()
    how = {"threshold": 0.3, "target_sizes": [(48, 64)]}
    colliding = 0
    with ManifestWriter(tmp_path, "m", "2026-01-05") as writer:
        for seed in range(12):
            torch.manual_seed(seed)
            coarse = torch.randn(1, 12, 4, 5) * 6
            outputs = SimpleNamespace(
                class_queries_logits=torch.randn(1, 12, 5) * 4,
                masks_queries_logits=torch.nn.functional.interpolate(
                    coarse, size=(24, 32), mode="bilinear"
                ),
            )
            results: dict[str, Any] = {
                "semantic": processor.post_process_semantic_segmentation(
                    outputs, target_sizes=[(48, 64)]
                ),
                "instance": processor.post_process_instance_segmentation(outputs, **how),
                "maps": processor.post_process_instance_segmentation(
                    outputs, return_binary_maps=True, **how
                ),
                "panoptic": processor.post_process_panoptic_segmentation(
                    outputs, label_ids_to_fuse=set(), overlap_mask_area_threshold=0.1, **how
                ),
                "empty": processor.post_process_panoptic_segmentation(
                    outputs, threshold=1.1, target_sizes=[(48, 64)], label_ids_to_fuse=set()
                ),
            }
            for kind, result in results.items():
                writer.add_huggingface(f"{kind}-{seed}", result[0], NAMES)
            fused = processor.post_process_panoptic_segmentation(
                outputs, label_ids_to_fuse={0, 3}, overlap_mask_area_threshold=0.1, **how
            )
            try:
                writer.add_huggingface(f"fused-{seed}", fused[0], NAMES)
            except ManifestError as error:
                ids = [one["id"] for one in fused[0]["segments_info"]]
                assert "label_ids_to_fuse" in str(error) and len(ids) > len(set(ids))
                colliding += 1
    rows = accepted(tmp_path)
    assert len(rows) == 72 - colliding
    assert all(sum(area for *_, area in row) == 48 * 64 for row in rows.values())
    assert [row for item, row in rows.items() if item.startswith("empty")] == [
        [("void", None, 48 * 64)]
    ] * 12


def test_results_of_ultralytics_are_taken_as_they_are(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    results = pytest.importorskip("ultralytics.engine.results")
    masks = np.zeros((2, 48, 64), np.float32)
    masks[0, 5:20, 5:20] = masks[1, 10:40, 15:50] = 1
    boxes = torch.tensor([[5, 5, 20, 20, 0.5, 1], [15, 10, 50, 40, 0.25, 2]])

    def result(height: int, width: int, found: Any, boxes: Any) -> Any:
        image = np.zeros((height, width, 3), np.uint8)
        return results.Results(image, "a.png", NAMES, boxes=boxes, masks=found)

    with ManifestWriter(tmp_path, "m", "2026-01-05") as writer:
        writer.add_instances("same", result(48, 64, torch.from_numpy(masks), boxes))
        writer.add_instances("none", result(48, 64, None, boxes[:0]))
        twice = result(96, 128, torch.from_numpy(masks), boxes)
        with pytest.raises(ManifestError, match=r"result\.masks\.xy with height=96, width=128"):
            writer.add_instances("twice", twice)
        size = {"height": 96, "width": 128}
        found, box = twice.masks.xy, twice.boxes
        writer.add_instances("twice", found, box.cls, box.conf, names=twice.names, **size)
    rows = accepted(tmp_path)
    assert rows["same"][1:] == [("person", 0.5, 225), ("car", 0.25, 1000)]
    assert rows["none"] == [("background", None, 48 * 64)]
    assert [one[:2] for one in rows["twice"]] == [
        ("background", None), ("person", 0.5), ("car", 0.25),
    ]  # fmt: skip
