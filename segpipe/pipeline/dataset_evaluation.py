"""The asset of a model run's evaluation over all its days, and of its standing among others."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
import warnings
from collections.abc import Iterator

import dagster as dg

from segpipe.errors import EvaluationError, NothingLandedError, TableError
from segpipe.evaluation.leaderboard import Leaderboard
from segpipe.pictures.label_colours import colours_of
from segpipe.pipeline import gaps, previews, schemas
from segpipe.pipeline.declarative_automation import when_days_evaluated
from segpipe.pipeline.evaluation_assets import EVALUATION, code_version, counts, numbers
from segpipe.pipeline.file_links import file_link
from segpipe.pipeline.partitions import MODEL_RUN
from segpipe.pipeline.prefixed_root import Event, PrefixedRoot
from segpipe.pipeline.resources import ROOT
from segpipe.pipeline.steps import RETRY_POLICY, dagster_failures
from segpipe.root import Root

#: Name of the asset and of its step.
OF_DATASET = "evaluation_of_dataset"


def dataset_evaluation_asset(prefixed: PrefixedRoot) -> dg.AssetsDefinition:
    """The asset ``evaluation_of_dataset``, a partition per model run, for a root with ground
    truth."""
    spec = dg.AssetSpec(
        OF_DATASET,
        kinds={"parquet"},
        skippable=True,
        description="All days of a model run compared with ground truth (of an item on several "
        "days, the last counts), and its rank among the dataset's other model runs on the items "
        "that all of them have. following_assets requests it once its days were evaluated.",
        metadata={"dagster/column_schema": schemas.evaluated_items},
        automation_condition=when_days_evaluated(prefixed.key(EVALUATION)),
        code_version=code_version(),
    )
    (spec,) = prefixed.specs([spec])
    # Of other partitions than the other assets, and so in a group of its own: there, "Materialize
    # all" still is one run of one partition. Of both groups together it is a backfill, in which
    # Dagster makes this one after the days.
    spec = spec.replace_attributes(
        partitions_def=prefixed.model_runs,
        deps=[_days(prefixed)],
        group_name=f"{spec.group_name}_model_runs",
    )

    @dg.multi_asset(
        name=prefixed.name(OF_DATASET),
        specs=[spec],
        retry_policy=RETRY_POLICY,
        required_resource_keys={prefixed.name(ROOT)},
    )
    def evaluation_of_dataset(context: dg.AssetExecutionContext) -> Iterator[Event]:
        gaps.settle_backfill(context)
        root, model_run = prefixed.root_of(context.resources), context.partition_key
        with dagster_failures():
            yield from prefixed.with_keys(_events(context, root, model_run))

    return evaluation_of_dataset


def _days(prefixed: PrefixedRoot) -> dg.AssetDep:
    """All days of the model run."""
    with warnings.catch_warnings():
        # A beta feature of Dagster; tests cover what is used here.
        warnings.simplefilter("ignore", dg.BetaWarning)
        mapping = dg.MultiToSingleDimensionPartitionMapping(MODEL_RUN)
    return dg.AssetDep(prefixed.key(EVALUATION), partition_mapping=mapping)


def _events(context: dg.AssetExecutionContext, root: Root, model_run: str) -> Iterator[Event]:
    try:
        if model_run in root.settings.ground_truth:
            raise EvaluationError(f"{model_run} is ground truth itself")
        evaluation, standing = root.leaderboard(model_run)
    except (EvaluationError, NothingLandedError, TableError) as error:
        gaps.leave_out(context, EVALUATION)
        words = f"left out: {error}"
        context.log.info(words)
        yield dg.AssetObservation(OF_DATASET, words, partition=context.partition_key)
        return
    labels = evaluation.classes["label"].to_pylist()
    colours = colours_of(root.settings, labels)
    store = root.evaluation_of_dataset(model_run)
    place = file_link(root.settings, store.place.url)
    yield dg.MaterializeResult(
        asset_key=OF_DATASET,
        metadata={
            "leaderboard": _table(standing),
            "standing": _rank(standing, model_run),
            "compared": "\n".join(standing.notes),
            **previews.evaluation_charts(evaluation, colours),
            **numbers(evaluation),
            **counts(evaluation),
            "days": len(evaluation.days.days),
            "ground_truth": list(store.against),
            "tables": place,
            "dagster/uri": place,
        },
        data_version=dg.DataVersion(store.digest()),
    )


def _rank(standing: Leaderboard, model_run: str) -> str:
    (own,) = (row for row in standing.table.to_pylist() if row["model_run"] == model_run)
    return f"{own['rank']} of {standing.table.num_rows}, by mIoU on {own['items']} common items"


def _table(standing: Leaderboard) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord({name: _cell(value) for name, value in row.items()})
            for row in standing.table.to_pylist()
        ]
    )


def _cell(value: object) -> str | int | float:
    if isinstance(value, float):
        return round(value, 4)
    return value if isinstance(value, int) else str("" if value is None else value)
