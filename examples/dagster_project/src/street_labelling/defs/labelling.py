"""Right of segpipe: which items people should label next."""

import csv

import dagster as dg

from segpipe.pipeline import published_table
from street_labelling.places import GRID, LABELLING, PREFIX, ROOT, day_and_model_run

_MOST = 3


@dg.asset(
    partitions_def=GRID,
    deps=[dg.AssetKey([PREFIX, "published_predictions"])],
    group_name="labelling",
)
def items_to_label(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The items whose published prediction is least sure, ``labelling/DAY/MODEL_RUN.csv``.

    How sure: the confidence of an item's Segments, weighted by area.
    """
    day, model_run = day_and_model_run(context)
    table = published_table(ROOT, context.partition_key, ["reference_id", "segments"])
    confidence = {
        row["reference_id"]: sum(
            one["confidence"] * one["area_fraction"]
            for one in row["segments"]
            if one["confidence"] is not None
        )
        for row in table.to_pylist()
    }
    least_sure = sorted(confidence.items(), key=lambda item: (item[1], item[0]))[:_MOST]
    file = LABELLING / day / f"{model_run}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([("reference_id", "confidence"), *least_sure])
    listed = "\n".join(f"| {item} | {sure:.2f} |" for item, sure in least_sure)
    return dg.MaterializeResult(
        metadata={
            "published": table.num_rows,
            "to_label": dg.MetadataValue.md(f"| item | confidence |\n|---|---|\n{listed}"),
            "file": dg.MetadataValue.path(str(file)),
        }
    )
