"""What the outputs are made of, and what of them depends on the run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

DATE = "2026-01-05"
DEMO_RUNS = ("street-unet-v1", "street-unet-v2")
DEMO_DATES = (DATE, "2026-01-06", "2026-01-07")
VIEWS = ("instance", "semantic")
EXPORTS = ("coco-panoptic", "mask-folder")
#: Of the demo's labels.
TAXONOMY = """
[policy.taxonomy]
Background = "stuff"
Building = "stuff"
Tree = "stuff"
Wall = "stuff"
Fence = "stuff"
Pavement = "stuff"
Road = "stuff"
Person = "thing"
Handbag = "thing"
Bird = "thing"
Car = "thing"
"""
EVERY_VALUE = {value: f"class {value}" for value in range(256)}
# Packages whose other versions may write other bytes.
PACKAGES = (
    "dagster", "deflate", "deltalake", "numba", "numpy", "pillow", "pyarrow", "pycocotools",
)  # fmt: skip
# Rows from which on segpipe takes its fast path, where the packages for it are there.
MANY = 1000
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?")
SECONDS = re.compile(r"\bin \d+ s\b")
PICTURES = (".png", ".jpg", ".jpeg")
TEXTS = (".json", ".html", ".csv", ".toml")
NEVER_THE_SAME = ("run_id", "time", "published_at")
Values = Mapping[int, str]
Row = Mapping[str, Any]
