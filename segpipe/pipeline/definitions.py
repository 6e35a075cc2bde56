"""What Dagster loads (see workspace.yaml): the definitions for the root SEGPIPE_ROOT names."""

import dagster as dg

from segpipe.pipeline.build import build_definitions
from segpipe.settings import Settings

# Steps in the process of their run, also where a person materializes a few assets by hand.
defs = dg.Definitions.merge(
    build_definitions(Settings.from_environment()),
    dg.Definitions(executor=dg.in_process_executor),
)
