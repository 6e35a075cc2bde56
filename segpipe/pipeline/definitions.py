"""What Dagster loads (see workspace.yaml): the definitions for the root SEGPIPE_ROOT names."""

from segpipe.pipeline.build import build_definitions
from segpipe.settings import Settings

defs = build_definitions(Settings.from_environment())
