"""segpipe as a Dagster project. The library never imports this package.

``build_definitions(settings)`` gives the definitions of one root, for a code location of their own
(``segpipe.pipeline.definitions``) or as a part of another project's;
``run_partition(root, model_run, date)`` runs one partition without a UI. May import ``root`` and
what is below. To add an asset: its file here, and its place in ``assets``.
"""

from segpipe.pipeline.build import build_definitions
from segpipe.pipeline.runs import RunReport, run_partition

__all__ = ["RunReport", "build_definitions", "run_partition"]
