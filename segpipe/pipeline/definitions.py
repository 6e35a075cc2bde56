"""The code location Dagster loads (see workspace.yaml): definitions of the SEGPIPE_ROOT root."""

import dagster as dg

from segpipe.pipeline.build import build_definitions
from segpipe.settings import Settings

# Steps run in their run's process, also when a person materializes a few assets in the UI.
defs = dg.Definitions.merge(
    build_definitions(Settings.from_environment()),
    dg.Definitions(executor=dg.in_process_executor),
)
