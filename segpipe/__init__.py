"""segpipe: validate segmentation predictions pixel by pixel, and publish them idempotently.

::

    import segpipe

    root = segpipe.Root.open("ROOT")
    root.materialize("street-unet-v1", "2026-01-05")
    root.publish("street-unet-v1", "2026-01-05")
    root.catalog.predictions(model_run="street-unet-v1")  # an Arrow table

What is named below is all that a user imports, besides ``segpipe.pipeline``, the Dagster project,
which is the only part that imports Dagster and needs ``segpipe[dagster]``; ``SegpipeRoot`` is its
component. Names are imported when first used, so that ``import segpipe`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segpipe.demo.landing import write_demo_landing
    from segpipe.errors import SegpipeError
    from segpipe.evaluation.of_manifests import evaluate
    from segpipe.evaluation.result import Evaluation
    from segpipe.formats.importing import ImportSummary, import_masks
    from segpipe.formats.manifest_writer import ManifestWriter
    from segpipe.manifest_check import validate
    from segpipe.manifests.manifest import Manifest
    from segpipe.manifests.partition import Partition
    from segpipe.masks.decoding import decode_mask
    from segpipe.masks.encoding import canonical_png
    from segpipe.masks.measures import measure
    from segpipe.nucleus_server.serving import serve_nucleus
    from segpipe.predictions.fingerprint import fingerprint
    from segpipe.predictions.prediction import Segment, SegmentationPrediction
    from segpipe.predictions.view import View
    from segpipe.publishing.catalog import Catalog, open_catalog
    from segpipe.publishing.publication import Publication
    from segpipe.root import Root
    from segpipe.settings import Settings
    from segpipe.validation.report import ValidationReport
    from segpipe.validation.rules import CATALOGUE as RULES
    from segpipe.validation.summary import Summary
    from segpipe.viewer.opened import Browsing, browse

__version__ = "0.2.0"

_MODULES = {
    "Browsing": "segpipe.viewer.opened",
    "Catalog": "segpipe.publishing.catalog",
    "Evaluation": "segpipe.evaluation.result",
    "ImportSummary": "segpipe.formats.importing",
    "Manifest": "segpipe.manifests.manifest",
    "ManifestWriter": "segpipe.formats.manifest_writer",
    "Partition": "segpipe.manifests.partition",
    "Publication": "segpipe.publishing.publication",
    "RULES": "segpipe.validation.rules",
    "Root": "segpipe.root",
    "SegmentationPrediction": "segpipe.predictions.prediction",
    "Segment": "segpipe.predictions.prediction",
    "SegpipeError": "segpipe.errors",
    "SegpipeRoot": "segpipe.pipeline",
    "Settings": "segpipe.settings",
    "Summary": "segpipe.validation.summary",
    "ValidationReport": "segpipe.validation.report",
    "View": "segpipe.predictions.view",
    "browse": "segpipe.viewer.opened",
    "canonical_png": "segpipe.masks.encoding",
    "decode_mask": "segpipe.masks.decoding",
    "evaluate": "segpipe.evaluation.of_manifests",
    "fingerprint": "segpipe.predictions.fingerprint",
    "import_masks": "segpipe.formats.importing",
    "measure": "segpipe.masks.measures",
    "open_catalog": "segpipe.publishing.catalog",
    "serve_nucleus": "segpipe.nucleus_server.serving",
    "validate": "segpipe.manifest_check",
    "write_demo_landing": "segpipe.demo.landing",
}
_OTHER_NAMES = {"RULES": "CATALOGUE"}

__all__ = [
    "RULES",
    "Browsing",
    "Catalog",
    "Evaluation",
    "ImportSummary",
    "Manifest",
    "ManifestWriter",
    "Partition",
    "Publication",
    "Root",
    "Segment",
    "SegmentationPrediction",
    "SegpipeError",
    "SegpipeRoot",
    "Settings",
    "Summary",
    "ValidationReport",
    "View",
    "__version__",
    "browse",
    "canonical_png",
    "decode_mask",
    "evaluate",
    "fingerprint",
    "import_masks",
    "measure",
    "open_catalog",
    "serve_nucleus",
    "validate",
    "write_demo_landing",
]
# Who takes all names, by a star or to complete them, gets those that can be had.
if find_spec("dagster") is None:
    __all__.remove("SegpipeRoot")


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'segpipe' has no attribute {name!r}")
    return getattr(import_module(module), _OTHER_NAMES.get(name, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
