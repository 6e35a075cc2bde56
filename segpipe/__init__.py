"""segpipe: validate segmentation predictions pixel by pixel, and publish them idempotently.

The names below are imported when first used, so that ``import segpipe`` costs next to nothing; none
of them imports Dagster, which lives in ``segpipe.pipeline`` alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segpipe.errors import SegpipeError
    from segpipe.manifest import Manifest
    from segpipe.manifest_writer import ManifestWriter
    from segpipe.mask import canonical_png, decode_mask
    from segpipe.prediction import Segment, SegmentationPrediction, fingerprint
    from segpipe.publishing.catalog import Catalog, open_catalog
    from segpipe.root import Root
    from segpipe.segments import measure
    from segpipe.settings import Settings

__version__ = "0.1.0"

_HOMES = {
    "Catalog": "segpipe.publishing.catalog",
    "Manifest": "segpipe.manifest",
    "ManifestWriter": "segpipe.manifest_writer",
    "Segment": "segpipe.prediction",
    "SegmentationPrediction": "segpipe.prediction",
    "SegpipeError": "segpipe.errors",
    "Settings": "segpipe.settings",
    "canonical_png": "segpipe.mask",
    "decode_mask": "segpipe.mask",
    "fingerprint": "segpipe.prediction",
    "measure": "segpipe.segments",
    "open_catalog": "segpipe.publishing.catalog",
    "Root": "segpipe.root",
}

__all__ = [
    "Catalog",
    "Manifest",
    "ManifestWriter",
    "Root",
    "Segment",
    "SegmentationPrediction",
    "SegpipeError",
    "Settings",
    "__version__",
    "canonical_png",
    "decode_mask",
    "fingerprint",
    "measure",
    "open_catalog",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'segpipe' has no attribute {name!r}")
    return getattr(import_module(home), name)
