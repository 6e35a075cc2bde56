"""Everything in ``defs``, for Dagster."""

from pathlib import Path

from dagster import Definitions, definitions, in_process_executor, load_from_defs_folder


@definitions
def defs() -> Definitions:
    found = load_from_defs_folder(path_within_project=Path(__file__).parent)
    # A process for each step would take seconds; segpipe's steps are parallel inside.
    return Definitions.merge(found, Definitions(executor=in_process_executor))
