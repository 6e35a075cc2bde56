"""segpipe as a Dagster project. The library never imports this package.

``build_definitions(settings)`` returns the definitions of one root, for their own code location
(``segpipe.pipeline.definitions``) or to be merged into another project's.
``run_partition(root, model_run, date)`` runs one partition without a UI;
``partition_key(model_run, date)`` is its key. May import ``root`` and
the layers below it. To add an asset: write its file here and list it in ``assets``.
"""

from segpipe.pipeline.build import build_definitions
from segpipe.pipeline.partitions import partition_key
from segpipe.pipeline.runs import RunReport, run_partition

__all__ = ["RunReport", "build_definitions", "partition_key", "run_partition"]
