"""The asset of evaluation: a partition's predictions beside published ground truth."""

# No postponed annotations here: Dagster reads the annotations of the functions below.
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from segpipe.errors import NothingLandedError
from segpipe.evaluation.quality import Quality
from segpipe.evaluation.result import CONVENTIONS_VERSION, Evaluation
from segpipe.evaluation.schemas import EVALUATED, NO_PREDICTION, NO_TRUTH
from segpipe.manifests.partition import Partition
from segpipe.pictures.label_colours import colours_of
from segpipe.pipeline import checks, evaluation_checks, gaps, previews, schemas
from segpipe.pipeline.declarative_automation import when_validated
from segpipe.pipeline.file_links import file_link
from segpipe.pipeline.partitions import partition_of
from segpipe.pipeline.prefixed_root import Event, PrefixedRoot
from segpipe.pipeline.resources import ROOT
from segpipe.pipeline.steps import REMARKS, RETRY_POLICY, dagster_failures
from segpipe.root import Root
from segpipe.settings import Settings
from segpipe.validation.pass_tables import CODE_VERSION
from segpipe.validation.summary import SUMMARY_FILE

#: Name of the asset and of its step.
EVALUATION = "evaluation"


class EvaluateConfig(dg.Config):
    """Run configuration of evaluation."""

    force: bool = Field(
        default=False,
        description="Read every mask again. Otherwise items of which neither prediction nor ground "
        "truth changed are taken from the evaluation before.",
    )


def is_evaluated(settings: Settings) -> bool:
    """Whether a root has the asset: its settings name a ground truth."""
    return bool(settings.ground_truth)


def evaluation_asset(prefixed: PrefixedRoot) -> dg.AssetsDefinition:
    """The asset ``evaluation``, for a root with ground truth."""

    @dg.multi_asset(
        name=prefixed.name(EVALUATION),
        specs=prefixed.specs([_spec(prefixed)]),
        retry_policy=RETRY_POLICY,
        check_specs=checks.partitioned(
            evaluation_checks.evaluation_checks(EVALUATION, prefixed.root.settings.requirements),
            prefixed,
        ),
        required_resource_keys={prefixed.name(ROOT)},
    )
    def evaluation(
        context: dg.AssetExecutionContext, config: EvaluateConfig
    ) -> Iterator[Event | dg.Output[None]]:
        gaps.settle_backfill(context)
        root, partition = prefixed.root_of(context.resources), partition_of(context)
        with dagster_failures():
            quality = _judged(context, prefixed, root, partition, force=config.force)
            if isinstance(quality, str):
                yield from _skipped(context, prefixed, quality)
            else:
                yield from prefixed.with_keys(_events(root, partition, quality))

    return evaluation


def _spec(prefixed: PrefixedRoot) -> dg.AssetSpec:
    return dg.AssetSpec(
        EVALUATION,
        deps=["validated_masks", "segments"],
        kinds={"parquet"},
        skippable=True,
        automation_condition=when_validated(prefixed),
        description="The validated predictions beside published ground truth: class maps, panoptic "
        "quality, calibration. A partition without ground truth is left out. Materialize it again "
        "after ground truth has changed.",
        metadata={"dagster/column_schema": schemas.evaluated_items},
        code_version=code_version(),
    )


def _judged(
    context: dg.AssetExecutionContext,
    prefixed: PrefixedRoot,
    root: Root,
    partition: Partition,
    *,
    force: bool,
) -> Quality | str:
    """What came of a partition; or why there is nothing to evaluate, where that stops nothing."""
    try:
        if not root.tables(partition).exists(SUMMARY_FILE):  # its manifest may be archived
            root.manifest(partition)
    except NothingLandedError as error:
        return gaps.nothing_landed(context, root.settings, partition, error)
    if partition.model_run in root.settings.ground_truth:
        return f"{partition.model_run} is ground truth itself"
    quality = root.quality(
        partition,
        force=force,
        progress=lambda *rows: prefixed.progress("evaluating", *rows),
    )
    gated = root.gated(partition.model_run)
    return quality.problem if quality.evaluation is None and not gated else quality


def _skipped(
    context: dg.AssetExecutionContext, prefixed: PrefixedRoot, words: str
) -> Iterator[Event | dg.Output[None]]:
    """Leave the partition out, and let publishing go on."""
    gaps.leave_out(context, EVALUATION)
    context.log.info(words)
    yield from prefixed.with_keys(evaluation_checks.nothing_to_judge(EVALUATION, words))
    key = prefixed.key(EVALUATION)
    yield dg.AssetObservation(key, f"left out: {words}", partition=context.partition_key)
    for output in context.assets_def.keys_by_output_name:
        yield dg.Output(None, output, metadata=gaps.NOT_MATERIALIZED)


def _events(root: Root, partition: Partition, quality: Quality) -> Iterator[Event]:
    """What is told of a partition, before an error stops what is not good enough."""
    gated = root.gated(partition.model_run)
    if quality.evaluation is not None:
        # With a gate it is the error's words.
        missed = [] if gated else [f"not good enough: {words}" for words in quality.missed]
        yield _result(root, partition, quality.evaluation, missed)
    yield from evaluation_checks.quality_checks(EVALUATION, quality, gate=gated)
    if gated:  # Dagster itself would name the checks only, without their descriptions
        quality.check()


def _result(
    root: Root, partition: Partition, evaluation: Evaluation, missed: Sequence[str]
) -> dg.MaterializeResult[Any]:
    store = root.evaluations(partition, boundary=evaluation.boundary)
    place = file_link(root.settings, store.place.url)
    before = root.evaluation_before(partition, boundary=evaluation.boundary)
    labels = evaluation.item_classes["label"].unique().to_pylist()
    colours = colours_of(root.settings, labels)
    return dg.MaterializeResult(
        asset_key=EVALUATION,
        metadata={
            **previews.evaluation_charts(
                evaluation, colours, None if before is None else before[1]
            ),
            **previews.evaluation_sheets(root, partition, evaluation, colours),
            **numbers(evaluation),
            **counts(evaluation, *missed),
            "unchanged": evaluation.reused,
            **({} if before is None else {"partition_before": str(before[0])}),
            "ground_truth": list(store.against),
            "tables": place,
            "dagster/uri": place,
        },
        data_version=dg.DataVersion(store.digest()),
    )


def code_version() -> str:
    """Of assets that evaluate."""
    return f"{CODE_VERSION}.{CONVENTIONS_VERSION}"


def counts(evaluation: Evaluation, *more: str) -> dict[str, Any]:
    """What became of items, and what has to be known of the numbers.

    Args:
        more: what has to be known besides, a sentence each.
    """
    outcomes, remarks = evaluation.outcomes, [*evaluation.remarks, *more]
    return {
        "dagster/row_count": evaluation.items.num_rows,
        "evaluated": outcomes[EVALUATED],
        "without_ground_truth": outcomes[NO_TRUTH],
        "without_prediction": outcomes[NO_PREDICTION],
        **({REMARKS: "\n".join(remarks)} if remarks else {}),
    }


def numbers(evaluation: Evaluation) -> dict[str, float]:
    """Those that are defined, by name: Dagster plots them over partitions."""
    told = {**evaluation.headline, **evaluation.uncertainty}
    return {name: value for name, value in told.items() if value is not None}
