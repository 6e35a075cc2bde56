"""Where this project keeps things, and the partitions it shares with segpipe."""

from pathlib import Path

import dagster as dg

from segpipe import Settings
from segpipe.pipeline import partitions_of

PROJECT = Path(__file__).parents[2]
#: segpipe's root and key prefix, as in defs/streets/defs.yaml.
ROOT = PROJECT / "streets"
PREFIX = "streets"

IMAGES = ROOT / "images"
MODELS = PROJECT / "models"
LABELLING = PROJECT / "labelling"

#: A partition is a day and a model run, as segpipe's.
GRID = partitions_of(Settings.load(str(ROOT)), PREFIX)
DAYS = GRID.get_partitions_def_for_dimension("date")
MODEL_RUNS = GRID.get_partitions_def_for_dimension("model_run")


def day_and_model_run(context: dg.AssetExecutionContext) -> tuple[str, str]:
    """The two parts of the key of a partition of ``GRID``."""
    key = context.partition_key
    assert isinstance(key, dg.MultiPartitionKey)
    return key.keys_by_dimension["date"], key.keys_by_dimension["model_run"]
