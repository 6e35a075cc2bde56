"""segpipe as a Dagster project. The core library never imports this package.

``build_definitions(settings)`` gives the definitions of one root, for a code location of their own
(``segpipe.pipeline.definitions``) or as a part of another project's.
"""

from segpipe.pipeline.build import build_definitions

__all__ = ["build_definitions"]
