"""segpipe as a Dagster project. The library never imports this package.

``build_definitions(settings)`` returns the definitions of one root, for their own code location
(``segpipe.pipeline.definitions``) or to be merged into another project's.
``run_partition(root, model_run, date)`` runs one partition without a UI;
``partition_key(model_run, date)`` is its key. ``segpipe.SegpipeRoot`` is the component for ``dg``;
``partitions_of`` and ``published_table`` are for assets of one's own beside segpipe's. May import
``root`` and the layers below it. To add an asset: write its file here and list it in ``assets``.
"""

from segpipe.pipeline.build import build_definitions, partitions_of
from segpipe.pipeline.component import SegpipeRoot
from segpipe.pipeline.downstream import published_table
from segpipe.pipeline.partitions import partition_key
from segpipe.pipeline.runs import RunReport, run_partition
from segpipe.pipeline.upstream import ManifestDep

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
