"""segpipe as a Dagster project. The library never imports this package.

``build_definitions(settings)`` returns the definitions of one root, for their own code location
(``segpipe.pipeline.definitions``) or to be merged into another project's.
``run_partition(root, model_run, date)`` runs one partition without a UI;
``partition_key(model_run, date)`` is its key. ``segpipe.SegpipeRoot`` is the component for ``dg``;
``partitions_of`` and ``published_table`` are for assets of one's own beside segpipe's. May import
``root`` and the layers below it. Names are imported when first used: Dagster's own processes load
``run_launcher`` alone. To add an asset: write its file here and list it in ``assets``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segpipe.extras import require

if TYPE_CHECKING:
    from segpipe.pipeline.build import build_definitions, partitions_of
    from segpipe.pipeline.component import SegpipeRoot
    from segpipe.pipeline.downstream import published_table
    from segpipe.pipeline.partitions import partition_key
    from segpipe.pipeline.runs import RunReport, run_partition
    from segpipe.pipeline.upstream import ManifestDep

_MODULES = {
    "ManifestDep": "segpipe.pipeline.upstream",
    "RunReport": "segpipe.pipeline.runs",
    "SegpipeRoot": "segpipe.pipeline.component",
    "build_definitions": "segpipe.pipeline.build",
    "partition_key": "segpipe.pipeline.partitions",
    "partitions_of": "segpipe.pipeline.build",
    "published_table": "segpipe.pipeline.downstream",
    "run_partition": "segpipe.pipeline.runs",
}

__all__ = [
    "ManifestDep",
    "RunReport",
    "SegpipeRoot",
    "build_definitions",
    "partition_key",
    "partitions_of",
    "published_table",
    "run_partition",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'segpipe.pipeline' has no attribute {name!r}")
    require("dagster", f"segpipe.pipeline.{name} needs", "dagster")
    return getattr(import_module(_MODULES[name]), name)
